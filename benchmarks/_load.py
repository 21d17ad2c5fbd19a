"""Load on an HTTP server, from a process of its own: open-loop by a fixed schedule, or closed-loop; latencies as seen.

    python _load.py JOB.json   -> one JSON line; or load(job) from another benchmark

    job     {"port", "path", "bodies": [text], "headers": {}, "connections", "seconds", "rate" (calls/s; 0: closed),
             "addresses": ["127.0.0.1", ...] (source addresses in turn), "poisson": seed or null, "tail": seconds,
             "trace": bool, "count": calls after which a closed loop ends}
    result  {"sent", "by_status": {"200": n}, "ok": {"n", "p50_ms", "p99_ms", "max_ms"}, "refused": {... of 4xx, 5xx},
             "resets", "unfinished", "wall", "late_p99_ms" (of the generator itself), "trace": [[due, s, status]]}

An open loop's call is due at a time that no answer changes; its latency counts from that time, also while it waits for
a free connection, so a server that stalls can't hide it (coordinated omission). A timerfd gives the times to some
10 us where an event loop's own clock has 1 ms. httptools and uvloop where they are there.
"""

# ruff: noqa: ASYNC110 (load is paced by the clock)
from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import httptools

Job = dict[str, Any]
Result = dict[str, Any]
MONOTONIC, NONBLOCK, ABSOLUTE = 1, 0o4000, 1


def load(job: Job, *, core: int | None = None) -> Result:
    """Run a job in a process of its own."""
    argv = [sys.executable, __file__]
    if core is not None and core in os.sched_getaffinity(0):
        argv = ["taskset", "-c", str(core), *argv]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(job, file)
        file.flush()
        done = subprocess.run([*argv, file.name], stdout=subprocess.PIPE, text=True, check=True)
    found: Result = json.loads(done.stdout)
    return found


def start(job: Job) -> tuple[subprocess.Popen[str], Path]:
    """The same beside what the caller does meanwhile; `finish` waits for it."""
    handle, name = tempfile.mkstemp(suffix=".json")
    with os.fdopen(handle, "w") as file:
        json.dump(job, file)
    return subprocess.Popen([sys.executable, __file__, name], stdout=subprocess.PIPE, text=True), Path(name)


def finish(running: tuple[subprocess.Popen[str], Path]) -> Result:
    process, path = running
    said, _ = process.communicate()
    path.unlink()
    found: Result = json.loads(said)
    return found


def ticks(first: float, gap: float) -> int:
    """A timerfd that is readable at `first` (monotonic clock) and every `gap` seconds from then on."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.timerfd_create(MONOTONIC, NONBLOCK)
    if handle < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    parts = [int(gap), int(gap % 1 * 1e9), int(first), int(first % 1 * 1e9)]
    if libc.timerfd_settime(handle, ABSOLUTE, struct.pack("4q", *parts), None) < 0:
        raise OSError(ctypes.get_errno(), "timerfd_settime")
    return int(handle)


class Line(asyncio.Protocol):
    """One connection: one call after another."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.parser = httptools.HttpResponseParser(self)
        self.due = 0.0
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def ask(self, due: float) -> None:
        assert self.transport is not None
        self.due = due
        self.run.sent += 1
        self.transport.write(self.run.requests[self.run.sent % len(self.run.requests)])

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        due, self.due = self.due, 0.0
        keep = self.parser.should_keep_alive()
        self.run.done(due, self.parser.get_status_code())
        self.parser = httptools.HttpResponseParser(self)
        if keep:
            self.run.free(self)
        elif self.transport is not None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.due:
            self.run.done(self.due, 0)
            self.due = 0.0
        self.run.lost(self)


