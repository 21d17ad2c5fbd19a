"""What is true outside the log, as data with source and date.

    data/vendors.json       whose model is this                      vendor_of("gpt-4o-mini") -> "openai"
    data/retirements.csv    when it is switched off                  retirement("gpt-4o-mini") -> ("2027-01-14", ...)
    data/terms.json         what its vendor says about training      terms("openai", "labels", "internal") -> T1 ALLOW
    data/licences.json      what an open model's licence says of it  licence_of("llama-3-70b") -> BLOCK
                            what several of them ask together        union(["CC-BY-SA-4.0", "GPL-2.0-only"]).conflicts
    data/portability.json   how well a kind of answers moves         load("portability.json")
    data/machines.json      what a small machine costs               machine_cost() -> Measure
    genai-prices            what tokens cost, on that day            price("gpt-4o-mini", Tokens(700, 3), at)
    data/prices.csv         what it lacks: fine-tunes, regions       price_book(settings).price(...)
    data/tiers.csv          what batch and flex take off
    data/hosts.csv          whose price list a host is on

    facts().get("hardware", "h100-sxm")                     any row of any table, with the team's own over it

A fact is read, never fetched: nothing here opens a connection. Not legal advice.
"""

from freehold.facts.catalogue import load
from freehold.facts.listed import TIERS
from freehold.facts.machines import machine_cost
from freehold.facts.models import retirement, vendor_of
from freehold.facts.prices import PriceBook, price, price_book
from freehold.facts.rates import Rates
from freehold.facts.tables import Facts, Own
from freehold.facts.terms import answer_terms, licence_of, rule_text, strictness, terms
from freehold.facts.union import Union, union

__all__ = [
    "TIERS", "Facts", "PriceBook", "Rates", "Union", "answer_terms", "facts", "licence_of", "load", "machine_cost",
    "price", "price_book", "retirement", "rule_text", "strictness", "terms", "union", "vendor_of",
]  # fmt: skip


def facts(own: Own | None = None) -> Facts:
    """The tables of facts, with the team's own rows (Settings.facts) over them. Raises BadSetting for a table that
    isn't one."""
    return Facts(own)
