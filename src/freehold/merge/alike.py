"""Whether whole models can be merged at all: the same architecture, the same tensors, the same tokenizer.

mergekit can also join tokenizers and cut embeddings to size; here a token means the same in every model, or the merge
is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freehold.engines.base_files import chat_template, hf_files, read_json
from freehold.engines.bases import Base
from freehold.errors import BaseUnusable

__all__ = ["check_alike", "shapes"]

IGNORED = ("padding", "truncation", "version")  # of tokenizer.json: they change no id
KIND = ("architectures", "model_type", "tie_word_embeddings", "num_attention_heads", "num_key_value_heads")
MEANS = ("head_dim", "hidden_act", "num_experts_per_tok", "rms_norm_eps", "sliding_window")
HINT = "Only models of one architecture and size are merged: give those that were trained from the same model."


def check_alike(models: Sequence[Base]) -> None:
    """Raises BaseUnusable, naming the two and what differs first."""
    for first, other in ((models[0], other) for other in models[1:]):
        _same_kind(first, other)
        _same_tensors(first, other)
        _same_means(first, other)
        _same_words(first, other)


def _same_kind(first: Base, other: Base) -> None:
    one, two = (read_json(model.path / "config.json") for model in (first, other))
    for name in KIND:
        if one.get(name) != two.get(name):
            said = f"{name} is {_said(one.get(name))} in {first.name} and {_said(two.get(name))} in {other.name}."
            raise BaseUnusable(said, HINT)


def _same_means(first: Base, other: Base) -> None:
    means, others = (_means(read_json(model.path / "config.json")) for model in (first, other))
    for name in sorted(means.keys() & others.keys()):
        if means[name] != others[name]:
            raise BaseUnusable(f"{name} is {means[name]} in {first.name} and {others[name]} in {other.name}.", HINT)


def _means(config: dict[str, Any]) -> dict[str, Any]:
    """What the same tensors would do otherwise with: compared where both say it, for writers leave defaults out."""
    rope = config.get("rope_parameters") or {}
    said = {name: config.get(name) for name in MEANS} | {"rope_theta": rope.get("rope_theta", config.get("rope_theta"))}
    return {name: value for name, value in said.items() if value is not None}


def _same_tensors(first: Base, other: Base) -> None:
    one, two = (shapes(model.path) for model in (first, other))
    for name in sorted({*one, *two}):
        if one.get(name) != two.get(name):
            sides = (f"{' x '.join(map(str, s[name]))}" if name in s else "missing" for s in (one, two))
            here, there = sides
            raise BaseUnusable(f"{name} is {here} in {first.name} and {there} in {other.name}.", HINT)


def _same_words(first: Base, other: Base) -> None:
    one, two = (_words(model.path) for model in (first, other))
    for name in sorted({*one, *two}):
        if one.get(name) != two.get(name):
            raise BaseUnusable(
                f"The tokenizers of {first.name} and {other.name} differ in their {name}.",
                "Merge models with one tokenizer: a token must mean the same in both.",
            )


def shapes(folder: Path) -> dict[str, list[int]]:
    """The sides of each tensor in a Hugging Face folder."""
    from safetensors import safe_open

    found: dict[str, list[int]] = {}
    for path in hf_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as file:
                found |= {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return found


def _words(folder: Path) -> dict[str, Any]:
    said = {name: value for name, value in read_json(folder / "tokenizer.json").items() if name not in IGNORED}
    return said | {"chat template": chat_template(folder)}


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
