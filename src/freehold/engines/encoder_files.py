"""The files of a sentence encoder, read together and checked before anything runs.

folder/
├── model.onnx          (or onnx/model.onnx; or a BERT's config.json + model.safetensors, which hf.py converts)
├── tokenizer.json
└── encoder.json        {"name", "licence", "source", "sha256": {"model.onnx": ..., "tokenizer.json": ...}, "dim",
                         "max_tokens", "pooling": ["cls", "mean"], "prefix", "row_independent": true}
                        or, instead of it, sentence-transformers' files:
                        sentence_bert_config.json {"max_seq_length": 256}   1_Pooling/config.json

read(folder) -> Parts(settings, model, tokenizer, origin): bytes are hashed, checked and run from the same copy
read_carried(folder, "tuned-") -> the same from tuned-model.onnx, tuned-tokenizer.json, tuned-encoder.json
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import StudentUnusable

__all__ = ["Parts", "Settings", "read", "read_bytes", "read_carried", "read_json", "settings_of", "sha256"]

WANTED = "An encoder folder holds model.onnx (or a BERT's config.json and model.safetensors) and tokenizer.json."
POOLINGS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """encoder.json. `pooling`: the poolings the encoder offers, its default first. `row_independent`: the graph gives a
    text the same vector whatever stands beside it in a batch; where this isn't said, each text runs alone."""

    name: str
    max_tokens: int
    pooling: tuple[str, ...]
    dim: int = 0
    prefix: str = ""
    licence: str = "unknown"
    source: dict[str, str] = {}
    sha256: dict[str, str] = {}
    row_independent: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    model: bytes
    tokenizer: bytes
    origin: str

    def __repr__(self) -> str:
        return f"Parts({self.settings.name}, {self.origin})"

    def digests(self) -> dict[str, str]:
        return {"model.onnx": sha256(self.model), "tokenizer.json": sha256(self.tokenizer)}

    def identity(self) -> str:
        """One sha256 of everything that decides a vector: graph, tokeniser, limit, prefix, poolings, batching."""
        s = self.settings
        decides = [sorted(self.digests().items()), s.max_tokens, s.prefix, s.pooling, s.row_independent]
        return sha256(msgspec.json.encode(decides))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(folder: Path) -> Parts:
    """Everything from one folder; StudentUnusable says what is missing or differs."""
    settings = settings_of(folder)
    tokenizer = read_bytes(folder / "tokenizer.json")
    model = next((p for p in (folder / "model.onnx", folder / "onnx" / "model.onnx") if p.is_file()), None)
    if model is not None:
        parts = Parts(settings, read_bytes(model), tokenizer, str(folder))
    elif (folder / "model.safetensors").is_file():
        from freehold.engines.hf import convert, weights

        settings = msgspec.structs.replace(settings, row_independent=True)
        config = read_json(folder / "config.json")
        parts = Parts(settings, convert(config, weights(config, folder)), tokenizer, str(folder))
    else:
        raise StudentUnusable(f"The encoder folder {folder} has no model.onnx.", WANTED)
    return _checked(parts)


def read_carried(folder: Path, stem: str) -> Parts:
    """An encoder whose three files have `stem` before their names, as an artefact with two encoders carries one."""
    settings = _stated(folder / f"{stem}encoder.json")
    model, tokenizer = read_bytes(folder / f"{stem}model.onnx"), read_bytes(folder / f"{stem}tokenizer.json")
    return _checked(Parts(settings, model, tokenizer, str(folder)))


def _checked(parts: Parts) -> Parts:
    found = parts.digests()
    for name, stated in parts.settings.sha256.items():
        if found.get(name) != stated:
            raise StudentUnusable(
                f"{name} of the encoder in {parts.origin} is not the file that its encoder.json states by sha256.",
                "Fetch or make the folder again.",
            )
    return parts


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StudentUnusable(f"The encoder file {path} can't be read: {error.strerror}.", WANTED) from error


def read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(read_bytes(path), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise StudentUnusable(f"{path} is not a JSON object: {error}.") from error


def settings_of(folder: Path) -> Settings:
    """encoder.json where there is one; else what the other files say, and BERT's customs where they say nothing."""
    stated = folder / "encoder.json"
    if not stated.is_file():
        return Settings(name=folder.resolve().name, max_tokens=_max_tokens(folder), pooling=(_pooling(folder),))
    return _stated(stated)


def _stated(stated: Path) -> Settings:
    try:
        settings = msgspec.json.decode(read_bytes(stated), type=Settings)
    except msgspec.DecodeError as error:
        raise StudentUnusable(f"{stated} can't be used: {error}.") from error
    if not settings.pooling or not set(settings.pooling) <= set(POOLINGS.values()) or settings.max_tokens < 3:
        raise StudentUnusable(
            f"{stated} says pooling {list(settings.pooling)} and max_tokens {settings.max_tokens}.",
            f"Known poolings: {sorted(POOLINGS.values())}; max_tokens is at least 3.",
        )
    return settings


def _max_tokens(folder: Path) -> int:
    """The smallest limit that a file states; 512, BERT's, where none does."""
    stated = (
        read_json(folder / "sentence_bert_config.json").get("max_seq_length"),
        read_json(folder / "tokenizer_config.json").get("model_max_length"),
        read_json(folder / "config.json").get("max_position_embeddings"),
    )
    return min((int(s) for s in stated if isinstance(s, int | float) and 3 <= s <= 1_000_000), default=512)


def _pooling(folder: Path) -> str:
    stated = {key for key, on in read_json(folder / "1_Pooling" / "config.json").items() if on is True}
    chosen = {key for key in stated if key.startswith("pooling_mode_")}
    if not chosen <= POOLINGS.keys() or len(chosen) > 1:
        raise StudentUnusable(
            f"The encoder in {folder} pools by {sorted(chosen)}.", f"Known: one of {sorted(POOLINGS)}."
        )
    return POOLINGS[chosen.pop()] if chosen else "mean"
