"""What a log can be that is no good: each case ends in one clear sentence, or in a counted row with its line."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from freehold.errors import LogEmpty, LogError, LogMissing, LogUnreadable
from freehold.traffic import Reading, batches, open_log, read
from freehold.traffic.files import lines, parts_of, records

from .conftest import row

Write = Callable[..., Path]
LINE = json.dumps(row("text", "a")).encode() + b"\n"
MANY = b"".join(json.dumps(row(f"text {i} {i * 7919}", "a")).encode() + b"\n" for i in range(5000))
KNOWN = ".jsonl, .ndjson, .json, .csv, .tsv or .parquet, plain, .gz or .zst"


def said(error: type[LogError], *paths: Path | str) -> str:
    with pytest.raises(error) as caught:
        read(paths)
    return str(caught.value).replace(os.path.dirname(str(paths[0])) + "/", "")


# rows


def test_an_empty_log(write: Write) -> None:
    assert said(LogEmpty, write(b"")).startswith("calls.jsonl holds no rows. Give rows {")
    assert said(LogEmpty, write(b"\n \n", "b.jsonl.gz")).startswith("b.jsonl.gz holds no rows. Give rows {")
    assert said(LogEmpty, write(b"timestamp,model\n", "c.csv")).startswith("c.csv holds no rows. Give rows {")


def test_a_log_of_one_call(write: Write) -> None:
    traffic = read([write(LINE.rstrip())])
    assert (len(traffic.calls), traffic.bad_rows, traffic.log.rows) == (1, 0, 1)
    assert traffic.log.identity


def test_a_log_in_the_future_is_read_with_its_times(write: Write) -> None:
    traffic = read([write([row("a", "x", timestamp="2126-10-01T00:00:00Z")])])
    assert traffic.calls[0].at == 4946486400.0
    assert said(LogError, write([row("a", "x", timestamp="9999-01-01T00:00:00Z")])) == (
        "1 of 1 rows are bad, 1 of them like calls.jsonl:1: timestamp '9999-01-01T00:00:00Z' is not a time from 1970 to"
        " 5138. Mend the export; at least half of the rows must be readable. They were read as openai."
    )


def test_mixed_time_zones_are_one_clock(write: Write) -> None:
    same = ["2026-10-01T09:12:44Z", "2026-10-01T11:12:44+02:00", "2026-10-01 09:12:44", "20261001T091244Z"]
    same += ["2026-10-01T01:12:44-08:00", "1790845964", 1790845964, 1790845964.0, 1790845964000]
    traffic = read([write([row("a", "x", timestamp=at) for at in same])])
    assert [call.at for call in traffic.calls] == [1790845964.0] * len(same)


def test_a_line_without_an_end_is_one_bad_row(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 1 << 20)
    long = b'{"a": "' + b"x" * (5 << 20)
    for name in ("calls.jsonl", "calls.jsonl.gz"):
        traffic = read([write(LINE + long + b"\n" + LINE, name)])
        assert [(bad.line, bad.reason) for bad in traffic.bad] == [(2, "the line is longer than 1 MiB")]
        assert [call.line for call in traffic.calls] == [1, 3]
        assert traffic.log.bytes == 2 * len(LINE) + len(long) + 1
    assert said(LogUnreadable, write(b"x" * (5 << 20))).startswith(
        "calls.jsonl can't be read as a log: calls.jsonl:1: the line is longer than 1 MiB. Known: rows {"
    )


def test_invalid_utf_8_is_a_bad_row_with_its_line(write: Write) -> None:
    traffic = read([write(LINE + LINE.replace(b"text", b"te\xffxt") + LINE)])
    assert [(bad.line, "utf-8" in bad.reason) for bad in traffic.bad] == [(2, True)]
    assert len(traffic.calls) == 2


def test_the_same_rows_again_are_another_log(write: Write) -> None:
    once, twice = read([write(LINE)]).log, read([write(LINE * 2)]).log
    assert (once.rows, twice.rows) == (1, 2)
    assert once.identity == twice.identity
    assert once.sha256 != twice.sha256
    assert int(twice.sha256, 16) == 2 * int(once.sha256, 16) % (1 << 256)


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        ({"prompt_tokens": "20", "completion_tokens": "2"}, (20, 2)),
        ({"prompt_tokens": -20, "completion_tokens": 2}, None),
        ({"prompt_tokens": "-20", "completion_tokens": 2}, None),
        ({"prompt_tokens": True, "completion_tokens": 2}, None),
        ({"prompt_tokens": 1e99, "completion_tokens": 2}, None),
    ],
)
def test_numbers_as_texts_and_negative_ones(write: Write, usage: object, found: object) -> None:
    logged = row("a", "x")
    logged["response"]["usage"] = usage
    tokens = read([write([logged])]).calls[0].tokens
    assert (tokens and (tokens.prompt, tokens.completion)) == found


def test_a_row_that_its_format_does_not_expect_is_counted(write: Write) -> None:
    class Odd:
        NAME, SAYS = "odd", ""

        @staticmethod
        def fits(record: object, /) -> bool:
            return True

        @staticmethod
        def rows(record: dict[str, list[str]], /) -> list[dict[str, object]]:
            return [{"request": record["request"], "response": record["nowhere"][3]}]

    reading, path = Reading(), write(LINE)
    part = parts_of([path])[0]
    assert [reading.take(record, part, 0, Odd()) for record in records(part)] == [[]]
    assert reading.reasons == {"not of the shape of odd rows (KeyError)": 1}


def test_later_rows_in_another_format_are_read_as_what_they_are(write: Write) -> None:
    other = {"timestamp": "2026-10-01", "model": "gpt-4o", "prompt": "a", "completion": "b"}
    traffic = read([write([*[row("a", "x")] * 60, other])])
    assert (traffic.bad_rows, len(traffic.calls)) == (0, 61)
    assert traffic.log.formats == {"columns": 1, "openai": 60}


# files


def test_a_folder_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "notes.txt").write_text("x")
    assert said(LogMissing, tmp_path / "logs") == f"logs is a folder without a log file. Known are {KNOWN}."


def test_no_log_and_standard_input() -> None:
    with pytest.raises(LogMissing, match=r"^No log was given\. Give a log file"):
        read([])
    assert said(LogMissing, "-") == (
        "A log isn't read from standard input. A log is gone over more than once: save it to a file first."
    )


def torn(write: Write, name: str, data: bytes) -> tuple[int, str]:
    path = write(b"")
    path = path.with_name(name)
    path.write_bytes(data)
    traffic = read([path])
    assert len(traffic.bad) == traffic.bad_rows == 1
    assert traffic.bad[0].line == len(traffic.calls) + 1
    return len(traffic.calls), traffic.bad[0].reason


def test_a_file_cut_off_gives_all_that_stands_before_the_cut(write: Write) -> None:
    packed = gzip.compress(MANY)
    calls, reason = torn(write, "a.jsonl.gz", packed[: len(packed) // 2])
    assert 1000 < calls < 4000
    assert reason == "the gzip file is cut off or damaged here: it ends in the middle"
    packed = zstandard.ZstdCompressor(level=1).compress(MANY)
    calls, reason = torn(write, "a.jsonl.zst", packed[:-100])
    assert 1000 < calls < 5000
    assert reason == "the zstd file is cut off or damaged here: it ends in the middle"
    calls, reason = torn(write, "b.jsonl.gz", gzip.compress(LINE) + b"junk")
    assert (calls, reason[:54]) == (1, "the gzip file is cut off or damaged here: Error -3 whi")
    calls, reason = torn(write, "b.jsonl.zst", zstandard.compress(LINE) + b"junk")
    assert (calls, reason[:54]) == (1, "the zstd file is cut off or damaged here: zstd decompr")


def test_a_damaged_check_sum_is_noticed(write: Write) -> None:
    packed = bytearray(gzip.compress(MANY))
    packed[-6] ^= 1
    assert torn(write, "a.jsonl.gz", bytes(packed))[0] == 5000


def test_cut_off_at_once(write: Write) -> None:
    path = write(b"").with_name("a.jsonl.gz")
    path.write_bytes(gzip.compress(LINE)[:12])
    assert "a.jsonl.gz:1: the gzip file is cut off or damaged here: it ends in the middle." in said(LogUnreadable, path)


def test_a_document_cut_off(write: Write) -> None:
    whole = json.dumps([row("text", "a")] * 3, indent=1).encode()
    assert "a.json:1: the JSON document is cut off or damaged: Input data was truncated." in said(
        LogUnreadable, write(whole[:-20], "a.json")
    )


def test_a_parquet_file_cut_off_or_damaged(write: Write, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "logs" / "b.parquet"
    path.parent.mkdir()
    rows = [row(f"text {i * 7919}", "a") for i in range(300)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=100, compression="zstd")
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    assert "b.parquet:1: the Parquet file is cut off or damaged: " in said(LogUnreadable, path)
    (path.parent / "a.jsonl").write_bytes(LINE * 2)
    traffic = read([path.parent])
    assert (len(traffic.calls), traffic.bad_rows) == (2, 1)
    path.write_bytes(data)
    chunk = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    start, length = chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size
    path.write_bytes(data[:start] + b"\xff" * length + data[start + length :])
    traffic = read([path])
    assert (len(traffic.calls), traffic.bad_rows) == (200, 1)
    assert traffic.bad[0].reason.startswith("row group 1 of 100 rows: the Parquet file is cut off or damaged: ")


def test_a_file_that_vanishes(write: Write) -> None:
    path = write(LINE)
    source = open_log([path])
    path.unlink()
    with pytest.raises(LogUnreadable, match=r"calls\.jsonl is gone; it was there when the run began\. Read a copy"):
        list(batches(source, 0, Reading()))


def test_a_file_that_is_cut_while_it_is_read(write: Write) -> None:
    path = write(LINE * 100)
    source = open_log([path], piece=30 * len(LINE))
    os.truncate(path, 50 * len(LINE) - 10)
    calls, reasons = 0, []
    for order in range(len(source.parts)):
        reading = Reading()
        calls += sum(len(batch) for batch, _ in batches(source, order, reading))
        reasons += [bad.reason for bad in reading.bad]
    assert calls == 49
    assert reasons[-1] == "the file was cut off here while it was read"


def test_what_is_written_while_a_log_is_read_is_of_the_next_run(write: Write) -> None:
    path = write(LINE * 3)
    source = open_log([path])
    with path.open("ab") as file:
        file.write(LINE)
    assert sum(len(batch) for batch, _ in batches(source, 0, Reading())) == 3


def test_a_pipe_a_socket_a_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.jsonl")
    again = "A log is gone over more than once: save it to a file first."
    assert said(LogUnreadable, tmp_path / "p.jsonl") == f"p.jsonl is a pipe. {again}"
    assert "p.jsonl is a pipe." in said(LogUnreadable, tmp_path)
    assert said(LogUnreadable, "/dev/null") == f"null is a device or a socket, not a file. {again}"
    folder = tempfile.mkdtemp(prefix="s", dir="/tmp")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s.jsonl")
        assert said(LogUnreadable, f"{folder}/s.jsonl").startswith("s.jsonl is a device or a socket")
    os.unlink(f"{folder}/s.jsonl")
    os.rmdir(folder)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may reach, and this process as one without rights."""
    folder = Path(tempfile.mkdtemp(prefix="freehold-", dir="/tmp"))
    folder.chmod(0o755)
    before = os.geteuid()
    yield folder
    os.seteuid(before)
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o755)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def test_what_may_not_be_read(open_folder: Path) -> None:
    (open_folder / "in").mkdir()
    (open_folder / "in" / "a.jsonl").write_bytes(LINE)
    (open_folder / "in" / "a.jsonl").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    for path in (open_folder / "in" / "a.jsonl", open_folder / "in"):
        with pytest.raises(LogUnreadable, match=r"^Can't read .*in/a\.jsonl: Permission denied\. Check its perm"):
            read([path])
    os.seteuid(os.getuid())
    (open_folder / "in").chmod(stat.S_IWUSR)
    if os.getuid() == 0:
        os.seteuid(65534)
    with pytest.raises(LogUnreadable, match=r"^Can't read .*/in: Permission denied\. Check its permissions"):
        read([open_folder / "in"])


