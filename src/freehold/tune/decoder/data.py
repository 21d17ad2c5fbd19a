"""Rows as training sees them: what all prompts share once, then each row's own ids.

prefix  [1, 9690, 198, 2683, ...]      the ids that every prompt begins with, computed once a step
Example(rest=[4093, 198, ...], answer=[11853, ..., 2])      what follows the prefix, and what is learned

run(examples, ...) -> [[17, 4, 233, ...], ...]     the row numbers of every step, lengths alike, drawn by the seed
Padded(ids [rows, length], at, wanted)             rows filled up to a multiple of 8; no mask: causal, padding last
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold.nouns import Message
from freehold.tell import Tell, quiet
from freehold.tune.decoder.tokens import Tokens

__all__ = ["BUCKET", "Example", "Examples", "Padded", "encode", "hold_back", "padded", "run"]

Ints = npt.NDArray[np.int64]
OWN_SHARE, OWN_MOST = 0.1, 300
BUCKET = 8  # lengths are multiples of it: few shapes, so that kernels made for a shape are used again
POOL = 32  # batches whose rows are sorted by length together
LEAST_PREFIX = 8


@dataclass(frozen=True, slots=True)
class Example:
    rest: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def length(self) -> int:
        return len(self.rest) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Examples:
    """`kept` are the numbers of the given rows that are used; `left_out` counts the others by reason."""

    prefix: tuple[int, ...]
    rows: tuple[Example, ...]
    kept: tuple[int, ...]
    left_out: dict[str, int]

    @property
    def longest(self) -> int:
        return len(self.prefix) + max(row.length for row in self.rows)

    def whole(self) -> Examples:
        """The same, each row with the prefix in it: where a prefix can't be kept."""
        rows = tuple(replace(row, rest=(*self.prefix, *row.rest)) for row in self.rows)
        return Examples((), rows, self.kept, self.left_out)

    def some(self, numbers: Sequence[int]) -> Examples:
        """Those of the given rows that are kept here; the prefix stays."""
        place = {n: i for i, n in enumerate(self.kept)}
        chosen = [n for n in numbers if n in place]
        return Examples(self.prefix, tuple(self.rows[place[n]] for n in chosen), tuple(chosen), {})


def encode(
    tokens: Tokens,
    messages: Callable[[str], list[Message]],
    texts: Sequence[str],
    answers: Sequence[str],
    *,
    context: int,
    tell: Tell = quiet,
) -> Examples:
    """Ids of all rows. A row is left out, and counted, where its answer is empty or it does not fit the context."""
    left_out: Counter[str] = Counter()
    found: list[tuple[int, list[int], list[int]]] = []
    for i, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        if i % 500 == 0:
            tell("read the rows as ids", i / len(texts))
        if not answer.strip():
            left_out["empty answer"] += 1
            continue
        prompt, said = tokens.prompt(messages(text)), tokens.answer(answer)
        if len(prompt) + len(said) > context:
            left_out["longer than the context"] += 1
            continue
        found.append((i, prompt, said))
    tell("read the rows as ids", 1.0)
    shared = _shared([prompt for _, prompt, _ in found])
    rows = tuple(Example(tuple(prompt[shared:]), tuple(said)) for _, prompt, said in found)
    prefix = tuple(found[0][1][:shared]) if found else ()
    return Examples(prefix, rows, tuple(i for i, _, _ in found), dict(left_out))


def _shared(prompts: Sequence[Sequence[int]]) -> int:
    """How many leading ids all prompts share; each keeps one of its own at least. 0 where it would not pay."""
    if not prompts:
        return 0
    low, high = min(map(list, prompts)), max(map(list, prompts))  # what these two share, all between them share
    most = min(map(len, prompts)) - 1
    shared = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), most)
    shared = min(shared, most)
    return shared if shared >= LEAST_PREFIX else 0


def hold_back(groups: Ints, seed: int, share: float = OWN_SHARE) -> tuple[list[int], list[int]]:
    """(learn, own): row numbers, near-duplicate groups whole; own is about a tenth of the rows, 300 at most."""
    most = min(OWN_MOST, round(share * len(groups)))
    own: list[int] = []
    size = Counter(groups.tolist())
    place: dict[int, list[int]] = {}
    for i, group in enumerate(groups.tolist()):
        place.setdefault(group, []).append(i)
    for group in np.random.default_rng(seed).permutation(sorted(size)).tolist():
        if len(own) + size[group] <= most:
            own += place[group]
    held = set(own)
    return [i for i in range(len(groups)) if i not in held], sorted(own)


def run(examples: Examples, *, rows: int, epochs: int, batch: int, seed: int) -> list[list[int]]:
    """The rows of each step. `rows` of the examples are drawn once; each epoch sees them in another order.

    In an epoch, rows are shuffled, POOL batches at a time are sorted by length and cut, and the batches are shuffled.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(examples.rows))[:rows]
    lengths = np.array([row.length for row in examples.rows])
    steps: list[list[int]] = []
    for _ in range(epochs):
        order = rng.permutation(chosen)
        cut: list[list[int]] = []
        for at in range(0, len(order), POOL * batch):
            pool = order[at : at + POOL * batch]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            cut += [pool[i : i + batch].tolist() for i in range(0, len(pool), batch)]
        steps += [cut[i] for i in rng.permutation(len(cut))]
    return steps


@dataclass(frozen=True, slots=True, eq=False)
class Padded:
    """`ids` [rows, length] of torch; `at` are flat places whose next id is `wanted`, one for each answer id."""

    ids: Any
    at: Any
    wanted: Any

    def to(self, device: Any) -> Padded:
        return Padded(self.ids.to(device), self.at.to(device), self.wanted.to(device))


def padded(rows: Sequence[Example], prefix: Sequence[int], pad: int) -> Padded:
    """Rows filled up on the right. The last answer id is read nowhere, so it is left out of the input."""
    import torch

    begin = list(prefix)
    whole = [begin + [*row.rest, *row.answer][:-1] for row in rows]
    length = -(-max(map(len, whole)) // BUCKET) * BUCKET
    ids = torch.tensor([seq + [pad] * (length - len(seq)) for seq in whole])
    at = [i * length + len(begin) + len(row.rest) - 1 + j for i, row in enumerate(rows) for j in range(len(row.answer))]
    wanted = [token for row in rows for token in row.answer]
    return Padded(ids, torch.tensor(at), torch.tensor(wanted))
