"""Private data is taken out in one place: once a request, on every path, and only for the hosts that are told so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from freehold.engines.hosts.fleet import Fleet
from freehold.engines.hosts.host import Host
from freehold.engines.hosts.model import asks
from freehold.engines.upstream import UP
from freehold.serve.away.leaving import Leaving, Left

from .conftest import CHAT, HEAD, LAST, OK_STREAM, Clock, Hosts, Raw, asked, call, chunk, good, role, until, up, whole

MAIL = "ana.lopez@firm.example"
TEXT = [{"role": "user", "content": f"write to {MAIL}"}]
DOWN = whole(b"{}", "503 Down")
TORN = [OK_STREAM, chunk(role("a")), LAST]
PATHS: dict[str, tuple[str, bytes]] = {
    "whole": (CHAT, asked(messages=TEXT)),
    "stream": (CHAT, asked(True, messages=TEXT)),
    "with a query": (f"{CHAT}?beta=1", asked(messages=TEXT)),
    "tools": (CHAT, asked(messages=TEXT, tools=[{"type": "function", "function": {"name": "f", "description": MAIL}}])),
    "completions": ("/v1/completions", json.dumps({"model": "m", "prompt": MAIL}).encode()),
    "embeddings": ("/v1/embeddings", json.dumps({"model": "m", "input": ["x", MAIL]}).encode()),
    "responses": ("/v1/responses", json.dumps({"model": "m", "input": [{"role": "user", "content": MAIL}]}).encode()),
    "moderations": ("/v1/moderations", json.dumps({"input": MAIL}).encode()),
    "another route": ("/v1/vector_stores/v-1/search", json.dumps({"query": MAIL}).encode()),
    "large": (CHAT, asked(messages=[{"role": "user", "content": f"{'word ' * 20_000} {MAIL}"}])),
}
WAYS = ("first", "fallback", "retry", "one host", "pair")


class Counted:
    """The real hook, and how often it was called."""

    def __init__(self) -> None:
        self.leaving = Leaving(b"0123456789abcdef")
        self.calls = 0

    async def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Left:
        self.calls += 1
        return await self.leaving.take(path, headers, body)

    async def close(self) -> None:
        await self.leaving.close()


def then_good(name: str, *first: Any) -> Any:
    left, fine = list(first), good(name)
    return lambda path, headers, body: left.pop(0) if left else fine(path, headers, body)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", PATHS)
async def test_once_on_every_path(hosts: Hosts, path: str, way: str) -> None:
    route, body = PATHS[path]
    fails = TORN if path == "stream" else DOWN
    hook, clock = Counted(), Clock()
    firsts = [fails] if way in ("fallback", "retry") else []
    raws = await hosts(a=then_good("a", *firsts), **({"b": good("b")} if way == "fallback" else {}))
    both = Fleet([Host(raw.name, up(raw), private=True) for raw in raws], clock.policy(leaves=hook))
    asks_whom: Any = both.one("a") if way == "one host" else both
    headers = {n: HEAD[n] for n in UP if n in HEAD} if way == "pair" else HEAD
    got = await call(asks_whom, body, route, headers=headers)
    await both.close()
    assert hook.calls == 1
    sent = [raw for raw in raws for _ in raw.seen]
    assert len(sent) == (2 if firsts and path != "another route" else 1)
    for raw in raws:
        for _, _, seen in raw.seen:
            assert MAIL not in seen.decode()
            assert "example.com" in (said := seen.decode()) or "example.org" in said or "example.net" in said
    assert got.redacted


@pytest.mark.parametrize("order", ["redacted first", "as-is first"])
async def test_each_host_by_its_own_rule(hosts: Hosts, order: str) -> None:
    raws = await hosts(a=then_good("a", DOWN), b=good("b"))
    hook = Counted()
    first = order == "redacted first"
    both = Fleet(
        [Host("a", up(raws[0]), private=first), Host("b", up(raws[1]), private=not first, rename=asks("other"))],
        Clock().policy(leaves=hook),
    )
    body = PATHS["whole"][1]
    got = await call(both, body)
    await both.close()
    assert hook.calls == 1
    bodies = [raw.seen[0][2] for raw in raws]
    assert [MAIL in said.decode() for said in bodies] == [not first, first]
    assert got.redacted is (not first), "of the host that answered"
    assert json.loads(bodies[1])["model"] == "other"
    assert (bodies[1 - first] if not first else bodies[0]) != body


async def test_a_host_that_may_read_it_all_costs_nothing(hosts: Hosts) -> None:
    raws = await hosts(a=good("a"))
    hook = Counted()
    alone = Fleet([Host("a", up(raws[0]))], Clock().policy(leaves=hook))
    got = await call(alone, PATHS["whole"][1])
    await alone.close()
    assert (hook.calls, got.redacted, raws[0].seen[0][2]) == (0, False, PATHS["whole"][1])


async def test_where_nothing_is_found_the_bytes_are_the_clients(hosts: Hosts) -> None:
    raws = await hosts(a=good("a"))
    alone = Fleet([Host("a", up(raws[0]), private=True)], Clock().policy(leaves=Counted()))
    body = b'{ "model": "m" , "messages": [ {"role": "user", "content": "caf\\u00e9"} ] }'
    got = await call(alone, body, whole=True)
    await alone.close()
    assert (got.redacted, raws[0].seen[0][2]) == (False, body)


async def test_what_can_not_be_read_reaches_nobody(hosts: Hosts) -> None:
    raws = await hosts(a=good("a"), b=good("b"))
    both = Fleet([Host(raw.name, up(raw), private=raw.name == "a") for raw in raws], Clock().policy(leaves=Counted()))
    got = await call(both, b"--boundary\r\n" + MAIL.encode(), "/v1/files")
    assert (got.http, got.error) == (422, "private_unread")
    got = await call(both, b'{"input": [101, 102]}', "/v1/embeddings")
    assert (got.http, got.error) == (422, "private_unread")
    await both.close()
    assert not any(raw.seen for raw in raws)
    assert both.hosts[0].counts.calls == 0
    assert both.hosts[0].breaker.closed


async def test_headers_too(hosts: Hosts) -> None:
    raws: list[Raw] = await hosts(a=good("a"))
    alone = Fleet([Host("a", up(raws[0]), private=True)], Clock().policy(leaves=Counted()))
    await call(alone, headers=HEAD | {"x-client-request-id": MAIL, "idempotency-key": MAIL, "cookie": MAIL})
    await until(lambda: raws[0].seen)
    await alone.close()
    assert MAIL not in str(raws[0].seen)
