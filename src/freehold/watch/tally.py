"""What the ledger's rows add up to: counts, money, pairs, hours, hosts, and the last calls that went up.

A row as serve writes it, with what is counted here:
    {"timestamp": "2026-11-24T10:15:02.114+00:00", "request": {...}, "freehold": {"task": "router", "answered_by":
     "student", "why": "home", "student": {...}, "money": {"home": 1.1e-07, "saved": 0.000107}, "pairs": 0.02}}
A pair is the same call asked again, upstream: it is no call of its own, and its `saved` is what it cost. Kept home is
what a student answered at its bar (why "home"): an answer below the bar, from the cache, or by nobody is counted apart.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from freehold import wire
from freehold.watch.pairs import Agreement

__all__ = ["Hour", "StudentTally", "Tally", "TaskTally", "Up"]

KEPT = 20  # calls that went up, newest first
HOUR = 3600


class _Student(msgspec.Struct):
    sha256: str = ""
    answer: str = ""
    score: float | None = None
    threshold: float | None = None


class _Money(msgspec.Struct):
    home: float | None = None
    saved: float | None = None


class _Own(msgspec.Struct):
    answered_by: str
    why: str
    id: str = ""
    task: str = ""
    status: str = ""
    student: _Student | None = None
    money: _Money = msgspec.field(default_factory=_Money)
    reason: str = ""
    pairs: float = 0.0
    agrees: bool | None = None
    against: str = ""
    host: str = ""
    key: str = ""
    redacted: bool = False


class _Row(msgspec.Struct):
    freehold: _Own
    timestamp: str | float | int | None = None
    request: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(slots=True)
class Hour:
    """`other`: below the bar, from the cache, or answered by nobody."""

    home: int = 0
    up: int = 0
    other: int = 0


@dataclass(slots=True)
class StudentTally:
    """One student's home answers. `share` is that of home answers that may be drawn as a pair, as the newest one says
    (`home_at`, epoch seconds); None: no home answer yet."""

    home: int = 0
    share: float | None = None
    home_at: float = 0.0
    pairs: Agreement = field(default_factory=Agreement)


@dataclass(slots=True)
class TaskTally:
    calls: int = 0
    home: int = 0
    students: dict[str, StudentTally] = field(default_factory=dict)  # by sha256


@dataclass(frozen=True, slots=True, order=True)
class Up:
    """A call that was not answered at home, and why; `prompt` is the last user message."""

    at: float
    number: int
    task: str
    why: str
    reason: str
    score: float | None
    threshold: float | None
    answer: str
    prompt: str


@dataclass(slots=True)
class Tally:
    calls: int = 0
    home: int = 0
    replayed: int = 0
    failed: int = 0
    unreadable: int = 0
    unpriced: int = 0
    below_bar: int = 0
    cached: int = 0
    nobody: int = 0
    redacted: int = 0
    cost: float = 0.0
    saved: float = 0.0
    first: float | None = None
    last: float | None = None
    why: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    tasks: dict[str, TaskTally] = field(default_factory=dict)
    hours: dict[int, Hour] = field(default_factory=dict)
    ups: list[Up] = field(default_factory=list)  # a heap, the oldest first
    _decoder: msgspec.json.Decoder[_Row] = field(default_factory=lambda: msgspec.json.Decoder(_Row))

    def add(self, line: bytes) -> None:
        """Count one row, all of it or none; one that serve did not write is counted as unreadable."""
        if not line.strip():
            return
        try:
            row, at, prompt = self._read(line)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
            self.unreadable += 1
            return
        own = row.freehold
        self._add_money(own)
        task = self.tasks.setdefault(own.task, TaskTally())
        if own.why == "pair":
            _student(task, own).pairs.add(own.agrees, own.against)
        else:
            self._add_call(own, at, task, prompt)

    def _read(self, line: bytes) -> tuple[_Row, float | None, str]:
        """A row, its time, and its prompt where the page may show it. Raises one of many errors."""
        line.decode()  # texts that are not read here must be texts all the same
        row = self._decoder.decode(line)
        at, own = wire.timestamp(row.timestamp), row.freehold
        student = own.student or _Student()
        numbers = (at, own.pairs, own.money.home, own.money.saved, student.score, student.threshold)
        if not all(math.isfinite(number or 0.0) for number in numbers):
            raise ValueError("a number without end")
        shown = own.why != "pair" and _where(own) == "up"
        return row, at, _last_user_text(row.request) if shown else ""

    def _add_money(self, own: _Own) -> None:
        """An answer below the bar costs this machine's time; nothing was saved by it, since it might not go up."""
        self.cost += own.money.home or 0.0
        below = own.why != "pair" and _where(own) == "below_bar"
        self.saved += -(own.money.home or 0.0) if below else own.money.saved or 0.0
        self.unpriced += own.money.saved is None

    def _add_call(self, own: _Own, at: float | None, task: TaskTally, prompt: str) -> None:
        where = _where(own)
        home = where == "home"
        self.calls += 1
        self.home += home
        self.below_bar += where == "below_bar"
        self.cached += where == "cached"
        self.nobody += where == "nobody"
        self.failed += own.status == "failed"
        self.replayed += own.answered_by == "replay"
        self.redacted += own.redacted
        self.why[own.why or ("denied" if where == "nobody" else "unfinished")] += 1
        if own.host:
            self.hosts[own.host] += 1
        if own.key:
            self.keys[own.key] += 1
        task.calls += 1
        task.home += home
        if home:
            student = _student(task, own)
            student.home += 1
            if (at or 0.0) >= student.home_at:
                student.share, student.home_at = own.pairs, at or 0.0
        if at is not None:
            self._add_time(at, where)
        if where == "up":
            self._add_up(own, at or 0.0, prompt)

    def _add_time(self, at: float, where: str) -> None:
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)
        hour = self.hours.setdefault(int(at // HOUR) * HOUR, Hour())
        hour.home += where == "home"
        hour.up += where == "up"
        hour.other += where not in ("home", "up")

    def _add_up(self, own: _Own, at: float, prompt: str) -> None:
        if len(self.ups) >= KEPT and at < self.ups[0].at:
            return
        student = own.student or _Student()
        told = (own.task, own.why, own.reason, student.score, student.threshold, student.answer, prompt)
        keep = heapq.heappush if len(self.ups) < KEPT else heapq.heappushpop
        keep(self.ups, Up(at, self.calls, *told))


def _where(own: _Own) -> str:
    """home, below_bar, cached, nobody or up."""
    if own.answered_by == "student" and own.status != "failed":
        return "home" if own.why == "home" else "below_bar"
    return {"cache": "cached", "nobody": "nobody"}.get(own.answered_by, "up")


def _student(task: TaskTally, own: _Own) -> StudentTally:
    return task.students.setdefault(own.student.sha256 if own.student else "", StudentTally())


def _last_user_text(request: msgspec.Raw) -> str:
    """The last user message of a request as text; "" where there is none."""
    body = msgspec.json.decode(request)
    messages = body.get("messages") if isinstance(body, dict) else None
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            return "\n".join(p["text"] for p in parts if isinstance(p, dict) and isinstance(p.get("text"), str))
    return ""
