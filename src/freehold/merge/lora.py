"""The arithmetic of adapters, by PEFT's add_weighted_adapter, on what each adds to a layer: W' = W + alpha / r B A.

    linear, task_arithmetic         cat: the ranks add up, and the sum is exact. (PEFT's own "linear" adds A to A and B
                                    to B, which leaves cross terms; it calls that a very rough approximation.)
    svd                             the sum, as near as the largest rank of the parts comes
    ties, dare_ties, dare_linear    on B A itself, as near as all ranks together come

No base is loaded: linear layers of the right names and sides do, without weights.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

from freehold.errors import AdapterMismatch, ArtifactDamaged, MissingExtra
from freehold.merge.nouns import How
from freehold.nouns import Artifact
from freehold.project import Project

__all__ = ["FILE", "HEAD", "PEFT", "added", "opened", "pairs"]

FILE = "adapter.safetensors"
HEAD = "base_model.model."
PEFT = {
    "linear": "cat", "task_arithmetic": "cat", "svd": "svd",
    "ties": "ties_svd", "dare_ties": "dare_ties_svd", "dare_linear": "dare_linear_svd",
}  # fmt: skip
Tensors = dict[str, Any]
Pairs = dict[str, tuple[Any, Any]]


def added(adapters: Sequence[tuple[Tensors, float]], how: How) -> tuple[Tensors, int]:
    """The merged adapter's tensors, to be scaled by 1 (alpha is its rank), and its rank. Each adapter is given by its
    tensors, as PEFT names them, and its alpha. Raises AdapterMismatch, MissingExtra."""
    import torch

    model, names = _model([(pairs(tensors), alpha) for tensors, alpha in adapters])
    kind, ranks = PEFT[how.method], [model.peft_config[name].r for name in names]
    rank = max(ranks) if kind == "svd" else sum(ranks)
    more: dict[str, Any] = {} if kind == "cat" else {"svd_rank": rank, "svd_full_matrices": False}
    if how.density is not None:
        more["density"] = how.density
    torch.manual_seed(how.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a density of 1 drops nothing
        model.add_weighted_adapter(names, _as_peft(how), "merged", combination_type=kind, **more)
    found: Tensors = {}
    for name, layer in _layers(model):
        a, b = layer.lora_A["merged"].weight.data, layer.lora_B["merged"].weight.data
        found[f"{name}.lora_A.weight"], found[f"{name}.lora_B.weight"] = _filled(a, b, rank)
    _finite(found, "the merged adapter", "Take weights nearer to each other.")
    return found, rank


def opened(adapter: Artifact, project: Project) -> tuple[Tensors, float]:
    """Its tensors, as PEFT names them, and its alpha. Raises ArtifactDamaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    said = adapter.recipe.get("lora", {}).get("alpha")
    if not isinstance(said, int | float):
        raise ArtifactDamaged(f"The artefact {adapter.sha256[:8]} does not say its alpha.", "Tune again.")
    path = project.artifact_path(adapter.sha256) / FILE
    try:
        tensors: Tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactDamaged(f"{path} can't be read: {error}.", "Tune again.") from error
    _finite(tensors, f"the adapter {adapter.sha256[:8]}", "Tune again.")
    return tensors, float(said)


def _finite(tensors: Tensors, where: str, hint: str) -> None:
    bad = next((name for name, tensor in sorted(tensors.items()) if not bool(tensor.isfinite().all())), None)
    if bad is not None:
        raise AdapterMismatch(f"{bad.removeprefix(HEAD)} in {where} holds numbers that are none (NaN, infinite).", hint)


def _as_peft(how: How) -> list[float]:
    """PEFT takes the mean of those that agree itself, and so wants weights that are 1 on average."""
    many = len(how.weights) if how.method in ("ties", "dare_ties") else 1
    return [weight * many for weight in how.weights]


def _filled(a: Any, b: Any, rank: int) -> tuple[Any, Any]:
    """A layer whose sides are shorter than the rank has fewer values than the others: the rest are 0."""
    import torch

    pad = rank - len(a)
    if pad <= 0:
        return a.contiguous(), b.contiguous()
    return torch.nn.functional.pad(a, (0, 0, 0, pad)), torch.nn.functional.pad(b, (0, pad))


