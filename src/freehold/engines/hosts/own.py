"""What a fleet says itself: its key for a call, and its answer where no host may be asked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import ceil

from freehold import wire
from freehold.engines.hosts.host import Host, Sent
from freehold.engines.upstream import Headers, Reply, UpstreamFailed

__all__ = ["KEY", "all_there", "encoded", "key_of", "late", "nobody"]

KEY = "idempotency-key"


def key_of(headers: Mapping[str, str]) -> str:
    """The Idempotency-Key of every try: the client's own, told apart by its client (all of them share one key at the
    host) and without what it may say, or a new one."""
    said = headers.get(KEY)
    if said is None:
        return f"freehold-{secrets.token_hex(16)}"
    owned = f"{headers.get('authorization', '')}\0{said}".encode("utf-8", "surrogatepass")
    return f"freehold-{hashlib.blake2b(owned, digest_size=16).hexdigest()}"


def nobody(hosts: Sequence[Host], now: float, draw: Callable[[], float]) -> Sent:
    """The answer where none of `hosts` may be asked."""
    if not hosts:
        return _answer(503, "There is no upstream for this call.", "no_upstream")
    resting = [host for host in hosts if host.breaker.rests(now) > 0]
    if not resting:
        message = "What may be spent on the upstream today is spent."
        return _answer(429, message, "upstream_budget", [("x-should-retry", "false")])
    shortest = min(host.breaker.rests(now) for host in resting)
    # spread over up to 5 s, so that not all come back at once
    again = [("Retry-After", str(max(1, ceil(shortest + min(shortest, 10.0) * draw() / 2))))]
    if all(host.breaker.by_limit for host in resting):
        return _answer(429, "The upstream takes no more calls for now.", "upstream_limited", again)
    message = "The upstream has failed too often and is left alone for a while."
    return _answer(503, message, "upstream_resting", again)


def late() -> UpstreamFailed:
    return UpstreamFailed(504, "deadline_passed", "No whole answer came in the time that the client allows.")


def encoded(reply: Reply) -> bool:
    return reply.header("content-encoding").lower() not in ("", "identity")


def all_there(body: bytes) -> Callable[[], Awaitable[bytes]]:
    """read() of an answer that has come."""
    left = [body] if body else []

    async def read() -> bytes:
        return left.pop() if left else b""

    return read


def _answer(status: int, message: str, code: str, more: Headers | None = None) -> Sent:
    body = wire.error(message, "upstream_error", code)
    return Sent(status, [("Content-Type", "application/json"), *(more or [])], all_there(body))
