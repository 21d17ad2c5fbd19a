"""The first look over a log: how many records each part holds, and a sample of them in which tasks are found.

    every record ─crc32→ the 30,000 smallest of all parts → Traffic        the whole log, where it is no larger

Which records are sampled hangs on their bytes alone, not on how the log is cut nor on the order of rows. A record that
stands in the log a thousand times is as likely to be looked at as one that stands there once, and then with all its
like, so that a sample holds more different texts than one of calls would.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from freehold.nouns import Call
from freehold.traffic import Reading, Source, Traffic
from freehold.traffic.files import Part, Record, records
from freehold.traffic.formats import by_name
from freehold.traffic.reader import inputs_of

__all__ = ["FULL", "SAMPLE", "Survey", "expected", "numbered", "survey", "traffic_of"]

SAMPLE = 30_000
FULL = 1 << 32


class Survey(msgspec.Struct):
    """Of one part: its records, and those whose crc32 is below the limit, as (crc, number in the part, line)."""

    records: int = 0
    sample: list[tuple[int, int, bytes]] = []


def expected(source: Source, first: Iterable[Record], most: int) -> int:
    """A limit for crc32 below which some more than `most` records are to be expected, from the first ones' length."""
    count = length = 0
    for record in first:
        count, length = count + 1, length + len(record.data)
        if count >= 1000:
            break
    packed = any(part.packing != "plain" for part in source.parts)
    if count < 1000 or packed:  # short, or of unknown length: look at all
        return FULL
    return min(FULL, int(1.3 * most * FULL * (length / count) / max(1, source.size)))


def survey(part: Part, below: int, most: int) -> Survey:
    found = Survey()
    for record in records(part):
        found.records += 1
        crc = zlib.crc32(record.data)
        if crc < below and not record.torn:
            found.sample.append((crc, record.number, record.data))
            if len(found.sample) > 2 * most:
                found.sample = _least(found.sample, most)
    found.sample = _least(found.sample, most)
    return found


def _least(sample: list[tuple[int, int, bytes]], most: int) -> list[tuple[int, int, bytes]]:
    """The `most` records with the smallest crc, and all that are level with the last: no place counts."""
    if len(sample) <= most:
        return sample
    limit = sorted(crc for crc, _, _ in sample)[most - 1]
    return [one for one in sample if one[0] <= limit]


def numbered(source: Source, surveys: Sequence[Survey]) -> Source:
    """The source, each part knowing how many records of its file come before it."""
    before: dict[str, int] = {}
    parts: list[Part] = []
    for part, seen in zip(source.parts, surveys, strict=True):
        parts.append(replace(part, line=before.get(part.path, 0)))
        before[part.path] = before.get(part.path, 0) + seen.records
    return replace(source, parts=tuple(parts))


def traffic_of(source: Source, surveys: Sequence[Survey], most: int) -> Traffic:
    """The sampled records' calls, in the log's order. `source` is numbered."""
    everything = [one for seen in surveys for one in seen.sample]
    limit = sorted(crc for crc, _, _ in everything)[:most][-1] if everything else 0
    reading, calls = Reading(until=source.until), list[Call]()
    for order, (part, seen) in enumerate(zip(source.parts, surveys, strict=True)):
        format, inputs = by_name(part.format), inputs_of(source, part)
        for crc, number, line in seen.sample:
            if crc <= limit:
                calls += reading.take(Record(number, line, 0), part, order, format, inputs)
    return reading.traffic(source.paths, calls)
