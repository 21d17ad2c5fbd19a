"""Private data in a text, as far as rules can find it, and how to write something else in its place.

    "Call 201-948-1927 or write to ana@firm.example"  →  phone [5, 17), email [30, 46)
    redact:  "Call 538-207-4416 or write to qkd@example.org"

email  iban (mod 97, ISO 7064)  card (known prefix and Luhn, ISO/IEC 7812)  ssn (never issued ones out)  ip (v4, v6)
phone  an international or North American form, a leading zero in groups, or a number after a word such as "phone"

Names, addresses, ages and the like can't be found by rules; docs/terms.md has what was measured.
A pseudonym has the type and the shape of what it replaces (digits for digits, letters for letters, the same separators,
valid check digits), depends on nothing but the texts redacted together, and is the same wherever the value stands in
them: so an answer that copies from its input still does.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

__all__ = ["KINDS", "Found", "find", "redact", "redact_together"]

KINDS = ("email", "iban", "card", "ssn", "ip", "phone")


@dataclass(frozen=True, slots=True)
class Found:
    """One piece of private data: text[start:end]."""

    kind: str
    start: int
    end: int


EMAIL = re.compile(r"(?<![\w.+-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}(?![\w-])")
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", re.I)
CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){11,18}(?![\w-])(?!\.\d)")
CARDS = re.compile(
    r"4\d{12}(\d{3}){0,2}|(5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(0|6|8)\d{12}|(6011|64|65)\d{12,14}|35\d{14}"
    r"|(2131|1800)\d{11}|62\d{14,17}|(50|5[6-8]|6[0-9])\d{10,17}"
)
SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])")
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:]*\d)(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}(?![\w:])")

NUMBER = re.compile(  # a digit at a time, so that it is read in linear time whatever the text
    r"(?<![\w@#$€£-])(?<!\d[.,])(?:\+ ?)?\(?\+?\d(?:[ ().\-/]{0,3}\d){6,48}(?: ?(?:x|ext\.? ?)\d{1,6})?"
    r"(?![\w@%])(?!,\d)",
    re.I,
)
EXTENSION = re.compile(r" ?(?:x|ext\.? ?)\d+$", re.I)
AMERICAN = re.compile(r"(?:\+?1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-. ])[2-9]\d\d[-. ]\d{4}")
ZERO = re.compile(r"\(?0[1-9]\d{0,4}\)?(?:[ ./-]\d{2,8}){1,5}")
DATE = re.compile(
    r"(?:1[5-9]|2[01])\d\d[-/. ]\d{1,2}[-/. ]\d{1,2}(?: \d\d)?|\d{1,2}[-/. ]\d{1,2}[-/. ](?:1[5-9]|2[01])\d\d"
    r"|(?:1[5-9]|2[01])\d\d ?[-/] ?(?:1[5-9]|2[01])\d\d"
)
BEFORE = re.compile(
    r"\b(?:(?:tele)?phone|tel|mobile|cell|fax|desk|whatsapp|call|dial|ring|reach (?:me|us|him|her|them)|text me|sms)"
    r"\b[^\d+(]{0,30}$",
    re.I,
)
AFTER = re.compile(r"[ -]{1,2}(?:office|fax|mobile|cell|phone|home)\b", re.I)
WINDOW = 48  # characters before a number in which such a word may stand
WORD = re.compile(r"[^ ]+")
WORDS = 8  # of a number, at most
SIZES = range(7, 22)  # its digits, those of an extension too


def find(text: str) -> list[Found]:
    """All private data that the rules find, in the text's order; pieces don't overlap, the earlier kind wins."""
    digits = any(c in text for c in "0123456789")
    found: list[Found] = []
    for kind, search in SEARCHES if digits else SEARCHES[:1]:
        spans = list(search(text))
        found += [Found(kind, start, end) for start, end in spans]
        text = _without(text, spans)
    return sorted(found, key=lambda f: f.start)


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text with stars in place of what is found, so that nothing is found twice."""
    parts, at = [], 0
    for start, end in sorted(spans):
        parts += [text[at:start], "*" * (end - start)]
        at = max(at, end)
    return "".join([*parts, text[at:]])


def _emails(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in EMAIL.finditer(text)) if "@" in text else iter(())


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in IBAN.finditer(text):
        said = match[0]
        while len(said.replace(" ", "")) >= 15:  # a word after a spaced IBAN may look like its last group
            if _mod97(said):
                yield match.start(), match.start() + len(said)
                break
            if " " not in said:
                break
            said = said.rpartition(" ")[0]


def _mod97(iban: str) -> bool:
    plain = iban.replace(" ", "").upper()
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if CARDS.fullmatch(digits) and _luhn(digits) == 0 and len(set(digits)) > 1:
            yield match.span()


