"""A Hugging Face config.json -> Architecture.

    {"model_type": "qwen3_moe", "hidden_size": 2048, "num_experts": 128, ...}  ->  48 alike layers, 30,532,122,624

A multimodal model's text part is what is read; its towers are named in `beside`. A kind that isn't in the tables here
is read as a plain gated decoder where its numbers have the usual names, and `known` is False.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from freehold.errors import BadSetting
from freehold.fit import families
from freehold.fit.architecture import Stack
from freehold.fit.beside import beside
from freehold.fit.decoders import PLAIN, decoder
from freehold.fit.said import HINT, Said

__all__ = ["Architecture"]

INSIDE = ("text_config", "llm_config", "language_config", "thinker_config")
KINDS: dict[str, Callable[[Said], Stack]] = {
    "bert": families.bert,
    "deepseek_ref": families.deepseek_v4,
    "deepseek_v4": families.deepseek_v4,
    "falcon": families.falcon,
    "gemma4": families.gemma4,
    "gemma4_text": families.gemma4,
    "gpt_oss": families.gpt_oss,
    "granitemoehybrid": families.granite_hybrid,
    "kimi_linear": families.kimi_linear,
    "llama4": families.llama4,
    "llama4_text": families.llama4,
    "mimo_v2_flash": families.mimo_v2,
    "minimax_m3": families.minimax_m3,
    "nemotron-nas": families.nemotron_nas,
    "nemotron_h": families.nemotron_h,
    "rwkv": families.rwkv,
    "step3p5": families.step3,
    "step3p7": families.step3,
}


@dataclass(frozen=True, slots=True)
class Architecture(Stack):
    """A model by what it is made of; made by `of`."""

    @classmethod
    def of(cls, config: Mapping[str, Any], where: str = "") -> Architecture:
        """From a Hugging Face config.json; `where` names it in what is said. Raises BadSetting (exit code 2) where it
        isn't a language model's, or where a number is missing or absurd."""
        if not isinstance(config, Mapping):
            raise BadSetting(f"{Said({}, where).place} isn't a JSON object.", HINT)
        said = Said(_text(config), where)
        built = _built(said)
        if any(layer.chosen > layer.experts for _, layer in built.layers):
            raise BadSetting(f"{said.place} picks more experts a token than there are.", HINT)
        found = {each.name: getattr(built, each.name) for each in fields(built)}
        found["beside"] = tuple(beside(config, said, built).items())
        found["context"] = said.maybe("max_position_embeddings", "n_ctx", "context_length") or 0
        return cls(**found)


def _text(config: Mapping[str, Any]) -> dict[str, Any]:
    inner = next((config[name] for name in INSIDE if isinstance(config.get(name), Mapping)), None)
    text = dict(config if inner is None else inner)
    if text.get("tie_word_embeddings") is None:
        text["tie_word_embeddings"] = config.get("tie_word_embeddings")
    text.setdefault("model_type", config.get("model_type", ""))
    return text


def _built(said: Said) -> Stack:
    if said.kind in KINDS:
        return KINDS[said.kind](said)
    return decoder(said, known=said.kind.removesuffix("_text") in PLAIN)
