"""Licences as rows (data/licences.json), and which one a licence file in a model's folder is.

    {"id": "llama-4", "family": "llama-3.1+", "licence": "Llama 4 Community License Agreement", "spdx": "...",
     "commercial": "yes",                      yes | limited | no | unread (blocked until somebody has read it)
     "open": "no",                             osi | openmdw | data | rail (use restrictions) | no | unread
     "mau": 700000000, "mau_then": "licence",  more users a month than this: a licence, an agreement or a display is due
     "mau_date": "2025-04-05",                 counted on this day
     "revenue_year": ..., "revenue_month": ... the same for revenue, USD; "revenue_year_when" says for whom
     "internal": "free",                       own use lifts the limits
     "eu": "multimodal", "multimodal": true,   no rights for companies in the EU; every model of the family is
     "display": "Built with Llama",            the words to show; "prefix" begins a distributed model's name
     "notice": "...", "policy": "...",         the text of the Notice file; the policy on use
     "carry": ["agreement", "notice"],         what a copy or a derivative carries; private: none is passed on
     "under": ["CC-BY-SA-4.0", ...],           what is made from it is passed on under one of these, with nothing added
     "not_under": [...], "not_under_why",      what it can't be made part of, though it binds nobody itself
     "hosted": true,                           hosting for others is distribution
     "out": "name",                            learning from output: free | name | inherit | block | research | unread
     "origin": "US", "data": "no",             whose weights; is the training data open: yes | part | no | unknown
     "models": "^llama...", "outcome", "text", "clause",     the rule on output as the gate reads it (terms.py)
     "clauses": {"eu": "..."},                 what the licence says, word for word, by what it is about
     "sha256", "fingerprint", "text_key"}      of the licence's text, where it was read

A field that a licence has nothing on is absent. `status` is unverified where the licence's own text was not read.
"""

from __future__ import annotations

import hashlib
import re

from freehold.facts.tables import Facts
from freehold.nouns import Fact

__all__ = ["fingerprint", "licence_of_text"]

ALIKE = str.maketrans({"“": '"', "”": '"', "’": "'", "‘": "'", "–": "-"})


def fingerprint(text: str) -> str:
    """sha256 of a licence's words: neither line breaks, case, quotation marks nor the copyright line count."""
    lines = [line for line in text.splitlines() if not line.strip().lower().startswith("copyright")]
    words = re.sub(r"\s+", " ", " ".join(lines).translate(ALIKE).replace("©", "(c)").lower()).strip()
    return hashlib.sha256(words.encode()).hexdigest()


def licence_of_text(text: str, facts: Facts) -> Fact | None:
    """The licence that this text is, word for word; None for one that is not on file, or that was changed."""
    found = fingerprint(text)
    return next((row for row in facts.rows("licences") if row.values.get("fingerprint") == found), None)
