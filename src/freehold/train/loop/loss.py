"""The loss of some rows: how badly each next id was foretold, and how unevenly the experts were asked.

summed(model, ids, wanted) -> (nats summed over all ids that count, the router's logits: [ids, experts] a layer)
uneven(logits, chosen=2) -> experts * sum over experts of (share of ids that it was chosen for) * (mean probability)

The balancing loss is transformers' own (Switch Transformer, arXiv 2101.03961, equations 4 to 6). It is no sum over
rows: halves of a step that each balance themselves are not a step that is balanced. So the shares, which carry no
gradient, are counted over all processes first; what is left is a sum, and two processes learn what one would. In pieces
(Training.at_once) a step is balanced piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["IGNORED", "summed", "uneven"]

IGNORED = -100  # a target that does not count


def summed(model: Any, ids: Any, wanted: Any, *, experts: bool = False) -> tuple[Any, Sequence[Any]]:
    """`ids` and `wanted`: [rows, context]; the loss is summed, so that parts of a step add up to the step."""
    import torch

    how: dict[str, Any] = {"output_router_logits": True} if experts else {}
    said = model(input_ids=ids, use_cache=False, **how)
    logits = said.logits.float()
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), reduction="sum", ignore_index=IGNORED
    )
    return nats, said.router_logits if experts else ()


def uneven(logits: Sequence[Any], chosen: int, counts: bool, add_up: Callable[[Sequence[float]], list[float]]) -> Any:
    """This process's part of the balancing loss, whose sum over all of them is the loss. `counts`: whether its rows
    do. `add_up`: sums over the processes."""
    import torch

    every = torch.cat([layer.float().softmax(dim=-1) for layer in logits]) * counts
    experts = every.shape[-1]
    asked = torch.bincount(every.topk(chosen, dim=-1).indices.flatten(), minlength=experts) * counts
    *asked_by_all, rows = add_up([*asked.tolist(), len(every) * counts])
    share = torch.tensor(asked_by_all, device=every.device) / rows
    return experts * (share * every.sum(dim=0) / rows).sum()
