"""The pairs that may teach a task, from a file or the log, with what the terms' gate said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import BadSetting, NothingToLearn
from freehold.nouns import Artifact, Audit, Call, Task
from freehold.project import Project
from freehold.tell import Tell
from freehold.traffic import Traffic, evidence
from freehold.tune.gate import gate
from freehold.tune.preference.logged import FORMATS, from_log
from freehold.tune.preference.pairs import Said, from_file
from freehold.tune.preference.sift import Sifted, sift, through
from freehold.tune.rows import held_texts, rows_of
from freehold.tune.text import How, say_terms, terms_of

__all__ = ["FEWEST", "LOG", "allowed"]

FEWEST = 20  # pairs
LOG = "log"


def allowed(
    task: Task, traffic: Traffic, project: Project, pairs: str, reference: Artifact, how: How, tell: Tell
) -> tuple[Sifted, list[dict[str, Any]]]:
    """The pairs that may teach, and what the gate said of them."""
    if reference.data_sha256 != rows_of(task, traffic).sha256:
        raise BadSetting(
            f"The log holds other calls of {task.name} than when its adapter was tuned, so that pairs could be near to "
            "what certifies it.",
            f"Run: freehold tune --task {task.name}",
        )
    said, unreadable = _given(task, project, pairs, tell)
    own = msgspec.json.decode((project.artifact_path(reference.sha256) / "own.json").read_bytes())["texts"]
    models = _models(task, traffic, [one.rejected for one in said])
    found = sift([(s.preferred, s.rejected) for s in said], task, models, held_texts(task, traffic), own)
    if found.left_out.get("of another task") == len(said):
        raise BadSetting(
            f"None of the {len(said):,} pairs is of the task {task.name}: their prompts have not its form.",
            "Give the pairs of this task, or its name: --task NAME.",
        )
    if unreadable:
        found = replace(found, left_out={"unreadable": unreadable} | found.left_out)
    _enough(task, found)
    calls = [pair.call for pair in found.pairs]
    passed = gate(
        task, calls, project.settings, student="decoder", permission=how.permission, private=how.private
    )  # fmt: skip
    say_terms(passed, tell)
    found = through(found, passed, how.private)
    _enough(task, found)
    tell(
        f"{len(found.pairs):,} of {len(said) + unreadable:,} pairs"
        + (f"; left out: {found.words}" if found.left_out else "")
    )
    return found, terms_of(passed)


def _given(task: Task, project: Project, pairs: str, tell: Tell) -> tuple[list[Said], int]:
    """The pairs, and how many lines are none; the audit has counted those of the log."""
    if pairs != LOG:
        return from_file(Path(pairs))
    log = project.load(Audit).log
    said = from_log(log.paths, until=log.until, tell=tell)
    if not said:
        raise NothingToLearn(
            f"The log says of no answer of {task.name} that another is preferred; known to say so are the formats "
            f"{', '.join(FORMATS)}.",
            "Give them in a file: --pairs FILE",
        )
    return said, 0


def _models(task: Task, traffic: Traffic, calls: Sequence[Call]) -> list[str]:
    """Whose answers they are: as the pair says, else as the log does of that request, else the task's one model."""
    logged = {task.text(call): call.model for call in evidence(task, traffic)}
    only = task.models[0] if len(task.models) == 1 else ""
    return [call.model or logged.get(task.text(call), "") or only for call in calls]


def _enough(task: Task, found: Sifted) -> None:
    if len(found.pairs) < FEWEST:
        left = f" ({found.words} left out)" if found.left_out else ""
        raise NothingToLearn(
            f"{task.name} has {len(found.pairs)} pairs to learn from{left}; it takes {FEWEST}.", "Wait for more pairs."
        )
