"""A true stand-in for a student: it answers from a dict, and keeps what it was asked.

ScriptedStudent({"where is my parcel": ("order_status", 0.998)}, otherwise=("other", 0.1))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freehold.nouns import Answer

__all__ = ["ScriptedStudent"]


class ScriptedStudent:
    """Answers each text from `script`, else with `otherwise`; a text in neither raises KeyError.

    `asked` lists every text in order. Scores must be in [0, 1], as a real student's are.
    """

    def __init__(self, script: Mapping[str, tuple[str, float]], *, otherwise: tuple[str, float] | None = None) -> None:
        known = [*script.values(), *([otherwise] if otherwise else [])]
        for _, score in known:
            if not 0.0 <= score <= 1.0:
                raise ValueError(f"a score is {score}, which is not in [0, 1]")
        self.script = dict(script)
        self.otherwise = otherwise
        self.asked: list[str] = []

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        self.asked.extend(texts)
        return [Answer(*self._one(text)) for text in texts]

    def _one(self, text: str) -> tuple[str, float]:
        if text in self.script or self.otherwise is None:
            return self.script[text]
        return self.otherwise
