"""Which logged answers may teach: what the vendor's terms say of each, and whether it holds private data.

    call ─model, else vendor = in freehold.toml→ rule T1 ... T10
        ALLOW, ALLOW_WITH_NOTE   teaches
        WARN_COUNSEL             teaches; the clause and its date are told
        BLOCK, QUARANTINE        teaches only with a written consent: --permission FILE
    of those ─private data (T12)→ left out | redacted | kept

The rules, their clauses and dates are facts (facts/data/terms.json, licences.json); this is not legal advice. For a
label student the rules are counted and told, and shut nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from freehold import wire
from freehold.errors import BadSetting, TermsBlocked
from freehold.facts import answer_terms, rule_text, strictness
from freehold.nouns import Call, Task, TermsNotice
from freehold.project import Settings
from freehold.traffic.private import find, redact_together

__all__ = ["PRIVATE", "Gate", "gate"]

PRIVATE = ("leave-out", "redact", "keep")
PASSING = 2  # strictness of WARN_COUNSEL: what is stricter is shut
LARGEST = 1 << 20  # bytes of a file with a consent
NAMED = {  # how a letter may name whose answers it is about, where that is not the name itself
    "azure-openai": "azure|microsoft",
    "aws-bedrock": "bedrock|amazon|aws",
    "google": "google|alphabet",
    "xai": r"xai|x\.ai",
    "llama-2": "llama|meta",
    "llama-3": "llama|meta",
    "qwen-1": "qwen|alibaba",
    "mistral-mrl": "mistral",
}
SAFE = (
    "Without it: let a model under MIT or Apache-2.0 answer the logged prompts anew and log that, take answers that "
    "people wrote, or keep to label tasks."
)


@dataclass(frozen=True, slots=True)
class Gate:
    """What passed. `rows` are the indices of the calls that may teach, ascending. `notices` hold each rule with the
    number of rows it was applied to, the strictest first. `blocked` says in a sentence which rows the terms keep out
    ("": none). Where `redacts`, the rows are to be read through `row`."""

    rows: tuple[int, ...]
    notices: tuple[TermsNotice, ...]
    blocked: str = ""
    redacts: bool = False

    def row(self, text: str, answer: str) -> tuple[str, str]:
        """A row as a student may see it."""
        if not self.redacts:
            return text, answer
        text, answer = redact_together([text, answer])
        return text, answer


@dataclass(frozen=True, slots=True)
class Consent:
    """A letter that somebody keeps: it counts for the vendors that it names."""

    text: str
    said: str

    def covers(self, vendor: str) -> bool:
        name = NAMED.get(vendor, re.escape(vendor).replace(r"\-", "[ -]"))
        return vendor != "unknown" and bool(re.search(rf"(?<!\w)(?:{name})(?!\w)", self.text, re.IGNORECASE))


def gate(
    task: Task,
    calls: Sequence[Call],
    settings: Settings,
    *,
    student: str,
    permission: Path | None = None,
    private: str | None = None,
) -> Gate:
    """Which of these calls may teach a student of this sort (label, extract, decoder).

    `permission` is a text file with a vendor's written consent. `private` is leave-out, redact or keep; without it,
    leave-out, and keep for a label student. Raises TermsBlocked where no row is left; BadSetting for a file that is
    no consent, and for an unknown `private` or use.
    """
    private = private or ("keep" if student == "label" else "leave-out")
    if private not in PRIVATE:
        raise BadSetting(f"private is {private!r}.", f"Known: {', '.join(PRIVATE)}.")
    consent = None if permission is None else _consent(permission)
    notices = _notices(task, calls, settings, student)
    shut = {n for n in set(notices) if student != "label" and strictness(n) > PASSING and not _covered(n, consent)}
    rows = [i for i, notice in enumerate(notices) if notice not in shut]
    counts = Counter(notices)
    if calls and not rows:
        raise _blocked(task, counts, consent)
    told = [replace(_permitted(n, consent), rows=counts[n]) for n in _in_order(counts)]
    about: list[TermsNotice] = []
    if student != "label" or private != "keep":
        rows, about = _without_private(task, calls, rows, private)
    blocked = " ".join(f"{counts[n]:,} of {len(calls):,} answers are left out: {_why(n)}" for n in _in_order(shut))
    return Gate(tuple(rows), (*told, *about), blocked, private == "redact")


def _in_order(notices: Iterable[TermsNotice]) -> list[TermsNotice]:
    """The strictest first."""
    return sorted(notices, key=lambda n: (-strictness(n), n.rule, n.vendor))


def _notices(task: Task, calls: Sequence[Call], settings: Settings, student: str) -> list[TermsNotice]:
    """The notice for each call; equal models share one."""

    @cache
    def of(model: str) -> TermsNotice:
        return answer_terms(model, settings.vendor, task.kind, settings.use, student)

    return [of(call.model) for call in calls]


def _covered(notice: TermsNotice, consent: Consent | None) -> bool:
    return consent is not None and consent.covers(notice.vendor)


def _permitted(notice: TermsNotice, consent: Consent | None) -> TermsNotice:
    """A notice that would shut, but for the consent."""
    if consent is None or strictness(notice) <= PASSING or not consent.covers(notice.vendor):
        return notice
    return replace(notice, outcome="PERMITTED", text=f"{notice.text} Written consent is on file: {consent.said}.")


def _why(notice: TermsNotice) -> str:
    clause = f' "{notice.clause}"' if notice.clause else ""
    what = f"{notice.vendor}, rule {notice.rule} ({notice.outcome}), as of {notice.as_of}"
    return f"{what}: {notice.text}{clause} ({notice.source})."


def _blocked(task: Task, counts: Counter[TermsNotice], consent: Consent | None) -> TermsBlocked:
    """Nothing is left: the rule that shuts most rows is named."""
    notice, count = counts.most_common(1)[0]
    what = f"No answer of {task.name} may teach a student. {count:,} of {counts.total():,}: {_why(notice)}"
    if notice.vendor == "unknown":
        return TermsBlocked(what, 'Say whose answers these are in freehold.toml: vendor = "openai", "anthropic", ...')
    inside = 'If it stays in the company, say use = "internal". ' if notice.rule == "T3" else ""
    unnamed = f"The file given does not name {notice.vendor}. " if consent is not None else ""
    return TermsBlocked(what, f"{inside}{unnamed}With {notice.vendor}'s consent in writing: --permission FILE. {SAFE}")


def _consent(path: Path) -> Consent:
    """The letter in a text file. Raises BadSetting."""
    try:
        with path.open("rb") as handle:
            data = handle.read(LARGEST + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise BadSetting(
            f"--permission: can't read {path}: {error.strerror}.", "Give the file with the consent."
        ) from None
    except UnicodeDecodeError:
        raise BadSetting(
            f"--permission: {path} is no text file.", "Write down in a text file who consents to what, since when."
        ) from None
    if not text.strip() or len(data) > LARGEST or "\0" in text:
        raise BadSetting(
            f"--permission: {path} is {'empty' if not text.strip() else 'no letter'}.",
            "It must name the vendor and what it consents to.",
        )
    first = " ".join(next(line for line in text.splitlines() if line.strip()).split())[:120]
    dated = re.search(r"(?<!\d)20\d\d-[01]\d-[0-3]\d(?!\d)", text)
    date = f"dated {dated[0]}" if dated else "without a date in it"  # the file's own changes with each copy
    digest = hashlib.sha256(data).hexdigest()
    return Consent(text, f'"{first}" ({path.name}, {date}, sha256 {digest})')


def _without_private(
    task: Task, calls: Sequence[Call], rows: Sequence[int], private: str
) -> tuple[list[int], list[TermsNotice]]:
    """The rows that stay, and T12 with its count where any row holds private data."""
    kinds: Counter[str] = Counter()
    holding: set[int] = set()
    for i in rows:
        texts = (task.text(calls[i]) or "", wire.answer(calls[i], task.kind) or "")
        found = {piece.kind for text in texts for piece in find(text)}
        kinds.update(found)
        if found:
            holding.add(i)
    left = list(rows) if private != "leave-out" else [i for i in rows if i not in holding]
    if rows and not left:
        raise TermsBlocked(
            f"All {len(rows):,} rows of {task.name} that may teach hold private data.", "Redact it: --private redact"
        )
    return left, [_private_notice(kinds, len(holding), private)] if holding else []


def _private_notice(kinds: Counter[str], rows: int, private: str) -> TermsNotice:
    outcome, done = {
        "leave-out": ("EXCLUDE", "left out"),
        "redact": ("REDACT", "redacted"),
        "keep": ("KEEP", "kept, as was asked"),
    }[private]
    rule = rule_text("T12")
    text = f"{rule['text']} Found by rules, which see no names, and {done}: " + ", ".join(
        f"{kind} in {n:,} rows" for kind, n in kinds.most_common()
    )
    return TermsNotice("GDPR", "T12", outcome, f"{text}.", rule["clause"], rule["source"], rule["as_of"], rows)
