"""Open models and weight formats as rows of facts, and what the plan counts with: architectures and forms.

    models.json    {"id": "llama-3.1-8b", "aliases": ["llama3.1-8b"], "name", "family", "vendor", "kind": "decoder",
                    "weights": "https://huggingface.co/...", "licence": "llama-3.1" (a row of licences.json),
                    "released": "2024-07-23" (or a month), "released_source", "context": 131072 (tokens),
                    "config": {what of its config.json counts}, "quality": {"mmlu": 69.4}, "quality_sources": {...}}
    formats.json   {"id": "q4-k-m", "recipe": "Q4_K_M" (a form of fit.forms), "shown": 4.894 (bits a weight, printed
                    for Llama-3.1-8B), "engines": [...], "what"}; a team's own row may say `bits` instead of `recipe`

    architecture(fact)      Architecture; parameters_of(fact), active_of(fact) also for a row without a config
    form(fact)              Form: weight_bytes(architecture(model), form(format))
    of_folder(path)         Architecture and the bytes of its weights, from a folder with config.json

`kind`: decoder, encoder (no text is written), image. A row without `config` has at most `parameters` and `active` as
their vendor rounds them. `native`: the format that the vendor's own weights are in, where it isn't 16 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import BadSetting
from freehold.facts.values import number
from freehold.fit import Architecture, Form, active, form_of, parameters, uniform
from freehold.nouns import Fact

__all__ = ["active_of", "architecture", "form", "has_architecture", "of_folder", "parameters_of"]


def has_architecture(model: Fact) -> bool:
    return isinstance(model.values.get("config"), Mapping)


def architecture(model: Fact) -> Architecture:
    """What a row of `models` is made of. Raises BadSetting where the row has no configuration, or one that isn't a
    language model's."""
    if not has_architecture(model):
        kind = model.values.get("kind")
        why = "makes pictures, not text" if kind == "image" else "has no configuration among the facts"
        raise BadSetting(
            f"{model.ref} {why}, so its memory and speed can't be planned.",
            f'Take another model, or put its config.json into freehold.toml: [facts.models."{model.id}".config].',
        )
    return _read(msgspec.json.encode(model.values["config"]), model.ref)


@lru_cache(1024)
def _read(config: bytes, where: str) -> Architecture:
    return Architecture.of(msgspec.json.decode(config), where)


def parameters_of(model: Fact) -> int | None:
    """Of the text part; None where the row doesn't tell."""
    return parameters(architecture(model)) if has_architecture(model) else _number(model, "parameters")


def active_of(model: Fact) -> int | None:
    """Those that one token is multiplied with; None where the row doesn't tell."""
    return active(architecture(model)) if has_architecture(model) else _number(model, "active")


def _number(model: Fact, name: str) -> int | None:
    value = model.values.get(name)
    return int(value) if isinstance(value, int | float) else None


def form(row: Fact) -> Form:
    """How a row of `formats` stores weights. Raises BadSetting for a recipe that isn't one, or for absurd bits."""
    if "bits" in row.values:
        bits = number(row, "bits")
        if not 0.5 <= bits <= 64:
            raise BadSetting(f"bits of {row.ref} is {bits:g}.", "It is bits a weight, 0.5 to 64.")
        return uniform(row.id, bits)
    return form_of(str(row.values.get("recipe", row.id)))


def of_folder(folder: Path) -> tuple[Architecture, int | None]:
    """From a folder as Hugging Face lays it out: its config.json, and the bytes of its safetensors (None: it has
    none). Raises BadSetting where there is no config.json, or it isn't a language model's."""
    file = folder / "config.json"
    if not file.is_file():
        raise BadSetting(f"{folder} has no config.json.", "Give the folder that holds the model's weights.")
    try:
        config: Any = msgspec.json.decode(file.read_bytes())
    except msgspec.DecodeError as error:
        raise BadSetting(f"{file} isn't JSON: {error}.", "Give the folder that holds the model's weights.") from error
    weights = [part.stat().st_size for part in folder.glob("*.safetensors")]
    return Architecture.of(config, str(folder)), sum(weights) or None
