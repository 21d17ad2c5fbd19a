"""A tokenizer's keys in a GGUF, from a Hugging Face folder.

    tokenizer.json ─BPE over bytes──────→ model "gpt2", tokens, types, merges, pre (which text is split how)
                   └BPE over ▁characters→ model "llama", tokens, types, scores
    tokenizer_config.json, chat_template.jinja, config.json ─gguf.SpecialVocab→ bos, eos, pad, unk, add_bos, template

`pre` names code in llama.cpp that splits text before the merges. llama.cpp's converter finds it by a hash of what the
tokenizer makes of a fixed text, so a vocabulary of one's own has none; here it is found by how the tokenizer says
that it splits (PRE). Whether llama.cpp then gives the same ids is measured in shrink, on the team's own texts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.errors import BaseUnusable, MissingExtra

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["PRE", "add_vocabulary", "splits"]

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
GPT2, QWEN2, LLAMA3 = (
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
)
PRE = {(GPT2,): "gpt-2", ("digits", GPT2): "smollm", (QWEN2,): "qwen2", (LLAMA3,): "llama-bpe"}
"""How a tokenizer splits -> llama.cpp's name for it (llama-vocab.cpp, read 2026-11-24)."""


def add_vocabulary(writer: GGUFWriter, folder: Path, size: int) -> None:
    """Write the tokenizer's keys, `size` tokens long. Raises BaseUnusable for a tokenizer of another kind."""
    try:
        from gguf import SpecialVocab
    except ImportError as error:
        raise MissingExtra("Writing a GGUF needs the package gguf.", "pip install 'freehold[text]'") from error

    said = _read(folder / "tokenizer.json")
    model = said.get("model") or {}
    if model.get("type") != "BPE":
        raise BaseUnusable(f"The tokenizer in {folder} is a {model.get('type')!r}; only BPE is written as GGUF.")
    bytewise = not model.get("byte_fallback")
    tokens, types = _tokens(said, size, folder, bytewise)
    if bytewise:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_pre(said, folder))
    else:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores(_scores(model, tokens))
    writer.add_add_space_prefix(not bytewise and _spaced(said))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    special = SpecialVocab(folder, load_merges=bytewise, n_vocab=size)
    special.add_special_token.setdefault("bos", False)
    special.add_to_gguf(writer, quiet=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BaseUnusable(f"{path} can't be read: {error}.", "Save the fast tokenizer beside the model.") from error
    return found


def _tokens(said: dict[str, Any], size: int, folder: Path, bytewise: bool) -> tuple[list[str], list[int]]:
    """The tokens in order of id, and the type of each; ids that the tokenizer lacks are unused."""
    named: dict[int, tuple[str, int]] = {}
    unknown = said["model"].get("unk_token")
    for token, number in said["model"]["vocab"].items():
        kind = UNKNOWN if not bytewise and token == unknown else NORMAL
        if not bytewise and len(token) == 6 and token.startswith("<0x"):
            kind = BYTE
        named[number] = (token, kind)
    for row in said.get("added_tokens") or []:
        kind = CONTROL if row.get("special") else USER
        if named.get(row["id"], ("", NORMAL))[1] != UNKNOWN:
            named[row["id"]] = (row["content"], kind)
    if max(named, default=0) >= size:
        raise BaseUnusable(f"The tokenizer in {folder} has the token {max(named)}, and the embedding {size} rows.")
    whole = [named.get(i, (f"[PAD{i}]", UNUSED)) for i in range(size)]
    return [token for token, _ in whole], [kind for _, kind in whole]


def _scores(model: dict[str, Any], tokens: list[str]) -> list[float]:
    """sentencepiece merges the pair with the highest score first: minus the rank of the merge that makes the token."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(model.get("merges") or []):
        left, right = pair.split(" ", 1) if isinstance(pair, str) else pair
        ranks.setdefault(left + right, rank)
    return [float(-ranks.get(token, 0)) for token in tokens]


def _spaced(said: dict[str, Any]) -> bool:
    """Whether a text gets a blank before it."""
    parts = _flat(said.get("normalizer"), "normalizers") + _flat(said.get("pre_tokenizer"), "pretokenizers")
    return any(
        part["type"] == "Prepend" or (part["type"] == "Metaspace" and part.get("prepend_scheme", "always") != "never")
        for part in parts
    )


def _pre(said: dict[str, Any], folder: Path) -> str:
    found = splits(said)
    if found not in PRE:
        raise BaseUnusable(
            f"The tokenizer in {folder} splits text in a way that has no name here: {found!r}"[:300] + ".",
            f"Known: {', '.join(PRE.values())}.",
        )
    return PRE[found]


def splits(said: dict[str, Any]) -> tuple[str, ...]:
    """How a byte-level tokenizer splits text, in order."""
    found: list[str] = []
    for part in _flat(said.get("pre_tokenizer"), "pretokenizers"):
        if part["type"] == "ByteLevel":
            if part.get("use_regex", True):
                found.append(GPT2)
        elif part["type"] == "Digits" and part.get("individual_digits"):
            found.append("digits")
        elif part["type"] == "Split" and "Regex" in part.get("pattern", {}):
            found.append(part["pattern"]["Regex"])
        else:
            found.append(part["type"])
    return tuple(found)


def _flat(part: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    if part is None:
        return []
    return [one for each in part[inner] for one in _flat(each, inner)] if part.get("type") == "Sequence" else [part]
