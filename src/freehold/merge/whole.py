"""Whole models as one, by mergekit in a process of its own (worker.py): its configuration is written out and kept.

    parts ─fold: adapters in their bases, GGUFs unfolded→ ─checked: same architecture, tensors, tokenizer; room→
        work/merge-<key>/merge.yml
        ─python -m freehold.merge.worker→ work/merge-<key>/result/  config.json, model.safetensors
        + the first model's tokenizer and chat template, README.md, merge.yml → artifacts/<sha256>/  kind model

mergekit reads and writes safetensors here, and nothing else: engines.bases has refused pickles and code before. The
process has no network by its environment, and ends with this one, or when its minutes are over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from freehold.engines.bases import Base
from freehold.errors import ArtifactDamaged, LaunchFailed, MissingExtra
from freehold.facts import Union
from freehold.fit import refuse
from freehold.merge.alike import check_alike
from freehold.merge.card import card
from freehold.merge.fold import made_whole, unfolded
from freehold.merge.licence import owed
from freehold.merge.nouns import Asked, How, Part
from freehold.merge.room import check_disk, memory_of_models
from freehold.nouns import Artifact
from freehold.project import Project, write_atomic
from freehold.tell import Tell
from freehold.traffic.seen import learned, lineage

__all__ = ["config_of", "dtype_of", "merge_models"]

CONFIG, RESULT, LOG = "merge.yml", "result", "log.txt"
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "generation_config.json",
)  # fmt: skip
LESS = "Merge fewer models at once, or take a machine with more memory."
NEEDS = ("mergekit", "torch", "transformers")
PASSED = ("PATH", "HOME", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "TMPDIR", "VIRTUAL_ENV", "LANG")


def merge_models(parts: Sequence[Part], how: How, asked: Asked, project: Project, tell: Tell) -> Artifact:
    """The merged model, stored: made before, or now."""
    needed = _needed()
    check_alike([base for base in _bases(parts, how) if base.form == "hf"])
    duties = owed(parts, project, tell=tell, commercial=asked.commercial, base=how.base.licence if how.base else "")
    recipe = _recipe(parts, how, needed, project)
    if (found := _made(recipe["asked"], project)) is not None:
        return found
    work = project.work(f"merge-{recipe['asked'][:12]}")
    try:
        _empty(work)
        check_disk(work, _bases(parts, how), sum(p.adapter is not None for p in parts) + 1)
        models, against = _whole(parts, how, work, project, tell)
        refuse(memory_of_models(models, against, dtype_of(models[0])), "Merging the models", hint=LESS)
        write_atomic(work / CONFIG, config_of(models, against).encode())
        tell(f"{how.method}: {len(models)} models")
        _run(work, asked.minutes, how.seed)
        _complete(work, models[0], parts, how, duties, project)
        return _store(work, parts, duties, recipe, project)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _bases(parts: Sequence[Part], how: How) -> list[Base]:
    return [*(part.base for part in parts if part.base is not None), *([how.base] if how.base else [])]


def _made(asked: str, project: Project) -> Artifact | None:
    """The one that an earlier run made, where its files are whole."""
    for found in project.artifacts():
        if found.kind == "model" and found.recipe.get("asked") == asked:
            with contextlib.suppress(ArtifactDamaged):  # it is made again
                return project.read_artifact(found.sha256)
    return None


def _whole(parts: Sequence[Part], how: How, work: Path, project: Project, tell: Tell) -> tuple[list[Base], How]:
    """Each part as a folder for mergekit, and the base that they are compared with. Raises BaseUnusable where they are
    not alike."""
    models = [made_whole(part, work / f"part{i}", project, tell) for i, part in enumerate(parts)]
    against = replace(how, base=unfolded(how.base, work / "base", tell)) if how.base else how
    check_alike([*models, *([against.base] if against.base else [])])
    return models, against


def config_of(models: Sequence[Base], how: How) -> str:
    """mergekit's configuration, as YAML (JSON is YAML). Sums are made in float32, and kept as the first model is."""
    kept = {"dtype": "float32", "out_dtype": dtype_of(models[0])}
    if how.method == "slerp":
        first, second = (str(model.path) for model in models)
        share = {"t": how.weights[1]}
        said: dict[str, Any] = {"base_model": first, "models": [{"model": first}, {"model": second}]}
        return _yaml({"merge_method": "slerp", **said, "parameters": share, **kept})
    rows = []
    for model, weight in zip(models, how.weights, strict=True):
        row: dict[str, Any] = {"weight": weight}
        if how.density is not None:
            row["density"] = how.density
        rows.append({"model": str(model.path), "parameters": row})
    said = {"merge_method": how.method, "models": rows, "parameters": {"normalize": how.method != "task_arithmetic"}}
    if how.base is not None:
        said["base_model"] = str(how.base.path)
    return _yaml(said | kept)


