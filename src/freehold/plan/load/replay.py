"""How many replicas a load asks for: the log's own hour played against them.

    Arrivals ─ play (batching.py) ─→ seconds to the first token, seconds between tokens ─→ Replay
    least_replicas: twice as many until the goal holds, then halving in between; formulas stand beside it

Utilisation is what was asked for over what the replicas can do when they are full: the figure that a token's price
hangs on (a replica that holds one stream is busy, and mostly idle in what it could do).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from freehold.errors import BadSetting
from freehold.facts.tables import Facts
from freehold.measure import ranks
from freehold.nouns import Fact, Measure, Replay
from freehold.plan.load.arrivals import Arrivals, at_share, busiest, peak, series
from freehold.plan.load.batching import Engine, Played, Step, Steps, play
from freehold.plan.load.capacity import capacity, first_token

__all__ = ["Goal", "cold_start", "least_replicas", "replay"]

QUANTILE = 0.95
POINTS = 240
MOST_CALLS = 40_000  # of more, the busiest part is played
MOST_REPLICAS = 4_096
BLOCKS = 12
LEFT_OUT = 0.001  # of the calls may be too large
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Goal:
    """Seconds that 95 of 100 calls keep to: to the first token, and from token to token (the call's mean)."""

    first_token: float
    between: float

    def __post_init__(self) -> None:
        if not (self.first_token > 0 and self.between > 0):
            raise BadSetting(
                f"A goal of {self.first_token} s to the first token and {self.between} s between tokens can't be met.",
                "Give seconds above 0.",
            )


def replay(
    arrivals: Arrivals,
    step: Step | Steps,
    *,
    replicas: int,
    most_streams: int,
    most_tokens: float,
    chunk: int = 2048,
    goal: Goal | None = None,
    most_calls: int = MOST_CALLS,
) -> Replay:
    """Play the calls against `replicas`. `step(tokens read, streams that write, their mean context)` is a step's
    seconds; a replica holds at most `most_streams` calls and `most_tokens` of context, and a step has `chunk` tokens.
    Raises BadSetting for what can't be."""
    return _World(arrivals, step, most_streams, most_tokens, chunk, most_calls).replay(replicas, goal)


def least_replicas(
    arrivals: Arrivals,
    step: Step | Steps,
    goal: Goal,
    *,
    most_streams: int,
    most_tokens: float,
    chunk: int = 2048,
    most_calls: int = MOST_CALLS,
) -> Replay:
    """The fewest replicas with which the goal is met and that aren't asked for more than they can do. Where no number
    meets it, the replay of the number that the mean load asks for, `met` False, and `why`."""
    world = _World(arrivals, step, most_streams, most_tokens, chunk, most_calls)
    alone = world.alone()
    if not alone.within(goal):
        return replace(world.replay(world.enough, goal), met=False, why=alone.said(goal))
    if world.left_out > LEFT_OUT:
        return world.replay(world.enough, goal)
    low, high = world.enough - 1, world.enough
    while not world.meets(high, goal):
        if high >= MOST_REPLICAS:
            return world.replay(high, goal)
        low, high = high, min(MOST_REPLICAS, 2 * high)
    while high - low > 1:
        half = (low + high) // 2
        low, high = (low, half) if world.meets(half, goal) else (half, high)
    return world.replay(high, goal)


def cold_start(weights: float, hardware: Fact, facts: Facts) -> Measure:
    """Seconds until `weights` bytes are read into a replica: at the hardware's own `disk` (bytes/s) where its row says
    one, else at the rate of loads/cold-start. What the engine itself takes to start isn't known and not in it."""
    row, disk = facts.get("loads", "cold-start"), hardware.values.get("disk")
    if disk:
        return Measure(weights / disk, unit="s", method=f"weights over {disk:.3g} bytes/s ({hardware.ref})")
    rates = (row.values["read"], row.values["high"], row.values["low"])
    value, low, high = (weights / rate for rate in rates)
    method = f"weights over {rates[0]:.3g} bytes/s ({row.ref}); the engine's own start is not in it"
    return Measure(value, low, high, unit="s", method=method)


@dataclass(frozen=True, slots=True)
class _Alone:
    """What a call meets on a replica of its own, at the 95th percentile: more replicas don't make it better."""

    first: float
    between: float

    def within(self, goal: Goal) -> bool:
        return self.first <= goal.first_token and self.between <= goal.between

    def said(self, goal: Goal) -> str:
        what = (self.first, "to the first token", goal.first_token)
        if self.first <= goal.first_token:
            what = (self.between, "between tokens", goal.between)
        return (
            f"even alone on a replica one call in twenty takes {what[0]:.3g} s {what[1]}, and the goal is {what[2]:g} s"
        )


class _World:
    """A load and an engine: what stays the same while numbers of replicas are tried."""

    def __init__(
        self, arrivals: Arrivals, step: Step | Steps, most_streams: int, most_tokens: float, chunk: int, most_calls: int
    ) -> None:
        if most_streams < 1 or chunk < 1 or not most_tokens > 0:
            raise BadSetting(
                f"A replica of {most_streams} streams, {most_tokens} tokens of context and steps of {chunk} tokens "
                "serves nothing.",
                "Give 1 or more of each.",
            )
        if not len(arrivals):
            raise BadSetting("There are no calls to replay.", "Audit a log whose calls have times and tokens.")
        self.whole, self.arrivals = arrivals, busiest(arrivals, most_calls)
        self.times = step if isinstance(step, Steps) else Steps(step)
        self.engine = Engine(most_streams, most_tokens, chunk)
        self.fits = np.maximum(arrivals.input, 1) + arrivals.written <= most_tokens
        self.rate = capacity(arrivals, self.times, self.engine)
        self.played: dict[int, tuple[Played, Arrivals]] = {}

    @property
    def enough(self) -> int:
        """Replicas that can do what is asked for on the mean."""
        return min(MOST_REPLICAS, max(1, math.ceil(self.whole.tokens / self.whole.seconds / self.rate)))

    def alone(self) -> _Alone:
        """By the step's time, without a queue."""
        chunk, arrivals = self.engine.chunk, self.arrivals
        size = int(np.quantile(arrivals.read, QUANTILE, method="inverted_cdf"))
        first = sum(self.times(min(chunk, size - done), 0, size) for done in range(0, size, chunk))
        long = arrivals.output > 1
        between = self.times(0, 1, float(np.median(arrivals.input[long]))) if long.any() else 0.0
        return _Alone(first, between)

    def meets(self, replicas: int, goal: Goal) -> bool:
        played, arrivals = self.play(replicas, goal)
        return not played.stopped and _met(played, arrivals, goal)

    def play(self, replicas: int, goal: Goal | None = None) -> tuple[Played, Arrivals]:
        """With a goal it is given up once too many calls are too slow."""
        if replicas not in self.played:
            servers, arrivals = _thinned(self.arrivals, replicas)
            slow = None if goal is None else _slow(arrivals, goal)
            found = play(arrivals, self.times, self.engine, servers, slow=slow), arrivals
            if found[0].stopped:
                return found
            self.played[replicas] = found
        return self.played[replicas]

    def replay(self, replicas: int, goal: Goal | None) -> Replay:
        if not 1 <= replicas <= MOST_REPLICAS:
            raise BadSetting(f"{replicas:,} replicas can't be replayed.", f"Give 1 to {MOST_REPLICAS:,}.")
        played, arrivals = self.play(replicas)
        first = played.first - arrivals.at
        met, why = (True, "") if goal is None else self._judged(played, arrivals, goal)
        can = replicas * self.rate
        return Replay(
            replicas=replicas,
            requests=len(self.whole),
            first_token=_spread(first, "to the first token", self._beside(first, arrivals, replicas)),
            between=_spread(_between(played, arrivals), "from token to token, each call's mean", ""),
            utilisation=_utilisation(self.whole, can),
            peak=peak(self.whole),
            cold_start=Measure(None, unit="s", method="not asked for"),
            met=met,
            why=why,
            source=self.arrivals.source,
            series=tuple((at, asked, can) for at, asked in series(self.whole, POINTS)),
            uses=self.whole.uses,
        )

    def _beside(self, first: Floats, arrivals: Arrivals, replicas: int) -> str:
        """The queue's formula beside the replay's mean."""
        if not self.fits.any():
            return ""
        said = first_token(arrivals, self.times, self.engine, max(1, round(replicas * arrivals.kept)))
        formula = f"{said:.3g} s" if said < float("inf") else "without end"
        return f"; mean {np.nanmean(first):.3g} s, by Allen and Cunneen's formula {formula}"

    @property
    def left_out(self) -> float:
        """The share of calls that are larger than a replica's cache."""
        return float(1 - self.fits.mean())

    def _judged(self, played: Played, arrivals: Arrivals, goal: Goal) -> tuple[bool, str]:
        if (left := self.left_out) > LEFT_OUT:
            longer = f"longer than the {self.engine.tokens:,.0f} tokens of a cache"
            return False, f"{100 * left:.2g} % of the calls are {longer}"
        if _met(played, arrivals, goal):
            return True, ""
        first, between = _high(played.first - arrivals.at), _high(_between(played, arrivals))
        said = f"one call in twenty takes over {first:.3g} s to the first token (goal {goal.first_token:g} s)"
        return False, f"{said} and {between:.3g} s between tokens (goal {goal.between:g} s)"


def _thinned(arrivals: Arrivals, replicas: int) -> tuple[int, Arrivals]:
    """Of calls of which a share was kept, so many replicas get that share of them: whole replicas, and the calls that
    are theirs."""
    if arrivals.kept == 1.0:
        return replicas, arrivals
    servers = max(1, int(replicas * arrivals.kept + 1e-9))
    return servers, at_share(arrivals, servers / replicas)


def _slow(arrivals: Arrivals, goal: Goal) -> Callable[[list[int], list[int], list[float], list[float]], bool]:
    """Says when more than one call in twenty is too slow for sure, whatever the rest will be."""
    at, output = arrivals.at.tolist(), arrivals.output.tolist()
    most = (1 - QUANTILE) * len(at), (1 - QUANTILE) * int((arrivals.output > 1).sum())
    count = [0, 0]

    def seen(fresh: list[int], ended: list[int], first: list[float], done: list[float]) -> bool:
        for call in fresh:
            count[0] += first[call] - at[call] > goal.first_token
        for call in ended:
            count[1] += output[call] > 1 and done[call] - first[call] > goal.between * (output[call] - 1)
        return count[0] > most[0] or count[1] > most[1]

    return seen


def _met(played: Played, arrivals: Arrivals, goal: Goal) -> bool:
    between = _high(_between(played, arrivals))
    return _high(played.first - arrivals.at) <= goal.first_token and not between > goal.between


def _between(played: Played, arrivals: Arrivals) -> Floats:
    long = arrivals.output > 1
    found: Floats = (played.done - played.first)[long] / (arrivals.output[long] - 1)
    return found


def _high(seconds: Floats) -> float:
    """The 95th percentile as one of the values; NaN of none."""
    seen = seconds[np.isfinite(seconds)]
    return float(np.quantile(seen, QUANTILE, method="inverted_cdf")) if len(seen) else float("nan")


def _spread(seconds: Floats, what: str, beside: str) -> Measure:
    """The median, with the 5th and the 95th percentile as its limits, and where those lie by order statistics."""
    seen = np.sort(seconds[np.isfinite(seconds)])
    if not len(seen):
        return Measure(None, unit="s", method=f"no call to say it ({what})")
    low, middle, high = (float(np.quantile(seen, q, method="inverted_cdf")) for q in (1 - QUANTILE, 0.5, QUANTILE))
    method = (
        f"replay of {len(seen):,} calls, {what}: median {middle:.3g} s ({_limits(seen, 0.5)}), 95th percentile "
        f"{high:.3g} s ({_limits(seen, QUANTILE)}; order statistics 95 %, as if calls were independent){beside}"
    )
    return Measure(middle, low, high, len(seen), "s", method)


def _limits(seen: Floats, q: float) -> str:
    return " to ".join("?" if place is None else f"{seen[place]:.3g}" for place in ranks(len(seen), q))


def _utilisation(arrivals: Arrivals, can: float) -> Measure:
    """Mean tokens asked for over what can be done, with Student's interval over 12 parts of the stretch."""
    from scipy.special import stdtrit

    asked = np.array([value for _, value in series(arrivals, BLOCKS)]) / can
    half = float(stdtrit(BLOCKS - 1, 0.975) * asked.std(ddof=1) / BLOCKS**0.5)
    mean = arrivals.tokens / arrivals.seconds / can
    method = (
        f"{arrivals.tokens / arrivals.seconds:,.0f} tokens/s asked for on the mean over {can:,.0f} when all replicas "
        f"are full, at these lengths; 95 % over {BLOCKS} equal parts of the stretch"
    )
    return Measure(mean, max(0.0, mean - half), mean + half, BLOCKS, "share", method)
