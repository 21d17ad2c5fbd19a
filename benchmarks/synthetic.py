"""What a teacher's rows are worth to a label student that has few: beside none, and beside copies of the rows it has.

    python benchmarks/synthetic.py [--full] [--minutes N]

    examples/support-desk ─20 labels, 2 / 5 / 10 rows of each→ what was logged
                          ─further rows of these labels, up to 60 of each→ asked of every side, seen by none
    without      the stack on the logged rows
    with         and the teacher's rows that the product would keep, whether they help or not
    every        and all that pass the sift, the student's agreement not asked
    product      with or without, as the product decides from the logged rows
    repeats      in place of each row of `with`, a logged row that it was written after: same label, same fold
    dropout      the same, with every fifth word left out
    plain        logistic regression on the same embeddings, and `plain+`: with the rows of `with`

The teacher is smollm2, by the product's own prompts and sift; the asked texts are barred as those that certify are.
A seed draws labels and rows; fewer rows are the first of the more. Differences are paired, over the rows of all seeds
(Bonett and Price) and over seeds (t), both 95 %. A cell that was made before is not made again.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
import warnings
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import _run

_run.one_thread()  # before numpy comes in

import numpy as np  # noqa: E402

FEW = (2, 5, 10)
LABELS = 20
ASKED = 60  # further rows of a label, at most
DROP = 5
FORMS = {False: {"seeds": 1, "few": (2, 5), "rows": 80}, True: {"seeds": 5, "few": FEW, "rows": 160}}
SIDES = ("without", "with", "every", "product", "repeats", "dropout", "plain", "plain+")
PAIRS = (
    ("with", "without"), ("with", "repeats"), ("with", "dropout"), ("repeats", "without"), ("dropout", "without"),
    ("every", "without"), ("product", "without"), ("plain", "without"), ("plain+", "plain"), ("with", "plain"),
)  # fmt: skip
ROWS = _run.CACHE / "synthetic.jsonl"
STACK = ("label", "members", "stacking")
PRODUCT = _run.ROOT / "src" / "freehold" / "tune"


@dataclass(frozen=True)
class Log:
    """Texts, answers, and the group of near-duplicates of each."""

    texts: list[str]
    answers: list[str]
    groups: Any


@dataclass(frozen=True)
class Drawn:
    """Logged rows by number, the first of each label first; rows that are asked, and all vectors by number."""

    logged: dict[str, list[int]]
    asked: list[int]
    vectors: dict[int, Any]


def log() -> tuple[Any, Log]:
    from freehold.traffic import evidence, find_tasks, read, split

    traffic = read([_run.LOG])
    task = find_tasks(traffic)[0]
    calls = evidence(task, traffic)
    texts = [task.template.text(c.messages) or "" for c in calls]
    return task, Log(texts, [(c.answer or "").strip() for c in calls], split(texts).groups)


def draw(log: Log, seed: int, encoder: Any) -> Drawn:
    """One row of a group is logged; no row of its group is asked."""
    rng = np.random.default_rng(seed)
    by: defaultdict[str, list[int]] = defaultdict(list)
    for i in rng.permutation(len(log.texts)).tolist():
        by[log.answers[i]].append(i)
    names = sorted(rng.permutation(sorted(by))[:LABELS].tolist())
    logged: dict[str, list[int]] = {}
    taken: set[int] = set()
    for name in names:
        logged[name] = []
        for i in by[name]:
            if len(logged[name]) < max(FEW) and log.groups[i] not in taken:
                logged[name].append(i)
                taken.add(log.groups[i])
    asked = [i for name in names for i in [j for j in by[name] if log.groups[j] not in taken][:ASKED]]
    numbers = [*(i for some in logged.values() for i in some), *asked]
    found = encoder.embed([log.texts[i] for i in numbers])
    return Drawn(logged, asked, dict(zip(numbers, found, strict=True)))


def cell(task: Any, log: Log, drawn: Drawn, few: int, rows: int, seed: int, encoder: Any) -> dict[str, Any]:
    """Which asked rows each side has right, and what the product said of the teacher's rows."""
    from freehold.project import Project
    from freehold.tell import quiet
    from freehold.tune.rows import Rows
    from freehold.tune.synthetic.label import Taught, folds, made_rows, measured, with_all
    from freehold.tune.synthetic.made import Given
    from freehold.tune.synthetic.teacher import find

    which = [i for some in drawn.logged.values() for i in some[:few]]
    held = [log.texts[i] for i in drawn.asked]
    logged = Rows([log.texts[i] for i in which], [log.answers[i] for i in which], np.array(log.groups)[which])
    fold = folds(logged)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        project, given = Project.create(Path(folder) / "project"), Given(rows, seed=seed)
        kept, counts = made_rows(
            task, logged, fold, held, find(given, project, task), given, 60.0, project,
            project.work("synthetic"), quiet,
        )  # fmt: skip
    teacher = time.perf_counter() - began
    made = [encoder.embed([row.text for row in kept])]
    taught = Taught(logged, fold, [np.stack([drawn.vectors[i] for i in which])], kept, made, [encoder])
    value = measured(taught, quiet)
    student, agreed, counts = with_all(taught, counts, quiet)
    inside = np.ones(len(which), bool)
    right = {"without": _asked(taught.student(inside), log, drawn, encoder)}
    right["with"] = _asked(student, log, drawn, encoder)
    right["every"] = _asked(taught.student(inside, range(len(kept))), log, drawn, encoder)
    right["product"] = right["with"] if agreed and value.helps else right["without"]
    for name, copies in (("repeats", _copies(agreed, logged, 0)), ("dropout", _copies(agreed, logged, DROP))):
        control = replace(taught, made=copies, made_vectors=[encoder.embed([row.text for row in copies])])
        right[name] = _asked(control.student(inside, range(len(copies))), log, drawn, encoder)
    right |= _plain(taught, agreed, log, drawn, encoder)
    return {
        "few": few, "seed": seed, "n": len(held), "teacher_seconds": round(teacher, 1), "counts": asdict(counts),
        "value": value.words(), "helps": value.helps,
        "right": {name: "".join("01"[bool(one)] for one in right[name]) for name in SIDES},
    }  # fmt: skip


