"""The words of this room: what is learned from, what is made, how, and what came of it.

Part(name="se-pepys", path=..., licence="CC0-1.0", source="https://...")          one thing that was given
Corpus(parts, folder, vocabulary, tokens, ...)       ids on disk: folder/train.npy, folder/held_out.npy
Shape(layers=4, width=128, ...) Plan(shape, rows, steps, rate, ..., why)          what the dial decided
Trained(steps, tokens, losses, held_out, seconds)                                 what the loop measured
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Corpus", "Eval", "Part", "PartCounts", "Plan", "Shape", "Trained"]


@dataclass(frozen=True, slots=True)
class Part:
    """Something that was given to learn from: a file or a folder. `licence`: SPDX id, "own" for the team's own text, or
    "unknown"; `source`: where it comes from, as its SOURCE file or the person says ("": not said)."""

    name: str
    path: Path
    licence: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class PartCounts:
    """What became of a part: documents and bytes of UTF-8 that are learned from or held out; documents left out because
    the same stood before, nearly the same, or there was no text in them. `repeated`: paragraphs left out that stand in
    many documents; `skipped`: binary files and rows without text. `sha256`: over its files."""

    part: Part
    documents: int
    bytes: int
    same: int = 0
    alike: int = 0
    empty: int = 0
    repeated: int = 0
    skipped: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Ids on disk. `folder` holds train.npy and held_out.npy, 1-D, uint16 or uint32, documents divided by the end
    token, and tokenizer/ (a Hugging Face folder without weights). `sha256` is over ids and tokenizer: the same corpus,
    the same name. A document lies on one side whole (where there are too few: the last tenth of the longest is held
    out). Each begins with the end token. `why`: a sentence for each automatic choice, and for what was left out."""

    parts: tuple[PartCounts, ...]
    folder: Path
    vocabulary: int
    end: int
    tokens: int
    held_out_tokens: int
    held_out_bytes: int
    sha256: str
    why: tuple[str, ...] = ()

    @property
    def bytes_per_token(self) -> float:
        """Of the held-out text: bits per byte are nats per token / ln 2 / this."""
        return self.held_out_bytes / max(1, self.held_out_tokens)


@dataclass(frozen=True, slots=True)
class Shape:
    """Llama's (experts 0) or Mixtral's. `inner`: of the MLP, of one expert with experts. `chosen` experts a token."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    context: int
    vocabulary: int
    experts: int = 0
    chosen: int = 0
    tied: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides a run, given corpus and start. A step is `rows` rows of shape.context ids, over all processes.

    `rate` is the largest; it rises over `warm` steps and falls (`schedule`) to `least` times itself at the last step.
    `threads` of each process decide the last bits. `start`: sha256 of the model that is trained on, or "" from nothing.
    `why`: a sentence for each automatic choice.
    """

    shape: Shape
    rows: int
    steps: int
    rate: float
    warm: int
    schedule: Literal["cosine", "linear", "constant"]
    least: float
    decay: float
    betas: tuple[float, float]
    clip: float
    balance: float
    dtype: Literal["float32", "bfloat16"]
    evals: int
    seed: int
    threads: int = 1
    start: str = ""
    why: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        return self.rows * self.shape.context * self.steps


@dataclass(frozen=True, slots=True)
class Eval:
    """After `step` steps: nats a token on the held-out ids (without the balancing loss), and bits a byte of text.
    `rows` were looked at, of `of`."""

    step: int
    loss: float
    bits_per_byte: float
    rows: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """`losses`: of each step, nats a token on what is learned. `seconds` of training on the clock, `cpu_seconds` of
    this process and its threads, kills included. `tokens_per_second` over all processes."""

    steps: int
    tokens: int
    losses: tuple[float, ...]
    evals: tuple[Eval, ...]
    seconds: float
    cpu_seconds: float
    tokens_per_second: float
    samples: tuple[str, ...] = field(default=())
