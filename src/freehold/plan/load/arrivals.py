"""The calls that a plan is played against: the log's busiest hour, or one that is made up where there is no log.

    project/arrivals.safetensors ──read_arrivals──→ Arrivals
    Demand + facts (lengths and gaps of a public trace) ──like──→ Arrivals(synthetic)

What is made up has gaps drawn from a Gamma distribution (BurstGPT, arXiv 2401.17644, fits it to real ones) and lengths
drawn from the trace's percentiles, scaled to the mean that is asked for; question and answer are drawn apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from freehold.errors import BadSetting
from freehold.facts.tables import Facts
from freehold.nouns import Demand, Measure
from freehold.project.arrivals import NAME, Arrivals, read_arrivals
from freehold.totals import HOURS

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["NAME", "Arrivals", "at_share", "busiest", "like", "peak", "read_arrivals", "scaled", "series"]

FEWEST = 2_000  # calls, below which a 95th percentile says little: a longer stretch is made up
MOST = 200_000
LONGEST = 1e8  # tokens a call on the mean: more is a slip of the unit
HOUR = 3600.0
NEAR = 30.0  # seconds within which a call that stands for two is played a second time
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def like(demand: Demand, facts: Facts, *, trace: str = "azure-2023-conv", seed: int = 0) -> Arrivals:
    """The busiest hour of a month of `demand`, made up after a row of the table "loads".

    Of few calls a stretch as busy as that hour, as long as 2,000 calls take (a month at most), and one call at the
    least. Where the demand names no calls, they are as long as the trace's. Raises BadSetting where there is no such
    row, and for calls longer than can be counted.
    """
    row, busy = facts.get("loads", trace), facts.get("loads", "busy-hour")
    read, written = _means(demand, row.values["input"], row.values["output"])
    calls = demand.calls.value or demand.tokens / (read + written)
    rate = calls / (HOURS * HOUR) * busy.values["value"]
    seconds = min(max(HOUR, FEWEST / rate), HOURS * HOUR) if rate else HOUR
    if read + written > LONGEST:
        raise BadSetting(
            f"{demand.tokens:,.0f} tokens in {calls:,.0f} calls a month are {read + written:.3g} tokens a call.",
            "Mend one of the two: no model reads so much at once.",
        )
    count = max(int(calls > 0), round(rate * seconds))
    kept = min(1.0, MOST / max(1, count))
    draw = np.random.default_rng(seed)
    squared = 1 + kept * (row.values["cv"] ** 2 - 1)  # a thinned renewal process comes nearer to Poisson's
    at = _gaps(draw, round(count * kept), squared, seconds)
    return Arrivals(
        at=at,
        input=_lengths(draw, len(at), row.values["at"], row.values["inputs"], read),
        output=_lengths(draw, len(at), row.values["at"], row.values["outputs"], written),
        source=f"made up: gaps and lengths after {row.ref}, {busy.values['value']:g} times the mean pace ({busy.ref})",
        seconds=seconds,
        kept=kept,
        synthetic=True,
        share=min(1.0, rate * seconds / calls) if calls else 0.0,
        span=HOURS * HOUR,
        uses=(row.ref, busy.ref),
    )


def at_share(arrivals: Arrivals, share: float) -> Arrivals:
    """The same load by `share` of its calls, which stand for all of them."""
    return replace(scaled(arrivals, share / arrivals.kept), kept=share)


def scaled(arrivals: Arrivals, times: float, seed: int = 0) -> Arrivals:
    """So many times the load in the same stretch: fewer of the calls, or some of them again some seconds away. Raises
    BadSetting where `times` isn't above 0."""
    if not 0 < times < float("inf"):
        raise BadSetting(f"A load can't be {times} times what it is.", "Give a number above 0.")
    if times == 1.0 or not len(arrivals):
        return arrivals
    draw = np.random.default_rng(seed)
    copies = math.floor(times) + (draw.random(len(arrivals)) < times - math.floor(times))
    place = np.repeat(np.arange(len(arrivals)), copies)
    again = np.concatenate(([False], place[1:] == place[:-1])) if len(place) else np.empty(0, bool)
    at = arrivals.at[place] + again * draw.uniform(-NEAR, NEAR, len(place))
    at = np.clip(at, 0.0, arrivals.seconds)
    order = np.argsort(at, kind="stable")
    place = place[order]
    return replace(arrivals, at=at[order], input=arrivals.input[place], output=arrivals.output[place])


