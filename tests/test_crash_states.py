"""A power cut at any moment of each writer: what it can leave on the disk is opened by the real readers (TRUST G32).

The operations of a writer (creations, renames, removals, contents, syncs) are recorded by looking at its folder
whenever it calls the system. A power cut keeps all that was synced: a file's content by a sync of the file, a name by a
sync of its folder. Of what was not, anything may be there: with at most three operations in flight every choice of
them, of more each prefix and each alone; a content in flight is the old one, the new one, the new one cut in half, or
zeros where it is new.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from freehold import wire
from freehold.errors import ArtifactDamaged
from freehold.keys.change import add
from freehold.keys.key import Wanted
from freehold.keys.store import read_keys
from freehold.ledger import Entry, Ledger, backup, check_backup, verify
from freehold.nouns import Call
from freehold.project import Project, write_atomic
from freehold.project.gateway import LedgerSettings

ROOT = 0
CALLS = ("open", "write", "mkdir", "rename", "replace", "unlink", "remove", "rmdir", "ftruncate", "truncate", "fchmod")
Op = tuple[Any, ...]
"""("name", folder, name, inode or None), ("data", inode, content), ("sync", inode), ("ack", what was promised)"""


@dataclass
class Recorder:
    """Operations on `root`, in order. Files are known by their inodes; a folder's content is its names."""

    root: Path
    ops: list[Op] = field(default_factory=list)
    names: dict[tuple[int, str], int] = field(default_factory=dict)
    data: dict[int, bytes | None] = field(default_factory=dict)
    held: list[int] = field(default_factory=list)  # so that no inode is used twice

    def __post_init__(self) -> None:
        self.opened, self.own = os.open, os.stat(self.root).st_ino
        self.look()
        self.start, self.first = dict(self.names), dict(self.data)
        self.ops.clear()

    def look(self) -> None:
        """What is other than at the last look."""
        names: dict[tuple[int, str], int] = {}
        data: dict[int, bytes | None] = {}
        for folder, folders, files in os.walk(self.root):
            above = ROOT if Path(folder) == self.root else os.stat(folder).st_ino
            for name in folders + files:
                path = Path(folder, name)
                inode = path.stat().st_ino
                if inode not in self.data and inode not in data:
                    self.held.append(self.opened(path, os.O_PATH))
                names[above, name], data[inode] = inode, path.read_bytes() if name in files else None
        for inode, content in data.items():
            if self.data.get(inode, b"") != content and content is not None:
                self.ops.append(("data", inode, content))
        moved = {inode: place for place, inode in self.names.items() if names.get(place) != inode}
        for (above, name), inode in names.items():
            if self.names.get((above, name)) != inode:  # one operation takes the old name away and gives the new one
                self.ops.append(("name", above, name, inode, moved.pop(inode, None)))
        self.ops += [
            ("name", *place, None, None) for inode, place in moved.items() if place not in names and inode not in data
        ]
        self.names, self.data = names, {**self.data, **data}

    def sync(self, handle: int) -> None:
        self.look()
        inode = os.fstat(handle).st_ino
        self.ops.append(("sync", ROOT if inode == self.own else inode))

    def ack(self, what: object) -> None:
        self.look()
        self.ops.append(("ack", what))

    @contextlib.contextmanager
    def recording(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        def watched(call: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **how: Any) -> Any:
                found = call(*args, **how)
                if not how.get("dir_fd"):
                    self.look()
                return found

            return run

        def synced(call: Callable[[int], None]) -> Callable[[int], None]:
            return lambda handle: (self.sync(handle), call(handle))[1]

        with patch.context() as now:
            for name in CALLS:
                now.setattr(os, name, watched(getattr(os, name)))
            for name in ("fsync", "fdatasync"):
                now.setattr(os, name, synced(getattr(os, name)))
            yield

    # power cuts

    def states(self) -> Iterator[tuple[dict[tuple[int, str], int], dict[int, bytes], list[object]]]:
        """Names, contents, and what had been promised; each state that differs once."""
        seen = set()
        for cut in range(len(self.ops) + 1):
            done = self.ops[:cut]
            acked = [op[1] for op in done if op[0] == "ack"]
            last = {op[1]: at for at, op in enumerate(done) if op[0] == "sync"}
            changes = [at for at, op in enumerate(done) if op[0] in ("name", "data")]
            flying = [at for at in changes if at > last.get(done[at][1], -1)]
            for chosen in choices(flying):
                names, data = dict(self.start), {inode: content or b"" for inode, content in self.first.items()}
                for at in changes:
                    if at not in flying or at in chosen:
                        place(done[at], names, data)
                contents = [data]
                for at in [at for at in chosen if done[at][0] == "data"][-1:]:
                    contents += [{**data, done[at][1]: half} for half in halves(done[at], self.before(at))]
                for found in contents:
                    mark = hash((frozenset(names.items()), frozenset(found.items()), len(acked)))
                    if mark not in seen:
                        seen.add(mark)
                        yield names, found, acked

    def before(self, at: int) -> bytes:
        """The content that an operation replaced."""
        same = [op[2] for op in self.ops[:at] if op[0] == "data" and op[1] == self.ops[at][1]]
        return same[-1] if same else self.first.get(self.ops[at][1]) or b""


def choices(flying: list[int]) -> Iterator[tuple[int, ...]]:
    if len(flying) <= 3:
        for size in range(len(flying) + 1):
            yield from itertools.combinations(flying, size)
    else:
        yield from (tuple(flying[:size]) for size in range(len(flying) + 1))
        yield from ((at,) for at in flying)


def place(op: Op, names: dict[tuple[int, str], int], data: dict[int, bytes]) -> None:
    if op[0] == "data":
        data[op[1]] = op[2]
    elif op[0] == "name":
        _, above, name, inode, before = op
        if before is not None:
            names.pop(before, None)
        if inode is None:
            names.pop((above, name), None)
        else:
            names[above, name] = inode


def halves(op: Op, old: bytes) -> Iterator[bytes]:
    """A content cut in half where it is new, and one whose new part is zeros."""
    new = op[2]
    same = next((at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), len(old))
    yield new[: same + (len(new) - same) // 2]
    yield new[:same] + b"\0" * (len(new) - same)


def build(to: Path, names: dict[tuple[int, str], int], data: dict[int, bytes], folders: set[int]) -> None:
    def fill(inode: int, path: Path) -> None:
        path.mkdir()
        for (above, name), one in names.items():
            if above == inode:
                fill(one, path / name) if one in folders else (path / name).write_bytes(data.get(one, b""))

    fill(ROOT, to)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Callable[[], Recorder]]:
    """Makes the recorder of this test's folder as it stands; its handles are closed."""
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder(tmp_path / "root"))
        return made[-1]

    (tmp_path / "root").mkdir()
    yield make
    for one in made:
        for handle in one.held:
            os.close(handle)


