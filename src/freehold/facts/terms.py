"""What may be learnt from an answer: the vendor's terms, or the open model's licence. Not legal advice.

data/terms.json     rules T1 ... T12 with the clause, its source and the day it was read
                    the first that fits (vendor, kind of task, kind of student, use) holds
data/licences.json  T9: what the licences of open models say about learning from their output

ALLOW < ALLOW_WITH_NOTE < WARN_COUNSEL < BLOCK < QUARANTINE        where several hold, the strictest wins
"""

from __future__ import annotations

import re
from functools import lru_cache

from freehold.errors import BadSetting
from freehold.facts.catalogue import Row, load
from freehold.facts.models import ROUTERS, plain_name, vendor_of
from freehold.nouns import Kind, TermsNotice

__all__ = ["STUDENTS", "answer_terms", "licence_of", "rule_text", "strictness", "terms"]

USES = ("internal", "sold")
STUDENTS = ("label", "extract", "decoder")
OUTCOMES = ("ALLOW", "ALLOW_WITH_NOTE", "WARN_COUNSEL", "BLOCK", "QUARANTINE")
CHEAPEST: dict[str, str] = {"labels": "label", "json": "extract"}  # the student that a kind of task is tried with first
PUBLISHERS = ("openai", "google", "mistralai", "deepseek", "deepseek-ai", "meta-llama", "qwen")
"""Names before an open model's that say who published it, not who served it."""


def terms(vendor: str | None, kind: Kind, use: str = "internal", student: str | None = None) -> TermsNotice:
    """The notice for a student of one kind of task, trained on one vendor's answers; the first rule that fits.

    `student` is label, extract or decoder; without it, the one that such a task is tried with first. A vendor whose
    terms are not on file gets T10, QUARANTINE. Raises BadSetting for an unknown use.
    """
    if use not in USES:
        raise BadSetting(f"use is {use!r}.", f"Known: {', '.join(USES)}.")
    student = student or CHEAPEST.get(kind, "decoder")
    assert student in STUDENTS, student
    vendor = (vendor or "").strip().lower() or "unknown"
    for row in load("terms.json"):
        named = vendor in row["vendors"] or "*" in row["vendors"]
        if named and kind in row["kinds"] and student in row["students"] and use in row["uses"]:
            return _notice(vendor, row)
    raise AssertionError(f"no rule for {kind!r}")


def answer_terms(model: str, said: str, kind: Kind, use: str, student: str | None = None) -> TermsNotice:
    """The notice for one logged answer: by the model that gave it, else by the vendor that the team says (`said`).
    Without `student`, that for the one which such a task is tried with first.

    Where a host stands before a model's name (vertex_ai/claude-..., our-proxy/gpt-4o), the terms of both hold. An open
    model's answers follow its licence (T9), and the terms of the service that it was called through where those are on
    file by name. The strictest wins. Raises BadSetting for an unknown use.
    """
    licence = licence_of(model)
    if licence is None:
        maker = vendor_of(plain_name(model))
        served = terms(vendor_of(model) or said, kind, use, student)
        return max([served, *([terms(maker, kind, use, student)] if maker else [])], key=strictness)
    found = [_notice(str(licence["family"]), {**licence, "rule": "T9"})]
    hosts = [host for host in model.strip().lower().split("/")[:-1] if host not in ROUTERS]
    service = vendor_of(model) if hosts and hosts[0] not in PUBLISHERS else None
    if service is not None:
        found.append(terms(service, kind, use, student))
    return max(found, key=strictness)


def strictness(notice: TermsNotice) -> int:
    """0 for ALLOW up to 4 for QUARANTINE."""
    return OUTCOMES.index(notice.outcome)


@lru_cache(4096)
def licence_of(model: str) -> Row | None:
    """The row of data/licences.json for an open model; None for a closed one, or one that is not on file."""
    name = plain_name(model)
    known = (row for row in load("licences.json") if "models" in row)
    return next((row for row in known if re.match(row["models"], name)), None)


def rule_text(rule: str) -> Row:
    """A rule of terms.json by its name, such as T12."""
    return next(row for row in load("terms.json") if row["rule"] == rule)


def _notice(vendor: str, row: Row | dict[str, str]) -> TermsNotice:
    facts = (row["rule"], row["outcome"], row["text"], row["clause"], row["source"], row["as_of"])
    return TermsNotice(vendor, *facts)
