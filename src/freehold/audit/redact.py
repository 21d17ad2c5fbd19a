"""A log again with other people in it: every private value that is found gets a pseudonym, the same in all calls.

    pass 1   all records → values → a pseudonym each, by a secret key
    pass 2   every text of every record, whatever its field: each value, wherever it stands → its pseudonym
             and back again, to see that it leads back; where a pseudonym stands in the log as itself, once more

What is done to a text depends on the text alone, and different texts stay different: so the redacted log has the same
tasks, repeats, users and money as the log. Times, model names and numbers stay; who asked (user, end_user, user.id ...)
always gets a pseudonym. Without the key file nothing leads back. Memory: the values; the rest is read record by record.
"""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from freehold import wire
from freehold.errors import BadSetting
from freehold.project.storage import writing
from freehold.tell import Tell, quiet
from freehold.traffic import Source
from freehold.traffic.files import records
from freehold.traffic.private import Recogniser, Rules
from freehold.traffic.private.names import NUMBER_KIND, USER_KIND, Index, Names, blanked, widened
from freehold.traffic.private.record import Each, label, rewritten

__all__ = ["Redacted", "redact_log", "unredact_log"]

ROUNDS = 12
SHORT = 80  # characters of a text that its key may say something about ("phone": "4673395")
TELLING = 6  # characters from which on a user's id with a digit in it is replaced in texts too
KEPT = 8192  # texts whose other form is remembered
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Redacted:
    """`records` were written, `changed` of them changed; `values` counts the different values by kind. `left_out`
    records couldn't be read at all (the end of a cut file, an endless line)."""

    records: int
    changed: int
    left_out: int
    values: dict[str, int] = field(default_factory=dict)


class NotJson(str):
    """A bad row. It stays one, with its values replaced as in any text."""


def redact_log(
    source: Source, out: Path, key_file: Path | None = None, recogniser: Recogniser | None = None, *, tell: Tell = quiet
) -> Redacted:
    """Write a log's records as JSON lines in their own format, with pseudonyms; gzipped where `out` ends in .gz.

    `key_file` is read where it is there (equal values then get equal pseudonyms), and written before `out` is; without
    one the key is forgotten, and nothing leads back. `recogniser` defaults to the rules. Raises BadSetting where `out`
    is there already or `key_file` is something else, StorageFailed where a file can't be written.
    """
    _refuse(source, out, key_file)
    names = Names.open(key_file) if key_file is not None and os.path.lexists(key_file) else Names()
    found = _Finding(names, recogniser or Rules())
    for said, _, done in _read(source):
        found.take(said)
        tell("look for private data", done)
    with writing(out) as file:
        for _ in range(ROUNDS):
            names.draw()
            swap = _Swap(names)
            counts = _write(source, file, out, swap.each, tell)
            if not swap.clashes:
                break
            for name in sorted(swap.clashes):
                names.clash(name)
        else:
            raise BadSetting(f"No pseudonyms were found that lead back from {out}.", "Redact the log in parts.")
        if key_file is not None:
            names.save(key_file)
    kinds = Counter(names.kinds[value] for value in found.values)
    return Redacted(*counts, values=dict(sorted(kinds.items())))


def unredact_log(source: Source, out: Path, key_file: Path) -> Redacted:
    """Write a redacted log as it was, by its key file: equal records, as JSON. Raises as redact_log does."""
    _refuse(source, out, None)
    names = Names.open(key_file)
    texts = lru_cache(KEPT)(Index(_anywhere(names, back=True)).replaced)

    def text(value: str, key: str = "") -> str:
        return texts(value)[0]

    def user(value: str) -> str:
        return names.back.get(value) or text(value)

    def number(value: int) -> int:
        return int(names.back.get(str(value), value))

    with writing(out) as file:
        return Redacted(*_write(source, file, out, Each(text, user, number, text), quiet))


def _refuse(source: Source, out: Path, key_file: Path | None) -> None:
    if os.path.lexists(out):
        raise BadSetting(f"{out} is there already.", "Nothing is overwritten: give another name.")
    if key_file is not None and key_file.absolute() == out.absolute():
        raise BadSetting("The key file and the redacted log have one name.", "Give two.")
    if out.name.endswith((".zst", ".parquet", ".csv")):
        raise BadSetting(f"{out.name}: a redacted log is written as JSON lines.", "Name it .jsonl or .jsonl.gz.")
    if len(source.formats) > 1:
        raise BadSetting(f"The log is in several formats: {', '.join(source.formats)}.", "Redact one at a time.")


