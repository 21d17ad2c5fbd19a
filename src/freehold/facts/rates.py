"""What a call costs at the rates in force, exactly: token counts times dollars, in Decimals.

prompt      [ cached | cache_write | audio_in | the rest ]      x cached, cache_write, audio_in, input
completion  [ audio_out | reasoning | the rest ]                x audio_out, reasoning, output

Rates is one price in force: a Band for each size of prompt (every token of a call is billed at its prompt's band).
Schedule is a model's Rates through time: which one is in force at an hour.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from freehold.nouns import Tokens

__all__ = ["KINDS", "MOST", "Band", "Rates", "Schedule", "per_token"]

KINDS = ("input", "output", "cached", "cache_write", "audio_in", "audio_out", "reasoning")
MILLION = Decimal(1_000_000)
GRAIN = Decimal("1e-12")
ZERO = Decimal(0)
MOST = 10**9
"""More tokens than any model reads or writes at once: a count above it is a slip of the log, and has no price."""
QUARTER = 900.0
WEEK = 7 * 96


def per_token(per_million: Decimal) -> Decimal:
    """USD a token of USD a million; what lies beyond 12 decimals is a float's noise in the source."""
    return per_million.quantize(GRAIN).normalize() / MILLION


@dataclass(frozen=True, slots=True)
class Band:
    """USD a token for prompts of more than `above` tokens; `request` is USD a call. None: billed as the kind it is part
    of (cached as input, reasoning as output); without an output price only calls that wrote nothing have one."""

    input: Decimal
    output: Decimal | None = None
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    audio_in: Decimal | None = None
    audio_out: Decimal | None = None
    reasoning: Decimal | None = None
    request: Decimal = ZERO
    above: int = -1

    @classmethod
    def of(cls, per_million: Mapping[str, Decimal | None], request: Decimal = ZERO, above: int = -1) -> Band:
        """From USD a million tokens, by the names of KINDS; `input` is among them."""
        found = {kind: per_token(rate) for kind in KINDS if (rate := per_million.get(kind)) is not None}
        return cls(
            found["input"],
            found.get("output"),
            found.get("cached"),
            found.get("cache_write"),
            found.get("audio_in"),
            found.get("audio_out"),
            found.get("reasoning"),
            request,
            above,
        )

    def cost(self, tokens: Tokens) -> Decimal | None:
        output, written = self.output, tokens.completion
        if output is None:
            if written:
                return None
            output = ZERO
        total, read = self.request, tokens.prompt
        if tokens.cached or tokens.cache_write or tokens.audio_in:
            kept = (tokens.cached, self.cached), (tokens.cache_write, self.cache_write)
            more, read = _parts(read, (*kept, (tokens.audio_in, self.audio_in)), self.input)
            total += more
        if tokens.audio_out or tokens.reasoning:
            heard = (tokens.audio_out, self.audio_out), (tokens.reasoning, self.reasoning)
            more, written = _parts(written, heard, output)
            total += more
        return total + read * self.input + written * output

    def scaled(self, factor: Decimal, only: frozenset[str] = frozenset()) -> Band:
        """All rates times `factor`, or only those named."""
        rates = {
            kind: rate * factor
            for kind in KINDS
            if (rate := getattr(self, kind)) is not None and (not only or kind in only)
        }
        return replace(self, **rates)


def _parts(whole: int, kinds: tuple[tuple[int, Decimal | None], ...], otherwise: Decimal) -> tuple[Decimal, int]:
    """What the parts of a count cost, and what is left of it. Parts that say more than the whole are cut."""
    total = ZERO
    for count, rate in kinds:
        part = min(count, whole)
        whole -= part
        total += part * (otherwise if rate is None else rate)
    return total, whole


@dataclass(frozen=True, slots=True)
class Rates:
    """Bands by size of prompt, the smallest first."""

    bands: tuple[Band, ...]

    def cost(self, tokens: Tokens) -> Decimal | None:
        """USD, exact; None for counts that can't be, or of a kind without a price."""
        prompt = tokens.prompt
        least = min(prompt, tokens.completion, tokens.cached, tokens.reasoning, tokens.cache_write)
        if least < 0 or tokens.audio_in < 0 or tokens.audio_out < 0 or prompt > MOST or tokens.completion > MOST:
            return None
        if len(self.bands) == 1:
            return self.bands[0].cost(tokens)
        return next(band for band in reversed(self.bands) if prompt > band.above).cost(tokens)

    def scaled(self, factor: Decimal, only: frozenset[str] = frozenset()) -> Rates:
        return Rates(tuple(band.scaled(factor, only) for band in self.bands))


class Schedule:
    """The rates of a model through time. `starts` are the moments at which another price may come into force;
    `weekly`: the price also hangs on the hour or the day of the week, in quarters of an hour, UTC."""

    __slots__ = ("_known", "resolve", "starts", "weekly")

    def __init__(
        self, resolve: Callable[[float], Rates | None], starts: Iterable[float] = (), weekly: bool = False
    ) -> None:
        self.resolve = resolve
        self.starts = sorted(set(starts))
        self.weekly = weekly
        self._known: dict[int, Rates | None] = {}

    def at(self, at: float) -> Rates | None:
        """The rates in force at epoch seconds `at`."""
        period = bisect_right(self.starts, at)
        if self.weekly:
            period = period * WEEK + int(at // QUARTER) % WEEK
        try:
            return self._known[period]
        except KeyError:
            rates = self._known[period] = self.resolve(at)
            return rates
