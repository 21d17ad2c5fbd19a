"""What a student is, in a few words for people.

label "stack on MiniLM"   extract "tagger on MiniLM"   decoder "LoRA on smollm2, merged, Q4_K_M"
                                                               "few-shot on smollm2, Q4_1, the 4 nearest logged calls"
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from freehold.nouns import Artifact

__all__ = ["title"]

PLAIN = {"label": "stack on", "classifier": "your own classifier,", "extract": "tagger on", "adapter": "LoRA on"}
FORMS = {"merged": "merged", "adapter": "as an adapter beside it"}


class _Decoder(msgspec.Struct):
    mode: str = ""
    quant: str = ""
    k: int | None = None


def title(artifact: Artifact, folder: Path) -> str:
    """In words; `folder` is the artefact's, where decoder.json says how a language model is served."""
    if artifact.kind != "decoder":
        return f"{PLAIN.get(artifact.kind, artifact.kind + ' on')} {artifact.base}"
    try:
        said = msgspec.json.decode((folder / "decoder.json").read_bytes(), type=_Decoder)
    except (OSError, msgspec.MsgspecError):  # who opens the student says what is wrong with it
        return f"language model on {artifact.base}"
    if said.mode == "fewshot":
        nearest = f"the {said.k} nearest logged calls" if said.k else "the nearest logged calls"
        return ", ".join(part for part in (f"few-shot on {artifact.base}", said.quant, nearest) if part)
    return ", ".join(part for part in (f"LoRA on {artifact.base}", FORMS.get(said.mode, ""), said.quant) if part)
