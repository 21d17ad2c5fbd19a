"""A quick look at a text: where in it could private data stand at all?

    "Order 4673395 of 2 March: call 201-948-1927"      as bytes, digits all 0, one byte a character
                                    └ seven digits and more ┘   → only there do the slow patterns look

Most texts end here, after a few microseconds a kilobyte: no @, few digits, no long run of letters and digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["AT", "CODES", "DENSE", "DOTTED", "HEX", "RUNS", "TIGHT", "WORDS", "Look", "look", "shaped", "within"]

Regions = Sequence[tuple[int, int]]

DENSE, DOTTED, HEX, RUNS, WORDS, AT, TIGHT, CODES = 1, 2, 4, 8, 16, 32, 64, 128
"""What a text has: six digits close together, an IPv4 address's dots, an IPv6 address's colons or a MAC's, a run of 16
letters and digits (hyphens count), digits at all, an @, six digits with no more than a space, dot or hyphen between, a
date's or a postcode's digits."""

DIGITS = b"0123456789"
ZEROS = bytes.maketrans(DIGITS, b"0" * 10)
LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ123456789_-"
LONG = bytes.maketrans(LETTERS, b"0" * len(LETTERS))
LEAST = b"0" * 16
RUN = re.compile(rb"0{16,}")
IN_DENSE = re.compile(rb"0(?:[ ().\-/]{0,3}0){5,}")
IN_TIGHT = re.compile(rb"0(?:[ .\-]?0){5}")
IN_CODES = re.compile(rb"0(?:00(?:0|[ -]00)|[-/. ]00?[-/. ]00|[A-Z]? ?0[A-Z]|[A-Z] ?0)")
IN_DOTTED = re.compile(rb"0\.0{1,3}\.0{1,3}\.0")
IN_COLONS = re.compile(rb":[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:")
IN_HYPHENS = re.compile(rb"-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-")
MIXED = re.compile(rb"0[A-Za-z]")  # somewhere in a key a letter follows on a digit
MARGIN = 24  # characters beside dense digits in which their number may begin or end
SMALL = 20


@dataclass(slots=True)
class Look:
    """What the text `has`, and where. `zeros` is it as bytes, a byte a character, with 0 for each digit; `low` the same
    in small letters."""

    has: int = 0
    dense: Regions = ()
    dotted: Regions = ()
    hexes: Regions = ()
    runs: Regions = ()
    zeros: bytes = b""
    low: bytes = b""


NOTHING = Look()


def look(text: str) -> Look:
    plain = text.encode("ascii", "replace")
    has = AT if b"@" in plain else 0
    if b"IA" in plain and (b"AKIA" in plain or b"ASIA" in plain):
        has |= RUNS
    zeros = plain.translate(ZEROS)
    if b"0" not in zeros:
        return Look(has) if has else NOTHING
    found = Look(has | WORDS, zeros=zeros, low=zeros.lower())
    if MIXED.search(zeros) and LEAST in (runs := plain.translate(LONG)):
        found.runs = [match.span() for match in RUN.finditer(runs)]
        found.has |= RUNS
    if (b":" in plain and IN_COLONS.search(plain)) or (b"-" in plain and IN_HYPHENS.search(plain)):
        found.hexes = _merged([*_around(IN_COLONS, plain, MARGIN), *_around(IN_HYPHENS, plain, MARGIN)])
        found.has |= HEX
    if b"." in plain and IN_DOTTED.search(zeros):
        found.dotted = _merged(_around(IN_DOTTED, zeros, SMALL))
        found.has |= DOTTED
    if IN_DENSE.search(zeros):
        found.dense = _merged(_around(IN_DENSE, zeros, MARGIN))
        found.has |= DENSE | TIGHT if IN_TIGHT.search(zeros) else DENSE
    if IN_CODES.search(zeros):
        found.has |= CODES
    return found


def _around(pattern: re.Pattern[bytes], data: bytes, margin: int) -> list[tuple[int, int]]:
    return [(max(0, match.start() - margin), match.end() + margin) for match in pattern.finditer(data)]


def _merged(spans: list[tuple[int, int]]) -> Regions:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def within(pattern: re.Pattern[str], text: str, regions: Regions) -> Iterator[re.Match[str]]:
    """The matches in these regions."""
    for start, end in regions:
        yield from pattern.finditer(text, start, end)


def shaped(form: re.Pattern[bytes], pattern: re.Pattern[str], text: str, look: Look) -> Iterator[re.Match[str]]:
    """The matches in the dense regions in which digits stand in this form at all."""
    for start, end in look.dense:
        if form.search(look.zeros, start, end):
            yield from pattern.finditer(text, start, end)
