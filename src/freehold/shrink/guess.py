"""Would guessing ahead make this student quicker? Tried on the held-back prompts, as the student asks them.

tried(model, adapter, recipe, texts, ...) -> Tried(setting=None, said={"on": False, "why": "n-gram 3 to 8: ..."})
same(before, after)                          whether the student answers every row alike with it

`said` goes into parity.json: acceptance, tokens a second with and without it, the ratio with its interval. `setting`
goes into decoder.json, and is None unless it wins by the margin and changes neither an answer nor a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.engines.decoder import DecoderStudent, Recipe
from freehold.engines.label import TOLERANCE
from freehold.engines.llama.engine import Engine, idle_cores
from freehold.engines.llama.process import Settings
from freehold.engines.llama.speculate import FEWEST, Speculation, speculate
from freehold.errors import BaseUnusable, EngineFailed
from freehold.nouns import Answer
from freehold.tell import Tell

__all__ = ["DRAFT", "SECONDS", "Tried", "same", "tried"]

SECONDS = 30.0  # about how long it may take: after that fewer prompts decide
PROMPTS = 3 * FEWEST
DRAFT = "draft.gguf"  # the draft model's name in the artefact


@dataclass(frozen=True, slots=True)
class Tried:
    setting: Mapping[str, Any] | None
    said: dict[str, Any]


def tried(
    model: Path,
    adapter: Path | None,
    recipe: Recipe,
    texts: Sequence[str],
    *,
    draft: Path | None,
    threads: int | None,
    seconds: float = SECONDS,
    tell: Tell,
) -> Tried:
    """On at most 24 prompts, 8 of which choose the setting. A draft model that can't be used is told, and stops
    nothing: the student is served without it."""
    adapters = () if adapter is None else (adapter,)
    settings = Settings(model, adapters=adapters, context=recipe.context, threads=threads or idle_cores())
    with Engine(settings) as engine:
        student = DecoderStudent(recipe, engine, adapter=None if adapter is None else 0)
        asked = [request for text in texts[:PROMPTS] if (request := student.ask(text)) is not None]
    if len(asked) < 2 * FEWEST:
        return _off(f"It takes {2 * FEWEST} held-back prompts to decide; there are {len(asked)}.")
    try:
        found = speculate(settings, asked, draft=draft, seconds=seconds, tell=tell)
    except (BaseUnusable, EngineFailed) as error:
        return _off(f"It could not be tried: {error.message}")
    return Tried(found.setting if found.on else None, _said(found))


def same(before: Sequence[Answer], after: Sequence[Answer]) -> int:
    """How many answers are the same text with the same score."""
    pairs = zip(before, after, strict=True)
    return sum(a.text == b.text and a.able == b.able and abs(a.score - b.score) <= TOLERANCE for a, b in pairs)


def _off(why: str) -> Tried:
    return Tried(None, {"on": False, "why": why})


def _said(found: Speculation) -> dict[str, Any]:
    tries = [{"setting": _shown(setting), "ratio": ratio} for setting, ratio in found.tried]
    return {
        "on": found.on, "why": found.why, "setting": _shown(found.setting), "acceptance": found.acceptance,
        "with": found.with_it, "without": found.without, "ratio": found.ratio, "same": found.same,
        "scored": found.scored, "n": found.n, "tried": tries,
    }  # fmt: skip


def _shown(setting: Mapping[str, Any]) -> dict[str, Any]:
    """A draft model by the name that it has in the artefact, not by where it lies on this machine."""
    return {**setting, **({"path": DRAFT} if "path" in setting else {})}
