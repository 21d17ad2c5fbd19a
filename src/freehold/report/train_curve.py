"""The curve of a training, ready to draw: a box of 1000 by 1000 that the page stretches, and what stands at its edges.

losses, a step each ─→ at most 150 means of neighbouring steps, with the least and the largest of each   line and band
held-out looks      ─→ dots, and the line through them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

__all__ = ["Curve", "Tick", "curve"]

POINTS = 150
BOX = 1000.0
Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Tick:
    """`at`: per cent from the left or the top."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """`line` and `held` are points of a polyline, `band` of a polygon; `dots` are in per cent, with what they say.
    `each`: how many steps one point of the line is the mean of."""

    line: str
    band: str
    held: str
    dots: tuple[tuple[float, float, str], ...]
    levels: tuple[Tick, ...]
    steps: tuple[Tick, ...]
    each: int


@dataclass(frozen=True, slots=True)
class _Frame:
    steps: int
    low: float
    high: float

    def at(self, step: float, loss: float) -> Pair:
        x = BOX * step / max(1, self.steps)
        return x, BOX * (self.high - loss) / (self.high - self.low)


def curve(losses: Sequence[float], looks: Sequence[tuple[int, float]]) -> Curve | None:
    """None where there are fewer than two steps: no line."""
    if len(losses) < 2:
        return None
    each = ceil(len(losses) / POINTS)
    parts = [losses[i : i + each] for i in range(0, len(losses), each)]
    middles = [i * each + (len(part) + 1) / 2 for i, part in enumerate(parts)]
    gap, levels = _levels([*losses, *(loss for _, loss in looks)])
    frame = _Frame(max([len(losses), *(step for step, _ in looks)]), levels[0], levels[-1])
    tops = [frame.at(x, max(part)) for x, part in zip(middles, parts, strict=True)]
    bottoms = [frame.at(x, min(part)) for x, part in zip(middles, parts, strict=True)]
    held = [frame.at(step, loss) for step, loss in looks]
    return Curve(
        line=_points([frame.at(x, sum(part) / len(part)) for x, part in zip(middles, parts, strict=True)]),
        band=_points([*tops, *reversed(bottoms)]) if each > 1 else "",
        held=_points(held),
        dots=tuple(
            (round(x / 10, 2), round(y / 10, 2), f"step {step:,}: {loss:.3f} nats a token on held-out text")
            for (x, y), (step, loss) in zip(held, looks, strict=True)
        ),
        levels=tuple(Tick(round(frame.at(0, level)[1] / 10, 2), _level(level, gap)) for level in levels),
        steps=tuple(Tick(100 * i / 4, f"{frame.steps * i / 4:,.0f}") for i in (0, 2, 4)),
        each=each,
    )


def _points(pairs: Sequence[Pair]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def _levels(values: Sequence[float]) -> tuple[float, list[float]]:
    """The gap between the lines across, and the lines: 1, 2 or 5 times a power of ten, three to seven of them."""
    low, high = min(values), max(values)
    span = max(high - low, 1e-3)
    power = 10.0 ** floor(log10(span / 4))
    gap = next(power * times for times in (1, 2, 5, 10) if power * times >= span / 4)
    first, last = floor(low / gap), ceil(high / gap)
    return gap, [gap * i for i in range(first, max(last, first + 1) + 1)]


def _level(value: float, gap: float) -> str:
    return f"{value:.{max(0, -floor(log10(gap) + 1e-9))}f}"
