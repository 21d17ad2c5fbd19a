"""Start and stop, in a process of its own: signals, a taken port, and a kill that loses no answered call."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from freehold import wire
from freehold.project import Project

from .conftest import StandIn, ledger, request

HERE = Path(__file__).parent
Process = asyncio.subprocess.Process
JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def started(project: Project, url: str = "none", port: int = 0) -> AsyncIterator[tuple[Process, bytes]]:
    """A server's process, and the first line that it said."""
    argv = [sys.executable, str(HERE / "serving.py"), str(project.path), url, str(port)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    try:
        yield process, await asyncio.wait_for(process.stdout.readline(), 30)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def served(project: Project, url: str = "none", port: int = 0) -> AsyncIterator[tuple[Process, int]]:
    async with started(project, url, port) as (process, said):
        yield process, int(said or 0)


def ask(
    session: aiohttp.ClientSession, port: int, text: str, **fields: object
) -> aiohttp.client._RequestContextManager:
    return session.post(
        f"http://127.0.0.1:{port}/v1/chat/completions", data=wire.dumps(request(text, **fields)), headers=JSON
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_stops_an_idle_server(project: Project, number: signal.Signals, code: int) -> None:
    async with served(project) as (process, port), aiohttp.ClientSession() as session:
        async with ask(session, port, "move 50 to savings") as response:
            assert response.status == 200  # and its connection stays open, idle
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 5) == code
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)


async def test_a_signal_while_students_are_checked_is_a_clean_stop(project: Project) -> None:
    """The check goes on in a thread inside C++, which would abort the process at the interpreter's end."""
    (project.path / "slow").touch()
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        async with started(project) as (process, said):
            assert said == b"checks\n"
            process.send_signal(number)
            _, err = await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == code, err
        assert err.decode().splitlines()[-1].startswith("stopped before it listened")


async def test_a_proxy_in_front_has_a_second_to_send_calls_elsewhere(project: Project) -> None:
    async with served(project) as (process, port), aiohttp.ClientSession() as session:
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        async with session.get(f"http://127.0.0.1:{port}/ready") as response:
            assert (response.status, await response.json()) == (503, {"ready": False, "why": "stopping"})
        async with ask(session, port, "move 50 to savings") as response:
            assert (response.status, response.headers["x-freehold-answered-by"]) == (200, "student")
        assert await asyncio.wait_for(process.wait(), 10) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)
    assert ledger(project)[0]["freehold"]["status"] == "complete"


async def test_what_is_under_way_is_finished(project: Project, upstream: StandIn) -> None:
    upstream.mode = "steady"  # two seconds of a stream
    async with served(project, upstream.url) as (process, port), aiohttp.ClientSession() as session:
        async with ask(session, port, "sing to me", stream=True) as response:
            await response.content.readline()
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(1.4)  # the second in which new calls are still answered is over
            with pytest.raises(aiohttp.ClientConnectorError):
                async with aiohttp.ClientSession() as other, ask(other, port, "move 50 to savings"):
                    pass
            body = await response.read()
        assert body.endswith(b"data: [DONE]\n\n")
        assert await asyncio.wait_for(process.wait(), 5) == 0
    assert ledger(project)[0]["freehold"]["status"] == "complete"


async def test_a_second_signal_stops_now(project: Project, upstream: StandIn) -> None:
    upstream.mode = "steady"
    async with served(project, upstream.url) as (process, port), aiohttp.ClientSession() as session:
        async with ask(session, port, "sing to me", stream=True) as response:
            await response.content.readline()
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            body = await asyncio.wait_for(response.read(), 2)
        assert b"[DONE]" not in body
        assert b"event: error" in body
        assert await asyncio.wait_for(process.wait(), 3) == 0
    row = ledger(project)[0]
    assert (row["freehold"]["status"], row["response"]["error"]["code"]) == ("partial", "server_stopped")


async def test_a_kill_loses_no_answered_call(project: Project) -> None:
    """Killed in the middle of 16 clients' work, three times: every answer that arrived has its row."""
    acked: list[str] = []
    for _ in range(3):
        async with served(project) as (process, port), aiohttp.ClientSession() as session:

            async def work(session: aiohttp.ClientSession, port: int) -> None:
                for i in range(400):
                    async with ask(session, port, f"question {i}") as response:
                        acked.append((await response.json())["id"])

            workers = [asyncio.create_task(work(session, port)) for _ in range(16)]
            await asyncio.sleep(0.5)
            process.kill()
            await asyncio.gather(*workers, return_exceptions=True)
    kept = {row["response"]["id"] for row in ledger(project)}
    assert len(acked) > 100
    assert [id for id in acked if id not in kept] == []


async def test_a_taken_port(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with served(project, port=port) as (process, _):
            _, err = await process.communicate()
            assert process.returncode == 50
            assert err.decode().strip().splitlines()[-1].startswith(f"Port {port} is taken.")


async def test_nothing_to_serve(project: Project) -> None:
    (project.path / "verdicts" / "intents.json").unlink()
    async with served(project) as (process, _):
        _, err = await process.communicate()
    assert process.returncode == 51
    assert "there is no upstream" in err.decode()