class Run:
    def __init__(self, job: Job) -> None:
        self.job = job
        host = f"127.0.0.1:{job['port']}"
        given = {"Host": host, "Content-Type": "application/json", **job.get("headers", {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self.requests = [
            f"POST {job['path']} HTTP/1.1\r\n{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
            for body in job["bodies"]
        ]
        self.rate = float(job.get("rate") or 0)
        self.count = int(job.get("count") or 0)
        self.sent = self.resets = 0
        self.rows: list[tuple[float, float, int]] = []
        self.idle: list[Line] = []
        self.lines: set[Line] = set()
        self.waiting: deque[float] = deque()
        self.late: list[float] = []
        self.open = True  # the schedule goes on
        self.tasks: set[asyncio.Task[None]] = set()
        self.addresses = job.get("addresses") or ["127.0.0.1"]

    async def connect(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            local = (self.addresses[number % len(self.addresses)], 0)
            try:
                _, line = await loop.create_connection(
                    lambda: Line(self), "127.0.0.1", self.job["port"], local_addr=local
                )
            except OSError:
                self.resets += 1
                if not self.open:
                    return
                await asyncio.sleep(0.05)
            else:
                self.lines.add(line)
                self.free(line)
                return

    def free(self, line: Line) -> None:
        if self.waiting:
            line.ask(self.waiting.popleft())
        elif not self.rate and self.open and (not self.count or self.sent < self.count):
            line.ask(time.monotonic())
        else:
            self.idle.append(line)

    def lost(self, line: Line) -> None:
        self.lines.discard(line)
        if line in self.idle:
            self.idle.remove(line)
        if self.open or self.waiting:
            task = asyncio.ensure_future(self.connect(self.sent))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def done(self, due: float, status: int) -> None:
        if not status:
            self.resets += 1
        self.rows.append((due, time.monotonic() - due, status))

    def due(self, at: float) -> None:
        if self.idle:
            self.idle.pop().ask(at)
        else:
            self.waiting.append(at)

    async def go(self) -> Result:
        seconds = float(self.job["seconds"])
        await asyncio.gather(*(self.connect(i) for i in range(self.job["connections"])))
        begun = time.monotonic()
        if self.rate:
            await self.schedule(begun + 0.01, seconds)
        else:
            while time.monotonic() < begun + seconds and (not self.count or self.sent < self.count):
                await asyncio.sleep(0.02)
        ended = time.monotonic()
        self.open = False
        until = time.monotonic() + float(self.job.get("tail", 10.0))
        while time.monotonic() < until and (self.waiting or any(line.due for line in self.lines)):
            await asyncio.sleep(0.01)
        return self.result((time.monotonic() if self.rate else ended) - begun)

    async def schedule(self, first: float, seconds: float) -> None:
        """Calls that are due by the clock alone: evenly, or as a Poisson process of the same rate."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        total = max(1, int(self.rate * seconds))
        seed = self.job.get("poisson")
        dues = [first + k / self.rate for k in range(total)]
        if seed is not None:
            chance = random.Random(seed)
            at, dues = first, []
            while at < first + seconds:
                dues.append(at)
                at += chance.expovariate(self.rate)
        gap = 1 / self.rate if seed is None else min(1 / self.rate, 2e-4)
        timer, left = ticks(first, gap), deque(dues)

        def ring() -> None:
            os.read(timer, 8)
            now = time.monotonic()
            while left and left[0] <= now:
                at = left.popleft()
                self.late.append(now - at)
                self.due(at)
            if not left:
                ended.set()

        loop.add_reader(timer, ring)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(timer)
            os.close(timer)

    def result(self, wall: float) -> Result:
        fine = [s for _, s, status in self.rows if 200 <= status < 300]
        refused = [s for _, s, status in self.rows if status >= 400]
        found = {
            "sent": self.sent, "by_status": dict(Counter(str(status) for _, _, status in self.rows)),
            "ok": cuts(fine), "refused": cuts(refused), "resets": self.resets, "wall": wall,
            "unfinished": len(self.waiting) + sum(bool(line.due) for line in self.lines),
            "late_p99_ms": cuts(self.late)["p99_ms"],
        }  # fmt: skip
        if self.job.get("trace"):
            base = min((due for due, _, _ in self.rows), default=0.0)
            found["trace"] = [[round(due - base, 4), round(s, 5), status] for due, s, status in self.rows]
        return found


def cuts(seconds: list[float]) -> dict[str, Any]:
    if not seconds:
        return {"n": 0, "p50_ms": None, "p99_ms": None, "max_ms": None}
    ordered = sorted(seconds)
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {"n": len(ordered)} | {
        name: round(1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3) for name, q in at.items()
    }


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    try:
        import uvloop

        found = uvloop.run(Run(job).go())
    except ImportError:
        found = asyncio.run(Run(job).go())
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
