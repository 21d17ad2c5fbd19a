"""Several workers behind one socket: real processes that are killed, restarted, drained and told to read again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from freehold.errors import BadSetting, PortInUse
from freehold.serve.workers import bind

LIMIT = 60.0  # seconds after which a test counts as hanging

# an HTTP server that says who it is: GET /pid at once, GET /slow after 0.5 s
WORKER = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from freehold.serve.workers import inherited

    async def main():
        place, running = inherited(), set()
        assert place is not None and "FREEHOLD_WORKER" not in os.environ
        out = Path(sys.argv[1])
        if (out / f"fail-{place.index}").exists():
            print("freehold: this one does not start.", file=sys.stderr, flush=True)
            sys.exit(int((out / f"fail-{place.index}").read_text()))
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, asked.set)
        loop.add_signal_handler(signal.SIGUSR1, lambda: (out / f"again-{os.getpid()}").touch())

        async def answer(reader, writer):
            running.add(asyncio.current_task())
            try:
                while (line := await reader.readline()) not in (b"", b"\\r\\n"):
                    if line.startswith(b"GET /slow"):
                        await asyncio.sleep(0.5)
                body = str(os.getpid()).encode()
                head = b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ncontent-length: "
                writer.write(head + b"%d\\r\\n\\r\\n" % len(body) + body)
                await writer.drain()
            finally:
                writer.close()
                running.discard(asyncio.current_task())

        def protocol():
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), answer, loop=loop)

        if (out / f"deaf-{place.index}").exists():
            server = await asyncio.start_server(answer, "127.0.0.1", 0)
        else:
            server = await asyncio.start_server(answer, sock=place.listen, backlog=1024)
        adopting = asyncio.create_task(place.adopt(protocol))
        place.ready(b'{"pid": %d}' % os.getpid())
        await asked.wait()
        server.close()
        adopting.cancel()
        while running:
            await asyncio.sleep(0.01)

    asyncio.run(main())
"""

PARENT = """
    import sys
    from pathlib import Path
    from freehold.serve.workers import bind, work

    out, count, script = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    listen = bind("127.0.0.1", 0, count)
    print(listen[0].getsockname()[1], flush=True)
    try:
        code = work(
            lambda index: [sys.executable, script, str(out)], listen, out,
            said=lambda line: print(line.decode(), flush=True),
            tell=lambda what, done=None: print(f"freehold: {what}", file=sys.stderr, flush=True),
            drain=20.0,
        )
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
"""