def _model(adapters: Sequence[tuple[Pairs, float]]) -> tuple[Any, list[str]]:
    """PEFT's model on empty linear layers, with the adapters in it, each by a name of its own."""
    import torch

    peft = _peft()
    sides = _sides([pairs for pairs, _ in adapters])
    skeleton = torch.nn.Module()
    for path, (out, wide) in sides.items():
        _put(skeleton, path.split("."), _empty(out, wide))
    names = [f"part{i}" for i in range(len(adapters))]
    model: Any = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers without a base, and between peft and transformers
        for name, (pairs, alpha) in zip(names, adapters, strict=True):
            rank = len(next(iter(pairs.values()))[0])
            config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=sorted(sides), lora_dropout=0.0)
            if model is None:
                model = peft.LoraModel(skeleton, config, name, low_cpu_mem_usage=True)
            else:
                model.peft_config[name] = config
                model.inject_adapter(skeleton, name, low_cpu_mem_usage=True)
            for path, layer in _layers(model):
                a, b = pairs[path]
                layer.lora_A[name].weight, layer.lora_B[name].weight = map(_frozen, (a, b))
    return model, names


def _empty(out: int, wide: int) -> Any:
    """A linear layer of these sides whose weights are one 0: they take no memory, and are never read."""
    import torch

    layer = torch.nn.Linear(wide, out, bias=False, device="meta")
    layer.weight = torch.nn.Parameter(torch.zeros(1, 1).expand(out, wide), requires_grad=False)
    return layer


def _peft() -> Any:
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of a kernel that nothing here needs
    try:
        import peft
    except ImportError as error:
        raise MissingExtra("Merging adapters needs the package peft.", "pip install 'freehold[tune]'") from error
    return peft


def _frozen(tensor: Any) -> Any:
    import torch

    return torch.nn.Parameter(tensor.float(), requires_grad=False)


def _put(root: Any, path: list[str], layer: Any) -> None:
    import torch

    for name in path[:-1]:
        if name not in root._modules:
            root.add_module(name, torch.nn.Module())
        root = root._modules[name]
    root.add_module(path[-1], layer)


def _layers(model: Any) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [(name, layer) for name, layer in model.model.named_modules() if isinstance(layer, LoraLayer)]


def pairs(tensors: Tensors) -> Pairs:
    """Each layer's A and B, by the layer's name. Raises AdapterMismatch for other tensors, or ranks that differ."""
    found: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        path, _, side = name.removesuffix(".weight").rpartition(".")
        if side not in ("lora_A", "lora_B") or tensor.ndim != 2:
            raise AdapterMismatch(f"An adapter holds {name!r}, which is no LoRA of a linear layer.", "Tune again.")
        found.setdefault(path.removeprefix(HEAD), {})[side] = tensor
    halves = next((path for path, sides in found.items() if len(sides) < 2), None)
    if halves is not None or not found:
        raise AdapterMismatch(f"An adapter holds {f'one half of {halves}' if halves else 'nothing'}.", "Tune again.")
    ranks = {len(sides["lora_A"]) for sides in found.values()} | {sides["lora_B"].shape[1] for sides in found.values()}
    if len(ranks) > 1:
        raise AdapterMismatch(f"An adapter has the ranks {sorted(ranks)}; one is known.", "Tune again.")
    return {path: (sides["lora_A"], sides["lora_B"]) for path, sides in sorted(found.items())}


def _sides(adapters: Sequence[Pairs]) -> dict[str, tuple[int, int]]:
    """Output and input of each layer. Raises AdapterMismatch where the adapters differ in them."""
    said = [{path: (len(b), a.shape[1]) for path, (a, b) in pairs.items()} for pairs in adapters]
    for other in said[1:]:
        differs = next((p for p in sorted({*said[0], *other}) if said[0].get(p) != other.get(p)), None)
        if differs is not None:
            one, two = (" x ".join(map(str, s[differs])) if differs in s else "nothing" for s in (said[0], other))
            raise AdapterMismatch(f"{differs} is {one} in one adapter and {two} in another.", "Tune both alike.")
    return said[0]
