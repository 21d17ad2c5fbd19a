"""How calls ended and how long they took: by hand, beside exact quantiles, and however the log is cut."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from freehold.audit.tallies import health
from freehold.audit.tallies.health import HealthTally, Seconds
from freehold.audit.tallies.tally import Seen
from freehold.measure import ranks
from freehold.nouns import Call

from .cuts import check_cuts, counted


def ended(answer: str | None = None, message: dict[str, Any] | None = None, task: int = 0, **own: Any) -> Seen:
    row = {"response": {"choices": [{"message": message or {"role": "assistant", "content": answer}}]}}
    return Seen(Call(({"role": "user", "content": "hi"},), answer=answer, row=row, **own), (0, 1), task)


REFUSAL = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
CALLS = [
    ended("x", seconds=1.0),
    ended(error="429", seconds=9.0),
    ended(error="429", task=1),
    ended(error="500"),
    ended(message=REFUSAL, finish="stop", task=1),
    ended(message=REFUSAL, finish="content_filter"),
    ended(finish="length", seconds=3.0),
    ended(finish="max_tokens", task=-1),
    ended(finish="content_filter"),
    ended(message={"tool_calls": [{}]}, finish="tool_calls", seconds=2.0),
    ended("home", answered_by="student", seconds=0.01),
]


def test_by_hand() -> None:
    tally = HealthTally()
    tally.add(CALLS)
    found = tally.health(retries=3)
    assert found.errors == {"429": 2, "500": 1}
    assert (found.refused, found.cut, found.filtered, found.retries) == (2, 2, 1, 3)
    assert (found.seconds.value, found.seconds.n) == (2.0, 3)  # neither a failure nor a home answer has a time here
    assert found.slow.value == 3.0
    assert tally.spoilt == {0: 5, 1: 2}
    assert tally.shares({0: 10, 1: 2, 2: 7}) == {0: 0.5, 1: 1.0}


def test_nothing_is_known_of_no_calls() -> None:
    found = HealthTally().health()
    assert (found.errors, found.seconds.value, found.slow.value) == ({}, None, None)
    assert "doesn't say" in found.seconds.method


def test_every_cut_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(5)
    calls = [*CALLS, *(ended("x", seconds=draw.lognormvariate(0, 1)) for _ in range(60))]

    def said(tally: HealthTally) -> Any:
        return tally.health(), tally.spoilt

    assert check_cuts(HealthTally, calls, said)[0].seconds.n == 63
    monkeypatch.setattr(health, "KNOWN", 40)
    assert "histogram" in check_cuts(HealthTally, calls, said)[0].seconds.method


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_histogram_is_within_one_percent(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    draw = random.Random(6)
    times = [draw.lognormvariate(0.3, 2) for _ in range(9000)]
    exact = Seconds()
    exact.add(times)
    monkeypatch.setattr(health, "KNOWN", 100)
    binned = Seconds()
    binned.add(times[:50])
    binned.add(times[50:])
    assert binned.exact == []
    for one, other in zip(_figures(exact, share), _figures(binned, share), strict=True):
        assert other == pytest.approx(one, rel=0.0101)
    assert exact.quantile(share).value == np.sort(times)[int(np.ceil(share * 9000)) - 1]


def _figures(seconds: Seconds, share: float) -> tuple[float, ...]:
    found = seconds.quantile(share)
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    return found.low, found.value, found.high


def test_odd_times_do_no_harm() -> None:
    tally = counted(HealthTally, [ended("x", seconds=0.0), ended("x", seconds=1e11)])
    assert tally.health().slow.value == 1e11


def test_the_interval_holds_the_quantile_as_often_as_it_says() -> None:
    draw = np.random.default_rng(7)
    for q in (0.5, 0.95):
        low, high = ranks(200, q)
        assert low is not None
        assert high is not None
        values = np.sort(draw.random((2000, 200)), axis=1)
        inside = ((values[:, low] <= q) & (q <= values[:, high])).mean()
        assert 0.945 <= inside <= 0.985
    assert ranks(10, 0.95)[1] is None  # ten values say nothing of how high it may lie
