"""The nouns of this room.

Given(rows=400, teacher="smollm2", licence=None, seed=0, keep=False, weight=None)       what a person says
Ask(number=7, label="refund", fold=3, shown=(12, 40), seed=2)      one row that a teacher is asked for
Said(text="i want my money back", stopped="eos", seconds=0.2)      what it said
Kept(ask, text, answer, why="the student without it gives the same answer")
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import msgspec

from freehold.errors import BadSetting
from freehold.nouns import Measure, Task

__all__ = ["Ask", "Counts", "Given", "Kept", "Said", "Value", "check", "row_id"]

TEXT_ALONE = ("not answered in time", "whose answer has not the task's form")


@dataclass(frozen=True, slots=True)
class Given:
    """`rows` are asked for. `licence`: what the teacher is said to be under. `keep`: the rows stay even where no help
    is seen. `weight`: of one of them in a decoder's loss, beside 1 of a logged row."""

    rows: int
    teacher: str | None = None
    seed: int = 0
    keep: bool = False
    licence: str | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """`shown` are numbers of logged rows, all of the fold `fold`, those of the label last. `label` is the answer that
    a text is asked for."""

    number: int
    label: str
    fold: int
    shown: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Said:
    """As the engine wrote it."""

    text: str
    stopped: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    ask: Ask
    text: str
    answer: str
    why: str


@dataclass(slots=True)
class Counts:
    """What became of the rows asked for."""

    asked: int = 0
    malformed: int = 0
    private: int = 0
    held_out: int = 0
    duplicates: int = 0
    disagreed: int = 0
    kept: int = 0
    form: int = 0
    late: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    def words(self) -> str:
        """Without those kinds of a text task that there are none of."""
        parts = (
            (self.malformed, "malformed"),
            (self.private, "with private data"),
            (self.held_out, "too near to a held-out call"),
            (self.duplicates, "duplicates"),
            (self.late, "not answered in time"),
            (self.form, "whose answer has not the task's form"),
            (self.disagreed, "not agreed with"),
            (self.kept, "kept"),
        )
        said = (f"{n:,} {what}" for n, what in parts if n or what not in TEXT_ALONE)
        return f"{self.asked:,} asked: " + ", ".join(said)


class Value(msgspec.Struct, frozen=True):
    """The student with and without the rows, on the same `with_.n` logged rows that neither learnt from."""

    with_: Measure
    without: Measure
    difference: Measure
    only_with: int
    only_without: int

    @property
    def helps(self) -> bool:
        return (self.difference.low or 0.0) > 0.0

    def words(self, what: str = "logged rows") -> str:
        d, n = self.difference, self.with_.n
        if d.value is None or self.with_.value is None or self.without.value is None:
            return f"too few {what} to measure what they do"
        shares = f"right with them {self.with_.value:.1%}, without {self.without.value:.1%} of {n:,} {what}"
        return f"{shares}: {d.value:+.1%} ({d.low:+.1%} to {d.high:+.1%})"


def row_id(text: str, answer: str) -> str:
    """Names a logged row without showing it."""
    return hashlib.sha256(msgspec.json.encode([text, answer])).hexdigest()[:16]


def check(given: Given, task: Task, kind: str = "auto", **other: object) -> None:
    """Raises BadSetting for what can't be asked."""
    if given.rows < 1:
        raise BadSetting(f"--synthetic is {given.rows}.", "Give how many rows to ask for, 1 or more.")
    if given.seed < 0:
        raise BadSetting(f"--seed is {given.seed}.", "Give 0 or more.")
    if given.weight is not None and not 0 < given.weight <= 1:
        raise BadSetting(f"--synthetic-weight is {given.weight}.", "Give more than 0, and at most 1.")
    if given.weight is not None and (task.kind, kind) == ("labels", "auto"):
        raise BadSetting(f"--synthetic-weight is for decoders, and {task.name} is a label task.", "Leave it out.")
    if task.kind in ("json", "tools") and kind == "auto":
        raise BadSetting(
            f"--synthetic teaches a decoder, and {task.name} is tried as a tagger first, which copies from the text.",
            "Say which is meant: --kind decoder.",
        )
    if kind == "extract":
        raise BadSetting(f"Both --synthetic and --kind {kind} are given.", "Leave one of them out.")
    if task.reads:
        raise BadSetting(f"{task.name} also reads {', '.join(task.reads)}, which no teacher can make.", "Leave it out.")
    both = next((name for name, value in other.items() if value is not None), None)
    if both is not None:
        raise BadSetting(f"Both --synthetic and --{both} are given.", "Give one of them.")
