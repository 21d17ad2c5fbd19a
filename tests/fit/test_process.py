"""What a process of the loop holds: layers against the tensors that torch keeps, launch targets against their sums."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from freehold.fit import Architecture, parameters, total
from freehold.fit.process import HEAP, LOADED, SHARED, Held, at_most, kept
from freehold.train.loop.loss import summed
from freehold.train.model import config_of, fresh
from freehold.train.nouns import Shape

DENSE = Shape(layers=2, width=128, inner=384, heads=4, kv_heads=4, context=32, vocabulary=64)
SPARSE = Shape(layers=2, width=128, inner=192, heads=4, kv_heads=4, context=32, vocabulary=64, experts=4, chosen=2)


def stack(shape: Shape) -> Architecture:
    return Architecture.of(config_of(shape, 0).to_dict())


def counted(shape: Shape, layers: int, rows: int, *, mixed: bool) -> int:
    """Bytes that torch keeps for the backward pass, each storage once, weights apart."""
    import torch

    config = config_of(shape, 0)
    config.num_hidden_layers = layers
    model = fresh(config, 0)
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    found: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own:
            found[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    ids = torch.zeros((rows, shape.context), dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            summed(model, ids, ids)
        return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("mixed", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [DENSE, SPARSE], ids=["dense", "experts"])
def test_a_layer_is_what_torch_keeps_of_each_id(shape: Shape, mixed: bool) -> None:
    """Of two layers more and four rows more. The rest: a norm's one number, a softmax's of each head and expert."""
    more = [counted(shape, layers, 8, mixed=mixed) - counted(shape, layers, 4, mixed=mixed) for layers in (1, 3)]
    an_id = (more[1] - more[0]) / 2 / (4 * shape.context)
    ((_, layer),) = stack(shape).layers
    assert kept(layer, shape.width, mixed=mixed) <= an_id <= 1.05 * kept(layer, shape.width, mixed=mixed)


@pytest.mark.parametrize(
    ("way", "each"),
    [
        ("none", 4 + 8 + HEAP * 4),
        ("ddp", 4 + 8 + 4 + HEAP * 4),
        ("zero1", 4 + 12 / 4 + 4 + HEAP * 4 / 4),
        ("zero2", 4 + 12 / 4 + 4 + HEAP * 4 / 4),
        ("zero3", 16 / 4 + 4 + SHARED * 4),
    ],
)
def test_bytes_a_parameter(way: str, each: float) -> None:
    a = stack(DENSE)
    need = at_most(a, way, 1 if way == "none" else 4, Held(step=1 << 20))
    assert need["weights, gradients, Adam"] == pytest.approx(each * parameters(a), abs=1)
    assert need["program"] == LOADED


def test_more_processes_hold_less_each() -> None:
    a = stack(SPARSE)
    for way in ("fsdp", "zero1", "zero2", "zero3", "tp"):
        two, four = (total(at_most(a, way, n, Held(4096, 4096))) for n in (2, 4))
        assert four < two


def test_a_look_counts_where_a_step_reads_few_ids() -> None:
    a = stack(DENSE)
    few = at_most(a, "none", 1, Held(step=512, look=16_384))
    assert few["logits"] == 8 * 64 * 16_384
    assert few["activations"] == HEAP * 4 * (3 * 128 + 3 * 384) * 16_384
    assert at_most(a, "none", 1, Held(step=16_384, look=16_384))["logits"] == 12 * 64 * 16_384


def test_the_first_process_gathers_what_the_others_have_a_share_of() -> None:
    a = stack(replace(SPARSE, layers=24))
    need = at_most(a, "fsdp", 8, Held(step=32), program=0)
    assert need["gathered for a checkpoint"] == 12 * parameters(a)
    assert "gathered for a checkpoint" not in at_most(a, "ddp", 8, Held(step=32))
