"""What the text benchmarks share: a log as a student meets it, a student asked, its certificate, and pairs of students.

World(log, size) ─sides→ fit rows, certification calls     test(): calls that neither has seen
asked(student, world, calls) → {"same": [1, 0, ...], "ok": [...], "scores": [...], "fields", "ms_per_call", ...}
certified(prior, cal, test)  → {"0.95": {"certified", "kept", "agreement", "oracle"}, ...}
paired(ours, theirs)         → {"difference", "low", "high", "mcnemar_p", ...}
"""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import _run

_run.one_thread()  # before numpy comes in

import logs  # noqa: E402
import numpy as np  # noqa: E402
from kept_home import kept, oracle  # noqa: E402
from student import over_http as plain_http  # noqa: E402
from student import serving  # noqa: E402

BARS = (0.90, 0.95, 0.98)
WORK = _run.CACHE / "text_tasks"
RESAMPLES = 10_000


@dataclass(frozen=True)
class Size:
    """How much of it is run: rows to learn from, CPU minutes of a tagger (None: its default) and of a decoder, calls
    that a written answer is asked for, calls over HTTP."""

    name: str
    rows: int | None
    tagger: float | None
    minutes: dict[str, float]
    written: int
    http: int


@dataclass(frozen=True)
class World:
    """A log as a student meets it, and the test beside it."""

    log: logs.Log
    size: Size

    @cached_property
    def file(self) -> Path:
        WORK.mkdir(parents=True, exist_ok=True)
        few = replace(self.log, rows=self.log.rows[: self.size.rows])
        return logs.write(few, WORK / f"{self.log.name}-{self.size.name}.jsonl")

    @cached_property
    def traffic(self) -> Any:
        from freehold.traffic import read

        return read([self.file])

    @cached_property
    def task(self) -> Any:
        from freehold.audit.rules import ruled
        from freehold.traffic import find_tasks

        (found,) = find_tasks(self.traffic)
        task = ruled(found, self.traffic, None)
        return replace(task, database=str(self.log.database)) if self.log.database else task

    @cached_property
    def judge(self) -> Any:
        from freehold.agree import judge

        return judge(self.task)

    @cached_property
    def sides(self) -> tuple[list[Any], list[Any]]:
        """Fit rows as tune makes them, and the calls that certify: one of each group on the other side."""
        from freehold.traffic import evidence, split
        from freehold.tune.rows import rows_of

        calls = evidence(self.task, self.traffic)
        parted = split([self.task.template.text(call.messages) or "" for call in calls])
        return rows_of(self.task, self.traffic), [calls[i] for i in parted.cal]

    def test(self, most: int | None = None) -> list[Any]:
        """The test's calls, the answer as a student of this kind writes it."""
        from freehold import wire

        calls = [wire.call_from_row(row) for row in self.log.test[:most]]
        return [replace(call, answer=wire.answer(call, self.task.kind)) for call in calls]


def cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


# a student, asked


@contextlib.contextmanager
def opened(project: Any, artifact: Any) -> Iterator[Any]:
    """The student as it is served; its engine has ended afterwards, so that its CPU seconds count."""
    from freehold.engines.open import closing, open_student

    student = open_student(project.artifact_path(artifact.sha256), artifact)
    with closing(student):
        yield student


def asked(student: Any, world: World, calls: Sequence[Any]) -> dict[str, Any]:
    """What it makes of the calls, one each: the score, `same` as the logged answer by the task's rule, and `ok`, which
    accepted values count towards as well. `fields` is the mean share of an answer's fields that are right."""
    start = time.perf_counter()
    answers = student.answers([world.task.text(call) for call in calls])
    wall = time.perf_counter() - start
    pairs = [(a.text, call) for a, call in zip(answers, calls, strict=True)]
    same = [world.judge.agree(text, call.answer) for text, call in pairs]
    fields = [list(world.judge.fields(text, call.answer).values()) for text, call in pairs]
    return {
        "same": [int(s) for s in same],
        "ok": [int(s or accepted(text, call)) for s, (text, call) in zip(same, pairs, strict=True)],
        "scores": [a.score for a in answers],
        "unable": sum(not a.able for a in answers),
        "fields": round(statistics.fmean(statistics.fmean(f) if f else 0.0 for f in fields), 4),
        "ms_per_call": round(1000 * wall / len(calls), 1),
        "wrong": [[call.answer, text] for s, (text, call) in zip(same, pairs, strict=True) if not s][:5],
    }


def accepted(text: str, call: Any) -> bool:
    """Is it among the answers that the row itself accepts?"""
    from freehold.agree import accepts

    return "accepted" in call.row and accepts(text, call.row["accepted"])


def certified(project: Any, artifact: Any, cal: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    """For each bar: the certified share, what its threshold keeps of the test, and the oracle there."""
    from safetensors.numpy import load_file

    from freehold.measure import certify, grid

    prior = load_file(project.artifact_path(artifact.sha256) / "prior.safetensors")
    scores, ok = np.array(test["scores"]), np.array(test["same"], bool)
    found = {}
    for bar in BARS:
        laid_out = grid(prior["score"], prior["ok"].astype(bool), len(cal["same"]), bar)
        certificate = certify(laid_out, cal["scores"], cal["same"])
        of_test = kept(scores, ok, certificate.threshold) | {"oracle": oracle(scores, ok, bar)}
        found[f"{bar:.2f}"] = {"certified": round(certificate.share, 4)} | {
            name: None if v is None else round(v, 4) for name, v in of_test.items()
        }
    return found


def paired(ours: Sequence[int], theirs: Sequence[int]) -> dict[str, Any]:
    """Ours minus theirs on the same test rows: paired bootstrap interval (95 %, percentiles) and McNemar's exact p."""
    from scipy.stats import binomtest

    a, b = np.array(ours, float), np.array(theirs, float)
    difference = a - b
    draws = np.random.default_rng(0).integers(0, len(a), (RESAMPLES, len(a)))
    low, high = np.quantile(difference[draws].mean(axis=1), [0.025, 0.975])
    won, lost = int((difference > 0).sum()), int((difference < 0).sum())
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    found = {"difference": float(difference.mean()), "low": float(low), "high": float(high), "mcnemar_p": float(p)}
    return {name: round(v, 5) for name, v in found.items()} | {"won": won, "lost": lost, "n": len(a)}


# over HTTP


def over_http(folder: Path, world: World) -> dict[str, Any]:
    """Milliseconds of each home answer by `freehold serve`, one call after the other: by the openai client from call to
    parsed answer, and by plain HTTP on one kept connection."""
    from openai import APIStatusError, OpenAI

    taken: list[float] = []
    with serving(folder) as url, OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        ask = client.chat.completions.with_raw_response.create
        for i in range(world.size.http):
            body = world.log.test[i % len(world.log.test)]["request"]
            start = time.perf_counter()
            try:
                answer = ask(**body)
            except APIStatusError:  # it went up, and the replayed log does not hold it
                continue
            answer.parse()
            if i >= 50 and answer.headers.get("x-freehold-answered-by") == "student":
                taken.append(1000 * (time.perf_counter() - start))
    cuts = statistics.quantiles(taken, n=100)
    plain = plain_http(folder, world.test(), 5.0)
    return {"p50_ms": round(cuts[49], 2), "p95_ms": round(cuts[94], 2), "home_answers": len(taken), "plain": plain}