def _yaml(said: dict[str, Any]) -> str:
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def dtype_of(model: Base) -> str:
    """The type that the result is kept in."""
    config = json.loads((model.path / "config.json").read_bytes())
    said = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
    return said if said in ("float32", "bfloat16", "float16") else "float32"


def _needed() -> dict[str, str]:
    """Raises MissingExtra before anything is read."""
    try:
        return {name: version(name) for name in NEEDS}
    except PackageNotFoundError as error:
        raise MissingExtra(
            f"Merging whole models needs the package {error.name}, which is not installed.",
            "pip install 'freehold[merge]'",
        ) from error


def _recipe(parts: Sequence[Part], how: How, needed: dict[str, str], project: Project) -> dict[str, Any]:
    """What it was merged from and how, and what adapters in it have learned from, which follows it as a base."""
    given = [
        {"name": part.name, "sha256": part.sha256, "source": part.base.source, "licence": part.licence,
         "weight": weight} | ({"base": part.base.sha256, "of": part.adapter.task} if part.adapter else {})
        for part, weight in zip(parts, how.weights, strict=True) if part.base is not None
    ]  # fmt: skip
    said: dict[str, Any] = {
        "model": "freehold merge 1",
        "merged": {"method": how.method, "density": how.density, "seed": how.seed, "parts": given},
        "from": None if how.base is None else {"name": how.base.name, "sha256": how.base.sha256},
        "with": needed,
    }
    key = hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()
    adapters = [part.adapter for part in parts if part.adapter is not None]
    rows = [msgspec.to_builtins(one) for one in learned(lineage(adapters, project))]
    rows += [row for base in _bases(parts, how) for row in base.learned if row not in rows]
    terms = [notice for adapter in adapters for notice in adapter.recipe.get("terms", ())]
    followed = {"learned": rows} if rows else {}
    return said | {"asked": key, "why": list(how.why)} | followed | ({"terms": terms} if adapters else {})


def _empty(work: Path) -> None:
    """What a killed run left goes: a merge begins anew."""
    for path in work.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _run(work: Path, minutes: float, seed: int) -> None:
    """mergekit in a process of its own. Raises LaunchFailed with its last words."""
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
        "TOKENIZERS_PARALLELISM": "false",
    }
    environment = {name: os.environ[name] for name in PASSED if name in os.environ} | quiet
    command = [sys.executable, "-m", "freehold.merge.worker", str(work.resolve()), str(seed)]
    with (work / LOG).open("wb") as log, _started(command, environment, log) as child:
        try:
            code = child.wait(timeout=60 * minutes)
        except subprocess.TimeoutExpired:
            raise LaunchFailed(
                f"The merge took more than {minutes:g} minutes and was ended.", "Give it more with --minutes."
            ) from None
        finally:
            child.kill()  # it has ended; or this process is stopped, and nothing goes on behind its back
    if code != 0:
        raise LaunchFailed(
            f"The merge failed: {_last(work / LOG, code)}", "See that the models load with transformers."
        )


def _started(command: list[str], environment: dict[str, str], log: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)


def _last(log: Path, code: int) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return f"{lines[-1][:300] if lines else 'it said nothing'} (exit {code})."


def _complete(work: Path, first: Base, parts: Sequence[Part], how: How, duties: Union, project: Project) -> None:
    result = work / RESULT
    for name in TOKENIZER:
        if (first.path / name).is_file():
            shutil.copyfile(first.path / name, result / name)
    shutil.copyfile(work / CONFIG, result / CONFIG)
    name, day = project.path.resolve().name, datetime.now(UTC).date()
    write_atomic(result / "README.md", card(name, parts, how, duties, day))


def _store(work: Path, parts: Sequence[Part], duties: Union, recipe: dict[str, Any], project: Project) -> Artifact:
    known = {artifact.sha256 for artifact in project.artifacts()}
    lies = [part.adapter.sha256 if part.adapter else part.base.path.name for part in parts if part.base is not None]
    return project.write_artifact(
        {path.name: path for path in sorted((work / RESULT).iterdir())},
        kind="model",
        task="",
        base="",
        licence=duties.expression,
        recipe=recipe,
        data_sha256="",
        parents=tuple(sha256 for sha256 in lies if sha256 in known),
    )
