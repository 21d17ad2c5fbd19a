"""G38: 20 minutes at 70 % of what the server takes, a fault every 30 s (short form: 100 s, every 12 s).

    python benchmarks/trust/soak.py [--full] [--seed 1] [--minutes M]

    engine    kill -9 of the text student's llama.cpp          stalls    the upstream stands still for 5 s (SIGSTOP)
    reload    SIGUSR1: the project is read again               dies      the upstream is killed, and back after 2 s
    slow      60 connections that send a byte a second         disk      the ledger's disk (a tmpfs) is full for 5 s

The order of faults is drawn from the seed. The ledger is rotated each 8 MiB. A 5xx is explained where an upstream fault
lies at most 45 s before it (its own deadline, and the breaker's half minute). Memory's slope counts from the first
third
on (--full: from minute 10).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import _run
from _gateway import ADDRESSES, CHAT, Server, bodies, freehold, job, settings, small_project, upstream, wait_for
from _load import finish, load, start

Row = dict[str, Any]
DELAY = 0.05
SHADOW = 45.0  # seconds after an upstream fault in which a 5xx is no surprise
UPSTREAM = ("stalls", "dies")
TOML = "[limits]\nconnections_address = 256\n[ledger]\nrotate_mib = 8\n"


@dataclass
class World:
    ours: Server
    up: Server
    ledger: Path
    mounted: bool
    home: list[str] | None
    faults: list[tuple[float, str]] = field(default_factory=list)
    samples: list[tuple[float, float, int, int]] = field(default_factory=list)
    home_said: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)


def engine(world: World) -> None:
    children = [pid for pid in world.ours.pids() if pid != world.ours.process.pid]
    for pid in children:
        with contextlib.suppress(OSError):
            if b"llama" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def reload(world: World) -> None:
    os.kill(world.ours.process.pid, signal.SIGUSR1)


def stalls(world: World) -> None:
    world.up.process.send_signal(signal.SIGSTOP)
    world.over.wait(5.0)
    world.up.process.send_signal(signal.SIGCONT)


def dies(world: World) -> None:
    world.up.process.kill()
    world.up.process.wait()
    world.over.wait(2.0)
    argv = [sys.executable, str(_run.PEERS / "standin.py"), str(world.up.port), "--delay", str(DELAY)]
    world.up.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    wait_for(world.up.port, 10)


def slow(world: World) -> None:
    lines = []
    for i in range(60):
        with contextlib.suppress(OSError):
            one = socket.socket()
            one.bind((ADDRESSES[i % len(ADDRESSES)], 0))
            one.connect(("127.0.0.1", world.ours.port))
            one.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode())
            lines.append(one)
    for _ in range(8):
        for one in lines:
            with contextlib.suppress(OSError):
                one.send(b"X")
        world.over.wait(1.0)
    for one in lines:
        one.close()


def disk(world: World) -> None:
    if not world.mounted:
        return
    full = world.ledger / "ballast-of-the-test"
    with full.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * (1 << 20))
            file.flush()
    world.over.wait(5.0)
    full.unlink()


FAULTS: dict[str, Callable[[World], None]] = {
    "reload": reload, "slow": slow, "engine": engine, "disk": disk, "stalls": stalls, "dies": dies
}  # fmt: skip


@contextlib.contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[bool]:
    """A tmpfs of that size over the folder; False where mounting is not allowed."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "tmpfs", str(folder)], capture_output=True
    )
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def watch(world: World, begun: float) -> None:
    while not world.over.wait(1.0):
        with contextlib.suppress(OSError):
            world.samples.append(
                (time.monotonic() - begun, _own_rss(world.ours), world.ours.handles(), world.ours.threads())
            )


