"""The second bundled log is what its README says, its script makes it again, and the audit takes it for one task."""

from __future__ import annotations

import gzip
import hashlib
import json
import runpy
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "extraction"
SHA256 = "036dcaafdd4f4e275270c6a872f5f0299efede15ee2edac252745573ad469154"
ROWS = 13784


@pytest.fixture(scope="module")
def data() -> bytes:
    return gzip.decompress((FOLDER / "calls.jsonl.gz").read_bytes())


@pytest.fixture(scope="module")
def rows(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


@pytest.fixture(scope="module")
def make() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "make.py"))


def said(row: dict[str, Any]) -> tuple[str, str]:
    return row["request"]["messages"][1]["content"], row["response"]["choices"][0]["message"]["content"]


def test_the_rows_are_those_that_the_readme_names(data: bytes) -> None:
    assert hashlib.sha256(data).hexdigest() == SHA256
    assert SHA256 in (FOLDER / "README.md").read_text()
    assert (FOLDER / "calls.jsonl.gz").stat().st_size < 3_000_000
    assert (FOLDER / "calls.jsonl.gz").read_bytes()[4:8] == b"\0\0\0\0"  # no time of making
    assert len(data.splitlines()) == ROWS


def test_the_script_makes_the_same_rows(shared: Path, data: bytes, make: dict[str, Any]) -> None:
    assert make["lines"](shared / "data" / "tasks" / "snips") == data


def test_check_tells_the_same_from_another_source(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "tasks" / "snips"
    check = [sys.executable, str(FOLDER / "make.py"), "--check"]
    assert subprocess.run([*check, str(folder)], capture_output=True).returncode == 0
    part = Path("GetWeather") / "train_GetWeather_full.json.gz"
    (tmp_path / part).parent.mkdir()
    (tmp_path / part).write_bytes((folder / part).read_bytes())
    other = subprocess.run([*check, str(tmp_path)], capture_output=True, text=True)
    assert (other.returncode, "differs" in other.stderr) == (1, True)
    none = subprocess.run([*check, str(tmp_path / "GetWeather")], capture_output=True, text=True)
    assert (none.returncode, "give the folder" in none.stderr) == (2, True)


def test_a_slice_is_the_oldest_rows(data: bytes) -> None:
    part = subprocess.run([sys.executable, str(FOLDER / "make.py"), "--rows", "7"], capture_output=True, check=True)
    assert part.stdout == b"".join(data.splitlines(keepends=True)[:7])


def test_no_string_was_read_in_the_wrong_encoding(data: bytes, make: dict[str, Any]) -> None:
    text = data.decode()  # strict: no lone surrogate, no half character
    for wrong in ("Ã", "Â", "â€", "\ufffd", "\\u"):
        assert wrong not in text, wrong
    assert not [c for c in text if "\x7f" <= c < "\xa0"]  # what UTF-8 read as latin-1 leaves behind
    assert all(word in text for word in ("éxitos", "Pop Punk Perfection 🍕", "São Tomé", "Tsūzetsu"))
    plain = make["plain"]
    assert plain("\xc3\xa9xitos") == "éxitos"  # UTF-8
    assert plain("\xe9xitos") == "éxitos"  # latin-1
    assert plain("Tsūzetsu") == "Tsūzetsu"  # written as \u016b in the file


def test_the_intents_alone(rows: list[dict[str, Any]]) -> None:
    part = subprocess.run([sys.executable, str(FOLDER / "make.py"), "--intents", "40"], capture_output=True, check=True)
    short = [json.loads(line) for line in part.stdout.splitlines()]
    assert len(short) == 40
    for whole, row in zip(rows, short, strict=False):
        (text, answer), (same, intent) = said(whole), said(row)
        assert (same, json.loads(intent)) == (text, {"intent": json.loads(answer)["intent"]})
        assert row["response"]["usage"]["completion_tokens"] == -(-len(intent) // 4)
        assert {k: v for k, v in row.items() if k not in ("request", "response")} == {
            k: v for k, v in whole.items() if k not in ("request", "response")
        }


def test_every_answer_is_json_with_values_from_its_utterance(rows: list[dict[str, Any]]) -> None:
    lists = 0
    for text, answer in map(said, rows):
        parsed = json.loads(answer)
        assert json.dumps(parsed, ensure_ascii=False, separators=(",", ":")) == answer
        assert (list(parsed), len(parsed["slots"]) > 0) == (["intent", "slots"], True)
        for value in parsed["slots"].values():
            several = value if isinstance(value, list) else [value]
            lists += isinstance(value, list)
            assert all(v and v == v.strip() and v in text for v in several), (text, value)
            assert not isinstance(value, list) or len(value) > 1
    assert lists == 61


def test_one_system_message_names_intents_and_slots(rows: list[dict[str, Any]]) -> None:
    (system,) = {r["request"]["messages"][0]["content"] for r in rows}
    assert "JSON only" in system
    named = dict(line.split(": ") for line in system.partition("Intents and their slots:\n")[2].splitlines())
    seen: dict[str, set[str]] = {}
    for _, answer in map(said, rows):
        parsed = json.loads(answer)
        seen.setdefault(parsed["intent"], set()).update(parsed["slots"])
    assert {intent: set(names.split(", ")) for intent, names in named.items()} == seen
    assert (len(seen), len(set().union(*seen.values()))) == (7, 39)
    assert {json.dumps(r["request"]["response_format"]) for r in rows} == {'{"type": "json_object"}'}


def test_the_rows_to_check_with_are_not_in_the_log(
    shared: Path, rows: list[dict[str, Any]], make: dict[str, Any]
) -> None:
    check = make["utterances"](shared / "data" / "tasks" / "snips", "validate", ".json")
    assert Counter(answer["intent"] for _, answer in check).most_common(1)[0][1] == 100
    assert len(check) == 700
    logged = Counter(map(said, rows))
    held = Counter((text, make["compact"](answer)) for text, answer in check)
    real = Counter((t, make["compact"](a)) for t, a in make["utterances"](shared / "data" / "tasks" / "snips"))
    assert logged == real
    assert (len(real & held), held.total()) == (2, 700)  # two stand in both files at the source too


def test_six_weeks_in_order_with_evenings_and_weekends(rows: list[dict[str, Any]]) -> None:
    times = [datetime.fromisoformat(r["timestamp"]) for r in rows]
    assert times == sorted(times)
    assert (times[0].date().isoformat(), times[-1].date().isoformat()) == ("2026-10-05", "2026-11-15")
    hours, days = Counter(t.hour for t in times), Counter(t.weekday() for t in times)
    assert hours[20] > 10 * hours[3]
    assert days[5] > days[0]
    assert len({r["response"]["id"] for r in rows}) == ROWS


def test_the_audit_finds_one_json_task() -> None:
    from freehold.traffic import find_tasks, read

    traffic = read([FOLDER / "calls.jsonl.gz"])
    (task,) = find_tasks(traffic)
    assert (task.kind, task.calls, task.share, traffic.bad_rows) == ("json", ROWS, 1.0, 0)
    assert [slot.variable for slot in task.template.slots] == [False, True]
    assert task.params["response_format"] == [{"type": "json_object"}]


def test_source_and_licence_stand_beside_it() -> None:
    assert "CC0 1.0 Universal" in (FOLDER / "LICENSE.CC0-1.0").read_text()
    assert "Coucke" in (FOLDER / "README.md").read_text()
    assert "CC0-1.0" in (FOLDER / "NOTICE.txt").read_text()
