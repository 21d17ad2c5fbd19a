"""Fit an extraction student: what `tune` calls.

texts, answers ─understand→ Form, rows ─train on nine tenths→ weights ─export→ int8, or float where int8 loses
                                      └─held back (whole groups)→ answers of what will be served ─learn→ score, prior
fit(...) -> Fitted(files, prior_scores, prior_ok, recipe)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.engines.extract.read import Read, Reader
from freehold.engines.extract.student import FILES, VERSION, ExtractStudent
from freehold.engines.label import encode_checks, encode_prior
from freehold.errors import NothingToLearn
from freehold.fit import refuse, tagging
from freehold.tell import Tell, quiet
from freehold.tune.extract.answers import Parsed, parse_all, style_of
from freehold.tune.extract.confidence import learn
from freehold.tune.extract.export import export
from freehold.tune.extract.fields import BUDGET, NotExtractable
from freehold.tune.extract.plan import BATCH, BATCH_TOKENS, MINUTES, plan
from freehold.tune.extract.start import Start, start_of
from freehold.tune.extract.train import examples_of, train
from freehold.tune.extract.understand import LEFT_OUT, Understood, understand
from freehold.tune.precision import faster

__all__ = ["Fitted", "NotExtractable", "fit", "recipe_of"]

CHECKS = 64
HELD_BACK, LEAST_HELD, MOST_HELD = 0.09, 20, 900  # share of the rows, at least, at most
LEAST = 60  # rows
TOO_LONG = 0.5  # share of the texts that may be longer than the encoder reads: they go up, always
UNPARSED = 0.05  # share of the answers that may be no JSON: they are left out


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """`files` of the artefact, prior and checks included; the prior is on rows that the served form never saw."""

    files: dict[str, bytes]
    prior_scores: npt.NDArray[np.float64]
    prior_ok: npt.NDArray[np.bool_]
    recipe: dict[str, Any]
    student: ExtractStudent
    base: Start


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows that were read and parsed: their number in the fit, [n] each."""

    at: list[int]
    reads: list[Read]
    parsed: list[Parsed]


def fit(
    texts: Sequence[str],
    answers: Sequence[str],
    *,
    groups: npt.NDArray[np.int64],
    base: Path | str | None = None,
    seed: int = 0,
    minutes: float | None = None,
    tell: Tell = quiet,
) -> Fitted:
    """`groups` [n]: near-duplicates' group numbers. Raises NotExtractable, NothingToLearn, MissingExtra,
    TooLittleMemory, TrainingFailed."""
    start = start_of(base)
    tell("read the answers")
    rows, understood, counts = _understood(texts, answers, start)
    groups = np.asarray(groups)[rows.at]
    held = _held_back(groups, seed)
    learned = [i for i, row in enumerate(understood.rows) if row is not None and not held[i]]
    examples = examples_of(
        understood.form, [rows.reads[i] for i in learned], [r for i in learned if (r := understood.rows[i]) is not None]
    )
    dtype, measured = faster(start.width, 4 * start.width)
    bf16 = dtype == "bfloat16"
    size = {"rows": len(examples), "tokens": sum(len(e.read.ids) for e in examples)}
    how = plan(minutes or MINUTES, **size, per_token=start.per_token, width=start.width, bf16=bf16)
    tell(f"{measured}; {how.why}")
    if how.rows < len(examples):
        some = np.random.default_rng(seed).permutation(len(examples))[: how.rows]
        examples = [examples[i] for i in sorted(some.tolist())]
    _fits(start, max(len(e.read.ids) for e in examples), bf16)
    trained = train(start, understood.form, examples, how, bf16=bf16, seed=seed, tell=tell)
    words = tuple(sorted({e.read.text[a:b].lower() for e in examples for a, b in e.read.places}))
    back = [i for i in range(len(held)) if held[i]]
    tell("export, and ask the held-back rows")
    exported = export(
        start, understood.form, trained, words, [rows.reads[i] for i in back], [rows.parsed[i] for i in back]
    )
    tell(exported.why)
    score, prior = learn(exported.features, exported.ok, groups[held], seed)
    prior = np.where(exported.able, prior, 0.0)
    about = msgspec.json.encode(msgspec.structs.replace(exported.about, score=score))
    files = exported.files | {"student.json": about}
    student = ExtractStudent.read(*(files[name] for name in FILES))
    checks = [rows.reads[i].text for i, able in zip(back, exported.able, strict=True) if able][:CHECKS]
    files |= {"prior.safetensors": encode_prior(prior, exported.ok)}
    files |= {"checks.json": encode_checks(checks, student.answers(checks))}
    recipe = {
        **recipe_of(start, seed, minutes),
        **counts,
        **size,
        "held_back": len(back),
        "arithmetic": dtype,
        "rows_used": how.rows,
        "epochs": how.epochs,
        "rate": how.rate,
        "why": how.why,
        "loss": [round(loss, 5) for loss in trained.losses],
        "export": exported.why,
        "right_of_held_back": round(float(exported.ok.mean()), 4),
    }
    return Fitted(files, prior, exported.ok, recipe, student, start)


