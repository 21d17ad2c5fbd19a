"""Who asks: what licences and laws want to know of a company.

Company(eu=True, users_month=2e6, revenue_year=4e7, sold=True, sector="hiring", country="DE", deny_origin=("CN",))
company_of(facts, country="DE", sector="hirng")        checked against the facts; is it in the EU? by its country
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from freehold.errors import BadSetting
from freehold.facts.tables import Facts

__all__ = ["Company", "company_of", "sectors"]


@dataclass(frozen=True, slots=True)
class Company:
    """`eu`: its principal place of business is there. `users_month` are monthly active users of all it offers,
    `revenue_year` is in USD (None: not said). `sold`: it gives the model, or a product or service that contains it,
    to third parties, or hosts it for them. `country` and `deny_origin` (whose
    weights it does not take) are ISO 3166-1 codes."""

    eu: bool = False
    users_month: float | None = None
    revenue_year: float | None = None
    sold: bool = False
    sector: str = ""
    country: str = ""
    deny_origin: tuple[str, ...] = ()

    def amount(self, measure: str) -> float | None:
        """One of the figures that licences limit: mau, revenue_month or revenue_year."""
        if measure == "mau":
            return self.users_month
        if self.revenue_year is None:
            return None
        return self.revenue_year / 12 if measure == "revenue_month" else self.revenue_year


def company_of(
    facts: Facts,
    *,
    eu: bool | None = None,
    users_month: float | None = None,
    revenue_year: float | None = None,
    sold: bool = False,
    sector: str = "",
    country: str = "",
    deny_origin: tuple[str, ...] = (),
) -> Company:
    """A company as somebody typed it. `eu` None: by its country. Raises BadSetting for what can't be meant."""
    country, sector = country.strip().upper(), sector.strip().lower()
    for name, value in (("users a month", users_month), ("revenue a year", revenue_year)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise BadSetting(f"The company's {name} is {value}.", "It is a number, 0 or more.")
    denied = tuple(_code("deny-origin", code) for code in deny_origin)
    if country:
        _code("country", country)
    inside = country in facts.get("laws", "eu-members").values["countries"]
    if eu is not None and country and eu != inside:
        where = "is" if inside else "is not"
        raise BadSetting(
            f"country is {country}, which {where} in the EU, and eu is {str(eu).lower()}.", "Leave eu out."
        )
    if sector and sector not in sectors(facts):
        near = difflib.get_close_matches(sector, sectors(facts), 3, 0.4) or sectors(facts)
        raise BadSetting(
            f"There are no rules for a sector {sector!r}.", f"Known: {', '.join(near)}; other for none of them."
        )
    return Company(inside if eu is None else eu, users_month, revenue_year, sold, sector, country, denied)


def sectors(facts: Facts) -> tuple[str, ...]:
    """Every sector that a law on file speaks of, and `other`."""
    found = {"other"}
    for row in facts.rows("laws"):
        for condition in (row.values.get("scope", {}), row.values.get("when", {})):
            found |= set(condition.get("sector", ()))
    return tuple(sorted(found))


def _code(what: str, code: str) -> str:
    code = code.strip().upper()
    if len(code) != 2 or not code.isascii() or not code.isalpha():
        raise BadSetting(
            f"{what} is {code!r}.", "It is a country's code of two letters, such as DE or CN (ISO 3166-1)."
        )
    return code
