"""Tasks counted over the whole log, when they were found in a sample of it; and which call belongs to which.

    find_tasks(sample) → Task ─┐
    every call → TaskTally ────┴─tasks_of→ Task with the log's own counts, tokens, labels, models, request fields
    every call → LineTally ──────write_lines→ line,task

What a task is (its template, kind, name and rule) stays as it was found. What grows without end is kept as a sample by
hash, and then the values of the tasks found stand: they are the more frequent ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
import numpy.typing as npt

from freehold import wire
from freehold.audit.tallies.names import Counts
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Call, Task, Tokens
from freehold.project.storage import write_atomic, writing
from freehold.traffic.describe import PERSONAL, VALUES

__all__ = ["LineTally", "TaskCount", "TaskTally", "tasks_of", "write_lines"]

LABELS, LONG_ANSWERS, MODELS, FIELDS, KEPT = 5_000, 20, 1_000, 500, 200
LABEL_LENGTH, ANSWER_LENGTH, NAME_LENGTH = 100, 2_000, 200
SCALARS = (str, int, float, bool, type(None))
ROW = np.dtype([("part", "<i4"), ("line", "<i8"), ("task", "<i4")])
AT_ONCE = 200_000


class TaskCount(msgspec.Struct):
    """One task's calls. `rows` counts a ledger's pairs too, `calls` doesn't. `answers` and `long` are the closed
    model's, `unkept` those too long for either. `text_tokens` and `tool_tokens` are the most that an answer in text and
    one in tool calls took; -1 where none is logged."""

    first: tuple[int, int] = (0, 0)
    rows: int = 0
    calls: int = 0
    tokens: list[int] = msgspec.field(default_factory=lambda: [0] * len(Tokens.__dataclass_fields__))
    text_tokens: int = -1
    tool_tokens: int = -1
    unkept: int = 0
    answers: Counts = msgspec.field(default_factory=lambda: Counts(LABELS))
    long: Counts = msgspec.field(default_factory=lambda: Counts(LONG_ANSWERS))
    models: Counts = msgspec.field(default_factory=lambda: Counts(MODELS))
    fields: Counts = msgspec.field(default_factory=lambda: Counts(FIELDS))
    values: dict[str, Counts] = {}

    def add(self, one: Seen) -> None:
        call = one.call
        self.rows += 1
        self.calls += call.why != "pair"
        if call.model:
            self.models.add(call.model)
        if call.params:
            self._fields(call.params)
        if call.tokens is not None:
            self._tokens(call.tokens)
        if call.answered_by == "upstream":
            self._answer(call)

    def _fields(self, params: dict[str, Any]) -> None:
        for name, value in params.items():
            if name in PERSONAL or len(name) > NAME_LENGTH:
                continue
            self.fields.add(name)
            seen = self.values.get(name)
            if seen is None:
                seen = self.values[name] = Counts(KEPT)
                if len(self.values) > 2 * FIELDS:
                    self._forget()
            seen.add(_said(value))

    def _forget(self) -> None:
        """Values of fields that are not kept: a log may name a new field in every call."""
        self.values = {name: seen for name, seen in self.values.items() if name in self.fields.counts}

    def _tokens(self, tokens: Tokens) -> None:
        sums = self.tokens
        sums[0] += tokens.prompt
        sums[1] += tokens.completion
        if tokens.cached or tokens.reasoning or tokens.cache_write or tokens.audio_in or tokens.audio_out:
            for i, n in enumerate(_parts(tokens)[2:], 2):
                sums[i] += n

    def _answer(self, call: Call) -> None:
        said, took = call.answer, -1 if call.tokens is None else call.tokens.completion
        if said is None:
            if took > self.tool_tokens and wire.answer(call, "tools") is not None:
                self.tool_tokens = took
            return
        self.text_tokens = max(self.text_tokens, took)
        said = said.strip()
        if len(said) <= LABEL_LENGTH:
            self.answers.add(said)
        elif len(said) <= ANSWER_LENGTH:
            self.answers.add(_digest(said))
            self.long.add(said)
        else:
            self.unkept += 1

    def merge(self, later: TaskCount) -> None:
        for name in ("rows", "calls", "unkept"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.text_tokens = max(self.text_tokens, later.text_tokens)
        self.tool_tokens = max(self.tool_tokens, later.tool_tokens)
        self.tokens = [a + b for a, b in zip(self.tokens, later.tokens, strict=True)]
        for name in ("answers", "long", "models", "fields"):
            getattr(self, name).merge(getattr(later, name))
        for name, seen in later.values.items():
            self.values.setdefault(name, Counts(KEPT)).merge(seen)
        self._forget()


def _digest(text: str) -> str:
    """Stands for a long answer among the short ones, in its place."""
    return "\x00" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _parts(tokens: Tokens) -> list[int]:
    return [getattr(tokens, name) for name in Tokens.__dataclass_fields__]


def _said(value: Any) -> str:
    """A field's value as JSON; what most calls send is made once."""
    if not isinstance(value, SCALARS):
        return wire.dumps(value).decode()
    key = value.__class__, value
    found = _SCALARS.get(key)
    if found is None:
        found = wire.dumps(value).decode()
        if len(_SCALARS) < 10_000 and len(found) < NAME_LENGTH:
            _SCALARS[key] = found
    return found


