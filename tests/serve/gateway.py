"""Keys, raw calls and further hosts for the tests of the whole server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from freehold.keys import Wanted, add
from freehold.project import Project, Settings
from freehold.project.gateway import UpstreamSettings
from freehold.project.settings import TaskSettings

from .conftest import StandIn

CHAT = "/v1/chat/completions"
Fields = Iterable[tuple[str, str | bytes]]


def give(project: Project, name: str, **fields: Any) -> str:
    """A new client key's secret."""
    return add(project, Wanted(name=name, **fields), by="os:test")[1]


def declare(project: Project, **said: Any) -> None:
    """[tasks.intents] as in freehold.toml."""
    project.settings = replace(project.settings, tasks={"intents": TaskSettings(**said)})


def hosts(project: Project, **named: StandIn | UpstreamSettings) -> Settings:
    """The settings with [upstreams.NAME] for each."""
    tables = {
        name: one if isinstance(one, UpstreamSettings) else UpstreamSettings(one.url) for name, one in named.items()
    }
    return replace(project.settings, upstreams=tables)


@dataclass(frozen=True, slots=True)
class Got:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """Of a chat answer, whole or streamed."""
        if not self.headers["content-type"].startswith("text/event-stream"):
            said: str = self.json["choices"][0]["message"]["content"]
            return said
        events = [json.loads(line[6:]) for line in self.body.split(b"\n\n") if line.startswith(b"data: {")]
        deltas = [choice["delta"] for event in events for choice in event.get("choices", ())]
        return "".join(delta.get("content") or "" for delta in deltas)

    @property
    def code(self) -> str:
        """Of an error, which must have OpenAI's shape."""
        error = self.json["error"]
        assert error.keys() >= {"message", "type", "code", "param"}
        assert isinstance(error["message"], str)
        code: str = error["code"]
        return code


async def call(
    port: int, method: str, path: str, body: Any = None, secret: str = "", headers: Fields = (), until: float = 30.0
) -> Got:
    """One request on a connection of its own, in the very bytes given. A `body` that is no bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    said: list[tuple[str, str | bytes]] = [*headers]
    names = {name.lower() for name, _ in said}
    own: dict[str, str] = {"Host": f"127.0.0.1:{port}", "Connection": "close"}
    own |= {"Authorization": f"Bearer {secret}"} if secret else {}
    own |= {"Content-Type": "application/json", "Content-Length": str(len(data))} if method == "POST" else {}
    said += [(name, value) for name, value in own.items() if name.lower() not in names]
    lines = [name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) for name, value in said]
    head = b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *lines, b"", b""])
    async with asyncio.timeout(until):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(head + data)
            raw = await reader.read()
        finally:
            writer.close()
    first, _, rest = raw.partition(b"\r\n\r\n")
    status, *fields = first.decode("utf-8", "replace").split("\r\n")
    got = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    whole = _unchunked(rest) if got.get("transfer-encoding") == "chunked" else rest
    return Got(int(status.split(" ")[1]) if status else 0, got, whole)


def post(port: int, body: Any, secret: str = "", path: str = CHAT, headers: Fields = ()) -> Any:
    return call(port, "POST", path, body, secret, headers)


get = partial(call, method="GET")


def _unchunked(data: bytes) -> bytes:
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        found += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return found
