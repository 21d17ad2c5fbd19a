"""The base as torch's, frozen, with LoRA on every linear layer; and the loss of a few rows.

    load(folder, "bfloat16") → transformers' model, on a device    4 bits: NF4 with double quantisation (bitsandbytes)
    attach(model, rank=16, alpha=32, seed=0) → PEFT's model: y = W x + alpha / rank * B (A x), A and B float32
    loss(model, rows, prefix, pad)           → mean cross-entropy of the answers' ids

The prefix that all rows share is computed once and its keys and values are handed to each row (they carry gradients:
the result is that of computing it for every row). Logits are made at answer positions alone.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freehold.engines.hf import with_cache
from freehold.errors import BaseUnusable, MissingExtra
from freehold.tune.decoder.data import Example, padded
from freehold.tune.decoder.device import CPU, Device
from freehold.tune.decoder.tokens import quiet_transformers

__all__ = [
    "SHORT", "adapter", "adapter_config", "attach", "forget_activations", "load", "logits", "loss", "put_adapter",
]  # fmt: skip

HEADS = ("final_logit_softcapping", "logits_scaling", "logit_scale")  # a head that is more than one matrix
SHORT = 512  # ids
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def load(folder: Path, kind: str, *, bits: int = 16, longest: int = 0, device: Device = CPU) -> Any:
    """The frozen base in a Hugging Face folder, in `kind` (float32, bfloat16), or with its linear layers in NF4.

    `longest`: ids of the longest row, which decides the attention. Raises BaseUnusable, MissingExtra.
    """
    import torch

    transformers = quiet_transformers()
    dtype = getattr(torch, kind)
    # measured on a CPU: plain attention is the faster one while rows are short, but its memory goes with their square
    plain = longest <= SHORT and not device.card
    how: dict[str, Any] = {"dtype": dtype, "attn_implementation": "eager" if plain else "sdpa"}
    if device.card:
        how["device_map"] = {"": device.name}
    if bits == 4:
        how["quantization_config"] = _four_bits(transformers, dtype)
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, **how)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise BaseUnusable(f"The base in {folder} can't be loaded: {said}", "Give another base.") from error
    scaled = next((name for name in HEADS if getattr(model.config, name, None) not in (None, 1, 1.0)), None)
    if scaled is not None:
        raise BaseUnusable(f"The base in {folder} scales its logits ({scaled}), which is not supported.")
    model.requires_grad_(False)
    model.eval()
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.train()  # else bitsandbytes packs the weights for inference, and no gradient passes any more
    return model


def _four_bits(transformers: Any, dtype: Any) -> Any:
    """NF4 with double quantisation (QLoRA, arXiv 2305.14314)."""
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingExtra("Tuning in 4 bits needs the package bitsandbytes.", "pip install bitsandbytes") from error
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def forget_activations(model: Any) -> None:
    """Each layer's activations are made again in the backward pass. The layers' own switch asks for training mode; what
    is inside them stays as it was, so nothing is dropped out. Rows then hold the prefix themselves: Examples.whole."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    inner = model.get_base_model()
    # the older name warns from transformers 5.24 on
    enable = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    for module in inner.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True


def adapted(experts: int) -> str | list[str]:
    """What an adapter is put on, as PEFT names it: all linear layers but the head; beside experts those of attention,
    since an expert is a slice of one tensor to PEFT, whose adapter no GGUF here can hold, and a router that moves sends
    ids to experts that never learned from them."""
    return list(ATTENTION) if experts else "all-linear"


def attach(model: Any, *, rank: int, alpha: int, seed: int) -> Any:
    """PEFT's LoRA on what `adapted` names. A is drawn by the seed, B is 0 (so it starts at the base)."""
    import torch

    # peft opens bitsandbytes where it is there, which warns of a kernel that it does not need
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtra("Tuning a decoder needs the package peft.", "pip install 'freehold[tune]'") from error
    layers = adapted(getattr(model.config, "num_local_experts", 0))
    how = LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers, lora_dropout=0.0, task_type="CAUSAL_LM")
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers
        return get_peft_model(model, how)


def loss(model: Any, rows: Sequence[Example], prefix: Sequence[int], pad: int) -> Any:
    """Mean cross-entropy over the answers' ids (end token included), a scalar of torch."""
    import torch

    found, wanted = logits(model, rows, prefix, pad)
    return torch.nn.functional.cross_entropy(found, wanted)


def logits(model: Any, rows: Sequence[Example], prefix: Sequence[int], pad: int) -> tuple[Any, Any]:
    """Those at the answers' ids, row after row, [ids, vocabulary], and the ids that are wanted there."""
    import torch
    from peft.helpers import disable_input_dtype_casting
    from transformers import DynamicCache

    inner = model.get_base_model()
    decoder, head = inner.get_decoder(), inner.get_output_embeddings()
    half = head.weight.dtype == torch.bfloat16
    where = head.weight.device
    batch = padded(rows, (), pad).to(where)
    # float32 adapters beside a bfloat16 base: autocast rounds them once a step, peft need not widen every input
    with torch.autocast(where.type, torch.bfloat16, enabled=half), disable_input_dtype_casting(model, half):
        cache = _shared(decoder, inner.config, prefix, len(rows)) if prefix else DynamicCache(config=inner.config)
        states = decoder(input_ids=batch.ids, **with_cache(decoder, cache)).last_hidden_state
        return head(states.reshape(-1, states.shape[-1])[batch.at]).float(), batch.wanted


def _shared(decoder: Any, config: Any, prefix: Sequence[int], rows: int) -> Any:
    """The prefix's keys and values, seen by every row."""
    import torch
    from transformers import DynamicCache

    cache: Any = DynamicCache(config=config)
    where = next(decoder.parameters()).device
    decoder(input_ids=torch.tensor([list(prefix)], device=where), **with_cache(decoder, cache))
    for layer in cache.layers:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return cache


def adapter(model: Any) -> dict[str, Any]:
    """The trained tensors by PEFT's names: base_model.model.<layer>.lora_A.weight [rank, in], ...lora_B [out, rank]."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, save_embedding_layers=False)  # else peft asks the hub about the base
    return {name: state[name].detach().float().cpu().contiguous() for name in sorted(state)}


def put_adapter(model: Any, tensors: dict[str, Any]) -> None:
    from peft import set_peft_model_state_dict

    said: Any = set_peft_model_state_dict(model, tensors)
    assert not said.unexpected_keys, said.unexpected_keys


def adapter_config(base: str, rank: int, alpha: int, experts: int = 0) -> bytes:
    """adapter_config.json, so that PEFT can load the adapter beside it as well."""
    import json

    said = {
        "base_model_name_or_path": base, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "lora_alpha": alpha, "lora_dropout": 0.0, "peft_type": "LORA", "r": rank,
        "target_modules": adapted(experts), "task_type": "CAUSAL_LM",
    }  # fmt: skip
    return (json.dumps(said, indent=2) + "\n").encode()
