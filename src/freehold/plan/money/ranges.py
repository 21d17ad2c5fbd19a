"""The numbers that a plan rests on and that may be otherwise: each with its range, and the draws from them.

    assumptions.json ─ freehold.toml ─ what the log, the setups or the caller say ──→ Assumption(value, low, high)
    Assumption ──→ a column of draws: its median is `value`, 5 % lie below `low`, 5 % above `high`

A column is stratified (the normal's quantiles at (i + 1/2)/n, in an order drawn by the seed and the name alone), so its
median is exact, all options see the same draws, and another assumption more doesn't change the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from freehold.errors import BadSetting
from freehold.facts.tables import Facts
from freehold.facts.values import number
from freehold.nouns import Assumption, Demand, Fact
from freehold.plan.money.setups import Setup, Span

Floats = NDArray[np.float64]

__all__ = ["Own", "bounds", "column", "ranges", "rent_name", "tokens"]

Own = Mapping[str, "float | Span | Assumption"]
STATUS = {"given": "given", "seen": "catalogue"}
DAY = "10"
"""The window, in seconds, whose busiest one machines are sized for: a shorter burst waits (FACTS: Azure traces)."""
TAIL = NormalDist().inv_cdf(0.95)
MOST = 1e30  # of whatever: more is a slip of the unit
VOLUME, PRICE, SHARES, OTHERS = 100.0, 10.0, (0.0, 1.0), 3.0


def _always(setup: Setup) -> bool:
    return True


def _hosted(setup: Setup) -> bool:
    return setup.way == "hosted"


def _bought(setup: Setup) -> bool:
    return setup.capital is not None


def _runs(setup: Setup) -> bool:
    return setup.people == "people"


def _machine(setup: Setup) -> bool:
    return setup.gpus > 0


def _students(setup: Setup) -> bool:
    return setup.home is not None


NEEDED: dict[str, Callable[[Setup], bool]] = {
    "hosted-price-change": _hosted, "days-hosted": _hosted,
    "days-cheaper": lambda one: one.way == "cheaper" or one.rest is not None,
    "people": _runs, "days-own": _runs, "speed": _machine, "peak": _machine,
    "overhead": lambda one: one.way == "rent",
    "residual": _bought, "life": _bought, "colo": _bought, "servers": lambda one: one.card,
    "home": _students, "people-students": _students, "days-students": _students,
    "fallback": lambda one: one.way not in ("closed", "cheaper") and one.home is None,
    "tokeniser": lambda one: (not one.same and one.home is None) or one.rest is not None,
    "reasoning": lambda one: (one.way != "closed" and one.home is None) or one.rest is not None,
    "pue": _machine, "power": _machine, "grid": _machine,
    "electricity": lambda one: one.way in ("buy", "here") and one.watts is not None,
}  # fmt: skip
"""Which setups rest on an assumption, for those that not all do."""


def ranges(
    demand: Demand,
    facts: Facts,
    *,
    setups: Sequence[Setup] = (),
    own: Own | None = None,
    present: float | None = None,
    country: str = "",
) -> tuple[Assumption, ...]:
    """Every assumption that the setups rest on (without setups: all there are).

    `own` replaces a default by a number, by (value, low, high) or by an Assumption (a measured one); `present` is what
    the present models cost, USD a million tokens; `country` is whose electricity. Raises BadSetting for an unknown name
    or a range that isn't one.
    """
    found = {fact.id: _assumption(fact) for fact in facts.rows("assumptions")}
    found |= {one.name: one for one in (_volume(demand, found["volume"]), _grid(facts, country))}
    if present is not None:
        found["present-price"] = Assumption(
            "present-price", present, present, present, "USD/1M tokens", "price of the present models at this mix",
            "the price list of the day", status="catalogue",
        )  # fmt: skip
    found |= {one.name: one for one in _said(demand, setups, found)}
    for name, value in (own or {}).items():
        if name not in found:
            raise BadSetting(f"There is no assumption {name!r}.", f"Known: {', '.join(sorted(found))}.")
        found[name] = _given(found[name], value)
    kept = sorted(name for name in found if not setups or any(map(NEEDED.get(name, _always), setups)))
    for name in kept:
        if facts.find("assumptions", name) is not None:
            facts.get("assumptions", name)
    return tuple(found[name] for name in kept)


def tokens(demand: Demand) -> float:
    """Tokens a month, in and out. Raises BadSetting where they aren't known."""
    if demand.tokens <= 0:
        raise BadSetting("This demand has no tokens.", "Say how many: freehold plan --tokens 10M/month.")
    return demand.tokens


def rent_name(hardware: str) -> str:
    return f"rent-{hardware}"


def _assumption(fact: Fact) -> Assumption:
    value, low, high = (number(fact, field) for field in ("value", "low", "high"))
    if fact.status == "given" and not low <= value <= high:
        low = high = value
    words = {field: str(fact.values.get(field, "")) for field in ("unit", "what")}
    status = STATUS.get(fact.status, "assumed")
    return _checked(
        Assumption(fact.id, value, low, high, **words, source=fact.source, as_of=fact.as_of, status=status,  # type: ignore[arg-type]
                   log=bool(fact.values.get("log", True)))
    )  # fmt: skip


