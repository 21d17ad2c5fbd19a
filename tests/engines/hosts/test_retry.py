"""Extra tries: which failures are worth one, how long it waits, and how few there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.hosts.retry import Retries, delay, may


@pytest.mark.parametrize("why", ["upstream_unreachable", "upstream_interrupted", "upstream_status", "upstream_error"])
def test_these_are_tried_again_anywhere(why: str) -> None:
    assert may(why, other=False)
    assert may(why, other=True)


@pytest.mark.parametrize("why", ["rate_limited", "upstream_busy", "upstream_timeout", "upstream_redirects"])
def test_these_only_elsewhere(why: str) -> None:
    assert not may(why, other=False)
    assert may(why, other=True)


@given(st.floats(0, 1, exclude_max=True))
def test_the_wait_is_from_a_tenth_to_two_seconds(drawn: float) -> None:
    assert 0.1 <= delay(lambda: drawn) < 2.0


def test_three_are_always_there_in_ten_seconds() -> None:
    retries = Retries()
    retries.call(0.0)
    assert [retries.take(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert not retries.take(9.9)
    assert retries.take(10.0)


@given(st.lists(st.floats(0, 3), max_size=300))
def test_in_no_ten_seconds_are_there_more_than_a_fifth_or_three(gaps: list[float]) -> None:
    retries, now = Retries(), 0.0
    calls: list[int] = []
    taken: list[int] = []
    for gap in gaps:
        now += gap
        retries.call(now)
        calls.append(int(now))
        if retries.take(now):
            taken.append(int(now))
        recent = [sum(at > int(now) - 10 for at in times) for times in (calls, taken)]
        assert recent[1] <= max(3, recent[0] // 5)


def test_a_thousand_calls_at_once_buy_two_hundred() -> None:
    retries = Retries()
    tries = 0
    for _ in range(1000):
        retries.call(5.0)
        tries += retries.take(5.0)
    assert tries == 200
