"""G24: more calls than the server can take: 2x, 10x, 30 s square waves, a noisy neighbour.

    python benchmarks/trust/overload.py [--full] [--only curve|waves|neighbour]

The upstream takes 50 ms a call and the client has one key, of which 16 calls run at once and 32 wait: that is the
capacity, not the CPU. Arrivals are a Poisson process (seeded), from 32 loopback addresses, and a call's time counts
from when it was due. Peak is the goodput of a closed loop of 16. Accepted: 2xx; refused: 4xx and 5xx. The noisy
neighbour has a client key of its own and sends 50 times what the quiet one does.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import _run
from _gateway import ADDRESSES, Server, client_keys, freehold, job, small_project, upstream
from _load import finish, load, start

Row = dict[str, Any]
DELAY = 0.05
LINES = 256
METHOD = (
    "stand-in of 50 ms a call, one client key, Poisson arrivals, open loop, 256 connections from 32 loopback addresses"
)


@contextlib.contextmanager
def keyed(folder: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with one client key, and the headers that have it."""
    project = small_project(folder / "project")
    headers = {"Authorization": f"Bearer {client_keys(project, ('load',))['load']}"}
    with upstream(delay=DELAY) as up, freehold(project, up.url) as ours:
        yield ours, headers


def curve(work: Path, seconds: float) -> Row:
    """Goodput and latencies at 0.9, 2 and 10 times the peak."""
    with tempfile.TemporaryDirectory(dir=work) as folder, keyed(Path(folder)) as (ours, headers):
        how = {"connections": LINES, "addresses": ADDRESSES, "seconds": seconds, "tail": 15.0, "headers": headers}
        load(job(ours, connections=16, seconds=1.0, rate=0, headers=headers))
        peak = load(job(ours, connections=16, seconds=seconds, rate=0, headers=headers))
        peak = peak["ok"]["n"] / peak["wall"]
        found: Row = {"peak": round(peak, 1), "method": METHOD, "n": 0}
        for times in (0.9, 2.0, 10.0):
            before = ours.rss()
            row = load(job(ours, rate=times * peak, poisson=7, **how))
            found["n"] += row["sent"]
            found[f"at_{times:g}"] = {
                "goodput": round(row["ok"]["n"] / max(seconds, row["wall"] - 1.0), 1), "ok": row["ok"],
                "refused": row["refused"],
                "by_status": row["by_status"], "resets": row["resets"], "unfinished": row["unfinished"],
                "client_late_p99_ms": row["late_p99_ms"], "rss_before": round(before, 1),
                "rss_after": round(ours.rss(), 1),
            }  # fmt: skip
            _run.say(f"{times:g}x: {found[f'at_{times:g}']}")
    return found


def goals_of(found: Row) -> list[Row]:
    rows, calm = [], found["at_0.9"]["ok"]["p99_ms"]
    for times, share in (("2", 0.9), ("10", 0.8)):
        at = found[f"at_{times}"]
        good = round(at["goodput"] / found["peak"], 3)
        slower = round(at["ok"]["p99_ms"] / calm, 2) if at["ok"]["n"] and calm else None
        refused, grown = at["refused"]["p99_ms"], round(at["rss_after"] / at["rss_before"], 3)
        rows += [
            _run.goal(f"goodput at {times}x, as a share of the peak", f">= {share}", good, good >= share),
            _run.goal(f"p99 of the accepted at {times}x, as a multiple of that at 0.9", "<= 2", slower,
            slower is not None and slower <= 2),
            _run.goal(f"p99 of the refused at {times}x, ms", "<= 50", refused,
            None if refused is None else refused <= 50),
            _run.goal(f"memory over the run at {times}x", "0.9 to 1.1", grown, 0.9 <= grown <= 1.1),
        ]  # fmt: skip
    return rows


