"""Amounts as people type them."""

from __future__ import annotations

import pytest

from freehold.errors import BadSetting
from freehold.plan.amounts import monthly, number, ratio


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10M/month", 10e6),
        ("10M tokens/month", 10e6),
        ("10,000,000 tokens per month", 10e6),
        ("1.2B a year", 100e6),
        ("1.2 billion tokens per year", 100e6),
        ("1000/hour", 730_500),
        ("1k/day", 30_437.5),
        ("2e6 / mo", 2e6),
        ("7/weeks", 30.4375),
    ],
)
def test_amounts_a_month(text: str, value: float) -> None:
    assert monthly(text, "--tokens", "tokens") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10M", "does not say per what"),
        ("10M tokens", "does not say per what"),
        ("-10M/month", "-1e+07 tokens a month"),
        ("0/month", "0 tokens a month"),
        ("1e30/month", "1e+30 tokens a month"),
        ("10Q/month", "'q' is no size"),
        ("10M/fortnight", "'fortnight' is no period"),
        ("10M calls/month", "counts calls, not tokens"),
        ("many", "not an amount per time"),
        ("", "not an amount per time"),
        ("nan/month", "not an amount per time"),
    ],
)
def test_what_is_not_an_amount_is_refused_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(BadSetting) as caught:
        monthly(text, "--tokens", "tokens")
    assert said in caught.value.message
    assert "--tokens 10M/month" in caught.value.hint


def test_calls_may_be_called_requests() -> None:
    assert monthly("30 requests/month", "--calls", "calls") == 30


@pytest.mark.parametrize(("text", "share"), [("3:1", 0.75), ("1:0", 1.0), ("0:5", 0.0), ("5.5:1", 5.5 / 6.5)])
def test_ratio(text: str, share: float) -> None:
    assert ratio(text, "--ratio") == pytest.approx(share)


@pytest.mark.parametrize("text", ["3", "a:b", "0:0", "-1:2", "1:2:3", "nan:1"])
def test_what_is_no_ratio_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="ratio"):
        ratio(text, "--ratio")


@pytest.mark.parametrize("text", ["x", "-1", "nan", "inf", "101"])
def test_numbers_have_limits(text: str) -> None:
    with pytest.raises(BadSetting):
        number(text, "--growth", least=0, most=100, unit="percent a year")
