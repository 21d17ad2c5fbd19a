"""The rows that the gate measures on: what the tuning held back, which no fit has seen.

    own.json {"texts": [...], "answers": [...]} ─→ Row(text, answer, prompt=[1, 9690, ...], said=[11853, 2], first=41)

`first` is where a row's text stops being that of the row before: what all prompts share is measured once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from freehold.errors import ArtifactDamaged, HopRefused
from freehold.nouns import Message
from freehold.shrink.reference import Reference

__all__ = ["Own", "Row", "read_own", "rows_of"]

FEWEST = 10


class Own(msgspec.Struct, frozen=True):
    """own.json."""

    texts: list[str]
    answers: list[str]


@dataclass(frozen=True, slots=True)
class Row:
    text: str
    answer: str
    prompt: list[int]
    said: list[int]
    first: int

    @property
    def ids(self) -> list[int]:
        """Prompt and logged answer, without the end token: nothing follows it."""
        return [*self.prompt, *self.said[:-1]]


def read_own(folder: Path) -> Own:
    """Raises ArtifactDamaged."""
    try:
        own = msgspec.json.decode((folder / "own.json").read_bytes(), type=Own)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ArtifactDamaged(f"{folder}/own.json can't be read: {error}.", "Tune again.") from error
    if len(own.texts) != len(own.answers):
        raise ArtifactDamaged(
            f"{folder}/own.json has {len(own.texts)} texts, {len(own.answers)} answers.", "Tune again."
        )
    return own


def rows_of(
    own: Own, reference: Reference, messages: Callable[[str], list[Message]], *, context: int, most: int
) -> list[Row]:
    """At most `most` rows that fit the context. Raises HopRefused where too few are left to measure on."""
    pairs = [
        (text, answer, reference.ids(messages(text)), reference.said(answer))
        for text, answer in zip(own.texts, own.answers, strict=True)
    ]
    fitting = [pair for pair in pairs if len(pair[2]) + len(pair[3]) <= context][:most]
    if len(fitting) < FEWEST:
        raise HopRefused(
            f"Only {len(fitting)} held-back rows fit the context of {context} tokens; it takes {FEWEST} to measure.",
            "Give the task more calls, or a larger context.",
        )
    shared = _shared([prompt for _, _, prompt, _ in fitting])
    return [Row(*pair, first=shared if i else 0) for i, pair in enumerate(fitting)]


def _shared(prompts: Sequence[list[int]]) -> int:
    """How many leading ids all prompts have in common, less one: what follows the last of them differs."""
    low, high = min(prompts), max(prompts)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return max(0, same - 1)
