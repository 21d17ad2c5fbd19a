"""The models in a log, and the day on which each is switched off."""

from __future__ import annotations

from datetime import date

from freehold.audit.bill import Bill
from freehold.audit.models import models_used
from freehold.audit.tallies.money import MoneyTally, Pricer
from freehold.audit.tallies.tally import Seen
from freehold.facts import PriceBook
from freehold.nouns import Call, Tokens

TODAY = date(2026, 11, 25)
AT = 1795176000.0


def call(model: str, answered_by: str = "upstream") -> Call:
    hello = ({"role": "user", "content": "hello"},)
    return Call(hello, model, answer="yes", at=AT, tokens=Tokens(1000, 100), answered_by=answered_by)


def bill(calls: list[Call]) -> Bill:
    book, tally = PriceBook(), MoneyTally()
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
