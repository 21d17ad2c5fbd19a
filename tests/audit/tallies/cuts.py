"""What the tests of tallies share: calls as they are seen, and every way to cut a log in two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from freehold.audit.tallies.eyes import names_of
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Call, Tokens

T = TypeVar("T")
F = TypeVar("F")


def seen(call: Call, line: int = 1, *, task: int = 0, text: str | None = None, cost: str | None = None) -> Seen:
    found = str(call.messages[-1].get("content")) if text is None else text
    usd = None if cost is None else Decimal(cost)
    return Seen(call, (0, line), task, found, call.tokens, False, usd, *names_of(call))


def call(text: str, answer: str | None = "x", at: float | None = None, **own: Any) -> Call:
    message = {"role": "assistant", "content": answer}
    row = {"response": {"choices": [{"message": message, "finish_reason": own.get("finish", "stop")}]}}
    given: dict[str, Any] = {"model": "gpt-4o-mini", "tokens": Tokens(10, 1), "row": row} | own
    return Call(({"role": "user", "content": text},), answer=answer, at=at, **given)


def sent(tally: T) -> T:
    """As it comes out of another process."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(tally), type=type(tally))


def counted(make: Callable[[], T], *parts: Sequence[Seen]) -> T:
    """Parts tallied apart, sent, and merged."""
    whole = make()
    for part in parts:
        tally = make()
        tally.add(part)  # type: ignore[attr-defined]
        whole.merge(sent(tally))  # type: ignore[attr-defined]
        whole = sent(whole)
    return whole


def check_cuts(make: Callable[[], T], calls: Sequence[Seen], said: Callable[[T], F], every: int = 1) -> F:
    """What one tally of all says, which tallies of the halves must say too, for every cut."""
    tally = make()
    tally.add(calls)  # type: ignore[attr-defined]
    whole = said(tally)
    for cut in range(0, len(calls) + 1, every):
        assert said(counted(make, calls[:cut], calls[cut:])) == whole, cut
    third = len(calls) // 3
    assert said(counted(make, calls[:third], calls[third : 2 * third], calls[2 * third :])) == whole
    return whole
