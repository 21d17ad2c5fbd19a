"""What is given as a Hugging Face folder of its own, for mergekit: an adapter in its base's weights, a GGUF unfolded.

    Part(adapter=a, base=b) ─copy of b's folder, W + alpha / r B A in its place, tensor by tensor→ work/part0/
    Base(form="gguf")       ─engines.gguf.folder→ work/part0/      config, float32 weights, tokenizer
    Base(form="hf")         as it lies there

Sums are made in float32 and kept as the base's tensor is. One tensor at a time is in memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from freehold.engines import bases
from freehold.engines.base_files import hf_files
from freehold.engines.bases import Base
from freehold.engines.gguf.folder import hf_folder
from freehold.errors import AdapterMismatch, BaseUnusable
from freehold.merge.lora import opened, pairs
from freehold.merge.nouns import Part
from freehold.nouns import Artifact
from freehold.project import Project
from freehold.project.storage import guarded
from freehold.tell import Tell

__all__ = ["base_of", "made_whole", "unfolded"]


def base_of(adapter: Artifact) -> Base:
    """The base that it was tuned on. Raises BaseUnusable where it isn't there any more, AdapterMismatch where another
    one lies there."""
    said = adapter.recipe.get("base")
    row = said if isinstance(said, Mapping) else {}
    name, source = str(row.get("name") or adapter.base), str(row.get("source") or "")
    found = bases.find(name if name in bases.known() or not source or not Path(source).exists() else source)
    if row.get("sha256") != found.sha256:
        raise AdapterMismatch(
            f"The adapter {adapter.sha256[:8]} was tuned on the base {name} ({str(row.get('sha256'))[:12]}…), and the "
            f"one that is here is {found.sha256[:12]}….",
            "Put the base back where it was, or tune again.",
        )
    return found


def made_whole(part: Part, folder: Path, project: Project, tell: Tell) -> Base:
    """The part as a whole model. Its name and licence stay those of what it was made from."""
    assert part.base is not None
    whole = unfolded(part.base, folder, tell)
    if part.adapter is None:
        return whole
    tell(f"{part.said} goes into its base {part.base.name}")
    with guarded(folder):
        _copied(whole.path, folder)
        _added(part.adapter, folder, project)
    return replace(whole, path=folder)


def unfolded(base: Base, folder: Path, tell: Tell) -> Base:
    """The base as a Hugging Face folder."""
    return base if base.form == "hf" else replace(base, path=hf_folder(base.path, folder, tell=tell), form="hf")


def _copied(source: Path, folder: Path) -> None:
    """The files that decide a token, to write into."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in hf_files(source):
        if path.parent != folder:
            shutil.copyfile(path, folder / path.name)


def _added(adapter: Artifact, folder: Path, project: Project) -> None:
    tensors, alpha = opened(adapter, project)
    left = pairs(tensors)
    for path in sorted(folder.glob("*.safetensors")):
        for name in _held(path) & {f"{layer}.weight" for layer in left}:
            a, b = left.pop(name.removesuffix(".weight"))
            _write_in_place(path, name, alpha / len(a), a, b)
    if left:
        raise AdapterMismatch(
            f"The adapter {adapter.sha256[:8]} holds {min(left)}, which its base has not.", "Tune again."
        )


def _held(path: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return set(file.keys())


def _write_in_place(path: Path, name: str, scale: float, a: Any, b: Any) -> None:
    """The tensor's bytes are written where they lay: its sides and its type stay."""
    import torch
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        weight = file.get_tensor(name).clone()
    if tuple(weight.shape) != (len(b), a.shape[1]):
        sides = " x ".join(map(str, weight.shape))
        raise AdapterMismatch(f"{name} is {len(b)} x {a.shape[1]} in the adapter and {sides} in its base.")
    if not weight.is_floating_point() or weight.element_size() < 2:
        raise BaseUnusable(f"{name} in {path.name} is of the type {weight.dtype}.", "Give the base in 16 or 32 bits.")
    whole = (weight.float() + scale * (b.float() @ a.float())).to(weight.dtype).contiguous()
    with path.open("r+b") as file:
        file.seek(_place(path, name))
        file.write(whole.view(torch.uint8).numpy().tobytes())


def _place(path: Path, name: str) -> int:
    """Where its first byte lies: u64 length, JSON header, then the tensors."""
    import json

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return 8 + length + int(header[name]["data_offsets"][0])
