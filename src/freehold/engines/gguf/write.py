"""Write a decoder's weights as GGUF, one tensor at a time, and an adapter as an adapter GGUF.

    write(weights, path, "Q4_K_M")      Weights (weights.py) -> model.gguf: F32, BF16, Q8_0, Q4_K_M
    write_adapter(lora, shape, path)    Lora -> adapter.gguf, <name>.lora_a [r, in], <name>.lora_b [out, r]

A base that is a GGUF itself gives its keys (names, tokenizer, chat template) on as they are. The file is written under
another name and renamed, so what bears the name is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from freehold.engines.gguf.ggml import quantised
from freehold.engines.gguf.names import Shape
from freehold.engines.gguf.read import ARRAY, TYPES, Gguf
from freehold.engines.gguf.types import FILE_TYPES, types_of
from freehold.engines.gguf.vocab import add_vocabulary
from freehold.engines.gguf.weights import GgufWeights, Lora, Merged, Weights
from freehold.errors import BaseUnusable, MissingExtra
from freehold.project.storage import guarded
from freehold.tell import Tell, quiet

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["bytes_of", "write", "write_adapter"]

Floats = npt.NDArray[np.float32]
WIDTHS = {name: (block, width) for name, block, width in TYPES.values()}
EOT = "tokenizer.ggml.eot_token_id"
OWN = ("general.file_type", "general.quantization_version", "general.architecture", "general.alignment")


def bytes_of(weights: Weights, form: str) -> int:
    """About how long the file will be: its tensors, and the tokenizer's keys."""
    kinds = _types(weights, form)
    return sum(_bytes(weights.sides[name], kind) for name, kind in kinds.items()) + 64 * weights.shape.vocabulary


def write(weights: Weights, path: Path, form: str, *, end: int | None = None, tell: Tell = quiet) -> dict[str, str]:
    """Write a model in `form`; returns the type of each tensor. `end`: the id that ends an answer in the chat template,
    said beside the tokenizer's own end token where it is another, so that whoever reads the file stops there.
    Raises BaseUnusable, MissingExtra, StorageFailed."""
    kinds = _types(weights, form)
    factors = _rope_factors(weights.shape)
    with _writer(path, weights.shape.architecture) as writer:
        _add_keys(writer, weights, form)
        _add_end(writer, end)
        if factors is not None:
            writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
        for name, kind in kinds.items():
            _add_info(writer, name, weights.sides[name], kind)
        _open(writer)
        if factors is not None:
            writer.write_tensor_data(factors)
        for i, (name, kind) in enumerate(kinds.items()):
            tell(f"write {form}", i / len(kinds))
            writer.write_tensor_data(_encoded(weights.tensor(name), kind))
        tell(f"write {form}", 1.0)
    return kinds


def write_adapter(lora: Lora, shape: Shape, path: Path) -> None:
    """Write an adapter in float32; llama.cpp adds alpha / r * B A to the base's product."""
    with _writer(path, shape.architecture) as writer:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", lora.alpha)
        sides = {
            f"{n}.{s}": t for n, pair in lora.pairs.items() for s, t in zip(("lora_a", "lora_b"), pair, strict=True)
        }
        for name, tensor in sides.items():
            _add_info(writer, name, tensor.shape, "F32")
        _open(writer)
        for tensor in sides.values():
            writer.write_tensor_data(np.ascontiguousarray(tensor, np.float32))


@contextmanager
def _writer(path: Path, architecture: str) -> Iterator[GGUFWriter]:
    try:
        from gguf import GGUFWriter
    except ImportError as error:
        raise MissingExtra("Writing a GGUF needs the package gguf.", "pip install 'freehold[text]'") from error
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    writer = GGUFWriter(aside, architecture)
    try:
        with guarded(path):
            yield writer
            writer.close()
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            aside.replace(path)
    finally:
        writer.close()
        aside.unlink(missing_ok=True)


