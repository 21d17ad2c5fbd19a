"""Pairs: a random share of home answers is asked upstream too, so that the promise is watched where it is used.

    home answer ──(share)──→ queue of 64 ──one at a time──→ upstream ──→ ledger row "pair" ──→ monitor ──→ rung closes?
                                └ full: the pair is lost, and counted

Clients never wait for a pair: it has a queue of its own, and only one is under way. Whatever an upstream answers, the
next pair is asked.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from freehold import wire
from freehold.engines.record import failure, read_reply
from freehold.engines.upstream import Timeouts, Upstream, UpstreamFailed
from freehold.nouns import Answer
from freehold.serve.ledger import Entry, Ledger
from freehold.serve.rungs import Step
from freehold.serve.thread import StudentThread
from freehold.tell import Tell, quiet

__all__ = ["Pair", "Pairs"]

WAITING = 64
LONGEST = 1 << 20  # bytes of an answer


@dataclass(frozen=True, slots=True)
class Pair:
    """A home answer to be asked again: the request's bytes and headers as the client sent them."""

    step: Step
    entry: Entry
    answer: Answer
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class _Awaited:
    """Pairs of one rung in the queue or under way, and since when: the clock starts with the first, and again with
    each result, so that an upstream that only ever times out does not count as watching."""

    count: int = 0
    since: float = 0.0


@dataclass
class Pairs:
    """`share` of home answers, drawn with `draw` (uniform in [0, 1)). `closing` is told of an alarm, once a rung;
    `patience` is how many seconds a pair may be awaited before its rung counts as unwatched."""

    upstream: Upstream
    ledger: Ledger
    share: float
    closing: Callable[[Step, str], None]
    tell: Tell = quiet
    draw: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    patience: float = Timeouts().total
    lost: int = 0
    asked: int = 0
    _queue: asyncio.Queue[Pair] = field(default_factory=lambda: asyncio.Queue(WAITING))
    _awaited: dict[str, _Awaited] = field(default_factory=dict)
    _judging: StudentThread = field(default_factory=StudentThread)

    def offer(self, pair: Pair) -> None:
        """Count a home answer, and perhaps put it into the queue."""
        assert pair.step.monitor is not None
        awaited = self._awaited.setdefault(pair.step.rung.task.name, _Awaited())
        young = awaited.count > 0 and time.monotonic() - awaited.since < self.patience
        alarm = pair.step.monitor.kept(young)
        if alarm:
            self._alarm(pair.step, alarm)
        elif self.draw() < self.share:
            try:
                self._queue.put_nowait(pair)
            except asyncio.QueueFull:
                self.lost += 1
            else:
                awaited.since = awaited.since if awaited.count else time.monotonic()
                awaited.count += 1

    async def run(self) -> None:
        """Ask one pair after the other, for ever."""
        try:
            while True:
                await self._next(await self._queue.get())
        finally:
            self._judging.shutdown(wait=False, cancel_futures=True)

    async def _next(self, pair: Pair) -> None:
        try:
            await self._ask(pair)
        except Exception as error:  # noqa: BLE001 (an upstream may answer anything; the watch goes on, and says so)
            self.lost += 1
            # the type alone: an error's text may hold what a user wrote
            self.tell(f"a pair of {pair.step.rung.task.name} is lost: {type(error).__name__}")
        finally:
            self._awaited[pair.step.rung.task.name].count -= 1

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def _alarm(self, step: Step, why: str) -> None:
        if step.rung.open:  # pairs still in the queue when it closed are asked, and close nothing again
            self.closing(step, why)

    async def _ask(self, pair: Pair) -> None:
        asked = Entry(pair.entry.call, pair.entry.body, id=pair.entry.id, task=pair.step.rung.task.name, why="pair")
        asked.probability, asked.student = self.share, pair.entry.student
        asked.saved = None if pair.step.bill is None else -pair.step.bill
        try:
            await self._answer(pair, asked)
        except asyncio.CancelledError:
            asked.ends(0, "failed", failure("server_stopped", "the server stopped first"), "server_stopped")
            self.ledger.write(asked)
            self.lost += 1
            raise
        # the answer as a later audit of the ledger reads it: None for a failure, or one that was cut short
        row = {"timestamp": asked.at, "request": asked.body, "response": asked.response}
        call = wire.call_from_row(row)
        text = wire.answer(call, pair.step.rung.task.kind)
        if text is not None:
            asked.agrees = await self._agrees(pair, text)
        elif wire.finished(call):  # refused, or answered in another kind: the proof counts that as disagreement too
            asked.agrees = False
        self.ledger.write(asked)
        if asked.agrees is None:
            self.lost += 1
            return
        self.asked += 1
        self._awaited[asked.task].since = time.monotonic()
        assert pair.step.monitor is not None
        alarm = pair.step.monitor.pair(asked.agrees)
        if alarm:
            self._alarm(pair.step, alarm)

    async def _agrees(self, pair: Pair, theirs: str) -> bool:
        """Off the event loop: the answers of some tasks are run before they are compared."""
        judge = pair.step.judge
        assert judge is not None, "a rung that is open has its judge"
        return await asyncio.wrap_future(self._judging.submit(judge.agree, pair.answer.text, theirs))

    async def _answer(self, pair: Pair, asked: Entry) -> None:
        """Fill in what the upstream says."""
        body = b""
        try:
            path, whole = "/v1/chat/completions", not asked.body.get("stream")
            async with self.upstream.send("POST", path, pair.headers, pair.body, whole=whole) as reply:
                while (chunk := await reply.read()) and len(body) < LONGEST:
                    body += chunk
                found = read_reply(reply.status, reply.header("content-type"), reply.redact(body))
                asked.ends(reply.status, found.status, found.response, found.reason)
        except UpstreamFailed as error:
            asked.ends(error.http, "failed", failure(error.code, error.message), error.message)
