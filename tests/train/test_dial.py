"""The dial: a plan that follows from minutes or tokens, with a reason for each choice, and what a person said over it.

A machine here is its FLOP/s (`Machine`); what measures the real one is tried once, on the smallest shape.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import BadSetting, BaseUnusable, TooLittleMemory
from freehold.fit import LOADED, Devices, active, launches, parameters, resident
from freehold.train.dial import dial
from freehold.train.dial.batch import betas, ids_a_step, rate
from freehold.train.dial.enough import EPOCHS, worth
from freehold.train.dial.memory import architecture, checked, need
from freehold.train.dial.overrides import KNOWN, read
from freehold.train.dial.plan import context_of, decide, size_of
from freehold.train.dial.shapes import complete, rungs
from freehold.train.dial.size import Budget, Size
from freehold.train.dial.speed import Speed, measured
from freehold.train.job import ids_at_once
from freehold.train.nouns import Corpus, Plan, Shape


@dataclass(frozen=True)
class Machine:
    """Does so many operations a second, whatever it is asked."""

    flops: float = 1e11

    def __call__(self, shape: Shape, rows: int) -> Speed:
        return Speed("float32", 6 * active(architecture(shape)) / self.flops, 1e-3, "float32: as counted")


def corpus(tokens: int = 4_000_000, *, bytes_per_token: float = 3.5, vocabulary: int = 1024) -> Corpus:
    held = max(64, tokens // 20)
    return Corpus((), Path("nowhere"), vocabulary, 0, tokens, held, round(held * bytes_per_token), "0" * 64)


def plan_of(text: Corpus, asked: dict[str, Any] | None = None, machine: Machine | None = None, **how: Any) -> Plan:
    """As dial does it, on a machine that is known."""
    said, speed_of = read(asked or {}), machine or Machine()
    moe, start, processes = how.pop("moe", False), how.pop("start", None), how.pop("processes", 1)
    minutes = how.pop("minutes", None)
    tokens, parallel = how.pop("tokens", None), "none" if processes == 1 else "ddp"
    seconds = minutes and 60 * minutes
    budget = Budget(text.tokens, text.held_out_tokens, seconds, tokens, processes, parallel)  # type: ignore[arg-type]
    size = size_of(text, budget, said, moe=moe, start=start, speed_of=speed_of)
    return decide(size, budget, said, size.speed or speed_of(size.shape, size.rows), again=start is not None)


def counted(plan: Plan) -> int:
    return active(architecture(plan.shape))


# what follows from what


@pytest.mark.parametrize("minutes", [1, 10, 60])
def test_more_minutes_make_a_larger_model_that_has_its_twenty_tokens(minutes: float) -> None:
    text = corpus(10**9)
    plan, longer = plan_of(text, minutes=minutes), plan_of(text, minutes=8 * minutes)
    assert counted(longer) > counted(plan)
    assert longer.tokens > plan.tokens
    assert longer.rate <= plan.rate
    if plan.shape.width > 64:
        assert plan.tokens >= 0.98 * 20 * counted(plan)


def test_learns_for_as_long_as_was_said_with_what_looking_takes() -> None:
    plan = plan_of(corpus(), minutes=10)
    speed = Machine()(plan.shape, plan.rows)
    learning = plan.steps * speed.step(plan.rows * plan.shape.context)
    looking = 200_000 / 3 * speed.an_id + 0.05 * learning
    assert learning + looking == pytest.approx(600, rel=0.02)


def test_two_processes_learn_twice_as_much_and_share_the_rows() -> None:
    asked = {"width": 128}
    one, two = (plan_of(corpus(10**9), asked, minutes=10, processes=n) for n in (1, 2))
    assert two.tokens == pytest.approx(2 * one.tokens, rel=0.05)
    assert two.rows % 2 == 0


def test_little_text_is_read_again_but_not_for_ever() -> None:
    small, large = corpus(100_000), corpus(10**9)
    plan = plan_of(small, minutes=60)
    assert plan.tokens == pytest.approx(EPOCHS * 100_000, rel=0.02)
    assert counted(plan) < counted(plan_of(large, minutes=60))
    assert any("the rest of the minutes is not used" in reason for reason in plan.why)


@given(st.integers(1_000, 10**10), st.floats(0, 100))
def test_what_is_read_again_is_worth_less(once: int, times: float) -> None:
    tokens = times * once
    assert worth(tokens, once) <= tokens * (1 + 1e-9)
    assert worth(tokens, once) <= 16.4 * once
    assert worth(tokens, once) <= worth(tokens + once, once)


def test_worth_as_published() -> None:
    """Muennighoff et al. 2023, section 5: four epochs are nearly as good as new text, forty are not."""
    assert worth(4, 1) / 4 > 0.9
    assert worth(40, 1) / 40 < 0.4


def test_experts_have_as_many_active_parameters_as_the_dense_model() -> None:
    dense, moe = (plan_of(corpus(), {"width": 128}, tokens=10**6, moe=kind) for kind in (False, True))
    router = moe.shape.layers * moe.shape.experts * moe.shape.width
    assert counted(moe) - router == counted(dense)
    assert (moe.shape.experts, moe.shape.chosen, moe.balance, dense.balance) == (8, 2, 0.01, 0.0)
    assert any("active of" in reason for reason in plan_of(corpus(), tokens=10**6, moe=True).why)


def test_tokens_decide_alone() -> None:
    plan = plan_of(corpus(10**8), tokens=30_000_000)
    assert plan.tokens == pytest.approx(30_000_000, rel=0.02)
    assert 0.4 * 1_500_000 < counted(plan) <= 1_500_000
    slower = plan_of(corpus(10**8), tokens=30_000_000, machine=Machine(1e9))
    assert replace(slower, why=()) == replace(plan, why=())


def test_rows_are_shorter_where_tokens_are_characters_and_where_there_is_little_text() -> None:
    assert context_of(128, corpus()) == 256
    assert context_of(768, corpus(10**9)) == 1024
    assert context_of(128, corpus(bytes_per_token=1)) == 128
    assert context_of(128, corpus(1000)) == 16


# the ladder


@settings(max_examples=60)
@given(st.integers(1, 64), st.integers(1, 32), st.booleans())
def test_any_depth_and_even_width_make_a_model(half: int, layers: int, moe: bool) -> None:
    shape = complete({"layers": layers, "width": 2 * half}, vocabulary=99, context=lambda width: 64, moe=moe)
    assert shape.width % shape.heads == 0
    assert (shape.width // shape.heads) % 2 == 0
    assert shape.heads % shape.kv_heads == 0


def test_the_ladder_rises() -> None:
    steps = rungs({}, vocabulary=99, context=lambda width: 64, moe=False)
    shapes = [next(steps) for _ in range(30)]
    sizes = [parameters(architecture(shape)) for shape in shapes]
    assert sizes == sorted(set(sizes))
    assert all(b / a < 2.6 for a, b in pairwise(sizes))


def test_depth_or_width_alone_brings_the_other() -> None:
    how: dict[str, Any] = {"vocabulary": 99, "context": lambda width: 64, "moe": False}
    assert [s.width for s in rungs({"layers": 6}, **how)] == [384]
    assert [s.layers for s in rungs({"width": 384}, **how)] == [6]
    (both,) = rungs({"layers": 4, "width": 128}, **how)
    assert (both.layers, both.width, both.heads, both.inner) == (4, 128, 4, 384)


# what a person says


def test_what_is_said_stands_and_its_reason_goes() -> None:
    asked = {"layers": "4", "width": "128", "context": "64", "rows": "12", "steps": "2000", "rate": "1e-3",
             "betas": "0.9,0.99", "schedule": "cosine", "tied": "false", "dtype": "float32", "warm": "100"}  # fmt: skip
    plan = plan_of(corpus(), asked, minutes=1)
    assert plan.shape == Shape(4, 128, 384, 4, 4, 64, 1024, tied=False)
    assert (plan.rows, plan.steps, plan.rate, plan.betas, plan.warm) == (12, 2000, 1e-3, (0.9, 0.99), 100)
    assert (plan.schedule, plan.dtype) == ("cosine", "float32")
    assert not [reason for reason in plan.why if reason.startswith(("Size", "Batch", "Rate", "Steps", "Arithmetic"))]
    assert "layers 4" in plan.why[-1]


def test_each_choice_has_its_reason() -> None:
    said = " ".join(plan_of(corpus(), minutes=10, moe=True).why)
    for word in ("Size:", "Depth:", "Heads:", "Experts:", "Balance:", "Context:", "Batch:", "Steps:", "Rate:",
                 "Schedule:", "AdamW:", "Arithmetic:",
                 "2203.15556", "2305.16264", "2401.02954", "2503.04715"):  # fmt: skip
        assert word in said, word


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"layer": 4}, "Known: layers, width"),
        ({"vocabulary": 5}, "--vocabulary"),
        ({"seed": 5}, "--seed"),
        ({"layers": "four"}, "layers is 'four'. Give a whole number."),
        ({"layers": 0}, "layers is 0"),
        ({"width": 33}, "Give an even width"),
        ({"width": 128, "heads": 5}, "heads is 5"),
        ({"width": 128, "heads": 4, "kv_heads": 3}, "doesn't divide the 4 heads"),
        ({"experts": 1}, "experts is 1"),
        ({"experts": 4, "chosen": 5}, "chosen is 5, of 4 experts"),
        ({"rate": 0}, "rate is 0"),
        ({"rate": "nan"}, "rate is nan"),
        ({"rate": -1e-3}, "rate is -0.001"),
        ({"betas": "0.9"}, "Give two numbers"),
        ({"betas": "0.9,1.0"}, "below 1"),
        ({"schedule": "steps"}, "Known: cosine, linear, constant."),
        ({"dtype": "int4"}, "Known: float32, bfloat16."),
        ({"steps": 10, "warm": 10}, "warm is 10, of 10 steps"),
        ({"context": 1}, "context is 1"),
        ({"context": 1 << 30}, "context is 1073741824"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSetting) as error:
        plan_of(corpus(), asked, minutes=1)
    assert says in str(error.value)


def test_every_name_that_is_known_is_read() -> None:
    samples = {
        "betas": "0.9,0.99",
        "schedule": "linear",
        "dtype": "bfloat16",
        "tied": "true",
        "warm": "1",
        "rate": "0.001",
    }
    assert set(read({name: samples.get(name, "2" if name != "least" else "0.5") for name in KNOWN})) == set(KNOWN)


def test_minutes_or_tokens_and_one_of_them() -> None:
    for how in ({}, {"minutes": 1.0, "tokens": 5}):
        with pytest.raises(BadSetting, match="one of them"):
            dial(corpus(), **how)  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused_before_it_is_measured() -> None:
    def never(shape: Shape, rows: int) -> Speed:
        raise AssertionError("measured")

    asked = read({"width": 16384, "layers": 400})
    with pytest.raises(TooLittleMemory, match="400 layers of 16384"):
        size_of(corpus(), Budget(1, 1, 60), asked, moe=False, start=None, speed_of=never)


def test_a_plan_says_what_it_takes_beside_what_there_is_and_is_refused_by_the_same_table() -> None:
    plan = plan_of(corpus(), {"width": 128}, tokens=10**6)
    said = checked(plan, 10_000, None, "fsdp", 2)
    assert said.why[:-1] == plan.why
    assert re.match(
        r"Memory: \d+\.\d\d GiB at the most in each of 2 processes \(weights.*, program 0\.55\); this", said.why[-1]
    )
    with pytest.raises(
        TooLittleMemory, match=r"2 layers of 128, each of 99999 processes, needs about 0\.[5-9] GiB \(w"
    ):
        checked(replace(plan, rows=99_999), 10_000, None, "ddp", 99_999)
    assert "processes" not in checked(plan, 10_000, None, "none", 1).why[-1]


def test_for_cards_elsewhere_nothing_here_is_measured_or_counted() -> None:
    """What no laptop holds, in bfloat16, with rows for every process; too small a card refuses by its own size."""
    asked = {"layers": 24, "width": 4096, "context": 1024}
    plan = dial(corpus(), tokens=10**9, overrides=asked, processes=24, parallel="fsdp", card=80e9)
    assert (plan.dtype, plan.threads, plan.rows % 24) == ("bfloat16", 1, 0)
    assert "a card of 80 GB is taken as given" in plan.why[-1]
    assert not any("minutes" in why for why in plan.why)
    assert dial(corpus(), tokens=10**6, overrides={"dtype": "float32"}, card=80e9).dtype == "float32"
    with pytest.raises(TooLittleMemory, match=r"24 layers of 4096, each of 24 processes.*and 14\.9 GiB are free"):
        dial(corpus(), tokens=10**9, overrides=asked, processes=24, parallel="ddp", card=16e9)


def test_processes_without_a_row_are_refused() -> None:
    with pytest.raises(BadSetting, match="rows is 1, and 2 processes share them"):
        dial(corpus(), tokens=10**5, overrides={"rows": 1, "dtype": "float32"}, processes=2, parallel="ddp")


def test_what_a_training_takes_is_the_launch_s_own_count() -> None:
    shape = complete({"width": 128}, vocabulary=1024, context=lambda width: 64, moe=True)
    a = architecture(shape)
    options = launches(a, Devices(2, 1e9, 1e9, 1e9), ids=8 * 64, context=64, at_once=ids_at_once(shape), cpu=True,
                       held_out=10_000)  # fmt: skip
    for one in options:
        assert need(a, shape, 8, parallel=one.name, processes=2, held_out=10_000) == one.need
    alone = need(a, shape, 8, held_out=10_000)
    assert alone["program"] >= max(LOADED, resident() - (64 << 20))
    assert alone["logits"] == 8 * 1024 * 10_000  # a look, of more ids than a step's 512


def test_heads_that_processes_cannot_share_are_refused() -> None:
    shape = complete({"width": 128}, vocabulary=1024, context=lambda width: 64, moe=False)
    with pytest.raises(BadSetting, match=r"3 processes can't share the 4 heads of a layer \(tp\)"):
        need(architecture(shape), shape, 6, parallel="tp", processes=3)


# a model that is trained on


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    from freehold.train.model import config_of

    shape = complete({"width": 64}, vocabulary=1024, context=lambda width: 128, moe=False)
    (tmp_path / "config.json").write_text(json.dumps(config_of(shape, 0).to_dict()))
    return tmp_path


def test_a_model_that_is_trained_on_keeps_its_shape_and_learns_more_slowly(begun: Path) -> None:
    plan = plan_of(corpus(), minutes=1, start=begun)
    assert (plan.shape.layers, plan.shape.width, plan.shape.context) == (2, 64, 128)
    assert plan.rate == pytest.approx(rate(counted(plan), plan.tokens) / 10, rel=0.05)
    assert plan.warm > 0
    assert any("2403.08763" in reason for reason in plan.why)


def test_a_model_that_is_trained_on_cannot_change_its_shape(begun: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="keeps its shape"):
        plan_of(corpus(), {"layers": 3}, minutes=1, start=begun)
    with pytest.raises(BadSetting, match="made for 128"):
        plan_of(corpus(), {"context": 256}, minutes=1, start=begun)
    with pytest.raises(BaseUnusable, match=r"config\.json"):
        plan_of(corpus(), minutes=1, start=tmp_path / "none")


# this machine


def test_measures_this_machine_and_leaves_torch_as_it_was() -> None:
    import torch

    before, threads = torch.get_rng_state(), torch.get_num_threads()
    shape = Shape(2, 32, 64, 2, 2, 16, 64)
    speed = measured(shape, 4, threads=1)
    assert speed.an_id > 0
    assert "µs in float32" in speed.said
    assert measured(replace(shape, experts=4, chosen=2), 4, threads=1, dtype="float32").dtype == "float32"
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_the_whole_dial(begun: Path) -> None:
    told: list[str] = []
    plan = dial(corpus(20_000), minutes=0.02, threads=1, tell=lambda what, done=None: told.append(what))
    assert plan.steps >= 1
    assert plan.shape.width >= 64
    assert told[0].startswith("measure how fast")
    assert dial(corpus(20_000), tokens=5_000, start=begun, seed=3).seed == 3


def test_batch_and_rate_follow_their_rules() -> None:
    assert ids_a_step(768e3) == pytest.approx(0.3 * 0.58 * 768e3**0.571)
    assert ids_a_step(10**8) < ids_a_step(10**9)
    assert rate(1e6, 1e7) > rate(1e8, 1e9)
    assert betas(512)[1] > betas(1 << 16)[1]
    assert Size(Shape(1, 64, 64, 2, 2, 8, 9), 10, 10, 1, 1, 1).asks == 200
