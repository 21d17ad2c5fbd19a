"""What a row of the ledger costs, beside what the disk and the system ask of anybody.

    python benchmarks/ledger.py [--full] [--folder DIR]

fast: microseconds for a row of about 2 KB, beside a loop of bare os.write of the same bytes. safe: rows a second and
the wait until a row is on the disk with 64 producers, beside a loop that writes and syncs one row after another. They
take turns. Then what a whole look (verify) and a backup take. `--folder`: on which disk; a temporary one without it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

from _run import emit, goal, say

from freehold.ledger import Entry, Ledger, backup, verify
from freehold.nouns import Call
from freehold.project import Project
from freehold.project.gateway import LedgerSettings

PRODUCERS = 64
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "move 50 to savings; " * 80}]}
ANSWER = {"index": 0, "message": {"role": "assistant", "content": "transfer"}, "finish_reason": "stop"}
RESPONSE = {"choices": [ANSWER], "usage": {"prompt_tokens": 400, "completion_tokens": 1}}


def entry() -> Entry:
    return Entry(Call(()), BODY, response=RESPONSE, status="complete", http=200, why="home", answered_by="student")


def fast(project: Project, count: int) -> tuple[float, bytes]:
    """CPU seconds a row, and the bytes of one."""
    ledger = Ledger(project, ballast=0)
    took = 0.0
    for _ in range(count // 100):
        entries = [entry() for _ in range(100)]
        start = time.process_time()
        for one in entries:
            ledger.write(one)
        took += (time.process_time() - start) / count
    ledger.close()
    row = sorted((project.path / "ledger").glob("*.jsonl"))[-1].read_bytes().split(b"\n")[1] + b"\n"
    return took, row


def beside_syncs(project: Project, seconds: float) -> list[float]:
    """Seconds that each write took, at about 2,000 rows a second, while a thread syncs all the time."""
    ledger, taken, stop = Ledger(project, ballast=0), [], threading.Event()

    def sync() -> None:
        while not stop.wait(0.05):
            ledger.sync()

    thread = threading.Thread(target=sync)
    thread.start()
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        ledger.write(entry())
        taken.append(time.perf_counter() - start)
        time.sleep(0.0004)
    stop.set()
    thread.join()
    ledger.close()
    return taken


def bare(folder: Path, row: bytes, count: int) -> float:
    handle = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    start = time.process_time()
    for _ in range(count):
        os.write(handle, row)
    took = (time.process_time() - start) / count
    os.close(handle)
    return took


def synced(folder: Path, row: bytes, count: int) -> list[float]:
    """Seconds of each write and fdatasync, one after another."""
    handle = os.open(folder / "synced", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        os.write(handle, row)
        os.fdatasync(handle)
        taken.append(time.perf_counter() - start)
    os.close(handle)
    return taken


async def safe(project: Project, each: int) -> tuple[float, list[float]]:
    """Seconds in all, and those that each row waited for."""
    ledger = Ledger(project, LedgerSettings(durability="safe"), ballast=0)
    waits: list[float] = []

    async def produce() -> None:
        for _ in range(each):
            one = entry()
            start = time.perf_counter()
            ledger.write(one)
            await ledger.durable(one)
            waits.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(produce() for _ in range(PRODUCERS)))
    took = time.perf_counter() - start
    ledger.close()
    return took, waits


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="9 rounds instead of 3")
    parser.add_argument("--folder", help="on which disk")
    args = parser.parse_args()
    rounds, count, each = (9, 40_000, 200) if args.full else (3, 20_000, 50)
    rows, writes, seconds, waits, alone, blocked = [], [], [], [], [], []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        place = Path(name)
        project = Project.create(place / "p")
        for _ in range(rounds):
            took, row = fast(project, count)
            rows.append(took * 1e6)
            writes.append(bare(place, row, count) * 1e6)
            took, waited = asyncio.run(safe(project, each))
            seconds.append(took)
            waits += waited
            blocked += beside_syncs(project, 1.0)
            alone += synced(place, row, 100)
        start = time.perf_counter()
        found = verify(project)
        looked = time.perf_counter() - start
        start = time.perf_counter()
        made = backup(project, place / "backup")
        copied = time.perf_counter() - start
    one, many = 1.0 / statistics.mean(alone), PRODUCERS * each * rounds / sum(seconds)
    fast_us, bare_us = statistics.median(rows), statistics.median(writes)
    safe_p50, sync_p50 = percentile(waits, 0.5) * 1e3, percentile(alone, 0.5) * 1e3
    say(f"fast {fast_us:.1f} us a row, a bare write {bare_us:.1f}; safe {many:,.0f} rows/s, p50 {safe_p50:.2f} ms;")
    say(f"one sync a row {one:,.0f} rows/s, p50 {sync_p50:.2f} ms; {found.rows:,} rows looked at in {looked:.2f} s")
    blocked_p99 = round(percentile(blocked, 0.99) * 1e3, 3)
    goals = [
        goal("fast, CPU microseconds a row of 2 KB", "<= 15", round(fast_us, 1), fast_us <= 15),
        goal("fast, p99 of a write beside syncs, ms", "<= 5", blocked_p99, blocked_p99 <= 5),
        goal("safe, p50 in ms", "<= 10", round(safe_p50, 2), safe_p50 <= 10),
        goal("safe, p50 by that of one sync", "<= 10", round(safe_p50 / sync_p50, 2), None),
        goal("rows that hold together", "all", len(found.problems), not found.problems and not made.problems),
    ]
    result = {
        "row_bytes": len(row), "fast_us": round(fast_us, 2), "fast_p99_ms": blocked_p99,
        "safe_rows_s": round(many), "safe_p50_ms": round(safe_p50, 3),
        "safe_p99_ms": round(percentile(waits, 0.99) * 1e3, 3), "verify_rows_s": round(found.rows / looked),
        "backup_mb_s": round(made.bytes / copied / 1e6),
    }  # fmt: skip
    peers = {"write_us": round(bare_us, 2), "fdatasync_rows_s": round(one), "fdatasync_p50_ms": round(sync_p50, 3)}
    return emit("ledger", full=args.full, n=rounds, goals=goals, result=result, peers=peers)


if __name__ == "__main__":
    raise SystemExit(main())
