"""Which calls certify, and what the student makes of them.

    put upstream ─split→ fit | the other side ─one random call a near-duplicate group→ drawn: the share is of these
                                                  ├ not honoured  the server sends it up      kept never
                                                  ├ failed        no whole answer, or another kept never
                                                  │               host's or model's (`other`)
                                                  └ cal           it certifies: ok, score; without text (a refusal,
                                                                  a tool call) whatever the student says disagrees

A ledger is again a log, but not every row of it may certify. A call that went up because the student was unsure
("escalated") was picked for being hard, and a pair for being kept: a certificate from them would be about another
traffic. They may fit, never certify. Rows of a plain log, and those of a closed rung, are all calls of their time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freehold.agree import Judge
from freehold.honour import longest_answer, obstacle, unfit
from freehold.nouns import Answer, Call, Student, Task
from freehold.tell import Tell
from freehold.traffic import KEY, Split, Traffic, put_upstream, rows_sha256, split
from freehold.wire import finished

__all__ = ["UNABLE", "UNFIT", "Held", "Scored", "held_out", "score"]

UNPICKED = ("", "closed")
NO_TEXT = "(no text: a refusal or a tool call)"
BATCH = 64
UNABLE, UNFIT = -1.0, -2.0


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """The side of the split that no fit saw. `texts`, `truths`, `times` and `groups` are of all its calls that
    certify [all]; a truth is None where the closed model gave no text. `cal` indexes those drawn, one of each group,
    and `drawn` counts the draws with those that don't certify: `failed`, or `obstacles`, by the field that the server
    doesn't honour. `pool` has the group of every call of the side, and `certifies` tells which of them are in [all].
    `calls` counts the task's calls put upstream, `fit` those of the other side that fit, `kept_out` the held calls
    that were picked. `fit_sha256` names the fit's rows as an artefact's data_sha256 does.
    `calls_held` are the calls behind the texts [all]."""

    texts: tuple[str, ...]
    truths: tuple[str | None, ...]
    times: tuple[float | None, ...]
    groups: NDArray[np.int64]
    cal: NDArray[np.int64]
    drawn: int
    failed: int
    obstacles: Counter[str]
    pool: NDArray[np.int64]
    certifies: NDArray[np.bool_]
    calls: int
    fit: int
    fit_sha256: str
    kept_out: int
    calls_held: tuple[Call, ...] = ()

    @property
    def sha256(self) -> str:
        """Names the certification calls: the texts and the closed model's answers, in any order."""
        rows = sorted(self.name(int(i)) for i in self.cal)
        return hashlib.sha256("\1".join(rows).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def newest(self) -> float | None:
        return max((t for i in self.cal if (t := self.times[i]) is not None), default=None)

    def name(self, i: int) -> str:
        """The i-th call as one text."""
        truth = self.truths[i]
        return "\0".join((self.texts[i], "\2" if truth is None else truth, str(self.times[i])))

    def label(self, i: int) -> str:
        """The closed model's answer to the i-th call, for people."""
        truth = self.truths[i]
        return NO_TEXT if truth is None else truth.strip()


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The student's answers to all held calls: text, score and agreement, each [all]. A call that the student can't
    read whole, or an answer that no client could use, has a score below 0: no threshold keeps it."""

    answers: tuple[str, ...]
    scores: NDArray[np.float64]
    ok: NDArray[np.bool_]


def held_out(task: Task, traffic: Traffic) -> Held:
    """The task's certification calls: the other side of tune's split, one random call a near-duplicate group."""
    calls = put_upstream(task, traffic)
    texts = [task.text(call) or "" for call in calls]
    fit, side, parted = _sides(calls, [task.template.text(call.messages) or "" for call in calls])
    pool = [i for i in side if calls[i].why in UNPICKED]
    group = parted.groups.tolist()
    may = set(pool)
    drawn = {group[i]: i for i in parted.cal.tolist() if i in may}
    for i in sorted(pool, key=lambda i: _draw(texts[i], i)):  # a group whose drawn call may not certify draws again
        drawn.setdefault(group[i], i)
    longest = longest_answer(task)
    fields = {i: obstacle(task, calls[i], texts[i], longest)[0] for i in pool}
    held = [i for i in pool if not fields[i] and finished(calls[i])]
    place = {i: at for at, i in enumerate(held)}
    return Held(
        texts=tuple(texts[i] for i in held),
        truths=tuple(calls[i].answer for i in held),
        times=tuple(calls[i].at for i in held),
        groups=parted.groups[np.array(held, np.int64)],
        cal=np.array(sorted(place[i] for i in drawn.values() if i in place), np.int64),
        drawn=len(drawn),
        failed=sum(not fields[i] and i not in place for i in drawn.values()),
        obstacles=Counter(fields[i] for i in drawn.values() if fields[i]),
        pool=parted.groups[np.array(pool, np.int64)],
        certifies=np.array([i in place for i in pool], bool),
        calls=len(calls),
        fit=len(fit),
        fit_sha256=rows_sha256([texts[i] for i in fit], [(calls[i].answer or "").strip() for i in fit]),
        kept_out=len(side) - len(pool),
        calls_held=tuple(calls[i] for i in held),
    )


def _sides(calls: Sequence[Call], texts: Sequence[str]) -> tuple[list[int], list[int], Split]:
    """Indices of the calls that fit and of those of the other side, and the split of all of them, for its groups.

    The evidence lies where tune's split puts it. A call without text goes where its near-duplicates are, to the
    certifying side if they are on both: it can only count against the student there.
    """
    known = [i for i, call in enumerate(calls) if call.answer is not None]
    sides = whole = split([texts[i] for i in known])
    if len(known) < len(calls):
        whole = split(texts)
    fit = [known[i] for i in sides.fit.tolist()]
    held = {known[i] for i in sides.cal_all.tolist()}
    group = whole.groups.tolist()
    fitted, certify = {group[i] for i in fit}, {group[i] for i in held}
    certify |= {group[i] for i in whole.cal_all.tolist()} - fitted
    held |= {i for i, call in enumerate(calls) if call.answer is None and group[i] in certify}
    return fit, sorted(held), whole


def score(task: Task, student: Student, held: Held, judge: Judge, tell: Tell) -> Scored:
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
    scores[[bool(unfit(task, call, a.text)) for call, a in zip(held.calls_held, answers, strict=True)]] = UNFIT
    scores[[not a.able for a in answers]] = UNABLE
    pairs = zip(answers, held.truths, strict=True)
    ok = [truth is not None and judge.agree(a.text, truth) for a, truth in pairs]
    return Scored(tuple(a.text for a in answers), scores, np.array(ok, bool))


def _draw(text: str, i: int) -> bytes:
    return hashlib.blake2b(f"{i} {text}".encode("utf-8", "surrogatepass"), key=KEY, digest_size=8).digest()
