"""The answers to new texts of a task whose answers are written: by the same teacher, shown what was logged.

    text ─the task's own prompt, the nearest logged rows as turns→ teacher, greedy, held to the task's JSON schema → one
         ─the same, with the next nearest rows                   → teacher                                         → two
         → one, where it is whole, has the task's form, holds no private data, and agrees with two by the task's rule

What a teacher answers otherwise as soon as it sees other examples, it does not know (after Wang et al. 2022,
arXiv:2203.11171, where many drawn answers vote).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from freehold.agree import Judge
from freehold.engines.decoder import Examples, Prompt
from freehold.traffic.private import find
from freehold.tune.decoder.fewshot import ENCODER
from freehold.tune.synthetic.ask import Bounds
from freehold.tune.synthetic.made import Counts, Kept, Said
from freehold.tune.synthetic.prompts import SHOWN, shortened
from freehold.tune.synthetic.sift import LONGER, MARKS
from freehold.tune.synthetic.voice import Wanted

__all__ = ["AGREES", "Answering", "Fits", "answered"]

AGREES = "shown other logged rows, the teacher gave the same answer"
Fits = Callable[[str], bool]


@dataclass(frozen=True)
class Answering:
    """How a text is asked about. `shelf` are the rows that may be shown."""

    prompt: Prompt
    shelf: Examples
    schema: dict[str, Any] | None
    bounds: Bounds

    @classmethod
    def of(
        cls, prompt: Prompt, rows: Sequence[tuple[str, str]], schema: dict[str, Any] | None, bounds: Bounds
    ) -> Answering:
        return cls(prompt, Examples.of(rows, ENCODER), schema, bounds)

    def wanted(self, text: str, second: bool) -> Wanted:
        near = self.shelf.near(text, 2 * SHOWN)
        shown = near[:-SHOWN] or near if second else near[-SHOWN:]
        shown = shown[-shortened([len(text) + len(answer) for text, answer in shown]) :]
        stop = self.bounds.stop if self.schema is None else ()
        return Wanted(self.prompt.messages(text, shown), self.bounds.text, stop, schema=self.schema)


def answered(
    kept: Sequence[Kept], said: Sequence[Said], by: Judge, fits: Fits, longest: int, counts: Counts
) -> tuple[list[Kept], Counts]:
    """The rows with their answers. `said`: two of each row in turn, of as many rows as there was time for."""
    counts = replace(counts, kinds=dict(counts.kinds), kept=0)
    pairs = list(zip(said[::2], said[1::2], strict=False))
    counts.late += len(kept) - len(pairs)
    found: list[Kept] = []
    for row, (one, two) in zip(kept, pairs, strict=False):
        if not _whole(one, longest):
            counts.malformed += 1
        elif not (by.agree(one.text, one.text) and fits(one.text)):
            counts.form += 1
        elif kinds := {piece.kind for piece in find(one.text)}:
            counts.private += 1
            for kind in kinds:
                counts.kinds[kind] = counts.kinds.get(kind, 0) + 1
        elif not by.agree(one.text, two.text):
            counts.disagreed += 1
        else:
            found.append(replace(row, answer=one.text, why=AGREES))
    counts.kept = len(found)
    return found, counts


def _whole(said: Said, longest: int) -> bool:
    whole = said.stopped in ("eos", "stop") and bool(said.text.strip())
    return whole and len(said.text) <= LONGER * longest and not MARKS.search(said.text)
