"""Whatever stands in a row, it is one line, and whatever byte of it changes is found (G27, G34)."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freehold.errors import FreeholdError, LedgerDamaged
from freehold.ledger import Ledger, backup, check_backup, restore, verify
from freehold.project import Project
from freehold.project.gateway import LedgerSettings

from .conftest import entry, files, lines

NASTY = ["a\nb", "\r\n", "\x1b[2J\x1b[31m", "a\u2028b\u2029", '"}\n{"timestamp": 1, "request": {}}', "=HYPERLINK(1)",
         "\x9b31m", "</script>", '","chain":"' + "0" * 32 + '"}}', "\x00", "\x7f\x85"]  # fmt: skip
TEXT = st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
FIELDS = 12


@settings(max_examples=20)
@given(st.lists(st.lists(TEXT, min_size=FIELDS, max_size=FIELDS), min_size=1, max_size=4), st.floats(0.0, 1.0))
@example([[text] * FIELDS for text in NASTY], 0.5)
def test_texts_in_twelve_fields_stay_in_their_lines(rows: list[list[str]], where: float) -> None:
    with tempfile.TemporaryDirectory() as place:
        project = Project.create(Path(place) / "p")
        file = Ledger(project, ballast=0)
        for text in rows:
            row = entry(text[0], text[1], id=text[2], task=text[3], answered_by=text[4], why=text[5], reason=text[6])
            row.body |= {"model": text[7], "stop": [text[8]], "metadata": {"a": text[9]}, text[10]: 1}
            row.response = {"error": {"message": text[11]}}
            assert file.write(row)
        file.close()
        (path,) = files(project)
        whole = path.read_bytes()
        found = [json.loads(line) for line in whole.decode().splitlines()]  # also splits at U+2028, U+0085 and the like
        assert [one["request"]["messages"][1]["content"] for one in found] == [text[0] for text in rows]
        assert [one["response"]["error"]["message"] for one in found] == [text[11] for text in rows]
        assert not any(byte < 0x20 and byte != 0x0A for byte in whole)
        assert not any(chr(c) in whole.decode() for c in range(0x7F, 0xA0))
        assert verify(project).problems == ()
        at = int(where * (len(whole) * 8 - 1))
        flip(path, at)
        assert verify(project).problems, f"bit {at}"


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.chmod(0o600)
    path.write_bytes(data)


def test_a_missing_row_is_named_with_its_line(project: Project) -> None:
    file = Ledger(project, ballast=0)
    for _ in range(5):
        file.write(entry())
    file.sync()
    (path,) = files(project)
    rows = lines(project)
    path.write_bytes(b"\n".join([*rows[:2], *rows[3:]]) + b"\n")
    first = verify(project).problems[0]
    assert (first.file, first.line, first.why) == (path.name, 3, "row 4 where row 3 is expected")
    path.write_bytes(b"\n".join([rows[0], rows[2], rows[1], *rows[3:]]) + b"\n")
    assert verify(project).problems[0].line == 2
    path.write_bytes(b"\n".join(rows[1:]) + b"\n")  # the first
    assert verify(project).problems[0].line == 1
    file.close()


@pytest.fixture
def written(project: Project, tmp_path: Path) -> Project:
    """A ledger of a few sealed files and one that nobody sealed, and a backup of it."""
    file = Ledger(project, LedgerSettings(rotate_mib=0.003), ballast=0)  # type: ignore[arg-type]
    for _ in range(9):
        file.write(entry())
    file.close()
    file = Ledger(project, name="later", ballast=0)
    file.write(entry())
    file.write(entry())
    file.sync()
    project.append("rungs.jsonl", {"task": "intents"})
    assert verify(project).problems == ()
    backup(project, tmp_path / "backup")
    return project


def test_every_flipped_bit_of_the_ledger_is_found(written: Project, tmp_path: Path) -> None:
    """A sample of the bits of all its files, those of the seals among them."""
    rng = random.Random(7)
    paths = [*files(written), written.path / "ledger" / "seals.log"]
    for _ in range(100):
        path = rng.choice(paths)
        bit = rng.randrange(path.stat().st_size * 8)
        flip(path, bit)
        assert verify(written).problems, f"{path.name}, bit {bit}"
        flip(path, bit)
    assert verify(written).problems == ()


def test_every_flipped_bit_of_a_backup_is_found_before_it_is_used(written: Project, tmp_path: Path) -> None:
    rng = random.Random(8)
    src = tmp_path / "backup"
    paths = sorted(path for path in src.rglob("*") if path.is_file())
    assert {path.name for path in paths} >= {
        "manifest.json",
        "seals.log",
        "rungs.jsonl",
        "freehold.toml",
        "project.json",
    }
    for number in range(100):
        path = paths[number % len(paths)]
        bit = rng.randrange(path.stat().st_size * 8)
        flip(path, bit)
        with pytest.raises(LedgerDamaged):
            restore(src, tmp_path / "restored")
        assert not (tmp_path / "restored").exists()
        flip(path, bit)
    assert check_backup(src).problems == ()
    for path in paths[:3]:
        aside = path.rename(tmp_path / "aside")
        with pytest.raises(FreeholdError):
            check_backup(src)
        shutil.move(aside, path)


def test_seals_that_are_damaged_are_left_alone(written: Project) -> None:
    """No process seals further files into a list that it can't read."""
    path = written.path / "ledger" / "seals.log"
    flip(path, 300)
    before, said = path.read_bytes(), []
    file = Ledger(written, ballast=0, tell=lambda what, done=None, /: said.append(what))
    file.write(entry())
    file.tend()
    file.close()
    assert path.read_bytes() == before
    assert "is damaged" in said[0]


def test_an_old_row_without_a_chain_is_counted(project: Project) -> None:
    row = {
        "timestamp": "2026-11-24T10:00:00Z",
        "request": {},
        "response": {},
        "freehold": {"task": "a"},
    }
    (project.path / "ledger" / "2026-11-24-411.jsonl").write_text(json.dumps(row) + "\n")
    found = verify(project)
    assert (found.rows, found.unchained, found.problems) == (1, 1, ())
