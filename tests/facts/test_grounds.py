"""Devices as grounds of a training: shares that were published, links, prices, and where nothing can be trained."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest

from freehold.facts import Facts, facts
from freehold.facts.grounds import counts, ground, market, reached


@pytest.mark.parametrize("name", ["training", "tuning-lora", "tuning-qlora", "link"])
def test_a_share_is_the_middle_of_what_was_published_and_its_range_all_of_it(name: str) -> None:
    values = facts().get("calibration", name).values
    seen = sorted(values["seen"].values())
    assert values["n"] == len(seen)
    assert (values["low"], values["high"]) == (seen[0], seen[-1])
    assert values["share"] == pytest.approx(median(seen), rel=0.01)


def test_a_card_reaches_a_share_of_its_peak_at_its_price() -> None:
    table = facts()
    row = table.get("hardware", "h100-sxm")
    found = ground(row, 8, table)
    share = table.get("calibration", "training").values
    assert found.flops == pytest.approx(tuple(9.89e14 * share[end] for end in ("share", "low", "high")))
    assert found.link[0] == pytest.approx(4.5e11 * table.get("calibration", "link").values["share"])
    assert found.price == (2.95, 1.99, 5.0)
    assert found.uses == ("hardware/h100-sxm", "calibration/training", "rents/h100-sxm-market", "calibration/link")
    assert ground(row, 16, table).link[0] == pytest.approx(found.link[0] / 9)  # over the network
    assert counts(row) == (1, 8)
    assert {row.id for row in market(table)} >= {"h100-sxm", "h200-sxm", "a100-sxm"}


def test_nothing_is_said_of_how_fast_a_card_trains_a_small_model() -> None:
    table = facts()
    row = table.get("hardware", "h100-sxm")
    assert ground(row, 1, table, size=9e7).flops is None
    assert ground(row, 1, table, size=1.1e8).flops is not None


@pytest.mark.parametrize(
    ("name", "timed", "out"),
    [
        ("rtx-4090", True, ""),
        ("mi300x", True, ""),
        ("cpu-ddr5-5600", True, ""),
        ("apple-m4", False, ""),
        ("raspberry-pi-5", False, ""),
        ("arc-pro-b60", True, "no card that torch knows as CUDA"),
        ("groq-lpu-v1", False, "no card that torch knows as CUDA"),
    ],
)
def test_every_kind_of_device(name: str, timed: bool, out: str) -> None:
    table = facts()
    found = ground(table.get("hardware", name), 1, table)
    assert (found.flops is not None) == timed
    assert out in found.out
    assert bool(found.out) == bool(out)


def test_a_cpu_tunes_in_one_thread() -> None:
    table = facts()
    row = table.get("hardware", "cpu-i9-13900k")
    assert reached(row, table, "tuning-lora")[0] is None
    mine = replace(row, values=row.values | {"threads": 8})
    assert reached(mine, table, "tuning-lora")[0] == pytest.approx((7.4e11 / 8, 3.7e11 / 8, 14.8e11 / 8))
    assert reached(mine, table, "training")[0] == pytest.approx((7.4e11, 3.7e11, 14.8e11))


def test_a_team_s_own_share_goes_over_the_published_one() -> None:
    table = Facts({"calibration": {"training": {"share": 0.5, "low": 0.4, "high": 0.6}}})
    flops, said, _ = reached(table.get("hardware", "a100-sxm"), table, "training")
    assert flops == pytest.approx((1.56e14, 1.248e14, 1.872e14))
    assert "50% of the 16-bit peak (40% to 60%" in said
