"""The word that everything here speaks: a piece of private data in a text, and what finds such pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Found", "Recogniser"]


@dataclass(frozen=True, slots=True)
class Found:
    """One piece of private data: text[start:end]."""

    kind: str
    start: int
    end: int


class Recogniser(Protocol):
    """Finds private data in a text: by rules, or by a model in a local folder."""

    def find(self, text: str, /) -> list[Found]:
        """The pieces in the text's order; they don't overlap."""
        ...