def waves(work: Path, seconds: float) -> tuple[Row, list[Row]]:
    """Half the capacity, then twice, in turns of `seconds`; how long after a wave the latency is as before."""
    with tempfile.TemporaryDirectory(dir=work) as folder, keyed(Path(folder)) as (ours, headers):
        load(job(ours, connections=16, seconds=1.0, rate=0, headers=headers))
        warm = load(job(ours, connections=16, seconds=3.0, rate=0, headers=headers))
        peak = warm["ok"]["n"] / warm["wall"]
        how = {
            "connections": LINES,
            "addresses": ADDRESSES,
            "seconds": seconds,
            "poisson": 3,
            "trace": True,
            "tail": 15.0,
            "headers": headers,
        }
        calm = load(job(ours, rate=0.5 * peak, **how))
        wave = load(job(ours, rate=2.0 * peak, **how))
        after = load(job(ours, rate=0.5 * peak, **how))
        rss = ours.rss()
    usual = calm["ok"]["p99_ms"]
    recovered = _recovered(after["trace"], 1.2 * usual / 1000)
    found = {"peak": round(peak, 1), "calm_p99_ms": usual, "wave": {k: wave[k] for k in ("ok", "refused", "by_status")},
             "recovered_s": recovered, "rss": round(rss, 1),
             "n": calm["sent"] + wave["sent"] + after["sent"]}  # fmt: skip
    return found, [_run.goal("seconds after a wave until the latency is as before", "<= 5", recovered, recovered <= 5)]


def _recovered(trace: list[list[float]], limit: float) -> float:
    """Seconds after which every half second has its p95 within the limit, and nothing is refused."""
    last = 0.0
    for at in range(int(2 * max(due for due, _, _ in trace)) + 1):
        part = [(s, status) for due, s, status in trace if at / 2 <= due < (at + 1) / 2]
        ordered = sorted(s for s, _ in part)
        if part and (ordered[int(0.95 * len(ordered))] > limit or any(status >= 400 for _, status in part)):
            last = (at + 1) / 2
    return last


def neighbour(work: Path, seconds: float) -> tuple[Row, list[Row]]:
    """A quiet client's p99 alone, and beside one that sends 50 times as much with a key of its own."""
    with tempfile.TemporaryDirectory(dir=work) as folder, upstream(delay=DELAY) as up:
        project = small_project(Path(folder) / "project")
        keys = client_keys(project, ("quiet", "noisy"))
        with freehold(project, up.url) as ours:
            quiet = {
                "headers": {"Authorization": f"Bearer {keys['quiet']}"},
                "rate": 20.0,
                "seconds": seconds,
                "connections": 16,
            }
            noisy = {"headers": {"Authorization": f"Bearer {keys['noisy']}"}, "rate": 1000.0, "seconds": seconds + 2.0,
                     "connections": LINES, "addresses": ADDRESSES}  # fmt: skip
            load(job(ours, **quiet | {"seconds": 2.0}))
            alone = load(job(ours, poisson=5, **quiet))
            beside = start(job(ours, poisson=6, **noisy))
            time.sleep(1.0)
            both = load(job(ours, poisson=5, **quiet))
            loud = finish(beside)
    slower = round(both["ok"]["p99_ms"] / alone["ok"]["p99_ms"], 2)
    lost = both["sent"] - both["ok"]["n"]
    found = {"alone": alone["ok"], "beside": both["ok"], "quiet_refused": lost, "n": both["sent"],
             "noisy": {k: loud[k] for k in ("by_status", "ok", "refused")}}  # fmt: skip
    return found, [
        _run.goal("the quiet client's p99 beside a neighbour of 50 times the calls", "<= 1.3x", slower, slower <= 1.3),
        _run.goal("the quiet client's calls that were refused or lost", "0", lost, lost == 0),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="20 s a load instead of 4, waves of 30 s instead of 6")
    parser.add_argument("--only", choices=("curve", "waves", "neighbour"))
    args = parser.parse_args()
    _run.CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_run.CACHE) as work:
        if args.only in (None, "curve"):
            found = curve(Path(work), 20.0 if args.full else 4.0)
            _run.emit("trust/overload", full=args.full, n=found["n"], goals=goals_of(found), case="G24", result=found)
        if args.only in (None, "waves"):
            found, goals = waves(Path(work), 30.0 if args.full else 6.0)
            _run.emit("trust/overload", full=args.full, n=found["n"], goals=goals, case="G24 waves", result=found)
        if args.only in (None, "neighbour"):
            found, goals = neighbour(Path(work), 30.0 if args.full else 6.0)
            _run.emit("trust/overload", full=args.full, n=found["n"], goals=goals, case="G24 neighbour", result=found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
