"""A small true world for the watch page: a project with a verdict, and ledger rows as serve writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from freehold.measure import share
from freehold.nouns import Evidence, Measure, TaskStudent, Verdict
from freehold.project import Project

SHA = "3f9a0c12b7e4d5568891a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7"
START = 1_795_500_000.0  # 24 Nov 2026, 06:40 UTC
UTTERANCES = ("how do i freeze my card", "what is my balance", "tell me a story about a dragon and its bank", "hi")
Row = Callable[..., dict[str, Any]]


@pytest.fixture
def row() -> Row:
    """row(i, why) is the i-th row, a minute after the one before."""

    def make(i: int, why: str = "home", **own: Any) -> dict[str, Any]:
        text = own.pop("text", UTTERANCES[i % 4])
        home = why == "home"
        score = 0.991 if home else 0.42
        at = datetime.fromtimestamp(own.pop("at", START + 60 * i), UTC).isoformat(timespec="milliseconds")
        student = {"sha256": SHA, "answer": "freeze_account", "score": score, "threshold": 0.8662}
        base: dict[str, Any] = {
            "id": f"chatcmpl-{i}",
            "task": "router",
            "answered_by": "student" if home else "upstream",
            "why": why,
            "probability": 1.0,
            "status": "complete",
            "http": 200,
            "student": student,
            "money": {"home": 1e-7 if home else 0.0, "saved": 0.0001 if home else 0.0},
            "reason": "" if home else f"score {score} is below 0.8662",
        }
        if home:
            base["pairs"] = 0.02
        messages = [{"role": "system", "content": "Answer with one label."}, {"role": "user", "content": text}]
        request = {"model": "gpt-4o-mini", "messages": messages}
        response = {"choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}
        return {"timestamp": at, "seconds": 0.004, "request": request, "response": response, "freehold": base | own}

    return make


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(r).encode() + b"\n" for r in rows)


@pytest.fixture
def write() -> Callable[..., Path]:
    """write(project, rows, name) appends rows to a ledger file."""

    def to(project: Project, rows: list[dict[str, Any]], name: str = "2026-11-24-1.jsonl") -> Path:
        path = project.path / "ledger" / name
        with path.open("ab") as file:
            file.write(lines(rows))
        return path

    return to


@pytest.fixture
def verdict() -> Verdict:
    evidence = Evidence(
        17765, 5923, 5900, "ef" * 32, 1, 0.95, 1.0, 0.05, 0.9912, START - 9e4, Measure(None), "exact binomial"
    )
    return Verdict(
        task="router",
        kind="labels",
        calls=23688,
        share=1.0,
        bar=0.99,
        confidence=0.95,
        decision="move",
        reason="certified at 0.99",
        needed=None,
        kept_home=share(4072, 5900),
        agreement=Measure(0.9934, 0.99, 1.0, 4072),
        threshold=0.8662,
        student=TaskStudent(SHA, "bge-small-en, int8", "MIT"),
        evidence=evidence,
        made="2026-11-24T05:00:00+00:00",
    )


@pytest.fixture
def project(tmp_path: Path, verdict: Verdict) -> Project:
    made = Project.create(tmp_path / "desk")
    made.save(verdict)
    opened = {"at": "2026-11-24T06:00:00+00:00", "task": "router", "event": "opened", "why": "", "by": "start"}
    made.append("rungs.jsonl", opened | {"student": SHA, "verdict": verdict.made})
    return made
