"""Prices by hand: by model, day, hour, size of prompt and tier, to the last digit, or none at all."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from freehold.errors import BadSetting
from freehold.facts import PriceBook, load, price, price_book
from freehold.facts.listed import listed
from freehold.facts.models import Address
from freehold.nouns import Tokens
from freehold.project import OwnPrice, Settings

M = 1_000_000
SMALL = 1000  # below every long-prompt tier


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


AT = at("2026-11-20T12:00")


def usd(text: str) -> Decimal:
    """USD a million tokens → USD for SMALL of them."""
    return Decimal(text) * SMALL / M


@pytest.mark.parametrize(
    ("tokens", "per_million"),
    [
        (Tokens(M, 0), "150000"),
        (Tokens(0, M), "600000"),
        (Tokens(M, 0, cached=M), "75000"),
        (Tokens(1000, 10, cached=400), "126"),
        (Tokens(712, 2), "108"),
        (Tokens(500, 300, reasoning=200), "255"),
        (Tokens(10, 1, cached=99), "1.35"),  # no more cached than were read
        (Tokens(0, 0), "0"),
    ],
)
def test_gpt_4o_mini_by_hand(tokens: Tokens, per_million: str) -> None:
    for model in ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini", "openrouter/openai/GPT-4o-mini"):
        assert price(model, tokens, AT) == Decimal(per_million) / M


CLOSED = """
gpt-4 30 - 60 | gpt-4-turbo 10 - 30 | gpt-3.5-turbo 0.5 - 1.5 | gpt-4o 2.5 1.25 10 | gpt-4o-mini 0.15 0.075 0.6
gpt-4.1 2 0.5 8 | gpt-4.1-mini 0.4 0.1 1.6 | gpt-5 1.25 0.125 10 | gpt-5-mini 0.25 0.025 2 | gpt-5-nano 0.05 0.005 0.4
gpt-5.6-sol 4 0.4 20 | gpt-5.6-terra 2 0.2 12 | gpt-5.6-luna 0.2 0.02 1.2 | gpt-6-astra 10 1 50 | gpt-6.1-sol 2 0.1 10
gpt-6.1-terra 1 0.05 5 | gpt-6-luna 0.1 0.01 0.5 | claude-opus-5-5 4 0.2 20 | claude-sonnet-5-5 2 0.1 10
claude-haiku-4-5 1 0.1 5 | claude-haiku-5-5 0.1 0.01 0.5 | claude-sonnet-4-5 3 0.3 15 | gemini-2.5-pro 1.25 - 10
gemini-2.5-flash 0.3 - 2.5 | gemini-2.5-flash-lite 0.1 - 0.4 | gemini-3.8-flash 0.75 - 3.75 | gemini-4-argon 2 - 10
"""
"""$ a million tokens in, cached, out on 2026-11-20: litellm 1.109.1, a second source beside genai-prices."""


@pytest.mark.parametrize("said", CLOSED.strip().replace("\n", " | ").split(" | "))
def test_two_sources_say_the_same(said: str) -> None:
    model, read, cached, written = said.split()
    assert price(model, Tokens(SMALL, 0), AT) == usd(read)
    assert price(model, Tokens(0, SMALL), AT) == usd(written)
    assert cached == "-" or price(model, Tokens(SMALL, 0, cached=SMALL), AT) == usd(cached)


@pytest.mark.parametrize(
    ("model", "day", "before", "after"),
    [
        ("gemini-4-argon", "2026-12-01", "2", "4"),
        ("gemini-3.8-flash", "2027-01-01", "0.75", "1.5"),
        ("gpt-5.6-luna", "2026-07-30", "1", "0.2"),
        ("gpt-5.6-sol", "2026-08-21", "5", "4"),
        ("deepseek-v4-pro", "2026-08-17", "0.435", "0.66"),
    ],
)
def test_a_price_is_that_of_its_day(model: str, day: str, before: str, after: str) -> None:
    turn = at(day)
    assert price(model, Tokens(SMALL, 0), turn - 0.001) == usd(before)
    assert price(model, Tokens(SMALL, 0), turn) == usd(after)


def test_the_turn_of_the_day_is_that_of_utc() -> None:
    beijing = timezone(timedelta(hours=8))
    there = datetime(2026, 12, 1, 7, 59, 59, tzinfo=beijing)  # still November at Greenwich
    assert price("gemini-4-argon", Tokens(SMALL, 0), there.timestamp()) == usd("2")


@pytest.mark.parametrize(
    ("moment", "read"),
    [
        ("2026-11-20T00:29:59", "0.135"),
        ("2026-11-20T00:30:00", "0.27"),
        ("2026-11-20T16:29:59", "0.27"),
        ("2026-11-20T16:30:00", "0.135"),
    ],
)
def test_a_price_is_that_of_its_hour(moment: str, read: str) -> None:
    book = PriceBook()
    for shift in (0, 7, 70):  # asked of one book in any order
        moved = at(moment) - 86400 * shift
        assert book.price("deepseek-chat", Tokens(SMALL, 0), moved) == usd(read)


@pytest.mark.parametrize(
    ("moment", "read"),
    [
        ("2026-08-03T02:00", "0.435"),  # before there were peak hours; genai-prices has 1.32 here
        ("2026-11-20T02:00", "1.32"),  # a Friday
        ("2026-11-21T02:00", "0.66"),  # a Saturday: off-peak all day
        ("2026-11-20T05:00", "0.66"),
    ],
)
def test_what_the_public_list_cannot_say_is_shipped(moment: str, read: str) -> None:
    assert price("deepseek-v4-pro", Tokens(SMALL, 0), at(moment)) == usd(read)


@pytest.mark.parametrize(
    ("model", "prompt", "read", "written"),
    [
        ("gpt-5.6-sol", 272_000, "4", "20"),
        ("gpt-5.6-sol", 272_001, "8", "30"),
        ("claude-haiku-5-5", 100_000, "0.1", "0.5"),
        ("claude-haiku-5-5", 100_001, "0.5", "2.5"),
        ("azure/us/gpt-6.1-sol", 272_000, "2.2", "11"),
        ("azure/us/gpt-6.1-sol", 272_001, "4.4", "16.5"),
    ],
)
def test_a_long_prompt_lifts_every_token(model: str, prompt: int, read: str, written: str) -> None:
    whole = (Decimal(read) * prompt + Decimal(written) * 100) / M
    assert price(model, Tokens(prompt, 100), AT) == whole


@pytest.mark.parametrize(
    ("model", "tier", "moment", "read"),
    [
        ("gpt-4o-mini", "batch", "2026-11-20", "0.075"),
        ("gpt-4o-mini", "batch", "2025-01-01", "0.075"),  # before genai-prices wrote it down: half, says OpenAI
        ("gpt-4o-mini", "batch", "2024-04-14", None),  # the API did not have it yet
        ("gpt-4o-mini", "priority", "2026-11-20", "0.25"),
        ("gpt-4o-mini", "priority", "2026-01-01", None),  # no source says what it cost then
        ("gpt-4o-mini", "flex", "2026-11-20", None),  # not offered
        ("gpt-5", "flex", "2026-11-20", "0.625"),
        ("gpt-5", "flex", "2026-01-01", "0.625"),
        ("gpt-5.6-luna", "batch", "2026-07-29", "0.5"),  # half of what it cost before the cut
        ("claude-haiku-5-5", "batch", "2026-11-20", "0.05"),
        ("claude-sonnet-4-5", "batch", "2025-10-01", "1.5"),
        ("gemini-3.8-flash", "batch", "2027-01-01", "0.75"),
        ("gemini-3.8-flash", "priority", "2026-11-20", "1.35"),
        ("gemini-2.5-pro", "priority", "2026-11-20", None),
        ("azure/gpt-4o", "batch", "2026-11-20", "1.25"),
        ("azure/gpt-4o", "priority", "2026-11-20", None),  # OpenAI's price of it is not Azure's
        ("ft:gpt-4o-mini-2024-07-18:acme::9x", "batch", "2026-11-20", "0.15"),
        ("groq/llama-3.3-70b-versatile", "flex", "2026-11-20", "0.59"),
        ("deepseek-chat", "batch", "2026-11-20", None),
        ("gpt-4o-mini", "scale", "2026-11-20", None),
        ("gpt-4o-mini", "Batch", "2026-11-20", None),
    ],
)
def test_price_tiers(model: str, tier: str, moment: str, read: str | None) -> None:
    found = price(model, Tokens(SMALL, 0), at(moment), tier)
    assert found == (None if read is None else usd(read))


def test_batch_keeps_the_usual_price_of_what_is_cached() -> None:
    """OpenAI's batch list of gpt-4.1 has no cached price: it is billed at the usual one, whenever the call was made."""
    for moment in ("2025-09-01", "2026-11-20"):
        assert price("gpt-4.1", Tokens(SMALL, 0, cached=SMALL), at(moment), "batch") == usd("0.5")
        assert price("gpt-4.1", Tokens(SMALL, 0), at(moment), "batch") == usd("1")


