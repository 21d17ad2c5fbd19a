"""The rows that a fit may see: the fit side of the task's evidence.

Rows(texts, labels, groups)    sha256 over (text, label) in the log's order
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from freehold.nouns import Task
from freehold.traffic import Traffic, evidence, rows_sha256, split

__all__ = ["Rows", "rows_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Texts, their labels (the answers), and the group number of near-duplicates, each [n]."""

    texts: list[str]
    labels: list[str]
    groups: npt.NDArray[np.int64]

    @property
    def sha256(self) -> str:
        return rows_sha256(self.texts, self.labels)


def rows_of(task: Task, traffic: Traffic) -> Rows:
    calls = evidence(task, traffic)
    texts = [task.text(call) or "" for call in calls]
    sides = split([task.template.text(call.messages) or "" for call in calls])
    fit = sides.fit.tolist()
    labels = [(calls[i].answer or "").strip() for i in fit]
    return Rows([texts[i] for i in fit], labels, sides.groups[sides.fit])
