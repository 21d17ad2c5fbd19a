"""The busiest hour that is kept for the plan: by hand, the same however the log is cut, and as a file."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest

from freehold import wire
from freehold.audit import audit
from freehold.audit.tallies.arrivals import busiest, keep
from freehold.audit.tallies.load import LoadTally
from freehold.audit.tallies.tally import Seen
from freehold.errors import ArtifactDamaged
from freehold.nouns import Call, Tokens
from freehold.project.arrivals import NAME, Arrivals, read_arrivals
from freehold.traffic import open_log
from freehold.traffic.formats import columns

from .cuts import check_cuts


def at(*calls: tuple[float | None, int, int]) -> list[Seen]:
    made = [(when, Tokens(read, written)) for when, read, written in calls]
    return [Seen(Call((), at=when, tokens=said), (0, n), tokens=said) for n, (when, said) in enumerate(made)]


def tally(seen: list[Seen]) -> LoadTally:
    found = LoadTally()
    found.add(seen)
    return found


def rows(arrivals: Arrivals | None) -> tuple[object, ...] | None:
    if arrivals is None:
        return None
    listed = (arrivals.at.tolist(), arrivals.input.tolist(), arrivals.output.tolist())
    return *listed, arrivals.seconds, arrivals.kept, arrivals.begins, arrivals.share, arrivals.span


def test_by_hand() -> None:
    """A quiet hour, a busy one, a call after that: minutes 70 to 100 hold the most, and the first of them begins."""
    calls = [(1000.0, 10, 1), (1000.0 + 70 * 60, 500, 50), (1000.0 + 100 * 60, 400, 40), (1000.0 + 300 * 60, 100, 10)]
    found = busiest(tally(at(*calls)))
    assert found is not None
    assert found.begins == 1000.0 + 70 * 60
    assert found.at.tolist() == [0.0, 1800.0]
    assert (found.input.tolist(), found.output.tolist()) == ([500, 400], [50, 40])
    assert (found.seconds, found.kept, found.span) == (3600.0, 1.0, 18_000.0)
    assert found.share == pytest.approx(990 / 1111)
    assert found.tokens == 990
    assert found.busy == pytest.approx(990 / 1111 * 5)


def test_a_log_of_under_an_hour_is_kept_whole() -> None:
    found = busiest(tally(at((7.0, 1, 1), (600.0, 100, 10), (1807.0, 5, 5))))
    assert found is not None
    assert (found.at.tolist(), found.seconds, found.share) == ([0.0, 593.0, 1800.0], 1800.0, 1.0)


@pytest.mark.parametrize("late", [7200.0, 7201.0, 7259.0])
def test_a_burst_at_the_logs_end_lies_in_a_whole_hour(tmp_path: Path, late: float) -> None:
    load = tally(at((0.0, 10, 1), (30.0, 10, 1), (late, 900, 90)))
    keep(load, tmp_path / NAME, "the log")
    found = read_arrivals(tmp_path / NAME)
    assert found is not None
    assert (found.begins, found.seconds, found.at.tolist()) == (late - 3600, 3600.0, [3600.0])
    assert found.share == pytest.approx(990 / 1012)


def test_what_says_nothing() -> None:
    untold = [Seen(Call((), at=5.0), (0, 1)), Seen(Call((), at=9.0), (0, 2))]
    assert busiest(tally([])) is None
    assert busiest(tally(untold)) is None
    assert busiest(tally(at((None, 5, 5)))) is None
    assert busiest(tally(at((3.0, 5, 5), (3.0, 5, 5)))) is None  # all at once: no pace
    mixed = busiest(tally(untold + at((6.0, 5, 5))))
    assert mixed is not None
    assert (len(mixed), mixed.kept, mixed.tokens) == (1, pytest.approx(1 / 3), pytest.approx(30))


def test_thinned_evenly() -> None:
    found = busiest(tally(at(*((float(n), 100, 10) for n in range(3000)))), most=300)
    assert found is not None
    assert (len(found), found.kept, found.tokens) == (300, 0.1, pytest.approx(330_000))
    assert set(np.diff(found.at)) <= {10.0, 11.0}


def test_every_cut_says_the_same(tmp_path: Path) -> None:
    draw = random.Random(1)
    times = [draw.choice([None, 20_000 * draw.random()]) for _ in range(120)]
    seen = [one for when in times for one in at((when, draw.randint(1, 99), draw.randint(1, 9)))]

    def make() -> LoadTally:
        found = LoadTally(str(tmp_path))
        found.rows.most = 10
        return found

    assert check_cuts(make, seen, lambda found: rows(busiest(found, most=20)), every=3)


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / NAME
    assert read_arrivals(path) is None
    load = tally(at((0.5, 100, 10), (7.25, 3, 1)))
    keep(load, path, "a log")
    found = read_arrivals(path)
    assert rows(found) == rows(busiest(load))
    assert found is not None
    assert (found.source, found.synthetic) == ("a log", False)
    first = path.read_bytes()
    keep(load, path, "a log")
    assert path.read_bytes() == first
    keep(tally([]), path, "a log without times")
    assert not path.exists()


@pytest.mark.parametrize(
    "spoil", [lambda d: d[:40], lambda d: b"", lambda d: d.replace(b'"at"', b'"to"'), lambda d: d[:-1]]
)
def test_a_damaged_file_is_a_sentence(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / NAME
    keep(tally(at((0.5, 100, 10), (7.25, 3, 1))), path, "a log")
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(ArtifactDamaged, match="Audit the log again"):
        read_arrivals(path)


def test_an_audit_leaves_it(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
    )
    audit(open_log([str(log)]), arrivals=tmp_path / NAME)
    found = read_arrivals(tmp_path / NAME)
    assert found is not None
    assert (found.input.tolist(), found.output.tolist()) == ([374, 396], [44, 109])
    assert found.at.tolist() == [0.0, pytest.approx(4.314579, abs=1e-3)]
    assert found.source.startswith("the log, sha256 ")


@pytest.mark.parametrize(("name", "calls", "seconds"), [("conv", 19_366, 3501.7), ("code", 8_819, 3435.9)])
def test_the_azure_traces(shared: Path, name: str, calls: int, seconds: float) -> None:
    path = shared / "data" / "traces" / "azure-llm-2023" / "data" / f"AzureLLMInferenceTrace_{name}.csv"
    with path.open() as file:
        read = [wire.call_from_row(row, n) for n, one in enumerate(csv.DictReader(file)) for row in columns.rows(one)]
    found = busiest(tally([Seen(call, (0, call.line), tokens=call.tokens) for call in read]))
    assert found is not None
    assert (len(found), round(found.seconds, 1), found.share, found.kept) == (calls, seconds, 1.0, 1.0)
