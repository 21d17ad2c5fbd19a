"""A student that never comes back holds neither the stop nor the start of its server."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from freehold import wire
from freehold.project import Project
from freehold.serve.seats.thread import StudentThread

from .conftest import StandIn, request

SERVER = """
import sys, threading
sys.path.insert(0, {here!r})
import serving

class Stuck:
    def __init__(self, student): self.student, self.asked = student, 0
    def answers(self, texts):
        self.asked += 1
        if self.asked > {good}:
            print("stuck", file=sys.stderr, flush=True)
            threading.Event().wait()
        return self.student.answers(texts)

opener = serving.opener
serving.opener = lambda folder, artifact: Stuck(opener(folder, artifact))
sys.exit(serving.main(*sys.argv[1:]))
"""


@asynccontextmanager
async def served(project: Project, url: str, good: int) -> AsyncIterator[asyncio.subprocess.Process]:
    code = SERVER.format(here=str(Path(__file__).parent), good=good)
    pipe = asyncio.subprocess.PIPE
    argv = [sys.executable, "-c", code, str(project.path), url, "0"]
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_stuck_student_does_not_hold_the_process(project: Project, upstream: StandIn, signals: int) -> None:
    async with served(project, upstream.url, 1) as process, aiohttp.ClientSession() as session:
        assert process.stdout is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        body, headers = wire.dumps(request("sing to me")), {"Content-Type": "application/json"}
        async with session.post(url, data=body, headers=headers) as response:
            assert response.headers["x-freehold-answered-by"] == "upstream"
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)
        if signals == 2:
            with suppress(ProcessLookupError):  # the first may have ended it
                process.send_signal(signal.SIGTERM)
        # a second signal that finds the server gone already ends the interpreter itself
        assert await asyncio.wait_for(process.wait(), 5) in ((0,) if signals == 1 else (0, -signal.SIGTERM))


async def test_a_student_stuck_at_the_start_does_not_hold_it(project: Project, upstream: StandIn) -> None:
    async with served(project, upstream.url, 0) as process:
        assert process.stderr is not None
        while (line := await asyncio.wait_for(process.stderr.readline(), 30)) != b"stuck\n":
            assert line
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0


def test_the_thread_does_one_thing_after_the_other_and_forgets_what_waits() -> None:
    thread = StudentThread()
    done = [thread.submit(pow, 2, n) for n in range(5)]
    assert [future.result(5) for future in done] == [1, 2, 4, 8, 16]
    failed = thread.submit(pow, 0, -1)
    assert isinstance(failed.exception(5), ZeroDivisionError)
    slow = thread.submit(time.sleep, 0.2)
    waiting = [thread.submit(pow, 2, n) for n in range(5)]
    time.sleep(0.05)
    thread.shutdown(wait=True, cancel_futures=True)
    assert slow.done()
    assert all(future.cancelled() for future in waiting)
