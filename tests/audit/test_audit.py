"""The audit of the bundled log by hand, and of small logs with every trap."""

from __future__ import annotations

import gzip
import json
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from freehold.audit import audit
from freehold.nouns import Audit
from freehold.traffic import read

LOG = Path(__file__).resolve().parents[2] / "examples" / "support-desk" / "calls.jsonl.gz"
Make = Callable[..., Audit]
TODAY = date(2026, 11, 24)


def row(
    text: str, answer: str, at: float | None = 1790845964.0, model: str = "gpt-4o-mini", **own: Any
) -> dict[str, Any]:
    made: dict[str, Any] = {"request": {"model": model, "messages": [{"role": "user", "content": text}]}}
    choice = {"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
    made["response"] = {"choices": [choice], "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0}}
    return made | ({} if at is None else {"timestamp": at}) | ({"freehold": own} if own else {})


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(rows: list[dict[str, Any]], **options: Any) -> Audit:
        path = tmp_path / "calls.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        return audit(read([path], **options), today=TODAY)

    return make


def test_the_bundled_log_by_hand() -> None:
    with gzip.open(LOG, "rt") as file:
        rows = [json.loads(line) for line in file]
    usages = [r["response"]["usage"] for r in rows]
    usd = sum(u["prompt_tokens"] * 0.15 + u["completion_tokens"] * 0.60 for u in usages) / 1e6
    answers = defaultdict(list)
    for r in rows:
        answers[r["request"]["messages"][1]["content"]].append(r["response"]["choices"][0]["message"]["content"])
    again = [found for found in answers.values() if len(found) > 1]
    traffic = read([LOG])
    started = time.process_time()
    found = audit(traffic, today=TODAY)
    assert time.process_time() - started < 5.0
    assert (found.calls, found.bad_rows, found.money.n) == (23700, 0, 23700)
    assert found.money.value == pytest.approx(usd, rel=1e-9)
    assert found.tasks[0].money == found.money
    assert found.tokens.prompt == sum(u["prompt_tokens"] for u in usages)
    (model,) = found.models
    assert (model.model, model.vendor, model.retires, model.days_left) == ("gpt-4o-mini", "openai", "2027-01-14", 51)
    assert (found.repeats.texts, found.repeats.calls) == (len(again), sum(map(len, again)))
    agreeing = sum(a[0] == a[1] for a in again) / len(again)
    assert (found.repeats.self_agreement.value, found.repeats.self_agreement.n) == (agreeing, len(again))
    assert found.conflicts == sum(len(set(a)) > 1 for a in again) == 4
    assert found.first is not None
    assert found.last is not None
    days = (found.last - found.first) / 86400
    assert 41 < days < 42
    assert found.per_month.value == pytest.approx(usd / days * 30.4375, rel=1e-6)
    assert any("2027-01-14" in warning for warning in found.warnings)


def test_money_is_that_of_each_calls_day(make: Make) -> None:
    rows = [row("a", "x", 1796083140.0, "gemini-4-argon"), row("b", "x", 1796083260.0, "gemini-4-argon")]
    assert make(rows).money.value == 2.0 + 4.0  # 30 November 23:59, then 1 December 00:01


def test_a_model_without_a_price_is_named_and_not_zero(make: Make) -> None:
    rows = [row(f"text {i}", "x", model="house-model") for i in range(3)]
    found = make(rows)
    assert (found.money.value, found.money.n, found.models[0].money.value, found.per_month.value) == (
        None,
        0,
        None,
        None,
    )
    assert any("house-model has no price" in w and "3 calls" in w for w in found.warnings)
    both = make([*rows, row("more", "x")])
    assert (both.money.value, both.money.n) == (pytest.approx(0.15), 1)
    assert "1 of 4 calls" in both.money.method


def test_fine_tuning_rows_have_no_money_and_no_month(make: Make) -> None:
    rows = [
        {"messages": [{"role": "user", "content": str(i)}, {"role": "assistant", "content": "x"}]} for i in range(5)
    ]
    found = make(rows)
    assert (found.calls, found.money.value, found.per_month.value, found.first, found.models) == (
        5,
        None,
        None,
        None,
        (),
    )
    assert any("5 calls name no model" in w for w in found.warnings)


def test_a_span_under_a_day_is_no_pace(make: Make) -> None:
    found = make([row("a", "x", 1790845964.0), row("b", "x", 1790845964.0 + 80_000)])
    assert found.money.value == pytest.approx(0.30)
    assert (found.per_month.value, "under a day" in found.per_month.method) == (None, True)
    day = make([row("a", "x", 1790845964.0), row("b", "x", 1790845964.0 + 86_400)])
    assert day.per_month.value == pytest.approx(0.30 * 30.4375)


def test_repeats_compare_the_first_two_answers(make: Make) -> None:
    rows = [row("a", "x"), row("a", "x"), row("a", "y"), row("b", "x"), row("b", "y"), row("c", "x")]
    found = make(rows)
    assert (found.repeats.texts, found.repeats.calls, found.conflicts) == (2, 5, 2)
    assert (found.repeats.self_agreement.value, found.repeats.self_agreement.n) == (0.5, 2)
    assert any("2 texts were answered in more than one way" in w for w in found.warnings)


def test_other_settings_are_another_request_and_the_user_is_not(make: Make) -> None:
    hot, named = row("a", "y"), row("a", "x")
    hot["request"]["temperature"] = 1
    named["request"]["user"] = "u1"
    found = make([row("a", "x"), hot, named])
    assert (found.repeats.texts, found.repeats.calls, found.conflicts) == (1, 2, 1)


def test_white_space_around_an_answer_is_no_conflict(make: Make) -> None:
    assert make([row("a", "x"), row("a", " x\n")]).conflicts == 0


def test_home_answers_cost_nothing_upstream_and_pairs_are_no_further_call(make: Make) -> None:
    rows = [
        row("a", "x"),
        row("b", "x", answered_by="student", why="home"),
        row("b", "x", answered_by="upstream", why="pair", probability=0.02),
        row("c", "x", answered_by="replay"),
    ]
    found = make(rows)
    assert (found.calls, found.tasks[0].calls, found.money.value, found.money.n) == (3, 3, pytest.approx(0.30), 2)
    assert found.models[0].calls == 2


def test_one_label_only_is_said(make: Make) -> None:
    assert any("is 'x'" in warning for warning in make([row(str(i), "x") for i in range(30)]).warnings)


def test_calls_left_out_are_said(make: Make) -> None:
    rows = [row("a", "x", 100.0), row("b", "x", 200.0), row("c", "x", None)]
    found = make(rows, until=150.0)
    assert found.calls == 1
    assert any("1 calls say no time" in w for w in found.warnings)
    assert any("1 calls come at or after" in w for w in found.warnings)


def test_bad_rows_are_said(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(json.dumps(row("a", "x")) + "\n{torn\n")
    found = audit(read([path]))
    assert found.bad_rows == 1
    assert any(f"1 of 2 rows can't be read and are left out; the first is {path}:2" in w for w in found.warnings)


def test_an_audit_edits_nothing(make: Make, tmp_path: Path) -> None:
    make([row("a", "x")])
    traffic = read([tmp_path / "calls.jsonl"])
    before = json.dumps(traffic.calls[0].row)
    first = audit(traffic, today=TODAY)
    assert json.dumps(traffic.calls[0].row) == before
    assert audit(traffic, today=TODAY).tasks == first.tasks


def test_json_that_says_the_same_is_no_conflict(make: Make) -> None:
    pairs = [('{"a": 1, "b": [2]}', '{"b":[2.0],"a":1}'), ('{"a": 1}', '{"a": 2}'), ("yes", "yes "), ("1", "1.0")]
    found = make([row(f"Say {i}.", answer) for i, pair in enumerate(pairs) for answer in pair])
    assert found.conflicts == 2
    assert found.repeats.self_agreement.value == 0.5
