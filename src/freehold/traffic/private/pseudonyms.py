"""Something else of the same type and shape.

    201-948-1927  →  538-207-4416      digits for digits, letters for letters, the same separators and capitals
    4111 1111 1111 1111  →  4111 6283 7749 2205      valid check digits; the first four, which name the issuer, stay
    ana@firm.com  →  qkd@example.org      names and networks that are kept for documentation (RFC 2606, 5737, 3849)
    12 Hill Street, Apt 4  →  57 Qwto Street, Apt 8      what kind of thing it is stays said

A pseudonym depends on the value, its kind and a key, and on nothing else. Of redact_together the key is the texts
themselves, so that a value gets another pseudonym in another row; a log's redaction (audit.redact) keeps one key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from freehold.traffic.private import checks
from freehold.traffic.private.find import find
from freehold.traffic.private.found import Found

__all__ = ["anywhere", "plain", "pseudonym", "redact", "redact_together"]

TRIES = 48
DRAWS = 8  # for one row, while a pseudonym and what stands beside it look like something else
STAYS = re.compile(
    r"(?i:p\.? ?o\.?|psc|unit|box|apt|apartment|suite|ste|floor|street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln"
    r"|drive|dr|court|ct|place|pl|square|sq|terrace|way|parkway|pkwy|highway|hwy|circle|crescent|close|row|alley)"
)
JOINED = re.compile(r"(.*?)(straße|strasse|gasse|platz|allee|gata|gatan|vägen|veien|gade|straat|laan|plein|katu|tie|)")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
SECRET = re.compile(r"(?:sk-(?:proj-|ant-|svcacct-)?|A[KS]IA|gh[opsur]_|github_pat_|glpat-|xox[abeprs]-|AIza|[prs]k_"
                    r"(?:live|test)_|hf_|gsk_|npm_|pypi-AgEI|SG\.|eyJ)")  # fmt: skip


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
    place, kinds = anywhere(values), _kinds(texts)
    said = "\0".join(texts).encode("utf-8", "surrogatepass")
    for draw in range(DRAWS):
        key = hashlib.blake2b(said, digest_size=16, salt=draw.to_bytes(16, "little")).digest()
        names = {value: pseudonym(value, kind, key) for value, kind in values.items()}
        new = _with(names, place, texts)
        if _kinds(new) == kinds:
            break
    return new


def _with(names: Mapping[str, str], place: re.Pattern[str], texts: Sequence[str]) -> list[str]:
    return [place.sub(lambda match: names[match[0]], text) for text in texts]


def _kinds(texts: Sequence[str]) -> list[list[str]]:
    return [[f.kind for f in find(text)] for text in texts]


def anywhere(values: Sequence[str] | dict[str, str]) -> re.Pattern[str]:
    """Any of these where it stands as a whole; a phone number within a longer one goes with the longer one."""
    longest = sorted(values, key=len, reverse=True)
    return re.compile("|".join(rf"(?<!\w){re.escape(value)}(?!\w)" for value in longest))


def plain(value: str) -> str:
    """One number in two writings (with and without blanks) has one plain form, and so gets one pseudonym."""
    return "".join(c for c in value if c.isalnum()).lower()


def pseudonym(value: str, kind: str, key: bytes, attempt: int = 0) -> str:
    """Another value of the same kind and shape, never the value itself. A further `attempt` gives another one, from
    the fifth on a longer one, so that there is always one that is free. `key` is at most 64 bytes."""
    alone = _alone(value, kind)
    new = value
    for draw in range(TRIES):
        new = _drawn(value, kind, key, attempt, draw)
        if new != value and (not alone or _alone(new, kind)):
            return new
    return new if new != value else f"{value}-{_bytes(kind, value, key, attempt, TRIES, 4).hex()}"


def _alone(value: str, kind: str) -> bool:
    """Do the rules find it without any words around?"""
    return find(value) == [Found(kind, 0, len(value))]


def _bytes(kind: str, text: str, key: bytes, attempt: int, draw: int, size: int) -> bytes:
    """As many as are needed, as a function of all this that nobody without the key can tell from chance."""
    said = f"{kind}\0{text}\0{attempt}\0{draw}".encode("utf-8", "surrogatepass")
    return hashlib.shake_128(hashlib.blake2b(said, key=key).digest()).digest(size)


def _drawn(value: str, kind: str, key: bytes, attempt: int, draw: int) -> str:
    said = plain(value)
    drawn = _bytes(kind, said, key, attempt, draw, len(said) + 32)
    if kind == "email":  # people of one domain stay so
        at = _bytes("domain", value.rpartition("@")[2].lower(), key, 0, 0, 1)
        drawn = drawn[:-9] + at + drawn[-8:]
    more = "".join(chr(ord("a") + byte % 26) for byte in drawn[-8:][: max(0, min(8, attempt - 3))])
    make = MADE.get(kind)
    if make is not None:
        return make(value, drawn, more)
    new = _poured(value, _changed(said, drawn, free=draw > 4))
    return _longer(new, more)


def _longer(new: str, more: str) -> str:
    """With more characters of the sort that it ends in."""
    end = len(new.rstrip(" ().,;:'\"!?-"))
    if new[end - 1 : end].isdecimal():
        more = "".join(str(ord(c) % 10) for c in more)
    return new[:end] + more + new[end:]


def _changed(said: str, drawn: bytes, keep: int = 0, free: bool = False) -> str:
    """Digits for digits and letters for letters; 0 stays, and so do a leading 1 and the first `keep` characters. A
    digit from 2 up gives one from 2 up, so that a number stays of its form. `free`: any digit for any."""
    out = list(said[:keep])
    for i in range(keep, len(said)):
        c, byte = said[i], drawn[i]
        if free and c.isdecimal():
            out.append(str(byte % 10))
        elif c == "0" or (c == "1" and i == 0):
            out.append(c)
        elif c.isdecimal():
            out.append(str(1 + byte % 9) if c == "1" else str(2 + byte % 8))
        else:
            out.append(chr(ord("a") + byte % 26))
    return "".join(out)


def _poured(shape: str, said: str) -> str:
    """`said` written as `shape` is: its separators and its capitals."""
    rest = iter(said)
    return "".join((next(rest).upper() if c.isupper() else next(rest)) if c.isalnum() else c for c in shape)


def _email(value: str, drawn: bytes, more: str) -> str:
    local = value.rpartition("@")[0]
    return f"{_poured(local, _changed(plain(local), drawn))}{more}@example.{('com', 'org', 'net')[drawn[-9] % 3]}"


def _address(value: str, drawn: bytes, more: str) -> str:
    """From the ranges that are kept for documentation; where those are used up, from what was never given out
    (240.0.0.0/4, RFC 1112)."""
    if ":" in value:
        tail = f"::{drawn[0]:x}{drawn[1]:02x}:{drawn[2]:x}{drawn[3]:02x}"
        return f"2001:db8:{drawn[4]:x}{drawn[5]:02x}:{drawn[6]:x}{drawn[7]:02x}{tail}" if more else f"2001:db8{tail}"
    if more:
        return f"{240 + drawn[0] % 15}.{drawn[1]}.{drawn[2]}.{drawn[3]}"
    return f"{('192.0.2', '198.51.100', '203.0.113')[drawn[0] % 3]}.{1 + drawn[1] % 254}"


def _mac(value: str, drawn: bytes, more: str) -> str:
    """Locally administered, so it is no maker's (IEEE 802)."""
    return _poured(value, "02" + drawn[:5].hex())


