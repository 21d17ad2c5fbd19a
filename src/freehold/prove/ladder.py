"""A second rung: certified on what the first one leaves.

    held ─first student→ scores below its threshold, unable, unfit ─→ held, with only those calls
                                                                        └ drawn stays: the share is of all calls

The two rungs' calls are different ones, so what they keep adds up. The first one's threshold was found on the same
certification calls, so this is one more opening of them: both verdicts together hold with confidence 1 - 2d.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from freehold.agree import Judge
from freehold.nouns import Artifact, Student, Task, Verdict
from freehold.prove.calls import Held, score
from freehold.tell import Tell

__all__ = ["Before", "hosted_notes", "left"]


@dataclass(frozen=True, slots=True)
class Before:
    """The rung before: its student and its verdict, which says move."""

    student: Student
    verdict: Verdict

    @property
    def sha256(self) -> str:
        assert self.verdict.student is not None, "a verdict that moves names a student"
        return self.verdict.student.sha256


def left(task: Task, before: Before, held: Held, judge: Judge, tell: Tell) -> Held:
    """The held calls that the rung before does not keep."""
    threshold = before.verdict.threshold
    assert threshold is not None, "a verdict that moves has a threshold"
    below = score(task, before.student, held, judge, tell).scores < threshold
    which = np.flatnonzero(below)
    place = {int(i): at for at, i in enumerate(which)}
    certifies = held.certifies.copy()
    certifies[np.flatnonzero(held.certifies)] = below
    return replace(
        held,
        texts=tuple(held.texts[i] for i in which),
        truths=tuple(held.truths[i] for i in which),
        times=tuple(held.times[i] for i in which),
        groups=held.groups[which],
        cal=np.array([place[i] for i in held.cal.tolist() if i in place], np.int64),
        certifies=certifies,
        calls_held=tuple(held.calls_held[i] for i in which),
    )


def hosted_notes(artifact: Artifact, before: Before | None, held: Held, logprobs: bool) -> tuple[str, ...]:
    """What is to be said of a student at a host, and of the rung that it is."""
    if artifact.kind != "hosted":
        return ()
    said = [f"{artifact.base} answers at a host: the verdict is about that model, and ends with it."]
    if before is not None:
        said.append(f"Certified on the {len(held.cal):,} calls that the student {before.sha256[:8]} leaves.")
    if not logprobs:
        said.append("The host gives no log-probabilities: without a score all its answers are kept, or none.")
    return tuple(said)
