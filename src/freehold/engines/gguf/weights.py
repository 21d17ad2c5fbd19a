"""The weights of a base, one tensor at a time in float32, under GGUF's names; with an adapter merged in, or not.

    HfWeights.open(folder)    safetensors (stored.py) + config.json + tokenizer.json, never whole in memory
    GgufWeights.open(file)    dequantised tensor by tensor
    Merged(base, lora)        W + scale * B A in float32, on the fly
    Lora.open(file, ...)      {"blk.0.attn_q.weight": (A [r, in], B [out, r])}, scale = alpha / r

Peak memory is that of one tensor, whatever the base's size; the experts of a layer are one tensor to a GGUF.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from freehold.engines.gguf.names import Shape, expert_of, gguf_name, permuted
from freehold.engines.gguf.read import Gguf, check
from freehold.engines.gguf.stored import Stack, Stored, files, read_json, stored
from freehold.errors import AdapterMismatch, BaseUnusable

__all__ = ["GgufWeights", "HfWeights", "Lora", "Merged", "Weights", "open_weights"]

Floats = npt.NDArray[np.float32]
SHAPE = ("attention.head_count", "embedding_length", "block_count", "feed_forward_length", "context_length",
         "attention.layer_norm_rms_epsilon")  # fmt: skip
"""What a GGUF must say of a model to be taken apart here."""
DENSE = ("ffn_gate", "ffn_up", "ffn_down")
EXPERTS = ("ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")


class Weights(Protocol):
    """`sides` maps a tensor to its shape, outermost first. `source` is the folder or the file."""

    @property
    def source(self) -> Path: ...
    @property
    def shape(self) -> Shape: ...
    @property
    def sides(self) -> Mapping[str, tuple[int, ...]]: ...
    def tensor(self, name: str, /) -> Floats: ...


def open_weights(path: Path) -> HfWeights | GgufWeights:
    """The weights in a Hugging Face folder or a GGUF file. Raises BaseUnusable."""
    return HfWeights.open(path) if path.is_dir() else GgufWeights.open(path)


@dataclass(frozen=True)
class HfWeights:
    source: Path
    shape: Shape
    stored: dict[str, Stored | Stack]

    @classmethod
    def open(cls, folder: Path) -> HfWeights:
        config = read_json(folder / "config.json")
        shape = Shape.of(config, str(folder))
        found: dict[str, Stored | Stack] = {}
        experts: dict[str, dict[int, Stored]] = {}
        for path in files(folder):
            for name, place in stored(path).items():
                if one := expert_of(name):
                    experts.setdefault(one[0], {})[one[1]] = place
                elif ours := gguf_name(name):
                    found[ours] = place
                elif not name.endswith("rotary_emb.inv_freq"):
                    raise BaseUnusable(f"{folder} holds the tensor {name!r}, which has no place in a GGUF here.")
        found |= {name: _stacked(name, parts, shape, str(folder)) for name, parts in experts.items()}
        if shape.tied:
            found.pop("output.weight", None)
        _complete(found, shape, str(folder))
        return cls(folder, shape, found)

    @cached_property
    def sides(self) -> dict[str, tuple[int, ...]]:
        return {name: place.sides for name, place in self.stored.items()}

    def tensor(self, name: str, /) -> Floats:
        return permuted(name, self.stored[name].read(), self.shape)


@dataclass(frozen=True)
class GgufWeights:
    source: Path
    shape: Shape
    file: Gguf

    @classmethod
    def open(cls, path: Path) -> GgufWeights:
        file = check(path)
        return cls(path, _shape_of(file), file)

    @cached_property
    def sides(self) -> dict[str, tuple[int, ...]]:
        return {name: place.shape[::-1] for name, place in self.file.tensors.items()}

    def tensor(self, name: str, /) -> Floats:
        return self.file.tensor(name)


@dataclass(frozen=True)
class Lora:
    """An adapter's pairs under GGUF's names, B's rows as the architecture rotates them. W' = W + scale * B A."""

    pairs: dict[str, tuple[Floats, Floats]]
    rank: int
    alpha: float

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @classmethod
    def open(cls, path: Path, base: Weights, *, alpha: float) -> Lora:
        """From a safetensors file as PEFT names it. Raises AdapterMismatch where it does not fit `base`, BaseUnusable
        where it can't be read."""
        found: dict[str, dict[str, Floats]] = {}
        for name, place in stored(path).items():
            stem, _, side = name.removesuffix(".weight").removesuffix(".default").rpartition(".")
            ours = gguf_name(stem.removeprefix("base_model.model.") + ".weight")
            if ours is None or side not in ("lora_A", "lora_B"):
                raise AdapterMismatch(f"The adapter {path} holds {name!r}, which no known base has.", "Tune again.")
            found.setdefault(ours, {})[side] = place.read()
        if not found:
            raise AdapterMismatch(f"The adapter {path} holds no tensors.", "Tune again.")
        pairs = {name: _pair(path, name, sides, base) for name, sides in sorted(found.items())}
        ranks = {len(a) for a, _ in pairs.values()}
        if len(ranks) != 1:
            raise AdapterMismatch(f"The adapter {path} has the ranks {sorted(ranks)}; one is known.", "Tune again.")
        return cls(pairs, ranks.pop(), alpha)


