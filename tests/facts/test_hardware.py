"""Hardware and its prices as facts: what the issue names is there, each with its source, and nothing is absurd."""

from __future__ import annotations

import datetime

import pytest

from freehold.facts.tables import Facts
from freehold.nouns import Fact

HARDWARE = Facts().rows("hardware")
RENTS = Facts().rows("rents")


@pytest.mark.parametrize("row", [*HARDWARE, *RENTS], ids=lambda row: row.ref)
def test_each_row_has_its_source_and_date(row: Fact) -> None:
    assert row.source
    datetime.date.fromisoformat(row.as_of)
    assert row.status in ("seen", "computed", "unverified")


@pytest.mark.parametrize("row", HARDWARE, ids=lambda row: row.id)
def test_hardware_is_in_si_units(row: Fact) -> None:
    v = row.values
    assert 2e8 <= v["memory"] <= 1e12
    assert 1e10 <= v["bandwidth"] <= 1e17
    assert all(1e13 <= flops <= 2e17 for flops in v.get("flops", {}).values())
    assert set(v.get("flops", {})) <= {"bf16", "fp8", "int8", "fp4"}
    assert v["kind"] in ("datacentre", "consumer", "cpu", "apple", "board", "accelerator")
    assert v["per_node"] >= 1
    assert v.get("watts") is None or 5 <= v["watts"] <= 30_000
    assert v.get("decode_bandwidth", 0) <= v["bandwidth"]


def test_everything_that_was_asked_for_is_there() -> None:
    facts = Facts()
    for name in ("h100", "h200", "b200", "a100", "l40s", "l4", "rtx-4090", "rtx-5090", "cpu", "m4-max", "m3-ultra",
                 "mi300x", "mi325x", "mi355x", "groq", "cerebras", "tenstorrent", "pi5"):  # fmt: skip
        assert facts.find("hardware", name) is not None, name


@pytest.mark.parametrize(
    ("name", "memory", "bandwidth", "kind", "flops", "watts"),
    [
        ("a100-sxm", 80 << 30, 2.039e12, "bf16", 312e12, 400), ("h100-sxm", 80 << 30, 3.35e12, "fp8", 1978e12, 700),
        ("h200-sxm", 141 << 30, 4.8e12, "bf16", 989e12, 700), ("b200-sxm", 180 << 30, 7.7e12, "fp4", 9000e12, 1000),
        ("l40s", 48305799168, 0.864e12, "fp8", 733e12, 350), ("l4", 24 << 30, 0.3e12, "bf16", 121e12, 72),
    ],
)  # fmt: skip
def test_the_data_sheets(name: str, memory: int, bandwidth: float, kind: str, flops: float, watts: int) -> None:
    v = Facts().get("hardware", name).values
    assert (v["memory"], v["bandwidth"], v["flops"][kind], v["watts"]) == (memory, bandwidth, flops, watts)


def test_what_was_not_seen_says_so() -> None:
    status = {row.id: row.status for row in HARDWARE}
    assert {status[name] for name in ("mi300x", "mi325x", "mi355x", "rtx-5090", "h200-nvl", "cerebras-wse-3")} == {
        "unverified"
    }
    assert status["h100-sxm"] == status["tenstorrent-n300"] == "seen"


@pytest.mark.parametrize("row", RENTS, ids=lambda row: row.id)
def test_prices_are_of_known_hardware_and_within_their_range(row: Fact) -> None:
    v = row.values
    assert Facts().find("hardware", v["hardware"]) is not None
    assert v["way"] in ("rent", "buy")
    assert v.get("low", v["price"]) <= v["price"] <= v.get("high", v["price"])
    assert 0.1 <= v["price"] <= 20 if v["way"] == "rent" else v["price"] >= 50


def test_where_sources_disagree_both_ends_are_kept() -> None:
    aws = Facts().get("rents", "h100-sxm-aws").values
    assert (aws["low"], aws["high"]) == (4.9, 6.88)
    assert Facts().get("rents", "h100-sxm-market").values["price"] == 2.95
