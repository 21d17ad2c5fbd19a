"""The bundled log is what its README says, and its script makes it again."""

from __future__ import annotations

import gzip
import hashlib
import json
import runpy
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "support-desk"
SHA256 = "4cfd915191ae4207e9d3ced91dc7889edcfb382a0cbee67d16b064d2b1ad60cd"


@pytest.fixture(scope="module")
def data() -> bytes:
    return gzip.decompress((FOLDER / "calls.jsonl.gz").read_bytes())


@pytest.fixture(scope="module")
def rows(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_the_rows_are_those_that_the_readme_names(data: bytes) -> None:
    assert hashlib.sha256(data).hexdigest() == SHA256
    assert SHA256 in (FOLDER / "README.md").read_text()
    assert (FOLDER / "calls.jsonl.gz").stat().st_size < 3_000_000
    assert (FOLDER / "calls.jsonl.gz").read_bytes()[4:8] == b"\0\0\0\0"  # no time of making


def test_the_script_makes_the_same_rows(shared: Path, data: bytes) -> None:
    made = runpy.run_path(str(FOLDER / "make.py"))["lines"]
    assert made(shared / "data" / "tasks" / "clinc150" / "data" / "data_full.json.gz") == data


def test_every_utterance_and_label_is_there_once(shared: Path, rows: list[dict[str, Any]]) -> None:
    with gzip.open(shared / "data" / "tasks" / "clinc150" / "data" / "data_full.json.gz", "rt") as file:
        parts = json.load(file)
    real = Counter((text, label.replace("oos", "out_of_scope")) for part in parts.values() for text, label in part)
    found = Counter(
        (r["request"]["messages"][1]["content"], r["response"]["choices"][0]["message"]["content"]) for r in rows
    )
    assert found == real
    assert found.total() == 23700


def test_one_system_message_lists_the_labels(rows: list[dict[str, Any]]) -> None:
    (system,) = {r["request"]["messages"][0]["content"] for r in rows}
    listed = system.splitlines()[1:]
    assert (len(listed), listed[-1]) == (151, "out_of_scope")
    assert set(listed) == {r["response"]["choices"][0]["message"]["content"] for r in rows}


def test_six_weeks_in_order_with_days_and_nights(rows: list[dict[str, Any]]) -> None:
    times = [datetime.fromisoformat(r["timestamp"]) for r in rows]
    assert times == sorted(times)
    assert (times[0].date().isoformat(), times[-1].date().isoformat()) == ("2026-10-05", "2026-11-15")
    hours, days = Counter(t.hour for t in times), Counter(t.weekday() for t in times)
    assert hours[10] > 10 * hours[3]
    assert days[0] > 2 * days[6]
    assert len({r["response"]["id"] for r in rows}) == 23700


def test_the_licence_stands_beside_it() -> None:
    assert "Attribution 3.0 Unported" in (FOLDER / "LICENSE.CC-BY-3.0").read_text()
    assert "Larson" in (FOLDER / "README.md").read_text()
