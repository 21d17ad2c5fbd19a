"""The base as a project keeps it: one GGUF for all tasks, and a folder that torch reads.

    stored(base, project, work) -> Artifact(kind="base", files={"model.gguf"})    a GGUF as it is; a folder in BF16
    readable(base, work)        -> work/hf/ or the base's own folder              config, safetensors, tokenizer

A Hugging Face folder is not copied: the artefact names it by its sha256.
"""

from __future__ import annotations

from pathlib import Path

from freehold.engines.bases import Base
from freehold.engines.gguf.names import Shape
from freehold.nouns import Artifact
from freehold.project import Project
from freehold.tell import Tell, quiet

__all__ = ["readable", "shape_of", "stored"]

FORM = "BF16"


def stored(base: Base, project: Project, work: Path, tell: Tell = quiet) -> Artifact:
    """The base artefact, made where the project has none of this base. Raises BaseUnusable, MissingExtra."""
    recipe = {
        "base": base.name,
        "sha256": base.sha256,
        "source": base.source,
        "form": base.form,
        "quant": FORM if base.form == "hf" else "as it is",
    } | ({"learned": list(base.learned)} if base.learned else {})
    for found in project.artifacts():
        if found.kind == "base" and found.recipe == recipe:
            return project.read_artifact(found.sha256)
    path = base.path
    if base.form == "hf":
        from freehold.engines.gguf.weights import HfWeights
        from freehold.engines.gguf.write import write

        path = work / "base.gguf"
        write(HfWeights.open(base.path), path, FORM, tell=tell)
    try:
        return project.write_artifact(
            {"model.gguf": path},
            kind="base",
            task="",
            base=base.name,
            licence=base.licence,
            recipe=recipe,
            data_sha256="",
        )
    finally:
        if path != base.path:
            path.unlink()


def readable(base: Base, work: Path, tell: Tell = quiet) -> Path:
    """A Hugging Face folder of the base; that of a GGUF is written into `work`. Raises BaseUnusable, MissingExtra."""
    if base.form == "hf":
        return base.path
    from freehold.engines.gguf.folder import hf_folder

    return hf_folder(base.path, work / "hf", tell=tell)


def shape_of(base: Base) -> Shape:
    """What decides its memory, and the longest context that it was made for. Raises BaseUnusable."""
    from freehold.engines.gguf.weights import open_weights

    return open_weights(base.path).shape
