"""What a fine-tune starts from: a folder of Hugging Face's with a BERT in it, and how it will be trained.

folder/ config.json model.safetensors tokenizer.json (1_Pooling/config.json, tokenizer_config.json, README.md, LICENSE)
    ─Base.open→ Base(settings, config, weights, tokenizer, licence, sha256)
    ─plan(rows)→ Plan(layers, epochs, rate, why)      no torch up to here
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.engines.encoder_files import Settings, read_bytes, read_json, settings_of, sha256
from freehold.engines.hf import weights
from freehold.errors import MissingExtra, StudentUnusable

__all__ = ["BATCH", "HALVES", "HEAD", "Base", "Plan"]

Floats = npt.NDArray[np.float32]
DECIDES = ("config.json", "model.safetensors", "tokenizer.json", "encoder.json", "sentence_bert_config.json",
           "tokenizer_config.json", "1_Pooling/config.json")  # fmt: skip
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt")
SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT"}
HALVES = 2
BATCH = 32
WORDS = "embeddings.word_embeddings.weight"
SEEN = 15_000  # rows that a training sees in all, as far as EPOCHS allows
EPOCHS = (2, 10)
RATE, WIDTH = 5e-5, 768  # the largest rate that BERT's authors fine-tune its base model with, and that model's width
HEAD = 5  # times the layers' rate, for the head


@dataclass(frozen=True, slots=True)
class Plan:
    """The top `layers` of `of` are trained, the rest stays as it is."""

    layers: int
    of: int
    epochs: int
    rate: float
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """`sha256` is over every file of the folder that decides a vector; `config` and `weights` are BERT's."""

    settings: Settings
    config: Mapping[str, Any]
    weights: Mapping[str, Floats]
    tokenizer: bytes
    licence: str
    sha256: str
    origin: str

    def __repr__(self) -> str:
        return f"Base({self.settings.name}, {self.sha256[:12]})"

    @classmethod
    def open(cls, folder: Path) -> Base:
        """Raises StudentUnusable where the folder holds no BERT, MissingExtra where torch or transformers is absent."""
        if not folder.is_dir():
            raise StudentUnusable(
                f"There is no folder {folder} to fine-tune.",
                "Give one with config.json, model.safetensors, tokenizer.json.",
            )
        _versions()
        config = read_json(folder / "config.json")
        present = [(name, sha256(read_bytes(folder / name))) for name in DECIDES if (folder / name).is_file()]
        settings = settings_of(folder)
        # what encoder.json may say of another graph's files is not said of the one that a fine-tune makes
        settings = msgspec.structs.replace(
            settings, sha256={}, dim=0, row_independent=True, pooling=settings.pooling[:1]
        )
        named = weights(config, folder)
        if WORDS not in named:
            raise StudentUnusable(
                f"model.safetensors in {folder} holds no {WORDS}.", "Only BERT's shape is fine-tuned."
            )
        return cls(
            settings,
            config,
            named,
            read_bytes(folder / "tokenizer.json"),
            _licence(folder, settings.licence),
            sha256(msgspec.json.encode(present)),
            str(folder),
        )

    @property
    def name(self) -> str:
        return f"{self.settings.name} (fine-tuned)"

    def plan(self, rows: int) -> Plan:
        """How `rows` rows are trained on, and why so."""
        of, width = int(self.config["num_hidden_layers"]), self.weights[WORDS].shape[1]
        layers = max(1, of // 3)
        epochs = int(np.clip(round(SEEN / max(1, rows)), *EPOCHS))
        rate = RATE * WIDTH / width
        why = (
            f"the top {layers} of {of} layers (a third; the lower ones hold what tasks share); {epochs} epochs (about "
            f"{SEEN:,} rows seen, but each {EPOCHS[0]} to {EPOCHS[1]} times); rate {rate:.2g} = {RATE:g} x {WIDTH} / "
            f"{width} (Adam's goes with 1 / width); head from logistic regression, at {HEAD} times that rate"
        )
        return Plan(layers, of, epochs, rate, why)

    def recipe(self, rows: int) -> dict[str, Any]:
        """All that decides the fine-tune, given its rows and the seed."""
        plan = self.plan(rows)
        return {
            "base": {"name": self.settings.name, "sha256": self.sha256},
            "layers": [plan.layers, plan.of],
            "epochs": plan.epochs,
            "rate": plan.rate,
            "head_rate": HEAD * plan.rate,
            "batch": BATCH,
            "halves": HALVES,
            "why": plan.why,
            "with": _versions(),
        }


def _versions() -> dict[str, str]:
    try:
        return {name: version(name) for name in ("torch", "transformers")}
    except PackageNotFoundError as error:
        raise MissingExtra(
            f"Fine-tuning needs the package {error.name}, which is not installed.", "pip install 'freehold[tune]'"
        ) from error


def _licence(folder: Path, stated: str) -> str:
    """What encoder.json, the head of README.md, or the licence's own text says; "unknown" where none does."""
    if stated != "unknown":
        return stated
    readme = folder / "README.md"
    if readme.is_file():
        found = re.match(r"---\n(?:.*\n)*?license:[ \t]*['\"]?([\w.+-]+)", _text(readme))
        if found:
            return SPDX.get(found[1].lower(), found[1])
    for name in LICENCE_FILES:
        if (folder / name).is_file():
            title = _text(folder / name)[:300]
            return "Apache-2.0" if "Apache License" in title else "MIT" if "MIT License" in title else "unknown"
    return "unknown"


def _text(path: Path) -> str:
    return read_bytes(path).decode("utf-8", "replace").replace("\r\n", "\n")
