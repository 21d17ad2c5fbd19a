"""The parity gate: what each format costs, hop by hop, measured on the team's own rows.

    HF base + adapter ─merge→ HF ─write→ GGUF F32 ─quantise→ GGUF Q4_K_M, Q8_0, BF16 ─serve→ the student's answers
         merged()              float32()                      format()                        served() in served.py

    expect(reference, rows, ...) -> Expected     once: greedy answers, margins, logits at about 1,000 positions, on disk
    measure(expected, engine)    -> Seen         a format: KL, top-1, which greedy answers change and where

A greedy answer is the same where the format's likeliest token, read along the reference's own answer, is the
reference's at each position: one reading instead of writing it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.errors import HopRefused
from freehold.project import write_atomic
from freehold.project.storage import guarded
from freehold.shrink.budgets import LARGEST_LOGIT, POSITIONS
from freehold.shrink.damage import Damage, divergence, margins
from freehold.shrink.reference import Reference
from freehold.shrink.rows import Row
from freehold.tell import Tell

__all__ = ["Changed", "Engine", "Expected", "Seen", "expect", "float32", "measure", "merged", "same_ids"]

Floats = npt.NDArray[np.float32]
SHOWN = 200  # characters of a row that an error may show
PIECE = 3  # rows on which the merge is checked


class Engine(Protocol):
    """What the gate asks of llama.cpp: engines/llama/forced.py."""

    def ids(self, text: str, /) -> list[int]: ...
    def logits(self, ids: Sequence[int], first: int = 0) -> Floats: ...
    def greedy(self, ids: Sequence[int], most: int) -> list[int]: ...


class Answered(msgspec.Struct, frozen=True):
    """The reference's greedy answer to a row, and the difference of its two likeliest tokens at each position."""

    greedy: list[int]
    margins: list[float]


class Expected(msgspec.Struct, frozen=True):
    """What the reference says. The logits of the first `deep` rows lie in reference.f32, one after another."""

    key: str
    vocabulary: int
    deep: int
    positions: int
    answered: list[Answered]
    unsure: list[int]


@dataclass(frozen=True, slots=True)
class Changed:
    """A row whose greedy answer turns: at which token of the answer, and how sure the reference was of it."""

    row: int
    at: int
    margin: float


@dataclass(frozen=True, slots=True)
class Seen:
    damage: Damage
    largest: float
    changed: tuple[Changed, ...]
    rows: int


def merged(reference: Reference, rows: Sequence[Row]) -> float:
    """Merge the adapter, and give the largest difference of a logit that it makes. Raises HopRefused."""
    before = [reference.unmerged(row.ids) for row in rows[:PIECE]]
    reference.merge()
    worst = 0.0
    for row, logits in zip(rows, before, strict=False):
        gap = float(np.abs(reference.logits(row.ids) - logits).max())
        worst = max(worst, gap)
        if gap > LARGEST_LOGIT or not np.isfinite(gap):
            raise HopRefused(
                f"Merging the adapter changes a logit by {gap:.2g} (allowed: {LARGEST_LOGIT:g}), first at: "
                f"{row.text[:SHOWN]!r}.",
                "Keep it as an adapter: --form adapter",
            )
    return worst


def same_ids(reference: Reference, rows: Sequence[Row], ids: Callable[[str], list[int]], prompt: Callable[[Row], str],
             who: str) -> int:  # fmt: skip
    """How many prompts and answers give the same ids; all of them, or HopRefused with the first that does not."""
    for row in rows:
        for text, wanted in ((prompt(row), row.prompt), (row.answer, row.said[:-1])):
            found = ids(text)
            if found != wanted:
                at = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), 0)
                raise HopRefused(
                    f"{who} reads other ids than the tuning did, from the {at + 1}th on ({found[at : at + 4]} for "
                    f"{wanted[at : at + 4]}): {reference.words(wanted[max(0, at - 8) : at + 24])[:SHOWN]!r}.",
                    "The tokenizer can't be written as GGUF here; use another base.",
                )
    return 2 * len(rows)


