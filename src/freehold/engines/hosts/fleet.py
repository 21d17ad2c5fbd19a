"""Several hosts as one Upstream: who is asked, who is asked instead, and never two answers in one.

    send ──→ the first host in the order of freehold.toml whose breaker and budget allow it
              ├ its answer's content has come ──→ it is the answer, whatever happens to it later
              └ none has: failed connection, no answer in time, 5xx, 429, an error or nonsense in an answer's place
                 └──→ one more try, on the next host, or after 0.1 to 2 s on the same one      (retry.py: a budget)

Until content has come nothing is passed on: role and lifecycle events wait, so a client sees one status and one id. A
whole answer is passed on when all of it is there. Where every try fails, the last one's error goes back as it came.
What a single call does is in send.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from freehold.engines.hosts.host import Host, Policy, Sent
from freehold.engines.hosts.send import Send

__all__ = ["Fleet"]


class Fleet:
    """The closed hosts among `hosts`, in order, as one Upstream; an open model's host is asked by `one`."""

    def __init__(self, hosts: Sequence[Host], policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        assert self.policy.leaves is not None or not any(host.private for host in hosts), "who takes private data out?"
        self.all = tuple(hosts)
        self.hosts = tuple(host for host in hosts if not host.open)
        self._tries_again = True

    def __repr__(self) -> str:
        return f"Fleet({', '.join(f'{host.name}={host.upstream!r}' for host in self.hosts)})"

    @property
    def kind(self) -> str:
        """Of the first host: upstream or replay."""
        return self.hosts[0].upstream.kind if self.hosts else "upstream"

    def one(self, name: str) -> Fleet:
        """A single host as an Upstream, tried once: what fails there goes to the next rung. Its breaker, budget and
        counts are this fleet's. Raises KeyError."""
        host = next((host for host in self.all if host.name == name), None)
        if host is None:
            raise KeyError(name)
        alone = Fleet([host], self.policy)
        alone.hosts, alone._tries_again = (host,), False
        return alone

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        whole: bool = False,
        until: float | None = None,
        asked: list[str] | None = None,
    ) -> AbstractAsyncContextManager[Sent]:
        """As Upstream.send. `until` is a time of the event loop's clock at which the answer ends, stream or not, on top
        of what the client's headers allow (deadline.py). `asked` is given the name of each host that the request's
        bytes may have gone to, less those that answered with an error."""
        again = self._tries_again
        return Send(self.policy, self.hosts, again, method, path, headers, body, whole, until, asked)

    async def close(self) -> None:
        for host in self.all:
            await host.upstream.close()
        if self.policy.leaves is not None:
            await self.policy.leaves.close()

    def state(self) -> list[dict[str, Any]]:
        """One object a host, for /health."""
        now = self.policy.clock()
        return [_state(host, now) for host in self.all]


def _state(host: Host, now: float) -> dict[str, Any]:
    counts = host.counts
    return {
        "name": host.name,
        "kind": host.upstream.kind,
        "open_model": host.open,
        "model": host.model,
        "private": "redacted" if host.private else "as-is",
        "breaker": host.breaker.state(now),
        "rests_seconds": round(host.breaker.rests(now), 3),
        "budget_left": None if host.left is None else round(host.left(), 6),
        "calls": counts.calls,
        "failures": counts.failures,
        "retries": counts.retries,
        "fail_overs": counts.fail_overs,
    }
