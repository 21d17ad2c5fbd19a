"""How fast the whole student answers: in process at batch 1 and 32, and over HTTP; beside encode + logistic regression.

    python benchmarks/student.py [--full] [--bar 0.99]

    student   text → tokens → int8 encoder(s) → members → stack → label and score         the artefact of a real run
    peer      sentence-transformers, float32, torch → logistic regression                 one process of its own
              MiniLM; and, where the student reads bge-small, that shape too: the same work, like for like
    HTTP      `freehold serve PROJECT --upstream replay`, one client, one request at a time, home answers only

Both hold to one thread and take turns on the same cores (A B A B ...); a round's ratio compares neighbours, and the
median over rounds is the figure. The goals are for answers per CPU second, which a busy machine doesn't spoil; the
ratio by the clock is printed beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import _run

ENV = _run.one_thread()  # before numpy comes in

PROJECT = _run.CACHE / "student-project"
BATCHES = (1, 32)
GOALS = {1: 4.0, 32: 3.0}
PEER = "sentence-transformers + logistic regression"


def project(bar: float) -> Path:
    """A project made by the journey itself; made once, and gone through again quickly when nothing has changed."""
    argv = [sys.executable, "-m", "freehold", "switch", _run.LOG, "--project", PROJECT, "--bar", str(bar), "--json"]
    _run.must(_run.child(argv), "freehold switch")
    return PROJECT


def world(folder: Path) -> tuple[Any, Any, list[tuple[str, str]], list[Any]]:
    """The student, its artefact, the fit pairs, and the certification calls."""
    from freehold.engines.open import open_student
    from freehold.project import Project
    from freehold.traffic import evidence, find_tasks, read, split

    traffic = read([_run.LOG])
    task = find_tasks(traffic)[0]
    calls = evidence(task, traffic)
    texts = [task.template.text(c.messages) or "" for c in calls]
    parts = split(texts)
    opened = Project.open(folder)
    verdict = next(v for v in opened.verdicts() if v.task == task.name)
    assert verdict.student is not None
    artifact = opened.read_artifact(verdict.student.sha256)
    student = open_student(opened.artifact_path(artifact.sha256), artifact)
    return student, artifact, [(texts[i], calls[i].answer or "") for i in parts.fit], [calls[i] for i in parts.cal]


def timed(answer: Callable[[list[str]], object], texts: list[str], batch: int, seconds: float) -> dict[str, Any]:
    """The same loop as peers/encode_and_classify.py."""
    batches = itertools.cycle([texts[i : i + batch] for i in range(0, len(texts) - batch + 1, batch)])
    answer(next(batches))
    each: list[float] = []
    start, used = time.perf_counter(), _run.cpu_seconds()
    while time.perf_counter() - start < seconds:
        began = time.perf_counter()
        answer(next(batches))
        each.append(time.perf_counter() - began)
    wall, cpu = time.perf_counter() - start, _run.cpu_seconds() - used
    return {"answers": len(each) * batch, "wall": wall, "cpu": cpu, "each": each}


class Peer:
    """The peer's process: asked for one round at a time."""

    def __init__(self, fit: list[tuple[str, str]], texts: list[str], layers: int) -> None:
        job = _run.CACHE / f"encode-{layers}.json"
        job.write_text(json.dumps({"fit": fit, "texts": texts, "threads": 1, "layers": layers}))
        env = ENV | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        argv = [str(_run.venv("torch", *_run.TORCH_PEER)), str(_run.PEERS / "encode_and_classify.py"), str(job)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.read()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{PEER} ended with {self.process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def round(self, batch: int, seconds: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"batch": batch, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(student: Any, peer: Peer, texts: list[str], rounds: int, seconds: float) -> dict[int, dict[str, Any]]:
    found: dict[int, list[tuple[Any, Any]]] = {batch: [] for batch in BATCHES}
    for _ in range(rounds):
        for batch in BATCHES:
            found[batch].append((timed(student.answers, texts, batch, seconds), peer.round(batch, seconds)))
    return {batch: ratios(pairs) for batch, pairs in found.items()}


def ratios(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    def per(clock: str, row: Any) -> float:
        return float(row["answers"] / row[clock])

    out: dict[str, Any] = {}
    for clock in ("cpu", "wall"):
        out[f"answers_per_{clock}_second"] = round(statistics.median(per(clock, a) for a, _ in pairs), 1)
        out[f"peer_per_{clock}_second"] = round(statistics.median(per(clock, b) for _, b in pairs), 1)
        each = [per(clock, a) / per(clock, b) for a, b in pairs]
        out[f"{clock}_ratio"] = round(statistics.median(each), 2)
        out[f"{clock}_ratio_range"] = [round(min(each), 2), round(max(each), 2)]
    for name, side in (("p50_ms", 0), ("peer_p50_ms", 1)):
        out[name] = round(1000 * statistics.median(t for pair in pairs for t in pair[side]["each"]), 2)
    return out


# over HTTP


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """`freehold serve` on a free port, without pairs (replay has none); it says on stdout when it listens."""
    argv = [sys.executable, "-m", "freehold", "serve", str(folder), "--upstream", "replay"]
    with (_run.CACHE / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, "--port", "0", "--pairs", "0", "--json"], stdout=subprocess.PIPE, stderr=log, env=ENV
        )
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if not said:
                raise SystemExit(f"freehold serve ended: {(_run.CACHE / 'serve.log').read_text()[-2000:]}")
            yield str(json.loads(said)["url"])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def over_http(folder: Path, calls: list[Any], seconds: float) -> dict[str, Any]:
    """Seconds of each home answer, request written to answer read, on one kept connection."""
    home: list[float] = []
    asked = 0
    with serving(folder) as url:
        line = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        line.connect()
        line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        for call in itertools.cycle(calls):
            if time.perf_counter() > end and asked > 100:
                break
            body = json.dumps({"model": call.model, "messages": call.messages, **call.params})
            start = time.perf_counter()
            line.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            answer = line.getresponse()
            answer.read()
            taken = time.perf_counter() - start
            asked += 1
            if answer.status == 200 and answer.headers.get("x-freehold-answered-by") == "student":
                home.append(taken)
        line.close()
    if not home:
        raise SystemExit(f"none of {asked} calls was answered at home; see {_run.CACHE.name}/serve.log")
    ms = sorted(1000 * t for t in home)
    p50, p95 = statistics.median(ms), ms[int(0.95 * len(ms))]
    return {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2), "home_answers": len(ms), "asked": asked}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="9 rounds of 8 s instead of 3 of 4 s")
    parser.add_argument("--bar", type=float, default=0.99)
    args = parser.parse_args()
    rounds, seconds = (9, 8.0) if args.full else (3, 4.0)
    _run.CACHE.mkdir(exist_ok=True)
    folder = project(args.bar)
    student, artifact, fit, calls = world(folder)
    texts = [call.messages[-1]["content"] for call in calls]
    _run.say(f"student {artifact.sha256[:8]} on {artifact.base}")
    shapes = {"MiniLM": 6} | ({"bge-small's shape": 12} if "bge" in artifact.base.lower() else {})
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for name, layers in shapes.items():
        peer = Peer(fit if args.full else fit[:4000], texts, layers)
        found[name] = compare(student, peer, texts, rounds, seconds)
        peer.close()
        _run.say(f"beside {name}: {found[name]}")
    http_side = over_http(folder, calls, 4 * seconds)
    goals = []
    for name, speed in found.items():
        for batch, wanted in GOALS.items():
            ratio = speed[batch]["cpu_ratio"]
            what = f"answers per CPU second, batch {batch}, as a multiple of {PEER} on {name}"
            goals.append(_run.goal(what, f">= {wanted:g}x", ratio, ratio >= wanted))
    goals.append(_run.goal("p50 over HTTP, ms", "<= 8", http_side["p50_ms"], http_side["p50_ms"] <= 8.0))
    result = {"base": artifact.base, "student": artifact.sha256, "http": http_side}
    result |= {f"beside {name}": {f"batch_{b}": v for b, v in by.items()} for name, by in found.items()}
    known: dict[str, Any] = _run.versions(_run.CORE)
    known["beside the peer"] = _run.peer_versions(
        _run.venv("torch", *_run.TORCH_PEER), ["torch", "sentence-transformers", "scikit-learn"]
    )
    cores = sorted(os.sched_getaffinity(0))
    notes = [f"one thread each, cores {cores}, {rounds} rounds of {seconds:g} s a side and batch, taking turns"]
    return _run.emit(
        "student",
        full=args.full,
        n=rounds,
        goals=goals,
        result=result,
        peers={PEER: [f"{name}, float32" for name in shapes]},
        notes=notes,
        versions=known,
    )


if __name__ == "__main__":
    sys.exit(main())
