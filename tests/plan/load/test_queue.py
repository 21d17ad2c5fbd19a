"""Queues by formula: Erlang C's worked values, the exact cases, and what grows without end."""

from __future__ import annotations

import pytest

from freehold.errors import BadSetting
from freehold.plan.load.queue import erlang_c, waiting


@pytest.mark.parametrize(
    ("servers", "load", "waits"),
    [
        (3, 2.0, 4 / 9),  # by hand: (8/6 x 3) / (1 + 2 + 2 + 4)
        (1, 0.5, 0.5),  # M/M/1: rho
        (2, 1.0, 1 / 3),  # 2 rho^2 / (1 + rho)
        (55, 48.0, 0.239),  # 360 calls in half an hour of 4 minutes each, 55 agents: the usual worked example
        (4, 4.0, 1.0),
        (4, 0.0, 0.0),
    ],
)
def test_erlang_c(servers: int, load: float, waits: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(waits, abs=5e-4)


def test_many_servers_run_over_nothing() -> None:
    assert 0 < erlang_c(2000, 1950.0) < 1


def test_exact_cases() -> None:
    assert waiting(0.8, 1.0, 1) == pytest.approx(4.0)  # M/M/1: rho / (mu - lambda)
    assert waiting(0.8, 1.0, 1, services=0.0) == pytest.approx(2.0)  # M/D/1: half of it
    assert waiting(2.0, 1.0, 3) == pytest.approx(4 / 9)  # M/M/3 at 2 erlangs
    assert waiting(1.0, 1.0, 1) == float("inf")


def test_no_queue() -> None:
    with pytest.raises(BadSetting, match="0 servers"):
        erlang_c(0, 1.0)
