"""Requests asked more than once: how often the closed model agrees with itself, and where it doesn't.

"where is my card"  → card_arrival, card_arrival, lost_card     one text, three calls; its first two answers agree
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from freehold import wire
from freehold.agree import agree
from freehold.measure import share
from freehold.nouns import Call, Repeats

__all__ = ["count_conflicts", "find_repeats"]

PERSONAL = ("user", "metadata", "safety_identifier", "prompt_cache_key")


def find_repeats(calls: Sequence[Call]) -> Repeats:
    """Equal requests (model, messages and settings). Self-agreement compares the first two answers of each, so that
    the n texts are n independent pairs."""

    def request(call: Call) -> Any:
        return [call.model, call.messages, {k: v for k, v in call.params.items() if k not in PERSONAL}]

    groups = [answers for answers in _answers(calls, request) if len(answers) > 1]
    agreeing = sum(_alike(answers[0], answers[1]) for answers in groups)
    return Repeats(len(groups), sum(map(len, groups)), share(agreeing, len(groups)))


def count_conflicts(calls: Sequence[Call]) -> int:
    """How many texts (equal messages, whatever the settings) were answered in more than one way."""
    return sum(
        any(not _alike(answers[0], answer) for answer in answers[1:])
        for answers in _answers(calls, lambda call: call.messages)
    )


def _alike(one: str, other: str) -> bool:
    """The same text, or the same JSON: of that, only the values count."""
    return agree(one, other) or (one.lstrip().startswith(("{", "[")) and agree(one, other, "json"))


def _answers(calls: Sequence[Call], key: Any) -> Iterator[list[str]]:
    """The closed model's answers to requests with the same key, in the log's order."""
    groups: defaultdict[bytes, list[str]] = defaultdict(list)
    for call in calls:
        if call.answered_by == "upstream" and call.answer is not None:
            groups[hashlib.blake2b(wire.dumps(key(call)), digest_size=16).digest()].append(call.answer)
    yield from groups.values()
