"""Does it fit: the memory that a decoder needs, from its config alone, before anything is loaded.

    shape = Shape.of(config)                            layers 32, hidden 4096, ...; parameters(shape) = 8,030,261,248
    serving(shape, "Q4_K_M", context=8192)              {weights 4.9e9, cache 1.1e9, buffers 0.5e9}
    training(shape, "lora", rank=16, tokens=1335, ...)  {weights, adapter, activations, logits, program}
    refuse(need, "Tuning smollm2")                      raises TooLittleMemory where this machine has not that much free

Formulas: parameters as summed layer by layer (exact for Llama 2, 3 and Mistral); bits a weight of NF4 with double
quantisation 4.127 (QLoRA, arXiv 2305.14314), of GGUF's types as ggml stores them, Q4_K_M 4.894 (llama.cpp's
tools/quantize/README.md, Llama-3.1-8B); keys and values 2 L K h b a token; a full fine-tune with Adam in mixed
precision 16 bytes a parameter (ZeRO, arXiv 1910.02054), LoRA the base and 16 bytes a parameter of the adapter;
activations after Korthikanti et al. (arXiv 2205.05198), with the terms of a gated MLP; logits 4 bytes a word of the
vocabulary, three times (logits, their logarithms, the gradient).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from freehold.errors import BaseUnusable, TooLittleMemory

__all__ = [
    "BITS", "Shape", "available", "lora_parameters", "parameters", "refuse", "serving", "sizes", "tagging", "total",
    "training", "weight_bytes",
]  # fmt: skip

GIB = 1 << 30
BITS = {"F32": 32.0, "BF16": 16.0, "F16": 16.0, "Q8_0": 8.5, "Q4_K_M": 4.894, "Q4_1": 5.0, "Q4_0": 4.5, "NF4": 4.127}
PROGRAM = 450 << 20  # measured: Python with torch, transformers and peft imported
SLACK = 1.4  # measured on a CPU: what the allocator holds over the sum of the tensors, 1.2 to 1.5 times
RESERVE = 0.9  # of what is free; the rest of the machine goes on living
BUFFERS = 512 << 20  # llama.cpp's compute buffers: 0.3 to 1.5 GiB
Need = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A dense decoder with a gated MLP (Llama, Mistral, Qwen). `bias`: the query, key and value layers have one."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool
    bias: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any], where: str = "") -> Shape:
        """From a Hugging Face config.json, which lies in `where`. Raises BaseUnusable where a number is missing."""
        try:
            return cls(**sizes(config))
        except (KeyError, TypeError, ValueError) as error:
            place = f"config.json{' in ' * bool(where)}{where}"
            raise BaseUnusable(f"{place} can't be used: {error!r}.", "Give a decoder's own config.json.") from error


def sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Shape's numbers as config.json names them. Raises KeyError, TypeError, ValueError."""
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    return {
        "layers": int(config["num_hidden_layers"]),
        "hidden": hidden,
        "inner": int(config["intermediate_size"]),
        "heads": heads,
        "kv_heads": int(config.get("num_key_value_heads") or heads),
        "head": int(config.get("head_dim") or hidden // heads),
        "vocabulary": int(config["vocab_size"]),
        "tied": bool(config.get("tie_word_embeddings", False)),
        "bias": bool(config.get("attention_bias", config.get("model_type") == "qwen2")),
    }


def parameters(shape: Shape) -> int:
    """L (2 d H h + 2 d K h + 3 d f + 2 d) + d + V d (twice where the head is its own), and the biases."""
    d, wide, narrow = shape.hidden, shape.heads * shape.head, shape.kv_heads * shape.head
    layer = 2 * d * wide + 2 * d * narrow + 3 * d * shape.inner + 2 * d
    layer += wide + 2 * narrow if shape.bias else 0
    return shape.layers * layer + d + _embedding(shape)


def _embedding(shape: Shape) -> int:
    return shape.vocabulary * shape.hidden * (1 if shape.tied else 2)


def lora_parameters(shape: Shape, rank: int) -> int:
    """r (d_in + d_out) of all seven linear layers, L times."""
    d, wide, narrow, f = shape.hidden, shape.heads * shape.head, shape.kv_heads * shape.head, shape.inner
    pairs = ((d, wide), (d, narrow), (d, narrow), (wide, d), (d, f), (d, f), (f, d))
    return shape.layers * rank * sum(a + b for a, b in pairs)


def weight_bytes(shape: Shape, form: str) -> int:
    """Bytes of the weights in one of BITS. NF4 is of the linear layers; the embeddings stay in 16 bits."""
    apart = _embedding(shape) if form == "NF4" else 0
    return int((parameters(shape) - apart) * BITS[form] / 8) + 2 * apart


def serving(shape: Shape, form: str, *, context: int, slots: int = 1, cache_bytes: int = 2) -> Need:
    """What answering takes: `slots` calls at once, of `context` ids each."""
    cache = 2 * shape.layers * shape.kv_heads * shape.head * cache_bytes * context * slots
    return {"weights": weight_bytes(shape, form), "cache": cache, "buffers": BUFFERS}


def training(
    shape: Shape,
    how: Literal["full", "lora", "qlora"],
    *,
    tokens: int,
    longest: int,
    answers: int,
    rank: int = 16,
    width: int = 2,
    fused: bool = False,
) -> Need:
    """What a step takes.

    `tokens`: ids in memory at once; `longest`: of one row, with what it reads before it; `answers`: ids learned in it.
    `width`: bytes a number (2 for bfloat16). `fused`: attention that keeps no scores.
    """
    # a layer keeps of each id: two norms in float32 and their output, q, k, v and what they were made from, the MLP's
    # input and its four inner states; and the scores of each head, in float32 and again in `width`
    kept = (2 * (4 + width) + 6 * width) * shape.hidden + 4 * width * shape.inner
    scores = 0 if fused else (4 + width) * shape.heads * longest
    need = {
        "activations": int(SLACK * shape.layers * tokens * (kept + scores)),
        "logits": int(SLACK * 3 * 4 * answers * shape.vocabulary),
        "program": PROGRAM,
    }
    if how == "full":
        return {"weights, gradients, Adam": 16 * parameters(shape)} | need
    weights = weight_bytes(shape, "NF4") if how == "qlora" else width * parameters(shape)
    return {"weights": weights, "adapter, gradients, Adam": 16 * lora_parameters(shape, rank)} | need


def tagging(
    parameters: int, *, hidden: int, layers: int, heads: int, tokens: int, longest: int, width: int = 4
) -> Need:
    """What a step of fine-tuning a whole BERT takes: `tokens` in memory at once, of texts of `longest` at most, in
    `width` bytes a number. Activations 34 h + 5 a s half-words a token and layer (arXiv 2205.05198, table 2)."""
    kept = width * (34 * hidden + 5 * heads * longest) // 2
    return {
        "weights, gradients, Adam": 16 * parameters,
        "activations": layers * tokens * kept,
        "program": PROGRAM,
    }


def total(need: Need) -> int:
    return sum(need.values())


def available() -> int:
    """Bytes that this process may still take: the machine's, or its container's where that is less. Where the system
    does not say what is free (no /proc), all that it has."""
    said = (1024 * int(line.split()[1]) for line in _lines(Path("/proc/meminfo")) if "MemAvailable" in line)
    free = next(said, None)
    if free is None:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    group = Path("/sys/fs/cgroup")
    limit = _number(group / "memory.max")
    if limit is None:
        return free
    cached = next(
        (int(v) for k, _, v in (r.partition(" ") for r in _lines(group / "memory.stat")) if k == "inactive_file"), 0
    )
    return min(free, limit - (_number(group / "memory.current") or 0) + cached)


def refuse(need: Need, what: str, *, have: int | None = None, hint: str = "") -> None:
    """Raises TooLittleMemory, with the sum and its parts, where `need` is more than there is (or than `have`)."""
    free = available() if have is None else have
    if total(need) <= RESERVE * free:
        return
    parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in need.items())
    raise TooLittleMemory(
        f"{what} needs about {total(need) / GIB:.1f} GiB ({parts}), and {free / GIB:.1f} GiB are free.",
        hint or "Take a smaller base, or a machine with more memory.",
    )


def _number(path: Path) -> int | None:
    said = "".join(_lines(path)).strip()
    return int(said) if said.isdigit() else None


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
