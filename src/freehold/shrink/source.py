"""What is shrunk: the tuned adapter, the base under it, and the rows that the tuning held back.

Source.open(artifact, project) -> Source(recipe, own, base, weights, lora)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.engines import bases
from freehold.engines.bases import Base
from freehold.engines.decoder import Recipe
from freehold.engines.gguf.weights import Lora, Weights, open_weights
from freehold.errors import AdapterMismatch, ArtifactDamaged, StudentUnusable
from freehold.nouns import Artifact
from freehold.project import Project
from freehold.shrink.rows import Own, read_own

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """`weights` are the base's, without the adapter."""

    artifact: Artifact
    recipe: Recipe
    own: Own
    base: Base
    weights: Weights
    lora: Lora

    @classmethod
    def open(cls, artifact: Artifact, project: Project, base: Base | None = None) -> Source:
        if artifact.kind != "adapter":
            raise StudentUnusable(
                f"The artefact {artifact.sha256[:8]} is of the kind {artifact.kind!r}; only an adapter is shrunk.",
                f"Run: freehold tune --task {artifact.task}",
            )
        project.read_artifact(artifact.sha256)
        folder = project.artifact_path(artifact.sha256)
        found = base or _base(artifact)
        wanted = _find(artifact.recipe, "base")
        if isinstance(wanted, Mapping) and wanted.get("sha256") not in (None, found.sha256):
            raise AdapterMismatch(
                f"The adapter was tuned on the base {str(wanted['sha256'])[:12]}…, and {found.name} here is "
                f"{found.sha256[:12]}….",
                "Give the base that it was tuned on, or tune again.",
            )
        alpha = _find(artifact.recipe, "alpha")
        if not isinstance(alpha, int | float):
            raise ArtifactDamaged(f"The artefact {artifact.sha256[:8]} does not say its alpha.", "Tune again.")
        weights = open_weights(found.path)
        lora = Lora.open(folder / "adapter.safetensors", weights, alpha=float(alpha))
        return cls(artifact, Recipe.read(folder), read_own(folder), found, weights, lora)


def _base(artifact: Artifact) -> Base:
    """By its name where that brings it, else where it came from."""
    said = _find(artifact.recipe, "base")
    row = said if isinstance(said, Mapping) else {}
    name = str(row.get("name") or artifact.base)
    source = str(row.get("source") or "")
    return bases.find(name if name in bases.known() or not source or not Path(source).exists() else source)


def _find(said: Any, name: str) -> Any:
    """The first value of this name, at any depth."""
    if not isinstance(said, Mapping):
        return None
    if name in said:
        return said[name]
    return next((value for part in said.values() if (value := _find(part, name)) is not None), None)
