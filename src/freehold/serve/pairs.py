"""Pairs: a random share of home answers is asked upstream too, so that the promise is watched where it is used.

    home answer ──(share)──→ queue of 64 ──one at a time──→ upstream ──→ ledger row "pair" ──→ monitor ──→ rung closes?
                                └ full: the pair is lost, and counted

Clients never wait for a pair: it has a queue of its own, and only one is under way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from freehold import wire
from freehold.agree import agree
from freehold.engines.record import failure, read_reply
from freehold.engines.upstream import Upstream, UpstreamFailed
from freehold.nouns import Answer
from freehold.serve.ledger import Entry, Ledger
from freehold.serve.rungs import Step

__all__ = ["Pair", "Pairs"]

WAITING = 64
LONGEST = 1 << 20  # bytes of an answer; a label is shorter


@dataclass(frozen=True, slots=True)
class Pair:
    """A home answer to be asked again: the request's bytes and headers as the client sent them."""

    step: Step
    entry: Entry
    answer: Answer
    headers: dict[str, str]
    body: bytes


@dataclass
class Pairs:
    """`share` of home answers, drawn with `draw` (uniform in [0, 1)). `closing` is told of an alarm."""

    upstream: Upstream
    ledger: Ledger
    share: float
    closing: Callable[[Step, str], None]
    draw: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    lost: int = 0
    asked: int = 0
    _queue: asyncio.Queue[Pair] = field(default_factory=lambda: asyncio.Queue(WAITING))

    def offer(self, pair: Pair) -> None:
        """Count a home answer, and perhaps put it into the queue."""
        assert pair.step.monitor is not None
        alarm = pair.step.monitor.kept()
        if alarm:
            self.closing(pair.step, alarm)
        elif self.draw() < self.share:
            try:
                self._queue.put_nowait(pair)
            except asyncio.QueueFull:
                self.lost += 1

    async def run(self) -> None:
        """Ask one pair after the other, for ever."""
        while True:
            await self._ask(await self._queue.get())

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    async def _ask(self, pair: Pair) -> None:
        asked = Entry(pair.entry.call, pair.entry.body, id=pair.entry.id, task=pair.step.rung.task.name, why="pair")
        asked.probability, asked.student = self.share, pair.entry.student
        asked.saved = None if pair.step.bill is None else -pair.step.bill
        await self._answer(pair, asked)
        # the answer as a later audit of the ledger reads it: None for a failure, or one that was cut short
        text = wire.call_from_row({"request": asked.body, "response": asked.response}).answer
        asked.agrees = None if text is None else agree(pair.answer.text, text, pair.step.rung.task.rule)
        self.ledger.write(asked)
        if asked.agrees is None:
            self.lost += 1
            return
        self.asked += 1
        assert pair.step.monitor is not None
        alarm = pair.step.monitor.pair(asked.agrees)
        if alarm:
            self.closing(pair.step, alarm)

    async def _answer(self, pair: Pair, asked: Entry) -> None:
        """Fill in what the upstream says."""
        body = b""
        try:
            async with self.upstream.send("POST", "/v1/chat/completions", pair.headers, pair.body) as reply:
                while (chunk := await reply.read()) and len(body) < LONGEST:
                    body += chunk
                found = read_reply(reply.status, reply.header("content-type"), body)
                asked.ends(reply.status, found.status, found.response, found.reason)
        except UpstreamFailed as error:
            asked.ends(error.http, "failed", failure(error.code, error.message), error.message)
