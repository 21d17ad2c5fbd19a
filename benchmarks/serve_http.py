"""What serving adds to a home answer: the whole stack with a student that costs nothing, beside a bare server.

    python benchmarks/serve_http.py [--full]

A server in a process of its own, one client on one kept connection, one call after the other. The student is scripted
(it looks the text up), so the figure is HTTP, the door, the route, the student's thread and the ledger row. The peer
is an aiohttp server that answers the same bytes and does nothing else. student.py measures the real student.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from _run import ROOT, emit, goal, say, versions

CALLS = 300
JSON = {"Content-Type": "application/json"}
SCRIPTED = """
import json, sys
from freehold.engines.scripted import ScriptedStudent
from freehold.nouns import Audit
from freehold.project import Project
from freehold.serve import serve
project = Project.open(sys.argv[1])
def opener(folder, artifact):
    return ScriptedStudent({k: tuple(v) for k, v in json.loads((folder / "script.json").read_bytes()).items()})
def ready(app):
    print(json.dumps({"url": f"http://127.0.0.1:{app.port}/v1"}), flush=True)
serve(project, project.load(Audit), None, opener=opener, port=0, ready=ready)
"""
BARE = """
import asyncio, json, sys
from aiohttp import web
answer = sys.argv[1].encode()
async def handle(request):
    await request.read()
    return web.Response(body=answer, content_type="application/json")
async def main():
    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(json.dumps({"url": f"http://127.0.0.1:{site.port}/v1"}), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@contextmanager
def server(*argv: str) -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    process = subprocess.Popen([sys.executable, *argv], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(40)


def scripted_project(folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """A project whose one task is answered by a dict, and the requests to ask it."""
    from freehold.nouns import Audit, LogFile, Measure, Repeats, Slot, Task, TaskStudent, Template, Tokens, Verdict
    from freehold.project import Project

    project = Project.create(folder)
    script = {f"question number {i} about my account and my card": ("balance", 0.99) for i in range(CALLS)}
    checks = [{"text": text, "label": label, "score": score} for text, (label, score) in list(script.items())[:64]]
    files = {"script.json": json.dumps(script).encode(), "checks.json": json.dumps(checks).encode()}
    made = project.write_artifact(
        files, kind="scripted", task="t", base="none", licence="none", recipe={}, data_sha256="0" * 64
    )
    system = "Name the intent. Intents: " + ", ".join(f"intent_{i}" for i in range(150)) + ", balance."
    slots = (Slot("system", system), Slot("user", "", "", variable=True))
    task = Task("t", Template(slots), "labels", 1, 1.0, labels=("balance",), models=("m",), answer_tokens=2)
    none = Measure(None)
    log = LogFile((), "0" * 64, "0" * 64, 0, 0)
    project.save(Audit(log, 1, 0, (), (task,), Tokens(), none, none, None, None, (), Repeats(0, 0, none)))
    student = TaskStudent(made.sha256, "none", "none")
    head = ("t", "labels", 1, 1.0, 0.95, 0.95, "move", "", None, none, none, 0.9, student, None)
    project.save(Verdict(*head, asked=task, made="2026-01-01T00:00:00+00:00"))
    head = {"role": "system", "content": system}
    asked = [{"model": "m", "messages": [head, {"role": "user", "content": text}]} for text in script]
    return ["-c", SCRIPTED, str(folder)], asked


async def ask(url: str, bodies: list[bytes], calls: int) -> tuple[list[float], bytes]:
    """Milliseconds of each call after a warm-up, and the last answer."""
    taken: list[float] = []
    async with aiohttp.ClientSession() as session:
        for i in range(calls + 100):
            start = time.perf_counter()
            async with session.post(f"{url}/chat/completions", data=bodies[i % len(bodies)], headers=JSON) as response:
                answer = await response.read()
                assert response.status == 200, answer
            if i >= 100:
                taken.append((time.perf_counter() - start) * 1000)
    return taken, answer


def summary(taken: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(taken, n=100)
    return {"p50_ms": round(cuts[49], 3), "p95_ms": round(cuts[94], 3), "p99_ms": round(cuts[98], 3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="20,000 calls instead of 2,000")
    args = parser.parse_args()
    calls = 20_000 if args.full else 2_000
    with tempfile.TemporaryDirectory() as folder:
        argv, asked = scripted_project(Path(folder) / "project")
        bodies = [json.dumps(request).encode() for request in asked]
        with server(*argv) as url:
            taken, answer = asyncio.run(ask(url, bodies, calls))
        with server("-c", BARE, answer.decode()) as url:
            bare, _ = asyncio.run(ask(url, bodies, calls))
    ours, theirs = summary(taken), summary(bare)
    say(f"freehold {ours}, bare aiohttp {theirs}, over {calls} calls of {len(bodies[0])} bytes")
    added = round(ours["p50_ms"] - theirs["p50_ms"], 3)
    goals = [goal("p50 that serving adds to a bare server, ms", "<= 1", added, added <= 1.0)]
    result = ours | {"added_ms": added, "request_bytes": len(bodies[0])}
    peers = {"aiohttp, the same bytes and nothing else": theirs}
    return emit("serve_http", full=args.full, n=calls, goals=goals, result=result, peers=peers, versions=versions())


if __name__ == "__main__":
    sys.exit(main())
