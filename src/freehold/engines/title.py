"""What a student is, in a few words for people, and how long a text it reads.

label "stack on MiniLM"   extract "tagger on MiniLM"   decoder "LoRA on smollm2, merged, Q4_K_M"
                                                               "few-shot on smollm2, Q4_1, the 4 nearest logged calls"
hosted "qwen3-32b at local"
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from freehold.nouns import Artifact

__all__ = ["title", "tokens_read"]

T = TypeVar("T")
PLAIN = {"label": "stack on", "classifier": "your own classifier,", "extract": "tagger on", "adapter": "LoRA on"}
FORMS = {"merged": "merged", "adapter": "as an adapter beside it"}


class _Decoder(msgspec.Struct):
    mode: str = ""
    quant: str = ""
    k: int | None = None
    context: int = 0


class _Hosted(msgspec.Struct):
    host: str = ""


class _Tagger(msgspec.Struct):
    most: int = 0


def title(artifact: Artifact, folder: Path) -> str:
    """In words; `folder` is the artefact's, where decoder.json says how a language model is served."""
    if artifact.kind == "hosted":
        at = _read(folder / "hosted.json", _Hosted)
        return f"{artifact.base} at {at.host if at else 'a host'}"
    if artifact.kind != "decoder":
        return f"{PLAIN.get(artifact.kind, artifact.kind + ' on')} {artifact.base}"
    said = _read(folder / "decoder.json", _Decoder)
    if said is None or not said.mode:
        return f"language model on {artifact.base}"
    if said.mode == "fewshot":
        nearest = f"the {said.k} nearest logged calls" if said.k else "the nearest logged calls"
        return ", ".join(part for part in (f"few-shot on {artifact.base}", said.quant, nearest) if part)
    return ", ".join(part for part in (f"LoRA on {artifact.base}", FORMS.get(said.mode, ""), said.quant) if part)


def tokens_read(artifact: Artifact, folder: Path) -> int:
    """How many tokens of a text the student reads at most; 0 where it reads any text."""
    if artifact.kind == "decoder":
        decoder = _read(folder / "decoder.json", _Decoder)
        return decoder.context if decoder else 0
    tagger = _read(folder / "student.json", _Tagger) if artifact.kind == "extract" else None
    return tagger.most if tagger else 0


def _read(path: Path, form: type[T]) -> T | None:
    """A file of the artefact; None where it can't be read: who opens the student says what is wrong with it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=form)
    except (OSError, msgspec.MsgspecError):
        return None
