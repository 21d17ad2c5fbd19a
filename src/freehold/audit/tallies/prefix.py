"""How much of the prompts an endless prefix cache would have held.

    "system\\nYou route messages..." ─256 characters→ b1 ─→ b2 ─→ b3, each block's number hanging on all before it
    blocks that were seen before = all blocks - different ones: no order, no place counts, so parts add up

A block counts as held only where everything before it is equal too. Prompts of different models or tools share nothing.
Traces that carry prefix numbers of their own (hash_ids) are taken at their word.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from freehold import wire
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Call, Measure

__all__ = ["PrefixTally"]

BLOCK = 256  # characters: about 64 tokens
TOKEN = 4  # characters
REMEMBERED = 1 << 14  # requests whose blocks are remembered
LONGEST = 32  # blocks of a request that is remembered
MOST = 1 << 18  # different blocks that are remembered
FULL = 1 << 62
FIRST, STEP = 1024 // 64, 128 // 64
"""OpenAI caches prefixes of 1,024 tokens and more in steps of 128, here in blocks (openai-cookbook, "Prompt Caching
201", section 1.1, of models before GPT-5.6)."""
PLAIN, STEPS, ENTERS = 0, 1, 2
"""What a block adds to such a prefix: nothing, 128 tokens, or the first 1,024."""
WORTH = (0, 128, 1024)


class PrefixTally(msgspec.Struct):
    """`held` are the numbers of different blocks (their last two bits say what they are worth) below `limit`: all of
    them, or of very many a fair sample."""

    limit: int = FULL
    held: set[int] = set()
    blocks: int = 0
    tokens: int = 0
    steps: int = 0
    calls: int = 0
    own: int = 0
    prompt: int = 0
    cached: int = 0

    def add(self, seen: Sequence[Seen], /) -> None:
        held, full = self.held, self.limit == FULL
        for one in seen:
            if one.call.why == "pair":
                continue
            tokens = one.tokens
            if tokens is not None and not one.estimated:
                self.prompt += tokens.prompt
                self.cached += min(tokens.cached, tokens.prompt)
            found, length = _known.get(one.key) or _blocks(one)
            if length is None:
                self.own += 1
            else:
                self.tokens += length // TOKEN
            if found:
                self.calls += 1
                self.blocks += len(found)
                if len(found) >= FIRST:
                    self.steps += sum(WORTH[one & 3] for one in found)
                held.update(found if full else [one for one in found if one < self.limit])
        self._bound()

    def merge(self, later: PrefixTally, /) -> None:
        self.limit = min(self.limit, later.limit)
        self.held = {one for both in (self.held, later.held) for one in both if one < self.limit}
        for name in ("blocks", "tokens", "steps", "calls", "own", "prompt", "cached"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self._bound()

    def _bound(self) -> None:
        while len(self.held) > MOST:
            self.limit >>= 1
            self.held = {one for one in self.held if one < self.limit}

    def share(self) -> Measure:
        """The share of blocks that were there before, with what OpenAI's rule would have held and what the log says
        was cached told in the method."""
        if not self.blocks:
            return Measure(None, n=0, method="no prompt was logged")
        what = f"blocks of {self.blocks:,} in {self.calls:,} prompts that came before with all that stood before them"
        how = f"{BLOCK} characters (about {BLOCK // TOKEN} tokens) a block, a shorter last one too"
        if self.own:
            how = "blocks as the log numbers them" + (f", else {how}" if self.own < self.calls else "")
        said = [what, how, self._sampled(), *self._beside()]
        value, low, high = (1.0 - different / self.blocks for different in self._different(PLAIN, STEPS, ENTERS))
        exact = self.limit == FULL
        return Measure(
            max(0.0, value), None if exact else max(0.0, high), None if exact else min(1.0, max(0.0, low)), self.blocks,
            "share", "; ".join(said),
        )  # fmt: skip

    def _sampled(self) -> str:
        if self.limit == FULL:
            return "counted"
        return f"different blocks told from {len(self.held):,} of them, chosen by their number; 95 % (normal)"

    def _different(self, *kinds: int) -> tuple[float, float, float]:
        """How many different blocks of these kinds there are, with its limits: each is remembered with the same
        chance, so their number is binomial."""
        kept = sum(1 for one in self.held if one & 3 in kinds)
        chance = self.limit / FULL
        error = 1.96 * (kept * (1.0 - chance)) ** 0.5
        return kept / chance, max(0.0, kept - error) / chance, (kept + error) / chance

    def cacheable(self) -> Measure:
        """The share of prompt tokens that OpenAI's rule would have held, were nothing ever dropped."""
        if not self.tokens:
            return Measure(None, n=0, method="no prompt was logged")
        different = sum(WORTH[kind] * self._different(kind)[0] for kind in (STEPS, ENTERS))
        share = max(0.0, self.steps - different) / self.tokens
        how = f"prefixes of 1,024 tokens and more in steps of 128, {TOKEN} characters a token, nothing ever dropped"
        return Measure(min(1.0, share), n=self.calls, method=how)

    def logged(self) -> Measure:
        """The share of prompt tokens that were billed as cached."""
        known = Measure(None, n=0, method="no token counts were logged")
        return Measure(self.cached / self.prompt, n=self.prompt, method="as logged") if self.prompt else known

    def _beside(self) -> Iterator[str]:
        could, did = self.cacheable(), self.logged()
        if could.value is not None:
            yield f"OpenAI's rule (from 1,024 tokens on) could have held {could.value:.1%} of prompt tokens"
        if did.value is not None and self.own < self.calls:
            yield f"{did.value:.1%} were logged as cached"


Blocks = tuple[tuple[int, ...], int | None]
"""Their numbers, and the characters of the prompt; None where the log numbers its blocks itself."""
_known: dict[int, Blocks] = {}
"""By the name of the whole request, as many requests come again."""


def _blocks(one: Seen) -> Blocks:
    found = _read(one.call)
    if one.key and len(found[0]) <= LONGEST:  # a key of 0 names nothing
        if len(_known) >= REMEMBERED:
            _known.clear()
        _known[one.key] = found
    return found


def _read(call: Call) -> Blocks:
    ids = call.params.get("hash_ids")
    if isinstance(ids, list):
        return tuple(_hashed(repr(one).encode("utf-8", "surrogatepass")) for one in ids), None
    prompt = _rendered(call)
    return _chain(prompt, call.model), len(prompt)


def _hashed(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") >> 2 & ~3


def _chain(prompt: str, model: str) -> tuple[int, ...]:
    """A number below 2^62 for each block, by all text up to its end; the last two bits say its worth."""
    wide = not prompt.isascii()
    data = prompt.encode("utf-32-le", "surrogatepass") if wide else prompt.encode("ascii")
    size = BLOCK * 4 if wide else BLOCK
    state = _begun(model).copy()
    digests = []
    for start in range(0, len(data), size):
        state.update(data[start : start + size])
        digests.append(state.digest())
    numbers = [one >> 2 & ~3 for one in struct.unpack(f"<{len(digests)}Q", b"".join(digests))]
    for place in range(FIRST, len(data) // size + 1):
        numbers[place - 1] |= _worth(place)
    return tuple(numbers)


@lru_cache(64)
def _begun(model: str) -> hashlib.blake2b:
    return hashlib.blake2b(model.encode("utf-8", "surrogatepass") + b"\0", digest_size=8)


def _worth(place: int) -> int:
    """Of the whole block that ends the first `place` ones."""
    if place <= FIRST:
        return ENTERS if place == FIRST else PLAIN
    return STEPS if (place - FIRST) % STEP == 0 else PLAIN


def _rendered(call: Call) -> str:
    """The prompt as one text: the tools first, as they stand first in what is cached, then message after message."""
    parts = [wire.dumps(call.params["tools"]).decode()] if call.params.get("tools") else []
    for message in call.messages:
        content = message.get("content")
        if isinstance(content, str) and len(message) == 2:
            parts += [f"{message.get('role')}", content]
        elif content is not None or len(message) > 2:
            parts += [f"{message.get('role')}", wire.dumps(message).decode()]
    return "\n".join(parts)
