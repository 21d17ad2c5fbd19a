"""The rows that a fit may see: the fit side of the task's evidence.

Rows(texts, labels, groups)    sha256 over (text, label) in the log's order
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from freehold.nouns import Call, Task
from freehold.traffic import Traffic, evidence, rows_sha256, split

__all__ = ["Rows", "held_texts", "rows_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Texts, their labels (the answers), the group number of near-duplicates, and the calls they are of, each [n].

    `whole` is the sha256 of the rows that these were taken from, where some were left out.
    """

    texts: list[str]
    labels: list[str]
    groups: npt.NDArray[np.int64]
    calls: Sequence[Call] = ()
    whole: str = ""

    def take(self, which: Sequence[int]) -> Rows:
        """Some of the rows, which still say what they were taken from."""
        return Rows(
            [self.texts[i] for i in which],
            [self.labels[i] for i in which],
            self.groups[np.asarray(which, np.int64)],
            [self.calls[i] for i in which] if self.calls else (),
            self.sha256,
        )

    @property
    def sha256(self) -> str:
        """Of all the task's rows: names the state of the log that a student comes from."""
        return self.whole or rows_sha256(self.texts, self.labels)


def rows_of(task: Task, traffic: Traffic) -> Rows:
    calls = evidence(task, traffic)
    texts = [task.text(call) or "" for call in calls]
    sides = split([task.template.text(call.messages) or "" for call in calls])
    fit = sides.fit.tolist()
    labels = [(calls[i].answer or "").strip() for i in fit]
    return Rows([texts[i] for i in fit], labels, sides.groups[sides.fit], [calls[i] for i in fit])


def held_texts(task: Task, traffic: Traffic) -> list[str]:
    """The texts of the calls that certify, without their answers: what nothing new may be near to."""
    texts = [task.template.text(call.messages) or "" for call in evidence(task, traffic)]
    return [texts[i] for i in split(texts).cal_all.tolist()]
