"""A model that somebody brings: a folder as Hugging Face lays it out, or a GGUF file, as a row of facts.

    --model ./qwen3-8b-ours        config.json, the bytes of its safetensors, its LICENSE read word for word
    --model student-Q4_K_M.gguf    parameters and bytes as the file's own header has them

What a file says of itself goes before the formula: `stored` bytes in the format `native`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import BadSetting, BaseUnusable
from freehold.facts import Facts
from freehold.facts.licences import licence_of_text
from freehold.facts.open_models import of_folder
from freehold.fit.header import KINDS, from_header
from freehold.nouns import Fact

__all__ = ["brought"]

UNREAD = "unread"
LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt")
DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
              17: "Q5_K_M", 18: "Q6_K", 32: "BF16"}  # fmt: skip
"""llama.cpp's number of a mixture (include/llama.h, llama_ftype), as general.file_type says it."""


def brought(name: str, facts: Facts) -> str:
    """The id of the model that is meant: a path's own row goes into the facts, any other name stays as it is. Raises
    BadSetting for a folder or a file that holds no language model."""
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        row = _gguf(path)
    elif path.is_dir():
        row = _folder(path, facts)
    else:
        return name
    facts.add(row)
    return row.id


def _folder(path: Path, facts: Facts) -> Fact:
    _, stored = of_folder(path)
    config: dict[str, Any] = msgspec.json.decode((path / "config.json").read_bytes())
    native = DTYPES.get(str(config.get("torch_dtype") or config.get("dtype")), "")
    text = next((file for name in LICENCES if (file := path / name).is_file()), None)
    licence = licence_of_text(text.read_text(encoding="utf-8", errors="replace"), facts) if text else None
    values = {"config": config, "context": config.get("max_position_embeddings"), "stored": stored, "native": native}
    return _row(path, licence.id if licence else UNREAD, values)


def _gguf(path: Path) -> Fact:
    from freehold.engines.gguf.read import check

    try:
        file = check(path, known=tuple(KINDS))
    except BaseUnusable as error:
        raise BadSetting(error.message, error.hint) from None
    found = from_header(file.keys, [(name, one.shape, one.bytes) for name, one in file.tensors.items()])
    if found.config is None:
        raise BadSetting(f"The header of {path} says too little to plan with.", "Give the model's folder instead.")
    native = FILE_TYPES.get(int(file.keys.get("general.file_type", -1)), file.quantisation)
    values = {"config": found.config, "context": found.config.get("max_position_embeddings"), "stored": found.weights,
              "native": native}  # fmt: skip
    return _row(path, UNREAD, values)


def _row(path: Path, licence: str, values: dict[str, Any]) -> Fact:
    when = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
    values = {name: value for name, value in values.items() if value} | {"kind": "decoder", "licence": licence}
    return Fact("models", path.resolve().name.lower(), values, f"{path.name}, as its own files say", when, "given")