def _phone(value: str, drawn: bytes, more: str) -> str:
    """The letters of an extension stay."""
    said = plain(value)
    new = _changed(said, drawn)
    return _poured(value, "".join(c if c.isalpha() else n for c, n in zip(said, new, strict=True)))


def _ssn(value: str, drawn: bytes, more: str) -> str:
    new = _changed(plain(value), drawn)
    first = "5" if new.startswith(("9", "666", "000")) else new[0]
    return _poured(value, first + new[1:])


def _checked(valid: Callable[[str], bool], places: Sequence[int], keep: int = 0, letters: bool = False) -> Made:
    """A maker that changes all but the first `keep` characters, then sets those at `places` so that `valid` holds."""
    choices = "0123456789" + ("ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letters else "")

    def make(value: str, drawn: bytes, more: str) -> str:
        new = list(_changed(plain(value), drawn, keep, free=True).upper())
        for said in product(choices, repeat=len(places)):
            for place, c in zip(places, said, strict=True):
                new[place] = c
            if valid("".join(new)):
                return _poured(value, "".join(new).lower())
        return value  # no check digit fits these: another draw

    return make


def _iban(value: str, drawn: bytes, more: str) -> str:
    """The country stays; ISO 13616: check digits make the number 1 mod 97."""
    said = plain(value)
    new = _changed(said, drawn, keep=4)[4:]
    number = int("".join(str(int(c, 36)) for c in f"{new}{said[:2]}00"))
    return _poured(value, f"{said[:2]}{98 - number % 97:02d}{new}")


def _tax(value: str, drawn: bytes, more: str) -> str:
    """Other digits in the same order of equal and unequal ones, as the number must have."""
    order = sorted(range(10), key=lambda i: drawn[i])
    new = "".join(str(order[int(c)]) for c in plain(value)[:10])
    return _poured(value, next((new + c for c in "0123456789" if checks.steuer(new + c)), plain(value)))


def _nir(value: str, drawn: bytes, more: str) -> str:
    rest = "".join(str(byte % 10) for byte in drawn[:8])
    new = f"{1 + drawn[8] % 2}{drawn[9] % 100:02d}{1 + drawn[10] % 12:02d}{rest}"
    return _poured(value, f"{new}{97 - int(new) % 97:02d}")


def _coin(value: str, drawn: bytes, more: str) -> str:
    if value[:3].lower() == "bc1":
        data = value[3] + "".join(checks.BECH32[byte % 32] for byte in _stretched(drawn, len(value)))[: len(value) - 10]
        new = checks.bech32(data.lower())
        return new.upper() if value.isupper() else new
    return checks.base58(5 if value[0] == "3" else 0, drawn[:20])


def _stretched(drawn: bytes, size: int) -> bytes:
    return hashlib.shake_128(drawn).digest(size)


def _birth(value: str, drawn: bytes, more: str) -> str:
    """A date in the same writing: day and month both from 1 to 12, so that it is one whichever comes first."""
    small = iter((1 + drawn[0] % 12, 1 + drawn[1] % 12))
    year = 1930 + (drawn[2] + 256 * drawn[3]) % (80 if not more else 900)

    def number(match: re.Match[str]) -> str:
        digits = match[0]
        if len(digits) > 2:
            return f"{year:04d}"
        new = next(small, year % 100)
        return f"{new:0{2 if digits[0] == '0' or len(str(new)) > 1 else 1}d}"

    def word(match: re.Match[str]) -> str:
        month = next((m for m in MONTHS if m[:3].lower() == match[0][:3].lower()), None)
        if month is None:
            return match[0]
        new = MONTHS[drawn[4] % 12]
        return new[:3] if len(match[0]) <= 3 and month != "May" else new

    return re.sub(r"\d+", number, re.sub(r"[^\W\d_]{3,}", word, value))


def _street(value: str, drawn: bytes, more: str) -> str:
    """The words that say what it is stay."""
    new = iter(_changed(plain(value), drawn, free=True))

    def word(match: re.Match[str]) -> str:
        said = match[0]
        if STAYS.fullmatch(said):
            for c in said:
                _ = next(new) if c.isalnum() else ""
            return said
        joined = JOINED.fullmatch(said)
        tail = joined[2] if joined and joined[1] else ""
        head = _poured(said[: len(said) - len(tail)], "".join(next(new) for _ in said)[: len(said)])
        return ("1" + head[1:] if head[0] == "0" else head) + tail

    return _longer(re.sub(r"(?i:\bp\.? ?o\.?(?= ?box\b))|[^\W_]+", word, value), more)


def _secret(value: str, drawn: bytes, more: str) -> str:
    """The vendor's prefix stays, and the first and last line of a private key."""
    new = _poured(value, _changed(plain(value), _stretched(drawn, len(value)), free=True))
    if value.startswith("-----"):
        first, last = value.index("KEY") + 3, value.rindex("-----END")
        return value[:first] + new[first:last] + value[last:]
    at, parts = 0, []
    for part in value.split("."):
        kept = match[0] if (match := SECRET.match(part)) else ""
        parts.append(kept + new[at + len(kept) : at + len(part)])
        at += len(part) + 1
    return ".".join(parts)


def _dni(value: str, drawn: bytes, more: str) -> str:
    """X, Y or Z stays where it leads."""
    return _checked(checks.dni, [-1], keep=1 if value[0].isalpha() else 0, letters=True)(value, drawn, more)


Made = Callable[[str, bytes, str], str]
MADE: dict[str, Made] = {
    "email": _email, "ip": _address, "mac": _mac, "phone": _phone, "ssn": _ssn, "iban": _iban, "tax id": _tax,
    "nir": _nir, "coin": _coin, "birth": _birth, "address": _street, "secret": _secret,
    "card": _checked(lambda s: checks.luhn(s) == 0, [-1], keep=4),
    "imei": _checked(lambda s: checks.luhn(s) == 0, [-1]),
    "nhs": _checked(checks.nhs, [-1]),
    "cpf": _checked(checks.cpf, [-2, -1]),
    "dni": _dni,
    "codice fiscale": _checked(checks.codice, [-1], letters=True),
    "vin": _checked(checks.vin, [8], keep=1, letters=True),
}  # fmt: skip