def _asked(student: Any, log: Log, drawn: Drawn, encoder: Any) -> Any:
    """Whether each asked row's answer is right."""
    vectors = [np.stack([drawn.vectors[i] for i in drawn.asked])]
    said = student.student([encoder]).score([log.texts[i] for i in drawn.asked], vectors)
    return np.array([answer.text == log.answers[i] for answer, i in zip(said, drawn.asked, strict=True)])


def _copies(agreed: Any, logged: Any, every: int) -> list[Any]:
    """For each made row, a logged one of its label that its prompt showed, in turn; every fifth word is left out."""
    found = []
    for at, row in enumerate(agreed):
        own = [i for i in row.ask.shown if logged.labels[i] == row.answer]
        words = logged.texts[own[at % len(own)]].split()
        left = [word for k, word in enumerate(words) if not every or (k + at) % every] or words
        found.append(replace(row, text=" ".join(left)))
    return found


def _plain(taught: Any, agreed: Any, log: Log, drawn: Drawn, encoder: Any) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression

    asked = np.stack([drawn.vectors[i] for i in drawn.asked])
    true = np.array([log.answers[i] for i in drawn.asked])
    x, y = taught.vectors[0], list(taught.rows.labels)
    more = np.concatenate([x, encoder.embed([row.text for row in agreed])]) if agreed else x
    model = LogisticRegression(C=100.0, max_iter=1000)
    plain = model.fit(x, y).predict(asked) == true
    return {"plain": plain, "plain+": model.fit(more, [*y, *(row.answer for row in agreed)]).predict(asked) == true}


