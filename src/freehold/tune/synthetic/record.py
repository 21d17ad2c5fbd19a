"""What is kept of it all, beside the artefacts and in the one that the rows taught.

<project>/synthetic-<task>.json    {"key", "artifact", "teacher": {...}, "counts": {...}, "value": {...}, "kept": false}
<project>/synthetic-<task>.jsonl   the rows that passed, one a line; in an artefact: synthetic.jsonl
    {"text", "answer", "teacher": "smollm2", "sha256": "b179...", "licence": "Apache-2.0", "seed": 7, "why": "...",
     "prompt": {"template": "freehold synthetic 1", "label": "refund", "rows": ["3f2a...", ...], "fold": 3}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from freehold.errors import ArtifactDamaged
from freehold.project import Project
from freehold.project.storage import pretty
from freehold.tune.rows import Rows
from freehold.tune.synthetic.made import Kept, Value, row_id
from freehold.tune.synthetic.prompts import TEMPLATE

__all__ = ["Outcome", "read_outcome", "rows_jsonl", "verdict", "write_outcome"]


class Outcome(msgspec.Struct, frozen=True):
    """How it went: `artifact` is the student that was chosen, `kept` whether the rows taught it."""

    key: str
    artifact: str
    teacher: dict[str, Any]
    counts: dict[str, Any]
    value: Value | None
    kept: bool

    @property
    def recipe(self) -> dict[str, Any]:
        """For the artefact's recipe."""
        said: dict[str, Any] = msgspec.to_builtins(self)
        return {name: said[name] for name in ("key", "teacher", "counts", "value")}


def write_outcome(project: Project, task: str, outcome: Outcome, rows: bytes) -> None:
    project.write(f"{_stem(task)}.jsonl", rows)
    project.write(f"{_stem(task)}.json", pretty(outcome))


def read_outcome(project: Project, task: str, key: str) -> Outcome | None:
    """That of a run with the same key whose artefact is still whole; what is damaged is made again."""
    path = project.path / f"{_stem(task)}.json"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Outcome)
        if found.key != key:
            return None
        project.read_artifact(found.artifact)
        return found
    except (OSError, msgspec.MsgspecError, ArtifactDamaged):
        return None


def rows_jsonl(kept: Sequence[Kept], rows: Rows, teacher: Mapping[str, Any]) -> bytes:
    who = {"teacher": teacher["name"], "sha256": teacher["sha256"], "licence": teacher["licence"]}
    who |= {"host": teacher["host"]} if "host" in teacher else {}
    lines = []
    for row in kept:
        shown = [row_id(rows.texts[i], rows.labels[i]) for i in row.ask.shown]
        prompt = {"template": TEMPLATE, "label": row.ask.label, "rows": shown, "fold": row.ask.fold}
        said = {"text": row.text, "answer": row.answer, **who, "seed": row.ask.seed, "prompt": prompt, "why": row.why}
        lines.append(msgspec.json.encode(said) + b"\n")
    return b"".join(lines)


def verdict(value: Value, uses: bool) -> str:
    if uses and not value.helps:
        return "no help is seen, and they are kept as was asked"
    return "they help, and are kept" if uses else "no help is seen, so they are left out"


def _stem(task: str) -> str:
    return "synthetic-" + re.sub(r"[^\w.-]", "_", task)
