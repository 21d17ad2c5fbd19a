"""Each route with each kind of key over HTTP, and hostile strings in every field (G01, G03, G05)."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from freehold.engines.upstream import UP
from freehold.errors import ServeRefused
from freehold.keys import Wanted, add, revoke
from freehold.keys.key import ROLES
from freehold.project import Project
from freehold.serve.app import App
from freehold.serve.entry.policy import TABLE

from .conftest import StandIn, Start, request, until
from .gateway import CHAT, call, get, give, post
from .test_policy import CALLERS, CELLS

BODIES = {
    "POST /v1/chat/completions": request("question 1"),
    "POST /v1/completions": {"model": "gpt-4o-mini", "prompt": "a"},
    "POST /v1/embeddings": {"model": "gpt-4o-mini", "input": "a"},
}


@pytest.fixture
async def secrets(project: Project) -> dict[str, str]:
    past = datetime.now(UTC) - timedelta(hours=1)
    found = {"none": "", "bad": "fh-" + "a" * 43}
    found["revoked"] = give(project, "revoked", role="admin")
    found["expired"] = give(project, "expired", role="admin", expires=past)
    found["reader"] = give(project, "reader", role="reader")
    found["user"] = give(project, "user")
    found["limited"] = give(project, "limited", budget_day=5.0)
    found["admin"] = give(project, "admin", role="admin")
    give(project, "web")
    revoke(project, "revoked", by="os:test")
    return found


@pytest.fixture
async def app(project: Project, secrets: dict[str, str], start: Start, upstream: StandIn) -> AsyncIterator[App]:
    async with start(upstream) as app:
        yield app


async def test_every_route_with_every_key(app: App, secrets: dict[str, str]) -> None:
    """What the table gives is what comes back; nothing else is 2xx."""
    wrong, cells = [], 0
    for route, caller in itertools.product(CELLS, CALLERS):
        method, _, path = route.partition(" ")
        body = BODIES.get(route, {"name": f"child-{caller}"} if "keys" in path else {"model": "gpt-4o-mini"})
        answer = await call(app.port, method, path, body if method == "POST" else None, secrets[caller])
        cells += 1
        if answer.status != CELLS[route][caller]:
            wrong.append((route, caller, answer.status, answer.body[:200]))
        assert answer.status < 400 or answer.code
    assert wrong == []
    assert cells == len(CELLS) * len(CALLERS)
    assert {row.route for row in TABLE} == set(app.routes)


async def test_other_methods_and_paths_are_denied(app: App, secrets: dict[str, str]) -> None:
    paths = ["/", "/v1", "/v1/../keys", "/v1//models", "/metrics/x", "/v1/Keys", "/v1/keys/", "/admin", "/v1/%6beys"]
    for method in ("PUT", "PATCH", "HEAD", "OPTIONS", "TRACE"):
        for path in ("/health", "/v1/models", "/v1/keys", CHAT, "/v1/files"):
            assert (await call(app.port, method, path, secret=secrets["admin"])).status in (400, 405), (method, path)
    for method, path in itertools.product(("GET", "POST", "DELETE"), paths):
        assert (await call(app.port, method, path, secret=secrets["admin"])).status == 404, (method, path)


async def test_two_authorization_headers_are_no_key(app: App, secrets: dict[str, str]) -> None:
    twice = [("Authorization", f"Bearer {secrets[one]}") for one in ("user", "admin")]
    for given in (twice, twice[::-1], [twice[0], twice[0]]):
        answer = await get(app.port, path="/v1/models", headers=given)
        assert answer.status in (400, 401)
        assert answer.code
    for scheme in ("Basic", "bearer2", ""):
        said = [("Authorization", f"{scheme} {secrets['admin']}")]
        assert (await get(app.port, path="/v1/models", headers=said)).status == 401
    assert (await get(app.port, path="/v1/models", headers=[("X-Api-Key", secrets["admin"])])).status == 401
    assert (await get(app.port, path=f"/v1/models?key={secrets['admin']}")).status == 401


async def test_keys_are_seen_while_it_runs(project: Project, start: Start, upstream: StandIn) -> None:
    """The first key ends the time without; a new one and a revoked one are seen within a second."""
    async with start(upstream) as app:
        port = app.port
        assert (await get(port, path="/v1/models")).status == 200
        for method in ("GET", "POST"):
            answer = await call(port, method, "/v1/keys", {})
            assert (answer.status, answer.code) == (403, "no_keys")
        secret = give(project, "first", requests_minute=5)
        began = time.monotonic()
        while (await get(port, path="/v1/models")).status == 200:
            assert time.monotonic() - began < 1.5
        statuses = [(await post(port, request("question 1"), secret)).status for _ in range(8)]
        assert statuses == [200] * 5 + [429] * 3  # its rate holds too
        revoke(project, "first", by="os:test")
        began = time.monotonic()
        while (await get(port, path="/v1/models", secret=secret)).status == 200:
            assert time.monotonic() - began < 1.5


async def test_other_addresses_need_keys(project: Project, start: Start, upstream: StandIn) -> None:
    with pytest.raises(ServeRefused) as caught:
        async with start(upstream, host="0.0.0.0"):
            pass
    assert caught.value.exit_code == 52
    secret, named = give(project, "web"), [("Host", "llm.team.example")]
    async with start(upstream, host="0.0.0.0") as app:
        answer = await post(app.port, request("question 1"), secret, headers=named)
        assert answer.headers["x-freehold-answered-by"] == "student"
        assert (await post(app.port, request("question 1"), headers=named)).status == 401


WIDER = [
    {"name": "x", "budget_day": 6.0}, {"name": "x", "budget_month": 51.0},
    {"name": "x", "tokens_minute": 1_000_001}, {"name": "x", "requests_minute": 101}, {"name": "x", "running": 5},
    {"name": "x", "home_share": 0.6}, {"name": "x", "tasks": ["intents", "poems"]}, {"name": "x", "models": ["gpt-5"]},
    {"name": "x", "expires": "2099-01-01T00:00:00Z"}, {"name": "x", "budget_day": 1e9}, {"name": "x", "budget_day": -1},
    {"name": "x", "parent": "root"}, {"name": "x", "sha256": "0" * 64}, {"name": "x", "made": "2020-01-01T00:00:00Z"},
    {"name": "x", "tasks": ["*"]}, {"name": "x", "models": [""]}, {"name": "../x"}, {"name": "web"}, {"name": ""},
    {"name": "x", "role": "tuner"}, {"name": "x", "budget_day": True}, {"name": "x", "running": 0}, [], "x", None, 7,
]  # fmt: skip
NARROW: dict[str, Any] = {
    "role": "admin", "budget_day": 5.0, "budget_month": 50.0, "tokens_minute": 1_000_000, "requests_minute": 100,
    "running": 4, "home_share": 0.5, "tasks": ("intents",), "models": ("gpt-4o-mini",),
    "expires": datetime(2090, 1, 1, tzinfo=UTC),
}  # fmt: skip


async def test_nobody_mints_more_than_he_has(project: Project, start: Start, upstream: StandIn) -> None:
    """G03: an admin with limits gets no key wider in any field; others get none at all."""
    give(project, "root", role="admin")
    callers = {"narrow": give(project, "narrow", **NARROW), "user": give(project, "web"),
               "reader": give(project, "looks", role="reader")}  # fmt: skip
    before = (project.path / "keys.json").read_bytes()
    async with start(upstream) as app:
        for caller, secret in callers.items():
            for wanted in WIDER if caller == "narrow" else [*WIDER, *({"name": "x", "role": role} for role in ROLES)]:
                answer = await post(app.port, wanted, secret, "/v1/keys")
                assert answer.status in ((400, 403) if caller == "narrow" else (403,)), (caller, wanted)
                assert answer.code
        for name in ("root", "narrow", "nobody"):
            assert (await call(app.port, "DELETE", f"/v1/keys/{name}", secret=callers["user"])).status == 403
        assert (project.path / "keys.json").read_bytes() == before
        made = (await post(app.port, {"name": "child"}, callers["narrow"], "/v1/keys")).json
        for name in ("budget_day", "budget_month", "tokens_minute", "requests_minute", "running", "home_share"):
            assert made[name] == NARROW[name]
        assert (made["role"], made["tasks"], made["models"]) == ("user", ["intents"], ["gpt-4o-mini"])


SEEDS = (
    "' OR '1'='1", "'; DROP TABLE keys; --", "\" OR \"\"=\"", "{$gt: ''}", '{"$ne": null}', "{{7*7}}", "${jndi:ldap://x}",
    "%s%s%s%n", "%x" * 20, "{0.__class__}", "../../etc/passwd", "..%2f..%2fkeys.json", "\u202e\u0000", "é" * 40, "\x7f",
    "admin'--", "1; SELECT pg_sleep(9)", "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "`id`", "$(id)", "|id",
    "fh-' OR 1=1 --", "A" * 5000, "\\x00", "null", "true", "NaN", "-1", "1e309",
)  # fmt: skip
STRINGS = [f"{seed}{'' if i < len(SEEDS) else i}" for i, seed in zip(range(500), itertools.cycle(SEEDS), strict=False)]


async def test_hostile_strings(project: Project, app: App, secrets: dict[str, str]) -> None:
    """G05: 500 of them, in a field each in turn; none is an error of ours, and no key is touched."""
    before = hashlib.sha256((project.path / "keys.json").read_bytes()).digest()
    statuses: dict[str, set[int]] = {}
    for i, text in enumerate(STRINGS):
        said = text.encode("utf-8", "replace").replace(b"\n", b"")
        body, headers, path = request("question 1"), [], CHAT
        match where := ("key", "model", "host", "query", "repeat", "header", "user", "path")[i % 8]:
            case "key":
                headers = [("Authorization", b"Bearer " + said)]
            case "model":
                body = request(text, model=text)
            case "host":
                headers = [("Host", said)]
            case "query":
                path = f"{CHAT}?q={quote(text)}" if i % 16 < 8 else f"{CHAT}?q={text}".replace(" ", "+")
            case "repeat":
                headers = [("Idempotency-Key", said)]
            case "header":
                headers = [((*UP, "Origin", "X-Stainless-Timeout", "Accept-Language")[i // 8 % (len(UP) + 3)], said)]
            case "user":
                body |= {"user": text, "metadata": {text[:60]: text}}
            case "path":
                path = f"/v1/keys/{quote(text[:200])}"
        method = "DELETE" if where == "path" else "POST"
        answer = await call(app.port, method, path, None if where == "path" else body, secrets["user"], headers)
        statuses.setdefault(where, set()).add(answer.status)
        assert 200 <= answer.status < 500, (where, text, answer)
        assert answer.status < 400 or answer.code
    assert statuses["key"] <= {400, 401, 431}
    assert statuses["host"] <= {400, 421, 431}
    assert statuses["path"] <= {403, 404}
    assert hashlib.sha256((project.path / "keys.json").read_bytes()).digest() == before
    await until(lambda: app.parts.metrics.running == 0)


async def test_minted_keys_make_no_further_calls_a_minute(project: Project, start: Start, upstream: StandIn) -> None:
    """The rate of an admin key binds what it mints and the minting itself."""
    boss = give(project, "boss", role="admin", requests_minute=4)
    async with start(upstream) as app:
        minted = [await post(app.port, {"name": f"child-{n}"}, boss, "/v1/keys") for n in range(6)]
        assert [answer.status for answer in minted] == [200] * 4 + [429] * 2
        await asyncio.sleep(0.6)  # the new keys are seen
        for answer in minted[:4]:
            got = await post(app.port, request("question 1"), answer.json["key"])
            assert (got.status, got.code) == (429, "rate_limited")


async def test_calls_at_once_are_shared_with_children(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.mode = "slow"
    give(project, "boss", role="admin", running=1)
    first, second = (add(project, Wanted(name=n), parent="boss", by="os:test")[1] for n in ("a", "b"))
    limits = replace(project.settings.limits, queue_seconds=0.2)
    async with start(upstream, limits=limits) as app:
        held = asyncio.create_task(post(app.port, request("sing to me"), first))
        await until(lambda: upstream.seen)
        got = await post(app.port, request("sing to me"), second)
        assert (got.status, got.code) == (429, "queue_timeout")
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        await until(lambda: not app.parts.admission.tokens)
        assert (await post(app.port, request("question 1"), second)).status == 200


async def test_a_task_that_no_audit_knows_is_a_400(app: App, secrets: dict[str, str]) -> None:
    got = await post(app.port, {"name": "typo", "tasks": ["intnets"]}, secrets["admin"], "/v1/keys")
    assert (got.status, got.code) == (400, "bad_key")
    assert "'intnets'" in got.json["error"]["message"]
    assert "intents" in got.json["error"]["message"]


async def test_budgets_that_another_process_holds_are_a_503(project: Project, start: Start, upstream: StandIn) -> None:
    secret = give(project, "web", requests_minute=60)
    async with start(upstream) as app:
        assert (await post(app.port, request("question 1"), secret)).status == 200
        with (project.path / "keys.spent").open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            got = await post(app.port, request("question 1"), secret)
        assert (got.status, got.code, got.headers["retry-after"]) == (503, "storage_failed", "1")
        assert (await post(app.port, request("question 1"), secret)).status == 200


async def test_health_says_why_old_keys_count(project: Project, start: Start) -> None:
    give(project, "web")
    async with start(None) as app:
        assert app.health()["keys_why"] == ""
        (project.path / "keys.json").write_text("{")
        app.parts.keys._looked = -1e9  # half a second passes
        app.parts.keys.look()
        assert "can't be read" in app.health()["keys_why"]
        assert app.health()["status"] == "degraded"


async def test_what_ends_beside_the_calls_is_said_and_makes_it_not_ready(project: Project, start: Start) -> None:
    said: list[str] = []
    async with start(None, tell=lambda what, done=None, /: said.append(what)) as app:
        assert (await get(app.port, path="/ready")).status == 200

        def breaks() -> float:
            raise RuntimeError("a defect")

        app.parts.admission.tick = breaks  # type: ignore[method-assign]
        await until(lambda: app.parts.broken)
        got = await get(app.port, path="/ready")
        assert (got.status, got.json["why"]) == (503, "Admission.watch ended: RuntimeError")
    assert sum("Admission.watch ended" in line for line in said) == 1
