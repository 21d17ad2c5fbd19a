"""Looking into a base's files without loading it: what is there, is it whole in shape, may it be opened at all.

hf_files(folder) -> [config.json, model-00001-of-00002.safetensors, ..., tokenizer.json, ...]   or BaseUnusable
A GGUF file is looked at by gguf_read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import BaseUnusable

__all__ = ["chat_template", "hf_files", "is_pickle", "licence_of"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
DECIDES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
           "chat_template.json", "special_tokens_map.json", "added_tokens.json", INDEX)  # fmt: skip
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt")
SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT", "cc-by-4.0": "CC-BY-4.0", "bsd-3-clause": "BSD-3-Clause"}


def is_pickle(path: Path) -> bool:
    """Whether a file holds a pickle: a bare one, or the zip that torch.save writes.

    A safetensors header may begin with the same byte, and has its JSON at byte 8.
    """
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] != b"{" and (start[:1] == b"\x80" or start[:4] == b"PK\x03\x04")


def hf_files(folder: Path) -> list[Path]:
    """Every file of a Hugging Face folder that decides a token, in order of name. Raises BaseUnusable."""
    if not (folder / "config.json").is_file():
        raise BaseUnusable(
            f"{folder} holds no config.json.", "Give the folder of a Hugging Face model, or a .gguf file."
        )
    _refuse_code(folder)
    weights = _weights(folder)
    for path in weights:
        _check_safetensors(path)
    if not (folder / "tokenizer.json").is_file():
        raise BaseUnusable(f"{folder} holds no tokenizer.json.", "Save the fast tokenizer beside the model.")
    if not chat_template(folder):
        raise BaseUnusable(
            f"The tokenizer in {folder} has no chat template.", "Give an instruct model: its chat template is needed."
        )
    present = [folder / name for name in DECIDES if (folder / name).is_file()]
    return sorted({*present, *weights})


def _refuse_code(folder: Path) -> None:
    """A model that brings code of its own is another thing than its weights: nobody here would run it."""
    hint = "Give a model that needs none, or remove the .py files and `auto_map`, if its kind is known without them."
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        if (folder / name).is_file() and "auto_map" in read_json(folder / name):
            raise BaseUnusable(f"{folder / name} names code to run (auto_map).", hint)
    code = next((path for path in sorted(folder.iterdir()) if path.suffix in (".py", ".pyc", ".so")), None)
    if code is not None:
        raise BaseUnusable(f"{code} is code beside the weights.", hint)


def _weights(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        named = read_json(folder / INDEX).get("weight_map")
        shards = sorted({str(n) for n in named.values()}) if isinstance(named, dict) else []
        lost = next((n for n in shards if Path(n).name != n or not (folder / n).is_file()), None)
        if not shards or lost is not None:
            raise BaseUnusable(f"{folder / INDEX} names {lost or 'no file'!r}, which is not there.", "Fetch it again.")
        return [folder / n for n in shards]
    others = [p for p in sorted(folder.iterdir()) if p.suffix in (".bin", ".pt", ".pth", ".ckpt") and p.is_file()]
    pickled = next((p for p in others if is_pickle(p)), None)
    if pickled is not None:
        raise BaseUnusable(
            f"{pickled} is a pickle, which can run code when it is opened.", f"Save the model as {WEIGHTS}."
        )
    raise BaseUnusable(f"{folder} holds no {WEIGHTS}.", "Save the model with safe serialization.")


def _check_safetensors(path: Path) -> None:
    """The header is whole and the file as long as it says; what is a pickle inside is named so."""
    from safetensors import SafetensorError, safe_open

    if is_pickle(path):
        raise BaseUnusable(f"{path} is a pickle under another name.", "Save the model as safetensors.")
    try:
        with safe_open(path, framework="numpy") as file:
            if not list(file.keys()):
                raise BaseUnusable(f"{path} holds no weights.")
    except (SafetensorError, OSError) as error:
        raise BaseUnusable(f"{path} can't be read: {error}.", "Fetch it again.") from error


def chat_template(folder: Path) -> str:
    """The chat template of a Hugging Face folder; "" where it has none."""
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        try:
            return jinja.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BaseUnusable(f"{jinja} can't be read: {error}.", "Fetch it again.") from error
    for name in ("tokenizer_config.json", "chat_template.json"):
        if (folder / name).is_file():
            said = read_json(folder / name).get("chat_template")
            if isinstance(said, list):  # several, by name
                said = next(
                    (t.get("template") for t in said if isinstance(t, dict) and t.get("name") == "default"), None
                )
            if isinstance(said, str) and said:
                return said
    return ""


def read_json(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, OSError) as error:
        raise BaseUnusable(f"{path} can't be read: {error}.", "Fetch it again.") from error


def licence_of(folder: Path, stated: str = "") -> str:
    """What the model says, the head of README.md, or the licence's own text; "unknown" where none does."""
    if stated:
        return SPDX.get(stated.lower(), stated)
    readme = folder / "README.md"
    if readme.is_file():
        text = readme.read_text(encoding="utf-8", errors="replace")
        found = re.match(r"""---\n(?:.*\n)*?license:[ \t]*(?:"([^"\n]+)"|'([^'\n]+)'|([\w.+-]+))""", text)
        if found:
            said: str = next(filter(None, found.groups()))  # in quotation marks it may be several: "MIT AND CC0-1.0"
            return SPDX.get(said.lower(), said)
    for name in LICENCE_FILES:
        if (folder / name).is_file():
            title = (folder / name).read_text(encoding="utf-8", errors="replace")[:300]
            return "Apache-2.0" if "Apache License" in title else "MIT" if "MIT License" in title else "unknown"
    return "unknown"
