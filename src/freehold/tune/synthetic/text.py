"""Textbook rows for a decoder.

    rows ─decoder's own split→ those that teach, those held back
    those that teach ─prompts of a few texts each→ teacher → new texts ─sift→ texts near to nothing held out
                     ─the task's prompt, near rows shown→ teacher, twice → answers ─answer.py→ made rows
    student without   tuned on those that teach             both in the minutes that are given; the same rows
    student with      on those and the made ones, weighted  held back are asked of both
    ─value→ helps? the student with : the student without

Each student is what a tuning gives: the adapter, or the untuned base with logged examples where that answers better.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from freehold.agree import judge
from freehold.engines.decoder import Prompt, as_logged
from freehold.engines.llama.engine import Engine
from freehold.engines.llama.schema import satisfies
from freehold.nouns import Artifact, Kind, Task
from freehold.project import Project
from freehold.tell import Tell
from freehold.tune.decoder.data import hold_back
from freehold.tune.decoder.mixed import Made
from freehold.tune.decoder.recipe import schema_of
from freehold.tune.rows import Rows
from freehold.tune.synthetic.answer import Answering, Fits, answered
from freehold.tune.synthetic.ask import NAME, ask_all, bounds_of
from freehold.tune.synthetic.beside import beside
from freehold.tune.synthetic.made import Ask, Counts, Given, Kept
from freehold.tune.synthetic.prompts import TEMPERATURE, TEMPLATE, another, plan, shortened
from freehold.tune.synthetic.record import Outcome, read_outcome, rows_jsonl, verdict, write_outcome
from freehold.tune.synthetic.sift import sift
from freehold.tune.synthetic.teacher import Teacher, find, running
from freehold.tune.synthetic.value import one_of_each
from freehold.tune.synthetic.voice import Speaks, Wanted

__all__ = ["Parts", "parts", "text"]

SHARE = 0.5  # of the minutes, for the teacher, besides those of the two tunings
SMALL = 512  # ids: the engine only says whether an answer fits a schema
AT_MOST = 0.5  # of what the logged rows weigh, for all made ones together
Runs = Callable[[Teacher, Project, Path, Kind, Tell], AbstractContextManager[Speaks]]
Fit = Callable[[Made | None], Artifact]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The rows that teach, those that are held back from both students, and the texts that certify."""

    learn: Rows
    own: Rows
    certify: Sequence[str]

    @property
    def unseen(self) -> list[str]:
        """What no made text may be near to."""
        return [*self.certify, *self.own.texts]


def parts(rows: Rows, use: Sequence[int], certify: Sequence[str]) -> Parts:
    """As a tuning on the same rows splits them."""
    learn, own = hold_back(rows.groups[list(use)], 0)
    good = [[use[i] for i in side if rows.labels[use[i]].strip()] for side in (learn, own)]
    own = [good[1][i] for i in one_of_each(rows.groups[good[1]]).tolist()] if good[1] else []
    return Parts(rows.take(good[0]), rows.take(own), certify)


def text(
    task: Task, rows: Rows, use: Sequence[int], certify: Sequence[str], project: Project, given: Given, minutes: float,
    fit: Fit, tell: Tell, runs: Runs = running,
) -> Artifact:  # fmt: skip
    """The student with the teacher's rows where they help, else the student without. `fit` tunes on the rows, and on
    made ones beside them. Raises what tune does."""
    teacher = find(given, project, task)
    without = fit(None)
    key = _key(teacher, given, rows, use, certify, without, minutes)
    if before := read_outcome(project, task.name, key):
        return project.read_artifact(before.artifact)
    work = project.work(f"synthetic-{task.name}-{key[:12]}")
    split = parts(rows, sorted(use), certify)
    kept, counts = _made(task, split, without, teacher, given, minutes, project, work, tell, runs)
    lines = rows_jsonl(kept, split.learn, teacher.said)
    outcome = Outcome(key, without.sha256, teacher.said, asdict(counts), None, False)
    if not kept:
        tell(f"no row of {teacher.name} can teach {task.name}: {counts.words()}; the student without is kept")
    else:
        tell(counts.words())
        about = {"key": key, "teacher": teacher.said, "counts": asdict(counts), "template": TEMPLATE}
        made = Made([row.text for row in kept], [row.answer for row in kept], _weight(split, kept, given, tell),
                    about, lines)  # fmt: skip
        with_ = fit(made)
        value = beside(with_, without, split.own, judge(task), minutes, project, work, tell)
        uses = value.helps or given.keep
        tell(f"{value.words('held-back rows')}: {verdict(value, uses)}")
        chosen = with_ if uses else without
        outcome = msgspec.structs.replace(outcome, artifact=chosen.sha256, value=value, kept=uses)
    write_outcome(project, task.name, outcome, lines)
    shutil.rmtree(work)
    return project.read_artifact(outcome.artifact)


