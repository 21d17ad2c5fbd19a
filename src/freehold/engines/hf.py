"""What comes from the Hugging Face world: a name on its hub, and BERT weights in safetensors -> ONNX without torch.

fetch("BAAI/bge-small-en-v1.5") -> folder       the one thing here that needs a network
weights(config, folder)         -> {"embeddings.word_embeddings.weight": [words, dim], ...} of a BERT's safetensors
convert(config, weights)        -> model.onnx   config {"model_type": "bert", "num_attention_heads": 12, ...};
                                                int8 with a scale per row (bert.py)
with_cache(model, cache)        -> the arguments of a torch model's forward that has read a prefix already
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold.engines.bert import bert_onnx, transposed
from freehold.errors import StudentUnusable

__all__ = ["convert", "fetch", "weights", "with_cache"]

Floats = npt.NDArray[np.float32]

FILES = ["*.json", "1_Pooling/config.json", "model.safetensors"]


def fetch(name: str) -> Path:
    """The local folder of an encoder named on the hub (its files stay in the hub's own cache)."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise StudentUnusable(
            f"The encoder {name!r} is no local folder and could not be fetched from the Hugging Face hub.",
            "Give a local folder, or leave the encoder out: the bundled ones need no network.",
        ) from error


def weights(config: Mapping[str, Any], folder: Path) -> dict[str, Floats]:
    """model.safetensors of a BERT, by the names of its plain model. Other shapes are refused, not guessed at."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    kind, act = config.get("model_type"), config.get("hidden_act", "gelu")
    if kind != "bert" or act != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
        raise StudentUnusable(
            f"The encoder in {folder} is of the kind {kind!r} (activation {act!r}); only BERT's shape is converted.",
            "Export it to ONNX and give a folder with model.onnx and tokenizer.json.",
        )
    try:
        tensors = load_file(folder / "model.safetensors")
        _shape(config)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise StudentUnusable(f"config.json or model.safetensors in {folder} can't be used: {error!r}.") from error
    return {key.removeprefix("bert."): value.astype(np.float32) for key, value in tensors.items()}


def convert(config: Mapping[str, Any], named: Mapping[str, Floats]) -> bytes:
    """The weights of a BERT -> the bytes of model.onnx."""
    heads, layers = _shape(config)
    epsilon = float(config.get("layer_norm_eps", 1e-12))
    return bert_onnx(transposed(named), heads=heads, layers=layers, epsilon=epsilon)


def _shape(config: Mapping[str, Any]) -> tuple[int, int]:
    return int(config["num_attention_heads"]), int(config["num_hidden_layers"])


def with_cache(model: Any, cache: Any) -> dict[str, Any]:
    """How this model's forward takes keys and values that are known: transformers renamed the argument in 5.24."""
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    return {name: cache, "use_cache": True}
