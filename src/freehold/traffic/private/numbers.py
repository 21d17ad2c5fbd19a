"""Addresses and numbers that the whole world uses: e-mail, bank, card, network, US social security, phone.

email  iban (mod 97, ISO 7064)  card (known prefix and Luhn, ISO/IEC 7812)  ssn (never issued ones out)  ip (v4, v6)
phone  an international or North American form, a leading zero in groups, or a number after a word such as "phone"
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import accumulate

from freehold.traffic.private import checks
from freehold.traffic.private.look import Look, shaped, within

__all__ = ["cards", "emails", "ibans", "ips", "phones", "ssns"]

Spans = Iterator[tuple[int, int]]

LOCAL = re.compile(r"(?<![\w.+-])[\w.+%-]{1,64}\Z")
DOMAIN = re.compile(r"@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}(?![\w-])")
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", re.I)
CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){11,18}(?![\w-])(?!\.\d)")
CARDS = re.compile(
    r"4\d{12}(\d{3}){0,2}|(5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(0|6|8)\d{12}|(6011|64|65)\d{12,14}|35\d{14}"
    r"|(2131|1800)\d{11}|62\d{14,17}|(50|5[6-8]|6[0-9])\d{10,17}"
)
SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])")
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:]*\d)(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}(?![\w:])")
CARD_FORM = re.compile(rb"0(?:[ -]?0){11}")
SSN_FORM = re.compile(rb"000(?:-00-|[ ]00[ ])0000")
IBAN_FORM = re.compile(rb"00(?<=[A-Za-z]{2}00)")

NUMBER = re.compile(  # a digit at a time, so that it is read in linear time whatever the text
    r"[+(\d](?<![\w@#$€£-].)(?<!\d[.,].)(?:(?<=\+) ?\(?\+?\d|(?<=\()\+?\d|(?<=\d))"
    r"(?:[ ().\-/]{0,3}\d){6,48}(?: ?(?:x|ext\.? ?)\d{1,6})?"
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
    r"(?<![^\W_])(?:(?:tele)?phone|tel|mobile|cell|fax|desk|whatsapp|call|dial|ring|reach (?:me|us|him|her|them)"
    r"|text me|sms)"
    r"(?![^\W_])[^\d+(]{0,30}$",
    re.I,
)
AFTER = re.compile(r"[ -]{1,2}(?:office|fax|mobile|cell|phone|home)\b", re.I)
HINT = re.compile(  # without one of these, or a word near by, no form fits
    r"\+|(?:\A| )(?:\(?0[1-9]|(?:1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-. ])[2-9]\d\d[-. ]\d{4})"
)
NEAR = re.compile(
    rb"phone|mobile|fax|desk|whatsapp|reach |text me|sms|office|home|(?<![a-z])(?:tel|cell|call|dial|ring)(?![a-z])"
)
WINDOW = 48  # characters before a number in which such a word may stand
WORD = re.compile(r"[^ ]+")
WORDS = 8  # of a number, at most
SIZES = range(7, 22)  # its digits, those of an extension too


def emails(text: str, look: Look | None) -> Spans:
    at, done = text.find("@"), 0
    while at >= 0:
        domain = DOMAIN.match(text, at)
        local = LOCAL.search(text, max(done, at - 65), at) if domain else None
        if domain and local:
            yield local.start(), domain.end()
        done = domain.end() if domain else at + 1
        at = text.find("@", done)


def ibans(text: str, look: Look) -> Spans:
    for match in shaped(IBAN_FORM, IBAN, text, look):
        said = match[0]
        while len(said.replace(" ", "")) >= 15:  # a word after a spaced IBAN may look like its last group
            if checks.iban(said.replace(" ", "").upper()):
                yield match.start(), match.start() + len(said)
                break
            if " " not in said:
                break
            said = said.rpartition(" ")[0]


def cards(text: str, look: Look) -> Spans:
    for match in shaped(CARD_FORM, CARD, text, look):
        digits = re.sub(r"\D", "", match[0])
        if CARDS.fullmatch(digits) and checks.luhn(digits) == 0 and len(set(digits)) > 1:
            yield match.span()


def ssns(text: str, look: Look) -> Spans:
    return (match.span() for match in shaped(SSN_FORM, SSN, text, look))


def ips(text: str, look: Look) -> Spans:
    for match in [*within(IPV4, text, look.dotted), *within(IPV6, text, look.hexes)]:
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or address.is_multicast):
            yield match.span()


def phones(text: str, look: Look) -> Spans:
    """In each run of digits, numbers may stand side by side: the longest first, from the left."""
    for match in within(NUMBER, text, look.dense):
        if " " not in match[0] and DATE.fullmatch(match[0]):
            continue
        if not (HINT.search(match[0]) or NEAR.search(look.low, max(0, match.start() - WINDOW), match.end() + 10)):
            continue
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
