"""Of proof: what was made, what it may answer, and what that rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from freehold.nouns.calls import Kind, Measure, Task

__all__ = [
    "Answer", "Artifact", "Decision", "Evidence", "LabelRow", "Point", "Student", "TaskStudent", "TermsNotice",
    "Verdict",
]  # fmt: skip

Decision = Literal["move", "stay", "need_more"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder of files: what it is, where it came from, and the sha256 of each file. Its own name is the sha256
    over that list, so that one changed byte is another artefact."""

    sha256: str
    kind: str
    task: str
    base: str
    licence: str
    parents: tuple[str, ...]
    recipe: dict[str, Any]
    data_sha256: str
    files: dict[str, str]
    made: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A student's answer and its score in [0, 1]; it is used only where the score reaches the threshold.

    `able` is False where the student can't read the whole text (longer than its context): such a call goes up whatever
    the threshold, and is never cut.
    """

    text: str
    score: float
    able: bool = True


class Student(Protocol):
    """A model the team owns. Same text, same answer and score, whatever stands beside it in the batch."""

    def answers(self, texts: Sequence[str], /) -> list[Answer]: ...


@dataclass(frozen=True, slots=True)
class Point:
    """One threshold of the certification curve: `kept` calls reach it, `errors` of them disagree."""

    threshold: float
    kept: int
    errors: int
    marked: bool = False


@dataclass(frozen=True, slots=True)
class LabelRow:
    """Where a student loses, on certification calls of one label: `calls`, `kept`, `wrong` among the kept."""

    label: str
    calls: int
    kept: int
    wrong: int
    confused_with: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict rests on. `opening` counts how often these certification calls have been used.

    `cal_groups` calls certify. Of the calls drawn, one a group, `not_honoured` more ask what only the upstream can
    answer, and `failed` more have no whole answer; `no_text` of those that certify were refused or answered by a tool
    call, and so count as disagreement. `per_call` and `kept_per_call` weigh each text by how often it was asked.
    """

    fit_calls: int
    cal_calls: int
    cal_groups: int
    cal_sha256: str
    opening: int
    joint_confidence: float
    design_effect: float
    level: float | None
    lower_after_selection: float | None
    newest: float | None
    out_of_time: Measure
    method: str
    not_honoured: int = 0
    failed: int = 0
    no_text: int = 0
    per_call: Measure = field(default_factory=lambda: Measure(None))
    kept_per_call: Measure = field(default_factory=lambda: Measure(None))


@dataclass(frozen=True, slots=True)
class TermsNotice:
    """What the vendor's terms say about training on its answers, for this kind of task. Not legal advice.

    `rows` counts the logged answers that it was applied to, before a student was fitted (0: not counted).
    """

    vendor: str
    rule: str
    outcome: str
    text: str
    clause: str
    source: str
    as_of: str
    rows: int = 0


@dataclass(frozen=True, slots=True)
class TaskStudent:
    """`host` is the host's name where an open model is asked there ("": it runs here)."""

    sha256: str
    base: str
    licence: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """May this student answer this task, and where. `threshold` is set only for `move`.

    `needed`: with need_more, how many further calls would certify with power 0.8 at the agreement observed.
    `money`: per month, keys bill, home, saved. `asked` is the task as it was proved, and so as it may be served.
    `after` is the sha256 of the student before this one on the task's ladder: it was proved on the calls which that one
    leaves, and `kept_home` is what it keeps of all calls. "": it was proved on all calls.
    """

    task: str
    kind: Kind
    calls: int
    share: float
    bar: float
    confidence: float
    decision: Decision
    reason: str
    needed: int | None
    kept_home: Measure
    agreement: Measure
    threshold: float | None
    student: TaskStudent | None
    evidence: Evidence | None
    curve: tuple[Point, ...] = ()
    labels: tuple[LabelRow, ...] = ()
    noise: Measure = field(default_factory=lambda: Measure(None))
    latency: Measure = field(default_factory=lambda: Measure(None, unit="ms"))
    money: dict[str, Measure] = field(default_factory=dict)
    terms: tuple[TermsNotice, ...] = ()
    notes: tuple[str, ...] = ()
    made: str = ""
    asked: Task | None = None
    after: str = ""