def _open(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()


def _types(weights: Weights, form: str) -> dict[str, str]:
    order = sorted(weights.sides, key=_order)
    shapes = {name: weights.sides[name][::-1] for name in order}
    return types_of(form, shapes, layers=weights.shape.layers, tied=weights.shape.tied, experts=weights.shape.experts)


def _order(name: str) -> tuple[int, int, str]:
    """Embedding, layers in order, output."""
    head, _, rest = name.partition(".")
    if head == "blk":
        return 1, int(rest.partition(".")[0]), name
    return (0, 0, name) if head == "token_embd" else (2, 0, name)


def _bytes(sides: tuple[int, ...], kind: str) -> int:
    block, width = WIDTHS[kind]
    return int(np.prod(sides)) // block * width


def _add_info(writer: GGUFWriter, name: str, sides: tuple[int, ...], kind: str) -> None:
    from gguf import GGMLQuantizationType

    writer.add_tensor_info(name, sides, np.dtype(np.float32), _bytes(sides, kind), GGMLQuantizationType[kind])


def _encoded(tensor: Floats, kind: str) -> npt.NDArray[Any]:
    if kind == "F32":
        return np.ascontiguousarray(tensor, np.float32)
    if kind == "F16":
        return tensor.astype(np.float16)
    if kind == "BF16":
        from gguf import GGMLQuantizationType, quantize

        return np.asarray(quantize(tensor, GGMLQuantizationType.BF16))
    return quantised(tensor.reshape(-1, tensor.shape[-1]), kind)


def _add_keys(writer: GGUFWriter, weights: Weights, form: str) -> None:
    base = weights.base if isinstance(weights, Merged) else weights
    if isinstance(base, GgufWeights):
        _copy_keys(writer, base.file)
    else:
        writer.add_type("model")
        _add_shape(writer, weights.shape)
        add_vocabulary(writer, weights.source, weights.shape.vocabulary)
    writer.add_file_type(FILE_TYPES[form])
    writer.add_quantization_version(2)


def _add_end(writer: GGUFWriter, end: int | None) -> None:
    known = {name: field.value for name, field in writer.kv_data[0].items()}
    if end is not None and end != known.get("tokenizer.ggml.eos_token_id") and EOT not in known:
        writer.add_eot_token_id(end)


def _add_shape(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_rope_dimension_count(shape.head)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(shape.chosen)
    if shape.head * shape.heads != shape.hidden:
        writer.add_key_length(shape.head)
        writer.add_value_length(shape.head)
    scaling = shape.rope_scaling.get("rope_type") or shape.rope_scaling.get("type") or "default"
    if scaling == "linear":
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(shape.rope_scaling["factor"]))
    elif scaling not in ("default", "llama3"):
        raise BaseUnusable(
            f"The model stretches its positions by {scaling!r}, which can't be written as GGUF here.",
            "Known: default, linear, llama3.",
        )


def _rope_factors(shape: Shape) -> Floats | None:
    """Llama 3's stretched positions: what each frequency is divided by (transformers' _compute_llama3_parameters)."""
    said = shape.rope_scaling
    if (said.get("rope_type") or said.get("type")) != "llama3":
        return None
    factor, low, high = (float(said[n]) for n in ("factor", "low_freq_factor", "high_freq_factor"))
    context = float(said["original_max_position_embeddings"])
    wave = 2 * np.pi * shape.rope_base ** (np.arange(0, shape.head, 2) / shape.head)
    smooth = np.clip((context / wave - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1.0 - smooth) / factor + smooth)).astype(np.float32)


def _copy_keys(writer: GGUFWriter, file: Gguf) -> None:
    from gguf import GGUFReader, GGUFValueType

    for name, field in GGUFReader(file.path).fields.items():
        if name in OWN or name.startswith("GGUF."):
            continue
        kind = field.types[0]
        inner = field.types[1] if int(kind) == ARRAY else None
        writer.add_key_value(name, field.contents(), GGUFValueType(kind), inner)
