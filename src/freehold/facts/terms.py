"""What a vendor's terms say about training on its answers (data/terms.json quotes the clauses). Not legal advice."""

from __future__ import annotations

from freehold.errors import BadSetting
from freehold.facts.catalogue import load
from freehold.nouns import Kind, TermsNotice

__all__ = ["terms"]

USES = ("internal", "sold")


def terms(vendor: str | None, kind: Kind, use: str = "internal") -> TermsNotice:
    """The notice for a student of one kind of task, trained on one vendor's answers; the first rule that fits.

    A vendor whose terms are not on file gets T10, QUARANTINE. Raises BadSetting for an unknown use.
    """
    if use not in USES:
        raise BadSetting(f"use is {use!r}.", f"Known: {', '.join(USES)}.")
    vendor = (vendor or "").strip().lower() or "unknown"
    for row in load("terms.json"):
        if (vendor in row["vendors"] or "*" in row["vendors"]) and kind in row["kinds"] and use in row["uses"]:
            facts = (row["rule"], row["outcome"], row["text"], row["clause"], row["source"], row["as_of"])
            return TermsNotice(vendor, *facts)
    raise AssertionError(f"no rule for {kind!r}")
