"""Places of several processes that torch itself knows: DDP, FSDP2 and tensor parallelism, by transformers' own plans.

    ddp    the whole model in each process, a slice of the rows; gradients are averaged
    fsdp   DistributedConfig(fsdp_size=n): each layer's weights in n parts, gathered when it is its turn
    tp     DistributedConfig(tp_size=n): each matrix in n parts, all rows in each process

Processes are started by torchrun and talk by gloo on CPUs, by NCCL on GPUs. Weights in parts are DTensors: whole ones
are gathered by `full_tensor`, and cut again by `distribute_tensor`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from freehold.errors import LaunchFailed
from freehold.launch.job import Parallel
from freehold.train.loop.means import means_of, put_means

__all__ = ["Spread", "join", "leave"]


def join() -> tuple[int, int]:
    """(rank, ranks) among the processes that torchrun has started. Raises LaunchFailed."""
    import torch
    import torch.distributed as dist

    # accelerate takes threads of its own choice, and warns, where nobody has named a number
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    try:
        if not dist.is_initialized():
            _own_card()
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    except (ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise LaunchFailed(
            f"The processes of the training could not find each other: {said}", "Use torchrun."
        ) from error
    return dist.get_rank(), dist.get_world_size()


def _own_card() -> None:
    """Each process of a machine takes its own, before anything is laid there: NCCL refuses two on one. Raises
    LaunchFailed."""
    import torch

    at, cards = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if torch.cuda.is_available() and at >= cards:
        raise LaunchFailed(f"Process {at + 1} of this machine finds no card: there are {cards}.", "Start fewer on it.")
    if torch.cuda.is_available():
        torch.cuda.set_device(at)


def leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


class Spread:
    def __init__(self, parallel: Parallel) -> None:
        self._parallel = parallel
        self.rank, self._ranks = join()
        self.share, self.shares = (0, 1) if parallel == "tp" else (self.rank, self._ranks)

    def arguments(self) -> dict[str, Any]:
        return {}

    def load(self, folder: Path, how: Mapping[str, Any]) -> Any:
        from transformers import AutoModelForCausalLM
        from transformers.distributed.configuration_utils import DistributedConfig

        more: dict[str, Any] = {}
        if self._parallel != "ddp":
            fsdp, tp = (self._ranks, 1) if self._parallel == "fsdp" else (1, self._ranks)
            more["distributed_config"] = DistributedConfig(fsdp_size=fsdp, tp_size=tp)
        model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, **how, **more)
        if self._parallel == "tp":
            model._tp_size = (
                None  # else Trainer asks accelerate for a mesh, which it refuses on CPUs; ours is laid already
            )
        return model

    def full(self, trainer: Any) -> Iterator[tuple[str, Any]]:
        for name, parameter in trainer.model.named_parameters():
            yield f"model.{name}", _whole(parameter)
            yield from means_of(trainer.optimizer, name, parameter, _whole)

    def put(self, trainer: Any, tensors: Mapping[str, Any], step: int) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in trainer.model.named_parameters():
                parameter.copy_(_laid(tensors[f"model.{name}"], parameter))
                put_means(trainer.optimizer, name, parameter, tensors, step, _laid)

    def add_up(self, values: Sequence[float]) -> list[float]:
        import torch
        import torch.distributed as dist

        device = "cuda" if torch.cuda.is_available() else "cpu"
        together = torch.tensor(list(values), dtype=torch.float64, device=device)
        dist.all_reduce(together)
        return [value * self.shares / self._ranks for value in together.tolist()]

    def settle(self, trainer: Any) -> None:
        """A pass without a backward one leaves FSDP2's last weights whole: cut them again."""
        from torch.distributed.fsdp import FSDPModule

        for module in trainer.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def close(self) -> None:
        leave()


def _whole(tensor: Any) -> Any:
    from torch.distributed.tensor import DTensor

    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()


def _laid(tensor: Any, like: Any) -> Any:
    """A whole tensor as `like` lies; every process has the whole one, so nothing is sent."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
