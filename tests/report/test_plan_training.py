"""The engineer's page says where students are trained, on each device and by each launch target."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import msgspec
import pytest

from freehold.nouns import Measure, Plan, Site, Spread, Training
from freehold.report import report

HERE = Path(__file__).parent
EVIL = "<img src=x onerror=alert(1)>"
GIB = 1 << 30


def hours(value: float) -> Measure:
    return Measure(value, value / 2, value * 4, unit="hours", method="28% of the 16-bit peak")


def spread(launch: str, gib: int, out: str = "") -> Spread:
    return Spread(launch, {"weights": gib * GIB}, 0.81, 0.124, hours(14.0), out)


def label() -> Training:
    here = Site("this-machine", 1, taken="here", hours=Measure(0.05, unit="hours"), command="freehold tune --task x")
    return Training("labels", "", "a stack of classifiers", task=EVIL, sites=(here,), taken=0, why="this machine")


def whole() -> Training:
    spreads = spread("ddp", 142, "142.0 GiB, and 72.0 are for it"), spread("fsdp", 24)
    sites = (
        Site("h100-sxm", 1, 80 * GIB, (spread("none", 128, "x"),), out="No way to spread this training fits."),
        Site("h100-sxm", 8, 80 * GIB, spreads, "fsdp", hours(14.0), Measure(332.0, 124.0, 2138.0, unit="USD"),
             "fsdp: 24 GiB a device.", "freehold train A\nfreehold train B"),
        Site("groq", 1, out="no card that torch knows"),
    )  # fmt: skip
    ids = Measure(2e9, unit="ids", method="given")
    return Training(
        "whole", "m", "llama-3.1-8b, every weight", ids, 35840, sites=sites, taken=1,
        why="8 x h100-sxm: the cheapest", notes=("see https://example.org/x",),
    )  # fmt: skip


@pytest.fixture
def move() -> Plan:
    return msgspec.json.decode((HERE / "plan_move.json").read_bytes(), type=Plan)


def page(plan: Plan) -> str:
    return report(None, plan, name="desk", made="2026-11-25T10:00:00+00:00")


def plain(html: str) -> str:
    at = html.index('id="plan-training"')
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html[at : html.index("</article>", at)]))


def test_each_device_and_launch_target_is_there(move: Plan) -> None:
    html = page(dataclasses.replace(move, training=(label(), whole())))
    said = plain(html)
    shown = [
        "Where to train",
        "1 student on this machine, without a card, in about 3 CPU minutes",
        "2 billion ids in steps of about 35,840",
        "1 × h100-sxm – 128.0 GiB of 72.0 GiB does not fit",
        "8 × h100-sxm to be used fsdp 24.0 GiB of 72.0 GiB 14.0 h 7.0 to 56 $332 124 to 2,138",
        "groq – – no card that torch knows",
        "8 x h100-sxm: the cheapest. By fsdp: 24 GiB a device.",
        "freehold train B hires the cards from here",
        "Each launch target on 8 × h100-sxm",
        "ddp 142.0 GiB does not fit 810 ms 124 ms 14.0 h",
        "Seconds are a most: no talk is thought to hide behind work.",
        "Middle: 28% of the 16-bit peak.",
    ]
    for text in shown:
        assert text in said, (text, said)
    assert '<a href="https://example.org/x"' in html
    assert EVIL not in html


def test_a_plan_without_students_says_nothing_of_it(move: Plan) -> None:
    assert 'id="plan-training"' not in page(dataclasses.replace(move, training=()))
