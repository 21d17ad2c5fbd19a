"""Shapes that a model may have: one number, the width, and all else follows; what a person said stands.

    width      64   96   128   160   192   224   256 ... 512   576 ... 1024   1152 ...
    layers      2    2     2     3     3     4     4 ...   8     9 ...   16     18     a layer for each 64 of width
    heads      width / 32, from 512 on width / 64         inner  8/3 width; an expert's is its share of it

complete({"layers": 4, "width": 128}, ...) -> Shape(4, 128, inner=384, heads=4, ...)       rungs(...) -> the ladder
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

from freehold.errors import BadSetting
from freehold.train.nouns import Shape

__all__ = ["A_LAYER", "CHOSEN", "EXPERTS", "complete", "rungs"]

A_LAYER = 64  # of width
LEAST_LAYERS = 2
EXPERTS, CHOSEN = 8, 2
INNER, BLOCK = 8 / 3, 64  # half of such an inner still falls into the blocks of 32 that quantised files have
LARGE = 512  # the width from which heads are of 64
MOST = 1 << 20  # of any one number: more is a slip of the hand


def rungs(given: Mapping[str, Any], **fixed: Any) -> Iterator[Shape]:
    """From the smallest on, without end; a single one where the width, or the depth, is given. `fixed`: vocabulary,
    context, moe. Raises BadSetting."""
    if "width" in given or "layers" in given:
        yield complete(given, **fixed)
        return
    for width in _widths():
        yield complete({**given, "width": width}, **fixed)


def _widths() -> Iterator[int]:
    width = 64
    for _ in count():
        yield width
        width += 32 if width < 512 else 64 if width < 1024 else 128


def complete(given: Mapping[str, Any], *, vocabulary: int, context: Callable[[int], int], moe: bool) -> Shape:
    """What is given, and the rest by rule; `context` of a width. Raises BadSetting where numbers can't go together."""
    width = given.get("width", A_LAYER * given.get("layers", LEAST_LAYERS))
    experts = given.get("experts", EXPERTS if moe else 0)
    chosen = given.get("chosen", min(CHOSEN, experts))
    heads = given.get("heads", given.get("kv_heads") or _heads(width))
    shape = Shape(
        layers=given.get("layers", max(LEAST_LAYERS, -(-width // A_LAYER))),
        width=width,
        inner=given.get("inner", _inner(width) // max(1, chosen)),
        heads=heads,
        kv_heads=given.get("kv_heads", heads),
        context=given.get("context", context(width)),
        vocabulary=vocabulary,
        experts=experts,
        chosen=chosen,
        tied=given.get("tied", True),
    )
    _possible(shape)
    return shape


def _inner(width: int) -> int:
    return BLOCK * -(-round(INNER * width) // BLOCK)


def _heads(width: int) -> int:
    """Of 32 numbers each, or 64; else of the even size nearest to that, since positions turn pairs of numbers."""
    wanted = 64 if width >= LARGE else 32
    sizes = [size for size in range(2, min(width, 4 * wanted) + 1, 2) if width % size == 0]
    return width // min(sizes, key=lambda size: abs(size - wanted)) if sizes else 1


def _possible(s: Shape) -> None:
    for name in ("layers", "width", "inner", "heads", "kv_heads", "context"):
        if not 1 <= getattr(s, name) <= MOST:
            raise BadSetting(f"{name} is {getattr(s, name)}.", f"Give 1 to {MOST:,}.")
    if s.width % s.heads or (s.width // s.heads) % 2:
        raise BadSetting(
            f"heads is {s.heads}, and a width of {s.width} does not fall into so many of an even size.",
            f"Give a divisor of {s.width // 2}." if s.width % 2 == 0 else "Give an even width.",
        )
    if s.heads % s.kv_heads:
        raise BadSetting(f"kv_heads is {s.kv_heads}, which doesn't divide the {s.heads} heads.", "Give a divisor.")
    if s.experts == 1 or not 0 <= s.experts <= 1024:
        raise BadSetting(f"experts is {s.experts}.", "Give 0 for a dense model, or 2 to 1,024.")
    if s.chosen > s.experts or (s.experts and s.chosen < 1):
        raise BadSetting(f"chosen is {s.chosen}, of {s.experts} experts.", "Give 1 to as many as there are experts.")
    if s.context < 2:
        raise BadSetting(f"context is {s.context}.", "Give 2 or more.")
