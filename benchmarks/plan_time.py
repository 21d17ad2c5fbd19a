"""How long a plan takes from the command line: of the bundled support desk's audit, and of amounts typed by hand.

    python benchmarks/plan_time.py [--full]

Beside it: a Python that imports what a plan computes with (numpy, scipy's special functions, the price list), which is
what no plan can be faster than. The commands take turns. The audit is made once and not timed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from pathlib import Path

import _run

GOAL = 2.0
FLOOR = "import numpy, scipy.special, genai_prices, msgspec"


def commands(audited: Path, typed: Path) -> dict[str, list[object]]:
    freehold = [sys.executable, "-m", "freehold", "plan"]
    return {
        "imports": [sys.executable, "-c", FLOOR],
        "audit": [*freehold, "--project", audited],
        "typed": [*freehold, "--tokens", "1B/month", "--from", "gpt-4o", "--project", typed],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="21 rounds instead of 5")
    full = parser.parse_args().full
    rounds = 21 if full else 5
    audited, typed = _run.CACHE / "plan-audited", _run.CACHE / "plan-typed"
    for folder in (audited, typed):
        shutil.rmtree(folder, ignore_errors=True)
    _run.must(_run.child([sys.executable, "-m", "freehold", "audit", _run.LOG, "--project", audited]), "audit")
    asked = commands(audited, typed)
    taken: dict[str, list[_run.Cost]] = {name: [] for name in asked}
    for turn in range(-1, rounds):  # the first turn fills the file cache
        for name, argv in asked.items():
            ran = _run.must(_run.child(argv), name)
            if turn >= 0:
                taken[name].append(ran)
    wall = {name: round(statistics.median(one.wall for one in runs), 3) for name, runs in taken.items()}
    cpu = {name: round(statistics.median(one.cpu for one in runs), 3) for name, runs in taken.items()}
    _run.say(f"median seconds {wall}, CPU seconds {cpu}")
    spread = {name: [round(min(one.wall for one in runs), 3), round(max(one.wall for one in runs), 3)]
              for name, runs in taken.items()}  # fmt: skip
    what = {"audit": "a plan of the support desk's audit, median seconds", "typed": "a plan of typed amounts, the same"}
    goals = [_run.goal(said, f"< {GOAL:g}", wall[name], wall[name] < GOAL) for name, said in what.items()]
    return _run.emit(
        "plan_time", full=full, n=rounds, goals=goals,
        result={"median_seconds": wall, "median_cpu_seconds": cpu, "least_and_most": spread},
        peers={"the imports alone": wall["imports"]},
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