def _checked(one: Assumption) -> Assumption:
    numbers = (one.value, one.low, one.high)
    most = 1.0 if one.unit == "share" and one.name != "overhead" else MOST
    if not all(0 <= x <= most for x in numbers) or not one.low <= one.value <= one.high:
        raise BadSetting(
            f"The assumption {one.name!r} is {one.value:g}, from {one.low:g} to {one.high:g} ({one.unit}).",
            "Give a value between its ends, 0 or more" + (", a share at most 1." if most == 1.0 else "."),
        )
    return one


def _given(one: Assumption, said: float | Span | Assumption) -> Assumption:
    if isinstance(said, Assumption):
        return _checked(replace(said, name=one.name))
    value, low, high = said if isinstance(said, tuple) else (said, said, said)
    return _checked(replace(one, value=value, low=low, high=high, source="given", as_of="", status="given"))


def _volume(demand: Demand, factor: Assumption) -> Assumption:
    """Tokens a month: the log's own interval, else the default one around what was given."""
    total, low, high = tokens(demand), demand.input.low, demand.input.high
    base = demand.input.value or 0.0
    if factor.status != "given" and low is not None and high is not None and base > 0 and low < high:
        return replace(
            factor, value=total, low=total * low / base, high=total * high / base, unit="tokens/month",
            source=demand.input.method, as_of="", status="measured",
        )  # fmt: skip
    status = "given" if demand.given and factor.status != "given" else factor.status
    by = (total * factor.value, total * factor.low, total * factor.high)
    return replace(factor, value=by[0], low=by[1], high=by[2], unit="tokens/month", status=status)


def _grid(facts: Facts, country: str) -> Assumption:
    """kg CO2 a kWh: of the country, else the US with the range from Sweden to India."""
    row = facts.get("carbon", country or "us")
    value = number(row, "grams_per_kwh") / 1000
    low, high = (value, value)
    if not country:
        low, high = (number(facts.get("carbon", name), "grams_per_kwh") / 1000 for name in ("se", "in"))
    what = f"carbon of a kilowatt-hour ({row.values.get('name', row.id)})"
    return _checked(Assumption(
        "grid", value, low, high, "kg CO2/kWh", what, row.source, row.as_of, "catalogue" if country else "assumed"
    ))  # fmt: skip


def _said(demand: Demand, setups: Sequence[Setup], found: Mapping[str, Assumption]) -> list[Assumption]:
    """What the log and the setups say: the peak, the speed's interval, rents, the share that students take."""
    said = []
    peak = demand.peaks.get(DAY)
    if peak:
        said.append(replace(found["peak"], value=peak, low=peak, high=peak, source="the log", status="measured"))
    rates = [one.rate for one in setups if one.rate is not None and one.rate.value]
    apart = [(r.low / r.value, r.high / r.value) for r in rates if r.value and r.low is not None and r.high is not None]
    if apart and found["speed"].status != "given":
        low, high = min(1.0, *(a for a, _ in apart)), max(1.0, *(b for _, b in apart))
        said.append(replace(found["speed"], low=low, high=high, source=rates[0].method, as_of="", status="measured"))
    for one in setups:
        if one.way == "rent" and one.hourly is not None and one.hardware:
            said.append(Assumption(
                rent_name(one.hardware), *one.hourly, "USD/h", f"rent of one {one.hardware} for an hour",
                one.hourly_source, one.hourly_as_of, "catalogue",
            ))  # fmt: skip
        if one.home is not None:
            value, low, high = one.home
            said.append(replace(found["home"], value=value, low=low, high=high, source="the audit", status="measured"))
    return [_checked(one) for one in said]


def bounds(one: Assumption, facts: Facts | None = None) -> tuple[float, float]:
    """How far a flip looks: `least` and `most` of its row, else 100 times either way for a volume, 10 for money, all
    of it for a share, three times the interval for the rest."""
    row = facts.find("assumptions", one.name) if facts is not None else None
    if row is not None and one.unit == row.values.get("unit") and "least" in row.values and "most" in row.values:
        return min(number(row, "least"), one.low), max(number(row, "most"), one.high)
    if one.unit == "share":
        return SHARES
    wide = VOLUME if one.unit == "tokens/month" else PRICE if one.unit.startswith("USD") else OTHERS
    return one.low / wide if wide == OTHERS else one.value / wide, max(one.high, one.value * wide)


def column(one: Assumption, n: int, seed: int) -> Floats:
    """n draws."""
    return _spread(one.name, (one.value, one.low, one.high), one.log and one.low > 0, n, seed)


def _spread(name: str, span: Span, log: bool, n: int, seed: int) -> Floats:
    value, low, high = span
    if low == high:
        return np.full(n, value)
    z = _normal(n)[_order(name, n, seed)] / TAIL
    if log:
        return np.asarray(value * np.where(z < 0, (low / value) ** -z, (high / value) ** z))
    drawn = value + z * np.where(z < 0, value - low, high - value)
    return np.asarray(np.clip(drawn, 0.0, 1.0 if low <= high <= 1.0 else None))


@lru_cache(maxsize=8)
def _normal(n: int) -> Floats:
    inverse = NormalDist().inv_cdf
    return np.array([inverse((i + 0.5) / n) for i in range(n)])


@lru_cache(maxsize=256)
def _order(name: str, n: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(n)
