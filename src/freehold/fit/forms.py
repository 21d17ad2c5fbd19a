"""Bytes of the weights in each format, matrix by matrix, as the writers of these formats lay them out.

    weight_bytes(a, "Q4_K_M")     4.92e9 for Llama-3.1-8B: half of v and down, and the head, in Q6_K
    read_bytes(a, form, 8)        what a decode step of 8 streams reads of them

A Form says which block types a matrix gets, by its role. Block types are ggml's (bytes a block, numbers in it); a row
that its block doesn't divide gets the type that llama.cpp falls back to. llama.cpp's mixtures: src/llama-quant.cpp
(use_more_bits takes half of the layers). NF4 with double quantisation: arXiv 2305.14314; GPTQ and AWQ in groups of 128:
arXiv 2210.17323, 2306.00978; MXFP4: OCP MX 1.0; NVFP4: a scale in 8 bits for 16 numbers. i-quants below four bits are
counted by the bits that llama.cpp printed for Llama-3.1-8B (tools/quantize/README.md).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from freehold.errors import BadSetting
from freehold.fit.architecture import Matrix, Stack
from freehold.fit.count import Model, experts_touched, whole

__all__ = ["FORMS", "Form", "form_of", "read_bytes", "uniform", "weight_bytes"]

Mix = Mapping[str, float]
"""Block type -> share of the layers that get it."""


class Block(NamedTuple):
    bytes: float
    numbers: int = 1
    instead: str = ""


BLOCKS = {
    "F32": Block(4), "F16": Block(2), "FP8": Block(1 + 4 / 128**2), "INT8": Block(1),
    "NF4": Block(4.127 / 8), "GPTQ4": Block(4.125 / 8), "AWQ4": Block(4.156 / 8),
    "MXFP4": Block(17, 32, "F16"), "NVFP4": Block(9, 16, "F16"),
    "Q4_0": Block(18, 32, "F16"), "Q4_1": Block(20, 32, "F16"), "Q5_0": Block(22, 32, "F16"),
    "Q5_1": Block(24, 32, "F16"), "Q8_0": Block(34, 32, "F16"), "IQ4_NL": Block(18, 32, "F16"),
    "Q2_K": Block(84, 256, "IQ4_NL"), "Q3_K": Block(110, 256, "IQ4_NL"), "IQ4_XS": Block(136, 256, "IQ4_NL"),
    "Q4_K": Block(144, 256, "Q5_0"), "Q5_K": Block(176, 256, "Q5_1"), "Q6_K": Block(210, 256, "Q8_0"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Form:
    """`roles`: what matrices of a role get instead of `matrix`. `vectors`: bytes a number of what isn't a matrix."""

    id: str
    matrix: Mix
    table: Mix
    head: Mix
    roles: Mapping[str, Mix]
    expert: Mix | None = None
    vectors: float = 4


def uniform(name: str, bits: float) -> Form:
    """Every number in `bits`: a format that somebody gives by its bits alone."""
    return _form(name, {f"={bits}": 1.0}, vectors=bits / 8)


def form_of(name: str) -> Form:
    """By its name, however it is written (q4-k-m, Q4_K_M). Raises BadSetting with the near matches."""
    found = FORMS.get(name.upper().replace("-", "_"))
    if found is None:
        near = difflib.get_close_matches(name.upper().replace("-", "_"), FORMS, 4, 0.4) or sorted(FORMS)
        raise BadSetting(f"There is no weight format {name[:40]!r}.", f"Near: {', '.join(near)}.")
    return found


def weight_bytes(model: Model, form: str | Form) -> int:
    """Bytes of the text part's weights, without what `beside` names. Raises BadSetting for an unknown format."""
    a = whole(model)
    return _bytes(a, form_of(form) if isinstance(form, str) else form, None)


def read_bytes(a: Stack, form: str | Form, streams: int) -> int:
    """Bytes of weights that one decode step of `streams` streams reads."""
    return _bytes(a, form_of(form) if isinstance(form, str) else form, streams)


def _bytes(a: Stack, form: Form, streams: int | None) -> int:
    found = a.vectors * form.vectors + sum(_matrix(m, form) for m in (*a.ends, *a.other))
    for times, layer in a.layers:
        experts = layer.experts if streams is None else experts_touched(layer.experts, layer.chosen, streams)
        one = sum(_matrix(m, form, expert=True) for m in layer.expert) + layer.expert_vectors * form.vectors
        whole = sum(_matrix(m, form) for m in layer.matrices) + layer.vectors * form.vectors
        found += times * (whole + experts * one)
    return round(found)


