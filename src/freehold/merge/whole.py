"""Whole models as one, by mergekit in a process of its own (worker.py): its configuration is written out and kept.

    parts ─checked: same architecture, tensors, tokenizer→ work/merge-<key>/merge.yml
        ─python -m freehold.merge.worker→ work/merge-<key>/result/  config.json, model.safetensors
        + the first model's tokenizer and chat template, README.md, merge.yml → artifacts/<sha256>/  kind model

mergekit reads and writes safetensors here, and nothing else: engines.bases has refused pickles and code before. The
process has no network by its environment, and ends with this one, or when its minutes are over.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from freehold.engines.bases import Base
from freehold.errors import LaunchFailed, MissingExtra, StorageFailed
from freehold.facts import Union
from freehold.merge.alike import check_alike
from freehold.merge.card import card
from freehold.merge.licence import owed
from freehold.merge.nouns import Asked, How, Part
from freehold.nouns import Artifact
from freehold.project import Project, write_atomic
from freehold.tell import Tell

__all__ = ["config_of", "merge_models"]

CONFIG, RESULT, LOG = "merge.yml", "result", "log.txt"
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "generation_config.json",
)  # fmt: skip
NEEDS = ("mergekit", "torch", "transformers")
PASSED = ("PATH", "HOME", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "TMPDIR", "VIRTUAL_ENV", "LANG")


def merge_models(parts: Sequence[Part], how: How, asked: Asked, project: Project, tell: Tell) -> Artifact:
    """The merged model, stored: made before, or now."""
    needed = _needed()
    models = [part.base for part in parts if part.base is not None]
    check_alike([*models, *([how.base] if how.base else [])])
    duties = owed(parts, project, tell=tell, commercial=asked.commercial, base=how.base.licence if how.base else "")
    recipe = _recipe(parts, how, needed)
    for found in project.artifacts():
        if found.kind == "model" and found.recipe.get("asked") == recipe["asked"]:
            return project.read_artifact(found.sha256)
    work = project.work(f"merge-{recipe['asked'][:12]}")
    try:
        _empty(work)
        _room(work, models[0])
        write_atomic(work / CONFIG, config_of(models, how).encode())
        tell(f"{how.method}: {len(models)} models")
        _run(work, asked.minutes, how.seed)
        _complete(work, models[0], parts, how, duties, project)
        return _store(work, parts, duties, recipe, project)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def config_of(models: Sequence[Base], how: How) -> str:
    """mergekit's configuration, as YAML (JSON is YAML). Sums are made in float32, and kept as the first model is."""
    kept = {"dtype": "float32", "out_dtype": _dtype(models[0])}
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


def _dtype(model: Base) -> str:
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


def _recipe(parts: Sequence[Part], how: How, needed: dict[str, str]) -> dict[str, Any]:
    given = [
        {"name": part.base.name, "sha256": part.base.sha256, "source": part.base.source, "licence": part.base.licence,
         "weight": weight}
        for part, weight in zip(parts, how.weights, strict=True) if part.base is not None
    ]  # fmt: skip
    said: dict[str, Any] = {
        "model": "freehold merge 1",
        "merged": {"method": how.method, "density": how.density, "seed": how.seed, "parts": given},
        "from": None if how.base is None else {"name": how.base.name, "sha256": how.base.sha256},
        "with": needed,
    }
    key = hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()
    return said | {"asked": key, "why": list(how.why)}


def _empty(work: Path) -> None:
    """What a killed run left goes: a merge begins anew."""
    for path in work.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _room(work: Path, model: Base) -> None:
    """The result lies there twice for a while. Raises StorageFailed."""
    need = 2 * sum(path.stat().st_size for path in model.path.glob("*.safetensors"))
    free = shutil.disk_usage(work).free
    if free < need:
        raise StorageFailed(
            f"The merge needs {need / 1e9:.1f} GB in {work}, and {free / 1e9:.1f} GB are free.", "Make room there."
        )


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
    lies = [part.base.path.name for part in parts if part.base is not None]
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
