"""A training, as its artefact says it: what the page of a model shows, read from the files that `freehold train` wrote.

training.json  {"plan": {"steps": 4463, "why": [...], ...}, "trained": {"losses": [...], "evals": [...], ...},
                "size": {"total": 172352, "active": 172352}}
corpus.json    {"parts": [{"part": {"name", "licence", "source"}, "documents": 12, ...}], "tokens": 285611, ...}
                     ─→ Training(artifact, plan, trained, size, corpus, asks, curve)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from freehold.errors import ArtifactDamaged
from freehold.facts import Facts, union
from freehold.nouns import Artifact
from freehold.report.train_curve import Curve, curve

__all__ = ["TRAIN_FILTERS", "Training", "training", "trainings"]

MADE_BY = "freehold train"  # what a model's recipe begins with; a merged one has no curve
AGAIN = "Remove the folder and train again."
T = TypeVar("T")


class Shape(msgspec.Struct, frozen=True):
    layers: int
    width: int
    context: int
    vocabulary: int
    experts: int = 0
    chosen: int = 0


class Said(msgspec.Struct, frozen=True):
    """The plan. `start`: sha256 of the model that was trained on, "" from nothing."""

    shape: Shape
    start: str = ""
    why: tuple[str, ...] = ()


class Look(msgspec.Struct, frozen=True):
    """At the held-out text, after `step` steps."""

    step: int
    loss: float
    bits_per_byte: float
    rows: int = 0
    of: int = 0


class Trained(msgspec.Struct, frozen=True):
    steps: int
    tokens: int
    losses: tuple[float, ...]
    evals: tuple[Look, ...]
    seconds: float
    cpu_seconds: float
    tokens_per_second: float
    samples: tuple[str, ...] = ()


class Size(msgspec.Struct, frozen=True):
    total: int
    active: int


class Part(msgspec.Struct, frozen=True):
    name: str
    licence: str
    source: str = ""


class Counts(msgspec.Struct, frozen=True):
    part: Part
    documents: int
    bytes: int
    same: int = 0
    alike: int = 0
    empty: int = 0
    repeated: int = 0
    skipped: int = 0

    @property
    def out(self) -> tuple[str, ...]:
        """What was left out, in words."""
        said = (
            (self.same, "the same as another"),
            (self.alike, "nearly the same"),
            (self.empty, "without text"),
            (self.repeated, "repeated paragraphs"),
            (self.skipped, "binary or rows without text"),
        )
        return tuple(f"{n:,} {what}" for n, what in said if n)


class Corpus(msgspec.Struct, frozen=True):
    parts: tuple[Counts, ...]
    tokens: int
    held_out_tokens: int
    held_out_bytes: int
    sha256: str = ""
    why: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True):
    plan: Said
    trained: Trained
    size: Size


@dataclass(frozen=True, slots=True)
class Training:
    """`asks`: what the licences of the text (and of the model that was trained on) ask, a sentence each. `others`: the
    project's models that were made before."""

    artifact: Artifact
    plan: Said
    trained: Trained
    size: Size
    corpus: Corpus
    asks: tuple[str, ...]
    curve: Curve | None
    others: tuple[Artifact, ...] = ()

    @property
    def last(self) -> Look | None:
        return self.trained.evals[-1] if self.trained.evals else None

    @property
    def times(self) -> float:
        """How often the text was read."""
        return self.trained.tokens / max(1, self.corpus.tokens)

    @property
    def choices(self) -> tuple[tuple[str, str], ...]:
        """What was chosen, and why: most reasons begin with the name of what they are about."""
        named = [_named(why, "also") for why in self.plan.why]
        return (*named, *(("text", why) for why in self.corpus.why))

    @property
    def sentence(self) -> str:
        """The figure that a model is known by."""
        if self.last is None:
            return f"A language model of {self.size.total:,} parameters, not measured."
        return f"{self.last.bits_per_byte:.2f} bits a byte on text held out."

    @property
    def lede(self) -> str:
        begun = f"going on from {self.artifact.base or self.plan.start[:12]}" if self.plan.start else "from nothing"
        experts = f", {self.size.active:,} of them active" if self.size.active != self.size.total else ""
        return (
            f"A language model of {self.size.total:,} parameters{experts}, trained {begun} "
            f"on {self.corpus.tokens:,} tokens."
        )


def _named(why: str, other: str) -> tuple[str, str]:
    name, _, reason = why.partition(": ")
    return (name.lower() if name[1:].islower() else name, reason) if reason and len(name) <= 24 else (other, why)


def trainings(artifacts: Sequence[Artifact]) -> tuple[Artifact, ...]:
    """Those that were trained as whole models, the newest first."""
    made = (a for a in artifacts if a.kind == "model" and str(a.recipe.get("model", "")).startswith(MADE_BY))
    return tuple(sorted(made, key=lambda a: a.made, reverse=True))


def training(artifact: Artifact, folder: Path, *, others: Sequence[Artifact] = (), facts: Facts | None) -> Training:
    """Raises ArtifactDamaged where one of the two files is missing, changed, or not what train writes."""
    file = _read(artifact, folder / "training.json", _File)
    corpus = _read(artifact, folder / "corpus.json", Corpus)
    looks = [(look.step, look.loss) for look in file.trained.evals]
    figures = (*file.trained.losses, *(loss for _, loss in looks))
    if not all(map(isfinite, figures)):
        raise ArtifactDamaged(f"{folder / 'training.json'} holds a loss that is no number.", AGAIN)
    asks = union([artifact.licence or "unknown"], facts=facts).said()
    drawn = curve(file.trained.losses, looks)
    return Training(artifact, file.plan, file.trained, file.size, corpus, asks, drawn, tuple(others))


def _read(artifact: Artifact, path: Path, form: type[T]) -> T:
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != artifact.files.get(path.name):
        raise ArtifactDamaged(f"{path} is not as it was written (another sha256).", AGAIN)
    try:
        said: T = msgspec.convert(msgspec.json.decode(data, type=dict[str, Any]), form)
    except msgspec.MsgspecError as error:
        raise ArtifactDamaged(f"{path} is not what freehold train writes: {error}.", AGAIN) from None
    return said


def printable(text: str) -> str:
    """A text of several lines without what steers a terminal or turns writing around. It still has to be escaped."""
    return "".join(c for c in text.strip() if c.isprintable() or c in "\n\xa0")


TRAIN_FILTERS = {"printable": printable}
