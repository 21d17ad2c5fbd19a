"""A log's words: a call, its tokens, the template that calls share, the task that they are.

Call ── template ──→ Task        every claim about them is a Measure
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["BadRow", "Call", "Kind", "LogFile", "Measure", "Message", "Slot", "Task", "Template", "Tokens"]

Kind = Literal["labels", "json", "sql", "tools", "text", "embeddings"]
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
    """Token counts as the API bills them. Parts of `prompt`: `cached` (read from the prompt cache), `cache_write`
    (written to it), `audio_in`; of `completion`: `reasoning`, `audio_out`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    cache_write: int = 0
    audio_in: int = 0
    audio_out: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One request and its answer.

    `params` are the request's fields other than model and messages. `answer` is None for a tool call, a failure, or
    a request not yet answered. `at` is epoch seconds UTC, `seconds` the time the answer took. `answered_by` is
    upstream, student or replay: only upstream's answers are evidence. `why` and `probability` say why the upstream
    was asked and how likely that was (1 unless sampled). `row` is the log row as read, kept so that it can be
    written again.

    `endpoint` is the API that was called: chat, completions, embeddings, responses or messages; the messages of
    another than chat are written as chat's. `tier` is the price tier where it isn't the usual one: batch, flex,
    priority. `finish` is the finish reason as logged, `error` the code or name of a failure.
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
    endpoint: str = "chat"
    tier: str = ""
    finish: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """One message of a template: fixed text only, or `before` + the call's own text + `after`.

    `inside` are fixed texts between several variables: the call's own text holds them, in this order.
    """

    role: str
    before: str
    after: str = ""
    variable: bool = False
    inside: tuple[str, ...] = ()

    def match(self, message: Message) -> str | None:
        """The variable text of `message` ("" for a fixed one), or None where it does not fit."""
        text = message.get("content")
        if message.get("role") != self.role or not isinstance(text, str) or len(message) != 2:
            return None
        return self.own(text)

    def own(self, text: str) -> str | None:
        """The same of a message's text, its role and form being right."""
        if not self.variable:
            return "" if text == self.before else None
        if not text.startswith(self.before) or not text.endswith(self.after):
            return None
        if len(text) < len(self.before) + len(self.after):
            return None
        own = text[len(self.before) : len(text) - len(self.after)]
        at = 0
        for part in self.inside:
            at = own.find(part, at)
            if at < 0:
                return None
            at += len(part)
        return own


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
    the variables, because they differ from call to call (tools). `noise` is how often the closed model agrees with
    itself on equal requests. `estimated` counts the calls whose tokens are an estimate.
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
    endpoint: str = "chat"
    noise: Measure = field(default_factory=lambda: Measure(None))
    estimated: int = 0

    def text(self, call: Call) -> str | None:
        """What a student reads of a request: the variables and the fields in `reads`; None where the form differs."""
        found = self.template.text(call.messages)
        return None if found is None else self.with_fields(found, call)

    def with_fields(self, text: str, call: Call) -> str:
        """A call's variables as one text, and after them the fields in `reads`."""
        if not self.reads:
            return text
        import msgspec

        said = msgspec.json.encode({name: call.params.get(name) for name in self.reads}).decode()
        return f"{text}\n\n{said}"


@dataclass(frozen=True, slots=True)
class BadRow:
    line: int
    reason: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class LogFile:
    """The log that was read. `identity` (sha256 of its oldest row) stays as the log grows. `sha256` doesn't: it is the
    sum of the rows' sha256 modulo 2^256, so that neither the order of rows nor how a log is cut into files counts.
    `formats` counts the rows of each format; `skipped` the records without a call, such as other spans of a trace."""

    paths: tuple[str, ...]
    sha256: str
    identity: str
    rows: int
    bytes: int
    until: float | None = None
    formats: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