@pytest.mark.parametrize(
    ("model", "tokens", "total"),
    [
        ("claude-sonnet-4-5", Tokens(1000, 0, cached=200, cache_write=300), "500*3 + 200*0.3 + 300*3.75"),
        ("gpt-5.6-luna", Tokens(1000, 50, cached=100, cache_write=500), "400*0.2 + 100*0.02 + 500*0.25 + 50*1.2"),
        ("gpt-4o-audio-preview", Tokens(1000, 100, audio_in=600, audio_out=40), "400*2.5 + 600*40 + 60*10 + 40*80"),
        ("gemini-2.5-flash", Tokens(1000, 0, audio_in=1000), "1000*1"),
        ("gpt-5", Tokens(10, 100, reasoning=90), "10*1.25 + 100*10"),
        ("gpt-4o-mini", Tokens(100, 0, cached=60, cache_write=60, audio_in=60), "60*0.075 + 40*0.15"),
        ("text-embedding-3-small", Tokens(1000, 0), "1000*0.02"),
    ],
)
def test_every_kind_of_token(model: str, tokens: Tokens, total: str) -> None:
    parts = [part.split("*") for part in total.split(" + ")]
    assert price(model, tokens, AT) == sum(Decimal(n) * Decimal(rate) for n, rate in parts) / M


