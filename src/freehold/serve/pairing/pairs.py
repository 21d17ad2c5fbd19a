"""Pairs: the student's answer beside the upstream's, so that the promise is watched where it is used.

    home answer ──(share)──→ queue of 64 ──one at a time──→ upstream ──→ ledger row "pair" ─┐
                                └ full: the pair is lost, and counted                       ├→ pairs/ → monitor: closes?
    call that went up ───────→ queue of 64 ──one at a time──→ student: would it keep it? ───┘           stage: step up?
    (shadow, not in the canary)

Clients never wait for a pair: it has queues of its own, and in each only one is under way. Whatever an upstream
answers, the next pair is asked. Where a successor answers, pairs count apart (`Step.beside`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from freehold import wire
from freehold.engines.hosts.host import Sent
from freehold.engines.record import failure, read_reply
from freehold.engines.upstream import Timeouts, Upstream, UpstreamFailed
from freehold.ledger import Entry, Ledger
from freehold.nouns import Answer
from freehold.serve.ladder.route import Decision, settle
from freehold.serve.ladder.step import Step
from freehold.serve.pairing.pairlog import PairLog, PairRow
from freehold.serve.seats.thread import StudentThread
from freehold.tell import Tell, quiet

__all__ = ["Free", "Pair", "Pairs", "seen"]

WAITING = 64
LONGEST = 1 << 20  # bytes of an answer
Told = Callable[[Step, str], None]


@dataclass(frozen=True, slots=True)
class Pair:
    """A home answer to be asked again: the request's bytes and headers as the client sent them."""

    step: Step
    entry: Entry
    answer: Answer
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Free:
    """A call that went up and was answered, and what the student is asked about it."""

    step: Step
    entry: Entry
    text: str


@dataclass(slots=True)
class _Awaited:
    """Pairs of one rung in the queue or under way, and since when: the clock starts with the first, and again with
    each result, so that an upstream that only ever times out does not count as watching."""

    count: int = 0
    since: float = 0.0


def _nothing(step: Step, why: str) -> None:
    pass


