"""What Adam keeps of each parameter: two running means, m and v, taken out for a checkpoint and put back.

means_of(optimizer, "model.norm.weight", parameter) -> ("m.model.norm.weight", tensor), ("v.model.norm.weight", tensor)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["MEANS", "means_of", "put_means"]

MEANS = {"m": "exp_avg", "v": "exp_avg_sq"}


def means_of(optimizer: Any, name: str, parameter: Any, whole: Callable[[Any], Any] = lambda t: t) -> Iterator[Any]:
    """What Adam keeps of a parameter; nothing before its first step."""
    held = optimizer.state.get(parameter)
    if held:
        for short, long in MEANS.items():
            yield f"{short}.{name}", whole(held[long])


def put_means(
    optimizer: Any,
    name: str,
    parameter: Any,
    tensors: Mapping[str, Any],
    step: int,
    laid: Callable[[Any, Any], Any] = lambda tensor, parameter: tensor.to(parameter.device),
) -> None:
    """`laid(tensor, parameter)`: a whole tensor as the parameter lies."""
    import torch

    if f"m.{name}" in tensors:
        held = {long: laid(tensors[f"{short}.{name}"], parameter) for short, long in MEANS.items()}
        optimizer.state[parameter] = {"step": torch.tensor(float(step), device=parameter.device), **held}
