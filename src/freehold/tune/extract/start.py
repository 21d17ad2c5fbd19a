"""What a tagger starts from, without a model hub: a bundled encoder, int8 weights made floats, or a BERT folder.

start_of(None)          all-minilm-l6-v2 as it ships with freehold
start_of("bge-small-en")
start_of(Path(folder))  a folder of Hugging Face's with a BERT in it (tune/base.py)
→ Start(name, licence, sha256, tokenizer, most, shape, weights)        weights as net.py names them

graph_weights(start, weights) → under Hugging Face's names, linear maps [in, out], as the ONNX graph takes them
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold.engines.encoder import bundled_names
from freehold.engines.encoder_files import read, sha256
from freehold.errors import MissingExtra, StudentUnusable
from freehold.tune.base import Base
from freehold.tune.extract.net import Shape

__all__ = ["DEFAULT", "Start", "graph_weights", "start_of"]

Floats = npt.NDArray[np.float32]
DEFAULT = "all-minilm-l6-v2"
PARTS = {
    "qkv": "attention.self.qkv",
    "out": "attention.output.dense",
    "up": "intermediate.dense",
    "down": "output.dense",
}
NORMS = {"norm1": "attention.output.LayerNorm", "norm2": "output.LayerNorm"}


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """`most`: tokens the encoder has places for; `sha256` names the weights and the tokeniser."""

    name: str
    licence: str
    sha256: str
    tokenizer: bytes
    most: int
    shape: Shape
    weights: dict[str, Floats]

    def __repr__(self) -> str:
        return f"Start({self.name}, {self.sha256[:12]})"

    @property
    def width(self) -> int:
        return int(self.weights["words"].shape[1])

    @property
    def per_token(self) -> int:
        """Weights that each token passes through."""
        return sum(w.size for name, w in self.weights.items() if w.ndim == 2 and name not in ("words", "places"))


def start_of(base: Path | str | None = None) -> Start:
    """Raises StudentUnusable, MissingExtra."""
    name = str(base) if base is not None else DEFAULT
    return _bundled(name) if name in bundled_names() else _folder(Path(name))


def _bundled(name: str) -> Start:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("Training a tagger needs the package onnx.", "pip install 'freehold[tune]'") from error
    with resources.as_file(resources.files("freehold.engines").joinpath("data", name)) as folder:
        parts = read(folder)
    graph = onnx.load_from_string(parts.model).graph
    held = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    attention = [n for n in graph.node if n.op_type == "MultiHeadAttention"]
    heads = next(a.i for a in attention[0].attribute if a.name == "num_heads")
    norm = next(n for n in graph.node if n.op_type == "LayerNormalization")
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    weights = {
        "words": np.asarray(held["words"] * held["words.scale"], np.float32),
        "places": np.asarray(held["places"], np.float32),
        "norm.weight": held["embeddings.LayerNorm.weight"],
        "norm.bias": held["embeddings.LayerNorm.bias"],
    }
    for i in range(len(attention)):
        at = f"encoder.layer.{i}"
        for mine, theirs in PARTS.items():
            whole = held[f"{at}.{theirs}"].astype(np.float32) * held[f"{at}.{theirs}.scale"]
            weights |= {f"{i}.{mine}.weight": whole.T, f"{i}.{mine}.bias": held[f"{at}.{theirs}.bias"]}
        for mine, theirs in NORMS.items():
            weights |= {f"{i}.{mine}.{kind}": held[f"{at}.{theirs}.{kind}"] for kind in ("weight", "bias")}
    whole = {name: np.array(w, np.float32, order="C") for name, w in weights.items()}
    shape = Shape(int(heads), len(attention), float(epsilon))
    return Start(name, parts.settings.licence, parts.identity(), parts.tokenizer, len(whole["places"]), shape, whole)


def _folder(folder: Path) -> Start:
    base = Base.open(folder)
    named: Mapping[str, Any] = base.weights
    try:
        kind = named["embeddings.token_type_embeddings.weight"][0]
        weights = {
            "words": named["embeddings.word_embeddings.weight"],
            "places": named["embeddings.position_embeddings.weight"] + kind,
            "norm.weight": named["embeddings.LayerNorm.weight"],
            "norm.bias": named["embeddings.LayerNorm.bias"],
        }
        layers = int(base.config["num_hidden_layers"])
        for i in range(layers):
            at = f"encoder.layer.{i}"
            for kind in ("weight", "bias"):
                three = [named[f"{at}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
                weights[f"{i}.qkv.{kind}"] = np.concatenate(three)
                theirs = {mine: name for mine, name in (PARTS | NORMS).items() if mine != "qkv"}
                weights |= {f"{i}.{mine}.{kind}": named[f"{at}.{name}.{kind}"] for mine, name in theirs.items()}
    except KeyError as error:
        raise StudentUnusable(
            f"The base in {folder} has no weight {error}.", "Only BERT's shape is fine-tuned."
        ) from error
    shape = Shape(int(base.config["num_attention_heads"]), layers, float(base.config.get("layer_norm_eps", 1e-12)))
    most = min(len(weights["places"]), base.settings.max_tokens)
    whole = {name: np.array(w, np.float32, order="C") for name, w in weights.items()}
    identity = sha256((base.sha256 + sha256(base.tokenizer)).encode())
    return Start(base.settings.name, base.licence, identity, base.tokenizer, most, shape, whole)


def graph_weights(start: Start, weights: Mapping[str, Floats]) -> dict[str, Any]:
    """Trained weights as `bert_layers` takes them."""
    width = start.width
    found: dict[str, Any] = {
        "embeddings.word_embeddings.weight": weights["words"],
        "embeddings.position_embeddings.weight": weights["places"],
        "embeddings.token_type_embeddings.weight": np.zeros((1, width), np.float32),
        "embeddings.LayerNorm.weight": weights["norm.weight"],
        "embeddings.LayerNorm.bias": weights["norm.bias"],
    }
    for i in range(start.shape.layers):
        at = f"encoder.layer.{i}"
        for j, part in enumerate(("query", "key", "value")):
            own = slice(j * width, (j + 1) * width)
            found[f"{at}.attention.self.{part}.weight"] = np.ascontiguousarray(weights[f"{i}.qkv.weight"][own].T)
            found[f"{at}.attention.self.{part}.bias"] = weights[f"{i}.qkv.bias"][own]
        for mine, theirs in (PARTS | NORMS).items():
            if mine != "qkv":
                found[f"{at}.{theirs}.weight"] = np.ascontiguousarray(weights[f"{i}.{mine}.weight"].T)
                found[f"{at}.{theirs}.bias"] = weights[f"{i}.{mine}.bias"]
    return found
