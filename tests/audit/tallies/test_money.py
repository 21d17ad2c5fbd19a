"""The bill: exact sums that don't hang on how a log is cut, and every call that isn't in it told."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.audit.bill import Bill
from freehold.audit.models import models_used, unpriced
from freehold.audit.tallies.estimate import Estimator
from freehold.audit.tallies.money import MoneyTally, Pricer, per_month
from freehold.audit.tallies.spend import Cell, Cells, short
from freehold.audit.tallies.tally import Seen
from freehold.facts import PriceBook, price_book
from freehold.nouns import Call, Measure, Tokens
from freehold.traffic import read

AT = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 86400.0
TODAY = date(2026, 11, 25)
ROOT = Path(__file__).resolve().parents[3]
BOOK = PriceBook()


def call(text: str = "hello", **own: Any) -> Call:
    said: dict[str, Any] = {
        "messages": ({"role": "user", "content": text},),
        "model": "gpt-4o-mini",
        "answer": "yes",
        "at": AT,
        "tokens": Tokens(1000, 100),
    }
    return Call(**(said | own))


def see(calls: Sequence[Call], book: PriceBook = BOOK, estimator: Estimator | None = None) -> list[Seen]:
    pricer = Pricer(book, estimator)
    found = []
    for i, one in enumerate(calls):
        tokens, estimated, cost = pricer(one)
        found.append(Seen(one, (0, i), task=i % 3 - 1, tokens=tokens, estimated=estimated, cost=cost))
    return found


def tally(calls: Sequence[Call], book: PriceBook = BOOK, estimator: Estimator | None = None) -> MoneyTally:
    found = MoneyTally()
    found.add(see(calls, book, estimator))
    return found


def bill(calls: Sequence[Call], book: PriceBook = BOOK, estimator: Estimator | None = None) -> Bill:
    return Bill(tally(calls, book, estimator), book, estimator)


def again(found: MoneyTally) -> MoneyTally:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=MoneyTally)


COST = Decimal("0.00021")  # 1000 x 0.15 + 100 x 0.60, a million


# sums


def test_a_bill_by_hand() -> None:
    found = bill([call(), call(user="ann", at=AT + DAY), call(user="ann", model="gpt-4o"), call(model="house")])
    assert found.tally.total.cost == 2 * COST + Decimal("0.0035")
    money = found.money()
    assert money.value == pytest.approx(0.00392, rel=1e-12)
    assert (money.n, money.unit) == (3, "USD")
    assert "3 of 4 calls have a price" in money.method
    assert "genai-prices" in money.method
    assert found.tally.total.tokens() == Tokens(4000, 400)


CALLS = st.builds(
    call,
    text=st.sampled_from(["a", "b" * 50]),
    model=st.sampled_from(["gpt-4o-mini", "gpt-5.6-luna", "house", "", "ft:gpt-4o-mini-2024-07-18:a::1"]),
    at=st.one_of(st.none(), st.floats(AT - 90 * DAY, AT + 90 * DAY)),
    user=st.sampled_from([None, "ann", "bob", "x" * 500]),
    tier=st.sampled_from(["", "batch", "flex"]),
    endpoint=st.sampled_from(["chat", "responses"]),
    why=st.sampled_from(["", "pair"]),
    answered_by=st.sampled_from(["upstream", "student"]),
    error=st.sampled_from(["", "429"]),
    tokens=st.one_of(st.none(), st.builds(Tokens, *[st.integers(0, 10**6)] * 7)),
)


@given(calls=st.lists(CALLS, max_size=30), data=st.data())
def test_a_log_cut_anywhere_adds_up_alike(calls: list[Call], data: st.DataObject) -> None:
    seen = see(calls)
    whole = MoneyTally()
    whole.add(seen)
    at = data.draw(st.integers(0, len(calls)))
    parts = []
    for part in (seen[:at], seen[at:]):
        one = MoneyTally()
        for start in range(0, len(part), 4):
            one.add(part[start : start + 4])
        parts.append(again(one))
    parts[0].merge(parts[1])
    assert again(parts[0]) == again(whole)
    assert said(parts[0]) == said(whole)


def said(found: MoneyTally) -> list[Any]:
    made = Bill(found, BOOK)
    parts = [made.money(), made.users(), made.days(), made.estimate(), models_used(made, TODAY)]
    return [*parts, list(unpriced(made)), [made.task(i) for i in (-1, 0, 1)]]


@pytest.mark.parametrize("table", ["tasks", "models", "days", "users"])
def test_every_table_adds_up_to_the_bill(table: str) -> None:
    draw = random.Random(7)
    calls = [
        call(
            model=draw.choice(["gpt-4o-mini", "gpt-4o", "house"]),
            at=draw.choice([None, AT, AT - 3 * DAY]),
            user=draw.choice([None, "ann", "bob"]),
            endpoint=draw.choice(["chat", "embeddings"]),
            tokens=Tokens(draw.randrange(9999), draw.randrange(99)),
        )
        for _ in range(500)
    ]
    found = tally(calls)
    cells = found.tasks.values() if table == "tasks" else getattr(found, table).cells.values()
    total = Cell()
    for cell in [*cells, *([found.nobody] if table == "users" else [])]:
        total.merge(cell)
    assert total == found.total
    assert found.total.billed == 500


def test_ten_thousand_small_costs_lose_nothing() -> None:
    found = tally([call(tokens=Tokens(333, 7, cached=11))] * 10_000)
    assert found.total.cost == 10_000 * (322 * Decimal("0.15") + 11 * Decimal("0.075") + 7 * Decimal("0.6")) / 10**6


# what costs nothing, and what has no price


def test_pairs_are_billed_and_no_further_call_and_home_answers_cost_nothing() -> None:
    calls = [
        call(user="ann"),
        call(user="ann", answered_by="student", why="home"),
        call(user="ann", why="pair"),
        call(user="ann", answered_by="replay"),
    ]
    found = bill(calls)
    (ann,) = found.users()
    assert (ann.calls, ann.priced, ann.money.value) == (3, 2, float(2 * COST))
    assert found.money().n == 2
    assert [use.calls for use in models_used(found, TODAY)] == [2]


def test_a_price_nobody_knows_is_none_and_never_zero() -> None:
    found = bill([call(model="house"), call(model="house", tokens=Tokens(0, 0))])
    assert found.money().value is None
    assert found.users() == ()
    assert list(unpriced(found)) == ["house has no price on file: its 2 calls are not in the bill."]
    (use,) = models_used(found, TODAY)
    assert (use.money.value, use.priced, use.retires) == (None, 0, None)


def test_counts_of_zero_cost_zero_only_where_they_were_logged() -> None:
    assert bill([call(tokens=Tokens(0, 0))]).money().value == 0.0
    assert bill([call(tokens=None, messages=())]).money().value is None


def test_what_is_not_in_the_bill_is_told() -> None:
    calls = [
        *[call()] * 4,
        *[call(tokens=None, messages=())] * 3,
        *[call(at=None)] * 2,
        *[call(tier="flex")] * 5,
        *[call(model="house")] * 6,
        *[call(model="")] * 7,
        call(error="500", tokens=None),  # billed to nobody
    ]
    found = bill(calls)
    assert (found.money().n, found.tally.total.billed, found.tally.total.calls) == (4, 27, 28)
    assert list(unpriced(found)) == [
        "gpt-4o-mini has no token counts: 3 of its 14 calls are not in the bill.",
        "2 calls of gpt-4o-mini say no time, and so no day's price: not in the bill.",
        "gpt-4o-mini has no flex price on file: 5 calls are not in the bill.",
        "7 calls name no model: their money is unknown.",
        "house has no price on file: its 6 calls are not in the bill.",
    ]


def test_a_thousand_models_without_a_price_are_a_page_and_not_a_book() -> None:
    told = list(unpriced(bill([call(model=f"house-{i}\x1b[31m") for i in range(1000)])))
    assert len(told) == 51
    assert "950 more models" in told[-1]


def test_counts_that_cannot_be_are_no_money() -> None:
    found = bill([call(), call(tokens=Tokens(10**12, 1))])
    assert (found.money().n, found.money().value) == (1, float(COST))


# who and when


def test_users_are_ranked_by_money_and_the_rest_is_one_row() -> None:
    calls = [call(user=f"u{i:03}", tokens=Tokens(1000 * i, 0)) for i in range(60)] + [call()]
    rows = bill(calls).users()
    assert [row.name for row in rows[:2]] == ["u059", "u058"]
    assert [(row.name, row.calls) for row in rows[-2:]] == [("others", 10), ("", 1)]
    assert sum(Decimal(str(row.money.value)) for row in rows) == pytest.approx(tally(calls).total.cost)


def test_more_users_than_can_be_kept_are_a_sample_that_no_cut_changes() -> None:
    names = [f"user {i}" for i in range(3000)]
    whole, parts = Cells(100), [Cells(100), Cells(100)]
    for i, name in enumerate([*names, *names]):
        for table in (whole, parts[i % 7 > 2]):
            if (cell := table.cell(name)) is not None:
                cell.merge(Cell(calls=1))
    parts[0].merge(parts[1])
    assert (parts[0].cells, parts[0].bits) == (whole.cells, whole.bits)
    assert 20 <= len(whole.cells) <= 100
    assert {cell.calls for cell in whole.cells.values()} == {2}


def test_users_beyond_the_sample_are_in_the_others() -> None:
    found = tally([call(user=f"user {i}") for i in range(400)])
    found.users = Cells(60)
    found.users.merge(tally([call(user=f"user {i}") for i in range(400)]).users)
    rows = Bill(found, BOOK).users()
    assert sum(row.calls for row in rows) == 400
    assert "1 user in 8" in rows[-1].money.method or "1 user in 16" in rows[-1].money.method


def test_a_name_of_a_megabyte_is_kept_short_and_apart() -> None:
    one, other = short("x" * 10**6), short("x" * 10**6 + "y")
    assert len(one) < 200 < 10**6
    assert one != other


def test_days_are_in_order_and_the_old_ones_one_row() -> None:
    calls = [call(at=AT - i * DAY) for i in range(1203)] + [call(at=None)]
    rows = bill(calls).days()
    assert (len(rows), rows[0].name, rows[0].calls, rows[-1].name) == (1002, "before 2024-02-25", 203, "")
    named = [row.name for row in rows[1:-1]]
    assert named == sorted(named)
    assert named[-1] == "2026-11-20"


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -1e18, 1e300, -5.0, 253402300800.0])
def test_times_that_no_calendar_has_stop_nothing(at: float) -> None:
    assert bill([call(at=at)]).tally.total.billed == 1


def test_a_day_is_one_of_utc() -> None:
    rows = bill([call(at=datetime.fromisoformat("2026-11-21T01:30:00+02:00").timestamp())]).days()
    assert [row.name for row in rows] == ["2026-11-20"]


# estimates


def test_what_rests_on_estimates_is_said_apart_with_how_far_it_may_be_off() -> None:
    found = bill([call(), call("word " * 400, tokens=None)])
    money, guess = found.money(), found.estimate()
    assert guess.value is not None
    assert money.value is not None
    assert money.value == pytest.approx(float(COST) + guess.value)
    assert money.low is not None
    assert money.high is not None
    assert float(COST) <= money.low < money.value < money.high
    assert "estimated tokens of 1 calls" in money.method
    assert (guess.n, "public vocabularies" in guess.method) == (1, True)
    assert (found.task(0)[2], found.task(-1)[2]) == (1, 0)


def test_counted_calls_have_no_interval() -> None:
    found = bill([call()])
    assert (found.money().low, found.estimate().value) == (None, None)


# another day, another model


def test_traces_that_name_no_model_are_priced_as_one() -> None:
    calls = [call(model="", at=None, tokens=Tokens(1000, 10)), call(model="", at=5.0, tokens=Tokens(2000, 10))]
    assert bill(calls).money().value is None
    book = price_book(price_as="gpt-5.6-luna", price_on=date(2026, 11, 25))
    found = bill(calls, book)
    assert found.tally.total.cost == (3000 * Decimal("0.2") + 20 * Decimal("1.2")) / 10**6
    assert list(unpriced(found)) == []


def test_the_azure_traces_at_todays_prices(shared: Path) -> None:
    """19,366 conversation and 8,819 code calls, by hand from the tokens alone."""
    book = price_book(price_as="gpt-5.6-luna", price_on=date(2026, 11, 25))
    for name, n in (("conv", 19366), ("code", 8819)):
        (path,) = (shared / "data" / "traces" / "azure-llm-2023" / "data").glob(f"*_{name}.csv*")
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
        rows = [line.split(",") for line in text.splitlines()[1:]]
        found = tally([call(model="", at=None, tokens=Tokens(int(r[1]), int(r[2]))) for r in rows], book)
        read_, written = sum(int(r[1]) for r in rows), sum(int(r[2]) for r in rows)
        assert found.total.billed == found.total.priced == n
        assert found.total.cost == (read_ * Decimal("0.2") + written * Decimal("1.2")) / 10**6


@pytest.mark.parametrize("name", ["support-desk", "extraction"])
def test_the_example_logs_to_the_cent(name: str) -> None:
    path = next(iter(sorted((ROOT / "examples" / name).glob("calls.jsonl*"))), None)
    if path is None:
        pytest.skip(f"no example log {name}")
    with gzip.open(path, "rt") as file:
        usages = [json.loads(line)["response"]["usage"] for line in file]
    usd = sum(u["prompt_tokens"] * Decimal("0.15") + u["completion_tokens"] * Decimal("0.60") for u in usages) / 10**6
    found = tally(read([path]).calls)
    assert (found.total.cost, found.total.priced) == (usd, len(usages))


# a month


def test_a_month_at_this_pace_carries_the_interval() -> None:
    money = Measure(10.0, 9.0, 11.0, 5, "USD", "so")
    month = per_month(money, 0.0, 30.4375 * DAY)
    assert [month.value, month.low, month.high] == pytest.approx([10.0, 9.0, 11.0])
    assert per_month(money, 0.0, DAY - 1).value is None
    assert per_month(money, None, None).value is None
