"""What is private by what stands around it: dates of birth, addresses, postcodes, passports, licences, bank codes.

birth     a date after a word for birth          "born on 2/8/1935"          → the date
address   house number and street word, box      "12 Hill Street, Apt 4"     whole; of other forms only some
postcode  UK form, US state and ZIP, or a number after "ZIP", "postcode"
passport, licence, bic                           the number after the word

Dates without such a word, ages, and addresses in most of the world's forms are not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from freehold.traffic.private.look import Look

__all__ = ["addresses", "bics", "births", "licences", "passports", "postcodes"]

Spans = Iterator[tuple[int, int]]
Matches = Iterator[re.Match[str]]

BEFORE, BEYOND = 48, 24  # characters before and behind a number in which the rest must stand

MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
DAY = r"\d{1,2}(?:st|nd|rd|th)?"
BIRTH = re.compile(
    r"\b(?:born|birth ?date|date of birth|birthday|d\.?o\.?b|geboren|nacid[oa])\b[^\d\n]{0,20}?"
    rf"(?<!\w)(\d{{1,4}}([-/. ])\d{{1,2}}\2\d{{2,4}}|{DAY} (?:of )?{MONTH},? \d{{4}}|{MONTH} {DAY},? \d{{4}})(?!\w)",
    re.I,
)
DATED = re.compile(rb"0000|0[-/. ]00?[-/. ]00")
BORN = (b"born", b"geboren", b"birth", b"dob", b"d.o.b", b"nacid")

TYPES = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Way|Parkway|Pkwy"
    "|Highway|Hwy|Circle|Crescent|Close|Row|Alley"
)
STREET = re.compile(
    r"\d(?<![\w.,:$€£/-]\d)\d{0,5}[A-Za-z]?(?:-\d{1,4})? (?:[A-Z0-9][\w'’.-]{0,24} ){1,4}?"
    rf"(?:{TYPES})\b\.?(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Floor|#)\.? ?\w{{1,6}})?"
)
BOX = re.compile(
    r"\b(?:P\.? ?O\.? Box|PSC \d{1,5},? Box|Unit \d{1,5},? Box|Apt\.?|Apartment|Suite|Ste\.) \d{1,6}\b", re.I
)
JOINED = re.compile(
    r"[A-ZÀ-Þ](?<!\w[A-ZÀ-Þ])[\w.-]{1,30}(?:straße|strasse|gasse|platz|allee|gata|gatan|vägen|veien|gade|straat|laan|plein|katu|tie)"
    r" \d{1,4}[a-z]?\b"
)
HOUSE = re.compile(rb"0[A-Za-z]?(?:-0{1,4})? [A-Z0]")
SPACED = re.compile(rb"0(?<=[xtezanu.] 0)")
ENDS = (b"box", b"apt", b"apt.", b"apartment", b"suite", b"ste.", b"stra?e", b"strasse", b"gasse", b"platz", b"allee",
        b"gata", b"gatan", b"v?gen", b"veien", b"gade", b"straat", b"laan", b"plein", b"katu", b"tie")  # fmt: skip
YEAR = re.compile(r"(?:1[5-9]|20)\d\d ")

ZERO = ord("0")

UK = re.compile(r"(?<![\w-])[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}(?![\w-])")
UK_FORM = re.compile(rb"0[A-Z]? 0[A-Z]{2}")
STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR"
    "|PA|PR|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY"
)
US = re.compile(
    rf"(?:[A-Za-z.],? (?:{STATES})|\b(?:APO|FPO|DPO) (?:AA|AE|AP)),? (\d{{5}}(?:-\d{{4}})?)(?![\w-]|[.,]\d)", re.ASCII
)
ZIP = re.compile(
    r"(?<!\w)(?i:zip ?codes?|zip|post ?codes?|postal codes?|plz)[\"']?\s{0,2}(?::|is|=|)\s{1,2}[\"']?"
    r"(\d{3}[ -]\d{2}|\d{5}-\d{4}|\d{4} [A-Z]{2}|\d{4,6}|[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})"
    r"(?![\w-]|[.,]\d)"
)
CODE = re.compile(rb"0(?:00(?:0|[ -]00)|[A-Z]? ?0[A-Z]|[A-Z] ?0)")
CODED = re.compile(rb"000|0[A-Z]|0 0")
ZIPS = (b"zip", b"postc", b"post c", b"postal", b"plz")

PASSPORT = re.compile(
    r"(?i:passport)(?i: ?(?:no|number|num|id|#))?\.?[\"']?(?i:[\s:=#\"']|is\b){1,6}([A-Z]{0,2}\d{6,9})(?![\w-])",
    re.ASCII,
)
LICENCE = re.compile(
    r"(?i:licen[cs]e)(?i: ?(?:no|number|num|id|#))?\.?[\"']?(?i:[\s:=#\"']|is\b){1,6}"
    r"((?=(?:[A-Z-]*\d){4})[A-Z0-9][A-Z0-9-]{4,18})(?![\w-])",
    re.ASCII,
)
BIC = re.compile(
    r"(?i:bic|swift)(?i:[ /-]?(?:code|bic))?[\"']?(?i:[\s:=\"']|is\b){1,6}([A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?)(?!\w)"
)


def births(text: str, look: Look) -> Spans:
    if DATED.search(look.zeros):
        yield from (m.span(1) for m in _after(BIRTH, BORN, text, DATED, look))


def _after(
    pattern: re.Pattern[str], words: tuple[bytes, ...], text: str, number: re.Pattern[bytes], look: Look
) -> Matches:
    """The matches around those numbers that have one of the words shortly before."""
    end = 0
    if not any(word in look.low for word in words):
        return
    for match in number.finditer(look.zeros):
        start = max(end, match.start() - BEFORE)
        if match.end() > end and any(word in look.low[start : match.start()] for word in words):
            for said in pattern.finditer(text, start, match.end() + BEYOND):
                yield said
                end = said.end()


def addresses(text: str, look: Look) -> Spans:
    spans: list[tuple[int, int]] = []
    zeros, low = look.zeros, look.low
    for house in HOUSE.finditer(zeros):
        start = house.start()
        while start and zeros[start - 1] == ZERO:
            start -= 1
        street = STREET.match(text, start)
        if street and not YEAR.match(street[0]):
            spans.append(street.span())
    for spaced in SPACED.finditer(zeros):
        if low.endswith(ENDS, 0, spaced.start() - 1):
            spans += [m.span() for pattern in (BOX, JOINED) for m in pattern.finditer(text)]
            break
    end = 0
    for start, stop in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= end:
            yield start, stop
            end = stop


def postcodes(text: str, look: Look) -> Spans:
    seen: set[tuple[int, int]] = set()
    if UK_FORM.search(look.zeros):
        seen |= {m.span() for m in UK.finditer(text)}
    if b"00000" in look.zeros:
        seen |= {m.span(1) for m in US.finditer(text)}
    named = [m.span(1) for m in _after(ZIP, ZIPS, text, CODED, look)] if CODE.search(look.zeros) else []
    yield from seen
    yield from (span for span in named if not any(span[0] < end and start < span[1] for start, end in seen))


def passports(text: str, look: Look) -> Spans:
    return (m.span(1) for m in PASSPORT.finditer(text)) if b"passport" in look.low else iter(())


def licences(text: str, look: Look) -> Spans:
    return (m.span(1) for m in LICENCE.finditer(text)) if b"licen" in look.low else iter(())


def bics(text: str, look: Look) -> Spans:
    return (m.span(1) for m in BIC.finditer(text)) if b"bic" in look.low or b"swift" in look.low else iter(())
