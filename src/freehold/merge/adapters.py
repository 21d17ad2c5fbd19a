"""Adapters of one base as one adapter of one task: who goes together, what is kept of each, the artefact.

adapters ─one base? one task? traffic.seen→ none has learned from a call that certifies the task
    ─lora.added→ tensors     own.json: the rows that none of them has learned from, for shrink to measure on
    → artifacts/<sha256>/  kind adapter, as from tune: adapter.safetensors decoder.json own.json, parents, learned
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from freehold.engines.decoder import Recipe
from freehold.errors import AdapterMismatch, ArtifactDamaged, BadSetting, MissingExtra, StudentUnusable
from freehold.fit import refuse
from freehold.merge.licence import owed
from freehold.merge.lora import FILE, HEAD, PEFT, added, opened
from freehold.merge.nouns import Asked, How, Part
from freehold.merge.room import memory_of_adapters
from freehold.nouns import Artifact, Audit, Task
from freehold.project import Project
from freehold.tell import Tell
from freehold.traffic import read
from freehold.traffic.seen import Sides, foreign, learned, lineage, near_to, spared

__all__ = ["merge_adapters"]

FEWEST = 10  # held-back rows, for shrink to measure on
LESS = "Merge fewer at once, or take --method linear."


def merge_adapters(parts: Sequence[Part], how: How, asked: Asked, project: Project, tell: Tell) -> Artifact:
    """The merged adapter, stored, and chosen as its task's student."""
    adapters = [part.adapter for part in parts if part.adapter is not None]
    _one_base(parts)
    first = _of_task(asked.task, adapters)
    licence = owed(parts, project, tell=tell, commercial=asked.commercial).expression
    line = lineage(adapters, project)
    rows = learned(line)
    audit = project.load(Audit)
    task = _task(first.task, audit.tasks)
    tell("read the log")
    traffic = read(audit.log.paths, until=audit.log.until, tell=tell)
    held = spared(line, rows, project)
    others = foreign(task, rows, held, audit.tasks, traffic)
    own = _own(held[task.name], Sides(task, traffic), others)
    tell(f"{how.method}: {len(adapters)} adapters")
    given = [opened(adapter, project) for adapter in adapters]
    refuse(memory_of_adapters([tensors for tensors, _ in given], how), "Merging the adapters", hint=LESS)
    tensors, rank = added(given, how)
    layers = sorted({name.rsplit(".", 3)[-3] for name in tensors})
    made = project.write_artifact(
        {
            FILE: _saved(tensors),
            "adapter_config.json": _config(first.base, rank, layers),
            "decoder.json": Recipe.read(project.artifact_path(first.sha256)).encode(),
            "own.json": msgspec.json.encode(own),
        },
        kind="adapter",
        task=task.name,
        base=first.base,
        licence=licence,
        recipe=_recipe(parts, how, first, rank, layers, len(own["texts"]), rows),
        data_sha256=first.data_sha256,
        parents=tuple(dict.fromkeys((*_bases(adapters), *(a.sha256 for a in adapters)))),
    )
    project.choose(task.name, made.sha256)
    return made


# what goes together


def _one_base(parts: Sequence[Part]) -> None:
    """Raises AdapterMismatch, naming both."""
    first, *rest = [(part.said, _base(part.adapter)) for part in parts if part.adapter is not None]
    for said, base in rest:
        if base["sha256"] != first[1]["sha256"]:
            one, other = (f"{b['name']} ({str(b['sha256'])[:12]}…)" for b in (first[1], base))
            raise AdapterMismatch(
                f"{first[0]} was tuned on the base {one}, {said} on {other}.", "Tune both on the same base."
            )


def _base(adapter: Artifact) -> Mapping[str, Any]:
    said = adapter.recipe.get("base")
    if not isinstance(said, Mapping) or not said.get("sha256"):
        raise ArtifactDamaged(f"The artefact {adapter.sha256[:8]} does not say its base.", "Tune again.")
    return said


def _bases(adapters: Sequence[Artifact]) -> list[str]:
    """The base artefacts that the parts share, so that they are kept as long as this one."""
    return [parent for adapter in adapters for parent in adapter.parents[:1]]


