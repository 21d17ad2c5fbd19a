"""SQL answers: the same result on the task's database; where that says nothing, the same query.

    ours, theirs ─Database.run→ rows ─same→ agree   a multiset of rows; in order where theirs ends with ORDER BY
        ├ one runs, the other is refused or comes to a limit → they disagree
        └ no database, neither runs, or both find nothing ─sql_tree.same→ agree

Columns count by place, not by name. Numbers are equal within 1e-9 of the larger (sums come in any order); 5 and 5.0 are
equal, 5 and '5' are not. Rows without anything but NULL and 0 are nothing found: on a file that lacks the rows asked
for, or all rows, any two queries would agree.

The file is opened read-only and immutable, so it must not change meanwhile, and what is only in its -wal is not seen. A
logged query is somebody's text: an authoriser lets it read tables and call functions that give the same each time, and
nothing else. It ends after 50 million steps of SQLite's machine (a count, so that a slow day judges alike; about one
second), 8 seconds, 100,000 rows or 64 MB of result.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from freehold.agree.json_rule import unfenced
from freehold.errors import BadSetting

__all__ = ["Database", "agree", "same"]

STEPS = 50_000_000
TICK = 10_000  # steps between two looks at the limits
SECONDS = 8.0
ROWS = 100_000
BYTES = 64 << 20
VALUE = 200_000  # bytes of one text in the course of a query
TEXT = 100_000  # bytes of a query
CLOSE = 1e-9
GREEDY = 500  # rows that are matched each with each; more are matched in sorted order
READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
CHANGING = {"random", "randomblob", "load_extension", "changes", "total_changes", "last_insert_rowid"}
Rows = list[tuple[Any, ...]]


class Database:
    """A SQLite file, to be read. One query at a time; any thread may ask."""

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        self.path = path
        self._seconds = seconds
        self._lock = threading.Lock()
        try:
            if not path.is_file():
                raise BadSetting(f"The database {path} is no file.", 'Say where it lies: database = "...".')
            self._db = sqlite3.connect(
                f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
            self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise BadSetting(f"The database {path} can't be read: {error}.", "It must be a SQLite file.") from None
        self._db.text_factory = _text
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE)
        self._db.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, TEXT)
        self._db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000)
        self._db.set_authorizer(_authorise)

    @property
    def sha256(self) -> str:
        with self.path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def run(self, query: str) -> Rows | None:
        """The rows of one query; None where it is refused, is no query, or comes to a limit."""
        with self._lock:
            left, end = STEPS // TICK, time.monotonic() + self._seconds

            def over() -> bool:
                nonlocal left
                left -= 1
                return left <= 0 or time.monotonic() > end

            self._db.set_progress_handler(over, TICK)
            cursor = self._db.cursor()
            try:
                # sqlite3.Warning (no sqlite3.Error) is raised for a second statement, ValueError for a zero byte
                return _bounded(cursor.execute(query))
            except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError):
                return None
            finally:
                cursor.close()
                self._db.set_progress_handler(None, 0)


def _authorise(action: int, first: str | None, second: str | None, *where: str | None) -> int:
    if action not in READS or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in CHANGING):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bounded(cursor: sqlite3.Cursor) -> Rows | None:
    if cursor.description is None:  # an empty text runs, and is no query
        return None
    rows: Rows = []
    size = 0
    for row in cursor:
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(rows) >= ROWS or size > BYTES:
            return None
        rows.append(row)
    return rows


def agree(ours: str, theirs: str, database: Database | None = None) -> bool:
    from freehold.agree import sql_tree  # sqlglot takes a moment, and only SQL needs it

    mine, wanted = _query(ours), _query(theirs)
    if mine == wanted:
        return bool(wanted)
    if database is None:
        return sql_tree.same(mine, wanted)
    rows, found = database.run(mine), database.run(wanted)
    if rows is None or found is None:
        return rows is found and sql_tree.same(mine, wanted)
    if not same(rows, found, ordered=sql_tree.is_ordered(wanted)):
        return False
    return _tells(found) or sql_tree.same(mine, wanted)


def _tells(rows: Rows) -> bool:
    """Is anything found? 0 and NULL are what counts and sums of nothing give."""
    return any(value not in (None, 0) for row in rows for value in row)


def _query(text: str) -> str:
    """Without a code fence and the last semicolon."""
    return unfenced(text)[0].rstrip("; \t\r\n")


def same(ours: Rows, theirs: Rows, *, ordered: bool) -> bool:
    """Equal rows: one by one, or as multisets."""
    if len(ours) != len(theirs):
        return False
    if ordered:
        return all(map(_alike, ours, theirs))
    count, wanted = Counter(ours), Counter(theirs)
    mine, others = list((count - wanted).elements()), list((wanted - count).elements())
    if len(mine) > GREEDY:
        return all(map(_alike, sorted(mine, key=_order), sorted(others, key=_order)))
    for row in mine:
        hit = next((i for i, other in enumerate(others) if _alike(row, other)), None)
        if hit is None:
            return False
        others.pop(hit)
    return True


def _alike(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return len(left) == len(right) and all(map(_close, left, right))


def _close(left: Any, right: Any) -> bool:
    if isinstance(left, float) or isinstance(right, float):
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        return numbers and math.isclose(left, right, rel_tol=CLOSE, abs_tol=1e-12)
    return bool(left == right)


def _order(row: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Texts and the like first, then numbers: a number that is off by a hair doesn't part rows of different texts."""
    rest = tuple((value is not None, str(type(value)), value) for value in row if not isinstance(value, int | float))
    return rest, tuple(value for value in row if isinstance(value, int | float))
