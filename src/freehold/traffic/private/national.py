"""Numbers that a state, a maker or a chain gave out, most of them with a check sum (checks.py).

tax id  German Steuer-IdNr       nir  French social security       dni  Spanish DNI, NIE       codice fiscale  Italian
cpf  Brazilian, in its usual form 123.456.789-09       nino  UK national insurance (form only)
nhs  UK, where the word stands before       imei  where the word stands before       vin  North American and Chinese
coin  a Bitcoin address       mac  a network card's address (form only)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from freehold.traffic.private import checks
from freehold.traffic.private.look import Look, shaped, within

__all__ = ["codices", "coins", "cpfs", "dnis", "imeis", "macs", "nhs", "ninos", "nirs", "taxes", "vins"]

Spans = Iterator[tuple[int, int]]

TAX = re.compile(r"[1-9](?<![\w+.,-][1-9])\d(?: ?\d{3}){3}(?![\w,-]|\.\d)", re.ASCII)
NIR = re.compile(
    r"[12](?<![\w.,-][12]) ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d(?![\w-])", re.ASCII
)
DNI = re.compile(r"(?<![\w.,-])(?:[XYZ]-?\d{7}|\d{8})-?[A-HJ-NP-TV-Z](?![\w-])", re.ASCII)
CPF = re.compile(r"\d(?<![\w.,-]\d)\d\d\.\d{3}\.\d{3}-\d\d(?![\w-])", re.ASCII)
NINO = re.compile(
    r"(?<![\w-])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D](?![\w-])", re.ASCII
)
NHS = re.compile(r"(?i:nhs)(?i:[ -]?(?:no|number|num|#))?\b\D{0,8}(\d{3}[ -]?\d{3}[ -]?\d{4})(?![\w-])", re.ASCII)
IMEI = re.compile(r"(?i:imei)\b\D{0,12}(\d{2}[ -]?\d{6}[ -]?\d{6}[ -]?\d)(?![\w-])", re.ASCII)
CODICE = re.compile(
    r"[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",
    re.ASCII,
)
VIN = re.compile(r"[1-5L][A-HJ-NPR-Z0-9]{7}[0-9X][A-HJ-NPR-Z0-9]{3}[A-HJ-NPR-Z0-9]\d{4}", re.ASCII)
COIN = re.compile(r"[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{11,71}|BC1[02-9AC-HJ-NP-Z]{11,71}", re.ASCII)
MAC = re.compile(
    r"(?<![\w:-])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![\w:-])|(?<![\w:-])(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}(?![\w:-])"
)


TAX_FORM = re.compile(rb"00 ?000 ?000 ?000")
NIR_FORM = re.compile(rb"0 ?00 ?00 ?0[0AB] ?000 ?000 ?00")
DNI_FORM = re.compile(rb"0{7,8}-?[A-Z]")
CPF_FORM = re.compile(rb"000\.000\.000-00")
NINO_FORM = re.compile(rb"00 ?00 ?00 ?[A-D]")


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isalnum()).upper()


def taxes(text: str, look: Look) -> Spans:
    return (m.span() for m in shaped(TAX_FORM, TAX, text, look) if checks.steuer(_plain(m[0])))


def nirs(text: str, look: Look) -> Spans:
    return (m.span() for m in shaped(NIR_FORM, NIR, text, look) if checks.nir(_plain(m[0])))


def dnis(text: str, look: Look) -> Spans:
    return (m.span() for m in shaped(DNI_FORM, DNI, text, look) if checks.dni(_plain(m[0])))


def cpfs(text: str, look: Look) -> Spans:
    return (m.span() for m in shaped(CPF_FORM, CPF, text, look) if checks.cpf(_plain(m[0])))


def ninos(text: str, look: Look) -> Spans:
    return (m.span() for m in shaped(NINO_FORM, NINO, text, look))


def nhs(text: str, look: Look) -> Spans:
    if b"nhs" in look.low:
        yield from (m.span(1) for m in NHS.finditer(text) if checks.nhs(_plain(m[1])))


def imeis(text: str, look: Look) -> Spans:
    if b"imei" in look.low:
        yield from (m.span(1) for m in IMEI.finditer(text) if not checks.luhn(_plain(m[1])))


def codices(text: str, look: Look) -> Spans:
    return _tokens(text, look, CODICE, checks.codice)


def vins(text: str, look: Look) -> Spans:
    return _tokens(text, look, VIN, checks.vin)


def coins(text: str, look: Look) -> Spans:
    return _tokens(text, look, COIN, checks.coin)


def _tokens(text: str, look: Look, pattern: re.Pattern[str], valid: Callable[[str], bool]) -> Spans:
    """Whole runs of letters and digits that have the form and the check sum."""
    for start, end in look.runs:
        if pattern.fullmatch(text, start, end) and valid(text[start:end]):
            yield start, end


def macs(text: str, look: Look) -> Spans:
    return (m.span() for m in within(MAC, text, look.hexes))
