"""What a call cost, exactly, at the price in force when it was made.

price("gpt-4o-mini", Tokens(prompt=1000, cached=400, completion=10), at)
    = 600 x input + 400 x cached input + 10 x output, each at the rate of that hour, as a Decimal

Which price, the first that says:
    freehold.toml      [prices."MODEL"]                     the team's own
    data/prices.csv    dated, with source                   fine-tunes, regions, what the next lacks or has wrong
    genai-prices       dated, by hour, prompt, tier         listed.py
A model, tier or day that none of them knows has no price: None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache

from freehold.errors import BadSetting
from freehold.facts.catalogue import Row, load
from freehold.facts.listed import TIERS, factor_of, listed, midnight, tier_starts
from freehold.facts.models import Address, address_of, vendor_of
from freehold.facts.rates import KINDS, Band, Rates, Schedule
from freehold.nouns import Tokens
from freehold.project import OwnPrice, Settings

LONG_AGO = 1e12
"""Seconds from the epoch that no calendar has: some 30,000 years."""
__all__ = ["PriceBook", "price", "price_book"]


def price(model: str, tokens: Tokens, at: float | None, tier: str = "") -> Decimal | None:
    """USD for one call at epoch seconds `at`; None for a model, a tier or a time without a price. `tier` is batch, flex
    or priority, "" for the usual one. A fine-tune has its own prices, and isn't priced as its base."""
    return _plain().price(model, tokens, at, tier)


@cache
def _plain() -> PriceBook:
    return PriceBook()


class PriceBook:
    """The prices that hold for one team.

    `own` is by model name as the log writes it, `discounts` the share off by vendor. `price_as` is the model that calls
    which name none are priced as; with `on`, every call costs what it would at that moment (epoch seconds, UTC),
    whenever it was made.
    """

    def __init__(
        self,
        own: Mapping[str, OwnPrice] | None = None,
        discounts: Mapping[str, float | Decimal] | None = None,
        *,
        price_as: str = "",
        on: float | None = None,
    ) -> None:
        self.price_as, self.on = price_as, on
        self._own = {name.strip().lower(): said for name, said in (own or {}).items()}
        self._discounts = {vendor: Decimal(str(share)) for vendor, share in (discounts or {}).items()}
        self._schedules: dict[tuple[str, str], Schedule | None] = {}

    def __reduce__(self) -> tuple[object, ...]:
        """A book travels to another process as what it was made of."""
        return _again, (self._own, self._discounts, self.price_as, self.on)

    def price(self, model: str, tokens: Tokens, at: float | None, tier: str = "") -> Decimal | None:
        """USD, exact up to $10,000,000,000; None where there is no price."""
        rates = self.rates(model, at, tier)
        return None if rates is None else rates.cost(tokens)

    def rates(self, model: str, at: float | None, tier: str = "") -> Rates | None:
        """The rates in force at epoch seconds `at` (or `on`)."""
        if self.on is not None:
            at = self.on
        if at is None or not -LONG_AGO < at < LONG_AGO:
            return None
        try:
            schedule = self._schedules[model, tier]
        except KeyError:
            schedule = self._add(model, tier)
        return None if schedule is None else schedule.at(at)

    def method(self) -> str:
        """Where the figures come from, for a Measure."""
        from importlib.metadata import version

        day = "each call's day" if self.on is None else datetime.fromtimestamp(self.on, UTC).date().isoformat()
        text = f"price of {day} (genai-prices {version('genai-prices')})"
        if self._own or self._discounts:
            text += ", own prices of freehold.toml before it"
        return text + (f"; calls that name no model as {self.price_as}" if self.price_as else "")

    def _add(self, model: str, tier: str) -> Schedule | None:
        if len(self._schedules) > 20_000:  # a log that names a model of its own in every row
            self._schedules.clear()
        found = self._schedules[model, tier] = self._schedule(model or self.price_as, tier)
        return found

    def _schedule(self, model: str, tier: str) -> Schedule | None:
        if not model or (tier and tier not in TIERS):
            return None
        addresses = address_of(model)
        own = self._own.get(model.strip().lower())
        provider = addresses[0].provider if addresses else ""
        shipped = next((found for a in addresses if (found := _shipped(a, tier))), None)
        public = next((schedule for a in addresses if (schedule := listed(a, tier))), None)
        left = 1 - self._discounts.get(vendor_of(model) or "", Decimal(0))

        def resolve(at: float) -> Rates | None:
            if own is not None and (own.since is None or at >= midnight(own.since.isoformat())):
                factor = factor_of(provider, model, tier, at)
                return None if factor is None else _own_rates(own).scaled(factor)
            if shipped is not None and (found := shipped(at)) is not None:
                rates = found[0]
            else:
                rates = None if public is None else public.resolve(at)
            return rates if rates is None or left == 1 else rates.scaled(left)

        starts = [midnight(own.since.isoformat())] if own and own.since else []
        starts += tier_starts(provider, tier)
        starts += (shipped.starts if shipped else []) + (public.starts if public else [])
        weekly = (shipped is not None and shipped.weekly) or (public is not None and public.weekly)
        return Schedule(resolve, starts, weekly) if own or shipped or public else None


