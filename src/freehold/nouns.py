"""The words that cross rooms: frozen, plain, written to the project folder as JSON and read back.

    calls.jsonl ─audit→ Audit ─plan→ Plan ─tune→ Artifact ─prove→ Verdict ─serve→ ledger ─watch→ page
                          └ Task ─ Template                      └ Measure

A Measure, as every claim carries it:
    {"value": 0.925, "low": 0.917, "high": 0.933, "n": 4550, "unit": "share", "method": "Clopper-Pearson 95 %"}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = [
    "Answer", "Artifact", "Audit", "BadRow", "Call", "Decision", "Evidence", "Kind", "LabelRow", "LogFile",
    "Measure", "Message", "ModelUse", "Plan", "Point", "Repeats", "Slot", "Student", "Task", "TaskPlan",
    "TaskStudent", "Template", "TermsNotice", "Tokens", "Verdict",
]  # fmt: skip

Kind = Literal["labels", "json", "sql", "tools", "text"]
Decision = Literal["move", "stay", "need_more"]
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure with its interval, the n behind it and how it was made; None where it can't be known."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unit: str = "share"
    method: str = ""

    def __str__(self) -> str:
        """As people read it: 92.5 % (91.7 to 93.3, n = 4,550)."""
        if self.value is None:
            return "not known"
        scale, form = (100, ",.1f") if self.unit == "share" else (1, ",.2f" if self.unit.startswith("USD") else ",.3g")
        low, high = (format(scale * x, form) if x is not None else "" for x in (self.low, self.high))
        text = format(abs(scale * self.value), form)
        if self.unit.startswith("USD"):
            text = f"${text}{self.unit.removeprefix('USD').replace('/', ' a ')}"
        else:
            text += " %" if self.unit == "share" else f" {self.unit}"
        text = ("-" if self.value < 0 else "") + text
        if not low or not high:
            return text + (f" (n = {self.n:,})" if self.n else "")
        return f"{text} ({low} to {high}, n = {self.n:,})"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts as the API bills them: `cached` is part of `prompt`, `reasoning` part of `completion`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One request and its answer.

    `params` are the request's fields other than model and messages. `answer` is None for a tool call, a failure, or
    a request not yet answered. `at` is epoch seconds UTC, `seconds` the time the answer took. `answered_by` is
    upstream, student or replay: only upstream's answers are evidence. `why` and `probability` say why the upstream
    was asked and how likely that was (1 unless sampled). `row` is the log row as read, kept so that it can be
    written again.
    """

    messages: tuple[Message, ...]
    model: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    answer: str | None = None
    at: float | None = None
    tokens: Tokens | None = None
    seconds: float | None = None
    user: str | None = None
    answered_by: str = "upstream"
    why: str = ""
    probability: float = 1.0
    line: int = 0
    row: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slot:
    """One message of a template: fixed text only, or `before` + the call's own text + `after`."""

    role: str
    before: str
    after: str = ""
    variable: bool = False

    def match(self, message: Message) -> str | None:
        """The variable text of `message` ("" for a fixed one), or None where it does not fit."""
        text = message.get("content")
        if message.get("role") != self.role or not isinstance(text, str) or message.keys() != {"role", "content"}:
            return None
        if not self.variable:
            return "" if text == self.before else None
        fits = len(text) >= len(self.before) + len(self.after)
        if not fits or not text.startswith(self.before) or not text.endswith(self.after):
            return None
        return text[len(self.before) : len(text) - len(self.after)]


@dataclass(frozen=True, slots=True)
class Template:
    """What all calls of a task share: the roles in order, and each message's fixed text."""

    slots: tuple[Slot, ...]

    def variables(self, messages: Sequence[Message]) -> tuple[str, ...] | None:
        """The variable texts in order, or None where the shape or any fixed text differs."""
        if len(messages) != len(self.slots):
            return None
        found: list[str] = []
        for slot, message in zip(self.slots, messages, strict=True):
            text = slot.match(message)
            if text is None:
                return None
            if slot.variable:
                found.append(text)
        return tuple(found)

    def text(self, messages: Sequence[Message]) -> str | None:
        """The variables as one text, as label students read it."""
        found = self.variables(messages)
        return None if found is None else "\n".join(found)


