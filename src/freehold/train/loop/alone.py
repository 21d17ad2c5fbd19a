"""The place of a training that one process holds whole: see place.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from freehold.train.loop.means import means_of, put_means

__all__ = ["Alone"]


class Alone:
    """One process holds it all."""

    rank = share = 0
    shares = 1

    def arguments(self) -> dict[str, Any]:
        return {}

    def load(self, folder: Path, how: Mapping[str, Any]) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, **how)

    def full(self, trainer: Any) -> Iterator[tuple[str, Any]]:
        for name, parameter in trainer.model.named_parameters():
            yield f"model.{name}", parameter.detach()
            yield from means_of(trainer.optimizer, name, parameter)

    def put(self, trainer: Any, tensors: Mapping[str, Any], step: int) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in trainer.model.named_parameters():
                parameter.copy_(tensors[f"model.{name}"])
                put_means(trainer.optimizer, name, parameter, tensors, step)

    def add_up(self, values: Sequence[float]) -> list[float]:
        return list(values)

    def settle(self, trainer: Any) -> None:
        pass

    def close(self) -> None:
        pass
