"""G25: a client that goes away at any phase of its call: how long until nobody works for it any more.

    python benchmarks/trust/disconnect.py [--full]

Eight phases, streamed and in one piece, answered by an upstream and by a text student at home:
    headers    half its headers are sent             body     half its body
    sent       its whole request, at once            wait     while nothing has come yet
    first      after the first piece of the answer   middle   in the middle of it
    last       just before its end                   pipe     with a second request sent behind the first
Up: seconds from the client's reset until the upstream's connection is closed, or its call is over. At home: until
the student answers another call within its usual time (its slot is free).
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import _run
from _gateway import CHAT, Server, bodies, freehold, seen, small_project, upstream

PHASES = ("headers", "body", "sent", "wait", "first", "middle", "last", "pipe")
WHOLE_SECONDS = 2.0  # what the stand-in takes for an answer in one piece
GAP = 0.02  # between the events of a stream: 2 s in all
Row = dict[str, Any]


def leave(server: Server, phase: str, body: str) -> None:
    """One call, ended by a reset in that phase."""
    data = body.encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    whole = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data
    line = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, at once
    sent = {"headers": head.encode()[:60], "body": whole[: -len(data) // 2], "pipe": whole * 2}.get(phase, whole)
    line.sendall(sent)
    if phase in ("wait", "pipe"):
        time.sleep(0.3)
    elif phase in ("first", "middle", "last"):
        wanted = {"first": 1, "middle": 50, "last": 99}[phase]
        line.settimeout(WHOLE_SECONDS * (0.2 if phase == "first" else 0.5 if phase == "middle" else 0.95))
        got, end = 0, time.monotonic() + 1.9
        try:
            while got < wanted and time.monotonic() < end and (piece := line.recv(65536)):
                got += piece.count(b"data: ")
        except TimeoutError:
            pass  # an answer in one piece: gone in the middle of its time
    line.close()


def until_idle(up: Server, before: dict[str, int]) -> float:
    """Seconds until the stand-in has nobody left to answer: its task was cancelled, or had ended."""
    begun = time.monotonic()
    while time.monotonic() - begun < 10:
        now = seen(up)
        if now["busy"] == 0:
            return time.monotonic() - begun
        time.sleep(0.005)
    return 10.0


def upwards(server: Server, up: Server, times: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for stream in (False, True):
        for phase in PHASES:
            for i in range(times):
                before = seen(up)
                leave(server, phase, bodies(stream)[i % 16])
                found.setdefault(f"{phase} {'stream' if stream else 'whole'}", []).append(until_idle(up, before))
    return found


def at_home(server: Server, bodies_home: list[str], times: int) -> tuple[dict[str, list[float]], float]:
    """Seconds by which the next call at home is later than usual, after a client left."""
    found: dict[str, list[float]] = {}

    def ask(body: str) -> float:
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        begun = time.monotonic()
        line.request("POST", CHAT, body, {"Content-Type": "application/json"})
        answer = line.getresponse()
        answer.read()
        took = time.monotonic() - begun
        if answer.status != 200 or answer.headers.get("x-freehold-answered-by") != "student":
            raise SystemExit(
                f"a call that was to stay home got {answer.status} from {answer.headers.get('x-freehold-answered-by')}"
            )
        line.close()
        return took

    usual = statistics.median(ask(bodies_home[0]) for _ in range(5))
    for stream in (False, True):
        for phase in PHASES:
            for i in range(times):
                body = json.loads(bodies_home[1 + i % (len(bodies_home) - 1)]) | ({"stream": True} if stream else {})
                leave(server, phase, json.dumps(body))
                found.setdefault(f"{phase} {'stream' if stream else 'whole'}", []).append(
                    max(0.0, ask(bodies_home[0]) - usual)
                )
    return found, usual


def summary(found: dict[str, list[float]]) -> tuple[Row, float]:
    every = sorted(s for each in found.values() for s in each)
    return {name: round(1000 * max(each), 1) for name, each in found.items()}, every[
        min(len(every) - 1, int(0.99 * len(every)))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="each phase 20 times instead of 2")
    args = parser.parse_args()
    times = 20 if args.full else 2
    _run.CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_run.CACHE) as folder, upstream(delay=WHOLE_SECONDS, gap=GAP) as up:
        with freehold(small_project(Path(folder) / "project"), up.url) as ours:
            above = upwards(ours, up, times)
        home: dict[str, list[float]] = {}
        usual = 0.0
        try:
            from gateway import PROMPT, QUESTIONS, text_project

            project = text_project(Path(folder) / "text")
        except Exception as error:  # noqa: BLE001 (the small base is not everywhere: then that half is open)
            _run.say(f"at home: not here ({error})")
        else:
            asked = [
                json.dumps(
                    {
                        "model": "gpt-4o-mini",
                        "messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": q}],
                    }
                )
                for q in QUESTIONS
            ]
            with freehold(project, up.url) as ours:
                home, usual = at_home(ours, asked, times)
    rows, p99 = summary(above)
    goals = [_run.goal("p99 until the upstream is let go, ms", "<= 500", round(1000 * p99, 1), p99 <= 0.5)]
    result: Row = {"upstream_most_ms": rows}
    if home:
        rows, p99 = summary(home)
        result |= {"home_most_ms": rows, "home_usual_ms": round(1000 * usual, 1)}
        goals.append(
            _run.goal("p99 by which the student's next call is late, ms", "<= 500", round(1000 * p99, 1), p99 <= 0.5)
        )
    n = sum(map(len, above.values())) + sum(map(len, home.values()))
    return _run.emit("trust/disconnect", full=args.full, n=n, goals=goals, case="G25", result=result)


if __name__ == "__main__":
    sys.exit(main())
