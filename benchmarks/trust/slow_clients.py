"""G23: 1,000 slow connections (headers, bodies, readers) beside an honest client.

    python benchmarks/trust/slow_clients.py [--full] [--count 1000]

    headers   a byte of its headers a second                        closed after 10 s: by 12 s here
    body      whole headers, then a byte of its body a second       closed after 30 s: by 40 s
    reader    asks for a stream of 16 MiB and reads none of it      closed after a write stood for 30 s: by 40 s

The slow ones come from 32 loopback addresses, some 31 each; the honest client keeps 16 connections and a fixed rate
(open loop), before and during.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import _run
from _gateway import ADDRESSES, CHAT, Server, bodies, freehold, job, small_project, upstream
from _load import load

Row = dict[str, Any]
KINDS = ("headers", "body", "reader")
RATE = 100.0
LIMITS = {"headers": 12.0, "body": 40.0, "reader": 40.0}
METHOD = "a third of each kind, from 32 loopback addresses; honest: 16 connections, 100 calls/s, open loop"


class Slow:
    """One slow connection; `closed` is the seconds after which the server ended it (None: it never did)."""

    def __init__(self, kind: str, server: Server, address: str) -> None:
        self.kind, self.server, self.address = kind, server, address
        self.closed: float | None = None
        self.held: set[tuple[str, int]] = set()
        self.refused = False

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        begun = time.monotonic()
        try:
            one.bind((self.address, 0))
            await loop.sock_connect(one, ("127.0.0.1", self.server.port))
            await self.talk(one, begun, begun + seconds)
        except (ConnectionError, BrokenPipeError):
            self.closed = time.monotonic() - begun
            self.refused = self.closed < 1.0
        except OSError:
            self.refused = True
        finally:
            one.close()

    async def talk(self, one: socket.socket, begun: float, until: float) -> None:
        loop = asyncio.get_running_loop()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n"
        if self.kind == "headers":
            await loop.sock_sendall(one, head.encode())
            drip = b"X-Slow: "
        else:
            asked = bodies()[0] if self.kind == "body" else bodies(stream=True, metadata={"fault": "long"})[0]
            full = f"{head}Content-Type: application/json\r\nContent-Length: {len(asked)}\r\n\r\n"
            await loop.sock_sendall(one, (full if self.kind == "body" else full + asked).encode())
            drip = b" "
        own, taken = one.getsockname(), False
        while time.monotonic() < until:
            if self.kind == "reader":
                taken = taken or own in self.held
                if taken and own not in self.held:
                    raise ConnectionResetError
            else:
                await loop.sock_sendall(one, drip[:1])
                if _ended(one):
                    raise ConnectionResetError
            await asyncio.sleep(1.0)


def _ended(one: socket.socket) -> bool:
    """Whether the server has closed; what it says first (408) is read."""
    try:
        while data := one.recv(65536):
            if not data:
                return True
    except BlockingIOError:
        return False
    return True


def _held(port: int) -> set[tuple[str, int]]:
    """The addresses of clients whose connections some process still holds: one that was closed with bytes unsent stays
    with the system, which its client can't see."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port and fields[9] != "0":
            host, number = fields[2].split(":")
            found.add((socket.inet_ntoa(bytes.fromhex(host)[::-1]), int(number, 16)))
    return found


def siege(work: Path, count: int, seconds: float) -> Row:
    with (
        tempfile.TemporaryDirectory(dir=work) as folder,
        upstream(gap=0.0) as up,
        freehold(small_project(Path(folder) / "project"), up.url) as ours,
    ):
        honest = {"rate": RATE, "connections": 16, "poisson": 11}
        load(job(ours, **honest, seconds=1.0))
        alone = load(job(ours, **honest, seconds=min(10.0, seconds / 4)))
        before = ours.rss()
        slow = [Slow(KINDS[i % 3], ours, ADDRESSES[i % len(ADDRESSES)]) for i in range(count)]

        async def all_of_them() -> None:
            async def later(number: int, one: Slow) -> None:
                await asyncio.sleep(number * 2.0 / count)  # two seconds to come
                await one.run(seconds)

            async def look() -> None:
                while True:
                    now = _held(ours.port)
                    for one in slow:
                        one.held = now
                    await asyncio.sleep(1.0)

            looking = asyncio.create_task(look())
            await asyncio.gather(*(later(i, one) for i, one in enumerate(slow)))
            looking.cancel()

        thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
        thread.start()
        time.sleep(2.5)
        beside = load(job(ours, **honest, seconds=seconds - 5.0))
        rss = ours.rss()
        thread.join()
    found: Row = {"alone": alone["ok"], "beside": beside["ok"], "honest_by_status": beside["by_status"],
    "resets": beside["resets"],
                  "rss_before": round(before, 1), "rss_after": round(rss, 1), "n": count, "method": METHOD}  # fmt: skip
    for kind in KINDS:
        mine = [one for one in slow if one.kind == kind]
        ends = sorted(one.closed for one in mine if one.closed is not None and not one.refused)
        found[kind] = {"closed": len(ends), "refused_at_the_door": sum(one.refused for one in mine), "of": len(mine),
                       "last_s": round(ends[-1], 1) if ends else None,
                       "by_second": dict(Counter(int(s) for s in ends).most_common(5))}  # fmt: skip
        _run.say(f"{kind}: {found[kind]}")
    return found


def goals_of(found: Row) -> list[Row]:
    slower = round(found["beside"]["p99_ms"] / found["alone"]["p99_ms"], 2)
    refused = sum(n for status, n in found["honest_by_status"].items() if status != "200") + found["resets"]
    rows = [
        _run.goal("honest p99 beside them, as a multiple of before", "<= 1.5", slower, slower <= 1.5),
        _run.goal("honest calls that were not answered with 200", "0", refused, refused == 0),
    ]
    for kind in KINDS:
        at = found[kind]
        gone = at["closed"] + at["refused_at_the_door"] == at["of"]
        met = gone and (at["last_s"] or 0) <= LIMITS[kind]
        rows.append(_run.goal(f"slow {kind}: seconds until the last is closed", f"<= {LIMITS[kind]:g}, all of them",
                              [at["last_s"], f"{at['closed'] + at['refused_at_the_door']} of {at['of']}"],
                              met))  # fmt: skip
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="120 s instead of 45: three waves of 1,000")
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    _run.CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_run.CACHE) as work:
        for _ in range(3 if args.full else 1):
            found = siege(Path(work), args.count, 48.0)
            _run.emit(
                "trust/slow_clients", full=args.full, n=args.count, goals=goals_of(found), case="G23", result=found
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