def _fits(start: Start, longest: int, bf16: bool) -> None:
    """Raises TooLittleMemory, before the training."""
    need = tagging(
        sum(w.size for w in start.weights.values()),
        hidden=start.width,
        layers=start.shape.layers,
        heads=start.shape.heads,
        tokens=min(BATCH_TOKENS, longest * BATCH),
        longest=longest,
        width=2 if bf16 else 4,
    )
    refuse(need, "Tuning the tagger", hint="Take a smaller encoder, or a machine with more memory.")


def recipe_of(start: Start, seed: int, minutes: float | None) -> dict[str, Any]:
    """What decides a fit, given its rows: the part of the recipe that is known before it."""
    return {
        "student": f"extract {VERSION}",
        "base": {"name": start.name, "sha256": start.sha256},
        "minutes": minutes or MINUTES,
        "seed": seed,
    }


def _understood(texts: Sequence[str], answers: Sequence[str], start: Start) -> tuple[_Rows, Understood, dict[str, int]]:
    """Rows that can be read and parsed, in the first way that leaves few out (whole words before pieces of words,
    copied fields before labels), else in the one that leaves fewest."""
    parsed = parse_all(answers)
    style = style_of(answers, parsed)
    best: tuple[_Rows, Understood] | None = None
    refused: NotExtractable | None = None
    for pieces, few in ((False, False), (False, True), (True, False), (True, True)):
        rows, long = _readable(texts, parsed, Reader(start.tokenizer, most=start.most, pieces=pieces))
        _enough(rows, parsed, long, start.most)
        try:
            found = understand(rows.reads, rows.parsed, style, pieces=pieces, few=few)
        except NotExtractable as error:
            refused = refused or error
            continue
        if best is None or found.left_out < best[1].left_out:
            best = rows, found
        if found.left_out <= BUDGET * len(rows.at):
            break
    if best is None:
        assert refused is not None
        raise refused
    rows, understood = best
    if understood.left_out > LEFT_OUT * len(rows.at):
        raise NotExtractable(
            f"{understood.left_out:,} of {len(rows.at):,} answers ({understood.left_out / len(rows.at):.1%}) can't be "
            f"put together from their input, more than {LEFT_OUT:.0%}.",
            "Such a task needs a student that writes.",
        )
    counts = {"not_parsed": parsed.count(None), "too_long": long, "left_out": understood.left_out}
    return rows, understood, counts


def _readable(texts: Sequence[str], parsed: Sequence[Parsed | None], reader: Reader) -> tuple[_Rows, int]:
    """The rows whose text is read whole and whose answer is JSON; and how many texts are too long."""
    reads = reader.read_all(texts)
    both = [(i, r, p) for i, (r, p) in enumerate(zip(reads, parsed, strict=True)) if r is not None and p is not None]
    rows = _Rows([i for i, _, _ in both], [r for _, r, _ in both], [p for _, _, p in both])
    return rows, reads.count(None)


def _enough(rows: _Rows, parsed: Sequence[Parsed | None], long: int, most: int) -> None:
    bad = parsed.count(None)
    if bad > UNPARSED * len(parsed):
        raise NotExtractable(
            f"{bad:,} of {len(parsed):,} answers ({bad / len(parsed):.1%}) are no JSON object or list of objects.",
            "Such a task needs a student that writes.",
        )
    if long > TOO_LONG * len(parsed):
        raise NotExtractable(
            f"{long:,} of {len(parsed):,} texts ({long / len(parsed):.1%}) are longer than the {most} tokens that the "
            "encoder reads.",
            "Such a task needs a student that writes.",
        )
    if len(rows.at) < LEAST:
        raise NothingToLearn(
            f"{len(rows.at)} calls have a JSON answer and a text that can be read whole; a tagger needs {LEAST}.",
            "Collect more calls.",
        )


def _held_back(groups: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.bool_]:
    """Whole groups, drawn by the seed, until a share of the rows is reached."""
    wanted = int(np.clip(HELD_BACK * len(groups), LEAST_HELD, MOST_HELD))
    numbers = np.unique(groups)
    sizes = {int(g): int(n) for g, n in zip(*np.unique(groups, return_counts=True), strict=True)}
    chosen: set[int] = set()
    count = 0
    for g in np.random.default_rng(seed).permutation(numbers).tolist():
        if count + sizes[g] <= 2 * wanted and count < wanted:
            chosen.add(g)
            count += sizes[g]
    if not chosen:
        raise NothingToLearn("Nearly all calls of the task ask the same text.", "Collect calls with different texts.")
    return np.isin(groups, list(chosen))