def _read(source: Source) -> Iterator[tuple[Any, bytes, float]]:
    """Every record as JSON, its bytes, and the share of the log that is read; None for one that can't be read."""
    before, total = 0, source.size or 1
    for part in source.parts:
        for record in records(part):
            data = record.data.strip()
            data = data.removeprefix(BOM) if record.number == 1 else data
            if data or record.torn:
                said = None if record.torn else _decoded(data)
                yield said, data, min(1.0, (before + record.at) / total)
        before += part.size


def _decoded(data: bytes) -> Any:
    try:
        return wire.loads(data)
    except wire.RowError:
        return NotJson(data.decode("utf-8", "surrogateescape"))


def _write(source: Source, file: BinaryIO, out: Path, each: Each, tell: Tell) -> tuple[int, int, int]:
    """All records into the file, from its start: how many, how many of them changed, how many were left out."""
    file.seek(0)
    file.truncate()
    packed = gzip.GzipFile("", "wb", 6, file, mtime=0) if out.name.endswith(".gz") else None
    into = packed or file
    written = changed = left_out = 0
    for said, data, done in _read(source):
        if said is None:
            left_out += 1
            continue
        new = each.text(said, "") if isinstance(said, NotJson) else rewritten(said, each)
        if new is not said and new != said:
            changed += 1
            data = new.encode("utf-8", "surrogateescape") if isinstance(said, NotJson) else wire.dumps(new)
        into.write(data + b"\n")
        written += 1
        tell("write the redacted log", done)
    if packed is not None:
        packed.close()
    return written, changed, left_out


class _Finding:
    """Pass 1: the values of a log."""

    def __init__(self, names: Names, recogniser: Recogniser) -> None:
        self._names = names
        self._recogniser = recogniser
        self.values: set[str] = set()
        self._seen = lru_cache(KEPT)(self._look)
        self._each = Each(self._text, self._user, self._number, self._key)

    def take(self, said: Any) -> None:
        if isinstance(said, NotJson):
            self._seen(str(said), "")
        elif said is not None:
            rewritten(said, self._each)

    def _add(self, value: str, kind: str) -> None:
        self.values.add(value)
        self._names.add(value, kind)

    def _text(self, value: str, key: str) -> str:
        self._seen(value, key if len(value) <= SHORT else "")
        return value

    def _look(self, value: str, key: str) -> None:
        plain, before = blanked(value), label(key)
        for piece in self._recogniser.find(before + plain):
            if piece.start >= len(before):
                start, end = widened(plain, piece.start - len(before), piece.end - len(before))
                if any(c.isalnum() for c in plain[start:end]):
                    self._add(plain[start:end], piece.kind)

    def _user(self, value: str) -> str:
        found = self._recogniser.find(value)
        whole = len(found) == 1 and (found[0].start, found[0].end) == (0, len(value))
        self._add(value, found[0].kind if whole else USER_KIND)
        return value

    def _number(self, value: int) -> int:
        self._add(str(value), NUMBER_KIND)
        return value

    def _key(self, name: str) -> str:
        if _may_hold(name):
            self._seen(name, "")
        return name


def _may_hold(name: str) -> bool:
    """Could a key of an object be a value? Those that formats give have no @ and hardly a digit."""
    return "@" in name or any(c.isdigit() for c in name)


def _anywhere(names: Names, back: bool = False) -> dict[str, str]:
    """The values that are replaced wherever they stand; an id such as "7" or "admin" only where it says who asked."""
    told = {v: n for v, n in names.of.items() if names.kinds[v] not in (USER_KIND, NUMBER_KIND) or _telling(v)}
    return {name: value for value, name in told.items()} if back else told


def _telling(value: str) -> bool:
    return len(value) >= TELLING and any(c.isdigit() for c in value) and not value.isdecimal()


class _Swap:
    """Pass 2: texts with pseudonyms; `clashes` are those that would not lead back."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._there = Index(_anywhere(names))
        self._back = Index(_anywhere(names, back=True))
        self.clashes: set[str] = set()
        self._texts = lru_cache(KEPT)(self._swapped)
        self.each = Each(self._text, self._user, self._number, self._key)

    def _text(self, value: str, key: str) -> str:
        return self._texts(value)

    def _swapped(self, value: str) -> str:
        new, placed = self._there.replaced(value)
        self.clashes |= {name for _, _, name in set(self._back.spans(blanked(new))) ^ set(placed)}
        return new

    def _user(self, value: str) -> str:
        return self._names.of[value]

    def _number(self, value: int) -> int:
        return int(self._names.of[str(value)])

    def _key(self, name: str) -> str:
        return self._texts(name) if _may_hold(name) else name
