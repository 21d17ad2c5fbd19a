"""Tasks without tags: how well the tasks that are found in a mixed log match the true ones (adjusted Rand index).

    python benchmarks/tasks_found.py [--full]

    mixed    25 tasks of seven sources in one shuffled log, its truth in a file of its own
    styles   further mixed logs from real texts, one for each way in which teams write prompts (_mixed.py)

The index is 1 where the two partings of the calls are equal and 0 on average where they are drawn by chance (Hubert and
Arabie 1985; sklearn.metrics.adjusted_rand_score). A call of no task counts as one of a further task, "". The short form
does the mixed log alone.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
from pathlib import Path
from typing import Any

import _mixed
import _run


def _score(truth: list[str], calls: list[Any], traffic: Any) -> dict[str, Any]:
    from sklearn.metrics import adjusted_rand_score

    from freehold.traffic import calls_of, find_tasks

    tasks = find_tasks(traffic)
    named = {id(call): task.name for task in tasks for call in calls_of(task, traffic)}
    found = [named.get(id(call), "") for call in calls]
    if len(set(truth)) == 1:  # one true task: the index says only whether it stayed whole
        return {"ari": float(len(set(found)) == 1), "n": len(calls), "true": 1, "found": len(tasks)}
    index = float(adjusted_rand_score(truth, found))
    return {"ari": round(index, 4), "n": len(calls), "true": len(set(truth)), "found": len(tasks)}


def mixed(data: Path) -> dict[str, Any]:
    from freehold.traffic import read

    traffic = read([data / "mixed" / "calls.jsonl.gz"])
    with gzip.open(data / "mixed" / "truth.csv.gz", "rt", encoding="utf-8") as file:
        truth = {int(row["line"]): row["task"] for row in csv.DictReader(file)}
    return _score([truth[call.line] for call in traffic.calls], list(traffic.calls), traffic)


def style(rows: list[_mixed.Row]) -> dict[str, Any]:
    from freehold.nouns import Call, LogFile
    from freehold.traffic import Traffic

    calls = tuple(
        Call(tuple(messages), "gpt-4o-mini", dict(further), answer, at=1.79e9 + i, line=i)
        for i, (_, messages, answer, further) in enumerate(rows, 1)
    )
    traffic = Traffic(LogFile(("made",), "", "", len(calls), 0), calls)
    return _score([task for task, *_ in rows], list(calls), traffic)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also the logs made from real texts")
    full = parser.parse_args().full
    data = Path(os.environ.get("FREEHOLD_SHARED", _run.ROOT.parent / "shared")) / "data"
    if not data.is_dir():
        raise SystemExit(f"needs the shared data: {data} is absent; set FREEHOLD_SHARED to the folder that holds data/")
    found = {"mixed": mixed(data)}
    for name, rows in _mixed.logs(data).items() if full else ():
        found[name] = style(rows)
        _run.say(f"{name}: {found[name]}")
    goals = [
        _run.goal(f"{name}, adjusted Rand index", ">= 0.98", r["ari"], r["ari"] >= 0.98) for name, r in found.items()
    ]
    n = sum(one["n"] for one in found.values())
    return _run.emit(
        "tasks_found", full=full, n=n, goals=goals, result=found, notes=["the styles' prompts are made up"]
    )


if __name__ == "__main__":
    raise SystemExit(main())
