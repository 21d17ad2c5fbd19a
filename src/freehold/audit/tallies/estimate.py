"""Tokens of a call whose log doesn't say: an estimate from its text, with how far it may be off.

text ──bytes──→ a weight for each class of byte (letter, space, digit, mark, ideograph, ...) ──sum──→ tokens
                     data/token_weights.json: fitted to real vocabularies, error measured by kind of text
                                          x  ratio: counted / estimated over this log's own calls that were counted

The ratio (Cochran, Sampling Techniques, 3rd ed., 6.1) takes in what a text doesn't show: how tools are written out,
another vocabulary, hidden reasoning. It holds as far as the uncounted calls are like the counted ones of their model.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import msgspec

from freehold import wire
from freehold.facts import load
from freehold.nouns import Call, Tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FEATURES", "Estimator", "Ratio", "calibrate", "features"]

CLASSES: dict[str, tuple[range, ...]] = {
    "space": (range(9, 10), range(32, 33)),
    "lower": (range(97, 123),),
    "upper": (range(65, 91),),
    "digit": (range(48, 58),),
    "line": (range(10, 11), range(13, 14)),
    "accent": (range(0xC0, 0xC6),),  # first bytes of UTF-8: Latin with accents
    "letter": (range(0xC6, 0xE0),),  # Greek, Cyrillic, Hebrew, Arabic
    "indic": (range(0xE0, 0xE2),),  # the scripts of India and South-East Asia
    "ideograph": (range(0xE3, 0xF0),),  # Chinese, Japanese, Korean
    "other": (range(0xE2, 0xE3), range(0xF0, 0x100)),  # signs, emoji
    "rest": (range(0x80, 0xC0),),  # the further bytes of a character: no weight
}
"""Which bytes are alike; what is in none is a mark: , . { } and control characters."""
FEATURES = (*(name for name in CLASSES if name != "rest"), "mark", "indent")
"""Every class, and pairs of spaces: an indent is few tokens."""
ENOUGH = 30
Z95 = 1.96
SHORT = 4096
SPOKEN = ("tools", "functions", "response_format")
"""Request fields that the model reads as part of the prompt."""


def features(text: str) -> tuple[int, ...]:
    """How many bytes of each class a text has, in the order of FEATURES."""
    data = text.encode("utf-8", "replace")
    kinds = data.translate(_classes())
    indent = data.count(b"  ")
    counts = [kinds.count(i) for i, name in enumerate(CLASSES) if name != "rest"]
    counts[0] -= 2 * indent
    return (*counts, kinds.count(len(CLASSES)), indent)


@cache
def _classes() -> bytes:
    table = bytearray([len(CLASSES)] * 256)
    for i, ranges in enumerate(CLASSES.values()):
        for byte in (byte for span in ranges for byte in span):
            table[byte] = i
    return bytes(table)


class Family(msgspec.Struct, frozen=True):
    """One vocabulary's weights. `error` is how far a log may be off that is all of one kind of text: as far as one text
    in twenty of the worst kind. `spread` is the standard deviation of one text."""

    models: str
    weights: dict[str, float]
    error: float
    spread: float


@cache
def _families() -> tuple[Family, ...]:
    return tuple(
        Family(row["models"], dict(row["weights"]), row["error"], row["spread"]) for row in load("token_weights.json")
    )


@lru_cache(4096)
def _family(model: str) -> int:
    """Which row of data/token_weights.json a model is counted by; the last one is for models of no known vocabulary."""
    name = model.strip().lower()
    return next(i for i, family in enumerate(_families()) if re.search(family.models, name))


@cache
def _table(family: int) -> tuple[NDArray[np.float64], float]:
    """A weight for each byte, and what a pair of spaces weighs beside two single ones."""
    import numpy as np

    weights: Mapping[str, float] = _families()[family].weights
    names = [*CLASSES, "mark"]
    table = np.array([weights.get(names[kind], 0.0) for kind in _classes()])
    return table, weights["indent"] - 2 * weights["space"]


def _weigh(text: str, family: int) -> float:
    table, indent = _table(family)
    data = text.encode("utf-8", "replace")
    if data.isascii():  # the same sum, class by class: three times as fast
        total = _ascii(data, family)
    else:
        import numpy as np

        total = float(table.take(np.frombuffer(data, np.uint8)).sum())
    return total + indent * data.count(b"  ")


_again = lru_cache(2048)(_weigh)
"""For what is sent again and again: system messages, tools."""


def _ascii(data: bytes, family: int) -> float:
    weights = _families()[family].weights
    total, left = 0.0, data
    for name, members in _members():
        rest = left.translate(None, members)
        total += weights[name] * (len(left) - len(rest))
        left = rest
    return total + weights["mark"] * len(left)


@cache
def _members() -> tuple[tuple[str, bytes], ...]:
    """The ASCII classes, the most frequent in text first."""
    names = ("lower", "space", "upper", "digit", "line")
    return tuple((name, bytes(byte for span in CLASSES[name] for byte in span)) for name in names)


class Ratio(msgspec.Struct, frozen=True):
    """Counted over estimated tokens of one model's calls. `error` is the half width of the ratio's 95 % interval,
    `spread` the standard deviation of one call, both relative; the larger of prompt's and completion's."""

    prompt: float = 1.0
    completion: float = 1.0
    calls: int = 0
    error: float = 0.0
    spread: float = 0.0


class Estimator(msgspec.Struct, frozen=True):
    """Estimates tokens: by model, with the ratios found in the log. Picklable, and made once before a log is cut."""

    ratios: dict[str, Ratio] = {}

    def tokens(self, call: Call) -> Tokens | None:
        """An estimate for a call that was answered in text; None where that isn't so, where the log doesn't hold what
        was asked, or where pictures or sound were sent. Nothing is taken to have been cached."""
        raw = _raw(call)
        if raw is None:
            return None
        ratio = self.ratios.get(call.model, PLAIN)
        return Tokens(max(1, round(raw[0] * ratio.prompt)), round(raw[1] * ratio.completion))

    def off(self, models: Iterable[str], calls: int) -> float:
        """How far the sum over so many estimated calls may be off, relative, at 95 %: the worst of these models'. For a
        model without a ratio of its own it is what was measured over kinds of text."""
        worst = 0.0
        for model in models:
            ratio, family = self.ratios.get(model), _families()[_family(model)]
            error, spread = (ratio.error, ratio.spread) if ratio else (family.error, family.spread)
            worst = max(worst, math.hypot(error, Z95 * spread / math.sqrt(max(1, calls))))
        return worst

    def method(self, models: Iterable[str]) -> str:
        """How the estimates were made, for a Measure."""
        named = sorted(set(models))
        known = sum(self.ratios[model].calls for model in named if model in self.ratios)
        if known and all(model in self.ratios for model in named):
            return f"by text, at the ratio of {known:,} counted calls of the same models"
        rest = f"; {known:,} counted calls set the ratio where they can" if known else ""
        return f"by text, at weights fitted to public vocabularies{rest}"


PLAIN = Ratio()


def calibrate(calls: Iterable[Call]) -> Estimator:
    """The estimator for a log, from those of its calls that were counted (a sample of them does)."""
    pairs: defaultdict[str, list[tuple[float, float, int, int]]] = defaultdict(list)
    for call in calls:
        if call.tokens is not None and call.answered_by == "upstream" and (raw := _raw(call)) is not None:
            pairs[call.model].append((*raw, call.tokens.prompt, call.tokens.completion))
    return Estimator({model: _ratio(found) for model, found in sorted(pairs.items()) if len(found) >= ENOUGH})


def _ratio(pairs: list[tuple[float, float, int, int]]) -> Ratio:
    prompt = _one([(raw, count) for raw, _, count, _ in pairs])
    written = _one([(raw, count) for _, raw, _, count in pairs])
    return Ratio(prompt[0], written[0], len(pairs), max(prompt[1], written[1]), max(prompt[2], written[2]))


def _one(pairs: list[tuple[float, int]]) -> tuple[float, float, float]:
    """Ratio of sums, the half width of its 95 % interval over it, and the spread of one call over the mean."""
    n, total, counted = len(pairs), math.fsum(raw for raw, _ in pairs), sum(count for _, count in pairs)
    if not total or not counted:
        return (0.0 if total else 1.0), 0.0, 0.0
    ratio = counted / total
    spread = math.sqrt(math.fsum((count - ratio * raw) ** 2 for raw, count in pairs) / (n - 1)) / (counted / n)
    return ratio, Z95 * spread / math.sqrt(n), spread


def _raw(call: Call) -> tuple[float, float] | None:
    """Tokens read and written by weight alone."""
    if call.error or wire.unseen(call):
        return None
    family = _family(call.model)
    answer = "" if call.endpoint == "embeddings" else call.answer
    if answer is None:
        answer = wire.answer(call, "tools")
    read = [_words(message.get("content")) for message in call.messages]
    if answer is None or None in read:
        return None
    said = [wire.dumps(call.params[name]).decode() for name in SPOKEN if name in call.params]
    said += [wire.dumps(message["tool_calls"]).decode() for message in call.messages if message.get("tool_calls")]
    per_message, per_call = _overhead() if call.endpoint not in ("embeddings", "completions") else (0.0, 0.0)
    prompt = sum(
        (_again if i == 0 and len(text) < SHORT else _weigh)(text, family)
        for i, text in enumerate((*read, *said))
        if text
    )
    prompt += per_message * len(read) + per_call
    return prompt, _weigh(answer, family) if answer else 0.0


@cache
def _overhead() -> tuple[float, float]:
    """Tokens that a chat adds for each message (with its role) and each call."""
    row = load("token_weights.json")[0]
    return float(row["per_message"]), float(row["per_call"])


def _words(content: object) -> str | None:
    """A message's text, "" for none; None where it holds more than text."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return None
    parts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "\n".join(parts) if all(isinstance(part, str) for part in parts) else None  # type: ignore[arg-type]
