"""The students at work: each has threads of its own, so that a slow one holds nobody else up.

Students.open(make) ─→ Seat: a student, its thread (as many as `student.parallel` says), how long a call usually takes
Seat.ask(text)      ─→ Said: an answer and its seconds, or why there is none
    busy       more wait than it can answer in the time a call may wait, or it hangs on earlier calls: up at once
    too late   the call goes up; where the student has not begun with it, it never does
    failed     the call goes up; an engine that died starts again with the next call
    poison     a text on which the engine died twice: this student is not asked about it again (quarantine.py)
Students.close()    ─→ every engine ends, also one that was still being opened
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from freehold.engines.llama.process import EngineDied
from freehold.errors import EngineFailed, FreeholdError, StudentUnusable
from freehold.nouns import Answer, Student
from freehold.serve.seats.quarantine import Quarantine
from freehold.serve.seats.thread import StudentThread

__all__ = ["OPENING", "Said", "Seat", "Students"]

WAITING = 64  # calls that may wait for one student; further ones go up
OPENING = 120.0  # seconds that a student may take to open: a model is read from the disk
POISON = "the student's engine died on this text twice"
FADE = 0.2  # how much the latest call counts in the seconds that calls took lately
LONG = 10.0  # times the usual seconds of a call: what takes longer hangs


@runtime_checkable
class Closes(Protocol):
    """A student with an engine behind it."""

    def close(self) -> None: ...


@runtime_checkable
class Confined(Protocol):
    """A student whose engine is a process of its own."""

    @property
    def network(self) -> str: ...


@runtime_checkable
class Abandons(Protocol):
    """A student that ends an answer which nobody waits for."""

    def answer_unless(self, text: str, gone: Callable[[], bool], /) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Said:
    """What came of asking; `reason` says why there is no answer, `quarantined` that there will be none tomorrow."""

    answer: Answer | None = None
    seconds: float = 0.0
    reason: str = ""
    quarantined: bool = False


class _Poison(Exception):
    """The text was quarantined while the call waited."""


@dataclass(eq=False, slots=True)
class _Turn:
    """A call that the student is at, or that waits for it. `since` is when it began, 0 where it has not; `late` that
    its call waited as long as calls do, in vain."""

    text: str
    since: float = 0.0
    late: bool = False
    gone: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class Seat:
    """`usual` is the seconds that a call takes alone, as prove measured them (0: not known). `deaths` counts the calls
    in a row on which the engine died; `name` is what the quarantine knows the student by."""

    student: Student
    thread: StudentThread
    usual: float = 0.0
    name: str = ""
    quarantine: Quarantine = field(default_factory=Quarantine)
    deaths: int = 0
    waiting: int = 0
    _at: set[_Turn] = field(default_factory=set)  # the calls that the student is at
    _took: float = 0.0  # seconds that calls took lately, beside each other: an average that fades
    _unless: Callable[[str, Callable[[], bool]], Answer] | None = field(init=False)

    def __post_init__(self) -> None:
        self._unless = self.student.answer_unless if isinstance(self.student, Abandons) else None

    @property
    def parallel(self) -> int:
        """How many calls the student is asked at a time."""
        return self.thread.count

    @property
    def network(self) -> str:
        """Why the student's engine can reach the network; "" where it can't, or there is none."""
        return self.student.network if isinstance(self.student, Confined) else ""

    def patience(self, least: float) -> float:
        """Seconds that a call waits: ten times the usual ones, and at least `least`."""
        return max(least, LONG * self.usual)

    async def ask(self, text: str, least: float) -> Said:
        """The student's answer, within its patience."""
        if self.quarantine.holds(self.name, text):
            return Said(reason=POISON, quarantined=True)
        patience = self.patience(least)
        if self.waiting >= self._room(patience):
            return Said(reason="the student is busy")
        self.waiting += 1
        turn = _Turn(text)
        asked = asyncio.get_running_loop().run_in_executor(self.thread, self._timed, turn)
        asked.add_done_callback(_seen)
        try:
            await asyncio.wait([asked], timeout=patience)
            turn.late = not asked.done()
        finally:
            self.waiting -= 1
            if not asked.done():  # a call that has not begun never will, and one that has is ended
                asked.cancel()
                turn.gone.set()
        if turn.late:
            return Said(reason=f"the student took longer than {patience:g} s")
        return self._heard(asked)

    def _room(self, patience: float) -> int:
        """Calls that may be under way and wait, so that the last of them is answered in time; 0 where it hangs.

        What is asked side by side takes longer than alone, so that counts which calls took lately."""
        now = time.monotonic()
        free = self.parallel - sum(turn.late or turn.since < now - patience for turn in self._at.copy())
        took = max(self.usual, self._took if self.parallel > 1 else 0.0)
        if free <= 0:
            return 0
        return WAITING if not self.usual else max(free, min(WAITING, int(free * patience / took)))

    def _heard(self, asked: asyncio.Future[tuple[Answer, float]]) -> Said:
        error = asked.exception()
        if isinstance(error, _Poison):  # nothing was asked, so nothing was learned of the engine
            return Said(reason=POISON, quarantined=True)
        self.deaths = self.deaths + 1 if isinstance(error, EngineFailed) else 0
        if error is not None:
            return Said(reason=f"the student failed: {type(error).__name__}")
        answer, seconds = asked.result()
        return Said(answer, seconds)

    def _timed(self, turn: _Turn) -> tuple[Answer, float]:
        """In a thread of the student's. A text may have killed the engine while it waited in the queue once more."""
        if self.quarantine.holds(self.name, turn.text):
            raise _Poison
        turn.since = start = time.monotonic()
        self._at.add(turn)
        try:
            if self._unless is not None:
                answer = self._unless(turn.text, turn.gone.is_set)
            else:
                (answer,) = self.student.answers([turn.text])
            return answer, time.monotonic() - start
        except EngineDied as death:  # here, so that it counts also where nobody waits for the answer any more
            self.quarantine.killed(self.name, turn.text, death.kills)
            raise
        finally:
            self._at.discard(turn)
            self._took += FADE * (time.monotonic() - start - self._took)