@dataclass(frozen=True, slots=True)
class Task:
    """Calls doing one job.

    `share` is of all readable calls. `labels` are the distinct answers of a label task, most frequent first.
    `params` maps a request field to the values seen (at most 32 each). `answer_tokens` is the most completion tokens
    any answer took (None: never logged). `rule` is how answers are compared (agree), `why` the reason for it, and
    `database` the SQLite file that queries are run on. `reads` names the request fields that a student reads beside
    the variables, because they differ from call to call (tools).
    """

    name: str
    template: Template
    kind: Kind
    calls: int
    share: float
    rule: str = "exact"
    labels: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    params: dict[str, list[Any]] = field(default_factory=dict)
    answer_tokens: int | None = None
    tokens: Tokens = field(default_factory=Tokens)
    money: Measure = field(default_factory=lambda: Measure(None, unit="USD"))
    example: str = ""
    why: str = ""
    database: str = ""
    reads: tuple[str, ...] = ()

    def text(self, call: Call) -> str | None:
        """What a student reads of a request: the variables and the fields in `reads`; None where the form differs."""
        found = self.template.text(call.messages)
        if found is None or not self.reads:
            return found
        import msgspec

        said = msgspec.json.encode({name: call.params.get(name) for name in self.reads}).decode()
        return f"{found}\n\n{said}"


@dataclass(frozen=True, slots=True)
class BadRow:
    line: int
    reason: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class LogFile:
    """The log that was read. `identity` (sha256 of its oldest row) stays as the log grows; `sha256` doesn't."""

    paths: tuple[str, ...]
    sha256: str
    identity: str
    rows: int
    bytes: int
    until: float | None = None


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A closed model in the log. `priced` counts the calls that have a price; `retires` is an ISO date."""

    model: str
    vendor: str | None
    calls: int
    tokens: Tokens
    money: Measure
    priced: int
    retires: str | None = None
    days_left: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Exact repeats of a request: `texts` asked at least twice, `calls` that ask them, how often answers agree."""

    texts: int
    calls: int
    self_agreement: Measure


@dataclass(frozen=True, slots=True)
class Audit:
    """What a log holds. `conflicts` counts texts with more than one answer; `per_month` is the bill at this pace."""

    log: LogFile
    calls: int
    bad_rows: int
    bad: tuple[BadRow, ...]
    tasks: tuple[Task, ...]
    tokens: Tokens
    money: Measure
    per_month: Measure
    first: float | None
    last: float | None
    models: tuple[ModelUse, ...]
    repeats: Repeats
    conflicts: int = 0
    warnings: tuple[str, ...] = ()
    made: str = ""


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """`go` is try, too_few or not_yet (a kind this version has no student for).

    `needed` maps a bar ("0.95") to the calls in all that its proof asks for when no kept call is wrong.
    """

    name: str
    kind: Kind
    calls: int
    go: Literal["try", "too_few", "not_yet"]
    reason: str
    needed: dict[str, int]
    student: str = ""
    minutes: Measure = field(default_factory=lambda: Measure(None, unit="minutes"))


@dataclass(frozen=True, slots=True)
class Plan:
    tasks: tuple[TaskPlan, ...]
    machine_cost: Measure
    bill: Measure
    assumptions: tuple[str, ...] = ()
    made: str = ""


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
    sha256: str
    base: str
    licence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """May this student answer this task, and where. `threshold` is set only for `move`.

    `needed`: with need_more, how many further calls would certify with power 0.8 at the agreement observed.
    `money`: per month, keys bill, home, saved. `asked` is the task as it was proved, and so as it may be served.
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
