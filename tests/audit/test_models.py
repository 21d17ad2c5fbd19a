"""The models in a log, and the day on which each is switched off."""

from __future__ import annotations

from datetime import date

import pytest

from freehold.audit.bill import Bill
from freehold.audit.models import models_used
from freehold.audit.tallies.money import MoneyTally, Pricer
from freehold.audit.tallies.tally import Seen
from freehold.facts import PriceBook, price_book
from freehold.nouns import Call, Tokens

TODAY = date(2026, 11, 25)
AT = 1795176000.0


def call(model: str, answered_by: str = "upstream") -> Call:
    hello = ({"role": "user", "content": "hello"},)
    return Call(hello, model, answer="yes", at=AT, tokens=Tokens(1000, 100), answered_by=answered_by)


def bill(calls: list[Call], book: PriceBook | None = None) -> Bill:
    book, tally = book or PriceBook(), MoneyTally()
    pricer = Pricer(book)
    for i, one in enumerate(calls):
        tokens, estimated, cost = pricer(one)
        tally.add([Seen(one, (0, i), tokens=tokens, estimated=estimated, cost=cost)])
    return Bill(tally, book)


def test_the_most_used_first_with_the_days_that_are_left() -> None:
    calls = [
        *[call("gpt-4o")] * 3,
        *[call("ft:gpt-4o-mini-2024-07-18:acme::9x")] * 2,
        call("gpt-4"),
        call("gpt-6-luna"),
        call(""),
    ]
    uses = models_used(bill(calls), TODAY)
    assert [(u.model, u.vendor, u.calls, u.retires, u.days_left) for u in uses] == [
        ("gpt-4o", "openai", 3, "2027-01-14", 50),
        ("ft:gpt-4o-mini-2024-07-18:acme::9x", "openai", 2, "2027-01-14", 50),
        ("gpt-4", "openai", 1, "2026-10-23", -33),
        ("gpt-6-luna", "openai", 1, None, None),
    ]
    assert all(u.source for u in uses[:3])
    assert all(u.priced == u.calls and u.money.value for u in uses)


def test_only_what_the_closed_model_answered_is_its_use() -> None:
    assert models_used(bill([call("gpt-4o", "student")]), TODAY) == ()


def test_calls_that_name_no_model_are_of_the_one_that_they_are_priced_as() -> None:
    """Without its row a plan knows no bill, and nothing can be cheaper than it."""
    book = price_book(price_as="gpt-5.6-luna", price_on=TODAY)
    (only,) = models_used(bill([call(""), call(""), call("gpt-5.6-luna")], book), TODAY)
    assert (only.model, only.calls, only.priced, only.tokens.prompt) == ("gpt-5.6-luna", 3, 3, 3000)
    assert only.money.value == pytest.approx(3 * (1000 * 0.2 + 100 * 1.2) / 1e6)
    assert models_used(bill([call("")]), TODAY) == ()
