"""Wherever a log lies and however it is cut, its records are the same."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import LogEmpty, LogMissing, LogUnreadable, MissingExtra
from freehold.traffic import Reading, batches, open_log, read
from freehold.traffic.files import document, lines, look, parts_of, records, shown
from freehold.traffic.files.part import Part

from .conftest import row

Write = Callable[..., Path]
GOOD = [row(f"text {i}", "a", timestamp=1790845964 + i) for i in range(6)]
TEXTS = [f"text {i}" for i in range(6)]
JSONL = b"".join(json.dumps(r).encode() + b"\n" for r in GOOD)


def texts(*paths: Path | str) -> list[str]:
    return [call.messages[-1]["content"] for call in read(paths).calls]


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def table(rows: list[dict[str, Any]], path: Path, **more: Any) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path, **more)
    return path


# however it is cut

lines_of_any_length = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=12)
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cuts") / "log.jsonl"


@given(
    made=lines_of_any_length, last=st.binary(max_size=9), piece=st.integers(1, 50), longest=st.sampled_from([99, 16])
)
@settings(max_examples=300)
def test_the_parts_hold_what_the_whole_does(
    scratch: Path, made: list[bytes], last: bytes, piece: int, longest: int
) -> None:
    scratch.write_bytes(b"x" + b"".join(made) + last)
    before, lines.LONGEST = lines.LONGEST, longest
    try:
        whole = [(r.data, r.torn, r.more) for r in records(Part(str(scratch), end=scratch.stat().st_size))]
        parts = parts_of([scratch], piece=piece)
        cut = [(r.data, r.torn, r.more) for part in parts for r in records(part)]
    finally:
        lines.LONGEST = before
    assert cut == whole
    assert sum(len(data) + more for data, _, more in whole) == scratch.stat().st_size
    assert sum(part.size for part in parts) == scratch.stat().st_size


rows_of_all_kinds = st.sampled_from([
    json.dumps(GOOD[0]), json.dumps(GOOD[1]), json.dumps(row("later", "b", timestamp=1790900000)),
    json.dumps({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}),
    json.dumps({"messages": [{"role": "user", "content": "é"}, {"role": "assistant", "content": "z"}]}),
    '{"torn": ', '{"a": 1}', "", "[]", json.dumps(row("a", "x", response={"choices": []})),
    json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [
        {"attributes": [{"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}}], "start_time": start}
        for start in ("2026-10-01", "yesterday", "2026-10-02")
    ]}]}]}),
])  # fmt: skip


@given(
    made=st.lists(rows_of_all_kinds, min_size=1, max_size=14),
    piece=st.integers(1, 2000),
    until=st.sampled_from([None, 1790850000.0]),
)
@settings(max_examples=150)
def test_readings_of_parts_add_up_to_the_reading_of_the_whole(
    scratch: Path, made: list[str], piece: int, until: float | None
) -> None:
    scratch.write_bytes("\n".join(["{}", *made]).encode())
    whole = _added_up(scratch, 1 << 30, until)
    cut = _added_up(scratch, piece, until)
    assert cut.log(["x"]) == whole.log(["x"])
    assert (cut.bad, list(cut.reasons.items()), cut.example) == (whole.bad, list(whole.reasons.items()), whole.example)
    assert {name: getattr(cut, name) for name in ("no_rows", "records", "later", "untimed", "calls", "timed")} == {
        name: getattr(whole, name) for name in ("no_rows", "records", "later", "untimed", "calls", "timed")
    }


def _added_up(path: Path, piece: int, until: float | None) -> Reading:
    """Each part read by a reading of its own, which travels; then all added."""
    source = open_log([path], piece=piece, until=until, format="openai")
    whole, before = Reading(until=until), 0
    for order, part in enumerate(source.parts):
        reading = Reading(until=until)
        parts = (*source.parts[:order], replace(part, line=before), *source.parts[order + 1 :])
        source = replace(source, parts=parts)
        for _ in batches(source, order, reading):
            pass
        before += reading.records
        whole.merge(msgspec.msgpack.decode(msgspec.msgpack.encode(reading), type=Reading))
    return whole


def test_a_line_longer_than_many_parts_is_not_searched_through_by_each(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_bytes(JSONL + b'{"a": "' + b"x" * 1_000_000 + b'"}\n' + JSONL)
    parts = parts_of([path], piece=1000)
    assert len(parts) > 1000
    assert sum(1 for part in parts for _ in records(part)) == 13


# however it is packed


def packings() -> Iterator[tuple[str, bytes]]:
    half = JSONL.index(b"text 3")
    yield "calls.jsonl", JSONL
    yield "calls.ndjson", JSONL.rstrip()
    yield "bom.jsonl", b"\xef\xbb\xbf" + JSONL
    yield "calls.jsonl.gz", gzip.compress(JSONL)
    members = [gzip.compress(data) for data in (JSONL[:half], b"", JSONL[half:])]
    yield "members.jsonl.gz", b"".join(members) + b"\0" * 512
    yield "calls.jsonl.zst", zst(JSONL)
    skippable = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    yield "frames.jsonl.zst", skippable + zst(JSONL[:half]) + skippable + zst(JSONL[half:])
    yield "list.json", json.dumps(GOOD).encode()
    yield "list.json.gz", gzip.compress(json.dumps(GOOD, indent=2).encode())
    yield "data.json", json.dumps({"object": "list", "data": GOOD, "has_more": False}).encode()
    yield "observations.json", b"\xef\xbb\xbf" + json.dumps({"observations": GOOD, "page": [1]}, indent=1).encode()
    yield "line.json", json.dumps({"data": GOOD}).encode() + b"\n\n"
    yield "by-hand.json", b"[\n" + b",\n".join(JSONL.splitlines()) + b"\n]\n"


@pytest.mark.parametrize(("name", "data"), list(packings()), ids=lambda x: x if isinstance(x, str) else "")
def test_every_packing_holds_the_same_calls(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    for path in (tmp_path / name, tmp_path):
        traffic = read([path])
        assert [call.messages[-1]["content"] for call in traffic.calls] == TEXTS
        assert [call.line for call in traffic.calls] == [1, 2, 3, 4, 5, 6]
        assert traffic.bad_rows == 0


def test_packed_lines_are_the_same_log_as_plain_ones(tmp_path: Path) -> None:
    logs = []
    for name, data in packings():
        if "json" not in name.split(".")[1:2]:
            (tmp_path / name).write_bytes(data)
            log = read([tmp_path / name]).log
            logs.append((log.sha256, log.identity, log.rows))
    assert len(logs) == 7
    assert len(set(logs)) == 1


def test_one_call_in_a_document_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "call.json"
    path.write_text(json.dumps(GOOD[0], indent=2))
    assert texts(path) == ["text 0"]
    path.write_text(json.dumps(GOOD[0]))
    assert texts(path) == ["text 0"]


def test_what_a_format_knows_as_a_whole_stays_one_record(tmp_path: Path) -> None:
    spans = {"resourceSpans": [{"resource": {}, "scopeSpans": []}]}
    for indent in (None, 1):
        path = tmp_path / "trace.json"
        path.write_text(json.dumps(spans, indent=indent))
        assert [json.loads(record.data) for record in records(parts_of([path])[0])] == [spans]


def test_a_document_too_large_to_hold_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text(json.dumps(GOOD))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    monkeypatch.setattr(document, "LARGEST", 1000)
    for name in ("a.json", "b.json.gz"):
        with pytest.raises(LogUnreadable, match=r"is one JSON document .*One row a line has no limit: jq -c"):
            read([tmp_path / name])


def test_a_document_on_one_endless_line_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "LONGEST", 100)
    (tmp_path / "a.json").write_text(json.dumps({"data": GOOD}))
    (tmp_path / "b.jsonl").write_bytes(JSONL)
    assert [part.shape for part in parts_of([tmp_path])] == ["document", "lines"]


def test_an_object_with_one_row(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"data": GOOD[:1]}))
    assert texts(tmp_path) == ["text 0"]


def test_an_empty_list_holds_no_rows(tmp_path: Path) -> None:
    for text in ("[]", '{"data": []}'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(LogEmpty, match="holds no rows"):
            read([tmp_path / "a.json"])


# tables


def as_csv(cells: list[list[str]], **how: Any) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, **how).writerows(cells)
    return out.getvalue().encode()


HEADER = ["timestamp", "model", "prompt", "completion"]
CELLS = [
    HEADER,
    ["2026-10-01T00:00:00Z", "gpt-4o", 'two\nlines, "quoted"', "yes"],
    ["2026-10-01T00:00:01Z", "gpt-4o", "long " * 60_000, "no"],
    ["2026-10-01T00:00:02Z", "gpt-4o", "é", "no"],
]


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_table_with_long_fields_and_line_ends_in_them(tmp_path: Path, packed: str, sign: str) -> None:
    data = b"\xef\xbb\xbf" + as_csv(CELLS, delimiter=sign)
    path = tmp_path / f"calls.csv{packed}"
    path.write_bytes({"": lambda b: b, ".gz": gzip.compress, ".zst": zst}[packed](data))
    found = list(records(parts_of([path])[0]))
    assert [json.loads(record.data) for record in found] == [dict(zip(HEADER, c, strict=True)) for c in CELLS[1:]]
    assert [record.number for record in found] == [2, 4, 5]
    assert found[-1].at == path.stat().st_size
    assert texts(path) == [cells[2] for cells in CELLS[1:]]


def test_bad_rows_of_a_table_are_named_by_the_line_they_begin_in(tmp_path: Path) -> None:
    good = b'2026-10-01T00:00:00Z,gpt-4o,"a\nb",yes\n'
    data = ",".join(HEADER).encode() + b"\n" + good + b"\n1,2,3,4,5\n" + good + b"x\xff,m,p,c\n" + good + good
    path = tmp_path / "calls.csv"
    path.write_bytes(data)
    traffic = read([path])
    assert [(bad.line, bad.reason) for bad in traffic.bad] == [
        (5, "the row has 5 fields, and the header 4"),
        (8, "the row is not UTF-8"),
    ]
    assert [call.line for call in traffic.calls] == [2, 6, 9, 11]


def test_a_quote_that_never_ends_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.traffic.files import tables

    monkeypatch.setattr(tables, "LONGEST", 1000)
    path = tmp_path / "calls.csv"
    path.write_bytes(as_csv([HEADER, *[["2026-10-01", "m", "p" * 90, "c"]] * 3]) + b'2026-10-01,m,"' + b"never\n" * 400)
    found = list(records(parts_of([path])[0]))
    assert next(record.torn for record in found if record.torn) == "not CSV: field larger than field limit (1000)"
    assert len([record for record in found if not record.torn]) >= 3


def test_an_endless_line_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.traffic.files import tables

    monkeypatch.setattr(tables, "LONGEST", 100)
    path = tmp_path / "calls.csv"
    path.write_bytes(as_csv([["a", "b"], ["1", "2"], ["x" * 90, "y" * 5000], ["3", "4"]]))
    found = list(records(parts_of([path])[0]))
    assert [bool(record.torn) for record in found] == [False, True, False]
    assert [record.number for record in found] == [2, 3, 4]


pyarrow_missing = "import sys; sys.modules['pyarrow'] = None; sys.modules['fsspec'] = None\n"


def test_parquet_rows_with_structs_maps_and_times(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    at = datetime(2026, 10, 1, 9, 0, 0, 250_000, tzinfo=UTC)
    columns = {
        "timestamp": pyarrow.array([at, None], pyarrow.timestamp("ns", "UTC")),
        "request": pyarrow.array([{"model": "m", "messages": [{"role": "user", "content": "hi"}]}, None]),
        "tags": pyarrow.array([[("a", "1")], []], pyarrow.map_(pyarrow.string(), pyarrow.string())),
        "inner": pyarrow.array([{"t": [at]}, None], pyarrow.struct([("t", pyarrow.list_(pyarrow.timestamp("ns")))])),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    first, second = (json.loads(record.data) for record in records(parts_of([tmp_path])[0]))
    assert first["timestamp"] == "2026-10-01T09:00:00.250000Z"
    assert first["request"] == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert (first["tags"], first["inner"]["t"]) == ({"a": "1"}, ["2026-10-01T09:00:00.250000"])
    assert (second["timestamp"], second["tags"]) == (None, [])


def test_parquet_is_cut_by_row_groups(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = table([row(f"text {i}", "a") for i in range(100)], tmp_path / "x.parquet", row_group_size=10)
    parts = parts_of([path], piece=1)
    assert [(p.start, p.end, p.line) for p in parts] == [(i, i + 1, 10 * i) for i in range(10)]
    assert sum(p.size for p in parts) == path.stat().st_size
    assert [call.line for call in read([path]).calls] == list(range(1, 101))
    cut = open_log([path], piece=1)
    assert [c.line for i in range(10) for batch, _ in batches(cut, i, Reading()) for c in batch] == list(range(1, 101))


def test_without_pyarrow_or_fsspec_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1....PAR1")
    for path, said in (
        (tmp_path / "x.parquet", "(Parquet) needs the package pyarrow. pip install 'freehold[parquet]'"),
        ("s3://bucket/x", "Reading s3:// needs the package fsspec. pip install 'freehold[remote]' s3fs"),
    ):
        code = f"from freehold.traffic import read\ntry: read([{str(path)!r}])\n"
        code += "except Exception as e: print(e.exit_code, e)"
        out = subprocess.run([sys.executable, "-c", pyarrow_missing + code], capture_output=True, text=True, check=True)
        assert out.stdout.startswith("60 ")
        assert said in out.stdout


# wherever it lies


def test_a_folder_gives_every_known_file_and_passes_over_others(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name, data in (
        ("a.jsonl", JSONL),
        ("b.csv", as_csv(CELLS)),
        ("deep/c.json", json.dumps(GOOD).encode()),
        ("deep/er/d.jsonl.2", JSONL),
        ("deep/er/e.jsonl-20261101.gz", gzip.compress(JSONL)),
        (".hidden/f.jsonl", JSONL),
        ("g.txt", b"not a log"),
        ("h.jsonl.bak", b"not a log"),
        ("_SUCCESS", b""),
    ):
        (tmp_path / name).write_bytes(data)
    source = open_log([tmp_path])
    assert [Path(part.path).relative_to(tmp_path).as_posix() for part in source.parts] == [
        "a.jsonl", "b.csv", "deep/c.json", "deep/er/d.jsonl.2", "deep/er/e.jsonl-20261101.gz",
    ]  # fmt: skip
    assert source.formats == ("columns", "openai")
    traffic = read([tmp_path])
    assert traffic.log.formats == {"columns": 3, "openai": 24}


def test_patterns(tmp_path: Path) -> None:
    for name in ("2026-10-01.jsonl", "2026-11-02.jsonl", "2027.jsonl", "x/2026-12.jsonl", "2026-notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(JSONL[: JSONL.index(b"\n") + 1].replace(b"text 0", name.encode()))
    assert texts(f"{tmp_path}/2026-*") == ["2026-10-01.jsonl", "2026-11-02.jsonl"]
    assert texts(f"{tmp_path}/202?.jsonl") == ["2027.jsonl"]
    assert texts(f"{tmp_path}/**/2026-1[12]*.jsonl") == ["2026-11-02.jsonl", "x/2026-12.jsonl"]
    assert texts(f"{tmp_path}/x*") == ["x/2026-12.jsonl"]
    with pytest.raises(LogMissing, match=r"No file matches .*/2025-\*\.jsonl\."):
        read([f"{tmp_path}/2025-*.jsonl"])
    (tmp_path / "a[1].jsonl").write_bytes(JSONL)
    assert texts(tmp_path / "a[1].jsonl") == TEXTS


@pytest.fixture
def store() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


def test_a_store_is_read_as_a_disk_is(store: Any, tmp_path: Path) -> None:
    store.pipe({"/logs/a.jsonl": JSONL, "/logs/b.jsonl.gz": gzip.compress(JSONL), "/logs/note.txt": b"x"})
    (tmp_path / "a.jsonl").write_bytes(JSONL)
    assert texts("memory://logs/a.jsonl") == TEXTS
    assert texts("memory://logs/") == TEXTS * 2
    assert texts("memory://logs/*.gz") == TEXTS
    assert texts(f"file://{tmp_path}/a.jsonl") == TEXTS
    parts = parts_of(["memory://logs/a.jsonl"], piece=100)
    assert len(parts) == 1 + len(JSONL) // 100
    assert b"".join(record.data for part in parts for record in records(part)) == JSONL
    assert read(["memory://logs/a.jsonl"]).log.paths == ("memory://logs/a.jsonl",)
    with pytest.raises(LogMissing, match=r"There is no memory://logs/c\.jsonl"):
        read(["memory://logs/c.jsonl"])
    with pytest.raises(LogMissing, match="There is no store gopher://"):
        read(["gopher://x/y"])
    store.pipe("/logs/b.jsonl", JSONL)
    with pytest.raises(LogUnreadable, match=r"memory:///?logs holds b\.jsonl\.gz beside b\.jsonl"):
        read(["memory://logs/"])


def test_parquet_and_tables_from_a_store(store: Any, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    store.pipe("/x.parquet", table(GOOD, tmp_path / "x.parquet").read_bytes())
    store.pipe("/x.csv", as_csv(CELLS))
    assert texts("memory://x.parquet") == TEXTS
    assert len(texts("memory://x.csv")) == 3


def test_a_web_server_that_gives_no_parts(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("pyarrow")
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *said: object) -> None:
            pass

    (tmp_path / "a.jsonl").write_bytes(JSONL * 9000)  # more than a store is asked for at a time
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(JSONL))
    table(GOOD, tmp_path / "c.parquet")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        parts = parts_of([f"{url}/a.jsonl?key=secret"], piece=1000)
        assert len(parts) == 1
        assert sum(1 for _ in records(parts[0])) == 54_000
        assert texts(f"{url}/b.jsonl.gz") == TEXTS
        with pytest.raises(LogUnreadable, match=r"c\.parquet is Parquet on a server that gives no part of it"):
            read([f"{url}/c.parquet"])
        with pytest.raises(LogMissing, match=r"There is no http://127\.0\.0\.1:\d+/d\.jsonl\. "):
            read([f"{url}/d.jsonl"])
        server.shutdown()


def test_a_store_without_its_package_is_named() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(MissingExtra, match=r"Reading abfs:// needs a further package\. pip .*\[remote\]' adlfs"):
        read(["abfs://box@account.dfs/logs/x.jsonl"])


def test_keys_in_a_url_are_not_said() -> None:
    assert shown("https://me:secret@host.example/a/b.jsonl?sig=abc&x=1#f") == "https://host.example/a/b.jsonl"
    assert shown("/logs/a?b.jsonl") == "/logs/a?b.jsonl"
    with pytest.raises((LogUnreadable, LogMissing, MissingExtra)) as caught:
        read(["http://me:secret@127.0.0.1:9/x.jsonl?sig=abc"])
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)