def expect(
    reference: Reference, engine: Engine, rows: Sequence[Row], folder: Path, key: str, *, most: int, tell: Tell
) -> Expected:
    """Have the reference read every row, and keep what it says in `folder`; what is there of the same key is used.

    A logged answer that the reference would give itself is its greedy answer. For other rows the float32 engine writes
    it, and the reference reads along: `unsure` are rows where the two differ at a margin above LARGEST_LOGIT.
    """
    known = _known(folder, key)
    if known is not None:
        return known
    answered: list[Answered] = []
    unsure: list[int] = []
    positions, deep = 0, 0
    reference.share(rows[-1].prompt[: rows[-1].first])
    (folder / "reference.json").unlink(missing_ok=True)  # it speaks of the file that is written anew
    path = folder / "reference.f32"
    with guarded(path), path.open("wb") as file:
        for i, row in enumerate(rows):
            tell("read along in float32", i / len(rows))
            start = len(row.prompt) - 1
            first = row.first if positions < POSITIONS else start
            logits = reference.logits(row.ids, first)
            if positions < POSITIONS:
                file.write(np.ascontiguousarray(logits).tobytes())
                positions, deep = positions + len(logits), i + 1
            tail, greedy = logits[start - first :], row.said
            if not np.array_equal(tail.argmax(1), row.said):
                greedy = engine.greedy(row.prompt, most)
                tail = reference.logits([*row.prompt, *greedy[:-1]], start)
                sure = margins(tail) > LARGEST_LOGIT
                if (sure & (tail.argmax(1) != np.asarray(greedy))).any():
                    unsure.append(i)
            answered.append(Answered(greedy, margins(tail).tolist()))
    tell("read along in float32", 1.0)
    found = Expected(key, logits.shape[1], deep, positions, answered, unsure)
    write_atomic(folder / "reference.json", msgspec.json.encode(found))
    return found


def _known(folder: Path, key: str) -> Expected | None:
    path = folder / "reference.json"
    if not path.is_file():
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Expected)
        size = (folder / "reference.f32").stat().st_size
    except (msgspec.MsgspecError, OSError):
        return None  # half-done work: it is done again
    return found if found.key == key and size == 4 * found.positions * found.vocabulary else None


def measure(expected: Expected, engine: Engine, rows: Sequence[Row], folder: Path, what: str, *, tell: Tell) -> Seen:
    """Read every row in one format."""
    kept = np.memmap(folder / "reference.f32", np.float32, "r", shape=(expected.positions, expected.vocabulary))
    kl: list[npt.NDArray[np.float64]] = []
    same: list[npt.NDArray[np.bool_]] = []
    changed: list[Changed] = []
    at, largest = 0, 0.0
    for i, (row, answered) in enumerate(zip(rows, expected.answered, strict=True)):
        tell(f"measure {what}", i / len(rows))
        start, tail = len(row.prompt) - 1, None
        if i < expected.deep:
            logits = engine.logits(row.ids, row.first)
            wanted = np.asarray(kept[at : at + len(logits)])
            at += len(logits)
            gap, agree = divergence(wanted, logits)
            kl.append(gap)
            same.append(agree)
            largest = max(largest, float(np.abs(wanted - logits).max()))
            tail = logits[start - row.first :]
        if tail is None or answered.greedy != row.said:
            tail = engine.logits([*row.prompt, *answered.greedy[:-1]], start)
        turned = np.flatnonzero(tail.argmax(1) != np.asarray(answered.greedy))
        if len(turned):
            changed.append(Changed(i, int(turned[0]), answered.margins[int(turned[0])]))
    tell(f"measure {what}", 1.0)
    return Seen(Damage.of(kl, same), largest, tuple(changed), len(rows))


def float32(expected: Expected, seen: Seen, reference: Reference, rows: Sequence[Row]) -> None:
    """The F32 hop: raises HopRefused where a logit moves by more than LARGEST_LOGIT, or an answer of which the
    reference is surer than that."""
    if seen.largest > LARGEST_LOGIT or not np.isfinite(seen.largest):
        raise HopRefused(
            f"As GGUF in float32 a logit is {seen.largest:.2g} off transformers'; {LARGEST_LOGIT:g} is allowed.",
            "The model can't be written as GGUF here; use another base.",
        )
    turned = [c.row for c in seen.changed if c.margin > LARGEST_LOGIT] + expected.unsure
    if turned:
        row = rows[turned[0]]
        raise HopRefused(
            f"As GGUF in float32 the answer to {row.text[:SHOWN]!r} differs from transformers', which gives "
            f"{reference.words(expected.answered[turned[0]].greedy)[:SHOWN]!r}.",
            "The model can't be written as GGUF here; use another base.",
        )
