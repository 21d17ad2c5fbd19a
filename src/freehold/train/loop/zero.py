"""Places of several processes under DeepSpeed's ZeRO (arXiv 1910.02054): each takes a slice of the rows, and holds

    zero1    its share of Adam's means
    zero2    and of the gradients
    zero3    and of the weights, which are gathered layer by layer

Trainer and accelerate make the engine from `arguments`; AdamW is torch's, and so is the rate. The weights are float32:
what DeepSpeed calls the float32 copy is the model itself. Nothing is compiled: see `_deepspeed`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from freehold.errors import MissingExtra
from freehold.train.loop.means import MEANS
from freehold.train.loop.spread import Spread

__all__ = ["Zero"]


class Zero(Spread):
    def __init__(self, parallel: Literal["zero1", "zero2", "zero3"]) -> None:
        _deepspeed()
        super().__init__(parallel)
        self._stage = int(parallel.removeprefix("zero"))
        self._laying: Any = None

    def arguments(self) -> dict[str, Any]:
        return {"deepspeed": self._config(steps="auto")}

    def _config(self, steps: int | str) -> dict[str, Any]:
        """`steps`: pieces of a step; the batch is ours, and DeepSpeed only counts with its size."""
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": steps,
            "gradient_clipping": "auto",
            "zero_optimization": {"stage": self._stage},
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
        }

    def load(self, folder: Path, how: Mapping[str, Any]) -> Any:
        """In parts from the start where the weights are shared: transformers asks for a configuration that lives."""
        from transformers import AutoModelForCausalLM
        from transformers.integrations.deepspeed import HfDeepSpeedConfig

        said = self._config(steps=1) | {"gradient_clipping": 0.0}
        self._laying = HfDeepSpeedConfig(said)  # type: ignore[no-untyped-call]
        return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, **how)

    def full(self, trainer: Any) -> Iterator[tuple[str, Any]]:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        _link(trainer.deepspeed.optimizer, self._stage)
        for name, parameter in trainer.model.named_parameters():
            yield f"model.{name}", safe_get_full_fp32_param(parameter).cpu()
            for short, long in MEANS.items():
                yield f"{short}.{name}", safe_get_full_optimizer_state(parameter, long).cpu()
        self._alone_again()

    def put(self, trainer: Any, tensors: Mapping[str, Any], step: int) -> None:
        import torch

        with torch.no_grad():
            _room_for_means(trainer.deepspeed.optimizer, self._stage, step)
            put = _put_share if self._stage == 3 else _put_whole
            for name, parameter in trainer.model.named_parameters():
                put(parameter, *(tensors[f"{kind}.{name}"] for kind in ("model", *MEANS)))

    def settle(self, trainer: Any) -> None:
        pass

    def close(self) -> None:
        self._alone_again()
        super().close()

    def _alone_again(self) -> None:
        """Models that are loaded from here on, as the result is, are whole."""
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]
        self._laying = None


def _deepspeed() -> None:
    """Without cards it would compile an all-reduce over shared memory at its first use (half a minute, and g++ and
    ninja are needed), which training never calls: no operation of its own is offered. Raises MissingExtra."""
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        import deepspeed.ops
    except ImportError as error:
        raise MissingExtra(
            f"ZeRO needs the package {error.name}, which is not installed.", "pip install 'freehold[launch]'"
        ) from error
    if not torch.cuda.is_available():
        deepspeed.ops.__compatible_ops__ = {}


def _room_for_means(optimizer: Any, stage: int, step: int) -> None:
    """Adam makes its means at its first step; they are to be laid before it. `optimizer`: ZeRO's, around torch's."""
    import torch

    flats = optimizer.fp32_partitioned_groups_flat if stage == 3 else optimizer.single_partition_of_fp32_groups
    for flat in flats:
        made = {long: torch.zeros_like(flat) for long in MEANS.values()}
        optimizer.optimizer.state[flat] = {"step": torch.tensor(float(step), device=flat.device), **made}
    _link(optimizer, stage)


def _link(optimizer: Any, stage: int) -> None:
    """Each parameter's part of Adam's means. DeepSpeed does so itself, but after the step of the first of its groups
    alone (0.19.8), when those of the next ones are not made yet."""
    from deepspeed.utils import lazy_init_hp_params_optimizer_state

    if stage < 3:
        groups = zip(optimizer.bit16_groups, optimizer.single_partition_of_fp32_groups, strict=True)
        for parameters, flat in groups:
            lazy_init_hp_params_optimizer_state(parameters, flat, optimizer.optimizer.state)


def _put_whole(parameter: Any, whole: Any, *means: Any) -> None:
    """Where each process has all weights: those that are read, and those that its share of Adam moves."""
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    parameter.copy_(whole)
    safe_set_full_fp32_param(parameter, whole.to(parameter.device))
    for long, mean in zip(MEANS.values(), means, strict=True):
        safe_set_full_optimizer_state(parameter, mean.to(parameter.device), long)


def _put_share(parameter: Any, whole: Any, *means: Any) -> None:
    """Where each process has a share: DeepSpeed's own setter of whole tensors fails where they don't divide evenly."""
    import deepspeed
    from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
        parameter.copy_(whole)
    safe_set_local_fp32_param(parameter, _share(whole, parameter))
    for long, mean in zip(MEANS.values(), means, strict=True):
        safe_set_local_optimizer_state(parameter, _share(mean, parameter), long)


def _share(whole: Any, parameter: Any) -> Any:
    """This process's part of a tensor, as DeepSpeed cuts it: flat, the last one filled up with zeros."""
    import torch
    import torch.distributed as dist

    size, rank = parameter.ds_tensor.numel(), dist.get_rank()
    part = whole.flatten()[rank * size : (rank + 1) * size]
    return torch.nn.functional.pad(part, (0, size - part.numel())).to(parameter.ds_tensor.device)
