"""The ledger adds up, is read once, and a row half written waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.project import Project
from freehold.watch.snapshot import Watcher
from freehold.watch.tail import BLOCK, Tail
from freehold.watch.tally import Tally

Row = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def test_counts_money_and_pairs(project: Project, row: Row, write: Write) -> None:
    rows = [row(i) for i in range(70)]
    rows += [row(70 + i, "escalated") for i in range(20)]
    rows += [row(90 + i, "unmatched", task="", student=None) for i in range(10)]
    rows += [row(i, "pair", agrees=i != 3, money={"home": 0.0, "saved": -0.0001}) for i in range(8)]
    rows += [row(99, "pair", agrees=None, status="failed")]
    write(project, rows)
    found = Watcher(project).snapshot()
    assert found["calls"] == 100  # pairs are no calls of their own
    home = found["home"]
    assert (home.value, home.n) == (0.7, 100)
    assert home.low == pytest.approx(0.6002, abs=1e-3)  # Clopper-Pearson, published tables
    assert home.high == pytest.approx(0.7876, abs=1e-3)
    assert found["agreement"]["home"]["value"] == 7 / 8
    assert found["agreement"]["home"]["n"] == 8
    assert found["lost"] == 1
    assert dict(found["why"]) == {"home": 70, "escalated": 20, "unmatched": 10}
    assert found["saved"]["value"] == pytest.approx(70 * 1e-4 - 8 * 1e-4)
    assert found["saved"]["per_month"] == pytest.approx(62e-4 / (99 / 60) * 730.5)
    assert sum(found["traffic"]["home"]) == 70
    assert sum(found["traffic"]["up"]) == 30
    assert found["traffic"]["hours"][0] % 3600 == 0
    assert json.loads(json.dumps(found["ups"]))[0]["at"] == max(u["at"] for u in found["ups"])
    assert len(found["ups"]) == 20


def test_a_failed_home_answer_is_not_home(row: Row) -> None:
    tally = Tally()
    tally.add(json.dumps(row(0, status="failed")).encode())
    tally.add(json.dumps(row(1, status="partial")).encode())
    tally.add(json.dumps(row(2, "escalated", answered_by="replay", money={"home": None, "saved": None})).encode())
    assert (tally.calls, tally.home, tally.failed, tally.replayed, tally.unpriced) == (3, 1, 1, 1, 1)


def test_only_new_rows_are_read(project: Project, row: Row, write: Write) -> None:
    write(project, [row(i) for i in range(50)])
    watcher = Watcher(project)
    assert watcher.snapshot()["calls"] == 50
    tail = watcher.tail
    write(project, [row(50)])
    write(project, [row(51)], "2026-11-25-7.jsonl")
    read = list(Tail(tail.folder).rows(1 << 30))
    new = list(tail.rows(1 << 30))
    assert (len(read), len(new)) == (52, 2)
    assert list(tail.rows(1 << 30)) == []


def test_a_torn_row_waits_until_it_is_whole(project: Project, row: Row, write: Write) -> None:
    path = write(project, [row(0)])
    whole = json.dumps(row(1)).encode() + b"\n"
    watcher = Watcher(project)
    for cut in (1, len(whole) // 2, len(whole) - 1):
        with path.open("ab") as file:
            file.write(whole[:cut])
        assert watcher.snapshot()["calls"] == 1
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - cut)
    with path.open("ab") as file:
        file.write(whole)
    found = watcher.snapshot()
    assert (found["calls"], found["counts"]["unreadable"]) == (2, 0)


def test_a_large_ledger_is_read_in_parts(project: Project, row: Row, write: Write) -> None:
    rows = [row(i) for i in range(400)]
    path = write(project, rows[:300])
    write(project, rows[300:], "2026-11-25-1.jsonl")
    tail, seen, passes = Tail(path.parent), 0, 0
    while True:
        seen += len(list(tail.rows(20_000)))
        passes += 1
        if not tail.behind:
            break
    assert seen == 400
    assert passes > 1  # one block at least each time
    assert Watcher(project).snapshot(1)["behind"] == (path.parent / "2026-11-25-1.jsonl").stat().st_size


def test_a_row_longer_than_a_block(project: Project, row: Row, write: Write) -> None:
    write(project, [row(0), row(1, "escalated", text="word " * (BLOCK // 4)), row(2)])
    found = Watcher(project).snapshot()
    assert found["calls"] == 3
    assert len(json.dumps(found["ups"])) < 1000


def test_a_ledger_put_away_is_read_again(project: Project, row: Row, write: Write) -> None:
    path = write(project, [row(i) for i in range(9)])
    watcher = Watcher(project)
    assert watcher.snapshot()["calls"] == 9
    path.unlink()
    write(project, [row(0)], "2026-11-25-1.jsonl")
    assert watcher.snapshot()["calls"] == 1


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b'{"request": {}}',
        b'{"freehold": {"why": 3}}',
        b"\xff\xfe",
        b'{"freehold": {}}',
        b"[" * 99999,
    ],
)
def test_foreign_rows_are_counted(line: bytes) -> None:
    tally = Tally()
    tally.add(line)
    tally.add(b"")
    assert (tally.unreadable, tally.calls) == (1, 0)


@pytest.mark.parametrize("home", [True, False])
@pytest.mark.parametrize(
    "odd", [b'"a \xff c"', b'"\\ud800"', b"1" * 5000, b"[" * 5000 + b"]" * 5000, b"{", b'"\r"'], ids=range(6)
)
def test_a_row_is_counted_once_or_as_unreadable(
    project: Project, row: Row, write: Write, odd: bytes, home: bool
) -> None:
    """Whatever a row holds, those beside it count, and count once, however often the page is asked."""
    why = "home" if home else "escalated"
    path = write(project, [row(0, why)])
    bad = json.dumps(row(1, why, text="PLACE")).encode().replace(b'"PLACE"', odd) + b"\n"
    with path.open("ab") as file:
        file.write(bad)
    write(project, [row(2, why)])
    watcher = Watcher(project)
    for _ in range(3):
        found = watcher.snapshot()
    total = found["calls"] + found["counts"]["unreadable"]
    assert total == 3
    if not home or odd[:2] == b'"a':
        assert found["counts"]["unreadable"] == 1


@pytest.mark.parametrize(
    "own",
    [{"money": {"saved": "PLACE"}}, {"pairs": "PLACE"}, {"student": {"sha256": "a", "score": "PLACE"}}],
    ids=str,
)
def test_a_number_without_end_is_unreadable(row: Row, own: dict[str, Any]) -> None:
    tally = Tally()
    tally.add(json.dumps(row(0, **own)).encode().replace(b'"PLACE"', b"1e999"))
    assert (tally.unreadable, tally.calls, tally.saved) == (1, 0, 0.0)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", -5, 1e300])
def test_odd_times(project: Project, row: Row, write: Write, at: Any) -> None:
    write(project, [row(0), row(1) | {"timestamp": at}, row(2)])
    found = Watcher(project).snapshot()
    assert found["calls"] + found["counts"]["unreadable"] == 3
    assert len(found["traffic"]["hours"]) <= 7 * 24


@pytest.mark.parametrize("request_", [None, [], {}, {"messages": None}, {"messages": [3, {"role": "user"}]}])
def test_requests_of_any_shape(row: Row, request_: Any) -> None:
    tally = Tally()
    tally.add(json.dumps(row(0, "unmatched") | {"request": request_}).encode())
    assert tally.ups[0].prompt == ""


def test_parts_of_a_message(row: Row) -> None:
    content = [{"type": "text", "text": "look at"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    tally = Tally()
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "?"}]
    tally.add(json.dumps(row(0, "unmatched") | {"request": {"messages": messages}}).encode())
    assert tally.ups[0].prompt == "look at"


def test_what_is_neither_home_nor_up(project: Project, row: Row, write: Write) -> None:
    rows = [row(0, key="desk")]
    rows += [row(1, "escalated", host="openai", key="desk"), row(2, "shadow", host="azure", redacted=True)]
    rows += [row(3, "below_bar", answered_by="student", money={"home": 1e-7, "saved": 1e-4})]
    rows += [row(4, "cached", answered_by="cache", student=None)]
    rows += [row(5, "never_leaves", answered_by="nobody", status="refused", student=None)]
    rows += [row(6, "", answered_by="nobody", status="refused", student=None)]
    write(project, rows)
    found = Watcher(project).snapshot()
    assert (found["calls"], found["home"].value) == (7, 1 / 7)
    counts = found["counts"]
    assert (counts["below_bar"], counts["cached"], counts["nobody"]) == (1, 1, 2)
    assert dict(found["hosts"]) == {"openai": 1, "azure": 1}
    assert dict(found["keys"]) == {"desk": 2}
    assert {up["why"] for up in found["ups"]} == {"escalated", "shadow"}
    assert [sum(found["traffic"][key]) for key in ("home", "up", "other")] == [1, 2, 4]
    assert dict(found["why"])["denied"] == 1
    assert found["saved"]["value"] == pytest.approx(1e-4 - 1e-7)


@pytest.mark.parametrize("own", [{"content": "off"}, {"content": "redacted", "redacted": True}, {"erased": True}])
def test_rows_without_content(project: Project, row: Row, write: Write, own: dict[str, Any]) -> None:
    """As serve and an erasure write them: no prompt and no answer, and all that counts."""
    bare = [row(0, **own), row(1, "escalated", **own), row(2, "pair", agrees=True, **own)]
    for one in bare:
        one["request"] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": None}]}
        del one["freehold"]["student"]["answer"], one["freehold"]["reason"]
    write(project, bare)
    found = Watcher(project, show_prompts=True).snapshot()
    assert (found["calls"], found["home"].value, found["agreement"]["home"]["n"]) == (2, 0.5, 1)
    assert found["counts"]["unreadable"] == 0
    [up] = found["ups"]
    assert (up["prompt"], up["answer"], up["reason"]) == ("", "", "")


def test_files_are_sealed_rotated_and_erased(project: Project, row: Row, write: Write) -> None:
    """As the ledger does it: a sealed file is read on, the next follows, an erased one takes its place."""
    first = write(project, [row(i) for i in range(5)], "2026-11-24T101502.114-411.jsonl")
    (first.parent / "seals.log").write_text("{}\n")
    watcher = Watcher(project)
    assert watcher.snapshot()["calls"] == 5
    first.chmod(0o400)
    write(project, [row(i) for i in range(5, 7)], "2026-11-24T111502.114-411.jsonl")
    assert (watcher.snapshot()["calls"], watcher.tail.rewritten()) == (7, False)
    aside = first.with_name(f".{first.name}.erased.tmp")
    aside.write_bytes(first.read_bytes())
    aside.replace(first)
    assert watcher.snapshot()["calls"] == 7
    first.unlink()
    assert watcher.snapshot()["calls"] == 2
