"""The rows that a fit may see: the fit side of the task's evidence.

Rows(texts, labels, groups)    sha256 over (text, label) in the log's order
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.nouns import Task
from freehold.traffic import Traffic, evidence, split

__all__ = ["Rows", "rows_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Texts, their labels, and the group number of near-duplicates, each [n]."""

    texts: list[str]
    labels: list[str]
    groups: npt.NDArray[np.int64]

    @property
    def sha256(self) -> str:
        lines = [[t.encode("utf-8", "surrogatepass").hex(), a] for t, a in zip(self.texts, self.labels, strict=True)]
        return hashlib.sha256(msgspec.json.encode(lines)).hexdigest()


def rows_of(task: Task, traffic: Traffic) -> Rows:
    calls = evidence(task, traffic)
    texts = [task.template.text(call.messages) or "" for call in calls]
    sides = split(texts)
    fit = sides.fit.tolist()
    labels = [(calls[i].answer or "").strip() for i in fit]
    return Rows([texts[i] for i in fit], labels, sides.groups[sides.fit])
