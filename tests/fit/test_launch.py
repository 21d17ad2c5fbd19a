"""What each launch target holds and takes: the published sums, and which one is chosen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import TooLittleMemory
from freehold.fit import Architecture, Devices, Launch, Need, choose, launches, parameters, total, training
from freehold.fit.process import Held, at_most

LLAMA = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
         "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}  # fmt: skip
SMALL = LLAMA | {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4,
                 "num_key_value_heads": 4, "vocab_size": 65, "tie_word_embeddings": True}  # fmt: skip
A, S = Architecture.of(LLAMA), Architecture.of(SMALL)
GPU = Devices(8, memory=80e9, flops=4e14, link=300e9)
STATES = "weights, gradients, Adam"


def options(a: Architecture = A, devices: Devices = GPU, **how: Any) -> dict[str, Launch]:
    how = {"ids": 1 << 20, "context": 4096, "width": 2, "fused": True, "at_once": 4096} | how
    return {option.words: option for option in launches(a, devices, **how)}


def test_states_as_zero_published_them() -> None:
    """ZeRO, figure 1: 7.5 billion parameters on 64 devices take 120, 31.4, 16.6 and 1.9 GB."""
    found = options(devices=Devices(64, 80e9, 4e14, 300e9))
    each = {name: found[name].need[STATES] / parameters(A) for name in ("ddp", "zero1", "zero2")}
    assert each == pytest.approx({"ddp": 16 + 2, "zero1": 4 + 12 / 64, "zero2": 2 + 14 / 64}, rel=1e-6)
    layer = parameters(A) / 32
    assert found["zero3"].need[STATES] < 16 / 64 * parameters(A) + 4 * layer
    assert found["zero3"].need == found["fsdp"].need


def test_one_device_takes_what_fit_says_of_a_training() -> None:
    (plain, again) = launches(A, Devices(1, 80e9, 4e14, 1), ids=4096, context=4096, width=2)
    for option, recompute in ((plain, False), (again, True)):
        known = training(A, "full", tokens=4096, longest=4096, answers=4096, recompute=recompute)
        assert option.need == pytest.approx(known, abs=2)
        assert option.talking == 0
    assert again.computing == pytest.approx(plain.computing * 4 / 3)
    assert plain.computing == pytest.approx(6 * parameters(A) * 4096 / 4e14)


def test_float32_takes_sixteen_bytes_too() -> None:
    (plain, _) = launches(S, Devices(1, 1e9, 1e11, 1), ids=1024, context=64)
    assert plain.need[STATES] == 16 * parameters(S)


def test_what_is_sent() -> None:
    """ZeRO, section 7: as much as data parallelism for stages 1 and 2, half as much again for 3."""
    found = options()
    ring = 2 * 7 / 8 * 2 * parameters(A) / 300e9
    assert found["ddp"].talking == pytest.approx(ring)
    assert found["zero2"].talking == pytest.approx(ring)
    assert found["zero3"].talking == pytest.approx(1.5 * ring)
    assert found["tp"].talking == pytest.approx(4 * 32 * 2 * 7 / 8 * (1 << 20) * 4096 * 2 / 300e9)
    assert found["megatron 8 x"].talking == pytest.approx(found["tp"].talking)
    assert found["megatron 2 x"].talking < found["megatron 4 x"].talking
    assert found["tp with recomputing"].talking == pytest.approx(1.5 * found["tp"].talking)


@settings(max_examples=40)
@given(st.sampled_from([2, 4, 8, 16, 64]), st.booleans(), st.sampled_from([2, 4]))
def test_more_devices_hold_less_each_and_compute_less(count: int, fused: bool, width: int) -> None:
    fewer, more = (options(devices=Devices(n, 80e9, 4e14, 300e9), fused=fused, width=width) for n in (count, 2 * count))
    for name in ("zero1", "zero2", "zero3", "fsdp", "ddp"):
        assert total(more[name].need) <= total(fewer[name].need)
        assert more[name].computing < fewer[name].computing
        again = fewer[f"{name} with recomputing"]
        assert total(again.need) < total(fewer[name].need)
        assert again.seconds > fewer[name].seconds


def test_tensor_parallelism_only_where_heads_divide() -> None:
    assert "tp" not in options(S, Devices(3, 1e9, 1e11, 1e9))
    assert not [name for name in options(S, Devices(3, 1e9, 1e11, 1e9)) if "megatron" in name]
    assert "tp" in options(S, Devices(4, 1e9, 1e11, 1e9))


def test_chooses_the_simplest_of_the_fast() -> None:
    small = launches(S, Devices(2, 8e9, 1e11, 1e9), ids=8192, context=64)
    best, why = choose(small, 8e9)
    assert best.name == "ddp"
    assert "GiB a device" in why
    large = launches(A, GPU, ids=1 << 20, context=4096, width=2, fused=True, at_once=4096)
    best, why = choose(large, GPU.memory)
    assert best.name == "fsdp"
    assert "not ddp" in why
    alone = launches(S, Devices(1, 8e9, 1e11, 1), ids=8192, context=64)
    assert choose(alone, 8e9)[0].name == "none"


def test_recomputes_only_where_nothing_else_fits() -> None:
    ways = options(at_once=32768, ids=1 << 20)
    plain, again = total(ways["fsdp"].need), total(ways["fsdp with recomputing"].need)
    between: float = (plain + again) / 2 / 0.9
    best, _ = choose([ways["fsdp"], ways["fsdp with recomputing"]], between)
    assert best.recompute
    assert not choose([ways["fsdp"], ways["fsdp with recomputing"]], plain / 0.8)[0].recompute


def test_a_refusal_says_what_each_would_take() -> None:
    with pytest.raises(TooLittleMemory, match=r"1\.0 GiB a device: ddp \d+\.\d GiB, fsdp .*zero3 with recomputing"):
        choose(launches(A, GPU, ids=1 << 20, context=4096, width=2), 1 << 30)


def test_need_is_the_room_s_own_form() -> None:
    need: Need = options()["ddp"].need
    assert set(need) == {STATES, "activations", "logits", "program"}


def test_on_cpus_the_loop_s_own_ways_alone_as_they_are_counted_for_a_process() -> None:
    how: dict[str, Any] = {"ids": 2048, "context": 64, "at_once": 600, "held_out": 1000, "cpu": True}
    found = {one.words: one for one in launches(S, Devices(2, 8e9, 1e11, 1e9), **how, program=7)}
    assert set(found) == {"ddp", "fsdp", "zero1", "zero2", "zero3", "tp"}
    halves = Held(step=1024 // 2, look=500)  # rows of 64 in pieces of 9 at the most: of 16, 8 and 8
    assert found["ddp"].need == at_most(S, "ddp", 2, halves, program=7)
    every = Held(step=2048 // 4, look=576)
    assert found["tp"].need == at_most(S, "tp", 2, every, program=7)
    (alone,) = launches(S, Devices(1, 8e9, 1e11, 1e9), **how | {"held_out": None})
    assert alone.need == at_most(S, "none", 1, Held(512, 576))
