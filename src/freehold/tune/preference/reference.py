"""What a preference starts from: the adapter behind the task's student, and the base that it was tuned on.

chosen student ─a decoder that was shrunk→ its adapter ─one that learned a preference before→ the one before that

So a second run, with other pairs, starts where the first one did.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freehold.engines import bases
from freehold.engines.bases import Base
from freehold.errors import AdapterMismatch, ArtifactDamaged, ProjectMissing
from freehold.nouns import Artifact
from freehold.project import Project
from freehold.tune.decoder.model import adapter, put_adapter

__all__ = ["base_of", "put_reference", "reference_of", "sides"]

FILE = "adapter.safetensors"


def reference_of(task: str, project: Project) -> Artifact:
    """Raises ProjectMissing where the task has no tuned adapter, ArtifactDamaged."""
    known = {artifact.sha256: artifact for artifact in project.artifacts()}
    chosen = known.get(project.tuned().get(task, ""))
    line = [chosen] if chosen else []
    for artifact in line:  # grows while it is walked: from a student to what it was made of
        if artifact.kind == "adapter" and "preference" not in artifact.recipe:
            return project.read_artifact(artifact.sha256)
        line += [known[parent] for parent in artifact.parents if parent in known and known[parent].task == task]
    kind = f"is of the kind {chosen.kind!r}" if chosen else "is missing"
    raise ProjectMissing(
        f"{task} has no tuned adapter that could learn a preference: its student {kind}.",
        f"Run: freehold tune --project {project.path} --task {task} --kind decoder",
    )


def base_of(reference: Artifact, named: str | None) -> Base:
    """The base that it was tuned on, by its name where that brings it, else where it came from; or the one named.

    Raises AdapterMismatch where that is another one, BaseUnusable."""
    said = reference.recipe.get("base")
    row: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    name, source = str(row.get("name") or reference.base), str(row.get("source") or "")
    found = bases.find(named or (name if name in bases.known() or not Path(source).exists() else source))
    if row.get("sha256") not in (None, found.sha256):
        raise AdapterMismatch(
            f"The adapter {reference.sha256[:8]} was tuned on the base {str(row['sha256'])[:12]}…, and {found.name} is "
            f"{found.sha256[:12]}….",
            "Give the base that it was tuned on, or tune again.",
        )
    return found


def sides(reference: Artifact) -> tuple[int, int]:
    """Its rank and alpha."""
    said = reference.recipe.get("lora")
    rank, alpha = (said.get(name) if isinstance(said, Mapping) else None for name in ("rank", "alpha"))
    if not isinstance(rank, int) or not isinstance(alpha, int | float):
        raise ArtifactDamaged(f"The artefact {reference.sha256[:8]} does not say its rank and alpha.", "Tune again.")
    return rank, int(alpha)


def put_reference(model: Any, reference: Artifact, project: Project, base: str) -> None:
    """Its tensors into a model of this base with LoRA on it. Raises AdapterMismatch, ArtifactDamaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = project.artifact_path(reference.sha256) / FILE
    try:
        found: dict[str, Any] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactDamaged(f"{path} can't be read: {error}.", "Tune again.") from error
    mine = {name: tensor.shape for name, tensor in adapter(model).items()}
    if mine != {name: tensor.shape for name, tensor in found.items()}:
        raise AdapterMismatch(f"The adapter {reference.sha256[:8]} has other layers than {base}.", "Tune again.")
    put_adapter(model, found)
