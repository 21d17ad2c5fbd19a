"""Where a model fits: the fewest devices, in the format that loses least."""

from __future__ import annotations

import pytest

from freehold.facts import facts
from freehold.facts.open_models import architecture
from freehold.fit import cache_bytes, weight_bytes
from freehold.plan.speed.place import LEAST_STREAMS, Place, engine_of, fit_on, formats_of, places, room

FACTS = facts()
MODEL = FACTS.get("models", "llama-3-70b")
LLAMA = architecture(MODEL)


def placed(hardware: str, model: str = "llama-3-70b", forms: tuple[str, ...] = ()) -> list[Place]:
    row = FACTS.get("models", model)
    found, _ = places(
        row, architecture(row), [FACTS.get("hardware", hardware)], FACTS, longest=8192, mean=1200, prompt=1000,
        forms=forms,
    )  # fmt: skip
    return found


def test_a_70b_in_four_bits_does_not_fit_24_gigabytes_and_says_by_how_much() -> None:
    fit = fit_on(MODEL, LLAMA, FACTS.get("hardware", "rtx-4090"), 1, "Q4_K_M", context=2048)
    assert not fit.fits
    assert "at most 2." in fit.why
    assert fit.weights == weight_bytes(LLAMA, "Q4_K_M")
    assert fit.cache == cache_bytes(LLAMA, 2048)


def test_the_fewest_devices_are_taken_and_of_the_formats_the_one_that_loses_least() -> None:
    (one,) = placed("h200-sxm")
    assert (one.gpus, one.fit.format) == (1, "FP8")  # 141 GB in 16 bits do not fit one, 71 in 8 do
    (amd,) = placed("mi300x")
    assert (amd.gpus, amd.fit.format) == (1, "BF16")
    assert amd.fit.weights + amd.fit.cache + amd.fit.buffers <= room(amd.hardware, 1) == amd.fit.capacity


def test_what_fits_holds_some_calls_of_the_longest_context() -> None:
    (one,) = placed("l40s")
    assert (one.fit.context, one.fit.streams) == (8192, LEAST_STREAMS)
    assert one.fit.most_streams >= LEAST_STREAMS
    assert one.speed.streams >= one.fit.most_streams  # the mean call is shorter than the longest


def test_a_model_whose_own_weights_are_in_few_bits_is_served_in_those() -> None:
    assert [one.fit.format for one in placed("h100-sxm", "gpt-oss-120b")] == ["MXFP4"]
    assert formats_of(FACTS.get("hardware", "cpu-ddr5-5600"), FACTS.get("models", "gpt-oss-20b")) == ("MXFP4_MOE",)


def test_where_nothing_fits_the_nearest_miss_is_told() -> None:
    found, missed = places(
        MODEL, LLAMA, [FACTS.get("hardware", "raspberry-pi-5")], FACTS, longest=2048, mean=500, prompt=400
    )
    assert found == []
    assert "bits a weight" in missed[0].why
    assert missed[0].format == "Q4_K_M"


@pytest.mark.parametrize(("hardware", "form", "engine"), [
    ("h100-sxm", "FP8", "vLLM"), ("h100-sxm", "Q4_K_M", "llama.cpp"), ("l4", "Q4_1", "llama.cpp"),
    ("apple-m4-max", "BF16", "llama.cpp"),
])  # fmt: skip
def test_which_engine(hardware: str, form: str, engine: str) -> None:
    assert engine_of(FACTS.get("hardware", hardware), form) == engine
