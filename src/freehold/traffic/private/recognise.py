"""What finds private data, chosen by name: the rules, or a model of names beside them.

    rules          check sums, forms and words; finds no names
    hf:FOLDER      and a token-classification model in Hugging Face's form in FOLDER (config.json, model.safetensors,
                   tokenizer.json), whatever it was trained to find; needs freehold[tune]
    spacy:NAME     and a spaCy pipeline with entities, a package or a folder; needs spacy

Nothing is downloaded, and no code from a model's folder is run. Where both find something in one place, the rules win.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from freehold.errors import BadSetting, MissingExtra
from freehold.traffic.private.find import Rules
from freehold.traffic.private.found import Found, Recogniser

__all__ = ["Pipeline", "TokenClassifier", "named", "recogniser"]

NAMED = {
    "per": "person", "person": "person", "loc": "place", "location": "place", "gpe": "place", "org": "organisation",
    "organization": "organisation", "organisation": "organisation", "misc": "other name", "nrp": "nationality",
    "street_address": "address", "date_time": "date",
}  # fmt: skip
FILES = ("config.json", "model.safetensors", "tokenizer.json")
OVERLAP = 32  # tokens that a long text's windows share


def recogniser(name: str = "rules") -> Recogniser:
    """By name; raises BadSetting, or MissingExtra where the model's libraries aren't installed."""
    if name == "rules":
        return Rules()
    if name.startswith("hf:"):
        return TokenClassifier(Path(name.removeprefix("hf:")))
    if name.startswith("spacy:"):
        return Pipeline(name.removeprefix("spacy:"))
    raise BadSetting(f"There is no recogniser {name!r}.", "Known: rules, hf:FOLDER, spacy:NAME.")


class TokenClassifier:
    """A model that says of each token whether it is part of a name, and of what sort; with the rules."""

    def __init__(self, folder: Path) -> None:
        lacks = [name for name in FILES if not (folder / name).is_file()]
        if lacks:
            raise BadSetting(
                f"{folder} is no token-classification model: it has no {', '.join(lacks)}.",
                "Give the folder of one in Hugging Face's form, its weights as safetensors.",
            )
        try:
            import torch
            from transformers import AutoModelForTokenClassification, AutoTokenizer
        except ImportError:
            raise MissingExtra("hf: needs transformers and torch.", "pip install freehold[tune]") from None
        self._torch = torch
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, use_fast=True)
            self._model: Any = AutoModelForTokenClassification.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True
            ).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            hint = "Is it a token-classification model?"
            raise BadSetting(f"{folder} can't be loaded: {first[:200]}", hint) from None
        self._labels: dict[int, str] = self._model.config.id2label
        most = getattr(self._model.config, "max_position_embeddings", 512)
        self._most = min(most if isinstance(most, int) else 512, self._tokenizer.model_max_length, 512)
        self._rules = Rules()

    def find(self, text: str) -> list[Found]:
        return _beside(self._rules.find(text), self._named(text))

    def _named(self, text: str) -> list[Found]:
        """Runs of tokens with one label (B-, I- and their like are read as one); windows overlap in a long text."""
        if not text.strip():
            return []
        given = self._tokenizer(
            text,
            truncation=True,
            max_length=self._most,
            stride=min(OVERLAP, self._most // 4),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding=True,
            return_tensors="pt",
        )
        places = given.pop("offset_mapping").tolist()
        given.pop("overflow_to_sample_mapping", None)
        with self._torch.inference_mode():
            best = self._model(**given).logits.argmax(-1).tolist()
        kinds: dict[tuple[int, int], str] = {}
        for row, offsets in zip(best, places, strict=True):
            for label, (start, end) in zip(row, offsets, strict=True):
                if end > start:
                    kinds.setdefault((start, end), self._labels[label])
        return _joined(text, kinds)


def _joined(text: str, kinds: dict[tuple[int, int], str]) -> list[Found]:
    """Tokens side by side with one kind as one piece; a B- begins another one."""
    found: list[Found] = []
    for (start, end), label in sorted(kinds.items()):
        head, _, tail = label.rpartition("-")
        kind = named(tail)
        if label in ("O", "LABEL_0"):
            continue
        last = found[-1] if found else None
        touches = last is not None and last.kind == kind and not text[last.end : start].strip()
        if last is not None and touches and (head != "B" or last.end == start):
            found[-1] = Found(kind, last.start, max(end, last.end))
        elif last is None or start >= last.end:
            found.append(Found(kind, start, end))
    return found


class Pipeline:
    """A spaCy pipeline's entities, with the rules. Amounts, ordinals and the like are no private data."""

    def __init__(self, name: str) -> None:
        try:
            import spacy
        except ImportError:
            raise MissingExtra("spacy: needs spaCy.", "pip install spacy, and a pipeline with entities") from None
        try:
            self._read: Any = spacy.load(name, exclude=["lemmatizer", "attribute_ruler", "parser", "tagger"])
        except (OSError, ValueError, ImportError) as error:
            first = str(error).splitlines()[0][:200]
            raise BadSetting(f"The pipeline {name} can't be loaded: {first}", "Give its package or folder.") from None
        self._rules = Rules()

    def find(self, text: str) -> list[Found]:
        entities = self._read(text).ents if text.strip() else ()
        said = [Found(named(e.label_), e.start_char, e.end_char) for e in entities if e.label_ not in NUMBERS]
        return _beside(self._rules.find(text), said)


NUMBERS = frozenset({"CARDINAL", "ORDINAL", "MONEY", "PERCENT", "QUANTITY", "TIME", "DATE", "LANGUAGE"})


def named(label: str) -> str:
    """A model's label as a kind."""
    return NAMED.get(label.lower(), label.lower().replace("_", " "))


def _beside(found: list[Found], more: list[Found]) -> list[Found]:
    """Both, in order; of the second what touches nothing of the first."""
    free = [m for m in more if not any(m.start < f.end and f.start < m.end for f in found)]
    return sorted([*found, *free], key=lambda f: f.start)
