"""Speed: the published rooflines, mixtures of experts, several devices, and what the calibration covers."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.errors import BadSetting
from freehold.facts.tables import Facts
from freehold.fit import Architecture
from freehold.nouns import Fact
from freehold.plan.speed import speed, step
from freehold.plan.speed.calibrate import Calibration, calibration, precision

LLAMA_8B: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "tie_word_embeddings": False,
    "max_position_embeddings": 8192,
}  # fmt: skip
LLAMA_70B = LLAMA_8B | {
    "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "intermediate_size": 28672,
}  # fmt: skip
MIXTRAL = LLAMA_8B | {
    "model_type": "mixtral", "vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2,
}  # fmt: skip
IDEAL = {"low": 1.0, "high": 1.0}


@pytest.fixture(scope="module")
def small() -> Architecture:
    return Architecture.of(LLAMA_8B)


@pytest.fixture(scope="module")
def large() -> Architecture:
    return Architecture.of(LLAMA_70B)


def card(name: str) -> Fact:
    return Facts().get("hardware", name)


def ideal(hardware: Fact, kind: str = "bf16") -> Calibration:
    return Calibration("none", hardware.values["flops"][kind], hardware.values["bandwidth"])


@pytest.mark.parametrize(
    ("name", "size", "form", "tokens"),
    [
        ("rtx-4090", "small", "Q4_K_M", 205), ("l4", "small", "Q4_K_M", 61), ("a100-sxm", "small", "Q4_K_M", 415),
        ("h100-sxm", "small", "Q4_K_M", 682), ("l40s", "large", "Q4_K_M", 20), ("h100-sxm", "large", "Q4_K_M", 78),
        ("h200-sxm", "large", "Q4_K_M", 111), ("mi300x", "large", "Q4_K_M", 123), ("mi300x", "large", "BF16", 37.6),
    ],
)  # fmt: skip
def test_the_published_upper_bounds_of_one_stream(
    name: str, size: str, form: str, tokens: float, small: Architecture, large: Architecture
) -> None:
    hardware, a = card(name), small if size == "small" else large
    found = step(a, hardware, form, gpus=1, streams=1, context=0, by=ideal(hardware))
    assert 1 / found.seconds == pytest.approx(tokens, rel=0.02)
    assert found.bound == "bandwidth"


def test_a_cpu_and_a_raspberry_pi_at_their_bandwidth(small: Architecture) -> None:
    for name, tokens in (("cpu", 18.2), ("pi5", 3.47)):
        hardware = card(name)
        by = Calibration("none", None, hardware.values["bandwidth"])
        assert 1 / step(small, hardware, "Q4_K_M", gpus=1, streams=1, context=0, by=by).seconds == pytest.approx(
            tokens, rel=0.02
        )


def test_a_raspberry_pi_is_predicted_as_it_was_measured(small: Architecture) -> None:
    found = speed("llama-3.1-8b", small, card("pi5"), "Q4_K_M", gpus=1, streams=1, context=64, prompt=64)
    assert found.stream.value == pytest.approx(2.17, rel=0.05)
    assert found.prefill.value is None  # nothing says how fast it multiplies
    assert "not known" in found.prefill.method


def test_one_stream_of_vllm_on_an_a100_is_predicted_as_it_was_measured(small: Architecture) -> None:
    found = speed("llama-3.1-8b", small, card("a100-40"), "BF16", gpus=1, streams=1, context=256, prompt=256)
    assert found.stream.value == pytest.approx(75, rel=0.1)
    assert found.bound == "bandwidth"


def test_where_compute_takes_over_on_an_h100(small: Architecture) -> None:
    """B* = FLOP/s x bytes a number / (2 bandwidth): 295 streams in 16 bits."""
    hardware = card("h100-sxm")
    for streams, bound in ((280, "bandwidth"), (310, "compute")):
        found = step(small, hardware, "BF16", gpus=1, streams=streams, context=0, by=ideal(hardware))
        assert found.bound == bound


def test_more_streams_bring_more_in_all_and_less_each(small: Architecture) -> None:
    found = [
        speed("m", small, card("h100-sxm"), "FP8", gpus=1, streams=n, context=1024, prompt=512) for n in (1, 8, 64, 256)
    ]
    decode, stream = [f.decode.value or 0 for f in found], [f.stream.value or 0 for f in found]
    assert decode == sorted(decode)
    assert stream == sorted(stream, reverse=True)


def test_experts_are_read_as_far_as_they_are_touched() -> None:
    """Mixtral reads 5.36 times less than a dense 70B with one stream and 1.48 times less with 32 (same bits)."""
    mixtral = Architecture.of(MIXTRAL)
    llama2 = Architecture.of(LLAMA_70B | {"vocab_size": 32000})
    hardware = card("mi300x")
    for streams, ratio in ((1, 5.36), (8, 1.63), (32, 1.48)):
        by = ideal(hardware, "fp8")
        both = [step(a, hardware, "BF16", gpus=1, streams=streams, context=0, by=by) for a in (llama2, mixtral)]
        assert both[0].weights / both[1].weights == pytest.approx(ratio, rel=0.01)


def test_products_of_experts_are_slower_than_their_count_says() -> None:
    mixtral, hardware = Architecture.of(MIXTRAL), card("h100-sxm")
    plain = step(mixtral, hardware, "FP8", gpus=1, streams=512, context=256, by=ideal(hardware, "fp8"))
    grouped = Calibration("none", hardware.values["flops"]["fp8"], hardware.values["bandwidth"], grouped=0.5)
    slower = step(mixtral, hardware, "FP8", gpus=1, streams=512, context=256, by=grouped)
    assert 1.8 < slower.products / plain.products < 2.0  # all but attention and the ends


def test_several_devices_share_and_talk(large: Architecture) -> None:
    h100 = card("h100-sxm")
    one, two, sixteen = (
        step(large, h100, "FP8", gpus=n, streams=32, context=1024, by=ideal(h100, "fp8")) for n in (1, 2, 16)
    )
    assert one.talk == 0
    assert two.weights == pytest.approx(one.weights / 2)
    # 2 x 80 all-reduces of 32 x 8192 numbers of 2 bytes over 450 GB/s, and 10 µs each
    assert two.talk == pytest.approx(160 * (2 * 0.5 * 32 * 8192 * 2 / 450e9 + 1e-5))
    assert sixteen.talk > 160 * 2 * (15 / 16) * 32 * 8192 * 2 / 50e9  # beyond a node, over the network
    with pytest.raises(BadSetting, match="no link"):
        step(large, card("m4-max"), "Q4_K_M", gpus=2, streams=1, context=1)


def test_cache_and_context_cost(large: Architecture) -> None:
    hardware = card("h200-sxm")
    short, long = (
        step(large, hardware, "FP8", gpus=1, streams=16, context=n, by=ideal(hardware, "fp8")) for n in (1024, 8192)
    )
    assert long.cache == pytest.approx(8 * short.cache)
    assert short.cache == pytest.approx(16 * 1024 * 327_680 / 4.8e12)


def test_a_cpu_reads_the_cache_once_a_head(small: Architecture) -> None:
    hardware = card("cpu-i9-13900k")
    once = Calibration("none", 1e12, 1e11)
    apart = Calibration("none", 1e12, 1e11, apart=True)
    a, b = (step(small, hardware, "Q4_K_M", gpus=1, streams=1, context=1000, by=by) for by in (once, apart))
    assert b.cache == pytest.approx(4 * a.cache)  # 32 heads share 8


def test_the_precision_of_the_products() -> None:
    h100, a100, b200, pi = card("h100"), card("a100"), card("b200"), card("pi5")
    assert [precision(h100, f) for f in ("FP8", "BF16", "Q4_K_M", "NVFP4", "AWQ")] == ["fp8", *["bf16"] * 4]
    assert precision(b200, "NVFP4") == "fp4"
    assert precision(a100, "FP8") == "bf16"
    assert precision(pi, "FP8") == "bf16"


def test_who_runs_it_and_what_is_covered(large: Architecture) -> None:
    usual = calibration(card("h200"), "FP8")
    tuned = calibration(card("h200"), "FP8", engine="trt")
    unseen = calibration(card("l40s"), "FP8", engine="trt")
    assert usual.engine == "vllm"
    assert usual.crowd > 0 == tuned.crowd
    assert tuned.high / tuned.low < unseen.high / unseen.low
    assert calibration(card("m4"), "Q4_K_M").engine == "llama.cpp"
    assert calibration(card("h100"), "Q4_K_M").engine == "llama.cpp"
    with pytest.raises(BadSetting, match="no engine 'sglang'"):
        calibration(card("h100"), "FP8", engine="sglang")
    found = speed("m", large, card("h200"), "FP8", gpus=1, streams=64, context=512, prompt=300)
    assert found.decode.value is not None
    assert found.decode.low == pytest.approx(usual.low * found.decode.value)
    assert "hardware/h200-sxm" in found.uses
    assert all(ref.split("/")[0] in ("hardware", "calibration") for ref in found.uses)


def test_the_calibration_is_a_fact_that_a_team_overrides(small: Architecture) -> None:
    own = Facts({"calibration": {"everyday": {"crowd": 0.0}}})
    h100 = card("h100")
    usual = speed("m", small, h100, "FP8", gpus=1, streams=128, context=512, prompt=512)
    mine = speed("m", small, h100, "FP8", gpus=1, streams=128, context=512, prompt=512, facts=own)
    assert (mine.decode.value or 0) > 1.5 * (usual.decode.value or 0)
    assert [fact.status for fact in own.used if fact.id == "everyday"] == ["given"]


def test_published_figures_lie_within_the_interval(large: Architecture) -> None:
    """MLPerf v5.1, Offline, written tokens a second a device: H200 4,380 and B200 12,690 with TensorRT-LLM, MI325X
    4,310 with vLLM; 294 tokens asked and written, the cache in 8 bits."""
    from dataclasses import replace

    for name, form, engine, streams, written in (
        ("h200", "FP8", "trt", 860, 4380), ("b200", "NVFP4", "trt", 1700, 12690),
        ("mi325x", "FP8", "vllm-tuned", 2048, 4310),
    ):  # fmt: skip
        by = replace(calibration(card(name), form, engine=engine), bits=8.0)
        took = step(
            large, card(name), form, gpus=1, streams=streams, context=441, prefill_tokens=streams, by=by
        ).seconds
        assert by.low <= written / (streams / took) <= by.high


def test_a_step_of_nothing_and_nonsense_are_refused(small: Architecture) -> None:
    h100 = card("h100")
    with pytest.raises(BadSetting, match="streams 0, prefill_tokens 0"):
        step(small, h100, "FP8", gpus=1, streams=0, context=0)
    with pytest.raises(BadSetting, match="gpus is 0"):
        step(small, h100, "FP8", gpus=0, streams=1, context=1)
    with pytest.raises(BadSetting, match="has no FLOP/s"):
        step(small, card("p150"), "FP8", gpus=1, streams=0, context=1, prefill_tokens=10)


def test_the_calibration_is_plausible() -> None:
    rows = {row.id: row.values for row in Facts().rows("calibration")}
    classes = [values for values in rows.values() if "compute" in values]
    assert len(classes) == 5
    for values in classes:
        assert 0.2 < values["compute"] < 0.95
        assert all(Facts().find("hardware", name) for name in values["devices"])
        assert all(0.7 < share < 1.4 for share in values["devices"].values())
    for name in ("seen", "unseen", "everyday", "machine"):
        assert rows[f"spread-{name}"]["low"] < 1 < rows[f"spread-{name}"]["high"]
    assert rows["gpu"]["memory"] == 0.8  # aiconfigurator's
