"""What a model is made of, layer by layer, with nothing loaded: the one form that every sum of this room reads.

    Stack ── 61 × Layer ── matrices   read in each step            q [7168, 1536] ...
          │             ├─ expert     one expert's, `experts` of them, `chosen` a token
          │             ├─ vectors    norms, biases, what no format quantises
          │             └─ kept       what a token leaves in the cache: Kept(576), Kept(1024, window=512)
          └── table, head (one matrix where they are tied), beside: {"vision": 415e6, "mtp": 14e9}

`read.Architecture` is a Stack that can be read from a Hugging Face config.json.

`beside` names parts that the file holds and text doesn't need: a vision tower, the heads that predict further tokens.
0 says that there is one whose size the configuration doesn't tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Kept", "Layer", "Matrix", "Stack", "grouped"]


class Matrix(NamedTuple):
    """`role` names what GGUF's recipes tell apart (q k v qkv o up gate down table head); else it is free."""

    role: str
    inputs: int
    outputs: int

    @property
    def size(self) -> int:
        return self.inputs * self.outputs


class Kept(NamedTuple):
    """Numbers in the cache for every `every`-th token, of the last `window` tokens only (0: of all)."""

    numbers: int
    window: int = 0
    every: int = 1

    def of(self, context: int) -> int:
        return self.numbers * ((min(context, self.window) if self.window else context) // self.every)


@dataclass(frozen=True, slots=True)
class Layer:
    """`state`: numbers that a recurrent layer keeps of a stream, however long it is, in 32 bits."""

    matrices: tuple[Matrix, ...]
    vectors: int = 0
    kept: tuple[Kept, ...] = ()
    state: int = 0
    expert: tuple[Matrix, ...] = ()
    expert_vectors: int = 0
    experts: int = 0
    chosen: int = 0
    heads: int = 0

    @property
    def always(self) -> int:
        """Parameters that every token reads."""
        return sum(m.size for m in self.matrices) + self.vectors

    @property
    def each(self) -> int:
        """Parameters of one expert."""
        return sum(m.size for m in self.expert) + self.expert_vectors


@dataclass(frozen=True, slots=True)
class Stack:
    """`layers` are (how many alike, one of them). `known`: its kind is one whose parts were written down from its own
    code; False: it was read as a plain gated decoder, because its numbers have those names."""

    kind: str
    hidden: int
    vocabulary: int
    layers: tuple[tuple[int, Layer], ...]
    tied: bool = False
    vectors: int = 0
    other: tuple[Matrix, ...] = ()
    context: int = 0
    beside: tuple[tuple[str, int], ...] = ()
    headless: bool = False
    known: bool = True

    @property
    def ends(self) -> tuple[Matrix, ...]:
        """The table of embeddings, and the head where it isn't the same."""
        table = Matrix("tied" if self.tied else "table", self.hidden, self.vocabulary)
        return (table,) if self.tied or self.headless else (table, Matrix("head", self.hidden, self.vocabulary))

    @property
    def depth(self) -> int:
        return sum(times for times, _ in self.layers)


def grouped(layers: Iterable[Layer]) -> tuple[tuple[int, Layer], ...]:
    """Equal layers counted together, in the order of their first."""
    found: dict[Layer, int] = {}
    for layer in layers:
        found[layer] = found.get(layer, 0) + 1
    return tuple((times, layer) for layer, times in found.items())