def cut(recorder: Recorder, check: Callable[[Path, list[Any]], None]) -> int:
    """Every state, opened by `check`; how many there were."""
    assert any(op[0] == "ack" for op in recorder.ops)
    folders = {inode for inode, content in recorder.data.items() if content is None}
    count = 0
    for count, (names, data, acked) in enumerate(recorder.states(), 1):
        place = recorder.root.with_name(f"cut-{count}")
        build(place, names, data, folders)
        for path in place.rglob("keys.json"):
            path.chmod(0o600)
        check(place, acked)
        shutil.rmtree(place)
    return count


def entry(number: int) -> Entry:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"question {number}"}]}
    response = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]}
    return Entry(Call(()), body, id=f"row-{number}", response=response, status="complete", http=200)


def test_a_file_is_the_old_or_the_new_one(
    recorder: Callable[[], Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomic(tmp_path / "root" / "it", b"old" * 100)
    seen = recorder()
    with seen.recording(monkeypatch):
        write_atomic(tmp_path / "root" / "it", b"new" * 200)
        seen.ack("it")

    def check(folder: Path, acked: list[Any]) -> None:
        found = (folder / "it").read_bytes()
        assert found == b"new" * 200 or (found == b"old" * 100 and not acked)

    assert cut(seen, check) >= 6


def test_rows_of_a_project(recorder: Callable[[], Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "root")
    seen = recorder()
    with seen.recording(monkeypatch):
        for number in range(3):
            project.append("rows.jsonl", {"n": number})
            seen.ack(number)

    def check(folder: Path, acked: list[Any]) -> None:
        again = Project.open(folder)
        before = [row["n"] for row in again.rows("rows.jsonl")]
        assert before == [0, 1, 2][: len(before)]
        assert set(acked) <= set(before)
        again.append("rows.jsonl", {"n": 9})
        assert [row["n"] for row in again.rows("rows.jsonl")] == [*before, 9]

    assert cut(seen, check) >= 12


@pytest.mark.parametrize("durability", ["safe", "fast"])
def test_the_ledger(
    durability: str, recorder: Callable[[], Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In `fast` what was synced within the second is promised, in `safe` each row; then the file is sealed."""
    project = Project.create(tmp_path / "root")
    seen = recorder()

    async def write() -> None:
        ledger = Ledger(project, LedgerSettings(durability=durability), name="first", ballast=0)
        for number in range(3):
            row = entry(number)
            assert ledger.write(row)
            await ledger.durable(row)
            if durability == "safe":
                seen.ack(row.id)
        ledger.tend()
        seen.ack("row-2")
        ledger.write(entry(3))
        ledger.close()
        seen.ack("row-3")

    with seen.recording(monkeypatch):
        asyncio.run(write())

    def check(folder: Path, acked: list[Any]) -> None:
        again = Project.open(folder)
        ledger = Ledger(again, name="second", ballast=0)
        assert ledger.write(entry(9))
        ledger.close()
        assert not ledger.why
        assert verify(again).problems == ()
        lines = [
            line for path in sorted((folder / "ledger").glob("*.jsonl")) for line in path.read_bytes().splitlines()
        ]
        ids = [wire.loads(line)["freehold"]["id"] for line in lines]
        assert ids == [*(f"row-{number}" for number in range(len(ids) - 1)), "row-9"]
        assert set(acked) <= set(ids)

    assert cut(seen, check) >= 15


def test_keys(recorder: Callable[[], Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "root")
    seen = recorder()
    with seen.recording(monkeypatch):
        for name in "ab":
            add(project, Wanted(name=name), by="test")
            seen.ack(name)

    def check(folder: Path, acked: list[Any]) -> None:
        again = Project.open(folder)
        names = [key.name for key in read_keys(folder / "keys.json")]
        assert names == ["a", "b"][: len(names)]
        assert set(acked) <= set(names)
        assert set(names) <= {row["name"] for row in again.rows("keys.log.jsonl")}  # no change without its row

    assert cut(seen, check) >= 12


def test_a_backup(recorder: Callable[[], Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "root" / "project")
    ledger = Ledger(project, name="first", ballast=0)
    ledger.write(entry(0))
    ledger.close()
    seen = recorder()
    with seen.recording(monkeypatch):
        backup(project, tmp_path / "root" / "backup")
        seen.ack("backup")

    def check(folder: Path, acked: list[Any]) -> None:
        assert verify(Project.open(folder / "project")).problems == ()
        if (folder / "backup").exists():
            found = check_backup(folder / "backup")
            assert (found.rows, found.problems) == (1, ())
        else:
            assert not acked

    assert cut(seen, check) >= 12


def test_an_artefact(recorder: Callable[[], Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "root")
    (tmp_path / "large").write_bytes(b"weights" * 50)
    files: dict[str, bytes | Path] = {"model.bin": tmp_path / "large", "config.json": b"{}"}
    about: dict[str, Any] = {"kind": "encoder", "task": "t", "base": "b", "licence": "MIT", "data_sha256": "0" * 64}
    seen = recorder()
    with seen.recording(monkeypatch):
        made = project.write_artifact(files, recipe={}, **about)
        seen.ack(made.sha256)

    def check(folder: Path, acked: list[Any]) -> None:
        again = Project.open(folder)
        try:
            assert again.read_artifact(made.sha256).files == made.files
        except ArtifactDamaged:
            assert not acked
            again.write_artifact(files, recipe={}, **about)
            assert again.read_artifact(made.sha256).files == made.files

    assert cut(seen, check) >= 12
