"""The audit's notes: what a log can't say, and the models that go on one day, in a sentence each."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.audit import audit
from freehold.audit.warn import _switched_off
from freehold.nouns import Measure, ModelUse, Tokens
from freehold.traffic import read

HEAD = "timestamp,model,prompt_tokens,completion_tokens\n"


def notes(folder: Path, rows: list[str], head: str = HEAD) -> str:
    path = folder / "trace.csv"
    path.write_text(head + "\n".join(rows) + "\n")
    return " ".join(audit(read([path])).warnings)


@pytest.mark.parametrize(
    ("times", "says", "never"),
    [
        ((0, 60), "count from the log's own start", "longer than it is"),
        ((0, 1_790_000_000), "the log seems longer than it is", "own start"),
        ((1_790_000_000, 1_790_000_060), "The log holds no text of all 40 calls", "1970"),
    ],
)
def test_times_and_counts_alone(tmp_path: Path, times: tuple[int, int], says: str, never: str) -> None:
    rows = [f"{times[k > 0]},gpt-4o,100,10" for k in range(40)]
    said = notes(tmp_path, rows)
    assert says in said
    assert never not in said
    assert "plain text messages" not in said  # it is not for want of plain text that they are no task's


def test_calls_without_a_model_say_what_would_price_them(tmp_path: Path) -> None:
    said = notes(
        tmp_path, [f"{1_790_000_000 + k},100,10" for k in range(5)], "timestamp,prompt_tokens,completion_tokens\n"
    )
    assert "5 calls name no model" in said
    assert "--price-as MODEL" in said
    assert "--price-as" not in notes(tmp_path, [f"{1_790_000_000 + k},gpt-4o,100,10" for k in range(5)])


def test_models_of_one_day_are_one_sentence() -> None:
    def use(name: str, day: str, left: int, calls: int = 10) -> ModelUse:
        return ModelUse(name, None, calls, Tokens(), Measure(None), 0, day, left)

    uses = [use(f"m{k}", "2027-01-14", 50) for k in range(6)]
    uses += [use("late", "2027-03-01", 96, 1), use("old", "2026-01-01", -9)]
    assert list(_switched_off(uses)) == [
        "old is switched off on 2026-01-01, and that day has come: its 10 calls must move anyway.",
        "m0, m1, m2, m3 and 2 more are switched off on 2027-01-14, in 50 days: their 60 calls must move anyway.",
        "late is switched off on 2027-03-01, in 96 days: its 1 call must move anyway.",
    ]
