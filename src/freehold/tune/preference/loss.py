"""What a preference makes smaller, and what it is measured by: sums of the log-probabilities of an answer's ids.

    loss = -log sigmoid(beta * ((log p(preferred) - log p(rejected)) - the same of the reference))
           - anchor * log p(preferred) / its ids

DPO: Rafailov et al. 2023, arXiv:2305.18290, equation 7; the anchor: Pang et al. 2024, arXiv:2404.19733, equation 1. DPO
looks at the difference alone, and may make both answers less likely (docs/preference.md has figures). The reference is
the adapter that the training starts from; of each pair it is computed once, before the first step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from freehold.tell import Tell
from freehold.tune.decoder.data import Example, Examples
from freehold.tune.decoder.model import logits

__all__ = ["Preference", "Two", "chances", "referred", "two"]

IDS = 4096  # in memory at once where nothing is learned: with a vocabulary of 49,152, 0.8 GB of logits


@dataclass(frozen=True, slots=True)
class Two(Example):
    """`answer` is the preferred one. `margin`: by how much the reference finds it likelier than `rejected`."""

    rejected: tuple[int, ...] = ()
    margin: float = 0.0

    @property
    def length(self) -> int:
        return len(self.rest) + max(len(self.answer), len(self.rejected))


class Preference:
    """DPO's loss and the anchor, a mean over the pairs."""

    rows = 2

    def __init__(self, beta: float, anchor: float) -> None:
        self.beta, self.anchor = beta, anchor

    def weight(self, example: Two, /) -> int:
        return 1

    def loss(self, model: Any, examples: Sequence[Two], prefix: Sequence[int], pad: int, /) -> Any:
        import torch

        good, bad = _sums(model, examples, prefix, pad)
        before = torch.tensor([one.margin for one in examples], device=good.device)
        ids = torch.tensor([float(len(one.answer)) for one in examples], device=good.device)
        preference = -torch.nn.functional.logsigmoid(self.beta * (good - bad - before))
        return (preference - self.anchor * good / ids).mean()


def _sums(model: Any, examples: Sequence[Two], prefix: Sequence[int], pad: int) -> tuple[Any, Any]:
    """log p of the preferred and of the rejected answers, each [pairs]."""
    import torch

    rows = [Example(one.rest, one.answer) for one in examples]
    rows += [Example(one.rest, one.rejected) for one in examples]
    found, wanted = logits(model, rows, prefix, pad)
    each: Any = -torch.nn.functional.cross_entropy(found, wanted, reduction="none")
    sums = torch.stack([part.sum() for part in each.split([len(row.answer) for row in rows])])
    return sums[: len(examples)], sums[len(examples) :]


def two(found: Examples, rejected: Sequence[Sequence[int]], context: int) -> Examples:
    """Preferred answers as examples, with the ids of the rejected ones beside them; left out where one is too long."""
    rows: list[Two] = []
    kept: list[int] = []
    left = dict(found.left_out)
    for row, number in zip(found.rows, found.kept, strict=True):
        bad = tuple(rejected[number])
        if len(found.prefix) + len(row.rest) + len(bad) > context:
            left["longer than the context"] = left.get("longer than the context", 0) + 1
        else:
            rows.append(Two(row.rest, row.answer, bad))
            kept.append(number)
    return Examples(found.prefix, tuple(rows), tuple(kept), left)


def chances(
    model: Any, found: Examples, pad: int, *, batch: int = 8, ids: int = IDS, tell: Tell, what: str
) -> list[tuple[float, float]]:
    """(log p of the preferred, of the rejected answer) of each pair, nothing learned; `batch` pairs at a time, fewer
    where they are long."""
    import torch

    rows = _twos(found)
    order = sorted(range(len(rows)), key=lambda i: rows[i].length)
    said: list[tuple[float, float]] = [(0.0, 0.0)] * len(order)
    with torch.no_grad():
        for some in _within([(i, 2 * rows[i].length) for i in order], batch, ids):
            tell(what, order.index(some[0]) / len(order))
            good, bad = _sums(model, [rows[i] for i in some], found.prefix, pad)
            for i, pair in zip(some, zip(good.tolist(), bad.tolist(), strict=True), strict=True):
                said[i] = pair
    tell(what, 1.0)
    return said


def _within(order: Sequence[tuple[int, int]], batch: int, ids: int) -> Iterator[list[int]]:
    """Rows that become longer, in groups whose padded ids stay within `ids`."""
    some: list[int] = []
    for i, length in order:
        if some and (len(some) == batch or (len(some) + 1) * length > ids):
            yield some
            some = []
        some.append(i)
    if some:
        yield some


def referred(found: Examples, said: Sequence[tuple[float, float]]) -> Examples:
    """Each pair with what the reference says of it."""
    rows = tuple(replace(row, margin=good - bad) for row, (good, bad) in zip(_twos(found), said, strict=True))
    return replace(found, rows=rows)


def _twos(found: Examples) -> tuple[Two, ...]:
    return cast(tuple[Two, ...], found.rows)