def between(cells: list[dict[str, Any]], one: str, other: str) -> dict[str, Any]:
    """The paired difference, in points: over all asked rows, and over seeds where there are three."""
    from scipy.stats import t

    from freehold.tune.synthetic.value import difference

    a, b = ([np.array([*c["right"][name]]) == "1" for c in cells] for name in (one, other))
    won, lost, n = (sum(int(x) for x in some) for some in (
        [(p & ~q).sum() for p, q in zip(a, b, strict=True)], [(q & ~p).sum() for p, q in zip(a, b, strict=True)],
        [len(p) for p in a]))  # fmt: skip
    over = difference(won, lost, n)
    each = np.array([p.mean() - q.mean() for p, q in zip(a, b, strict=True)])
    said = {"points": _points(each.mean()), "rows": [_points(over.low), _points(over.high)]}
    if len(each) >= 3:
        half = float(t.ppf(0.975, len(each) - 1)) * each.std(ddof=1) / math.sqrt(len(each))
        said["seeds"] = [_points(each.mean() - half), _points(each.mean() + half)]
    return said | {"each": [_points(x) for x in each]}


def _points(x: Any) -> float:
    return round(100.0 * float(x), 2)


def summary(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the cells with as many rows a label."""
    shares = {name: _points(np.mean([c["right"][name].count("1") / c["n"] for c in cells])) for name in SIDES}
    return {
        "seeds": len(cells), "asked": sum(c["n"] for c in cells), "right": shares,
        "kept": [c["counts"]["kept"] for c in cells], "of": cells[0]["counts"]["asked"],
        "helps": sum(c["helps"] for c in cells), "seconds": round(sum(c["teacher_seconds"] for c in cells), 1),
        "differences": {f"{one} - {other}": between(cells, one, other) for one, other in PAIRS},
    }  # fmt: skip


def goals(found: dict[str, Any], enough: bool) -> list[dict[str, Any]]:
    """Decided by the interval over seeds, of the whole full form alone."""
    made = []
    for few, said in found.items():
        for pair in ("with - without", "with - repeats", "with - dropout"):
            d = said["differences"][pair]
            met = d["seeds"][0] > 0 if enough and "seeds" in d else None
            made.append(_run.goal(f"{few} rows a label: {pair}, points", "above 0", d["points"], met))
    return made


def cells_of(form: dict[str, Any], minutes: float) -> list[dict[str, Any]]:
    """Those that were made before, and as many more as the time allows."""
    from freehold.engines.encoder import Encoder

    code = [*sorted((PRODUCT / "synthetic").glob("*.py")), *(PRODUCT / f"{name}.py" for name in STACK), Path(__file__)]
    key = _run.fingerprint(*code, str(form["rows"]))
    made = {(r["seed"], r["few"]): r for r in _run.read_rows(ROWS) if r["key"] == key}
    left = [one for one in wanted(form) if one not in made]
    end = time.monotonic() + 60.0 * minutes
    encoder = Encoder.bundled("bge-small-en", threads=1)
    task, whole = log() if left else (None, None)
    drawn: dict[int, Drawn] = {}
    for seed, few in left:
        if time.monotonic() > end:
            break
        if seed not in drawn:
            drawn = {seed: draw(whole, seed, encoder)}
        made[seed, few] = {"key": key} | cell(task, whole, drawn[seed], few, form["rows"], seed, encoder)
        _run.add_row(ROWS, made[seed, few])
        _tell(made[seed, few])
    return [made[one] for one in wanted(form) if one in made]


def wanted(form: dict[str, Any]) -> list[tuple[int, int]]:
    return [(seed, few) for seed in range(form["seeds"]) for few in form["few"]]


def _tell(row: dict[str, Any]) -> None:
    shares = {name: _points(row["right"][name].count("1") / row["n"]) for name in SIDES}
    _run.say(f"seed {row['seed']}, {row['few']} rows a label: {shares}; {row['value']}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no further cell after so many")
    args = parser.parse_args()
    # scikit-learn says it of two rows a label, in every fit
    warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
    form: dict[str, Any] = FORMS[args.full]
    before = sum(os.times()[:4])
    cells = cells_of(form, args.minutes)
    found = {str(few): summary(some) for few in form["few"] if (some := [c for c in cells if c["few"] == few])}
    whole = len(cells) == len(wanted(form))
    notes = [] if whole else [f"{len(cells)} of {len(wanted(form))} cells: the time was up"]
    cpu = round(sum(os.times()[:4]) - before, 1)
    said = goals(found, args.full and whole)
    return _run.emit("synthetic", full=args.full, n=len(cells), goals=said, result=found, cpu=cpu, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
