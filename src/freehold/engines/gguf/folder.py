"""A base that is a GGUF as a Hugging Face folder, so that torch can read it: config, weights in float32, tokenizer.

    hf_folder(base.gguf, folder) -> folder/ config.json model.safetensors tokenizer.json tokenizer_config.json

transformers can read a GGUF too (5.23), but gives every byte-level tokenizer GPT-2's way to split: of SmolLM2's digits
it then makes other ids than llama.cpp does ("x  12": 216 216 33 34 for 256 33 34), so a model tuned on them would be
asked in words that it never saw. Here `tokenizer.ggml.pre` says how text is split. Qwen2's NFC is left out: llama.cpp
does not normalise.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from freehold.engines.gguf.names import hf_names, permuted
from freehold.engines.gguf.read import Gguf
from freehold.engines.gguf.vocab import CONTROL, GPT2, PRE, UNUSED, USER
from freehold.engines.gguf.weights import GgufWeights
from freehold.errors import BaseUnusable
from freehold.project.storage import guarded
from freehold.tell import Tell, quiet

__all__ = ["hf_folder", "tokenizer_json"]

FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def hf_folder(path: Path, folder: Path, *, tell: Tell = quiet) -> Path:
    """Write the folder, tensor by tensor; what is there already is kept. Raises BaseUnusable, MissingExtra,
    StorageFailed."""
    if (folder / "model.safetensors").is_file():
        return folder
    weights = GgufWeights.open(path)
    said = tokenizer_json(weights.file)
    with guarded(folder):
        _write(weights, said, folder, tell)
    return folder


def _write(weights: GgufWeights, said: dict[str, Any], folder: Path, tell: Tell) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")
    _json(folder / "tokenizer_config.json", _tokenizer_config(weights.file))
    _json(folder / "config.json", _config(weights))
    _safetensors(weights, folder / "model.safetensors", tell)  # last: it says that the rest is there


def tokenizer_json(file: Gguf) -> dict[str, Any]:
    """The tokenizer that gives llama.cpp's ids. Raises BaseUnusable for one that is not byte-level BPE."""
    keys = file.keys
    kind, pre = keys.get("tokenizer.ggml.model"), keys.get("tokenizer.ggml.pre")
    splits = next((parts for parts, name in PRE.items() if name == pre), None)
    if kind != "gpt2" or splits is None:
        raise BaseUnusable(
            f"{file.path} has a tokenizer of the kind {kind!r}, {pre!r}, from which none can be made for torch here.",
            f"Give the Hugging Face folder of the model. Known: gpt2 with {', '.join(PRE.values())}.",
        )
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    added = [
        {"id": i, "content": token, **FLAGS, "special": kind == CONTROL}
        for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind in (CONTROL, USER)
    ]
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": pre == "llama-bpe",
        "vocab": {token: i for i, (token, kind) in enumerate(zip(tokens, types, strict=True)) if kind != UNUSED},
        "merges": keys["tokenizer.ggml.merges"],
    }  # fmt: skip
    byte = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [_split(part, byte) for part in splits]
                          + ([] if GPT2 in splits else [{**byte, "use_regex": False}])},
        "post_processor": _begin(keys, tokens), "decoder": byte, "model": model,
    }  # fmt: skip


def _split(part: str, byte: dict[str, Any]) -> dict[str, Any]:
    if part == GPT2:
        return byte
    if part == "digits":
        return {"type": "Digits", "individual_digits": True}
    return {"type": "Split", "pattern": {"Regex": part}, "behavior": "Isolated", "invert": False}


def _begin(keys: dict[str, Any], tokens: list[str]) -> dict[str, Any] | None:
    """A begin token in front of every text, where the file asks for one."""
    if not keys.get("tokenizer.ggml.add_bos_token"):
        return None
    number = int(keys["tokenizer.ggml.bos_token_id"])
    token = tokens[number]
    one = [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    return {
        "type": "TemplateProcessing", "single": one, "pair": [*one, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}},
    }  # fmt: skip


def _tokenizer_config(file: Gguf) -> dict[str, Any]:
    keys, tokens = file.keys, file.keys["tokenizer.ggml.tokens"]
    names = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
    said = {ours: keys.get(f"tokenizer.ggml.{theirs}_token_id") for ours, theirs in names.items()}
    found: dict[str, Any] = {name: tokens[number] for name, number in said.items() if number is not None}
    found |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    found |= {"model_max_length": int(file.hyper("context_length"))}
    found |= {"add_bos_token": bool(keys.get("tokenizer.ggml.add_bos_token", False))}
    if template := keys.get("tokenizer.chat_template"):
        found["chat_template"] = template
    return found


def _config(weights: GgufWeights) -> dict[str, Any]:
    shape, keys = weights.shape, weights.file.keys
    if weights.file.hyper("rope.scaling.type", "none") != "none" or "rope_freqs.weight" in weights.file.tensors:
        raise BaseUnusable(f"{weights.source} stretches its positions.", "Give the Hugging Face folder of the model.")
    model = "mixtral" if shape.experts else shape.architecture
    experts = {"num_local_experts": shape.experts, "num_experts_per_tok": shape.chosen} if shape.experts else {}
    ids = {name: keys.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    return {
        "architectures": [f"{model.capitalize()}ForCausalLM"], "model_type": model, "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden, "intermediate_size": shape.inner, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "head_dim": shape.head,
        "max_position_embeddings": shape.context, "rms_norm_eps": shape.epsilon, "hidden_act": "silu",
        "rope_parameters": {"rope_theta": shape.rope_base, "rope_type": "default"},
        "tie_word_embeddings": shape.tied, "attention_bias": False, "mlp_bias": False, "dtype": "float32",
        **{f"{name}_token_id": number for name, number in ids.items()},
        "pad_token_id": keys.get("tokenizer.ggml.padding_token_id"), **experts,
    }  # fmt: skip


def _safetensors(weights: GgufWeights, path: Path, tell: Tell) -> None:
    """u64 length, JSON header, then the tensors one after another."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, sides in weights.sides.items():
        names = hf_names(name, weights.shape.experts)
        each = sides[1:] if len(sides) == 3 else sides  # the experts lie one after another in both
        for one in names:
            length = 4 * int(np.prod(each))
            header[one] = {"dtype": "F32", "shape": each, "data_offsets": [at, at + length]}
            at += length
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(len(head).to_bytes(8, "little") + head)
            for i, name in enumerate(weights.sides):
                tell("read the base", i / len(weights.sides))
                file.write(permuted(name, weights.tensor(name), weights.shape, back=True).tobytes())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _json(path: Path, said: dict[str, Any]) -> None:
    path.write_text(json.dumps(said, indent=2, ensure_ascii=False), encoding="utf-8")
