"""Who may come in now, who waits, and who is turned away: before a call costs anything.

    door   before the body is read: stopping (503); too many of this key wait, its calls a minute, overload (429)
    enter  once its tokens are known: its tokens a minute; then a place at once, or a wait in line
    leave  the next in line

A place is counted in tokens: those of the prompt, and the most that may be answered. A key has at most `running_key`
calls with a place and `queued_key` that wait; all together have `running_tokens`, of which no call counts for more than
a quarter. Of those who wait, the key with the fewest tokens under way is next: one that asks fifty times as often waits
behind its own calls, not before another's. A call that is too large for the room that is left is passed by smaller
ones, but only so many times.

Overload: while the event loop lags, or calls wait longer than WAITED for room that all share, a growing share is turned
away at the door, where that is cheapest: of keys that have a call under way or waiting, never a key's only call.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Sequence

from freehold.keys import Key
from freehold.keys.spent import Rate, Spent
from freehold.project.gateway import Limits
from freehold.serve.entry.policy import Denied

__all__ = ["Admission", "Place"]

PASSED = 16  # smaller calls that may go before a large one
TICK = 0.1  # seconds between two looks at the load
LAG = 0.2  # seconds that the event loop may be late; 0.1 it is on a busy machine without having much to do
WAITED = 1.0  # seconds that the first in line may have waited
UP, DOWN = 0.1, 0.8  # how the share that is turned away grows, and shrinks
LATER = 60  # seconds: the most that Retry-After says


class _Line:
    """One key's calls: how many have a place, with how many tokens, and those that wait."""

    __slots__ = ("above", "held", "key", "most", "name", "queued", "running", "seats", "tokens", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.key: Key | None = None
        self.seats = self.queued = self.running = self.tokens = 0
        self.above: tuple[_Line, ...] = ()  # of the keys that it was minted with, those with a limit of calls at once
        self.held, self.most = 0, math.inf  # calls with a place, of keys minted with it too, and the most of them
        self.waiting: deque[_Waiter] = deque()


def _free(line: _Line) -> bool:
    """Whether one more call of it may have a place, but for the tokens."""
    return line.running < line.seats and line.held < line.most and all(one.held < one.most for one in line.above)


class _Waiter:
    __slots__ = ("future", "line", "passed", "since", "timer", "tokens")

    def __init__(self, line: _Line, tokens: int, since: float, future: asyncio.Future[Place]) -> None:
        self.line, self.tokens, self.since, self.future = line, tokens, since, future
        self.passed = 0
        self.timer: asyncio.TimerHandle | None = None


class Place:
    """A call's place. `leave` it once the answer is out, or nobody waits for it any more."""

    __slots__ = ("_held", "_line", "_of", "_rates", "tokens")

    def __init__(self, of: Admission, line: _Line, tokens: int, rates: Sequence[Rate]) -> None:
        self._of: Admission | None = of
        self._line, self.tokens, self._rates = line, tokens, rates
        self._held = (line, *line.above)

    def leave(self, used: int | None = None) -> None:
        """`used`: the tokens that it took after all; what was counted too much against the key's minute goes back. Does
        nothing the second time."""
        of, self._of = self._of, None
        if of is not None:
            of._left(self._line, self._held, self.tokens)
            if used is not None and self._rates and of.spent is not None:
                of.spent.give_back(self._rates, self.tokens - used)


class Admission:
    """One worker's door. With `workers` each has its share of the limits, rounded up; the rates of a minute stand in
    `spent`, which all workers share. `line` is a key and those that it was minted with: a call counts against the rates
    and the calls at once of each. `clock` is the event loop's own."""

    def __init__(
        self,
        limits: Limits,
        *,
        spent: Spent | None = None,
        line: Callable[[Key], Sequence[Key]] = lambda key: (key,),
        workers: int = 1,
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.spent = spent
        self.tokens = 0
        self.waiting = 0
        self.shed = 0.0
        self.draining = False
        self._limits, self._workers, self._clock, self._draw = limits, workers, clock, draw
        self._above = line
        self._most = math.ceil(limits.running_tokens / workers)
        self._lines: dict[str, _Line] = {}
        self._ready: list[_Line] = []  # lines with a waiter and a free seat: what they lack is room for tokens
        self._debt = 0.0
        self._late = 0  # looks in a row that found too much to do
        self._waits = 0.0  # how long calls waited lately, in seconds
        self._due = math.inf

    # the door

    def door(self, key: Key | None) -> None:
        """Whether a call of this key is worth reading. Raises Denied."""
        if self.draining:
            raise Denied(503, "stopping", "This server is stopping.", Retry_After="1")
        line = self._line(key)
        if len(line.waiting) >= line.queued:
            raise self._busy("queue_full", f"{line.queued} calls of this key wait already.")
        if self.shed and (line.running or line.waiting):
            self._debt += self.shed
            if self._debt >= 1.0:
                self._debt -= 1.0
                raise self._busy("overloaded", "This server has more to do than it can.")
        if key is not None and key.requests_minute is not None and self.spent is not None:
            wait = self.spent.take(self._rates(key), 1, 0)
            if wait:
                raise self._later("rate_limited", f"This key has {key.requests_minute:,} calls a minute.", wait)

    def enter(self, key: Key | None, tokens: int) -> Place | None:
        """A place at once, or None: then `wait` for one. Raises Denied for more tokens than the key has a minute."""
        rate = key.tokens_minute if key is not None else None
        if rate is not None and self.spent is not None and key is not None:
            wait = self.spent.take(self._rates(key), 0, tokens)
            if wait == math.inf:
                message = f"This call may take {tokens:,} tokens, and this key has {rate:,} a minute."
                raise Denied(429, "rate_limited", message, X_Should_Retry="false")
            if wait:
                raise self._later("rate_limited", f"This key has {rate:,} tokens a minute.", wait)
        line = self._line(key)
        if self._ready or line.waiting or not _free(line) or not self._fits(tokens):
            return None
        return self._seat(line, tokens, () if key is None or rate is None else self._rates(key))

    async def wait(self, key: Key | None, tokens: int, deadline: float = math.inf) -> Place:
        """A place in turn, after `enter` had none. `deadline` is the client's own, by the event loop's clock. Raises
        Denied (429) where the line is full or no place came free in time; who stops waiting leaves the line."""
        line, now = self._line(key), self._clock()
        if len(line.waiting) >= line.queued:
            raise self._refused(key, tokens, "queue_full", f"{line.queued} calls of this key wait already.")
        loop = asyncio.get_running_loop()
        waiter = _Waiter(line, tokens, now, loop.create_future())
        line.waiting.append(waiter)
        self.waiting += 1
        if _free(line) and line not in self._ready:
            self._ready.append(line)
        self._dispatch()
        if not waiter.future.done():
            most = min(self._limits.queue_seconds, max(0.0, deadline - now))
            waiter.timer = loop.call_later(most, self._expire, waiter)
        try:
            place = await waiter.future
        except asyncio.CancelledError:
            self._drop(waiter)
            if waiter.future.done() and not waiter.future.cancelled() and not waiter.future.exception():
                waiter.future.result().leave()
            self._give_back(key, tokens)
            raise
        except TimeoutError:
            raise self._refused(key, tokens, "queue_timeout", "No place came free in time.") from None
        finally:
            if waiter.timer is not None:
                waiter.timer.cancel()
        self._waits += (self._clock() - now - self._waits) / 16
        place._rates = () if key is None or key.tokens_minute is None else self._rates(key)
        return place

    def drain(self) -> None:
        """New calls are turned away with 503 from here on; who waits already has his turn."""
        self.draining = True

    # load

    def tick(self) -> float:
        """Look at the load; call it every TICK seconds from the event loop. How late the loop is, in seconds."""
        now = self._clock()
        lag = max(0.0, now - self._due)
        self._due = now + TICK
        oldest = min((line.waiting[0].since for line in self._ready if line.waiting), default=now)
        self._late = self._late + 1 if lag > LAG or now - oldest > WAITED else 0
        if self._late > 1:
            self.shed = min(0.95, self.shed + UP)
        else:
            self.shed = self.shed * DOWN if self.shed > 0.01 else 0.0
        self._waits *= 0.98
        return lag

    async def watch(self) -> None:
        """Tick until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK)

    # seats

    def _line(self, key: Key | None) -> _Line:
        """Without keys all calls are one line with no more of its own than all have."""
        name = "" if key is None else key.name
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(name)
        elif line.key is key and line.seats:
            return line
        line.key, limits = key, self._limits
        line.above, line.most = (), math.inf
        if key is None:
            line.seats = line.queued = limits.connections
        else:
            seats = limits.running_key if key.running is None else min(key.running, limits.running_key)
            line.seats, line.queued = -(-seats // self._workers), -(-limits.queued_key // self._workers)
            line.above = tuple(self._line(one) for one in self._above(key)[1:] if one.running is not None)
            line.most = math.inf if key.running is None else -(-key.running // self._workers)
        return line

    def _rates(self, key: Key) -> list[Rate]:
        """Of all whose minute a call of this key counts against."""
        return [Rate(one.name, one.requests_minute, one.tokens_minute) for one in self._above(key)]

    def _fits(self, tokens: int) -> bool:
        return self.tokens + self._size(tokens) <= self._most

    def _size(self, tokens: int) -> int:
        """What a call counts in the room that all share: no call takes more than a quarter of it."""
        return min(tokens, max(1, self._most // 4))

    def _seat(self, line: _Line, tokens: int, rates: Sequence[Rate] = ()) -> Place:
        line.running += 1
        line.tokens += self._size(tokens)
        self.tokens += self._size(tokens)
        for one in (line, *line.above):
            one.held += 1
        return Place(self, line, tokens, rates)

    def _left(self, line: _Line, held: Sequence[_Line], tokens: int) -> None:
        line.running -= 1
        line.tokens -= self._size(tokens)
        self.tokens -= self._size(tokens)
        for one in held:
            one.held -= 1
        shared = any(one.most < math.inf for one in held)  # then another key's call may be what had waited for this
        for other in self._lines.values() if shared else (line,):
            if other.waiting and _free(other) and other not in self._ready:
                self._ready.append(other)
        if self._ready:
            self._dispatch()

    def _dispatch(self) -> None:
        """Seat whoever has room, the key with the fewest tokens under way first."""
        while self._ready:
            for line in self._ready:
                while line.waiting and line.waiting[0].future.done():  # cancelled, and not yet told
                    self._take(line)
            self._ready = [line for line in self._ready if line.waiting and _free(line)]
            self._ready.sort(key=lambda line: (line.tokens, line.waiting[0].since))
            passed: list[_Waiter] = []
            for line in self._ready:
                waiter = line.waiting[0]
                if self._fits(waiter.tokens):
                    break
                if waiter.passed >= PASSED:
                    return  # nobody goes before this one any more
                passed.append(waiter)
            else:
                return
            for other in passed:
                other.passed += 1
            self._take(line)
            waiter.future.set_result(self._seat(line, waiter.tokens))

    def _take(self, line: _Line) -> None:
        line.waiting.popleft()
        self.waiting -= 1

    def _drop(self, waiter: _Waiter) -> None:
        """Who stops waiting leaves the line; those behind may fit where he did not."""
        line = waiter.line
        if waiter in line.waiting:
            line.waiting.remove(waiter)
            self.waiting -= 1
            if not line.waiting and line in self._ready:
                self._ready.remove(line)
            self._dispatch()

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.future.done():
            self._drop(waiter)
            waiter.future.set_exception(TimeoutError())

    # refusals

    def _refused(self, key: Key | None, tokens: int, code: str, message: str) -> Denied:
        self._give_back(key, tokens)
        return self._busy(code, message)

    def _give_back(self, key: Key | None, tokens: int) -> None:
        if key is not None and key.tokens_minute is not None and self.spent is not None:
            self.spent.give_back(self._rates(key), tokens)

    def _busy(self, code: str, message: str) -> Denied:
        return self._later(code, message, self._waits)

    def _later(self, code: str, message: str, wait: float) -> Denied:
        """429: from `wait` seconds to about twice that, so that those turned away together don't come back together."""
        least = max(1, math.ceil(wait))
        after = min(LATER, least + int(self._draw() * (least + 1)))
        return Denied(429, code, message, Retry_After=str(after))
