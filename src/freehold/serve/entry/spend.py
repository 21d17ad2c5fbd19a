"""What a call may cost, put aside before it goes up, and what it did cost, once it is back.

    most    prompt   1 token for each 3 bytes of the request's body; an image or a recording counts IMAGE instead
            answer   max_completion_tokens or max_tokens (the larger), else ANSWER; each of n; of completions each
                     prompt of a list, and best_of where that is more; embeddings none
    spent   the usage that the upstream reports, else all that was put aside

The most is no bound for a text made to have many tokens: such a call may cost three times its prompt's share, and is
counted in full when it is back. Prices are those of the audit (freehold.toml's own first). A key with a budget may not
ask for a model without a price, since nobody could say when it is used up. Answers at home cost no budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from freehold.facts import PriceBook
from freehold.facts.rates import MOST
from freehold.keys import Key, Keys
from freehold.keys.spent import Account, Reservation, Spent
from freehold.nouns import Tokens
from freehold.serve.entry.policy import Denied

__all__ = ["ANSWER", "IMAGE", "Most", "Prices", "Spend", "most"]

ANSWER = 4096  # tokens of an answer whose request gives no maximum
IMAGE = 3000  # tokens of a picture, a recording, a file
BYTES = 3  # of the body for each token of the prompt
CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
HEAVY = frozenset({"image_url", "input_audio", "file"})
NOTHING = Reservation(None, (), 0)


@dataclass(frozen=True, slots=True)
class Most:
    """The most tokens that a call is taken to read and write."""

    prompt: int
    answer: int

    @property
    def tokens(self) -> int:
        return self.prompt + self.answer


def most(body: dict[str, Any], size: int, route: str = CHAT) -> Most:
    """Of a request as parsed, whose body had `size` bytes. Only the route says what a field means: any may stand in any
    request."""
    parts: list[dict[str, Any]] = []
    for message in (body.get("messages") or ()) if route == CHAT else ():
        if isinstance(content := message.get("content"), list):
            parts += [part for part in content if isinstance(part, dict) and str(part.get("type")) in HEAVY]
    if parts:
        size -= sum(_longest(part.get(str(part["type"]))) for part in parts)
    answer = max(_count(body.get("max_completion_tokens"), 0), _count(body.get("max_tokens"), 0)) or ANSWER
    times = _count(body.get("n"), 1)
    if route == COMPLETIONS:
        prompts = body.get("prompt")
        several = 1
        if isinstance(prompts, list) and not any(isinstance(one, int) for one in prompts):  # else one, as tokens
            several = len(prompts)
        times = max(times, _count(body.get("best_of"), 1)) * max(several, 1)
    elif route == EMBEDDINGS:
        times = 0
    prompt = max(0, size) // BYTES + 1 + IMAGE * len(parts)
    return Most(min(prompt, MOST), min(answer * times, MOST))


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else otherwise


def _longest(held: Any) -> int:
    """Bytes of the text that holds a picture's or a recording's own data."""
    texts = held.values() if isinstance(held, dict) else (held,)
    return max((len(text) for text in texts if isinstance(text, str)), default=0)


class Prices:
    """What a model costs now, in USD."""

    def __init__(self, book: PriceBook, clock: Callable[[], float] = time.time) -> None:
        self._book, self._clock = book, clock

    def warm(self, models: Sequence[str]) -> None:
        """Read the price lists (0.3 s and more) before the first call needs them."""
        for model in models or ("gpt-4o-mini",):
            self.of(model, Tokens())

    def of(self, model: str, tokens: Tokens) -> float | None:
        cost = self._book.price(model, tokens, self._clock())
        return None if cost is None else float(cost)

    def most(self, models: Sequence[str], most: Most) -> float | None:
        """Of the dearest of the models that may be asked and have a price; None where none of them has one."""
        tokens = Tokens(prompt=most.prompt, completion=most.answer)
        costs = [cost for model in models if (cost := self.of(model, tokens)) is not None]
        return max(costs, default=None if models else 0.0)


class Spend:
    """Budgets of client keys: `reserve` before each dispatch, then `settle` or `cancel` what it returns."""

    def __init__(self, spent: Spent | Callable[[], Spent], prices: Prices, keys: Keys) -> None:
        """A function makes `spent` when it is first needed: a server without keys and budgets counts nothing."""
        self._spent, self.prices, self._keys = spent, prices, keys
        self.refused = 0
        self._hosts: set[str] = set()  # those that have a budget
        self._warm = False

    def warm(self, models: Sequence[str]) -> None:
        """Read the price lists of `models`, off the event loop and once, where anybody's budget needs them."""
        if not self._warm and (self._keys.required or self._hosts):
            self.prices.warm(models)
            self._warm = True

    @property
    def spent(self) -> Spent:
        """Raises StorageFailed, ArtifactDamaged."""
        if not isinstance(self._spent, Spent):
            self._spent = self._spent()
        return self._spent

    def sync(self) -> None:
        """Bring what was counted to the disk."""
        if isinstance(self._spent, Spent):
            self._spent.sync()

    def close(self) -> None:
        if isinstance(self._spent, Spent):
            self._spent.close()

    def reserve(self, key: Key | None, models: Sequence[str], most: Most) -> Reservation:
        """Put the price of a call aside, before it may be asked of any of these upstream `models`. Raises Denied: 429
        where the key's budget, or that of one which it was minted with, has not so much left."""
        if key is None:
            return NOTHING
        payers = self._keys.payers(key)
        bounded = any(one.budget_day is not None or one.budget_month is not None for one in payers)
        usd = self.prices.most(models, most)
        if usd is None and bounded:
            named = ", ".join(dict.fromkeys(name[:80] or "(none)" for name in models))
            table = f'[prices."{models[0][:80]}"]'
            message = f"This key has a budget, and no price is known of {named}. Put {table} into freehold.toml."
            raise Denied(403, "unpriced_model", message)
        accounts = [Account(one.name, one.budget_day, one.budget_month) for one in payers]
        held = self.spent.reserve(accounts, usd or 0.0)
        if held is None:
            self.refused += 1
            message = f"The budget of this key has less than ${usd or 0.0:.6f} left, the most that this call may cost"
            message += f" with {most.answer:,} tokens of answer. Set max_tokens to less." if most.answer else "."
            after = str(self._until_tomorrow())
            raise Denied(429, "budget_exceeded", message, Retry_After=after, X_Should_Retry="false")
        return held

    def counts(self, held: Reservation, host: str) -> bool:
        """Whether anybody's budget is touched by what such a call cost at that host."""
        return held is not NOTHING or host in self._hosts

    def settle(self, held: Reservation, model: str, tokens: Tokens | None) -> float | None:
        """Count what the answer cost, by the usage that came with it (None: all that was put aside); USD, or None."""
        usd = None if tokens is None else self.prices.of(model, tokens)
        held.settle(usd)
        return usd

    def left(self, host: str, budget_day: float) -> Callable[[], float]:
        """What tells how many USD of a host's day are left; from here on `bill` counts for it."""
        self._hosts.add(host)
        return lambda: budget_day - self.spent.read(f"host:{host}")[0]

    def bill(self, host: str, model: str, tokens: Tokens) -> None:
        """Count an answer against the host that gave it, where that has a budget."""
        if host in self._hosts and (usd := self.prices.of(model, tokens)):
            self.spent.charge([f"host:{host}"], usd)

    def _until_tomorrow(self) -> int:
        """Seconds until a day begins (UTC), by the clock of the keys."""
        return 86_400 - int(self._keys.clock.now()) % 86_400