def _own_rss(server: Server) -> float:
    """The server's own process: an engine that was killed comes back with its model's memory."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def keep_asking(world: World) -> None:
    """A text call at home, twice a second."""
    assert world.home is not None
    for turn in range(1 << 30):
        if world.over.wait(0.5):
            return
        try:
            line = http.client.HTTPConnection("127.0.0.1", world.ours.port, timeout=60)
            line.request("POST", CHAT, world.home[turn % len(world.home)], {"Content-Type": "application/json"})
            answer = line.getresponse()
            answer.read()
            world.home_said[f"{answer.status} {answer.headers.get('x-freehold-answered-by')}"] += 1
            line.close()
        except (OSError, http.client.HTTPException) as error:
            world.home_said[type(error).__name__] += 1


def inject(world: World, begun: float, every: float, seconds: float, seed: int) -> None:
    chance, queue = random.Random(seed), []  # type: ignore[var-annotated]
    while time.monotonic() - begun + every < seconds:
        if world.over.wait(every):
            return
        queue = queue or chance.sample(list(FAULTS), len(FAULTS))
        name = queue.pop()
        world.faults.append((time.monotonic() - begun, name))
        _run.say(f"{world.faults[-1][0]:6.1f} s  {name}")
        FAULTS[name](world)


def slope(samples: list[tuple[float, float]]) -> float:
    """MiB an hour, by least squares."""
    n = len(samples)
    x, y = sum(t for t, _ in samples) / n, sum(v for _, v in samples) / n
    over = sum((t - x) ** 2 for t, _ in samples)
    return 3600 * sum((t - x) * (v - y) for t, v in samples) / over if over else 0.0


def judged(world: World, trace: list[list[float]], seconds: float, full: bool) -> tuple[Row, list[Row]]:
    at = [when for when, name in world.faults if name in UPSTREAM]
    shaken = [when for when, _ in world.faults]
    odd = Counter(
        int(status) for due, _, status in trace
        if (status >= 500 or status == 0) and not any(when - 1 <= due <= when + SHADOW for when in at)
    )  # fmt: skip
    after = 600.0 if full else seconds / 3
    grown = [(t, rss) for t, rss, _, _ in world.samples if t >= after]
    per_hour = slope(grown)
    calm = [
        (due, s) for due, s, status in trace if status == 200 and not any(0 <= due - when <= SHADOW for when in shaken)
    ]
    p99 = [
        sorted(s for due, s in calm if low <= due < high)
        for low, high in ((0, seconds / 4), (3 * seconds / 4, seconds))
    ]
    tails = [part[int(0.99 * len(part))] if len(part) > 100 else None for part in p99]
    handles, threads = ([s[i] for s in world.samples] for i in (2, 3))
    quarter = len(handles) // 4
    # the median: how many connections are kept for the upstream varies, what leaks stays
    low, high = (round(statistics.median(part)) for part in (handles[quarter : 2 * quarter], handles[-quarter:]))
    found = {
        "calls": len(trace), "by_status": dict(Counter(str(int(status)) for _, _, status in trace)),
        "home": dict(world.home_said), "faults": [[round(t, 1), name] for t, name in world.faults],
        "unexplained": {str(k): v for k, v in odd.items()}, "rss_mib": [round(world.samples[5][1], 1),
        round(world.samples[-1][1], 1)],
        "rss_slope_mib_per_hour": round(per_hour, 2), "handles": [low, high], "threads": [threads[5], threads[-1]],
        "p99_ms": [None if t is None else round(1000 * t, 1) for t in tails], "tmpfs": world.mounted,
    }  # fmt: skip
    goals = [
        _run.goal("5xx and lost calls that no fault explains", "0", sum(odd.values()), not odd),
        _run.goal(
            "memory's slope, MiB an hour", "<= 1 (--full)", round(per_hour, 2), per_hour <= 1.0 if full else None
        ),
        _run.goal(
            "handles in the last quarter, less those in the second (medians)",
            "<= 8 (--full)",
            high - low,
            high - low <= 8 if full else None,
        ),
        _run.goal(
            "threads at the end, beside the start",
            "no more than 4 more",
            threads[-1] - threads[5],
            threads[-1] - threads[5] <= 4,
        ),
        _run.goal("the server lives", "yes", world.ours.alive(), world.ours.alive()),
    ]
    if None not in tails:
        times = round(tails[1] / tails[0], 2)  # type: ignore[operator]
        goals.append(
            _run.goal(
                "p99 of the last quarter, beside the first", "<= 1.1 (--full)", times, times <= 1.1 if full else None
            )
        )
    return found, goals


def project(folder: Path) -> tuple[Path, list[str] | None]:
    """With a text student where the small base is here."""
    from gateway import PROMPT, QUESTIONS, text_project

    from freehold.errors import FreeholdError

    try:
        made = text_project(folder)
    except FreeholdError as error:
        _run.say(f"no text student here: {error}")
        made = small_project(folder)
        settings(made, TOML)
        return made, None
    settings(made, TOML)
    return made, [
        json.dumps(
            {
                "model": "gpt-4o-mini",
                "messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": q}],
            }
        )
        for q in QUESTIONS
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="20 minutes, a fault every 30 s")
    parser.add_argument("--minutes", type=float, help="another length")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    seconds = 60 * args.minutes if args.minutes else 1200.0 if args.full else 100.0
    every = 30.0 if args.full else 12.0
    _run.CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_run.CACHE) as work, contextlib.ExitStack() as stack:
        made, home = project(Path(work) / "project")
        mounted = stack.enter_context(small_disk(made / "ledger", max(64, int(seconds * 0.6))))
        up = stack.enter_context(upstream(delay=DELAY))
        ours = stack.enter_context(freehold(made, up.url))
        world = World(ours, up, made / "ledger", mounted, home)
        how = {"connections": 48, "addresses": ADDRESSES, "bodies": bodies()}
        most = load(job(ours, **how | {"connections": 16}, seconds=3.0, rate=0))
        rate = 0.7 * most["ok"]["n"] / most["wall"]
        _run.say(f"70 % of {rate / 0.7:.0f} calls/s for {seconds:.0f} s")
        running = start(job(ours, **how, seconds=seconds, rate=rate, poisson=args.seed, trace=True, tail=70.0))
        begun = time.monotonic() + 0.3  # its own start
        beside = [threading.Thread(target=watch, args=(world, begun), daemon=True),
                  threading.Thread(target=inject, args=(world, begun, every, seconds - 5, args.seed),
                  daemon=True)]  # fmt: skip
        if home:
            beside.append(threading.Thread(target=keep_asking, args=(world,), daemon=True))
        for one in beside:
            one.start()
        found = finish(running)
        world.over.set()
        for one in beside:
            one.join(30)
        row, goals = judged(world, found["trace"], seconds, args.full)
        log = (ours.log.read_text() if ours.log else "").count("Traceback")
        goals.append(_run.goal("tracebacks in its log", "0", log, log == 0))
    row |= {
        "rate": round(rate, 1),
        "seed": args.seed,
        "seconds": seconds,
        "unfinished": found["unfinished"],
        "resets": found["resets"],
    }
    return _run.emit("trust/soak", full=args.full, n=row["calls"], goals=goals, case="G38", result=row)


if __name__ == "__main__":
    sys.exit(main())
