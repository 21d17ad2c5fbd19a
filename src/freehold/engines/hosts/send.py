"""One call through a fleet: the only place where bytes leave for a host.

    prepare   what this host gets: private data out (once a call), its model's name in, the headers that may go up
    try       send, and look at the answer until its content has come: content.py
    fail      tell the breaker; is there one more try, and where?
    read on   after content: every byte as it comes, and nobody else's

Only calls that leave nothing behind at a host are tried again (AGAIN). Any other goes to the first host, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType

from freehold.engines.hosts.content import Scan, whole
from freehold.engines.hosts.deadline import TIMEOUT, allowed, come_back
from freehold.engines.hosts.host import Cleaned, Host, Policy, Sent
from freehold.engines.hosts.own import KEY, all_there, encoded, key_of, late, nobody
from freehold.engines.hosts.retry import LONGEST, TRIES, delay, may
from freehold.engines.upstream import AGAIN, UP, Reply, UpstreamFailed
from freehold.http.peer import AskFailed

__all__ = ["AGAIN", "Send"]

KEPT_THERE = (b'"previous_response_id"', b'"conversation"')  # of /v1/responses: it builds on what one host remembers
ERROR = 64 << 10  # bytes of an error's body
UNMADE = ("Connect", "AddressNotAllowed", "NoAddress")  # AskFailed.word, or an OSError's name: no connection was made
ENOUGH = 64 << 10  # bytes of events without content that wait
MAY = frozenset(UP)
Manager = AbstractAsyncContextManager[Reply]
Read = Callable[[], Awaitable[bytes]]


class _Failed(Exception):
    """A try that came to nothing before any content. `last` is what the client gets where it was the last one."""

    def __init__(self, why: str, last: Sent | UpstreamFailed, *, unmade: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.last = last
        self.unmade = unmade  # no connection came about, so the host has nothing of the call


class Send:
    """A context that yields the answer. Raises UpstreamFailed."""

    __slots__ = (
        "_again", "_asked", "_body", "_cleaned", "_ends", "_held", "_host", "_hosts", "_last", "_manager", "_method",
        "_pass", "_path", "_policy", "_reads", "_redacted", "_started", "_tries", "_until", "_up", "_waits", "_whole",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        hosts: Sequence[Host],
        again: bool,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        whole: bool,
        until: float | None,
        asked: list[str] | None = None,
    ) -> None:
        self._policy = policy
        self._method, self._path, self._body, self._whole = method, path, body, whole
        route = path.partition("?")[0]
        self._again = method == "POST" and route in AGAIN
        if self._again and route == "/v1/responses":
            self._again = not any(name in body for name in KEPT_THERE)
        self._hosts = hosts if self._again else hosts[:1]
        self._tries = TRIES if again and self._again else 1
        self._up = {name: headers[name] for name in headers if name in MAY}
        if method == "POST":
            self._up[KEY] = key_of(headers)
        self._waits = allowed(headers, policy.total)
        self._ends = until
        self._asked = [] if asked is None else asked
        self._until: float | None = None
        self._cleaned: Cleaned | None = None
        self._manager: Manager | None = None
        self._held = self._last = b""
        self._pass = 0
        self._redacted = False

    async def __aenter__(self) -> Sent:
        policy = self._policy
        began = now = policy.clock()
        self._until = self._ends
        if self._waits is not None:
            until = asyncio.get_running_loop().time() + self._waits
            self._until = until if self._until is None else min(until, self._until)
        policy.retries.call(now)
        host = self._next(now)
        if host is None:
            return nobody(self._hosts, now, policy.draw)
        done, names = 1, [host.name]
        while True:
            try:
                return await (self._try(host, done) if self._until is None else self._in_time(host, done))
            except _Failed as error:
                failed = error
            now = policy.clock()
            left = policy.total - (now - began)
            if done >= self._tries or left < LONGEST:
                break
            next_one = await self._another(host, failed, now)
            if next_one is None:
                break
            host = next_one
            done += 1
            if host.name not in names:
                names.append(host.name)
            until = asyncio.get_running_loop().time() + left
            self._until = until if self._until is None else min(until, self._until)
        if isinstance(failed.last, UpstreamFailed):
            failed.last.message = f"{', '.join(names)}: {failed.last.message}"
            raise failed.last from None
        return failed.last

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._pass and error is None:
            self._well()
        elif self._pass:
            self._host.counts.left += 1
        if self._manager is None:
            return None
        return await self._manager.__aexit__(kind, error, trace)

    # which host

    def _next(self, now: float, after: Host | None = None) -> Host | None:
        """The first host that may be asked; after a failure the first other one, else the same again."""
        for host in self._hosts:
            if host is not after and not host.rests(now):
                return host
        return after if after is not None and not after.rests(now) else None

    async def _another(self, host: Host, failed: _Failed, now: float) -> Host | None:
        """Who is asked after `host` has failed, once it is time; None where nobody is."""
        policy, again = self._policy, self._next(now, after=host)
        if again is None or not may(failed.why, other=again is not host):
            return None
        if again is not host:
            # what nobody has received yet is no extra load
            if not failed.unmade and not policy.retries.take(now):
                return None
            again.counts.fail_overs += 1
            return again
        seconds = delay(policy.draw)
        late = self._until is not None and asyncio.get_running_loop().time() + seconds >= self._until
        if late or not policy.retries.take(now):
            return None
        await policy.sleep(seconds)
        if host.rests(policy.clock()):  # others have failed there meanwhile
            return None
        host.counts.retries += 1
        return host

    # one try

    async def _in_time(self, host: Host, tries: int) -> Sent:
        """A try, as long as the client waits. That its time is up says nothing about the host."""
        try:
            async with asyncio.timeout_at(self._until) as timeout:
                return await self._try(host, tries)
        except TimeoutError:
            if not timeout.expired():
                raise
        raise late()

    async def _try(self, host: Host, tries: int) -> Sent:
        if host.private and self._cleaned is None:
            await self._clean()
        headers, body = self._prepared(host)
        now = self._started = self._policy.clock()
        self._host, self._pass = host, host.breaker.ask(now)
        if not self._pass:  # others have failed there while this request was read
            raise _Failed("upstream_resting", UpstreamFailed(503, "upstream_resting", "The upstream is left alone."))
        host.counts.calls += 1
        manager = host.upstream.send(self._method, self._path, headers, body, whole=self._whole)
        self._asked.append(host.name)
        kept = entered = False
        try:
            reply = await manager.__aenter__()
            entered = True
            if reply.status >= 400:
                self._asked.pop()
            sent = await self._look(reply, tries)
            kept = True
        except _Failed:
            if reply.status < 400:  # an error, or nonsense, in an answer's place
                self._asked.pop()
            raise
        except UpstreamFailed as error:
            self._failed(error.code)
            unmade = not entered and _unmade(error)
            if unmade:
                self._asked.pop()
            raise _Failed(error.code, error, unmade=unmade) from None
        except asyncio.CancelledError:
            host.counts.left += 1
            self._pass = 0
            raise
        finally:
            if entered and not kept:
                await manager.__aexit__(None, None, None)  # closes it: the host need not go on
        self._manager = manager
        return sent

    async def _clean(self) -> None:
        """Take private data out: once a call, however often it is sent."""
        leaves = self._policy.leaves
        assert leaves is not None
        self._cleaned = await leaves.take(self._path, self._up, self._body)

    def _prepared(self, host: Host) -> tuple[Mapping[str, str], bytes]:
        """What this host gets."""
        headers, body = self._up, self._body
        if host.private:
            assert self._cleaned is not None
            headers, body = dict(self._cleaned.headers), self._cleaned.body
        self._redacted = host.private and self._cleaned is not None and self._cleaned.changed
        if host.rename is not None:
            body = host.rename(body)
        if self._waits is not None and self._until is not None:
            left = self._until - asyncio.get_running_loop().time()
            headers[TIMEOUT] = f"{max(left, 0.001):.3f}"
        return headers, body

    async def _look(self, reply: Reply, tries: int) -> Sent:
        """The answer, once there is content; raises _Failed, or UpstreamFailed."""
        host, status = self._host, reply.status
        if status == 429 or status >= 500:
            raise await self._refused(reply, tries)
        if status >= 400:  # the client's fault, says the host
            host.breaker.answered(self._pass)
            self._pass = 0
            self._noticed()
            return self._sent(reply, reply.read, tries)
        if not self._again or encoded(reply):
            self._begun()
            return self._passing(reply, tries)
        if reply.header("content-type").lower().startswith("text/event-stream"):
            return await self._stream(reply, tries)
        return await self._all(reply, tries)

    async def _refused(self, reply: Reply, tries: int) -> _Failed:
        """429 or 5xx, as it came."""
        body = b""
        with suppress(UpstreamFailed):  # an error's body is passed on as far as it came
            while len(body) < ERROR and (chunk := await reply.read()):
                body += chunk
        seconds = come_back({name.lower(): value for name, value in reply.headers})
        last = self._sent(reply, all_there(body[:ERROR]), tries)
        if reply.status == 429:
            self._failed("rate_limited", seconds)
            return _Failed("rate_limited", last)
        self._failed(f"status_{reply.status}")
        return _Failed("upstream_busy" if seconds is not None and seconds > LONGEST else "upstream_status", last)

    async def _all(self, reply: Reply, tries: int) -> Sent:
        parts, size = [], 0
        while chunk := await reply.read():
            parts.append(chunk)
            size += len(chunk)
            if size > self._policy.longest:
                message = f"The upstream's answer is longer than {self._policy.longest} bytes."
                raise UpstreamFailed(502, "upstream_too_long", message)
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        sent = self._sent(reply, all_there(body), tries)
        seen = whole(body)
        if seen != "content":
            code = f"upstream_{seen}"
            self._failed(code)
            raise _Failed(code, sent)
        self._well()
        return sent

    async def _stream(self, reply: Reply, tries: int) -> Sent:
        scan, policy = Scan(), self._policy
        while True:
            chunk = await reply.read()
            seen = scan.feed(chunk) if chunk else scan.end()
            if seen == "content":
                break
            if seen:
                code = f"upstream_{seen}"
                self._failed(code)
                raise _Failed(code, self._sent(reply, all_there(scan.held), tries))
            if not chunk:
                raise UpstreamFailed(502, "upstream_interrupted", "The upstream broke off before its answer began.")
            if len(scan) - scan.whole > policy.held:
                message = f"The upstream sent more than {policy.held} bytes that are no whole event."
                raise UpstreamFailed(502, "upstream_too_long", message)
            if scan.events and (scan.whole > ENOUGH or policy.clock() - self._started > policy.patience):
                break
        self._held = scan.held
        self._begun()
        return self._passing(reply, tries)

    # after content

    def _begun(self) -> None:
        """Content has come: what now happens is this host's answer."""
        now = self._policy.clock()
        if not self._host.breaker.closed:  # the probe is answered, however long the rest of it takes
            self._pass = self._host.breaker.succeeded(self._pass, now)
            self._noticed()

    def _passing(self, reply: Reply, tries: int) -> Sent:
        self._reads = reply.read
        return self._sent(reply, self._read if self._ends is None else self._read_in_time, tries)

    async def _read(self) -> bytes:
        if self._held:
            self._last, self._held = self._held, b""
            return self._last
        try:
            chunk = await self._reads()
        except UpstreamFailed as error:
            if self._pass and b"[DONE]" in self._last:  # it had said all that it had to say
                self._well()
            elif self._pass:
                self._host.counts.interrupted += 1
                self._failed(error.code)
            raise
        if chunk:
            self._last = chunk
        elif self._pass:
            self._well()
        return chunk

    async def _read_in_time(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._ends) as timeout:
                return await self._read()
        except TimeoutError:
            if not timeout.expired():
                raise
        self._pass = 0
        raise late()

    def _sent(self, reply: Reply, read: Read, tries: int) -> Sent:
        return Sent(  # by place: names take half as long again, of every call
            reply.status, reply.headers, read, reply.framed, reply.redact, self._host.name, tries, self._redacted
        )

    # what the breaker hears, once a try

    def _failed(self, why: str, seconds: float | None = None) -> None:
        host, now = self._host, self._policy.clock()
        host.counts.failed(why)
        host.breaker.limited(self._pass, now, seconds) if why == "rate_limited" else host.breaker.failed(
            self._pass, now
        )
        self._pass = 0
        host.notice(now, self._policy.tell, why)

    def _well(self) -> None:
        self._host.breaker.succeeded(self._pass, self._policy.clock())
        self._pass = 0
        self._noticed()

    def _noticed(self) -> None:
        if self._host.since is not None:
            self._host.notice(self._policy.clock(), self._policy.tell)


def _unmade(error: UpstreamFailed) -> bool:
    """Whether the connection was not made. What ended it is kept as the error's context."""
    asked = error.__context__
    return isinstance(asked, AskFailed) and (asked.word in UNMADE or asked.word.lower().endswith("error"))