_SCALARS: dict[tuple[type, Any], str] = {}


class TaskTally(msgspec.Struct):
    """Each task's count, by its place among the tasks found."""

    tasks: dict[int, TaskCount] = {}

    def add(self, seen: Sequence[Seen], /) -> None:
        tasks = self.tasks
        for one in seen:
            if one.task < 0:
                continue
            count = tasks.get(one.task)
            if count is None:
                count = tasks[one.task] = TaskCount(one.order)
            count.add(one)

    def merge(self, later: TaskTally, /) -> None:
        for place, count in later.tasks.items():
            if place in self.tasks:
                self.tasks[place].merge(count)
            else:
                self.tasks[place] = count


def tasks_of(found: Sequence[Task], tally: TaskTally, total: int) -> tuple[Task, ...]:
    """The tasks found in a sample with what the whole log says of them, the largest first. `total` counts the log's
    calls without pairs. Of a log that was its own sample these are the tasks as found."""
    counted = [(tally.tasks[place], task) for place, task in enumerate(found) if place in tally.tasks]
    counted.sort(key=lambda pair: (-pair[0].calls, pair[0].first))
    return tuple(_task(count, task, total) for count, task in counted)


def _task(count: TaskCount, task: Task, total: int) -> Task:
    longest = max(count.text_tokens, count.tool_tokens) if task.kind == "tools" else count.text_tokens
    return replace(
        task,
        calls=count.calls,
        share=count.calls / max(1, total),
        labels=_labels(count, task) if task.kind == "labels" else (),
        models=task.models if count.models.bits else tuple(count.models.ranked()),
        params=_params(count, task),
        answer_tokens=None if longest < 0 else longest,
        tokens=Tokens(*count.tokens),
        reads=("tools",) if task.kind == "tools" and _vary(count, "tools") else (),
    )


def _labels(count: TaskCount, task: Task) -> tuple[str, ...]:
    if count.answers.bits or count.long.bits or count.unkept:
        return task.labels
    long = {_digest(text): text for text in count.long.counts}
    return tuple(long.get(label, label) for label in count.answers.ranked() if label)


def _params(count: TaskCount, task: Task) -> dict[str, list[Any]]:
    params: dict[str, list[Any]] = {}
    for name in sorted(count.fields.counts):
        seen = count.values[name]
        ranked = [wire.loads(value) for value in seen.ranked()[:VALUES]]
        params[name] = task.params.get(name, ranked) if seen.bits else ranked
    return params


def _vary(count: TaskCount, name: str) -> bool:
    """Does a request field differ between calls, be it that some don't send it?"""
    seen = count.values.get(name)
    return seen is not None and (seen.bits > 0 or len(seen.counts) > 1 or sum(seen.counts.values()) < count.rows)


class LineTally(msgspec.Struct):
    """Which task each call belongs to, 16 bytes a call, in files of `folder` where they are many."""

    folder: str = ""
    files: list[str] = []
    held: list[bytes] = []
    waiting: int = 0

    def add(self, seen: Sequence[Seen], /) -> None:
        rows = np.array([(*one.order, one.task) for one in seen], ROW)
        self.held.append(rows.tobytes())
        self.waiting += len(rows)
        self._put_down(AT_ONCE)

    def merge(self, later: LineTally, /) -> None:
        if later.files:
            self._put_down(0)
        self.files += later.files
        self.held += later.held
        self.waiting += later.waiting
        self._put_down(AT_ONCE)

    def rows(self) -> Iterator[npt.NDArray[np.void]]:
        """In the log's order, some at a time."""
        for name in self.files:
            yield np.fromfile(name, ROW)
        for data in self.held:
            yield np.frombuffer(data, ROW)

    def _put_down(self, most: int) -> None:
        if self.folder and self.waiting > most:
            path = Path(self.folder) / f"lines-{uuid4().hex}.rows"
            write_atomic(path, b"".join(self.held))
            self.files.append(str(path))
            self.held, self.waiting = [], 0


def write_lines(tally: LineTally, names: Sequence[str], files: Sequence[str], path: Path) -> None:
    """Write `line,task` as CSV, one row a call in the log's order; with a column `file` where the log is several.

    `names` are the tasks' by their place as the tally counted them, `files` the file of each part. A call of no task
    has an empty one. The file is there whole or not at all. Raises StorageFailed.
    """
    several = len(set(files)) > 1
    ends = [f",{_cell(name)}\n" for name in [*names, ""]]  # a task of -1 is the last
    starts = [f"{_cell(name)}," if several else "" for name in files]
    with writing(path) as out:
        out.write(b"file,line,task\n" if several else b"line,task\n")
        for rows in tally.rows():
            made = (f"{starts[part]}{line}{ends[task]}" for part, line, task in rows.tolist())
            out.write("".join(made).encode("utf-8", "surrogateescape"))


def _cell(text: str) -> str:
    """A CSV field that a spreadsheet takes for text, not for a formula."""
    if text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text
