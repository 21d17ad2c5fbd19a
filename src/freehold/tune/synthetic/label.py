"""Textbook rows for a label student.

    rows ─label's own folds→ asks, each shown rows of one fold alone ─teacher, sift→ kept
        fold by fold: student without it   on the rows of the other folds
                      student with         + the kept rows of the other folds that the one without agrees with
                      both asked the fold's rows, which neither has seen, nor the teacher for them
        ─value→ helps? the student with, on all rows : the student without

A row's answer is the label that its text was asked for, where the student without gives it too.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.engines.encoder import Encoder
from freehold.engines.label import encode
from freehold.nouns import Artifact, Kind, Task
from freehold.project import Project
from freehold.tell import Tell
from freehold.tune.label import FEWEST, Extra, Fitted, bounded, fit, folds_of
from freehold.tune.make import encoders_of, store
from freehold.tune.make import label as plain_label
from freehold.tune.rows import Rows
from freehold.tune.synthetic.ask import NAME, Bounds, ask_all, bounds_of
from freehold.tune.synthetic.made import Ask, Counts, Given, Kept, Value
from freehold.tune.synthetic.prompts import TEMPERATURE, TEMPLATE, plan, wording
from freehold.tune.synthetic.record import Outcome, read_outcome, rows_jsonl, verdict, write_outcome
from freehold.tune.synthetic.sift import agreed, sift
from freehold.tune.synthetic.teacher import Teacher, find, running
from freehold.tune.synthetic.value import one_of_each, paired
from freehold.tune.synthetic.voice import Speaks, Wanted

__all__ = ["Taught", "folds", "label", "made_rows", "measured", "taught_by", "with_all"]

MINUTES = 6.0  # of the teacher, where --minutes says nothing
SHARE = 0.5  # of --minutes
MANY = 2000  # rows, above which one fold is enough to see a difference
AGREES = "the student without it gives the same answer"
Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Runs = Callable[[Teacher, Project, Path, Kind, Tell], AbstractContextManager[Speaks]]


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """Logged rows by number, with folds and vectors; and made ones with theirs."""

    rows: Rows
    fold: Indices
    vectors: Sequence[Floats]
    made: Sequence[Kept]
    made_vectors: Sequence[Floats]
    encoders: Sequence[Encoder]

    def student(self, inside: npt.NDArray[np.bool_], made: Sequence[int] = ()) -> Fitted:
        """Fitted on the logged rows `inside`, and on some of the made ones."""
        which = np.flatnonzero(inside)
        extra = Extra(
            [self.made[i].text for i in made],
            [self.made[i].answer for i in made],
            [v[list(made)] for v in self.made_vectors],
            np.array([self.made[i].ask.fold for i in made], np.int64),
        )
        return fit(
            [self.rows.texts[i] for i in which], [self.rows.labels[i] for i in which], groups=self.rows.groups[which],
            encoders=self.encoders, embeddings=[v[which] for v in self.vectors], folds=self.fold[which],
            extra=extra if len(made) else None,
        )  # fmt: skip

    def agrees(self, student: Fitted, made: Sequence[int]) -> list[bool]:
        """Whether it gives the answer of each of these made rows."""
        said = student.student(self.encoders).score(
            [self.made[i].text for i in made], [v[list(made)] for v in self.made_vectors]
        )
        return [answer.text == self.made[i].answer for answer, i in zip(said, made, strict=True)]

    def right(self, student: Fitted, asked: Indices) -> list[bool]:
        said = student.student(self.encoders).score(
            [self.rows.texts[i] for i in asked], [v[asked] for v in self.vectors]
        )
        return [answer.text == self.rows.labels[i] for answer, i in zip(said, asked.tolist(), strict=True)]


def label(
    task: Task, rows: Rows, held: Sequence[str], project: Project, named: Sequence[str], given: Given,
    minutes: float | None, tell: Tell, runs: Runs = running,
) -> Artifact:  # fmt: skip
    """The student with the teacher's rows where they help, else the student without. `runs` starts the teacher's
    engine. Raises what tune does."""
    teacher = find(given, project, task)
    without = plain_label(task, rows, project, named, None, tell)
    key = _key(teacher, given, rows, held, without, minutes)
    if before := read_outcome(project, task.name, key):
        return project.read_artifact(before.artifact)
    rows = rows.take(bounded(rows.groups, 0).tolist())
    fold = folds(rows)
    work = project.work(f"synthetic-{task.name}-{key[:12]}")
    kept, counts = made_rows(task, rows, fold, held, teacher, given, minutes, project, work, tell, runs)
    if not kept:
        tell(f"no row of {teacher.name} can teach {task.name}: {counts.words()}; the student without is kept")
        outcome = Outcome(key, without.sha256, teacher.said, asdict(counts), None, False)
    else:
        taught = taught_by(rows, fold, kept, encoders_of(named), tell)
        value = measured(taught, tell)
        student, kept, counts = with_all(taught, counts, tell)
        uses = bool(kept) and (value.helps or given.keep)
        tell(f"{counts.words()}; {value.words()}: {verdict(value, uses)}")
        about = Outcome(key, without.sha256, teacher.said, asdict(counts), value, uses)
        outcome = about if not uses else _stored(task, taught, project, named, student, kept, about)
    write_outcome(project, task.name, outcome, rows_jsonl(kept, rows, teacher.said))
    shutil.rmtree(work)
    return project.read_artifact(outcome.artifact)


def _key(
    teacher: Teacher, given: Given, rows: Rows, held: Sequence[str], without: Artifact, minutes: float | None
) -> str:
    """All that decides what is made and kept."""
    parts = [TEMPLATE, teacher.said, asdict(replace(given, teacher=None)), rows.sha256, sorted(held)]
    return hashlib.sha256(msgspec.json.encode([*parts, without.sha256, minutes])).hexdigest()


def folds(rows: Rows) -> Indices:
    """Those that a plain fit of the same rows takes."""
    names = sorted(set(rows.labels))
    at = {name: k for k, name in enumerate(names)}
    return folds_of(rows.groups, np.array([at[one] for one in rows.labels], np.int64), 0)


def made_rows(
    task: Task, rows: Rows, fold: Indices, held: Sequence[str], teacher: Teacher, given: Given,
    minutes: float | None, project: Project, work: Path, tell: Tell, runs: Runs = running,
) -> tuple[list[Kept], Counts]:  # fmt: skip
    asks = _asks(rows, fold, given)
    bounds = bounds_of(rows.texts, 60.0 * (MINUTES if minutes is None else SHARE * minutes))
    with runs(teacher, project, work, task.kind, tell) as voice:
        said = ask_all(
            asks, _wanted(rows, bounds), voice, work / NAME, bounds.seconds, what=f"ask {teacher.name}", tell=tell
        )
    return sift(asks, said, rows.texts, held)


def _asks(rows: Rows, fold: Indices, given: Given) -> list[Ask]:
    """Of near-duplicates one is shown: a prompt that says the same five times gets it back a sixth time."""
    one = one_of_each(rows.groups)
    asks = plan([rows.labels[i] for i in one.tolist()], fold[one], given.rows, given.seed)
    return [replace(ask, shown=tuple(one[list(ask.shown)].tolist())) for ask in asks]


def _wanted(rows: Rows, bounds: Bounds) -> Callable[[Ask], Wanted]:
    def wanted(ask: Ask) -> Wanted:
        messages = wording([(rows.texts[i], rows.labels[i]) for i in ask.shown], ask.label)
        return Wanted(messages, bounds.text, bounds.stop, TEMPERATURE, ask.seed, again=True)

    return wanted


def taught_by(rows: Rows, fold: Indices, kept: Sequence[Kept], encoders: Sequence[Encoder], tell: Tell) -> Taught:
    vectors = [encode(one, rows.texts, tell) for one in encoders]
    made = [one.embed([row.text for row in kept]) for one in encoders]
    return Taught(rows, fold, vectors, kept, made, encoders)


def measured(taught: Taught, tell: Tell, most: int | None = None) -> Value:
    """With and without, each logged row asked of students that were fitted without its fold."""
    rounds = np.unique(taught.fold).tolist()
    if len(taught.rows.texts) > MANY:
        rounds = rounds[:1]
    first = set(one_of_each(taught.rows.groups).tolist())
    ours: list[bool] = []
    theirs: list[bool] = []
    for at, f in enumerate(rounds[:most]):
        tell("measure with and without", at / len(rounds))
        inside = taught.fold != f
        if not _enough(taught.rows, np.flatnonzero(inside)):
            continue
        asked = np.array([i for i in np.flatnonzero(~inside).tolist() if i in first], np.int64)
        labels = {taught.rows.labels[i] for i in np.flatnonzero(inside).tolist()}
        usable = [i for i, row in enumerate(taught.made) if row.ask.fold != f and row.answer in labels]
        plain = taught.student(inside)
        usable = [i for i, good in zip(usable, taught.agrees(plain, usable), strict=True) if good]
        before = taught.right(plain, asked)
        theirs += before
        ours += taught.right(taught.student(inside, usable), asked) if usable else before
    return paired(ours, theirs)


def _enough(rows: Rows, which: Indices) -> bool:
    """Whether a student can be fitted on these."""
    return len({rows.labels[i] for i in which.tolist()}) > 1 and len(np.unique(rows.groups[which])) >= FEWEST


def with_all(taught: Taught, counts: Counts, tell: Tell) -> tuple[Fitted, list[Kept], Counts]:
    """The student on all rows, with the made ones that the one without agrees with."""
    everything = np.ones(len(taught.rows.texts), bool)
    numbers = list(range(len(taught.made)))
    good = taught.agrees(taught.student(everything), numbers)
    kept, counts = agreed(taught.made, good, AGREES, counts)
    tell("fit the student with them", None)
    return taught.student(everything, [i for i in numbers if good[i]]), kept, counts


def _stored(
    task: Task, taught: Taught, project: Project, named: Sequence[str], student: Fitted, kept: Sequence[Kept],
    about: Outcome,
) -> Outcome:  # fmt: skip
    files = student.files | {"synthetic.jsonl": rows_jsonl(kept, taught.rows, about.teacher)}
    how = student.recipe | {"synthetic": about.recipe | {"template": TEMPLATE}}
    made = store(task, taught.rows, project, named, taught.encoders, files, how)
    return msgspec.structs.replace(about, artifact=made.sha256)
