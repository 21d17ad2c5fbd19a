"""Every row is a call or a counted bad row, and a file that is no log says what it is."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.errors import LogEmpty, LogMissing, LogMostlyBad, LogUnreadable
from freehold.traffic import find_tasks, read

from .conftest import row

Write = Callable[..., Path]
GOOD = [row(f"text {i}", "a") for i in range(4)]
LINE = json.dumps(GOOD[0]).encode() + b"\n"


def test_plain_gzip_and_folder_give_the_same_calls(write: Write, tmp_path: Path) -> None:
    plain, packed = write(GOOD, "a/calls.jsonl"), write(GOOD, "b/calls.jsonl.gz")
    for paths in ([plain], [packed], [tmp_path / "a"]):
        traffic = read(paths)
        assert [c.messages[-1]["content"] for c in traffic.calls] == [f"text {i}" for i in range(4)]
        assert (traffic.log.sha256, traffic.log.rows) == (read([plain]).log.sha256, 4)
        assert traffic.log.identity == read([plain]).log.identity


def test_a_folder_is_read_in_order_of_name(write: Write, tmp_path: Path) -> None:
    write(GOOD[2:], "logs/2026-11.jsonl")
    write(GOOD[:2], "logs/2026-10.jsonl.gz")
    write(b"not a log", "logs/notes.txt")
    assert [c.messages[-1]["content"] for c in read([tmp_path / "logs"]).calls] == [f"text {i}" for i in range(4)]


def test_a_log_keeps_its_identity_as_it_grows(write: Write) -> None:
    before = read([write(GOOD[:2])]).log
    after = read([write(GOOD)]).log
    assert before.identity == after.identity
    assert before.sha256 != after.sha256


def timed(n: int) -> dict[str, object]:
    return {**row(f"text {n}", "a"), "timestamp": f"2026-10-{n:02}T00:00:00Z"}


def test_newest_first_exports_and_rotated_files_are_the_same_log(write: Write, tmp_path: Path) -> None:
    before = read([write([timed(3), timed(2), timed(1)], "x/new.jsonl")]).log
    longer = read([write([timed(n) for n in (5, 4, 3, 2, 1)], "y/new.jsonl")]).log
    write([timed(6)], "x/a-sorts-first.jsonl")
    assert before.identity == longer.identity == read([tmp_path / "x"]).log.identity
    assert before.identity != read([write([timed(2)], "z.jsonl")]).log.identity


def test_a_file_beside_its_own_gzip_would_count_twice(write: Write, tmp_path: Path) -> None:
    write(GOOD, "logs/calls.jsonl")
    write(GOOD, "logs/calls.jsonl.gz")
    with pytest.raises(LogUnreadable, match="count twice"):
        read([tmp_path / "logs"])


def test_bad_rows_are_counted_with_line_and_reason(write: Write) -> None:
    path = write(LINE + b'{"a": 1}\n\n{"torn": \n' + LINE * 3 + b'{"x": "\xff"}\n' + LINE)
    traffic = read([path])
    assert (len(traffic.calls), traffic.bad_rows, traffic.log.rows) == (5, 3, 8)
    assert [(b.line, b.file) for b in traffic.bad] == [(2, str(path)), (4, str(path)), (8, str(path))]
    assert "'a'" in traffic.bad[0].reason
    assert traffic.bad[1].reason.startswith("not JSON")
    assert "utf-8" in traffic.bad[2].reason


def test_a_hundred_bad_rows_are_kept_and_all_counted(write: Write) -> None:
    traffic = read([write(b"{}\n" * 150 + LINE * 200)])
    assert (len(traffic.bad), traffic.bad_rows) == (100, 150)


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(write: Write) -> None:
    traffic = read([write(b"\xef\xbb\xbf" + LINE.replace(b"\n", b"\r\n") * 2)])
    assert (len(traffic.calls), traffic.bad_rows) == (2, 0)


def test_a_torn_gzip_gives_what_it_holds_and_one_bad_row(write: Write) -> None:
    path = write([row(f"text {i} {i * 7919}", "a") for i in range(5000)], "calls.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-2000])
    traffic = read([path])
    assert 1000 < len(traffic.calls) < 5000
    assert traffic.bad_rows == 1
    assert "cut off" in traffic.bad[0].reason


def test_a_megabyte_of_text_is_one_call(write: Write) -> None:
    traffic = read([write([*GOOD, row("long " * 200_000, "a")])])
    assert len(traffic.calls[-1].messages[-1]["content"]) == 1_000_000


def test_rows_share_their_system_prompt(write: Write) -> None:
    calls = read([write([row(f"text {i}", "a", system="Rule. " * 50) for i in range(3)])]).calls
    first, *others = (call.messages[0]["content"] for call in calls)
    assert all(text is first for text in others)
    assert sys.getrefcount(first) > 3


def test_until_keeps_earlier_calls_and_counts_the_others(write: Write) -> None:
    rows = [row("a", "x", timestamp=100), row("b", "x", timestamp=200), row("c", "x", timestamp=300)]
    rows.append({"messages": [{"role": "user", "content": "d"}, {"role": "assistant", "content": "x"}]})
    traffic = read([write(rows)], until=200.0)
    assert [c.at for c in traffic.calls] == [100.0]
    assert (traffic.later, traffic.untimed, traffic.log.until) == (2, 1, 200.0)
    with pytest.raises(LogEmpty, match="3 come later and 1 say no time"):
        read([write(rows)], until=50.0)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(LogMissing, match="nowhere"):
        read([tmp_path / "nowhere.jsonl"])
    with pytest.raises(LogMissing, match="without a log file"):
        read([tmp_path])


@pytest.mark.parametrize("data", [b"", b"\n\n  \n"])
def test_an_empty_file(write: Write, data: bytes) -> None:
    with pytest.raises(LogEmpty, match="no rows"):
        read([write(data)])


def test_an_empty_gzip(write: Write) -> None:
    with pytest.raises(LogEmpty, match="no rows"):
        read([write(b"", "calls.jsonl.gz")])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"hello\nworld\n", "not JSON"),
        (b'{"colour": "a", "size": "b"}\n' * 3, "'colour', 'size'"),
        (b"[1, 2, 3]\n", "a int instead of an object"),
        (json.dumps({"name": "x", "version": 2}, indent=1).encode(), "an object with 'name', 'version'"),
        (b"1\n2\n", "a int"),
        (b"PAR1" + b"\0" * 50, "the Parquet file is cut off or damaged"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16"),
    ],
)
def test_what_is_no_log_says_what_was_seen_and_what_is_known(write: Write, data: bytes, said: str) -> None:
    with pytest.raises(LogUnreadable, match=r"timestamp.*request.*response") as caught:
        read([write(data)])
    assert said in caught.value.message


def test_every_row_bad_names_the_commonest_reason(write: Write) -> None:
    rows = [row("a", "x", response={"choices": []}) for _ in range(5)] + [row("a", "x", timestamp="soon")]
    with pytest.raises(LogMostlyBad, match=r"6 of 6 rows are bad, 5 of them like .*:1: the response has no choices"):
        read([write(rows)])


def test_half_bad_is_read_and_more_is_refused(write: Write) -> None:
    assert read([write(LINE * 2 + b"{}\n" * 2)]).bad_rows == 2
    with pytest.raises(LogMostlyBad, match="3 of 5"):
        read([write(LINE * 2 + b"{}\n" * 3)])


def test_reading_changes_no_file(write: Write) -> None:
    path = write(GOOD, "calls.jsonl.gz")
    before = path.read_bytes()
    read([path])
    assert path.read_bytes() == before
    assert json.loads(gzip.decompress(before).splitlines()[0]) == read([path]).calls[0].row


def test_names_of_tasks_follow_the_order_of_files(write: Write, tmp_path: Path) -> None:
    write([row(f"text {i}", "a", system="Route it now. One.") for i in range(20)], "logs/b.jsonl")
    write([row("x", "a")] * 3 + [row(f"text {i}", "a", system="Route it now. Two.") for i in range(30)], "logs/a.jsonl")
    names = {t.template.slots[0].before: t.name for t in find_tasks(read([tmp_path / "logs"]))}
    assert names == {
        "Route the message.": "route-message",
        "Route it now. Two.": "route-now",
        "Route it now. One.": "route-now-2",
    }
