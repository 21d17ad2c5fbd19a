"""What would change the advice: for each assumption the nearest value at which the word becomes another.

    decide({"volume": 1.8e9}) → "OWN"       from what is assumed outwards, in steps, then bisection between two of them

None where no value that can be thought of changes it: the advice is robust against that assumption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from freehold.facts.tables import Facts
from freehold.nouns import Assumption, Flip
from freehold.plan.money.ranges import bounds

__all__ = ["flips"]

Decide = Callable[[dict[str, float]], str]
STEPS = 4
CLOSE = 0.005
"""Of the step that holds the flip: how close bisection comes."""


def flips(
    decide: Decide, ranges: Sequence[Assumption], *, now: str, facts: Facts | None = None,
    skip: Sequence[str] = ("grid", "working-days"),
) -> tuple[Flip, ...]:  # fmt: skip
    """One Flip an assumption, those that change the word first. `skip`: what no cost rests on."""
    found = [_flip(decide, one, now, bounds(one, facts)) for one in ranges if one.name not in skip]
    return tuple(sorted(found, key=lambda flip: (flip.at is None, _far(flip))))


def _flip(decide: Decide, one: Assumption, now: str, span: tuple[float, float]) -> Flip:
    least, most = span
    sides = [_side(decide, one, now, end) for end in (least, most) if end != one.value]
    near = min((side for side in sides if side), key=lambda side: _distance(one, side[0]), default=None)
    at, becomes = near or (None, now)
    return Flip(one.name, one.unit, one.value, at, becomes, least, most)


def _side(decide: Decide, one: Assumption, now: str, end: float) -> tuple[float, str] | None:
    """The nearest value towards `end` at which the word changes, and what to."""
    inner = one.value
    for step in range(1, STEPS + 1):
        outer = _between(one, one.value, end, step / STEPS)
        word = decide({one.name: outer})
        if word != now:
            return _bisect(decide, one, now, inner, outer, word)
        inner = outer
    return None


def _bisect(decide: Decide, one: Assumption, now: str, inner: float, outer: float, word: str) -> tuple[float, str]:
    share = 1.0
    while share > CLOSE:
        share /= 2
        middle = _between(one, inner, outer, 0.5)
        said = decide({one.name: middle})
        if said == now:
            inner = middle
        else:
            outer, word = middle, said
    return outer, word


def _between(one: Assumption, a: float, b: float, share: float) -> float:
    if one.log and a > 0 and b > 0:
        return float(a * (b / a) ** share)
    return a + share * (b - a)


def _distance(one: Assumption, at: float) -> float:
    if one.log and at > 0 and one.value > 0:
        return max(at / one.value, one.value / at)
    return abs(at - one.value)


def _far(flip: Flip) -> float:
    if flip.at is None or flip.at <= 0 or flip.now <= 0:
        return 1e9
    return max(flip.at / flip.now, flip.now / flip.at)
