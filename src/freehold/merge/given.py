"""What is named on the command line: "orders:0.7" -> Part(adapter=<the adapter behind the task orders>, weight=0.7).

a3f9c1...      the beginning of an artefact's name in the project (adapter or model), 6 characters at least
orders         a task of the project: the adapter behind its student
DIR, NAME      a Hugging Face folder, another project's newest model, what engines.bases knows
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from freehold.engines import bases
from freehold.engines.bases import Base
from freehold.errors import BadSetting
from freehold.merge.fold import base_of
from freehold.merge.nouns import Part
from freehold.nouns import Artifact
from freehold.project import Project

__all__ = ["find", "weighed"]

KINDS = ("adapter", "model")
NUMBER = r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)"


def find(models: Sequence[str], project: Project) -> tuple[Part, ...]:
    """Two parts or more, all adapters or all whole models: beside a whole model, an adapter stands for its base with
    the adapter in it. Raises BadSetting, BaseUnusable, AdapterMismatch, ArtifactDamaged."""
    if len(models) < 2:
        raise BadSetting(f"{len(models)} model is given.", "Give two or more: NAME or NAME:WEIGHT.")
    parts = tuple(_part(*weighed(said), project) for said in models)
    if any(part.adapter is None for part in parts):
        parts = tuple(part if part.adapter is None else replace(part, base=base_of(part.adapter)) for part in parts)
    twice = next((p.said for i, p in enumerate(parts) if p.sha256 in [q.sha256 for q in parts[:i]]), None)
    if twice is not None:
        raise BadSetting(f"{twice} is given twice.", "Give each model once, with its weight: NAME:WEIGHT.")
    return parts


def weighed(said: str) -> tuple[str, float | None]:
    """ "orders:0.7" -> ("orders", 0.7); what stands behind the last colon is a weight where it is a number."""
    name, divided, tail = said.rpartition(":")
    if not divided or not name or not re.fullmatch(NUMBER, tail, re.IGNORECASE) or Path(said).exists():
        return said, None
    weight = float(tail)
    if not 1e-9 < abs(weight) < 1e9:
        raise BadSetting(f"The weight of {name} is {tail}.", "Give a number other than 0, such as 0.5.")
    return name, weight


def _part(name: str, weight: float | None, project: Project) -> Part:
    artifact = _artifact(name, project)
    if artifact is None:
        return Part(name, weight, base=_base(name, project))
    project.read_artifact(artifact.sha256)
    if artifact.kind == "adapter":
        return Part(name, weight, adapter=artifact)
    return Part(name, weight, base=bases.find(project.artifact_path(artifact.sha256)))


def _base(name: str, project: Project) -> Base:
    """What is named where the project has nothing that is called so."""
    if Path(name).exists() or "/" in name or name in bases.known():
        return bases.find(name)
    here = [f"{a.sha256[:8]} ({a.task or a.kind})" for a in project.artifacts() if a.kind in KINDS]
    raise BadSetting(
        f"There is no model {name!r}: no task or artefact of {project.path}, no folder, no project, no known base.",
        f"In the project: {', '.join(here) or 'none'}; besides, a folder, a project with a model, "
        f"{', '.join(bases.known())}.",
    )


def _artifact(name: str, project: Project) -> Artifact | None:
    """The adapter or model of the project that is called so; None where none is."""
    known = project.artifacts()
    if re.fullmatch(r"[0-9a-f]{6,64}", name) and not Path(name).exists():
        fits = [a for a in known if a.sha256.startswith(name)]
        if len(fits) > 1:
            raise BadSetting(f"{len(fits)} artefacts begin with {name}.", "Give more of the name.")
        if fits and fits[0].kind not in KINDS:
            raise BadSetting(
                f"The artefact {name} is of the kind {fits[0].kind!r}.", f"Only these are merged: {', '.join(KINDS)}."
            )
        if fits:
            return fits[0]
    chosen = project.tuned().get(name)
    return _behind(name, chosen, known) if chosen else None


def _behind(task: str, sha256: str, known: Sequence[Artifact]) -> Artifact:
    """The adapter of a task's student: itself, or what it was shrunk from."""
    named = {artifact.sha256: artifact for artifact in known}
    chosen = named.get(sha256)
    line = [chosen, *(named.get(p) for p in chosen.parents)] if chosen else []
    found = next((a for a in line if a is not None and a.kind == "adapter"), None)
    if found is None:
        kind = chosen.kind if chosen else "nothing that is there"
        raise BadSetting(f"The student of {task} is of the kind {kind!r}, without an adapter.", "Give an adapter.")
    return found