@dataclass
class Pairs:
    """`share` of home answers, drawn with `draw` (uniform in [0, 1)). `closing` is told of an alarm, once a rung, and
    `rising` of each step up, with the reason; the stage has taken it by then. `patience` is how many seconds a pair may
    be awaited before its rung counts as unwatched, `least` how many a student has for a call at least. `log` keeps what
    each pair showed."""

    upstream: Upstream
    ledger: Ledger
    share: float
    closing: Told
    tell: Tell = quiet
    draw: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    patience: float = Timeouts().total
    rising: Told = _nothing
    log: PairLog | None = None
    least: float = 2.0
    lost: int = 0
    asked: int = 0
    freed: int = 0
    _queue: asyncio.Queue[Pair] = field(default_factory=lambda: asyncio.Queue(WAITING))
    _free: asyncio.Queue[Free] = field(default_factory=lambda: asyncio.Queue(WAITING))
    _awaited: dict[tuple[str, str], _Awaited] = field(default_factory=dict)
    _judging: StudentThread = field(default_factory=StudentThread)

    def offer(self, pair: Pair) -> None:
        """Count a home answer, and perhaps put it into the queue."""
        step = pair.step
        assert step.monitor is not None
        awaited = self._awaited.setdefault(step.key, _Awaited())
        young = awaited.count > 0 and time.monotonic() - awaited.since < self.patience
        alarm = "" if step.frozen else step.monitor.kept(young)
        if alarm:
            self._alarm(step, alarm)
        elif self.draw() < self.share:
            try:
                self._queue.put_nowait(pair)
            except asyncio.QueueFull:
                self.lost += 1
            else:
                awaited.since = awaited.since if awaited.count else time.monotonic()
                awaited.count += 1

    def free(self, step: Step, entry: Entry, text: str) -> None:
        """A call that went up because of the step's stage: its student is asked in the background, and its answer
        held against the upstream's, as relay left it in `entry` once the row was written.

        `text` is what the student reads (Decision.text). Every such call may be offered: those that failed, that the
        student would not keep, or that are left out of a slow student's share (`Step.asks`), are no pairs.
        """
        if step.monitor is None or step.seat is None or not step.rung.open or entry.status != "complete":
            return
        if step.asks < 1.0 and self.draw() >= step.asks:
            return
        try:
            self._free.put_nowait(Free(step, entry, text))
        except asyncio.QueueFull:
            self.lost += 1

    async def run(self) -> None:
        """Ask one pair after the other, for ever."""
        try:
            await asyncio.gather(self._ask_all(), self._free_all())
        finally:
            self._judging.shutdown(wait=False, cancel_futures=True)

    async def _ask_all(self) -> None:
        while True:
            pair = await self._queue.get()
            try:
                await self._ask(pair)
            except Exception as error:  # noqa: BLE001 (an upstream may answer anything; the watch goes on, and says so)
                self._lose(pair.step, error)
            finally:
                self._awaited[pair.step.key].count -= 1

    async def _free_all(self) -> None:
        while True:
            free = await self._free.get()
            try:
                await self._compare(free)
            except Exception as error:  # noqa: BLE001 (the same)
                self._lose(free.step, error)

    @property
    def waiting(self) -> int:
        return self._queue.qsize() + self._free.qsize()

    def _lose(self, step: Step, error: Exception) -> None:
        self.lost += 1
        # the type alone: an error's text may hold what a user wrote
        self.tell(f"a pair of {step.rung.task.name} is lost: {type(error).__name__}")

    def _alarm(self, step: Step, why: str) -> None:
        if step.rung.open:  # pairs still in the queue when it closed are asked, and close nothing again
            self.closing(step, why)

    async def _ask(self, pair: Pair) -> None:
        step = pair.step
        asked = Entry(pair.entry.call, pair.entry.body, id=pair.entry.id, task=step.rung.task.name, why="pair")
        asked.probability, asked.student = self.share, pair.entry.student
        asked.saved = None if step.bill is None else -step.bill
        if step.beside is not None:
            asked.more["against"] = step.beside.model
        try:
            await self._answer(pair, asked)
        except asyncio.CancelledError:
            asked.ends(0, "failed", failure("server_stopped", "the server stopped first"), "server_stopped")
            self.ledger.write(asked)
            self.lost += 1
            raise
        if not asked.more.get("redacted"):  # else it is an answer to another question
            asked.agrees = await self._agrees(step, pair.answer, asked)
        self.ledger.write(asked)
        if asked.agrees is None:
            self.lost += 1
            return
        self.asked += 1
        self._awaited[step.key].since = time.monotonic()
        self._record(step, asked, self.share, asked.agrees, home=True)

    async def _compare(self, free: Free) -> None:
        """The student's word on a call that went up."""
        step, entry = free.step, free.entry
        if step.seat is None or not step.rung.open:
            return
        said = await step.seat.ask(free.text, self.least)
        if said.answer is None:
            return
        would = settle(
            Decision("student", "home", step.rung.task.name, text=free.text), step.rung, said.answer, entry.call
        )
        if (would.where, would.why) != ("student", "home"):
            return
        agrees = await self._agrees(step, said.answer, entry)
        if agrees is None:
            self.lost += 1
            return
        self.freed += 1
        self._record(step, entry, step.asks, agrees)

    def _record(self, step: Step, entry: Entry, probability: float, agrees: bool, *, home: bool = False) -> None:
        """Write down what the pair showed, and act on it."""
        against = step.beside.model if step.beside is not None else ""
        if self.log is not None:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            stage, share = (step.stage.name, step.stage.share) if step.stage is not None else ("", None)
            name, student = step.key
            self.log.write(PairRow(at, entry.id, name, student, agrees, probability, stage, home, against, share))
        alarm, risen = seen(step, agrees, probability)
        if alarm:
            self._alarm(step, alarm)
        elif risen:
            self.rising(step, risen)

    async def _agrees(self, step: Step, answer: Answer, theirs: Entry) -> bool | None:
        """Does the student's answer agree with the upstream's in `theirs`, read as a later audit of the ledger reads
        it? None where that is a failure, or was cut short. Off the event loop: the answers of some tasks are run before
        they are compared."""
        row = {"timestamp": theirs.at, "request": theirs.body, "response": theirs.response}
        call = wire.call_from_row(row)
        text = wire.answer(call, step.rung.task.kind)
        if text is None:  # refused, or answered in another kind: the proof counts that as disagreement too
            return False if wire.finished(call) else None
        assert step.judge is not None, "a rung that is open has its judge"
        return await asyncio.wrap_future(self._judging.submit(step.judge.agree, answer.text, text))

    async def _answer(self, pair: Pair, asked: Entry) -> None:
        """Fill in what the upstream says."""
        body = b""
        try:
            path, whole = "/v1/chat/completions", not asked.body.get("stream")
            async with self.upstream.send("POST", path, pair.headers, pair.body, whole=whole) as reply:
                while (chunk := await reply.read()) and len(body) < LONGEST:
                    body += chunk
                found = read_reply(reply.status, reply.header("content-type"), reply.redact(body))
                if isinstance(reply, Sent) and reply.redacted:
                    asked.more["redacted"] = True
                asked.ends(reply.status, found.status, found.response, found.reason)
        except UpstreamFailed as error:
            asked.ends(error.http, "failed", failure(error.code, error.message), error.message)


def seen(step: Step, agrees: bool, probability: float, *, staged: bool = True) -> tuple[str, str]:
    """What one pair means for its rung: why it must close, or why it has gone up; both "" as a rule. `staged`: it was
    made at the step where the stage is now; the monitor counts it anyway."""
    assert step.monitor is not None
    if step.beside is not None:
        step.beside.pair(agrees)
        return "", ""
    alarm = step.monitor.pair(agrees, probability)
    if alarm or step.stage is None or not staged or not step.rung.open:
        return alarm, ""
    return "", step.stage.pair(agrees) or ""
