"""May a student be proved for a task? Only if nothing that it was made from has learned from a call that certifies it.

    student ─parents→ adapters, bases ─learned→ [(task, sha256 of its rows), ...]     through merges of merges
        of this task, this log        the split keeps its fit side apart from what certifies: nothing to look at
        of another task of this log   its fit side is read again, less what the adapters held back, and laid beside
                                      this task's certifying calls: one near-duplicate (the split's own measure) is one
                                      too many
        rows that the log hasn't      nobody can say: refused; so are another task's preferences, which may be of
                                      any text

The split's key is the same for all tasks, so a text lies on the same side in each; but its group of near-duplicates may
begin with another text there, and then it needn't. `freehold merge` looks before it merges, `freehold prove` again:
calls may have come since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from freehold.errors import ArtifactDamaged, ProjectMissing, StudentUnusable
from freehold.nouns import Artifact, Call, Task
from freehold.project import Project
from freehold.traffic.groups import near_duplicates
from freehold.traffic.hold_out import rows_sha256, split
from freehold.traffic.log import Traffic, evidence, put_upstream

__all__ = ["Learned", "Sides", "apart", "foreign", "learned", "lineage", "near_to", "spared", "unseen"]

PREFERENCES = "preferences"


@dataclass(frozen=True, slots=True, order=True)
class Learned:
    """The rows that an adapter was fitted on; of preferences, the pairs."""

    task: str
    data_sha256: str
    kind: str = ""


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


def unseen(
    task: Task, artifact: Artifact, project: Project, tasks: Callable[[], Sequence[Task]], traffic: Traffic
) -> None:
    """`tasks`: all of the audit, where they are needed. Raises StudentUnusable where something in this student has
    learned from a call that certifies it, or where nobody can say; ProjectMissing where the log has changed."""
    line = lineage([artifact], project)
    rows = learned(line)
    if any(one != Learned(task.name, artifact.data_sha256) for one in rows):
        foreign(task, rows, spared(line, rows, project), tasks(), traffic)


def lineage(artifacts: Sequence[Artifact], project: Project) -> list[Artifact]:
    """They, and all that they were made from, as far as the project holds it."""
    known = {artifact.sha256: artifact for artifact in project.artifacts()}
    found = {artifact.sha256: artifact for artifact in artifacts}
    left = list(found.values())
    while left:
        more = [known[p] for p in left.pop().parents if p in known and p not in found]
        found |= {artifact.sha256: artifact for artifact in more}
        left += more
    return list(found.values())


def learned(line: Iterable[Artifact]) -> list[Learned]:
    """What these have learned from: an adapter from the rows of its task and from preferences, a merged one and its
    base from what they say of their parts."""
    found: dict[Learned, None] = {}
    for artifact in line:
        said = artifact.recipe.get("learned", ())
        found |= {Learned(str(o["task"]), str(o["data_sha256"]), str(o.get("kind", ""))): None for o in said}
        if artifact.task and artifact.data_sha256 and not said:
            found[Learned(artifact.task, artifact.data_sha256)] = None
        if "preference" in artifact.recipe:
            pairs = artifact.recipe["preference"].get("pairs", "")
            found[Learned(artifact.task, str(pairs), PREFERENCES)] = None
    return list(found)


def spared(line: Sequence[Artifact], rows: Sequence[Learned], project: Project) -> dict[str, dict[str, str]]:
    """Of each task, the texts and answers that nothing in this line has learned from: what all adapters held back that
    were tuned for it. A merged one whose parts are gone speaks for its own task alone; a base for none."""
    here = {artifact.sha256 for artifact in line}
    leaves = [a for a in line if a.kind in ("adapter", "base", "model")
              and ("merged" not in a.recipe or a.kind == "model" or not here.issuperset(a.parents))]  # fmt: skip
    found: dict[str, dict[str, str]] = {}
    for task in dict.fromkeys(one.task for one in rows):
        kept = [
            _own_rows(project.artifact_path(leaf.sha256)) if leaf.task == task else dict[str, str]()
            for leaf in leaves if any(one.task == task for one in learned([leaf]))
        ]  # fmt: skip
        first, *rest = kept or [{}]
        found[task] = {text: said for text, said in first.items() if all(text in other for other in rest)}
    return found


def _own_rows(folder: Path) -> dict[str, str]:
    try:
        said = msgspec.json.decode((folder / "own.json").read_bytes(), type=dict[str, list[str]])
        return dict(zip(said["texts"], said["answers"], strict=True))
    except (OSError, msgspec.MsgspecError, KeyError, ValueError) as error:
        raise ArtifactDamaged(f"{folder}/own.json can't be read: {error}.", "Tune again.") from error


def foreign(
    task: Task, rows: Sequence[Learned], spared: Mapping[str, Mapping[str, str]], tasks: Sequence[Task],
    traffic: Traffic,
) -> list[str]:  # fmt: skip
    """The words of other tasks' calls that were learned from, none of them near to a call that certifies `task`.
    `spared`: the texts of each task that all its adapters held back.

    Raises StudentUnusable where one is near, or where that can't be known; ProjectMissing where the log has changed.
    """
    here, by_name = Sides(task, traffic), {one.name: one for one in tasks}
    found: list[str] = []
    for one in dict.fromkeys(rows):
        if one.task == task.name and (one.kind or one.data_sha256 == here.sha256):
            continue  # pairs of this task were sifted beside the calls that certify it
        if one.task == task.name:
            raise ProjectMissing(
                f"The log has changed since an adapter of {task.name} was tuned.", "Tune it again, then merge."
            )
        if one.kind:
            raise StudentUnusable(
                f"A part learned preferences of {one.task}, which may be of any text, so nobody can say whether a call "
                f"that certifies {task.name} was among them.",
                f"Take the adapter of {one.task} from before.",
            )
        other = Sides(by_name[one.task], traffic) if one.task in by_name else None
        if other is None or other.sha256 != one.data_sha256:
            raise StudentUnusable(
                f"A part learned from rows of {one.task} that this log doesn't hold, so nobody can say whether a call "
                f"that certifies {task.name} was among them.",
                "Tune it again on this log, then merge.",
            )
        kept_back = spared.get(one.task, {})
        found += apart(here, one.task, [own for text, own in other.fit.items() if text not in kept_back])
    return found


def apart(here: Sides, other: str, texts: Sequence[str]) -> Sequence[str]:
    """These texts of another task. Raises StudentUnusable where a call that certifies is near to one of them."""
    near = near_to(here.certifies, texts)
    if near:
        raise StudentUnusable(
            f"{len(near)} of the {len(here.certifies)} calls that certify {here.task.name} are the same as calls of "
            f"{other} that a part learned from, or nearly, so the merged one can't be proved.",
            f"Merge adapters of {here.task.name} alone.",
        )
    return texts


def near_to(texts: Sequence[str], others: Sequence[str] | Set[str]) -> list[int]:
    """The numbers of the texts that are near-duplicates of one of the others."""
    groups = near_duplicates([*texts, *others]).tolist()
    taken = set(groups[len(texts) :])
    return [i for i in range(len(texts)) if groups[i] in taken]