def _matrix(m: Matrix, form: Form, *, expert: bool = False) -> float:
    if m.role == "router" and form.vectors == 4:
        return 4.0 * m.size  # llama.cpp keeps routers in float32
    mix = {"table": form.table, "head": form.head, "tied": form.head}.get(m.role) or form.roles.get(m.role, form.matrix)
    if expert and form.expert is not None:
        mix = form.expert
    return m.outputs * sum(share * _row(name, m.inputs) for name, share in mix.items())


def _row(name: str, inputs: int) -> float:
    if name.startswith("="):
        return inputs * float(name[1:]) / 8
    block = BLOCKS[name]
    return _row(block.instead, inputs) if inputs % block.numbers else inputs // block.numbers * block.bytes


def _form(name: str, matrix: Mix, *, vectors: float, head: Mix | None = None, table: Mix | None = None,
          expert: Mix | None = None, **roles: Mix) -> Form:  # fmt: skip
    return Form(name, matrix, table or matrix, head or matrix, roles, expert, vectors)


def _gguf(name: str, matrix: str, *, head: str = "Q6_K", **roles: Mix) -> Form:
    return _form(name, {matrix: 1.0}, head={head: 1.0}, vectors=4, **roles)


def _apart(name: str, matrix: str) -> Form:
    """Linear layers in `matrix`, the embeddings and the head in 16 bits."""
    return _form(name, {matrix: 1.0}, head={"F16": 1.0}, table={"F16": 1.0}, vectors=2)


HALF4, HALF5 = {"Q4_K": 0.5, "Q6_K": 0.5}, {"Q5_K": 0.5, "Q6_K": 0.5}
FORMS: dict[str, Form] = {form.id: form for form in (
    _form("F32", {"F32": 1.0}, vectors=4),
    _form("BF16", {"F16": 1.0}, vectors=2),
    _form("F16", {"F16": 1.0}, vectors=2),
    _apart("FP8", "FP8"),
    _apart("INT8", "INT8"),
    _apart("NF4", "NF4"),
    _apart("GPTQ", "GPTQ4"),
    _apart("AWQ", "AWQ4"),
    _apart("NVFP4", "NVFP4"),
    _form("MXFP4", {"F16": 1.0}, vectors=2, expert={"MXFP4": 1.0}),
    _form("MXFP4_MOE", {"Q8_0": 1.0}, vectors=4, expert={"MXFP4": 1.0}),
    _gguf("Q8_0", "Q8_0", head="Q8_0"),
    _gguf("Q6_K", "Q6_K"),
    _gguf("Q5_K_M", "Q5_K", v=HALF5, down=HALF5, qkv={"Q6_K": 1.0}),
    _gguf("Q5_K_S", "Q5_K"),
    _gguf("Q4_K_M", "Q4_K", v=HALF4, down=HALF4, qkv={"Q5_K": 1.0}),
    _gguf("Q4_K_S", "Q4_K", v={"Q4_K": 0.875, "Q5_K": 0.125}, down={"Q4_K": 0.875, "Q5_K": 0.125}),
    _gguf("Q4_0", "Q4_0"),
    _gguf("Q4_1", "Q4_1"),
    _gguf("IQ4_XS", "IQ4_XS", v={"Q5_K": 1.0}, down={"IQ4_XS": 0.875, "Q5_K": 0.125}),
    _gguf("Q3_K_L", "Q3_K", v={"Q5_K": 1.0}, down={"Q5_K": 1.0}, o={"Q5_K": 1.0}, qkv={"Q4_K": 1.0}),
    _gguf("Q3_K_M", "Q3_K", v={"Q4_K": 0.94, "Q5_K": 0.06}, down={"Q4_K": 0.94, "Q5_K": 0.06}, o={"Q4_K": 1.0},
          qkv={"Q4_K": 1.0}),
    _gguf("Q3_K_S", "Q3_K"),
    _gguf("Q2_K", "Q2_K", v={"Q4_K": 1.0}, down={"Q3_K": 1.0}, o={"Q3_K": 1.0}, qkv={"Q3_K": 1.0}),
    *(uniform(name, bits) for name, bits in (("IQ3_M", 3.763), ("IQ2_S", 2.740), ("IQ2_XS", 2.588))),
)}  # fmt: skip
