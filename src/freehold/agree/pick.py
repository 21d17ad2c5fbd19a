"""Which rule compares the answers of a task, when the team has not said: from the kind and from the answers.

labels → exact    json → json    sql → sql    tools → tools, or tools-any-order    text → exact, text, or none; json
embeddings → none                                                                     where it is JSON in a code fence
"""

from __future__ import annotations

from collections.abc import Sequence

from freehold.agree import json_rule, tools_rule
from freehold.agree.texts import text_rule
from freehold.nouns import Kind

__all__ = ["RULES", "pick_rule"]

MOST = 0.9  # of the answers must be JSON in a fence
RULES = ("exact", "json", "sql", "tools", "tools-any-order", "text", "none")


def pick_rule(kind: Kind, answers: Sequence[str], texts: Sequence[str] = ()) -> tuple[str, str]:
    """The rule, and why as a sentence. `answers` as the task's students write them; `texts` what was asked, one an
    answer, where they are at hand."""
    if kind == "embeddings":
        return "none", "Embeddings: vectors of one model say nothing beside another model's."
    if kind == "labels":
        return "exact", "Labels: the same label."
    if kind == "json":
        return "json", f"JSON: equal as values{_unread(answers)}."
    if kind == "sql":
        return (
            "sql",
            "SQL: the same result on the task's database; without one, the same query but for how it is written.",
        )
    if kind == "tools":
        if tools_rule.order_varies(answers):
            return "tools-any-order", "Tool calls: equal names and arguments, in any order, as the log varies it."
        return "tools", "Tool calls: equal names and arguments, in the same order."
    if answers and sum(map(_fenced, answers)) >= MOST * len(answers):
        return "json", f"JSON in a code fence, which ours must have too: equal as values{_unread(answers)}."
    return text_rule(answers, texts)


def _fenced(answer: str) -> bool:
    """Is it a JSON object or list in a code fence?"""
    inner, fenced = json_rule.unfenced(answer)
    return fenced and inner.startswith(("{", "[")) and _reads(answer)


def _unread(answers: Sequence[str]) -> str:
    """How many answers are no JSON: they agree with nothing."""
    bad = sum(not _reads(answer) for answer in answers)
    return f"; {bad:,} of {len(answers):,} answers are no JSON, and count as disagreement" if bad else ""


def _reads(answer: str) -> bool:
    try:
        json_rule.leaves(json_rule.read(json_rule.unfenced(answer)[0]))
    except json_rule.NotJson:
        return False
    return True