@dataclass
class Students:
    """All that were opened. `open` and `drop` are called in one thread, `close` in any."""

    quarantine: Quarantine = field(default_factory=Quarantine)
    _seats: list[Seat] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def open(self, make: Callable[[], Student], usual: float = 0.0, limit: float = OPENING, *, name: str = "") -> Seat:
        """A seat for the student that `make` opens; `name` is its sha256 ("": known to nobody else).

        Raises the FreeholdError that `make` does, and StudentUnusable for another error, or where it does not come to
        an end.
        """
        thread = StudentThread()
        opened = thread.submit(make)
        try:
            error = opened.exception(limit)
        except TimeoutError:
            opened.add_done_callback(_end_late)
            error = StudentUnusable(f"The student was not open after {limit:g} s.")
        if error is not None:
            thread.shutdown(wait=False)
            known = isinstance(error, FreeholdError)
            raise error if known else StudentUnusable(f"The student could not be opened: {type(error).__name__}.")
        student = opened.result()
        thread.grow(getattr(student, "parallel", 1))
        seat = Seat(student, thread, usual, name or f"unnamed {id(thread)}", self.quarantine)
        with self._lock:
            if not self._closed:
                self._seats.append(seat)
                return seat
        _end(seat)
        raise StudentUnusable("The server is stopping.")

    def drop(self, seat: Seat) -> None:
        """End a student that will not be asked again."""
        with self._lock:
            if seat in self._seats:
                self._seats.remove(seat)
        _end(seat)

    def close(self) -> None:
        """End every student, and any that opens from here on."""
        with self._lock:
            self._closed, seats, self._seats = True, self._seats, []
        for seat in seats:
            _end(seat)


def _end(seat: Seat) -> None:
    seat.thread.shutdown(wait=False, cancel_futures=True)  # a student that is stuck is left behind
    if isinstance(seat.student, Closes):
        seat.student.close()


def _end_late(opened: Future[Student]) -> None:
    """A student that opened when nobody waited for it any more."""
    if opened.cancelled() or opened.exception() is not None:
        return
    student = opened.result()
    if isinstance(student, Closes):
        student.close()


def _seen(asked: asyncio.Future[Any]) -> None:
    """Look at an error that nobody waits for any more, so that its text, which may be a user's, is not logged."""
    if not asked.cancelled():
        asked.exception()
