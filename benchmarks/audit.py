"""`freehold audit` on a log of a million calls, beside a bare read of the same file.

    python benchmarks/audit.py [--full]

The log (about 1.5 kB a call) is made from real parts: the calls of the mixed log and of examples/extraction. Half of
the calls ask one of those texts again, drawn by Zipf's law; the other half ask a new one, a text with a piece of
another's. Users, times and ids are constructed.

    orjson    every line through orjson.loads, one process        the least that any reader in Python pays
    duckdb    sum of the token counts by model, DuckDB's threads  a scan that reads a few fields

The short form has 100,000 calls. --full has 1,000,000, then 4,000,000: is the time linear, and does the memory stay?
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import _run

SEED = 20261125
START = 1_790_812_800.0  # 2026-10-01
MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini")
GOAL_SECONDS, GOAL_GIB = 60.0, 2.0

ORJSON = """
import sys, orjson
n = p = 0
with open(sys.argv[1], "rb") as file:
    for line in file:
        row = orjson.loads(line)
        n += 1
        p += row["response"]["usage"]["prompt_tokens"]
print(n, p)
"""
DUCKDB = """
import sys, duckdb
c = duckdb.connect()
c.execute("SET enable_progress_bar = false")
c.execute("SET threads = " + sys.argv[2])
rows = c.execute(
    "SELECT response.model, count(*), sum(response.usage.prompt_tokens) FROM read_json(?, format='newline_delimited', "
    "columns={response: 'STRUCT(model VARCHAR, usage STRUCT(prompt_tokens BIGINT, completion_tokens BIGINT))'}) "
    "GROUP BY 1", [sys.argv[1]]).fetchall()