def busiest(arrivals: Arrivals, calls: int) -> Arrivals:
    """The busiest part of the stretch, by tokens, about as long as `calls` of its calls take; all of it where it has no
    more."""
    if len(arrivals) <= calls:
        return arrivals
    length = arrivals.seconds * calls / len(arrivals)
    through = np.concatenate(([0], np.cumsum(arrivals.input.astype(np.int64) + arrivals.output)))
    ends = np.searchsorted(arrivals.at, arrivals.at + length)
    start = int(np.argmax(through[ends] - through[:-1]))
    part = slice(start, int(ends[start]))
    at = arrivals.at[part] - arrivals.at[start]
    source = f"the busiest {length:,.0f} s of {arrivals.source}"
    return replace(
        arrivals, at=at, input=arrivals.input[part], output=arrivals.output[part], seconds=length, source=source
    )


def peak(arrivals: Arrivals, window: float = 10.0) -> Measure:
    """The busiest window over the mean one, in tokens, laid out from the start as the audit does."""
    sums = _windows(arrivals, window)
    total = float(sums.sum())
    method = f"the busiest of {len(sums):,} windows of {window:g} s over their mean, in tokens"
    return Measure(float(sums.max()) * len(sums) / total if total else None, n=len(sums), unit="x", method=method)


def series(arrivals: Arrivals, points: int) -> tuple[tuple[float, float], ...]:
    """(second, tokens asked for a second from there on) at so many points."""
    window = arrivals.seconds / points
    sums = _windows(arrivals, window)[:points] / window / arrivals.kept
    return tuple((place * window, float(value)) for place, value in enumerate(sums))


def _windows(arrivals: Arrivals, window: float) -> Floats:
    last = float(arrivals.at[-1]) if len(arrivals) else 0.0
    count = max(math.ceil(arrivals.seconds / window), int(last // window) + 1)
    tokens = arrivals.input.astype(np.float64) + arrivals.output
    found: Floats = np.bincount((arrivals.at // window).astype(np.int64), tokens, count).astype(np.float64)
    return found


def _means(demand: Demand, read: float, written: float) -> tuple[float, float]:
    """Tokens of a call, read and written: the demand's own, or as long as the trace's at the demand's ratio."""
    calls, total = demand.calls.value, demand.tokens
    if not total:
        return read, written
    each = total / calls if calls else read + written
    part = (demand.input.value or 0.0) / total
    return max(1.0, each * part), max(1.0, each * (1 - part))


def _gaps(draw: Generator, count: int, squared: float, seconds: float) -> Floats:
    """Times whose gaps are Gamma distributed with this squared coefficient of variation, laid out over the stretch."""
    if not count:
        return np.empty(0)
    gaps = draw.gamma(1 / squared, squared, count + 1)
    at: Floats = np.cumsum(gaps)[:-1] * (seconds / gaps.sum())
    return at


def _lengths(
    draw: Generator, count: int, at: Sequence[float], values: Sequence[float], mean: float
) -> npt.NDArray[np.int32]:
    """Drawn by the inverse of the percentiles' curve; the curve's own mean is scaled to what is asked for."""
    if len(at) != len(values) or len(at) < 2 or sorted(at) != list(at):
        raise BadSetting(f"A load has {len(values)} lengths at {len(at)} percentiles.", "Give one for each, ascending.")
    own = np.trapezoid(values, np.asarray(at) / 100)
    drawn = np.interp(draw.random(count), np.asarray(at) / 100, values) * (mean / own)
    return np.maximum(1, drawn.round()).astype(np.int32)
