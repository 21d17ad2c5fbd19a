"""Headers: names compared without case, values in the bytes they came in, and the bytes of an answer's head."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

__all__ = ["EMPTY", "Headers", "Pairs", "answer_head", "decode", "name_of"]

Pairs = Sequence[tuple[str, str]]
RAW = Sequence[tuple[bytes, bytes]]
NAMES: dict[bytes, str] = {}  # names as sent -> in small letters: a handful of names make up nearly all headers
KNOWN, NAME = 1024, 64  # how many are kept, and of which length at most
LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
EMPTY = frozenset((204, 304))  # answers that have no body


def name_of(raw: bytes) -> str:
    """A header's name in small letters."""
    found = NAMES.get(raw)
    if found is None:
        found = sys.intern(raw.decode("latin-1").lower())
        if len(NAMES) < KNOWN and len(raw) <= NAME:
            NAMES[raw] = found
    return found


def decode(value: bytes) -> str:
    """A value as text; surrogates stand for bytes that are no UTF-8, so that it can go on as it came."""
    return value.decode("utf-8", "surrogateescape")


class Headers(Mapping[str, str]):
    """The headers of a request. A name that stands more than once gives its first value; `raw` holds all."""

    __slots__ = ("_first", "raw")

    def __init__(self, raw: RAW, first: dict[str, str] | None = None) -> None:
        """`first`: names in small letters with their first values, where that is known already."""
        self.raw = raw
        self._first = first if first is not None else {name_of(n): decode(v) for n, v in reversed(raw)}

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        return self._first.get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._first

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def __repr__(self) -> str:
        return f"Headers({', '.join(self._first)})"  # the names alone: a value may be a key

    def first(self, name: str, default: str = "") -> str:
        """The first value of `name`, which is in small letters already."""
        return self._first.get(name, default)


class _Date:
    """The Date header's line, made once a second."""

    second = 0
    line = ""

    def __call__(self) -> str:
        now = int(time.time())
        if now != self.second:
            self.second, self.line = now, f"Date: {formatdate(now, usegmt=True)}\r\n"
        return self.line


_date = _Date()


def answer_head(status: int, headers: Iterable[tuple[str, str]], length: int | None, close: bool) -> bytes:
    """The head of an answer. `length` is None for one that comes in chunks, and -1 for one that ends with the
    connection."""
    parts = [LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n"]
    dated = False
    for name, value in headers:
        parts.append(f"{name}: {value}\r\n")
        dated = dated or name in ("Date", "date")
    if not dated:
        parts.append(_date())
    if length is None and status not in EMPTY:
        parts.append("Transfer-Encoding: chunked\r\n")
    elif length is not None and length >= 0 and status not in EMPTY:
        parts.append(f"Content-Length: {length}\r\n")
    parts.append("Connection: close\r\n\r\n" if close else "\r\n")
    return "".join(parts).encode("utf-8", "surrogateescape")
