"""The server gives its few files and one JSON, to this machine and this page only."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from freehold.cli import main
from freehold.errors import PortInUse, ServeRefused
from freehold.project import Project
from freehold.watch.app import FILES, start
from freehold.watch.snapshot import Watcher

Row = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


@pytest.fixture
async def site(project: Project) -> AsyncIterator[str]:
    server, port = await start(Watcher(project), "127.0.0.1", 0)
    yield f"http://127.0.0.1:{port}"
    await server.stop()


async def get(url: str, method: str = "GET", **headers: str) -> tuple[int, str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers={k.replace("_", "-"): v for k, v in headers.items()}) as answer,
    ):
        return answer.status, await answer.text(), answer.headers


async def test_files_and_figures(site: str, project: Project, row: Row, write: Write) -> None:
    for path in FILES:
        status, text, headers = await get(site + path)
        assert status == 200
        assert len(text) > 100
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    write(project, [row(i) for i in range(3)])
    status, text, headers = await get(site + "/data.json")
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "no-store")
    assert "Access-Control-Allow-Origin" not in headers
    found = json.loads(text)
    assert found["calls"] == 3
    assert found["home"].keys() == {"value", "low", "high", "n", "unit", "method"}


async def test_who_may_ask(site: str) -> None:
    port = site.rsplit(":", 1)[1]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "169.254.1.1"):
        status, text, headers = await get(site + "/data.json", Host=host)
        assert status == 403, host
        assert "calls" not in text
        assert headers["X-Frame-Options"] == "DENY"
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "localhost"):
        assert (await get(site + "/data.json", Host=host))[0] == 200, host
    assert (await get(site + "/data.json", Sec_Fetch_Site="cross-site"))[0] == 403
    assert (await get(site + "/data.json", Sec_Fetch_Site="same-origin"))[0] == 200


@pytest.mark.parametrize(
    "path", ["/x", "/../command.py", "/%2e%2e/command.py", "/ledger/2026-11-24-1.jsonl", "//etc/hosts"]
)
async def test_nothing_else_is_there(site: str, path: str) -> None:
    status, text, headers = await get(site + path)
    assert status == 404
    assert "def " not in text
    assert "Content-Security-Policy" in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_it_only_reads(site: str, method: str) -> None:
    assert (await get(site + "/data.json", method))[0] == 405


async def test_a_damaged_file_is_said(site: str, project: Project) -> None:
    (project.path / "verdicts" / "router.json").write_text("{")
    status, text, _ = await get(site + "/data.json")
    assert status == 503
    assert "router.json can't be read" in json.loads(text)["error"]


async def test_every_answer_is_guarded(site: str, project: Project, row: Row, write: Write) -> None:
    """An error's too, and one that no handler sees."""
    path = write(project, [row(0, "escalated", text="PLACE")])
    path.write_bytes(path.read_bytes().replace(b"PLACE", b"a \xff c"))
    with (project.path / "rungs.jsonl").open("ab") as file:
        file.write(b'{"task":"x"\n')
    assert (await get(site + "/data.json"))[0] == 200
    (project.path / "rungs.jsonl").unlink()
    (project.path / "rungs.jsonl").mkdir()
    status, text, headers = await get(site + "/data.json")
    assert (status, "Can't read" in text) == (503, True)
    assert headers["X-Frame-Options"] == "DENY"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.rsplit(":", 1)[1]))
    writer.write(b"GET / HTTP/1.1\r\nsecret words\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert b" 400 " in answer
    assert b"\r\nX-Frame-Options: DENY\r\n" in answer
    assert b"secret" not in answer


async def test_a_taken_port_and_another_address(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortInUse, match="is taken"):
            await start(Watcher(project), "127.0.0.1", taken.getsockname()[1])
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.com", ""):
        with pytest.raises(ServeRefused):
            await start(Watcher(project), host, 0)


async def test_two_tabs_count_once(site: str, project: Project, row: Row, write: Write) -> None:
    write(project, [row(i) for i in range(200)])
    answers = await asyncio.gather(*(get(site + "/data.json") for _ in range(8)))
    assert {json.loads(text)["calls"] for _, text, _ in answers} == {200}


def test_the_command(project: Project, row: Row, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, [row(0), row(1, "escalated")])
    assert main(["watch", str(project.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["home"]["value"] == 0.5
    assert main(["watch", str(project.path), "--host", "0.0.0.0"]) == 52
    assert main(["watch", "--project", str(project.path), "--port", "70000"]) == 2
    assert main(["watch", str(project.path / "nothing")]) == 20
    assert "not a freehold project" in capsys.readouterr().err


def test_it_says_where_and_stops_on_sigterm(project: Project) -> None:
    command = [sys.executable, "-m", "freehold", "watch", str(project.path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert re.search(r"http://127\.0\.0\.1:\d+/$", line.strip()), line
        process.terminate()
        assert process.wait(10) == 0


def test_the_page_has_no_markup_from_data() -> None:
    page = Path(__file__).resolve().parents[2] / "src" / "freehold" / "watch" / "page"
    script = (page / "watch.js").read_text()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert word not in script
    html = (page / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?://", html)
