"""Before the first step: the ids that training sees are the ids that the server will read.

50 real prompts ─Tokens.prompt (training)→ [1, 9690, 198, ...]
                └Engine.ids (the server)─→ [1, 9690, 198, ...]      one difference stops the run, and is shown
and the end token that answers are trained to close with is the one that the server stops at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from freehold.errors import BaseUnusable
from freehold.nouns import Message
from freehold.tune.decoder.tokens import Tokens

__all__ = ["PROMPTS", "check_ids", "prompts"]

PROMPTS = 50
SHOWN = 6  # ids before a difference


class Server(Protocol):
    def ids(self, messages: Sequence[Message], /) -> list[int]: ...
    def end(self) -> int: ...


def prompts(texts: Sequence[str]) -> list[str]:
    """PROMPTS of the texts: half evenly from the shortest to the longest, half those with the rarest characters."""
    if len(texts) <= PROMPTS:
        return list(texts)
    count: dict[str, int] = {}
    for text in texts:
        for letter in set(text):
            count[letter] = count.get(letter, 0) + 1
    rare = sorted(range(len(texts)), key=lambda i: (min((count[c] for c in texts[i]), default=len(texts)), i))
    chosen = dict.fromkeys(rare[: PROMPTS // 2])
    others = sorted((i for i in range(len(texts)) if i not in chosen), key=lambda i: (len(texts[i]), i))
    left = PROMPTS - len(chosen)
    chosen |= dict.fromkeys(others[round(j * (len(others) - 1) / (left - 1))] for j in range(left))
    return [texts[i] for i in chosen]


def check_ids(
    tokens: Tokens, server: Server, messages: Callable[[str], Sequence[Message]], texts: Sequence[str]
) -> int:
    """How many prompts were compared. Raises BaseUnusable, with the first place where they part."""
    chosen = prompts(texts)
    for number, text in enumerate(chosen, 1):
        ours, theirs = tokens.prompt(list(messages(text))), server.ids(messages(text))
        if ours != theirs:
            raise BaseUnusable(
                f"The server reads prompt {number} of {len(chosen)} in other ids: {_parting(tokens, ours, theirs)}.",
                "A model tuned so would be asked in words that it never saw; take a base whose tokenizer converts.",
            )
    if server.end() != tokens.end:
        raise BaseUnusable(
            f"Training closes answers with id {tokens.end} ({tokens.words([tokens.end])!r}), and the server stops at "
            f"{server.end()} ({tokens.words([server.end()])!r}).",
            "Take a base whose chat template and tokenizer name the same end token.",
        )
    return len(chosen)


def _parting(tokens: Tokens, ours: Sequence[int], theirs: Sequence[int]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    said = [f"{ids[at]} ({tokens.words([ids[at]])!r})" if at < len(ids) else "nothing" for ids in (ours, theirs)]
    return (
        f"at position {at}, after {tokens.words(ours[max(0, at - SHOWN) : at])!r}, {said[0]} here and {said[1]} there"
    )
