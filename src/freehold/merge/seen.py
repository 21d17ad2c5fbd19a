"""May a merged adapter be proved for a task? Only if none of its parts has learned from a call that certifies it.

    parts ─learned→ [(task, sha256 of its rows), ...]      through merges of merges
        of this task, this log        the split keeps its fit side apart from what certifies: nothing to look at
        of another task of this log   its fit side is read again, less what the part held back, and laid beside this
                                      task's certifying calls: one near-duplicate (the split's own measure) is one too
                                      many
        rows that the log hasn't      nobody can say: refused

The split's key is the same for all tasks, so a text lies on the same side in each; but its group of near-duplicates may
begin with another text there, and then it needn't.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from freehold.errors import ProjectMissing, StudentUnusable
from freehold.nouns import Artifact, Call, Task
from freehold.traffic import Traffic, evidence, near_duplicates, put_upstream, rows_sha256, split

__all__ = ["FEWEST", "Learned", "Sides", "apart", "foreign", "learned", "near_to"]

FEWEST = 10  # held-back rows, for shrink to measure on


@dataclass(frozen=True, slots=True)
class Learned:
    """The rows that an adapter was fitted on."""

    task: str
    data_sha256: str


@dataclass(frozen=True)
class Sides:
    """A task's calls in the log: those that fit, and those that certify."""

    task: Task
    traffic: Traffic

    @cached_property
    def fit(self) -> dict[str, str]:
        """Each text as a student is asked it, and the call's own words in it."""
        return {self.task.text(call) or "": self._own(call) for call in self._fit}

    @cached_property
    def sha256(self) -> str:
        """As an artefact's data_sha256 names these rows."""
        return rows_sha256([self.task.text(c) or "" for c in self._fit], [(c.answer or "").strip() for c in self._fit])

    @cached_property
    def certifies(self) -> list[str]:
        """Every text but those that fit, answered or not."""
        fit = set(self.fit.values())
        return [own for call in put_upstream(self.task, self.traffic) if (own := self._own(call)) not in fit]

    @cached_property
    def _fit(self) -> list[Call]:
        calls = evidence(self.task, self.traffic)
        return [calls[i] for i in split([self._own(call) for call in calls]).fit.tolist()]

    def _own(self, call: Call) -> str:
        return self.task.template.text(call.messages) or ""


def learned(artifact: Artifact) -> list[Learned]:
    """What an adapter has learned from, or what its parts have."""
    said = artifact.recipe.get("learned")
    if said is None:
        return [Learned(artifact.task, artifact.data_sha256)]
    return [Learned(str(one["task"]), str(one["data_sha256"])) for one in said]


def foreign(
    task: Task, rows: Sequence[Learned], spared: Mapping[str, Set[str]], tasks: Sequence[Task], traffic: Traffic
) -> list[str]:
    """The words of other tasks' calls that the parts have learned from, none of them near to a call that certifies
    `task`. `spared`: the texts of each task that all its adapters held back.

    Raises StudentUnusable where one is near, or where that can't be known; ProjectMissing where the log has changed.
    """
    here, by_name = Sides(task, traffic), {one.name: one for one in tasks}
    found: list[str] = []
    for one in dict.fromkeys(rows):
        if one == Learned(task.name, here.sha256):
            continue
        if one.task == task.name:
            raise ProjectMissing(
                f"The log has changed since an adapter of {task.name} was tuned.", "Tune it again, then merge."
            )
        other = Sides(by_name[one.task], traffic) if one.task in by_name else None
        if other is None or other.sha256 != one.data_sha256:
            raise StudentUnusable(
                f"A part learned from rows of {one.task} that this log doesn't hold, so nobody can say whether a call "
                f"that certifies {task.name} was among them.",
                "Tune it again on this log, then merge.",
            )
        kept_back = spared.get(one.task, set())
        found += apart(here, one.task, [own for text, own in other.fit.items() if text not in kept_back])
    return found


def apart(here: Sides, other: str, texts: Sequence[str]) -> Sequence[str]:
    """These texts of another task. Raises StudentUnusable where a call that certifies is near to one of them."""
    near = near_to(here.certifies, texts)
    if near:
        raise StudentUnusable(
            f"{len(near)} of the {len(here.certifies)} calls that certify {here.task.name} are the same as calls of "
            f"{other} that a part learned from, or nearly, so the merged adapter could not be proved.",
            f"Merge adapters of {here.task.name} alone.",
        )
    return texts


def near_to(texts: Sequence[str], others: Sequence[str]) -> list[int]:
    """The numbers of the texts that are near-duplicates of one of the others."""
    groups = near_duplicates([*texts, *others]).tolist()
    taken = set(groups[len(texts) :])
    return [i for i in range(len(texts)) if groups[i] in taken]