def _luhn(digits: str) -> int:
    """The check sum mod 10: 0 for a valid number."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        twice = int(c) * (1 + i % 2)
        total += twice - 9 if twice > 9 else twice
    return total % 10


def _ssns(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in SSN.finditer(text))


def _ips(text: str) -> Iterator[tuple[int, int]]:
    for match in [*IPV4.finditer(text), *IPV6.finditer(text)]:
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or address.is_multicast):
            yield match.span()


def _phones(text: str) -> Iterator[tuple[int, int]]:
    """In each run of digits, numbers may stand side by side: the longest first, from the left."""
    for match in NUMBER.finditer(text):
        words = [(match.start() + w.start(), match.start() + w.end()) for w in WORD.finditer(match[0])]
        digits = [sum(map(str.isdigit, text[start:end])) for start, end in words]
        begin = 0
        while begin < len(words):
            total = list(accumulate(digits[begin : begin + WORDS]))
            fits = (i for i in range(len(total) - 1, -1, -1) if total[i] in SIZES)
            last = next((i for i in fits if _is_phone(text, words[begin][0], words[begin + i][1])), None)
            if last is not None:
                yield words[begin][0], words[begin + last][1]
            begin += 1 if last is None else last + 1


def _is_phone(text: str, start: int, end: int) -> bool:
    said = EXTENSION.sub("", text[start:end])
    count = sum(c.isdigit() for c in said)
    if not 7 <= count <= 15 or said.count("(") != said.count(")"):
        return False
    if "+" in said[:2]:
        return count >= 8
    if DATE.fullmatch(said):
        return False
    if AMERICAN.fullmatch(said) or (9 <= count <= 11 and ZERO.fullmatch(said)):
        return True
    return bool(BEFORE.search(text, max(0, start - WINDOW), start) or AFTER.match(text, end))


SEARCHES: tuple[tuple[str, Callable[[str], Iterator[tuple[int, int]]]], ...] = (
    ("email", _emails),
    ("iban", _ibans),
    ("ip", _ips),
    ("ssn", _ssns),
    ("card", _cards),
    ("phone", _phones),
)


def redact(text: str) -> str:
    """The text with a pseudonym for each piece that is found."""
    return redact_together([text])[0]


def redact_together(texts: Sequence[str]) -> list[str]:
    """Several texts of one row: a value that is found in one of them is replaced wherever it stands in all."""
    values: dict[str, str] = {}
    for text in texts:
        for f in find(text):
            values.setdefault(text[f.start : f.end], f.kind)
    if not values:
        return list(texts)
    seed = hashlib.blake2b("\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    names = {value: _pseudonym(value, kind, seed) for value, kind in values.items()}
    longest = sorted(names, key=len, reverse=True)  # a phone number within a longer one goes with the longer one
    anywhere = re.compile("|".join(rf"(?<!\w){re.escape(value)}(?!\w)" for value in longest))
    return [anywhere.sub(lambda match: names[match[0]], text) for text in texts]


def _pseudonym(value: str, kind: str, seed: bytes) -> str:
    """Something of the same type and shape. One number in two writings (with and without blanks) gets one pseudonym."""
    plain = "".join(c for c in value if c.isalnum()).lower()
    drawn = hashlib.shake_128(seed + kind.encode() + plain.encode("utf-8", "surrogatepass")).digest(len(plain) + 4)
    if kind == "ip":
        return _address(value, drawn)
    if kind == "email":
        local = value.rpartition("@")[0]
        return f"{_poured(local, _changed(plain, drawn))}@example.{('com', 'org', 'net')[drawn[-1] % 3]}"
    return _poured(value, MADE[kind](plain, drawn))


def _address(value: str, drawn: bytes) -> str:
    """From the ranges that are kept for documentation (RFC 5737, RFC 3849)."""
    if ":" in value:
        return f"2001:db8::{drawn[0]:x}{drawn[1]:02x}:{drawn[2]:x}{drawn[3]:02x}"
    return f"{('192.0.2', '198.51.100', '203.0.113')[drawn[0] % 3]}.{1 + drawn[1] % 254}"


def _changed(plain: str, drawn: bytes, keep: int = 0) -> str:
    """Digits for digits and letters for letters; 0 stays, and so do a leading 1 and the first `keep` characters. A
    digit from 2 up gives one from 2 up, so that a number stays of its form."""
    out = list(plain[:keep])
    for i in range(keep, len(plain)):
        c, byte = plain[i], drawn[i]
        if c == "0" or (c == "1" and i == 0):
            out.append(c)
        elif c.isdecimal():
            out.append(str(1 + byte % 9) if c == "1" else str(2 + byte % 8))
        else:
            out.append(chr(ord("a") + byte % 26))
    return "".join(out)


def _phone(plain: str, drawn: bytes) -> str:
    """The letters of an extension stay."""
    return "".join(c if c.isalpha() else new for c, new in zip(plain, _changed(plain, drawn), strict=True))


def _ssn(plain: str, drawn: bytes) -> str:
    new = _changed(plain, drawn)
    first = "5" if new.startswith(("9", "666", "000")) else new[0]
    return first + new[1:]


def _card(plain: str, drawn: bytes) -> str:
    new = _changed(plain, drawn, keep=4)[:-1]
    return next(new + last for last in "0123456789" if _luhn(new + last) == 0)


def _iban(plain: str, drawn: bytes) -> str:
    """The country stays; ISO 13616: check digits make the number 1 mod 97."""
    new = _changed(plain, drawn, keep=4)[4:]
    number = int("".join(str(int(c, 36)) for c in f"{new}{plain[:2]}00"))
    return f"{plain[:2]}{98 - number % 97:02d}{new}"


MADE: dict[str, Callable[[str, bytes], str]] = {"phone": _phone, "ssn": _ssn, "card": _card, "iban": _iban}


def _poured(shape: str, plain: str) -> str:
    """`plain` written as `shape` is: its separators and its capitals."""
    rest = iter(plain)
    return "".join((next(rest).upper() if c.isupper() else next(rest)) if c.isalnum() else c for c in shape)
