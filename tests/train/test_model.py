"""The model of a plan: transformers' own, of the shape that was asked, the same for the same seed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from freehold.errors import BaseUnusable
from freehold.fit import Architecture, active, parameters
from freehold.train.model import balanced, config_of, fresh, shape_of
from freehold.train.nouns import Shape

DENSE = Shape(layers=2, width=32, inner=64, heads=4, kv_heads=2, context=16, vocabulary=50)
MOE = replace(DENSE, inner=32, experts=4, chosen=2)


@pytest.mark.parametrize("shape", [DENSE, MOE, replace(DENSE, tied=False)], ids=["dense", "moe", "untied"])
def test_has_the_parameters_that_fit_counts(shape: Shape) -> None:
    config = config_of(shape, end=0)
    model = fresh(config, 0)
    assert sum(p.numel() for p in model.parameters()) == parameters(Architecture.of(config.to_dict()))
    assert shape_of(config.to_dict()) == shape


def test_experts_of_half_the_inner_have_as_many_active_parameters() -> None:
    dense, moe = (Architecture.of(config_of(s, 0).to_dict()) for s in (DENSE, MOE))
    router = MOE.layers * MOE.experts * MOE.width
    assert active(moe) - router == parameters(dense)
    assert parameters(moe) > parameters(dense)


def test_the_same_seed_gives_the_same_bits_and_leaves_torch_as_it_was() -> None:
    before = torch.get_rng_state()
    one, same, other = (fresh(config_of(DENSE, 0), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(one.parameters(), same.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


@pytest.mark.parametrize("shape", [DENSE, MOE], ids=["dense", "moe"])
def test_what_writes_into_the_residual_is_drawn_smaller(shape: Shape) -> None:
    """Else the stream grows with depth: a new model is no surer of any word than chance is."""
    model = fresh(config_of(shape, 0), 0)
    weights = dict(model.named_parameters())
    down = next(w for name, w in weights.items() if "down_proj" in name)
    up = next(w for name, w in weights.items() if "up_proj" in name)
    assert down.std().item() == pytest.approx(up.std().item() / (2 * shape.layers) ** 0.5, rel=0.1)
    ids = torch.randint(0, shape.vocabulary, (4, 16), generator=torch.Generator().manual_seed(0))
    loss = model(input_ids=ids, labels=ids).loss
    assert loss.item() == pytest.approx(torch.tensor(float(shape.vocabulary)).log().item(), abs=0.3)


def test_goes_through_a_folder(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = fresh(balanced(config_of(MOE, 0), 0.01), 0)
    model.save_pretrained(tmp_path)
    assert shape_of(json.loads((tmp_path / "config.json").read_text())) == MOE
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.arange(16)[None]
    assert torch.equal(model(ids).logits, again(ids).logits)
    assert again.config.output_router_logits
    assert again.config.router_aux_loss_coef == 0.01


def test_a_config_without_a_number_is_refused() -> None:
    with pytest.raises(BaseUnusable, match="hidden_size"):
        shape_of({"num_hidden_layers": 2})
