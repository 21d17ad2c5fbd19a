"""What several licences ask together of a thing that is made from all of them: a corpus of parts, a merge of models.

    union(["CC-BY-SA-4.0", "Apache-2.0", "own"])
        names ─→ rows of data/licences.json (id, alias, SPDX id); "A AND B" is both, "A OR B" the one that asks less
        duties:    keep notices, say what changed, share alike, begin the name with ..., each with clause, source, date
        under:     what the whole may be passed on under, where a part says so (GPL, ShareAlike)
        conflicts: a sentence for each two whose duties can't both be kept
        private:   why the whole may not be passed on, whatever its other parts allow

"own" is the team's own text, "unknown" what nobody says. What is learned from a text counts here as made from it, and
share alike as binding on it: the careful reading, courts differ. Not legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from freehold.facts.conflicts import conflicts, earns, title, under
from freehold.facts.tables import Facts
from freehold.facts.values import number, words
from freehold.nouns import Duty, Fact

__all__ = ["OWN", "UNKNOWN", "Union", "union"]

OWN, UNKNOWN = "own", "unknown"
MOST = 64  # ways to choose among "A OR B" that are tried
ASKED = {
    "agreement": "Give everybody who gets a copy a copy of the licence",
    "notice": "Keep this text in a file named Notice beside the weights",
    "notices": "Keep the copyright, patent, trademark and attribution notices",
    "changes": "Say that you changed it",
    "restrictions": "Put the use restrictions into your own terms as an enforceable provision, and tell recipients",
    "alike": "Pass on what is made from it under the same licence, or one that it names",
    "source": "Offer the source to everybody who gets a copy",
    "register": "Register with the licensor before commercial use",
}
TAUGHT = {
    "block": "Teach no other model with what it writes",
    "research": "Use what it writes for research only",
    "inherit": "A model that learns from what it writes carries this licence too",
    "name": "A model that learns from what it writes carries the words and the name too",
}
LIMITS = {"mau": "users a month", "revenue_month": "USD of revenue a month", "revenue_year": "USD of revenue a year"}
PRIVATE = {
    "unread": "nobody has read {name}, so what it asks is not known",
    "private": "{name} lets nothing that is made from it be passed on",
}


@dataclass(frozen=True, slots=True)
class Union:
    """`expression`: SPDX ids joined with AND; "own" and "unknown" are freehold's words. `under`: the whole may be
    passed on under one of these (empty: nothing is said). `prefix`: what its name begins with ("Llama 3" keeps "Llama"
    too). `commercial`: False where a part forbids it, None where that is not known."""

    expression: str
    duties: tuple[Duty, ...] = ()
    conflicts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    prefix: str = ""
    commercial: bool | None = True

    def said(self) -> tuple[str, ...]:
        """What is owed, a sentence for each duty that names whose it is; last, why it may not be passed on."""
        owed: dict[tuple[str, str], list[str]] = {}
        for duty in self.duties:
            owed.setdefault((duty.what, duty.text), []).append(_of(duty))
        found = [f"{what}{f': “{text}”' if text else ''} ({', '.join(of)})." for (what, text), of in owed.items()]
        if self.under and (len(self.under) > 1 or self.under[0] != self.expression):
            found.append(f"Pass on the whole under {' or '.join(self.under)}.")
        return (*found, *(f"Keep it in the house: {why}." for why in self.private))


@dataclass(frozen=True, slots=True)
class _Named:
    """A licence as it is called in the expression, and its row; None for one that is not on file."""

    name: str
    row: Fact | None


def union(licences: Sequence[str], *, commercial: bool = False, facts: Facts | None = None) -> Union:
    """The duties of all these licences, and where they exclude each other.

    `commercial`: what is made earns money, which a non-commercial part forbids. `facts`: with the team's own rows.
    Raises BadSetting for a row of the team's own that can't be meant.
    """
    facts = facts or Facts()
    ways = product(*(_ways(licence, facts) for licence in licences or (UNKNOWN,)))
    found = [_together([name for part in way for name in part], commercial, facts) for way in islice(ways, MOST)]
    return min(found, key=lambda union: (len(union.conflicts), len(union.private), len(union.duties)))


def _together(names: Sequence[str], commercial: bool, facts: Facts) -> Union:
    parts = list({part.name: part for name in names for part in [_named(name, facts)]}.values())
    rows = [part.row for part in parts if part.row is not None]
    return Union(
        " AND ".join(part.name for part in parts),
        tuple(duty for row in rows for duty in _duties(row)),
        conflicts(rows, commercial=commercial),
        tuple(why for part in parts if (why := _private(part))),
        under(rows) or (),
        max((str(row.values.get("prefix", "")) for row in rows), key=len, default=""),
        _all_earn(parts),
    )


# names


def _ways(licence: str, facts: Facts) -> list[list[str]]:
    """The lists of names that an SPDX expression may be read as: one for each way to choose at its ORs."""
    if not re.search(r"\s(AND|OR)\s", licence) or _find(licence, facts) is not None:
        return [[licence]]
    tokens = [token.strip() for token in re.split(r"(\(|\)|\sAND\s|\sOR\s)", licence) if token.strip()]
    try:
        ways, left = _either(tokens)
    except IndexError:
        return [[licence]]
    return [[licence]] if left else ways


def _either(tokens: list[str]) -> tuple[list[list[str]], list[str]]:
    ways, tokens = _both(tokens)
    while tokens and tokens[0] == "OR":
        more, tokens = _both(tokens[1:])
        ways = ways + more
    return ways, tokens


def _both(tokens: list[str]) -> tuple[list[list[str]], list[str]]:
    ways, tokens = _one(tokens)
    while tokens and tokens[0] == "AND":
        more, tokens = _one(tokens[1:])
        ways = [[*way, *other] for way in ways for other in more][:MOST]
    return ways, tokens


def _one(tokens: list[str]) -> tuple[list[list[str]], list[str]]:
    """A name, or what stands in parentheses. Raises IndexError where the expression ends too soon."""
    if tokens[0] != "(":
        return [[tokens[0]]], tokens[1:]
    ways, left = _either(tokens[1:])
    if left[0] != ")":
        raise IndexError(left[0])
    return ways, left[1:]


def _named(said: str, facts: Facts) -> _Named:
    said = said.strip()
    if said.lower() in (OWN, UNKNOWN, ""):
        return _Named(said.lower() or UNKNOWN, None)
    row = _find(said, facts)
    if row is None:
        return _Named(said if re.fullmatch(r"[\w.+-]+", said) else f"LicenseRef-{_slug(said)}", None)
    return _Named(str(row.values.get("spdx") or f"LicenseRef-{row.id}"), row)


def _find(said: str, facts: Facts) -> Fact | None:
    """The row by its id, alias, SPDX id or title; that of the licence itself for a model that is under it. An exception
    (WITH) only takes duties away, so it is read without."""
    plain = re.sub(r"\s+WITH\s.*$", "", said.strip())
    found = facts.find("licences", plain) or facts.find("licences", plain.removeprefix("LicenseRef-"))
    for field in ("spdx", "licence"):
        found = found or next((r for r in facts.rows("licences") if _same(r.values.get(field, ""), plain)), None)
    if found is None:
        return None
    return facts.find("licences", str(found.values.get("spdx", ""))) or found


def _same(one: object, other: str) -> bool:
    return str(one).lower() == other.lower()


def _slug(said: str) -> str:
    return re.sub(r"[^\w.]+", "-", said).strip("-")[:80] or UNKNOWN


# duties


def _duties(row: Fact) -> Iterator[Duty]:
    values = row.values
    for about in words(row, "carry"):
        if about in ASKED:
            yield _duty(row, about, ASKED[about], str(values.get("notice", "")) if about == "notice" else "")
    if values.get("prefix"):
        yield _duty(row, "prefix", "Begin its name with this word", str(values["prefix"]))
    if values.get("display"):
        yield _duty(row, "display", "Show these words", str(values["display"]))
    if values.get("policy"):
        yield _duty(row, "policy", f"Keep to the policy on use, {values['policy']}")
    if earns(row) == "no":
        yield _duty(row, "commercial", "Make no commercial use of it")
    if (out := str(values.get("out", ""))) in TAUGHT:
        yield _duty(row, "outputs", TAUGHT[out])
    for measure, unit in LIMITS.items():
        if measure in values and values.get(f"{measure}_then") != "display":
            about = measure if measure in values.get("clauses", {}) else "limit"
            yield _duty(row, about, f"Above {number(row, measure):,.0f} {unit}, ask the licensor first")


def _duty(row: Fact, about: str, what: str, text: str = "") -> Duty:
    clause = str(row.values.get("clauses", {}).get(about, ""))
    if about == "outputs":
        clause = clause or str(row.values.get("clause", ""))
    verified = row.status != "unverified"
    return Duty(f"{title(row)}/{about}", what, "ALLOW_WITH_NOTE", text, clause, "", row.source, row.as_of, verified)


def _of(duty: Duty) -> str:
    return duty.rule.rpartition("/")[0] + ("" if duty.verified else ", not read in its own text")


def _private(part: _Named) -> str:
    if part.name == OWN:
        return ""
    if part.name == UNKNOWN:
        return "nobody says under which licence a part of it is"
    if part.row is None:
        return f"{part.name} is not on file, so what it asks is not known"
    why = "unread" if earns(part.row) == "unread" else "private" if "private" in words(part.row, "carry") else ""
    return PRIVATE[why].format(name=title(part.row)) if why else ""


def _all_earn(parts: Sequence[_Named]) -> bool | None:
    if any(part.row is not None and earns(part.row) == "no" for part in parts):
        return False
    known = all(part.name == OWN or (part.row is not None and earns(part.row) != "unread") for part in parts)
    return True if known and parts else None
