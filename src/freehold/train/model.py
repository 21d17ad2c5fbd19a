"""The model of a plan, by transformers' own classes: Llama's shape, or Mixtral's where it has experts.

    config_of(Shape(layers=4, width=128, ...), end=0)    LlamaConfig {"hidden_size": 128, "num_hidden_layers": 4, ...}
    fresh(config, seed=0)                                LlamaForCausalLM, float32, the same bits for the same seed

Weights are drawn as GPT-2's were: normal with deviation 0.02, and those that write into the residual stream (`o_proj`,
`down_proj`) divided by sqrt(2 layers) (Radford et al. 2019, section 2.3).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.project.storage import guarded, sync_folder
from freehold.train.nouns import Shape

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["balanced", "config_of", "fresh", "save", "shape_of"]

THETA = 10_000.0  # of the rotary positions: Llama's, for the contexts of a few thousand that a laptop trains
EPS = 1e-5
DEVIATION = 0.02
RESIDUAL = ("o_proj.weight", "down_proj.weight", "down_proj")


def config_of(shape: Shape, end: int) -> PretrainedConfig:
    """`end`: the token that divides documents, which begins, ends and pads a text. Imports transformers."""
    from transformers import LlamaConfig, MixtralConfig

    common: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": shape.context,
        "tie_word_embeddings": shape.tied,
        "initializer_range": DEVIATION,
        "rms_norm_eps": EPS,
        "rope_parameters": {"rope_type": "default", "rope_theta": THETA},
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    if not shape.experts:
        return LlamaConfig(**common)
    return MixtralConfig(num_local_experts=shape.experts, num_experts_per_tok=shape.chosen, **common)


def balanced(config: PretrainedConfig, balance: float) -> PretrainedConfig:
    """The same, and experts give their balancing loss with this weight. A dense model's is left as it is."""
    if getattr(config, "num_local_experts", 0):
        config.output_router_logits = balance > 0
        config.router_aux_loss_coef = balance
    return config


def fresh(config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """A model that has learned nothing; torch's random numbers are left as they were."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(RESIDUAL):
                weight.mul_((2 * config.num_hidden_layers) ** -0.5)
    return model


def save(model: Any, folder: Path) -> None:
    """Written aside and renamed: the folder is there whole, or not at all. Raises StorageFailed."""
    from safetensors import SafetensorError

    aside = folder.with_name(f".{folder.name}.tmp")
    with guarded(folder):
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            model.save_pretrained(aside)
            for path in (*aside.iterdir(), aside):
                sync_folder(path)
            aside.rename(folder)
            sync_folder(folder.parent)
        except SafetensorError as error:
            raise OSError(*_why(error)) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _why(error: Exception) -> tuple[int, str]:
    """The system's number of what a safetensors writer only says in words, and the words."""
    said = str(error)
    found = re.search(r"\(os error (\d+)\)", said)
    number = int(found[1]) if found else errno.EIO
    return number, os.strerror(number)


def shape_of(config: dict[str, Any]) -> Shape:
    """The shape of a model that is trained on, from its config.json. Raises BaseUnusable where a number is missing."""
    from freehold.errors import BaseUnusable

    try:
        experts = int(config.get("num_local_experts") or 0)
        return Shape(
            layers=int(config["num_hidden_layers"]),
            width=int(config["hidden_size"]),
            inner=int(config["intermediate_size"]),
            heads=int(config["num_attention_heads"]),
            kv_heads=int(config.get("num_key_value_heads") or config["num_attention_heads"]),
            context=int(config["max_position_embeddings"]),
            vocabulary=int(config["vocab_size"]),
            experts=experts,
            chosen=int(config["num_experts_per_tok"]) if experts else 0,
            tied=bool(config.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BaseUnusable(
            f"The model's config.json can't be trained on: {error!r}.", "Give a decoder's own folder."
        ) from error
