"""What a model's file holds beside its text part: a vision tower, heads that predict further tokens. Sizes where the
configuration tells them, else 0: there is one.

    {"vision": 576388336, "mtp": 2523679232}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freehold.errors import BadSetting
from freehold.fit.architecture import Layer, Stack
from freehold.fit.families import deepseek_v4, nemotron_layers
from freehold.fit.said import Said

__all__ = ["beside"]

UNTOLD = ("minimax_m2", "minimax_m3", "mimo_v2_flash", "step3p5", "step3p7")


def beside(config: Mapping[str, Any], text: Said, a: Stack) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, part in (("vision", "vision_config"), ("audio", "audio_config")):
        tower = config.get(part)
        if isinstance(tower, Mapping):
            found[name] = _told(tower, a.hidden) if name == "vision" else 0
    steps = text.maybe("num_nextn_predict_layers", "mtp_num_hidden_layers")
    if steps:
        found["mtp"] = steps * _ahead(text, a)
    return found


def _ahead(text: Said, a: Stack) -> int:
    """One step ahead: a matrix of 2 d d, three norms, and the layer that follows. DeepSeek-V3 and GLM-4.5 store the
    embeddings and the head again; DeepSeek-V4 joins its streams again. 0: nothing tells how large it is."""
    d, kind = a.hidden, text.kind
    if kind == "nemotron_h":
        layers = nemotron_layers(text, "mtp_hybrid_override_pattern", "mtp_layers_block_type")
        return _size(layers) + 2 * d * d + 3 * d if layers else 0
    if kind in UNTOLD:
        return 0
    more = 0
    if kind in ("deepseek_v4", "deepseek_ref"):
        one = {"num_hidden_layers": 1, "compress_ratios": [0], "num_hash_layers": 0}
        alone = deepseek_v4(Said(dict(text.config) | one, text.where))
        layer, more = alone.layers[0][1], alone.vectors - d
    else:
        layer = _last(a)
    copies = 2 * a.vocabulary * d if kind in ("deepseek_v3", "deepseek_v32", "glm4_moe") else 0
    return _size([layer]) + 2 * d * d + 3 * d + more + copies


def _size(layers: list[Layer]) -> int:
    return sum(layer.always + layer.experts * layer.each for layer in layers)


def _last(a: Stack) -> Layer:
    """The widest layer with attention: in a model that mixes kinds, the one that predicts ahead is of that kind."""
    full = [layer for _, layer in a.layers if layer.kept] or [layer for _, layer in a.layers]
    return max(full, key=lambda layer: layer.always + layer.experts * layer.each)


def _told(tower: Mapping[str, Any], out: int) -> int:
    """0 where the configuration lacks what its size hangs on."""
    try:
        return _vision(tower, out)
    except BadSetting:
        return 0


def _vision(tower: Mapping[str, Any], out: int) -> int:
    said = Said(tower, "vision_config")
    if said.kind.startswith(("qwen3_vl", "qwen3_5")):
        return _qwen(said)
    if said.kind == "siglip_vision_model":
        return _siglip(said, out)
    return _gemma4(said, out) if said.kind == "gemma4_vision" else 0


def _qwen(said: Said) -> int:
    """transformers, models/qwen3_vl: patches, `depth` blocks with biases, a merger of 2 x 2, and one for each depth
    whose states the text part reads."""
    h, f, merged = said.of("hidden_size"), said.of("intermediate_size"), said.of("spatial_merge_size") ** 2
    patch = said.of("in_channels") * said.of("temporal_patch_size") * said.of("patch_size") ** 2 * h + h
    block = 3 * h * h + 3 * h + h * h + h + 2 * h * f + f + h + 4 * h
    wide, out = merged * h, said.of("out_hidden_size")
    merger = wide * wide + wide + wide * out + out
    deep = len(said.config.get("deepstack_visual_indexes") or [])
    return patch + said.of("num_position_embeddings") * h + said.of("depth") * block + merger + 2 * h + deep * (
        merger + 2 * wide
    )  # fmt: skip


def _siglip(said: Said, out: int) -> int:
    """transformers, models/siglip and gemma3's projector: one matrix and a norm."""
    h, f = said.of("hidden_size"), said.of("intermediate_size")
    patch, size = said.maybe("patch_size") or 14, said.maybe("image_size") or 896
    block = 4 * (h * h + h) + 2 * h * f + f + h + 4 * h
    table = 3 * patch**2 * h + h + (size // patch) ** 2 * h
    return table + said.of("num_hidden_layers") * block + 2 * h + h * out + h


def _gemma4(said: Said, out: int) -> int:
    """transformers, models/gemma4: gated blocks without biases, norms of queries and keys, positions by two axes."""
    h, f = said.of("hidden_size"), said.of("intermediate_size")
    head = said.of("head_dim")
    block = 4 * h * h + 3 * h * f + 4 * h + 2 * head
    table = 3 * said.of("patch_size") ** 2 * h + 2 * said.of("position_embedding_size") * h
    scaled = 2 * h if said.flag("standardize") else 0
    return table + said.of("num_hidden_layers") * block + scaled + h * out
