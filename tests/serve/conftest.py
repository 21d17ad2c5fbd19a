"""A small true world for serve: a project with a scripted student, and an upstream that can be made to misbehave."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from aiohttp import web

from freehold import wire
from freehold.engines.scripted import ScriptedStudent
from freehold.engines.upstream import HttpUpstream, Timeouts, Upstream
from freehold.nouns import (
    Artifact,
    Audit,
    Evidence,
    LogFile,
    Measure,
    Repeats,
    Slot,
    Student,
    Task,
    TaskStudent,
    Template,
    Tokens,
    Verdict,
)
from freehold.project import Project
from freehold.project.gateway import RolloutSettings
from freehold.serve import running
from freehold.serve.app import App

SYSTEM = "Name the intent of the message. Intents: transfer, balance, other."
SCRIPT = {
    "move 50 to savings": ("transfer", 0.99),
    "what do i have": ("balance", 0.97),
    "sing to me": ("other", 0.4),
    **{f"question {i}": ("balance", 0.95) for i in range(400)},
}
TASK = Task(
    name="intents",
    template=Template((Slot("system", SYSTEM), Slot("user", "Message: ", "", variable=True))),
    kind="labels",
    calls=1000,
    share=0.8,
    labels=("transfer", "balance", "other"),
    models=("gpt-4o-mini",),
    params={"temperature": [0], "seed": [7], "response_format": [{"type": "text"}]},
    answer_tokens=3,
    money=Measure(2.0, unit="USD"),
    example="move 50 to savings",
)
OTHER = Task("poems", Template((Slot("user", "Write a poem about ", "", variable=True),)), "text", 250, 0.2)
EVIDENCE = Evidence(700, 300, 290, "0" * 64, 1, 0.95, 1.0, 0.05, 0.95, 1_790_000_000.0, Measure(None), "hold-out")
QUICK = Timeouts(connect=1.0, first=0.4, between=0.4, total=5.0)


def request(text: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"Message: {text}"}]
    return {"model": "gpt-4o-mini", "messages": messages} | fields


def row(text: str, answer: str, at: str = "2026-10-01T10:00:00Z") -> dict[str, Any]:
    body = wire.completion("gpt-4o-mini", answer, Tokens(40, 2), "chatcmpl-logged", 1_790_000_000)
    return {"timestamp": at, "request": request(text), "response": body}


def scripted(folder: Path, artifact: Artifact) -> Student:
    script = msgspec.json.decode((folder / "script.json").read_bytes(), type=dict[str, tuple[str, float]])
    return ScriptedStudent(script)


def new_verdict(project: Project, **changes: Any) -> Verdict:
    """A verdict that moves the task to a scripted student, saved."""
    checks = [{"text": text, "label": label, "score": score} for text, (label, score) in list(SCRIPT.items())[:64]]
    files = {"script.json": json.dumps(SCRIPT).encode(), "checks.json": json.dumps(checks).encode()}
    made = project.write_artifact(
        files, kind="scripted", task="intents", base="none", licence="MIT", recipe={}, data_sha256="0" * 64
    )
    kept = Measure(0.8, 0.75, 0.85, 290)
    student = TaskStudent(made.sha256, "none", "MIT")
    verdict = Verdict(
        task="intents", kind="labels", calls=1000, share=0.8, bar=0.95, confidence=0.95, decision="move", reason="",
        needed=None, kept_home=kept, agreement=kept, threshold=0.9, student=student, evidence=EVIDENCE,
        asked=TASK, made="2026-10-02T00:00:00+00:00",
    )  # fmt: skip
    verdict = replace(verdict, **changes)
    project.save(verdict)
    return verdict


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path / "project")
    log = tmp_path / "calls.jsonl"
    rows = [row("move 50 to savings", "transfer"), row("sing to me", "other"), row("sing to me", "balance")]
    log.write_bytes(b"".join(wire.dumps(r) + b"\n" for r in rows))
    none = Measure(None)
    file = LogFile((str(log),), "0" * 64, "0" * 64, 2, log.stat().st_size)
    repeats = Repeats(0, 0, none)
    project.save(Audit(file, 1250, 0, (), (TASK, OTHER), Tokens(), none, none, None, None, (), repeats))
    new_verdict(project)
    return project


@dataclass
class StandIn:
    """A small OpenAI-compatible host. `mode` says how it behaves; `seen` keeps each request's path, headers, body."""

    mode: str = "fine"
    answer: str = "transfer"
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    connections: set[object] = field(default_factory=set)
    usage: bool = True  # whether a stream says it at its end
    counted: dict[str, int] | None = None  # the usage of what is no chat answer
    event: int = 2  # of a stream, before which it is spoiled: 1 follows the role, 2 the text

    async def handle(self, http: web.Request) -> web.StreamResponse:
        body = await http.read()
        assert http.transport is not None
        self.connections.add(http.transport.get_extra_info("peername"))
        self.seen.append((http.path_qs, {k.lower(): v for k, v in http.headers.items()}, body))
        if self.mode == "down":
            return web.Response(status=500, body=wire.error("down", "server_error"), content_type="application/json")
        if self.mode == "slow everywhere":
            await asyncio.sleep(30)
        if not http.path.endswith("/chat/completions"):
            said = {"data": http.method} | ({"usage": self.counted} if self.counted is not None else {})
            return web.Response(body=json.dumps(said).encode(), content_type="application/json")
        if json.loads(body).get("stream"):
            return await self._stream(http)
        try:
            return await self._whole(http)
        except asyncio.CancelledError:
            self.gone.set()
            raise

    async def _whole(self, http: web.Request) -> web.StreamResponse:
        whole = wire.dumps(
            wire.completion("gpt-4o-mini-2024", self.answer, Tokens(40, 2), "chatcmpl-up", 1_790_000_001)
        )
        kind = {"content_type": "application/json"}
        headers = {"x-request-id": "req-1", "Set-Cookie": "a=b", "Access-Control-Allow-Origin": "*"}
        match self.mode:
            case "slow":
                await asyncio.sleep(30)
            case "nonsense":
                return web.Response(body=b"<html>we are down\xff</html>", content_type="text/html")
            case "refuses":
                said = json.loads(whole)
                said["choices"][0]["message"] |= {"content": None, "refusal": "I can't help with that."}
                return web.Response(body=wire.dumps(said), **kind)
            case "error200":
                return web.Response(body=wire.error("overloaded", "server_error"), **kind)
            case "busy":
                busy = wire.error("too many", "rate_limit")
                return web.Response(status=429, body=busy, headers={"Retry-After": "7"}, **kind)
            case "redirect":
                raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/elsewhere")
            case "broken":
                response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "500"})
                await response.prepare(http)
                await response.write(whole[:50])
                assert http.transport is not None
                http.transport.close()
                return response
            case "gzip":
                packed = gzip.compress(whole)
                return web.Response(
                    body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}
                )
        return web.Response(body=whole, headers=headers, **kind)

    async def _stream(self, http: web.Request) -> web.StreamResponse:
        said = "gpt-4o-mini", self.answer, Tokens(40, 2), "chatcmpl-up", 1_790_000_001
        events = list(wire.chunks(*said, usage=self.usage))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)
        try:
            for i, event in enumerate(events):
                if i == self.event and self.mode != "fine":
                    await self._spoil(http, response, event)
                await response.write(event)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise
        await response.write_eof()
        return response

    async def _spoil(self, http: web.Request, response: web.StreamResponse, event: bytes) -> None:
        match self.mode:
            case "broken":
                await response.write(event[: len(event) // 2])
                assert http.transport is not None
                http.transport.close()
                raise ConnectionResetError
            case "stalled":
                await asyncio.sleep(30)
            case "error200":
                await response.write(b'data: {"error": {"message": "overloaded"}}\n\n')
            case "long":
                await response.write(b"data: " + b"x" * 1_000_000)
                assert http.transport is not None
                http.transport.close()
                raise ConnectionResetError
            case "steady":
                for _ in range(40):
                    await response.write(b": still here\n\n")
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def standing(**fields: Any) -> AsyncIterator[StandIn]:
    stand_in = StandIn(**fields)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stand_in.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield stand_in
    finally:
        await runner.cleanup()


@pytest.fixture
async def upstream() -> AsyncIterator[StandIn]:
    async with standing() as stand_in:
        yield stand_in


Start = Callable[..., AbstractAsyncContextManager[App]]


@pytest.fixture
def start(project: Project) -> Start:
    """A server on a free port: `async with start(upstream) as app`."""

    def started(to: StandIn | Upstream | None = None, *, key: str = "sk-ours", **options: Any) -> Any:
        up = HttpUpstream(to.url, key, timeouts=QUICK) if isinstance(to, StandIn) else to
        audit = project.load(Audit)
        said = options.pop("settings", project.settings)
        full = replace(said, rollout=options.pop("rollout", RolloutSettings(start="full")))
        full = replace(full, limits=options.pop("limits", said.limits))
        opener = options.pop("opener", scripted)
        return running(project, audit, up, opener, settings=full, **({"pairs": 0.0} | options))

    return started


def client(app: App) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{app.port}/v1", api_key="sk-client-secret", max_retries=0)


def ledger(project: Project) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted((project.path / "ledger").glob("*.jsonl")):
        rows += [json.loads(line) for line in path.read_bytes().splitlines()]
    return rows


async def until(done: Callable[[], object]) -> None:
    """Wait, at most five seconds, for something that another task brings about."""
    async with asyncio.timeout(5.0):
        while not done():  # noqa: ASYNC110 (there is no event to wait for: what is watched is the server itself)
            await asyncio.sleep(0.01)