@dataclass
class Server:
    parent: subprocess.Popen[str]
    port: int
    folder: Path

    def get(self, path: str = "/pid") -> int:
        """The pid that answered. Raises ConnectionError where the connection was lost."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT) as conn:
            conn.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            said = b""
            while chunk := conn.recv(4096):
                said += chunk
        if not said:
            raise ConnectionError("nothing came back")
        return int(said.rpartition(b"\r\n\r\n")[2])

    def pids(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.parent.pid).children()}

    def until(self, what: str, holds: object) -> None:
        end = time.monotonic() + LIMIT
        while not holds():  # type: ignore[operator]
            assert time.monotonic() < end, what
            time.sleep(0.02)

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()


@contextmanager
def started(tmp_path: Path, count: int = 2) -> Iterator[Server]:
    (tmp_path / "worker.py").write_text(textwrap.dedent(WORKER))
    (tmp_path / "parent.py").write_text(textwrap.dedent(PARENT))
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path), str(count), str(tmp_path / "worker.py")]
    with (tmp_path / "stderr").open("w") as err:
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
    assert parent.stdout is not None
    server = Server(parent, int(parent.stdout.readline()), tmp_path)
    try:
        yield server
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def announced(server: Server) -> dict[str, int]:
    assert server.parent.stdout is not None
    found: dict[str, int] = json.loads(server.parent.stdout.readline())
    return found


def test_requests_go_on_when_a_worker_is_killed_and_all_drain_at_the_end(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        first = announced(server)["pid"]
        before = server.pids()
        assert len(before) == 2
        assert first in before
        os.kill(first, signal.SIGKILL)
        answered = [server.get() for _ in range(200)]  # none is lost: each raises where it is
        assert first not in answered
        server.until("a worker in its place", lambda: len(server.pids()) == 2 and "listens again" in server.stderr())
        assert f"worker 0 ended with signal {signal.SIGKILL:d}; another starts in 0.1 s" in server.stderr()

        slow = [socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) for _ in range(8)]
        for conn in slow:
            conn.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        server.until("accepted", lambda: _accepted(server) >= 8)
        server.parent.send_signal(signal.SIGTERM)
        for conn in slow:
            with conn:
                assert conn.recv(4096).startswith(b"HTTP/1.1 200 OK")
        assert server.parent.wait(LIMIT) == 0
        assert server.parent.stdout is not None
        assert server.parent.stdout.read() == ""  # the line was said once


def _accepted(server: Server) -> int:
    return sum(
        conn.status == psutil.CONN_ESTABLISHED
        for pid in server.pids()
        for conn in psutil.Process(pid).net_connections("tcp")
    )


def test_sigusr1_reaches_every_worker_and_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    with started(tmp_path, 3) as server:
        announced(server)
        pids = server.pids()
        assert len(pids) == 3
        server.parent.send_signal(signal.SIGUSR1)
        server.until("all read again", lambda: all((tmp_path / f"again-{pid}").exists() for pid in pids))
        server.parent.send_signal(signal.SIGINT)
        assert server.parent.wait(LIMIT) == 130
        assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_does_not_start_ends_all_with_its_code_and_its_one_sentence(tmp_path: Path, index: int) -> None:
    (tmp_path / f"fail-{index}").write_text("51")
    with started(tmp_path, 3) as server:
        assert server.parent.wait(LIMIT) == 51
        assert server.stderr() == "freehold: this one does not start.\n"
        assert server.parent.stdout is not None
        assert server.parent.stdout.read() == ""


def test_a_worker_that_cannot_start_again_is_tried_again_while_the_others_serve(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        first = announced(server)["pid"]
        (tmp_path / "fail-0").write_text("30")
        os.kill(first, signal.SIGKILL)
        server.until("tried twice", lambda: server.stderr().count("ended with exit code 30") >= 2)
        assert "another starts in 0.4 s" in server.stderr()
        assert server.get() != first
        (tmp_path / "fail-0").unlink()
        server.until("listens again", lambda: "worker 0 listens again" in server.stderr())
        server.parent.send_signal(signal.SIGTERM)
        assert server.parent.wait(LIMIT) == 0


def test_a_killed_parent_leaves_no_worker(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        announced(server)
        pids = server.pids()
        server.parent.kill()
        server.until("all gone", lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_connections_reach_every_worker_and_what_waits_for_a_stuck_one_is_taken_by_the_others(tmp_path: Path) -> None:
    (tmp_path / "deaf-1").touch()  # it runs, and never looks at its socket
    with started(tmp_path, 3) as server:
        announced(server)
        answered = {server.get() for _ in range(120)}
        assert len(answered) >= 2
        server.parent.send_signal(signal.SIGTERM)
        assert server.parent.wait(LIMIT) == 0


def test_a_taken_port_and_a_host_that_is_none_are_one_sentence() -> None:
    sockets = bind("127.0.0.1", 0, 2)
    port = sockets[0].getsockname()[1]
    assert [one.getsockname()[1] for one in sockets] == [port, port]
    with pytest.raises(PortInUse, match=f"Port {port} is taken"):
        bind("127.0.0.1", port, 2)
    for one in sockets:
        one.close()
    bind("127.0.0.1", port, 1)[0].close()
    with pytest.raises(BadSetting, match="Can't listen on"):
        bind("192.0.2.1", 0, 1)
    with pytest.raises(BadSetting, match="Can't listen on"):
        bind("127.0.0.1", 70000, 1)
