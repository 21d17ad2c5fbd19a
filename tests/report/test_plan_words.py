"""A plan's figures read as people write them; unknown is never 0, and nothing is rounded up to certainty."""

from __future__ import annotations

import pytest

from freehold.nouns import Fact, Measure
from freehold.report.plan_words import (
    amount,
    beside,
    big,
    factor,
    odds,
    plain,
    power,
    range_of,
    seconds,
    size,
    stale,
    usd,
)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "not known"), (0, "$0"), (0.2, "$0.20"), (0.0375, "$0.0375"), (0.0012, "$0.0012"), (15, "$15"),
     (12.4, "$12.40"), (4375.4, "$4,375"), (-2105, "-$2,105"), (1_250_000, "$1.25 million")],
)  # fmt: skip
def test_dollars(value: float | None, said: str) -> None:
    assert usd(value) == said


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (4175, "USD/month", "$4,175 a month"), (2.95, "USD/h", "$2.95 an hour"), (0.21, "USD/kWh", "$0.21 per kWh"),
        (0.2, "USD/1M tokens", "$0.20 per 1M tokens"), (196, "USD/kW/month", "$196 per kW a month"),
        (1e9, "tokens/month", "1 billion tokens a month"), (1240, "tokens/s", "1,240 tokens a second"),
        (0.31, "share", "31 %"), (0.009, "share", "0.9 %"), (1.27, "times", "× 1.27"), (2.13, "months", "2.1 months"),
        (1, "months", "1 month"),
        (4591, "months", "383 years"), (148, "s", "2.5 min"), (0.031, "s", "31 ms"), (141e9, "bytes", "141 GB"),
        (4.2e18, "FLOP", "4.2\u00a0×\u00a010¹⁸ FLOP"), (None, "share", "not known"),
    ],
)  # fmt: skip
def test_amounts_by_unit(value: float | None, unit: str, said: str) -> None:
    assert amount(value, unit) == said


def test_sizes_times_and_counts() -> None:
    assert [big(v) for v in (None, 0.5, 950, 12_300, 999_900, 3e9)] == [
        "not known", "0.5", "950", "12,300", "1 million", "3 billion",
    ]  # fmt: skip
    assert [size(v) for v in (999, 2.5e6, 16.12e9, 1.5e12)] == ["999 bytes", "2.5 MB", "16.1 GB", "1.5 TB"]
    assert [seconds(v) for v in (0.0066, 0.42, 2.9, 96, 7300, 200_000)] == [
        "6.6 ms", "420 ms", "2.9 s", "96 s", "2 h", "2.3 days",
    ]  # fmt: skip
    assert power(3.3e22) == "3.3\u00a0×\u00a010²²"


def test_a_chance_is_never_rounded_to_certainty() -> None:
    assert [odds(v) for v in (None, 0.0, 0.0002, 0.61, 0.998, 0.9998, 1.0)] == [
        "not known", "0 %", "under 0.1 %", "61 %", "99.8 %", "over 99.9 %", "100 %",
    ]  # fmt: skip


def test_what_stands_beside_a_figure() -> None:
    drawn = Measure(200, 171, 236, 4000, "USD/month", "P10, P50 and P90 of 4,000 draws")
    assert beside(drawn) == "P10 to P90: $171 to $236, 4,000 draws"
    assert beside(Measure(40, 30, 50, 36, "tokens/s", "roofline")) == "30 to 50, n = 36"
    assert beside(Measure(1.0)) == ""
    assert range_of(Measure(4.376, 4.3756, 4.3761, 9, "USD")) == ""  # both ends read the same


def test_how_far_and_names() -> None:
    assert factor(31.4) == "31 times as much"
    assert factor(0.139) == "7.2 times less"
    assert plain("closed-price-change") == "closed price change"
    assert plain("rent-rtx-5090") == "rent-rtx-5090"


def test_facts_grow_old_after_90_days() -> None:
    fact = Fact("rents", "h100", {}, "a page", "2026-08-02")
    assert stale(fact, "2026-11-25")
    assert not stale(fact, "2026-10-31")
    assert not stale(fact, "")
