"""What learning a preference was worth: held-back pairs, looked at by the adapter before it and by the new one.

ranked(before, after) -> {"before": 12 of 40, "after": 31 of 40, "change": +0.48 (+0.28 to +0.62), ...}

A pair is ranked right where the preferred answer has the larger summed log-probability; it moved towards the preference
where their difference grew beyond the reference's (DPO's implicit reward). One pair of each group of near-duplicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from freehold.measure import share
from freehold.nouns import Artifact
from freehold.project import Project
from freehold.tell import Tell
from freehold.tune.synthetic.value import difference

__all__ = ["Chances", "helps", "ranked", "take"]

Chances = Sequence[tuple[float, float]]


def take(made: Artifact, project: Project, tell: Tell) -> None:
    """It becomes the task's student where it helps."""
    said = made.recipe["preference"]
    tell(f"preferred answers that are the likelier ones, of {said['before']['n']} held-back pairs: {said['words']}")
    logged = said["logged"]
    tell(
        f"loss of {logged['rows']} held-back rows of the log: {logged['loss_before']:.3f} before, "
        f"{logged['loss_after']:.3f} after"
    )
    if helps(said):
        project.choose(made.task, made.sha256)


def helps(said: Mapping[str, Any]) -> bool:
    """The interval of the change lies above 0."""
    return bool(said["change"]["low"] > 0)


def ranked(before: Chances, after: Chances) -> dict[str, Any]:
    """How many pairs have the preferred answer as the likelier one, before and after; and by how much they moved."""
    old, new = ([good > bad for good, bad in said] for said in (before, after))
    moved = [(g - b) - (was_g - was_b) for (g, b), (was_g, was_b) in zip(after, before, strict=True)]
    first, second = (share(sum(ok), len(ok)) for ok in (old, new))
    won, lost = (sum(b and not a for a, b in zip(*two, strict=True)) for two in ((old, new), (new, old)))
    change = difference(won, lost, len(new))
    above = change.low is not None and change.low > 0
    stays = "" if above else ", not above 0: the adapter before it stays the task's student"
    return {
        "before": msgspec.to_builtins(first),
        "after": msgspec.to_builtins(second),
        "only_before": lost,
        "only_after": won,
        "change": msgspec.to_builtins(change),
        "moved_towards": msgspec.to_builtins(share(sum(m > 0 for m in moved), len(moved))),
        "preferred_log_p": [float(np.mean([good for good, _ in said])) for said in (before, after)],
        "words": f"{first} before, {second} after, change {change}{stays}",
    }
