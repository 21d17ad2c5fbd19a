"""Where a training runs: what fits on a ground, its hours and cost with their ranges, and which ground is picked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from freehold.fit import (
    Architecture,
    Ground,
    Rows,
    Shape,
    Work,
    adapter,
    choose,
    full,
    ids_a_step,
    launches,
    pick,
    told,
)
from freehold.fit.launch import Devices
from freehold.fit.memory import GIB
from freehold.nouns import Measure, Site, Spread, Training
from freehold.train.dial import batch
from freehold.tune.decoder import memory

LLAMA = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
         "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}  # fmt: skip
SMOL = {"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
        "tie_word_embeddings": True}  # fmt: skip
A, S = Architecture.of(LLAMA), Architecture.of(SMOL)
CARDS = Ground("h100-sxm", 8, 80 * GIB, (2.7e14, 1e14, 4e14), (3.4e11, 3e11, 4.5e11), (3.0, 2.0, 5.0), per=8)
WORK = Work(2e9, ids_a_step(2e9), 512)


def test_a_site_has_every_target_with_what_the_launches_say() -> None:
    site = full(A, CARDS, WORK)
    ids = WORK.on(8)
    options = launches(
        A, Devices(8, 80 * GIB, 2.7e14, 3.4e11), ids=ids, context=512, width=2, at_once=512, fused=False
    )  # fmt: skip
    said = {one.words: one for one in options}
    best, why = choose([one for one in options if not one.recompute], CARDS.memory)
    assert (site.taken, site.why) == (best.words, why)
    assert [one.launch for one in site.spreads] == [
        "ddp", "fsdp", "zero1", "zero2", "zero3", "tp", "megatron 2 x", "megatron 4 x", "megatron 8 x"
    ]  # fmt: skip
    steps = -(-2e9 // ids)
    for one in site.spreads:
        assert one.need == said[one.launch].need
        assert one.hours.value == pytest.approx(steps * said[one.launch].seconds / 3600)
        assert one.hours.low is not None
        assert one.hours.high is not None
        assert one.hours.low < one.hours.value < one.hours.high  # type: ignore[operator]
    assert "ddp" not in [one.launch for one in site.spreads if not one.out]
    assert site.hours == site.spread.hours  # type: ignore[union-attr]


def test_hours_at_either_end() -> None:
    """The most: the lowest shares, one after the other. The least: all talk behind the fastest computing."""
    site = full(A, CARDS, WORK)
    assert site.spread is not None
    steps = -(-2e9 // WORK.on(8)) / 3600
    computing, talking = site.spread.computing, site.spread.talking
    assert site.hours.high == pytest.approx(steps * (computing * 2.7 / 1 + talking * 3.4 / 3))
    assert site.hours.low == pytest.approx(steps * max(computing * 2.7 / 4, talking * 3.4 / 4.5))


def test_what_it_costs_is_device_hours_at_their_price() -> None:
    site = full(A, CARDS, WORK)
    ends = (site.hours.value, site.hours.low, site.hours.high)
    assert (site.costs.value, site.costs.low, site.costs.high) == pytest.approx(
        tuple(8 * hours * price for hours, price in zip(ends, (3.0, 2.0, 5.0), strict=True))  # type: ignore[operator]
    )
    assert full(A, replace(CARDS, price=None), WORK).costs.value is None


def test_one_card_that_is_too_small_says_so_and_nothing_is_taken() -> None:
    site = full(A, replace(CARDS, count=1), WORK)
    assert site.taken == ""
    assert site.out.startswith("No way to spread this training fits in 80.0 GiB a device")
    assert [one.launch for one in site.spreads] == ["none"]
    assert pick([site]) == (None, "it fits on none of these devices")


def test_a_speed_that_nobody_knows_gives_memory_alone() -> None:
    site = full(S, replace(CARDS, count=1, flops=None), WORK)
    assert site.taken == "none"
    assert site.hours.value is None
    assert site.costs.value is None
    assert site.why.endswith("how fast is not known.")
    assert " s a step" not in site.why


def test_layers_are_shared_by_whole_heads_of_keys_within_a_machine() -> None:
    names = [one.launch for one in full(S, replace(CARDS, count=3, per=3), WORK).spreads]
    assert "tp" in names
    assert "tp" not in [one.launch for one in full(S, replace(CARDS, count=9, per=9), WORK).spreads]
    assert "tp" not in [one.launch for one in full(A, replace(CARDS, count=16), WORK).spreads]


@pytest.mark.parametrize(("card", "have"), [(False, 64 * GIB), (True, 80 * GIB), (True, 8 * GIB), (True, 3 * GIB)])
@pytest.mark.parametrize("bits", [16, 4])
def test_an_adapter_takes_what_tune_itself_foretells(card: bool, have: int, bits: int) -> None:
    shape, lengths = Shape.of(SMOL), memory.Lengths(0, 700, 200, 8)
    rows = Rows(1000, 400, 700, 200)
    kind = "bfloat16" if card else "float32"
    form = memory.size(shape, lengths, card=card, have=have, what="Tuning", bits=bits, kind=kind)
    need = memory.needed(shape, lengths, form, card=card, bits=bits, kind=kind)
    site = adapter(S, replace(CARDS, count=1, memory=have, card=card), rows, share4=(1e14, 1e14, 1e14))
    mine = site.spreads[bits == 4]
    assert sum(need.values()) == pytest.approx(mine.bytes, rel=1e-6)
    assert ("recomputing" in mine.launch) == form.recompute


def test_the_quicker_form_of_an_adapter_that_fits() -> None:
    rows = Rows(1000, 400, 700, 200)
    roomy = adapter(A, replace(CARDS, count=1), rows, share4=(1e14, 5e13, 2e14))
    assert roomy.taken == "LoRA"
    assert roomy.hours.value == pytest.approx(1000 * 4 * 400 * 8.03e9 / 2.7e14 / 3600, rel=1e-3)
    tight = adapter(A, replace(CARDS, count=1, memory=12 * GIB), rows, share4=(1e14, 5e13, 2e14))
    assert tight.taken.startswith("QLoRA")
    assert "LoRA with recomputing takes" in tight.why
    none = adapter(A, replace(CARDS, count=1, memory=4 * GIB), rows, share4=(1e14, 5e13, 2e14))
    assert none.out.startswith("its adapter fits in no form")
    unknown = adapter(A, replace(CARDS, memory=0, flops=None), rows)
    assert (unknown.taken, unknown.hours.value) == ("LoRA", None)
    assert "quicker" not in unknown.why


def site(name: str, hours: float | None, costs: float | None) -> Site:
    spread = Spread("none", {"weights": 1 << 30}, 1.0, 0.0, Measure(hours, unit="hours"))
    return Site(name, 1, 80 * GIB, (spread,), "none", Measure(hours), Measure(costs))


@pytest.mark.parametrize(
    ("sites", "place", "said"),
    [
        ([site("this-machine", 11.9, None), site("a", 0.1, 5.0)], 0, "this machine"),
        ([site("this-machine", 12.1, None), site("a", 0.1, 5.0)], 1, "the cheapest"),
        ([site("a", 20.0, 60.0), site("b", 3.0, 74.0), site("c", 1.0, 76.0)], 1, "the fastest of those that cost"),
        ([site("a", 0.5, 0.1), site("b", 0.2, 0.9)], 1, "or a dollar"),
        ([site("a", 5.0, None), site("b", 3.0, None)], 1, "no price is on file"),
        ([site("a", None, None)], 0, "how long it takes is not known"),
    ],
)
def test_the_ground_that_is_picked(sites: list[Site], place: int, said: str) -> None:
    found, why = pick(sites)
    assert found == place
    assert said in why


def test_a_step_is_as_large_as_train_s_dial_makes_it() -> None:
    for tokens in (1e4, 1e6, 2e9, 1e14):
        assert ids_a_step(tokens) == pytest.approx(batch.ids_a_step(tokens))
    assert WORK.on(8) % (8 * 512) == 0


def test_what_is_told_fits_a_terminal_and_says_that_seconds_are_a_most() -> None:
    sites = (full(A, replace(CARDS, count=1), WORK), replace(full(A, CARDS, WORK), command="one\ntwo"))
    place, why = pick(sites)
    lines = told(
        Training("whole", "llama", "llama, every weight", Measure(2e9), 35840, sites=sites, taken=place, why=why)
    )
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 90
    assert lines[0] == "llama, every weight: 2 billion ids in steps of about 35,840"
    assert "does not fit" in lines[2]
    assert lines[3].lstrip().startswith(f">  8 x h100-sxm    {sites[1].taken}")
    assert "no talk is thought to hide" in " ".join(text.split())
    assert "  run     one\n  or      two" in text
