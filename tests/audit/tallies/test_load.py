"""Peak to mean: by hand, on the two Azure traces whose figures are known, and the same however the log is cut."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from freehold import wire
from freehold.audit.tallies.load import WINDOWS, LoadTally
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Call, Load, Tokens
from freehold.traffic.formats import columns

from .cuts import check_cuts, counted

KNOWN = {  # token peak over mean at 1 s, 10 s, 1 min, 5 min, worked out elsewhere
    "conv": ("4.71", "2.37", "1.79", "1.59"),
    "code": ("25", "13.4", "4.26", "1.71"),
}


def at(*times: float | None, tokens: int | None = 10) -> list[Seen]:
    said = None if tokens is None else Tokens(tokens - 1, 1)
    return [Seen(Call((), at=time, tokens=said), (0, n), tokens=said) for n, time in enumerate(times)]


def load(seen: list[Seen]) -> dict[int, Load]:
    tally = LoadTally()
    tally.add(seen)
    return {one.window: one for one in tally.load()}


@pytest.mark.parametrize("name", KNOWN)
def test_the_azure_traces(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / "data" / "traces" / "azure-llm-2023" / "data" / f"AzureLLMInferenceTrace_{name}.csv"
    with path.open() as file:
        calls = [wire.call_from_row(row, n) for n, one in enumerate(csv.DictReader(file)) for row in columns.rows(one)]
    seen = [Seen(call, (0, call.line), tokens=call.tokens) for call in calls]

    def spilling() -> LoadTally:
        tally = LoadTally(str(tmp_path))
        tally.rows.most = 1000
        return tally

    third = len(seen) // 3
    tally = counted(spilling, seen[third:], seen[:third])
    assert tally.rows.runs
    digits = [len(known.replace(".", "")) for known in KNOWN[name]]
    found = [f"{one.tokens.value or 0:.{n}g}" for one, n in zip(tally.load(), digits, strict=True)]
    assert tuple(found) == KNOWN[name]


def test_by_hand() -> None:
    found = load(at(100.0, 100.5, 100.9, 103.0, 112.0))  # windows of 1 s from 100 on: 3, 0, 0, 1, 0, ..., 1
    assert found[1].calls.value == pytest.approx(3 / (5 / 13))
    assert (found[1].calls.n, found[1].at) == (13, 100.0)
    assert found[10].calls.value == pytest.approx(4 / (5 / 2))
    assert found[60].calls.value is None
    assert "less than the window of 60 s" in found[60].calls.method


def test_tokens_and_calls_may_peak_apart() -> None:
    found = load([*at(0.0, 0.1, 0.2), *at(5.0, tokens=1000)])[1]
    assert found.calls.value == pytest.approx(3 / (4 / 6))
    assert found.tokens.value == pytest.approx(1000 / (1030 / 6))
    assert found.at == 5.0  # the window with the most tokens


def test_no_times_and_no_tokens() -> None:
    assert all(one.calls.value is None for one in load(at(None, None)).values())
    assert "when it came" in load(at(None))[1].calls.method
    assert all(one.calls.value is None for one in load(at(7.0)).values())  # one call has no span
    untold = load([*at(0.0, 2.0, tokens=None), *at(None)])[1]
    assert untold.calls.value is not None
    assert "1 calls say no time" in untold.calls.method
    assert (untold.tokens.value, untold.at) == (None, 0.0)
    mixed = load([*at(0.0, 2.0, tokens=None), *at(1.0)])[1]
    assert "2 calls say no tokens" in mixed.tokens.method


def test_a_ledgers_pair_is_no_call_of_a_user() -> None:
    pair = [Seen(Call((), at=0.0, why="pair"), (0, 9))]
    assert load(at(0.0, 2.0) + pair) == load(at(0.0, 2.0))


def test_every_cut_says_the_same(tmp_path: Path) -> None:
    draw = random.Random(1)
    seen = [one for _ in range(120) for one in at(draw.choice([None, draw.random() * 900]), tokens=draw.randint(1, 99))]

    def make() -> LoadTally:
        tally = LoadTally(str(tmp_path))
        tally.rows.most = 10
        return tally

    whole = check_cuts(make, seen, LoadTally.load)
    assert all(one.calls.value for one in whole)
    assert [one.window for one in whole] == list(WINDOWS)


def test_a_log_of_many_years_is_no_burden() -> None:
    far = load(at(0.0, 1.0, 9e10))
    assert far[300].calls.value == pytest.approx(2 / (3 / (9e10 // 300 + 1)))


def test_more_rows_than_fit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(2)
    seen = at(*(draw.expovariate(1 / 2000) for _ in range(500)))
    whole = load(seen)
    monkeypatch.setattr("freehold.audit.tallies.load.AT_ONCE", 100)
    assert load(seen) == whole