def _key(
    teacher: Teacher, given: Given, rows: Rows, use: Sequence[int], certify: Sequence[str], without: Artifact,
    minutes: float,
) -> str:  # fmt: skip
    """All that decides what is made and kept."""
    said = [TEMPLATE, teacher.said, asdict(replace(given, teacher=None)), rows.sha256, sorted(use), sorted(certify)]
    return hashlib.sha256(msgspec.json.encode([*said, without.sha256, minutes])).hexdigest()


def _weight(split: Parts, kept: Sequence[Kept], given: Given, tell: Tell) -> float:
    if given.weight is not None:
        tell(f"a made row weighs {given.weight:.2g} of a logged one, as given")
        return given.weight
    found = min(1.0, AT_MOST * len(split.learn.texts) / len(kept))
    tell(
        f"a made row weighs {found:.2g} of a logged one: all {len(kept):,} together at most {AT_MOST:g} of what "
        f"{len(split.learn.texts):,} logged ones weigh, so that they teach beside them and not over them"
    )
    return found


def _made(
    task: Task, split: Parts, without: Artifact, teacher: Teacher, given: Given, minutes: float, project: Project,
    work: Path, tell: Tell, runs: Runs,
) -> tuple[list[Kept], Counts]:  # fmt: skip
    """New texts, then their answers, each in half of the teacher's time."""
    learn, seconds, schema = split.learn, 60.0 * SHARE * minutes / 2, schema_of(task)
    schema = None if schema is None else as_logged(schema, learn.labels)
    asks = _asks(learn, given)
    bounds = bounds_of(learn.texts, seconds)
    with runs(teacher, project, work, task.kind, tell) as voice:
        said = ask_all(
            asks, lambda ask: _wanted(ask, learn, bounds.text, bounds.stop), voice, work / NAME, seconds,
            what=f"ask {teacher.name} for texts", tell=tell,
        )  # fmt: skip
        kept, counts = sift(asks, said, learn.texts, split.unseen)
        if not kept:
            return [], counts
        pairs = list(zip(learn.texts, learn.labels, strict=True))
        how = Answering.of(Prompt.of(task.template), pairs, schema, bounds_of(learn.labels, seconds))
        twice = [(row.text, second) for row in kept for second in (False, True)]
        answers = ask_all(
            twice, lambda one: how.wanted(*one), voice, work / f"answers-{NAME}", seconds,
            what=f"ask {teacher.name} for answers", tell=tell,
        )  # fmt: skip
    longest = max(map(len, learn.labels))
    with _form(task, learn, schema, project.artifact_path(without.parents[0]) / "model.gguf") as fits:
        return answered(kept, answers, judge(task), fits, longest, counts)


@contextmanager
def _form(task: Task, learn: Rows, schema: dict[str, Any] | None, model: Path) -> Iterator[Fits]:
    """Whether an answer is one that the task may have: a logged label, what fits the schema; else what its rule reads.
    The engine's grammar decides of a schema, whoever wrote the answer."""
    if schema is not None:
        with Engine.start(model, context=SMALL) as engine:
            yield lambda one: satisfies(engine, schema, one)
    elif task.kind == "labels":
        yield set(learn.labels).__contains__
    else:
        yield lambda _: True


def _asks(learn: Rows, given: Given) -> list[Ask]:
    """Of near-duplicates one is shown."""
    one = one_of_each(learn.groups)
    asks = plan([""] * len(one), np.zeros(len(one), np.int64), given.rows, given.seed)
    return [replace(ask, shown=tuple(one[list(ask.shown)].tolist())) for ask in asks]


def _wanted(ask: Ask, learn: Rows, tokens: int, stop: tuple[str, ...]) -> Wanted:
    shown = [learn.texts[i] for i in ask.shown]
    shown = shown[-shortened([len(one) for one in shown]) :]
    return Wanted(another(shown), tokens, stop, TEMPERATURE, ask.seed, again=True)