def _of_task(name: str | None, adapters: Sequence[Artifact]) -> Artifact:
    """The first adapter of the task: its prompt, its held-back rows. Raises BadSetting."""
    tasks = list(dict.fromkeys(adapter.task for adapter in adapters))
    if name is None and len(tasks) > 1:
        raise BadSetting(f"The adapters are of the tasks {', '.join(tasks)}.", "Say which it is for: --task NAME.")
    found = next((adapter for adapter in adapters if adapter.task == (name or tasks[0])), None)
    if found is None:
        raise BadSetting(
            f"None of the adapters was tuned for the task {name}.",
            f"Known: {', '.join(tasks)}; or merge one of {name} with them.",
        )
    return found


def _task(name: str, tasks: Sequence[Task]) -> Task:
    found = next((task for task in tasks if task.name == name), None)
    if found is None:
        raise BadSetting(f"The audit does not list the task {name}.", f"Known: {', '.join(t.name for t in tasks)}.")
    return found


def _own(held: Mapping[str, str], here: Sides, others: Sequence[str]) -> dict[str, list[str]]:
    """own.json, without rows near to what another task's part has learned. Raises StudentUnusable where too few are
    left to measure on."""
    texts = list(held)
    near = set(near_to([here.fit.get(text, text) for text in texts], others)) if others else set()
    kept = {text: held[text] for i, text in enumerate(texts) if i not in near}
    if len(kept) < FEWEST:
        raise StudentUnusable(
            f"Only {len(kept)} rows were held back by all the adapters; it takes {FEWEST} to measure the merged one.",
            "Tune them with the same rows and seed.",
        )
    return {"texts": list(kept), "answers": list(kept.values())}


# files


def _saved(tensors: dict[str, Any]) -> bytes:
    from safetensors.torch import save

    data: bytes = save({f"{HEAD}{name}": tensor for name, tensor in sorted(tensors.items())})
    return data


def _config(base: str, rank: int, layers: Sequence[str]) -> bytes:
    """adapter_config.json, so that PEFT can load the adapter as well."""
    said = {
        "base_model_name_or_path": base, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "lora_alpha": rank, "lora_dropout": 0.0, "peft_type": "LORA", "r": rank, "target_modules": list(layers),
        "task_type": "CAUSAL_LM",
    }  # fmt: skip
    return (json.dumps(said, indent=2) + "\n").encode()


def _recipe(
    parts: Sequence[Part], how: How, first: Artifact, rank: int, layers: Sequence[str], own: int, rows: Sequence[Any]
) -> dict[str, Any]:
    """As that of a tuned one, as far as shrink and prove read it; and what it was merged from."""
    adapters = [part.adapter for part in parts if part.adapter is not None]
    told = [notice for adapter in adapters for notice in adapter.recipe.get("terms", ())]
    terms = {json.dumps(notice, sort_keys=True): notice for notice in told}
    found: dict[str, Any] = {
        "student": "decoder 1",
        "base": dict(_base(first)),
        "lora": {"rank": rank, "alpha": rank, "layers": ", ".join(layers)},
        "merged": {
            "method": how.method,
            "peft": PEFT[how.method],
            "density": how.density,
            "seed": how.seed,
            "parts": [
                {"sha256": adapter.sha256, "of": adapter.task, "weight": weight}
                for adapter, weight in zip(adapters, how.weights, strict=True)
            ],
            "why": list(how.why),
        },
        "learned": [msgspec.to_builtins(one) for one in dict.fromkeys(rows)],
        "held_back": own,
        "with": _versions(),
    }
    if any("terms" in adapter.recipe for adapter in adapters):
        found["terms"] = list(terms.values())
    found["asked"] = hashlib.sha256(msgspec.json.encode(found, order="deterministic")).hexdigest()
    return found


def _versions() -> dict[str, str]:
    try:
        return {name: version(name) for name in ("torch", "peft")}
    except PackageNotFoundError as error:
        raise MissingExtra(
            f"Merging needs the package {error.name}, which is not installed.", "pip install 'freehold[tune]'"
        ) from error
