"""Private data stays in the house on every path over HTTP, and rows about changed questions are no evidence (G21)."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from freehold import wire
from freehold.project import Project
from freehold.project.gateway import PrivateSettings, RolloutSettings
from freehold.serve.app import App

from .conftest import SCRIPT, StandIn, Start, ledger, new_verdict, request, standing, until
from .gateway import give, hosts, post

SECRETS = ("ana.petrova@firm.example", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "+49 170 1234567")
TEXT = f"write to {SECRETS[0]}, card {SECRETS[1]}, account {SECRETS[2]}, phone {SECRETS[3]}"
MODEL = {"model": "gpt-4o-mini"}
FULL, SHADOW = RolloutSettings(start="full"), RolloutSettings()
Path = tuple[str, dict[str, Any], str]


def leaked(hosts: list[StandIn]) -> list[str]:
    """Secrets that a host has seen, in its path, headers or body, also with other spaces."""
    seen = "".join(f"{path} {headers} {body.decode()}" for host in hosts for path, headers, body in host.seen)
    plain = seen.replace(" ", "")
    return [secret for secret in SECRETS if secret in seen or secret.replace(" ", "") in plain]


CHAT = "/v1/chat/completions"
PATHS: dict[str, Path] = {
    "whole": (CHAT, MODEL | {"messages": [{"role": "user", "content": TEXT}]}, "fine"),
    "stream": (CHAT, MODEL | {"messages": [{"role": "user", "content": TEXT}], "stream": True}, "fine"),
    "parts": (CHAT, MODEL | {"messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]}, "fine"),
    "user": (CHAT, MODEL | {"messages": [{"role": "user", "content": "hello"}], "user": SECRETS[0],
                            "metadata": {"who": TEXT}}, "fine"),
    "escalated": (CHAT, request(TEXT), "fine"),
    "escalated stream": (CHAT, request(TEXT, stream=True), "fine"),
    "fail-over": (CHAT, request(TEXT), "down"),
    "fail-over stream": (CHAT, request(TEXT, stream=True), "error200"),
    "completions": ("/v1/completions", MODEL | {"prompt": TEXT}, "fine"),
    "completions list": ("/v1/completions", MODEL | {"prompt": [TEXT, TEXT]}, "fine"),
    "completions fail-over": ("/v1/completions", MODEL | {"prompt": TEXT}, "down"),
    "embeddings": ("/v1/embeddings", {"model": "text-embedding-3-small", "input": [TEXT]}, "fine"),
    "responses": ("/v1/responses", MODEL | {"input": TEXT, "instructions": TEXT}, "fine"),
    "moderations": ("/v1/moderations", {"input": TEXT}, "fine"),
    "batches": ("/v1/batches", {"metadata": {"note": TEXT}}, "fine"),
}  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
async def test_no_secret_leaves(project: Project, start: Start, upstream: StandIn, name: str) -> None:
    path, body, upstream.mode = PATHS[name]
    upstream.event = 1
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(standing())
        settings = replace(hosts(project, second=second), private=PrivateSettings("redacted"))
        app: App = await stack.enter_async_context(start(upstream, settings=settings))
        agent = [("User-Agent", f"team {SECRETS[0]}"), ("X-Client-Request-Id", SECRETS[0])]
        answer = await post(app.port, body, path=path, headers=agent)
        assert answer.status == 200, answer
        assert (upstream.seen + second.seen) != []
        assert bool(second.seen) == ("fail-over" in name)
    assert leaked([upstream, second]) == []
    rows = ledger(project)
    assert len(rows) == (path == CHAT)
    for row in rows:
        if name == "user":  # a name of who asks is nothing that a model reads
            continue
        assert row["freehold"]["redacted"] is True
        assert TEXT in json.dumps(row["request"])  # in the house the ledger's content is its own setting
        assert wire.call_from_row(row).answer is None
        assert not wire.finished(wire.call_from_row(row))


async def test_urls_and_files_with_private_data_do_not_leave(project: Project, start: Start, upstream: StandIn) -> None:
    settings = replace(project.settings, private=PrivateSettings("redacted"))
    async with start(upstream, settings=settings) as app:
        for path, body in (
            (f"/v1/files?purpose={SECRETS[0]}", {}),
            (f"/v1/vector_stores/{SECRETS[0]}", {}),
            ("/v1/files", b"no JSON at all " + TEXT.encode()),
            ("/v1/completions", MODEL | {"prompt": [[1, 2, 3]]}),
        ):
            answer = await post(app.port, body, path=path)
            assert answer.status in (400, 422), (path, answer)
            assert answer.code
    assert upstream.seen == []


@pytest.mark.parametrize("how", ["pair", "shadow"])
async def test_pairs_and_shadows_leave_without(project: Project, start: Start, upstream: StandIn, how: str) -> None:
    """The student knows the text and is sure; the upstream is asked about another question: no evidence."""
    SCRIPT[TEXT] = ("transfer", 0.99)
    try:
        new_verdict(project)
        settings = replace(project.settings, private=PrivateSettings("redacted"))
        async with start(upstream, settings=settings, pairs=1.0, rollout=FULL if how == "pair" else SHADOW) as app:
            pairs = app.parts.pairs
            assert pairs is not None
            for stream in (False, True):
                assert (await post(app.port, request(TEXT, stream=stream))).status == 200
            await until(lambda: len(upstream.seen) == 2)
            await until(lambda: not pairs.waiting and len(ledger(project)) == (4 if how == "pair" else 2))
            assert (pairs.asked, pairs.freed) == (0, 0)
            monitor = app.parts.steps[0].monitor
            assert monitor is not None
            assert monitor.seen == 0
    finally:
        del SCRIPT[TEXT]
    assert leaked([upstream]) == []
    asked = [row for row in ledger(project) if row["freehold"]["answered_by"] == "upstream"]
    assert asked
    assert all(row["freehold"]["redacted"] is True for row in asked)


async def test_a_cached_answer_and_a_repeat_stay_in_the_house(
    project: Project, start: Start, upstream: StandIn
) -> None:
    secret = give(project, "web")
    settings = replace(project.settings, private=PrivateSettings("redacted"))
    settings = replace(settings, cache=replace(settings.cache, keys=("web",)))
    body = MODEL | {"messages": [{"role": "user", "content": TEXT}], "temperature": 0}
    async with start(upstream, settings=settings) as app:
        for headers in ([], [], [("Idempotency-Key", SECRETS[0])], [("Idempotency-Key", SECRETS[0])]):
            assert (await post(app.port, body, secret, headers=headers)).status == 200
    assert len(upstream.seen) == 1
    assert leaked([upstream]) == []