@dataclass(frozen=True)
class Merged:
    """A base with an adapter in its weights."""

    base: Weights
    lora: Lora

    @property
    def source(self) -> Path:
        return self.base.source

    @property
    def shape(self) -> Shape:
        return self.base.shape

    @property
    def sides(self) -> Mapping[str, tuple[int, ...]]:
        return self.base.sides

    def tensor(self, name: str, /) -> Floats:
        whole = self.base.tensor(name)
        if name in self.lora.pairs:
            a, b = self.lora.pairs[name]
            whole = whole + np.float32(self.lora.scale) * (b @ a)
        return whole


def _pair(path: Path, name: str, sides: Mapping[str, Floats], base: Weights) -> tuple[Floats, Floats]:
    if sides.keys() != {"lora_A", "lora_B"}:
        raise AdapterMismatch(f"The adapter {path} holds only one half of {name}.", "Tune again.")
    a, b = sides["lora_A"], sides["lora_B"]
    fits = name in base.sides and base.sides[name] == (b.shape[0], a.shape[1]) and len(a) == b.shape[1]
    if not fits:
        has = " x ".join(map(str, base.sides.get(name, ("none",))))
        raise AdapterMismatch(
            f"The adapter {path} belongs to another base: {name} is {b.shape[0]} x {a.shape[1]} in it, {has} here.",
            "Give the base that it was tuned on.",
        )
    return a, permuted(name, b, base.shape)


def _stacked(name: str, parts: Mapping[int, Stored], shape: Shape, where: str) -> Stack:
    if sorted(parts) != list(range(shape.experts)):
        said = f"{shape.experts} experts" if shape.experts else "no experts"
        raise BaseUnusable(
            f"The weights in {where} hold {len(parts)} experts of {name}, where config.json says {said}.",
            "Fetch them again.",
        )
    if len({part.sides for part in parts.values()}) != 1:
        raise BaseUnusable(f"The experts of {name} in {where} are of different sizes.", "Fetch them again.")
    return Stack(tuple(parts[i] for i in range(shape.experts)))


def _complete(stored: Mapping[str, Stored | Stack], shape: Shape, where: str) -> None:
    feed = EXPERTS if shape.experts else DENSE
    parts = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", *feed)
    wanted = [f"blk.{layer}.{part}.weight" for layer in range(shape.layers) for part in parts]
    wanted += ["token_embd.weight", "output_norm.weight", *([] if shape.tied else ["output.weight"])]
    missing = next((name for name in wanted if name not in stored), None)
    if missing is not None:
        raise BaseUnusable(f"The weights in {where} lack {missing}.", "Fetch them again.")
    embedding = stored["token_embd.weight"].sides
    if embedding != (shape.vocabulary, shape.hidden):
        raise BaseUnusable(f"The embedding in {where} is {embedding}, not {(shape.vocabulary, shape.hidden)}.")


def _shape_of(file: Gguf) -> Shape:
    """Raises BaseUnusable for a file that does not say its own shape."""
    missing = next((name for name in SHAPE if not file.hyper(name)), "")
    if missing or "token_embd.weight" not in file.tensors:
        raise BaseUnusable(
            f"{file.path} lacks {f'{file.architecture}.{missing}' if missing else 'token_embd.weight'}.",
            "Fetch or convert the model again.",
        )
    heads, hidden = int(file.hyper("attention.head_count")), int(file.hyper("embedding_length"))
    return Shape(
        architecture=file.architecture,
        layers=int(file.hyper("block_count")),
        hidden=hidden,
        inner=int(file.hyper("feed_forward_length")),
        heads=heads,
        kv_heads=int(file.hyper("attention.head_count_kv", heads)),
        head=int(file.hyper("attention.key_length", hidden // heads)),
        vocabulary=file.tensors["token_embd.weight"].shape[1],
        context=int(file.hyper("context_length")),
        epsilon=float(file.hyper("attention.layer_norm_rms_epsilon")),
        rope_base=float(file.hyper("rope.freq_base", 10000.0)),
        rope_scaling={},
        tied="output.weight" not in file.tensors,
        bias="blk.0.attn_q.bias" in file.tensors,
        experts=int(file.hyper("expert_count", 0)),
        chosen=int(file.hyper("expert_used_count", 0)),
    )
