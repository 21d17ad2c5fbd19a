"""docs/claims.md from a run of every claim: a table of all, then each one's figures beside what was expected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from claims.check import Found, within

from freehold.nouns import Fact, Measure

__all__ = ["page"]

Claim = Mapping[str, Any]
THEIRS = re.compile(
    r"(?:[A-Z0-9][\w.]* )*(?:[A-Z]\w*)?[Ll]icense(?!d)[\w-]*(?: (?:Agreement|[0-9.]+\b|[a-z]+(?:-[a-z0-9.]+)+))*"
)
HEAD = """# The claims

46 public claims about open models beside closed APIs, and what arithmetic says of each. Made by `scripts/claims` from
`tests/plan/claims/claims.json` through freehold's own functions and facts; a test fails where this page is stale, or
where a figure leaves what was worked out by hand beforehand (*expected*).
"""
STATUS = {
    "computed": "recomputed here", "seen": "from its sources; nothing to compute",
    "unverified": "unverified: no source was read that settles it",
}  # fmt: skip


def page(run: Sequence[tuple[Claim, Found]]) -> str:
    return "\n".join((HEAD, *_summary(run), "", *(line for one in run for line in _details(*one)), *_foot(run)))


def _summary(run: Sequence[tuple[Claim, Found]]) -> list[str]:
    counts = Counter(claim["status"] for claim, _ in run)
    told = ", ".join(f"{counts[name]} {what.split(':')[0].split(';')[0]}" for name, what in STATUS.items())
    rows = [
        f"{len(run)} claims: {told}.",
        "",
        "| | claim | verdict | value | interval | sources |",
        "|---|---|---|---|---|---|",
    ]
    for claim, found in run:
        first = next(iter(found.figures.items()), None)
        value = f"{first[0]}: {shown(first[1])}" if first else "" if claim["status"] == "computed" else claim["status"]
        sources = names("; ".join(claim["sources"])) or "none on file"
        rows.append(
            f"| [{claim['id']}](#{claim['id'].lower()}) | {_cell(quoted(claim))} | {found.verdict} | {_cell(value)} | "
            f"{(interval(first[1]) or 'exact') if first else ''} | {_cell(sources)} |"
        )
    return rows


def _details(claim: Claim, found: Found) -> list[str]:
    lines = [f"## {claim['id']}", "", f"> {quoted(claim)}", "", f"**{found.verdict}.** {names(found.says)}", ""]
    if found.figures:
        lines += ["| figure | value | interval | expected |", "|---|---|---|---|"]
        lines += [_row(claim, name, figure) for name, figure in found.figures.items()] + [""]
    lines += [f"Where it differs, {name}: {why}\n" for name, why in claim.get("differs", {}).items()]
    sources = names("; ".join(claim["sources"])) or "none on file"
    lines.append(f"{STATUS[claim['status']].capitalize()}, as of {claim['as_of']}. Sources: {sources}.")
    if claim.get("unverified"):
        lines.append(f"Unverified: {claim['unverified']}.")
    if found.uses:
        lines.append(f"Facts: {', '.join(_fact(fact) for fact in found.uses)}.")
    return [*lines, ""]


def _fact(fact: Fact) -> str:
    return f"`{fact.ref}` of {fact.as_of}" + (" (unverified)" if fact.status == "unverified" else "")


def _row(claim: Claim, name: str, figure: Measure) -> str:
    expected = claim.get("expected", {}).get(name)
    said = "" if expected is None else _expected(expected, figure.unit)
    if expected is not None and not within(figure.value, expected):
        said += " (differs)"
    return f"| {_cell(name)} | {shown(figure)} | {interval(figure)} | {said} |"


def _expected(expected: Sequence[float | None], unit: str) -> str:
    low, high = expected
    if low is None or high is None:
        return "never"
    scale = 100 if unit == "share" else 1
    ends = [f"{scale * end:.4g}" if abs(end) < 1000 else number(end) for end in (low, high)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _foot(run: Sequence[tuple[Claim, Found]]) -> list[str]:
    off = [claim["id"] for claim, _ in run if claim.get("differs")]
    return [f"Where freehold and what was worked out beforehand differ, and who is right: {', '.join(off)}.", ""]


def quoted(claim: Claim) -> str:
    """Verbatim; as code where the spelling is theirs."""
    quote = str(claim["quote"])
    return f"`{quote}`" if "license" in quote else quote


def names(text: str) -> str:
    """Other people's names for their licences, and files of theirs, as code."""
    return THEIRS.sub(lambda name: f"`{name[0]}`", text)


def shown(figure: Measure) -> str:
    """A figure with its unit."""
    if figure.value is None:
        return "never" if figure.method.startswith("never") else "not known"
    if figure.unit == "share":
        return f"{100 * figure.value:.3g} %"
    if figure.unit.startswith("USD"):
        return f"${number(figure.value, money=True)}{figure.unit.removeprefix('USD').replace('/', ' / ')}"
    return f"{number(figure.value)} {figure.unit}".strip()


def interval(figure: Measure) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return ""
    scale, money = (100 if figure.unit == "share" else 1), figure.unit.startswith("USD")
    return " to ".join(number(scale * end, money=money) for end in (figure.low, figure.high))


def number(value: float, *, money: bool = False) -> str:
    """Three digits or so, as people read them."""
    size = abs(value)
    for least, name in ((1e15, ""), (1e9, " billion"), (1e6, " million")):
        if size >= least:
            return f"{value / least:.4g}{name}" if name else f"{value:.3g}"
    if size >= 1000:
        return f"{value:,.0f}"
    if money and 1 <= size < 100:
        return f"{value:.2f}"
    return f"{value:.4g}" if size >= 100 else f"{value:.3g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