print(sum(r[1] for r in rows), sum(r[2] for r in rows))
"""


def pool() -> list[dict[str, Any]]:
    """Real calls, as rows."""
    shared = Path(os.environ.get("FREEHOLD_SHARED", _run.ROOT.parent / "shared")) / "data" / "mixed" / "calls.jsonl.gz"
    if not shared.is_file():
        raise SystemExit(f"needs the shared data: {shared} is absent; set FREEHOLD_SHARED to what holds data/")
    found: list[dict[str, Any]] = []
    for path, most in ((shared, 10**9), (_run.ROOT / "examples" / "extraction" / "calls.jsonl.gz", 300)):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            found += [json.loads(line) for line in itertools.islice(file, most)]
    return found


def build(path: Path, calls: int) -> None:
    """Write the log; the same bytes for the same number of calls."""
    draw = random.Random(SEED)
    rows = pool()
    draw.shuffle(rows)
    weights = list(itertools.accumulate(1 / (i + 1) for i in range(len(rows))))
    texts = [row["request"]["messages"][-1]["content"] or "" for row in rows]
    pieces = [" ".join(text.split()[-8:])[:60] for text in texts if text.strip()]
    seconds = 30 * 86_400 / calls
    aside = path.with_suffix(".tmp")
    with aside.open("w", encoding="utf-8", buffering=1 << 20) as out:
        for block in range(0, calls, 10_000):
            chosen = draw.choices(range(len(rows)), cum_weights=weights, k=min(10_000, calls - block))
            for n, i in enumerate(chosen, block):
                out.write(_row(rows, texts, pieces, i, n, START + n * seconds, draw))
    aside.rename(path)


def _row(
    rows: list[dict[str, Any]], texts: list[str], pieces: list[str], i: int, n: int, at: float, draw: random.Random
) -> str:
    again = draw.random() < 0.5
    row = rows[i if again else draw.randrange(len(rows))]
    request, response = row["request"], row["response"]
    if not again:
        last = request["messages"][-1]
        text = f"{last['content'] or ''} {draw.choice(pieces)} {draw.choice(pieces)}"
        request = request | {"messages": [*request["messages"][:-1], last | {"content": text}]}
    model = draw.choice(MODELS)
    asked = {"timestamp": round(at, 3), "seconds": round(draw.uniform(0.2, 3.0), 3)}
    request = request | {"model": model, "user": f"user-{int(draw.paretovariate(0.7)) % 20_000}"}
    return json.dumps(asked | {"request": request, "response": response | {"id": f"chatcmpl-{n:08x}"}}) + "\n"


def one(calls: int) -> dict[str, Any]:
    """Build the log where it is absent, read it once by each, and say what each took."""
    folder = _run.CACHE / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"calls-{calls}-{_run.fingerprint(Path(__file__))[:8]}.jsonl"
    if not path.is_file():
        _run.say(f"making {path.name}")
        build(path, calls)
    python = _run.venv("audit", ["orjson==3.13.0", "duckdb==2.0.1"])
    project = folder / "project"
    shutil.rmtree(project, ignore_errors=True)
    size = path.stat().st_size
    ours = peak([sys.executable, "-m", "freehold", "audit", path, "--project", project, "--json"])
    found = json.loads(ours.pop("out"))
    bare = peak([python, "-c", ORJSON, path])
    duck = peak([python, "-c", DUCKDB, path, str(len(os.sched_getaffinity(0)))])
    for name, cost in (("orjson", bare), ("duckdb", duck)):
        counted = int(cost.pop("out").split()[0])
        if counted != calls:
            raise SystemExit(f"{name} counted {counted:,} calls of {calls:,}")
    if found["calls"] != calls:
        raise SystemExit(f"the audit counted {found['calls']:,} calls of {calls:,}")
    _run.say(f"{calls:,} calls, {size / 1e9:.2f} GB: audit {ours}, orjson {bare}, duckdb {duck}")
    exact = found["repeats"]["exact"]["value"]
    told = {"tasks": len(found["tasks"]), "money": found["money"]["value"], "repeats": exact}
    return {"calls": calls, "bytes": size, "audit": ours, "orjson": bare, "duckdb": duck, "found": told}


def peak(argv: list[object]) -> dict[str, Any]:
    """Wall and CPU seconds of a command, and the most memory that it and its children held at one time, summed."""
    code = (
        "import json, subprocess, sys, threading, time, psutil, resource\n"
        "start = time.perf_counter()\n"
        "child = psutil.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "most, over = 0, threading.Event()\n"
        "def watch():\n"
        "    global most\n"
        "    while not over.wait(0.1):\n"
        "        total = 0\n"
        "        try:\n"
        "            for p in [child, *child.children(recursive=True)]:\n"
        "                try: total += p.memory_info().rss\n"
        "                except psutil.NoSuchProcess: pass\n"
        "        except psutil.NoSuchProcess: pass\n"
        "        most = max(most, total)\n"
        "watcher = threading.Thread(target=watch); watcher.start()\n"
        "out = child.stdout.read().decode(); code = child.wait(); over.set(); watcher.join()\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "wall = time.perf_counter() - start\n"
        "print(json.dumps({'seconds': round(wall, 2), 'cpu': round(used.ru_utime + used.ru_stime, 2),\n"
        "    'peak_gib': round(most / 2**30, 3), 'code': code, 'out': out}))\n"
    )
    found: dict[str, Any] = json.loads(_run.must(_run.child([sys.executable, "-c", code, *argv]), str(argv[0])).out)
    if found.pop("code"):
        raise SystemExit(f"{' '.join(str(a) for a in argv[:4])} failed")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="1,000,000 calls, then 4,000,000")
    parser.add_argument("--calls", type=int, help="another number of calls")
    args = parser.parse_args()
    sizes = [args.calls] if args.calls else [1_000_000, 4_000_000] if args.full else [100_000]
    results = [one(calls) for calls in sizes]
    first, last = results[0], results[-1]
    full = args.full and not args.calls
    seconds, memory = first["audit"]["seconds"], first["audit"]["peak_gib"]
    goals = [
        _run.goal("1,000,000 calls, seconds", "<= 60", seconds, seconds <= GOAL_SECONDS if full else None),
        _run.goal("peak memory, GiB, all processes", "< 2", memory, memory < GOAL_GIB if full else None),
    ]
    if len(results) > 1:
        times = last["audit"]["seconds"] / seconds / (last["calls"] / first["calls"])
        grown = last["audit"]["peak_gib"] / memory
        goals.append(_run.goal("time a call, 4,000,000 over 1,000,000", "<= 1.1", round(times, 3), times <= 1.1))
        goals.append(_run.goal("memory, 4,000,000 over 1,000,000", "<= 1.25", round(grown, 3), grown <= 1.25))
    beside = {name: round(seconds / first[name]["seconds"], 2) for name in ("orjson", "duckdb")}
    return _run.emit(
        "audit",
        full=full,
        n=sum(r["calls"] for r in results),
        goals=goals,
        result={"runs": results},
        peers={"audit's seconds over the peer's": beside},
        notes=["the log is made from real calls; half of the calls repeat a text by Zipf's law"],
    )


if __name__ == "__main__":
    raise SystemExit(main())
