"""The queue to move: what costs more and moves better comes first, and the reason says what stands in the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from freehold.audit.moves import BARS, rank
from freehold.facts import load
from freehold.measure import calls_needed, log_calls
from freehold.nouns import FirstMove, Kind, Measure, Slot, Task, Template
from freehold.plan.task import plan_task

TEMPLATE = Template((Slot("user", "", variable=True),))
TODAY = date(2026, 11, 25)
KINDS: tuple[Kind, ...] = ("labels", "json", "tools", "sql", "text", "embeddings")


def task(name: str = "route", kind: Kind = "labels", usd: float | None = 10.0, calls: int = 5000, **own: Any) -> Task:
    given: dict[str, Any] = {"labels": ("a", "b") if kind == "labels" else (), "rule": "exact"}
    return Task(name, TEMPLATE, kind, calls, 1.0, money=Measure(usd, n=calls, unit="USD"), **given | own)


def month(money: Measure) -> Measure:
    return replace(money, value=None if money.value is None else 3 * money.value, unit="USD/month")


def ranked(*tasks: Task, **own: Any) -> tuple[FirstMove, ...]:
    return rank(tasks, month, today=TODAY, **own)


def test_money_times_portability() -> None:
    prose, labels, cheap = task("prose", "text", 50.0), task("labels"), task("cheap", usd=1.0)
    found = ranked(cheap, prose, labels)
    assert [one.task for one in found] == ["labels", "prose", "cheap"]
    assert (found[0].money.value, found[0].money.unit) == (30.0, "USD/month")
    assert found[0].reason == "Labels move best; 5,000 calls can prove up to bar 0.99."


def test_kinds_in_the_order_that_was_measured() -> None:
    found = ranked(*(task(kind, kind) for kind in KINDS))
    assert [one.kind for one in found] == list(KINDS)
    assert found[0].portability.value == 0.97
    assert found[-1].portability.value == 0.0
    for one in found:
        low, value, high = one.portability.low, one.portability.value, one.portability.high
        assert low is not None
        assert value is not None
        assert high is not None
        assert 0.0 <= low <= value <= high <= 1.0
        assert one.reason.endswith(".")
        assert "\n" not in one.reason
    assert "docs/log.md" in found[1].portability.method


def test_what_lowers_it() -> None:
    plain = ranked(task())[0].portability.value or 0.0
    noisy = ranked(task(noise=Measure(0.8, 0.7, 0.9, 100)))[0]
    assert noisy.portability.value == pytest.approx(0.8 * plain)
    assert noisy.portability.low == pytest.approx(0.7 * 0.949)
    assert "agrees with itself in only 80.0% of 100 requests" in noisy.reason
    assert ranked(task(noise=Measure(0.5, 0.1, 0.9, 4)))[0].portability.value == plain  # four say nothing
    cut = ranked(task(), spoilt={"route": 0.25})[0]
    assert cut.portability.value == pytest.approx(0.75 * plain)
    assert "25.0% of its calls brought no whole answer" in cut.reason
    few = ranked(task(calls=29))[0]
    assert few.portability.value == pytest.approx(plain / 4)
    assert "29 calls are fewer than the 116" in few.reason
    assert "can prove" not in few.reason


def test_what_never_moves() -> None:
    assert ranked(task(kind="text", rule="none"))[0].portability.value == 0.0
    assert "no rule says" in ranked(task(kind="text", rule="none"))[0].reason.lower()
    assert "every answer is the same" in ranked(task(labels=("a",)))[0].reason.lower()
    assert "embeddings don't move" in ranked(task(kind="embeddings"))[0].reason.lower()


def test_a_switch_off_moves_a_task_up() -> None:
    safe, dying = task("safe", usd=12.0, models=("unheard-of",)), task("dying", models=("unheard-of", "gpt-4o-mini"))
    found = ranked(safe, dying)
    assert [one.task for one in found] == ["dying", "safe"]
    assert "gpt-4o-mini is switched off in 50 days" in found[0].reason
    assert found[0].portability.value == found[1].portability.value  # it moves no better for that
    assert [one.task for one in rank([safe, dying], month, today=date(2024, 1, 1))] == ["safe", "dying"]
    assert "switched off already" in rank([dying], month, today=date(2027, 2, 1))[0].reason


def test_unknown_money_comes_after_known_by_calls() -> None:
    found = ranked(task("few", usd=None, calls=200), task("known", usd=0.01), task("many", usd=None))
    assert [one.task for one in found] == ["known", "many", "few"]
    assert "what it costs is not known" in found[1].reason
    assert found[1].money.value is None


def test_calls_needed_are_those_of_the_plan() -> None:
    (one,) = ranked(task())
    assert one.needed == {"0.9": 116, "0.95": 236, "0.98": 596, "0.99": 1196}
    assert one.needed == plan_task(task(), BARS, 0.95).needed
    assert list(rank([task()], month, (0.97, 0.5), today=TODAY)[0].needed) == ["0.5", "0.97"]
    assert log_calls(0.99) == 4 * calls_needed(0.99)


def test_every_kind_has_its_figures() -> None:
    rows = load("portability.json")
    assert [row["kind"] for row in rows] == list(KINDS)
    assert all(row["basis"] and row["says"] for row in rows)


def test_no_tasks_no_queue() -> None:
    assert ranked() == ()
