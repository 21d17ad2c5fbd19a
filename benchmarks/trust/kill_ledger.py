"""G30: a process that writes its ledger is killed (kill -9) at a random moment; what it acked is there.

    python benchmarks/trust/kill_ledger.py [--rounds 30 | --full] [--seed 1]

Each round starts a process with 64 producers that write rows, wait for them as their mode says (`fast`: write()
returned; `safe`: durable() returned), and ack each through a pipe. It is killed after a random time. Then the ledger is
opened as at a start, and every row is looked at: none that was acked may be missing, none torn; the chain must hold.
Rounds take turns between the modes; the ledger of ten rounds of a mode is one, so that it grows and its files end.
One line of JSON goes to stdout; the exit code is 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from freehold.ledger import Entry, Ledger, verify
from freehold.nouns import Call
from freehold.project import Project
from freehold.project.gateway import LedgerSettings

PRODUCERS = 64
FULL = 500
RESPONSE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}
TEXT = "move 50 to savings; " * 90


def writer(folder: Path, mode: str, acks: int, mark: str, rotate: float) -> None:
    """Write until killed. An ack is one writev of less than a pipe's atomic size."""
    ledger = Ledger(Project.open(folder), LedgerSettings(durability=mode, rotate_mib=rotate), name=mark, ballast=0)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": TEXT}]}

    async def produce(number: int) -> None:
        for count in range(1 << 30):
            entry = Entry(Call(()), body, id=f"{mark}-{number}-{count}", response=RESPONSE, status="complete")
            if ledger.write(entry):
                await ledger.durable(entry)
                os.writev(acks, [f"{entry.id}\n".encode()])
            await asyncio.sleep(0)

    async def main() -> None:
        tending = asyncio.create_task(ledger.keep_synced())
        await asyncio.gather(*(produce(number) for number in range(PRODUCERS)), tending)

    asyncio.run(main())


def round_of(folder: Path, mode: str, mark: str, patience: float) -> set[str]:
    """One process, killed after `patience` seconds of work; the ids that it acked."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            writer(folder, mode, writing, mark, rotate=2)
        finally:
            os._exit(3)
    os.close(writing)
    said = os.read(reading, 1 << 16)  # the clock runs once it acks
    until = time.monotonic() + patience
    os.set_blocking(reading, False)
    while time.monotonic() < until:
        try:
            said += os.read(reading, 1 << 20)
        except BlockingIOError:
            time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.set_blocking(reading, True)
    while block := os.read(reading, 1 << 20):
        said += block
    os.close(reading)
    return set(said.decode().rpartition("\n")[0].split("\n")) - {""}


def ids_of(folder: Path) -> tuple[set[str], int]:
    """The ids in the ledger, and how many lines are no rows."""
    found, torn = set(), 0
    for path in sorted((folder / "ledger").glob("*.jsonl")):
        *lines, rest = path.read_bytes().split(b"\n")
        torn += bool(rest)
        for line in lines:
            try:
                found.add(json.loads(line)["freehold"]["id"])
            except (ValueError, KeyError):
                torn += 1
    return found, torn


def run(rounds: int, seed: int) -> dict[str, object]:
    rng = random.Random(seed)
    lost = torn = broken = acked = 0
    slowest = 0.0
    with tempfile.TemporaryDirectory() as place:
        for number in range(rounds):
            mode = ("fast", "safe")[number % 2]
            # a new ledger now and then, so that the look after each round stays short
            folder = Path(place) / f"{mode}-{number // 20}"
            project = Project.create(folder)
            said = round_of(folder, mode, f"r{number}", rng.uniform(0.0, 0.12))
            start = time.perf_counter()
            again = Ledger(project, ballast=0)  # as a start does: torn tails are cut off
            slowest = max(slowest, time.perf_counter() - start)
            found, halves = ids_of(folder)
            lost += len(said - found)
            torn += halves
            again.tend()  # as its first second does: what was left is sealed
            again.close()
            broken += len(verify(project).problems)
            acked += len(said)
    return {
        "case": "G30", "rounds": rounds, "producers": PRODUCERS, "acked": acked, "acked_lost": lost, "torn": torn,
        "chain_problems": broken, "slowest_start_s": round(slowest, 3), "seed": seed,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--full", action="store_true", help=f"{FULL} rounds")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    found = run(FULL if args.full else args.rounds, args.seed)
    print(json.dumps(found))
    return int(bool(found["acked_lost"] or found["torn"] or found["chain_problems"] or not found["acked"]))


if __name__ == "__main__":
    sys.exit(main())
