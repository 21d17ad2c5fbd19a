"""All that the rules find in a text, in one order of kinds: what an earlier kind has taken, a later one can't take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from freehold.traffic.private import national, numbers, places, secrets
from freehold.traffic.private.found import Found
from freehold.traffic.private.look import AT, CODES, DENSE, DOTTED, HEX, RUNS, TIGHT, WORDS, Look, look

__all__ = ["CHECKED", "KINDS", "Rules", "find"]

Search = Callable[[str, Look], Iterator[tuple[int, int]]]

ORDER: tuple[tuple[str, int, Search], ...] = (  # kind, what the text must have, how it is found
    ("secret", RUNS, secrets.secrets),
    ("login", AT, secrets.logins),
    ("email", AT, numbers.emails),
    ("iban", DENSE, numbers.ibans),
    ("ip", DOTTED | HEX, numbers.ips),
    ("mac", HEX, national.macs),
    ("coin", RUNS, national.coins),
    ("vin", RUNS, national.vins),
    ("codice fiscale", RUNS, national.codices),
    ("imei", TIGHT, national.imeis),
    ("nhs", TIGHT, national.nhs),
    ("nir", TIGHT, national.nirs),
    ("cpf", TIGHT, national.cpfs),
    ("dni", TIGHT, national.dnis),
    ("nino", TIGHT, national.ninos),
    ("tax id", TIGHT, national.taxes),
    ("passport", TIGHT, places.passports),
    ("licence", DENSE, places.licences),
    ("ssn", TIGHT, numbers.ssns),
    ("card", TIGHT, numbers.cards),
    ("birth", CODES, places.births),
    ("postcode", CODES, places.postcodes),
    ("address", WORDS, places.addresses),
    ("phone", DENSE, numbers.phones),
    ("bic", DENSE, places.bics),
)
CHOSEN = [[(kind, search) for kind, needs, search in ORDER if needs & has] for has in range(256)]
KINDS = tuple(kind for kind, _, _ in ORDER)
CHECKED = frozenset({"iban", "card", "coin", "vin", "codice fiscale", "imei", "nhs", "nir", "cpf", "dni", "tax id"})
"""Kinds with a check sum: what is found of them has the right one."""

ESCAPED = re.compile(r'\\+(?:u[0-9a-fA-F]{4}|["/bfnrt])')


def find(text: str) -> list[Found]:
    """All private data that the rules find, in the text's order; pieces don't overlap, the earlier kind wins.

    In a text that is JSON itself (a tool's arguments), the escapes between values belong to none of them.
    """
    if "\\" in text and text.lstrip()[:1] in ("{", "[", '"'):
        text = ESCAPED.sub(lambda match: "\0" * len(match[0]), text)
    found: list[Found] = []
    seen = look(text)
    if not seen.has:
        return found
    for kind, search in CHOSEN[seen.has]:
        spans = list(search(text, seen))
        if spans:
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


class Rules:
    """The rules as a Recogniser."""

    def find(self, text: str) -> list[Found]:
        return find(text)