def _again(own: dict[str, OwnPrice], discounts: dict[str, Decimal], price_as: str, on: float | None) -> PriceBook:
    return PriceBook(own, discounts, price_as=price_as, on=on)


def price_book(settings: Settings | None = None, *, price_as: str = "", price_on: date | None = None) -> PriceBook:
    """The prices of a project: freehold.toml's own before the public ones.

    `price_as` prices calls that name no model as if it had answered; `price_on` prices every call at noon UTC of that
    day. Raises BadSetting for a vendor or a model that nothing is known of.
    """
    settings = settings or Settings()
    vendors = sorted({str(row["vendor"]) for row in load("vendors.json")})
    for vendor in settings.discounts:
        if vendor not in vendors:
            raise BadSetting(
                f"freehold.toml says {vendor!r} under [discounts], which is no vendor.", f"Known: {', '.join(vendors)}."
            )
    on = None if price_on is None else midnight(price_on.isoformat()) + 43_200
    book = PriceBook(settings.prices, settings.discounts, price_as=price_as, on=on)
    if price_as and book.rates(price_as, on if on is not None else datetime.now(UTC).timestamp()) is None:
        raise BadSetting(
            f"{price_as!r} has no price on file.",
            'Name a model as its vendor does, such as gpt-5.6-luna, or give its price under [prices."MODEL"].',
        )
    return book


def _own_rates(said: OwnPrice) -> Rates:
    return Rates((Band.of({kind: getattr(said, kind, None) for kind in KINDS}),))


class _Shipped:
    """The rows of data/prices.csv for one model and tier. Called with a moment: (rates,), rates None where a row says
    that there is no price; None where no row speaks of that moment."""

    def __init__(self, rows: tuple[Row, ...], address: Address, tier: str) -> None:
        self.rows, self.address, self.tier = rows, address, tier
        self.weekly = any(row["days"] for row in rows)
        days = {row[key] for row in rows for key in ("from", "to") if row[key]}
        self.starts = [midnight(day) for day in days]

    def __call__(self, at: float) -> tuple[Rates | None] | None:
        rows = [row for row in self.rows if _holds(row, at)]
        if not rows:
            return None
        factor = factor_of(self.address.provider, self.address.names[-1], self.tier, at)
        if factor is None or not rows[0]["input"]:
            return (None,)
        return (Rates(tuple(_row_band(row) for row in rows)).scaled(factor),)


def _shipped(address: Address, tier: str) -> _Shipped | None:
    rows = next((rows for name in address.names if (rows := _rows().get((address.provider, name)))), None)
    return None if rows is None else _Shipped(rows, address, tier)


@cache
def _rows() -> dict[tuple[str, str], tuple[Row, ...]]:
    found: dict[tuple[str, str], tuple[Row, ...]] = {}
    for row in load("prices.csv"):
        key = row["provider"], row["model"]
        found[key] = (*found.get(key, ()), row)
    return found


def _holds(row: Row, at: float) -> bool:
    """Is this the day (from ... until before `to`) and the day of the week (1 is Monday; UTC) of a row?"""
    if (row["from"] and at < midnight(row["from"])) or (row["to"] and at >= midnight(row["to"])):
        return False
    return not row["days"] or str(int(at // 86_400 + 3) % 7 + 1) in row["days"]


def _row_band(row: Row) -> Band:
    rates = {kind: Decimal(row[kind]) if row.get(kind) else None for kind in KINDS}
    return Band.of(rates, above=int(row["above"] or -1))
