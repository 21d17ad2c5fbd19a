"""Which calls certify, and what the student makes of them.

    evidence ─split→ fit | every call of the other side ─answers→ ok, score
                              └ one random call a near-duplicate group → cal, which certifies

A ledger is again a log, but not every row of it may certify. A call that went up because the student was unsure
("escalated") was picked for being hard, and a pair for being kept: a certificate from them would be about another
traffic. They may fit, never certify. Rows of a plain log, and those of a closed rung, are all calls of their time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freehold.agree import agree
from freehold.nouns import Answer, Call, Student, Task
from freehold.tell import Tell
from freehold.traffic import KEY, Traffic, evidence, rows_sha256, split

__all__ = ["Held", "Scored", "held_out", "score"]

UNPICKED = ("", "closed")
BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """The side of the split that no fit saw. `texts`, `truths`, `times` and `groups` are of all its calls that may
    certify [all]; `cal` indexes one of each group. `calls` counts the task's evidence, `fit` its other side, `kept_out`
    the held calls that may not certify. `fit_sha256` names the fit's rows as an artefact's data_sha256 does."""

    texts: tuple[str, ...]
    truths: tuple[str, ...]
    times: tuple[float | None, ...]
    groups: NDArray[np.int64]
    cal: NDArray[np.int64]
    calls: int
    fit: int
    fit_sha256: str
    kept_out: int

    @property
    def sha256(self) -> str:
        """Names the certification calls: the texts and the closed model's answers, in any order."""
        rows = sorted(f"{self.texts[i]}\0{self.truths[i]}\0{self.times[i]}" for i in self.cal)
        return hashlib.sha256("\1".join(rows).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def newest(self) -> float | None:
        return max((t for i in self.cal if (t := self.times[i]) is not None), default=None)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The student's answers to all held calls: text, score and agreement, each [all]."""

    answers: tuple[str, ...]
    scores: NDArray[np.float64]
    ok: NDArray[np.bool_]


def held_out(task: Task, traffic: Traffic) -> Held:
    """The task's certification calls: the other side of tune's split, one random call a near-duplicate group."""
    calls = evidence(task, traffic)
    texts = [task.template.text(call.messages) or "" for call in calls]
    parted = split(texts)
    held = [int(i) for i in parted.cal_all if calls[i].why in UNPICKED]
    first = {int(parted.groups[i]): int(i) for i in parted.cal if calls[i].why in UNPICKED}
    for i in sorted(held, key=lambda i: _draw(texts[i], i)):  # a group whose drawn call may not certify draws again
        first.setdefault(int(parted.groups[i]), i)
    place = {i: at for at, i in enumerate(held)}
    return Held(
        texts=tuple(texts[i] for i in held),
        truths=tuple(_answer(calls[i]) for i in held),
        times=tuple(calls[i].at for i in held),
        groups=parted.groups[np.array(held, np.int64)],
        cal=np.array(sorted(place[i] for i in first.values()), np.int64),
        calls=len(calls),
        fit=len(parted.fit),
        fit_sha256=rows_sha256([texts[i] for i in parted.fit], [_answer(calls[i]).strip() for i in parted.fit]),
        kept_out=len(parted.cal_all) - len(held),
    )


def score(student: Student, held: Held, rule: str, tell: Tell) -> Scored:
    """Ask the student each distinct text once."""
    distinct = list(dict.fromkeys(held.texts))
    said: dict[str, Answer] = {}
    for start in range(0, len(distinct), BATCH):
        tell("score the certification calls", start / len(distinct))
        part = distinct[start : start + BATCH]
        said.update(zip(part, student.answers(part), strict=True))
    answers = [said[text] for text in held.texts]
    scores = np.array([a.score for a in answers], float)
    assert bool(np.all((scores >= 0.0) & (scores <= 1.0))), "a student's scores are in [0, 1]"
    ok = [agree(a.text, truth, rule) for a, truth in zip(answers, held.truths, strict=True)]
    return Scored(tuple(a.text for a in answers), scores, np.array(ok, bool))


def _answer(call: Call) -> str:
    assert call.answer is not None, "evidence has an answer"
    return call.answer


def _draw(text: str, i: int) -> bytes:
    return hashlib.blake2b(f"{i} {text}".encode("utf-8", "surrogatepass"), key=KEY, digest_size=8).digest()
