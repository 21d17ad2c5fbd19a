"""Every document of every part into the spool, and what was met on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from freehold.errors import CorpusUnusable
from freehold.tell import Tell
from freehold.train.corpus.parts import KNOWN, Given
from freehold.train.corpus.reading import Seen, documents
from freehold.train.corpus.spool import Spool

__all__ = ["Met", "gather", "told"]

READ = "read the text"


@dataclass
class Met:
    """Of one part: documents with text, those without, and the rest."""

    documents: int = 0
    empty: int = 0
    seen: Seen = field(default_factory=Seen)


def gather(parts: Sequence[Given], spool: Spool, name: str, tell: Tell) -> list[Met]:
    """Raises CorpusUnusable where nothing, or nothing of a part, is text."""
    whole = max(1, sum(file.size for given in parts for file in given.files))
    passed = 0
    met = [Met() for _ in parts]
    for number, given in enumerate(parts):
        mine = met[number]
        for file in given.files:
            tell(READ, passed / whole)
            for pieces in documents(file, name, mine.seen):
                if spool.add(number, pieces):
                    mine.documents += 1
                else:
                    mine.empty += 1
            passed += file.size
        _usable(given, mine, name)
    tell(READ, 1.0)
    if not any(mine.documents for mine in met):
        _nothing(parts, met)
    return met


def _usable(given: Given, met: Met, name: str) -> None:
    seen = met.seen
    if seen.rows and seen.bad == seen.rows and not met.documents:
        fields = ", ".join(seen.fields) or "none: its rows are no JSON objects"
        raise CorpusUnusable(
            f"No row of {given.part.name} has a text in the field {name!r}.", f"Its fields: {fields}. Say --field NAME."
        )


def _nothing(parts: Sequence[Given], met: Sequence[Met]) -> None:
    names = ", ".join(given.part.name for given in parts[:5])
    binary = sum(mine.seen.binary for mine in met)
    if binary:
        files = "the one file there is is" if binary == 1 else f"all {binary} files there are"
        raise CorpusUnusable(f"There is no text in {names}: {files} binary.", f"Give text: {KNOWN}.")
    raise CorpusUnusable(f"There is no text in {names}.", f"What is read: {KNOWN}.")


def told(given: Given, met: Met, name: str) -> Iterator[str]:
    """What of a part was left out while it was read, a sentence each."""
    seen, part = met.seen, given.part.name
    passed = dict(given.passed)
    for suffix, count in seen.passed.items():
        passed[suffix] = passed.get(suffix, 0) + count
    if passed:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(passed.items(), key=lambda x: -x[1])[:6])
        yield f"{part}: {sum(passed.values()):,} files of other kinds passed over ({kinds})"
    if seen.binary:
        yield f"{part}: {seen.binary:,} binary files left out"
    if seen.bad:
        yield f"{part}: {seen.bad:,} of {seen.rows:,} rows left out, which have no text in the field {name!r}"
    if met.empty:
        yield f"{part}: {met.empty:,} documents without a word left out"
    if seen.odd:
        yield f"{part}: {seen.odd:,} documents are not UTF-8 throughout; those lines were read as Windows-1252"