def test_links_that_lead_round_or_nowhere(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.jsonl").write_bytes(LINE)
    (logs / "again").symlink_to(logs)
    (logs / "latest.jsonl").symlink_to(logs / "a.jsonl")
    (tmp_path / "other").symlink_to(logs)
    assert len(read([logs]).calls) == len(read([logs, tmp_path / "other", logs / "a.jsonl"]).calls) == 1
    (tmp_path / "nowhere.jsonl").symlink_to(tmp_path / "gone.jsonl")
    said_of_it = said(LogMissing, tmp_path / "nowhere.jsonl")
    assert said_of_it.startswith("nowhere.jsonl is a link to a file that is not there. ")
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    assert said(LogMissing, tmp_path / "loop.jsonl").startswith("loop.jsonl is a link that leads back to itself. ")


@pytest.mark.parametrize("names", [("a.jsonl", "a.jsonl.gz"), ("a.csv", "a.csv.zst"), ("a.json.gz", "a.json.zst")])
def test_a_file_beside_itself_packed(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(LINE)
    with pytest.raises(LogUnreadable, match=re.escape(f"holds {names[1]} beside {names[0]}, so its calls would count")):
        read([tmp_path])
    with pytest.raises(LogUnreadable, match="would count twice"):
        read([tmp_path / name for name in names])


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"PK\x03\x04....", "a zip archive"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"SQLite format 3\0", "a SQLite database"),
        ("{}".encode("utf-16-le"), "UTF-16"),
        (gzip.compress("[]".encode("utf-16"), mtime=0), "UTF-16"),
        (gzip.compress(b"calls.jsonl".ljust(257, b"\0") + b"ustar" + b"\0" * 250, mtime=0), "a tar archive"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, data: bytes, name: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    assert said(LogUnreadable, tmp_path / "a.jsonl").startswith(f"a.jsonl is {name}, which isn't read here. Known: ")
