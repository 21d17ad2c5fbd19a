"""How a logged value is written, given the words of the input it was copied from: a closed list of rules.

    span in the input      rule              value in the answer
    "New  York"            exact             "New  York"          as it stands
    "New  York"            spaces            "New York"           white space runs made one space
    "New York"             lower             "new york"           (upper, title likewise)
    "555-01 99"            digits            "5550199"            digits only, as text
    "1,200" "twelve"       number            1200, 12             a JSON number; float: always with a fraction (12.0)
    "1,200" "twelve"       plain             "1200", "12"         the same, as text
    "March 3, 2026"        date:%Y-%m-%d:m   "2026-03-03"         m: 3/4 is March 4, d: 3/4 is 3 April, n: no telling

value(rule, span) -> the value, or None where the rule makes nothing of this span. What no rule makes is not copied.
"""

from __future__ import annotations

import re
from datetime import date

__all__ = ["DATE_FORMATS", "RULES", "TEXTUAL", "Value", "value"]

Value = str | int | float

TEXTUAL = ("exact", "spaces", "lower", "upper", "title")
DATE_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%Y%m%d")
RULES = (
    *TEXTUAL,
    "digits",
    "number",
    "float",
    "plain",
    *(f"date:{form}:{first}" for form in DATE_FORMATS for first in "ndm"),
)
"""Simplest first: of two rules that explain a field's values equally well, the earlier one is taken."""

SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
WORDS = {word: i for i, word in enumerate(SMALL)} | {word: 20 + 10 * i for i, word in enumerate(TENS)}
NUMBER = re.compile(r"[-+]?(\d{1,3}(?:,\d{3})+|\d{1,15})(\.\d{1,12})?", re.ASCII)
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
MONTH = {name: i + 1 for i, name in enumerate(MONTHS)} | {name[:3]: i + 1 for i, name in enumerate(MONTHS)}
MONTH |= {"sept": 9}
YEAR_FIRST = re.compile(r"(\d{4})\s*([-/.])\s*(\d{1,2})\s*\2\s*(\d{1,2})", re.ASCII)
YEAR_LAST = re.compile(r"(\d{1,2})\s*([-/.])\s*(\d{1,2})\s*\2\s*(\d{4})", re.ASCII)
DAY_MONTH = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?\s+(?:of\s+)?([a-z]{3,9})\.?,?\s+(\d{4})", re.ASCII)
MONTH_DAY = re.compile(r"([a-z]{3,9})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})", re.ASCII)


def value(rule: str, span: str) -> Value | None:
    """What `rule` writes for the words `span`, or None."""
    if rule == "exact":
        return span
    if rule in TEXTUAL:
        plain = " ".join(span.split())
        return plain if rule == "spaces" else str(getattr(plain, rule)())
    if rule == "digits":
        kept = "".join(c for c in span if c in "0123456789")
        return kept if kept and not any(c.isalpha() for c in span) else None
    if rule.startswith("date:"):
        _, form, first = rule.split(":")
        found = _date(span.strip().lower(), first)
        return None if found is None else found.strftime(form)
    number = _number(span.strip().lower())
    if number is None:
        return None
    return float(number) if rule == "float" else number if rule == "number" else str(number)


def _number(span: str) -> int | float | None:
    found = NUMBER.fullmatch(span)
    if found:
        whole = span.replace(",", "")
        return float(whole) if found[2] else int(whole)
    parts = re.split(r"[\s-]+", span)
    if len(parts) == 1:
        return WORDS.get(span)
    if len(parts) == 2 and parts[0] in TENS and 0 < WORDS.get(parts[1], 0) < 10:
        return WORDS[parts[0]] + WORDS[parts[1]]
    return None


def _date(span: str, first: str) -> date | None:
    if found := YEAR_FIRST.fullmatch(span):
        year, month, day = found[1], found[3], found[4]
    elif found := YEAR_LAST.fullmatch(span):
        year, one, other = found[4], found[1], found[3]
        if first == "n" and int(one) != int(other) and max(int(one), int(other)) <= 12:
            return None  # the log has not shown which of the two is the month
        day_first = int(one) > 12 if first == "n" else first == "d"
        day, month = (one, other) if day_first else (other, one)
    elif found := DAY_MONTH.fullmatch(span):
        year, month, day = found[3], str(MONTH.get(found[2], 0)), found[1]
    elif found := MONTH_DAY.fullmatch(span):
        year, month, day = found[3], str(MONTH.get(found[1], 0)), found[2]
    else:
        return None
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