@pytest.mark.parametrize(
    ("model", "read"),
    [
        ("ft:gpt-4o-mini-2024-07-18:acme::9x", "0.3"),
        ("openai/ft:gpt-4.1-2025-04-14:acme::9x", "3"),
        ("azure/gpt-4o", "2.5"),
        ("azure/us/gpt-4o", "2.75"),
        ("azure/gpt-35-turbo", "0.5"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "0.25"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "3.3"),
        ("bedrock/global.anthropic.claude-opus-5-5", "4"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0", "1.1"),
        ("vertex_ai/claude-sonnet-4-5@20250929", "3"),
        ("vertex_ai/gemini-2.5-pro", "1.25"),
        ("openrouter/anthropic/claude-sonnet-4.5", "3"),
        ("groq/llama-3.3-70b-versatile", "0.59"),
        ("together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", "0.88"),
        ("cerebras/gpt-oss-120b", "0.35"),
        ("deepinfra/openai/gpt-oss-120b", "0.037"),
        ("litellm/gpt-4o", "2.5"),
    ],
)
def test_the_host_says_whose_price_list(model: str, read: str) -> None:
    assert price(model, Tokens(SMALL, 0), AT) == usd(read)


@pytest.mark.parametrize(
    "model",
    [
        "",
        "foo",
        "gpt-4o-mini-of-ours",
        "ft:gpt-5-2025-08-07:acme::9x",
        "my/llama",
        "ft:",
        "/",
        "azure/",
        "our-proxy/gpt-4o",  # at whose price, nobody knows
        "gpt-oss-120b",  # an open model, by no host's name
        "openai/gpt-oss-120b",
        "llama-3.3-70b",
        "azure/mars/gpt-99",
        "gpt-4o\x00\x1b[31m",
        "<script>gpt-4o</script>",
        "gpt-4o'; DROP TABLE prices; --",
        "../../gpt-4o",
        "x" * 100_000,
    ],
)
def test_an_unknown_price_is_none_and_never_zero(model: str) -> None:
    assert price(model, Tokens(1000, 10), AT) is None


@pytest.mark.parametrize(
    "tokens",
    [Tokens(-1, 0), Tokens(0, -5), Tokens(10, 1, cached=-3), Tokens(10, 1, audio_out=-1), Tokens(10**9 + 1, 0)],
)
def test_counts_that_cannot_be_have_no_price(tokens: Tokens) -> None:
    assert price("gpt-4o-mini", tokens, AT) is None


def test_an_answer_where_none_is_sold_has_no_price() -> None:
    assert price("text-embedding-3-small", Tokens(1000, 1), AT) is None


@pytest.mark.parametrize("moment", [0.0, -1e12, 1e18, 4e9])
def test_times_out_of_reason_stop_nothing(moment: float) -> None:
    price("deepseek-chat", Tokens(1000, 1), moment)
    price("gpt-4o-mini", Tokens(1000, 1), moment, "batch")


def test_without_a_time_there_is_no_price() -> None:
    assert price("gpt-4o-mini", Tokens(1000, 10), None) is None


def test_a_million_small_calls_add_up_to_the_last_digit() -> None:
    one = price("gpt-5.6-luna", Tokens(333, 7, cached=11), AT)
    assert one is not None
    assert sum([one] * 10_000, Decimal(0)) == 10_000 * one == Decimal("0.73020")


OWN = OwnPrice(Decimal("0.12"), Decimal("0.48"), cached=Decimal("0.06"), since=date(2026, 7, 1))


def test_the_teams_own_price_goes_first_from_its_day() -> None:
    book = PriceBook({"GPT-4o-mini": OWN, "our-deployment": OwnPrice(Decimal(1), Decimal(2))})
    assert book.price("gpt-4o-mini", Tokens(SMALL, 0, cached=500), AT) == (usd("0.12") + usd("0.06")) / 2
    assert book.price("gpt-4o-mini", Tokens(SMALL, 0), at("2026-06-30T23:59:59")) == usd("0.15")
    assert book.price("gpt-4o-mini", Tokens(SMALL, 0), AT, "batch") == usd("0.06")
    assert book.price("gpt-4o-mini-2024-07-18", Tokens(SMALL, 0), AT) == usd("0.15")  # another name in the log
    assert book.price("our-deployment", Tokens(0, SMALL), at("2001-01-01")) == usd("2")
    assert book.price("our-deployment", Tokens(0, SMALL), AT, "batch") is None


def test_a_discount_is_off_the_public_price_alone() -> None:
    book = PriceBook({"gpt-4o": OwnPrice(Decimal(1), Decimal(1))}, {"openai": 0.15})
    assert book.price("gpt-4o-mini", Tokens(SMALL, 0), AT) == usd("0.1275")
    assert book.price("gpt-4o", Tokens(SMALL, 0), AT) == usd("1")
    assert book.price("claude-haiku-4-5", Tokens(SMALL, 0), AT) == usd("1")


def test_traffic_without_models_is_priced_as_one_on_a_day() -> None:
    book = price_book(price_as="gpt-5.6-luna", price_on=date(2026, 11, 25))
    assert book.price("", Tokens(SMALL, 0), None) == usd("0.2")
    assert book.price("", Tokens(SMALL, 0), at("2026-07-01")) == usd("0.2")
    assert book.price("gpt-4o", Tokens(SMALL, 0), None) == usd("2.5")
    assert "2026-11-25" in book.method()
    assert "gpt-5.6-luna" in book.method()


def test_a_book_travels_to_another_process() -> None:
    book = PriceBook({"gpt-4o": OWN}, {"openai": 0.15}, price_as="gpt-5.6-luna", on=AT)
    book.price("gpt-4o", Tokens(1, 1), AT)
    twin = copy.copy(book)  # by __reduce__, as multiprocessing does
    for model in ("gpt-4o", "gpt-4o-mini", ""):
        assert twin.price(model, Tokens(SMALL, 1), None) == book.price(model, Tokens(SMALL, 1), None)


def test_a_model_to_price_as_must_have_a_price() -> None:
    with pytest.raises(BadSetting, match="no price on file"):
        price_book(price_as="gpt-99")


def test_a_discount_for_nobody_names_the_known() -> None:
    with pytest.raises(BadSetting, match="openai"):
        price_book(Settings(discounts={"opnai": 0.1}))


def test_shipped_rows_are_sound() -> None:
    for row in load("prices.csv"):
        assert row["model"] == row["model"].lower()
        assert not row["days"] or set(row["days"]) <= set("1234567")
        for day in (row["from"], row["to"]):
            assert not day or date.fromisoformat(day)
        for kind in ("input", "cached", "cache_write", "output", "audio_in", "audio_out"):
            assert not row[kind] or 0 <= Decimal(row[kind]) < 1000
    spans = [(r["provider"], r["model"], r["from"], r["days"], r["above"]) for r in load("prices.csv")]
    assert len(set(spans)) == len(spans)


def test_hours_turn_on_the_quarter() -> None:
    """Schedule keeps one price a quarter of an hour: every hour on the public list begins on one."""
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import TimeOfDateConstraint

    for provider in get_snapshot().providers:
        for model in provider.models:
            for dated in model.prices if isinstance(model.prices, list) else ():
                if isinstance(hours := dated.constraint, TimeOfDateConstraint):
                    assert hours.start_time.minute % 15 == hours.end_time.minute % 15 == 0
                    assert hours.start_time.second == hours.end_time.second == 0


LISTS = ["openai", "anthropic", "google", "azure", "mistral", "x-ai", "deepseek", "aws", "groq"]


@pytest.mark.parametrize("tier", ["", "batch", "flex", "priority"])
@pytest.mark.parametrize("provider", LISTS)
def test_the_public_list_read_is_the_public_list_asked(provider: str, tier: str) -> None:
    """Our arithmetic beside genai-prices' own, for every model and tier that it lists, short prompts and long."""
    from genai_prices import Usage
    from genai_prices.data_snapshot import get_snapshot

    (found,) = [one for one in get_snapshot().providers if one.id == provider]
    context = {"": {}, "batch": {"processing": "batch"}}.get(tier, {"service_tier": tier})
    compared = 0
    for model in found.models:
        if found.find_model(model.id) is not model:
            continue  # an id that is no model's name, or that another entry takes first
        if tier and not any(variant.when == context for variant in model.price_variants or ()):
            continue
        schedule = listed(Address(provider, (model.id.lower(),)), tier)
        assert schedule is not None
        for moment in (at("2026-11-20T02:00"), at("2027-01-02T12:00")):
            for prompt in (5_000, 150_000, 300_000):
                rates = schedule.at(moment)
                if rates is None or rates.bands[0].output is None:
                    continue
                tokens = Tokens(prompt, 700, cached=1_000, cache_write=2_000)
                usage = Usage(input_tokens=prompt, output_tokens=700, cache_read_tokens=1_000, cache_write_tokens=2_000)
                when = datetime.fromtimestamp(moment, UTC)
                asked = model.calc_price(usage, found, genai_request_timestamp=when, price_context=context)
                assert rates.cost(tokens) == pytest.approx(asked.total_price, rel=Decimal("1e-12")), model.id
                compared += 1
    assert compared or tier not in ("", "batch") or provider in ("azure", "deepseek", "aws", "groq")
