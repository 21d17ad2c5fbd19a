"""How far predicted tokens a second lie from measured ones: MLPerf v5.1, other published figures, this machine.

python benchmarks/speed_error.py [--full] [--write] [--no-engine]

systems       each submitter's system is left out in turn, the calibration is fitted on the rest, its rows are
              predicted with the product's own plan.speed.step; the 90 % interval comes from residuals of the rest,
              which are themselves predictions of systems that were left out (nested: the tested rows are in nothing)
accelerators  the same with every row of an accelerator left out: what a plan for another card faces
elsewhere     13 published figures of other models, on servers that nobody tuned for a benchmark and of Mixtral
              (_speed_elsewhere.py): what is fitted on them (crowd, half, grouped), each left out in turn
here          the embedded engine on this machine, measured once by `doctor`, then predicted at other sizes and measured

--write puts the calibration into src/freehold/facts/data/calibration.json
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import _run
import numpy as np

from freehold.facts.tables import Facts
from freehold.fit import Architecture, cache_bytes, weight_bytes
from freehold.nouns import Fact
from freehold.plan.speed import step
from freehold.plan.speed.calibrate import Calibration

ROOT = Path(os.environ.get("FREEHOLD_SHARED", _run.ROOT.parent / "shared")) / "data" / "catalogs"
DATA = _run.ROOT / "src" / "freehold" / "facts" / "data"
ROUND = "MLPerf Inference v5.1, mlcommons/inference_results_v5.1 965182b0 (2025-09-09), llama2-70b, 256 rows"
# Llama-2-70B, and Llama-3.1-70B in Krai's rows: the same but for the vocabulary
LLAMA = {
    "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "intermediate_size": 28672, "vocab_size": 32000, "tie_word_embeddings": False,
    "max_position_embeddings": 4096,
}  # fmt: skip
ASKED, WRITTEN = 294, 294  # tokens a sample: 294 to 301 written (the rows); questions of about that length
MOST = 2048  # streams a device
CARDS = {
    "H100-SXM": "h100-sxm", "H200-SXM": "h200-sxm", "H200-NVL": "h200-nvl", "B200-SXM": "b200-sxm", "GB200": "gb200",
    "RTX PRO 6000": "rtx-pro-6000", "MI300X": "mi300x", "MI325X": "mi325x", "MI355X": "mi355x",
    "Arc Pro B60": "arc-pro-b60",
}  # fmt: skip
KINDS = {"fp8": ("fp8", 8.0), "fp4": ("fp4", 4.5), "mxfp4": ("fp4", 4.25), "uint4": ("int8", 4.125)}
PER_WATT = 3e12  # FLOP/s a watt at which a class's share is stated
MEMORY = 0.8  # share of the bandwidth: aiconfigurator's mem_bw_empirical_scaling_factor of every NVIDIA card
PRIOR = {"layer": (math.log(1e-5), 0.7), "tight": (math.log(0.03), 0.3), "server": (-0.07, 0.3), "power": (0.2, 0.3)}
NOISE = 0.08
Theta = dict[str, float]
Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What a row was measured in, as it is published; `cards` are (id, how many)."""

    cards: tuple[tuple[str, int], ...]
    software: str
    kind: str
    bits: float
    scenario: str

    @property
    def name(self) -> str:
        """Its class: software, precision, maker. Four-bit integers are computed in eight, as FP8 is."""
        maker = "amd" if self.cards[0][0].startswith("mi") else "other"
        return f"{self.software}-{'fp8' if self.kind == 'int8' else self.kind}-{maker}"


@dataclass(frozen=True)
class Seen:
    setting: Setting
    rate: float
    system: str
    cards: str


def read() -> list[Seen]:
    path = ROOT / "mlperf-v5.1" / "llama2-70b.json.gz"
    if not path.is_file():
        raise SystemExit(f"needs the shared data: {path} is absent; set FREEHOLD_SHARED to the folder that holds data/")
    with gzip.open(path) as file:
        rows = json.load(file)
    return [seen(row) for row in rows]


def seen(row: Row) -> Seen:
    cards = _cards(row["Accelerator"], row["Nodes"] * row["a#"])
    software = "trt" if "tensorrt" in row["Software"].lower() else "vllm"  # SGLang, LLMBoost and AMD's own with vLLM
    said = row["weight_data_types"].lower()
    kind, bits = KINDS["fp8" if said == "unset" and "fp8" in row["UsedModel"] else said]
    setting = Setting(cards, software, kind, bits, row["Scenario"])
    system = f"{row['Submitter']}/{row['Platform']}"
    return Seen(setting, float(row["Performance_Result"]), system, "+".join(name for name, _ in cards))


def _cards(said: str, count: int) -> tuple[tuple[str, int], ...]:
    mixed = re.findall(r"(MI3\d\dX)[^(]*\(x(\d+)\)", said)
    if mixed:
        return tuple(sorted((CARDS[name], int(n)) for name, n in mixed))
    card = next(card for name, card in CARDS.items() if name in said)
    return ((card, 2 * count if "Dual" in said else count),)  # a dual card is two devices


# the prediction, by the product's own step


FACTS = Facts()


@cache
def card(name: str) -> Fact:
    return FACTS.get("hardware", name)


@cache
def llama() -> Architecture:
    return Architecture.of(LLAMA)


def calibrated(hardware: Fact, s: Setting, theta: Theta) -> Calibration:
    peak = hardware.values["flops"][s.kind]
    own = theta.get(f"device {hardware.id} {s.name}", 0.0)
    a_watt = peak / hardware.values["watts"] / PER_WATT
    share = math.exp(theta.get(s.name, math.log(0.5)) + own) * a_watt ** -theta["power"]
    return Calibration(
        s.software, peak * min(share, 0.95), hardware.values["bandwidth"] * MEMORY, math.exp(theta["layer"]), 1, 1, 8.0
    )


def predict(s: Setting, theta: Theta) -> float:
    """Tokens written a second by all devices."""
    rate = sum(n * one_device(card(name), s, theta) for name, n in s.cards)
    if s.scenario == "Server":
        rate *= math.exp(theta["server"])
    if s.scenario == "Interactive":
        rate *= math.exp(theta.get(f"interactive-{s.software}", 0.0))
    return rate


def one_device(hardware: Fact, s: Setting, theta: Theta) -> float:
    """The replica is the least power of two that leaves 40 % for the cache; as many streams as fit, or, interactive,
    as keep a step under `tight` seconds."""
    by, form, memory = calibrated(hardware, s, theta), FORMS[s.bits], hardware.values["memory"]
    weights = _weights(s.bits)
    gpus = 1
    while weights > 0.54 * memory * gpus:
        gpus *= 2
    room = 0.9 * memory * gpus - weights - 2e9 * gpus
    most = max(1.0, min(room / _cache(ASKED + WRITTEN // 2), MOST * gpus))

    def seconds(streams: float) -> float:
        return step(
            llama(), hardware, form, gpus=gpus, streams=streams, context=ASKED + WRITTEN // 2,
            prefill_tokens=streams * ASKED / WRITTEN, by=by,
        ).seconds  # fmt: skip

    if s.scenario == "Interactive":
        most = _largest(seconds, math.exp(theta["tight"]), most)
    return most / seconds(most) / gpus


def _largest(seconds: Callable[[float], float], limit: float, most: float) -> float:
    """The streams at which a step takes `limit`: a step is nearly straight in them, so a few secants find it."""
    low, at_low, high, at_high = 1.0, seconds(1.0), most, seconds(most)
    if at_high <= limit:
        return most
    for _ in range(3):
        if at_low >= limit or at_high - at_low < 1e-9:
            return low
        middle = low + (high - low) * (limit - at_low) / (at_high - at_low)
        at = seconds(middle)
        low, at_low, high, at_high = (low, at_low, middle, at) if at > limit else (middle, at, high, at_high)
    return low + (high - low) * (limit - at_low) / (at_high - at_low)


FORMS = {8.0: "FP8", 4.5: "NVFP4", 4.25: "MXFP4", 4.125: "GPTQ"}


@cache
def _weights(bits: float) -> float:
    return float(weight_bytes(llama(), FORMS[bits]))


@cache
def _cache(context: int) -> int:
    return cache_bytes(llama(), context, bits=8.0)


# the fit


def names(rows: Sequence[Seen]) -> list[str]:
    classes = {row.setting.name for row in rows}
    classes |= {f"interactive-{row.setting.software}" for row in rows if row.setting.scenario == "Interactive"}
    return [*sorted(classes), *PRIOR]


def prior(name: str) -> tuple[float, float]:
    return PRIOR.get(name, (0.0, 0.5) if name.startswith("interactive") else (math.log(0.5), 0.5))


def fit(rows: Sequence[Seen], start: Theta | None = None, rounds: int = 25) -> Theta:
    """Least squares on log rates with a soft loss, and a weak prior on each number; equal rows of a system count
    once."""
    from scipy.optimize import least_squares

    rows = list({(row.system, row.setting, round(row.rate)): row for row in rows}.values())
    keys = names(rows)
    middle, width = (np.array(x) for x in zip(*map(prior, keys), strict=True))
    settings = list({row.setting for row in rows})
    at = [settings.index(row.setting) for row in rows]
    logs = np.log([row.rate for row in rows])

    def residuals(p: Any) -> Any:
        theta = dict(zip(keys, map(float, p), strict=True))
        guess = np.log([predict(s, theta) for s in settings])
        return np.concatenate([(guess[at] - logs) / NOISE, (p - middle) / width])

    first = np.array([(start or {}).get(key, m) for key, m in zip(keys, middle, strict=True)])
    found = least_squares(residuals, first, loss="soft_l1", max_nfev=rounds)
    theta = dict(zip(keys, map(float, found.x), strict=True))
    return theta | devices(rows, theta)


def devices(rows: Sequence[Seen], theta: Theta) -> Theta:
    """How each card does beside its class, drawn towards nought: the sum of its residuals over their number and one."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if len(row.setting.cards) == 1 and row.setting.scenario != "Interactive":
            name = f"device {row.cards} {row.setting.name}"
            found.setdefault(name, []).append(math.log(row.rate / predict(row.setting, theta)))
    return {name: sum(logs) / (len(logs) + 1) for name, logs in found.items()}


def left_out(rows: Sequence[Seen], group: Callable[[Seen], str], start: Theta, folds: int = 0) -> np.ndarray:
    """log(measured / predicted) of every row, each from a fit that has seen nothing of its group."""
    groups = sorted({group(row) for row in rows})
    parts = [groups[i::folds] for i in range(folds)] if folds else [[g] for g in groups]
    found = np.full(len(rows), np.nan)
    for part in parts:
        out = {name for g in part for name in g.split("+")} if group is by_cards else set(part)
        rest = [r for r in rows if not (set(group(r).split("+")) & out if group is by_cards else group(r) in out)]
        theta = fit(rest, start, 4)
        for i, row in enumerate(rows):
            if group(row) in part:
                found[i] = math.log(row.rate / predict(row.setting, theta))
    return found


def by_system(row: Seen) -> str:
    return row.system


def by_submitter(row: Seen) -> str:
    return row.system.partition("/")[0]


def by_cards(row: Seen) -> str:
    return row.cards


def bounds(residuals: np.ndarray) -> tuple[float, float]:
    """Between these logs nine in ten residuals lie."""
    low, high = np.quantile(residuals, [0.05, 0.95])
    return float(low), float(high)


def broad(residuals: np.ndarray, groups: Sequence[str]) -> tuple[float, float]:
    """For a group that nothing has seen: Student's t over the groups' own root mean squares, each group once."""
    from scipy.stats import t

    parts = [residuals[[g == name for g in groups]] for name in sorted(set(groups))]
    size = math.sqrt(float(np.mean([np.mean(part**2) for part in parts])))
    half = float(t.ppf(0.95, len(parts) - 1)) * size
    return -half, half


def covered(rows: Sequence[Seen], group: Callable[[Seen], str], start: Theta, out: np.ndarray) -> np.ndarray:
    """Whether each row lies in its 90 % interval, which is made without any row of its group."""
    found = np.zeros(len(rows), bool)
    for g in sorted({group(row) for row in rows}):
        rest = [row for row in rows if group(row) != g]
        inner = left_out(rest, group, start, folds=0 if group is by_cards else 4)
        low, high = broad(inner, [group(row) for row in rest]) if group is by_cards else bounds(inner)
        for i, row in enumerate(rows):
            if group(row) == g:
                found[i] = low <= out[i] <= high
    return found


def summary(residuals: np.ndarray, inside: np.ndarray | None) -> Row:
    error = np.abs(np.exp(-residuals) - 1)
    found: Row = {"n": len(residuals), "median_error": round(float(np.median(error)), 4)}
    found |= {"p90_error": round(float(np.quantile(error, 0.9)), 4), "worst": round(float(error.max()), 3)}
    if inside is not None:
        found["covered"] = round(float(inside.mean()), 4)
    return found


# what it prints, and what it writes


def round_(x: float, digits: int = 4) -> float:
    return float(f"{x:.{digits}g}")


def table(theta: Theta, rows: Sequence[Seen], others: Row, spreads: dict[str, tuple[float, float]]) -> list[Row]:
    """calibration.json's rows."""
    said = {"source": f"fitted on {ROUND}, by benchmarks/speed_error.py", "as_of": "2025-09-09", "status": "computed"}
    found: list[Row] = []
    for name in sorted({row.setting.name for row in rows}):
        engine, kind, maker = name.split("-")
        cards = sorted({card for row in rows if row.setting.name == name for card, _ in row.setting.cards})
        head: Row = {"id": name, "engine": engine, "precision": kind, "maker": maker}
        head |= {"compute": round_(math.exp(theta[name]))}
        mine = {card: theta.get(f"device {card} {name}", 0.0) for card in cards}
        head["devices"] = {card: round_(math.exp(log), 3) for card, log in mine.items()}
        n = sum(row.setting.name == name for row in rows)
        found.append(head | {"n": n} | said)
    shared = {"id": "gpu", "memory": MEMORY, "layer": round_(math.exp(theta["layer"])), "most": 0.95}
    shared |= {"power": round_(theta["power"]), "per_watt": PER_WATT, "grouped": round_(others["grouped"])}
    shared |= {"server": round_(math.exp(theta["server"])), "tight": round_(math.exp(theta["tight"]))}
    aic = "; memory as aiconfigurator's systems/*.yaml (NVIDIA, Apache-2.0); grouped on elsewhere's rows"
    found.append(shared | said | {"source": said["source"] + aic})
    other = said | {
        "source": f"fitted on {len(others['rows'])} published figures, by benchmarks/speed_error.py "
        "(GPUStack performance lab, Apache-2.0, 2026-08-21; johnmusgrave.com)",
        "as_of": "2026-08-21",
    }
    found.append({"id": "everyday", "crowd": round_(others["crowd"]), "half": round_(others["half"])} | other)
    machine = said | {
        "source": "share of bandwidth of the published llama.cpp runs in the table hardware (M1 Max 57 %, "
        "Raspberry Pi 5 63 %, M4 86 %): their middle",
        "as_of": "2026-11-23",
    }
    found.append({"id": "llama.cpp", "memory": 0.68, "apart": True} | machine)
    assumed = machine | {"source": HERE, "status": "unverified"}
    where = {"seen": said, "unseen": said, "everyday": other, "machine": assumed}
    for name, (low, high) in spreads.items():
        found.append(
            {"id": f"spread-{name}", "low": round_(math.exp(low), 3), "high": round_(math.exp(high), 3)} | where[name]
        )
    return found


HERE = "assumed: from half of to twice what one small base showed on the machine's own measurement"


def write(rows: Sequence[Row]) -> None:
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    (DATA / "calibration.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main() -> int:
    from _speed_elsewhere import elsewhere
    from _speed_here import here

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the intervals' coverage too, nested (minutes)")
    parser.add_argument("--write", action="store_true", help="put the calibration into the product's facts")
    parser.add_argument("--no-engine", action="store_true", help="leave out the measurement on this machine")
    args = parser.parse_args()
    rows = read()
    theta = fit(rows)
    result: Row = {}
    ways = {"systems": by_system, "submitters": by_submitter, "accelerators": by_cards}
    out = {name: left_out(rows, group, theta) for name, group in ways.items()}
    for name, group in ways.items():
        inside = covered(rows, group, theta, out[name]) if args.full else None
        result[name] = summary(out[name], inside) | {"groups": len({group(row) for row in rows})}
        _run.say(f"{name}: {result[name]}")
    others = elsewhere(theta, calibrated, PER_WATT)
    result["elsewhere"] = {key: others[key] for key in ("median_error", "covered", "rows", "crowd", "half", "grouped")}
    _run.say(f"elsewhere: {result['elsewhere']}")
    spreads = {
        "seen": bounds(out["systems"]), "unseen": broad(out["accelerators"], [row.cards for row in rows]),
        "everyday": others["spread"], "machine": (math.log(0.5), math.log(2.0)),
    }  # fmt: skip
    result["calibration"] = table(theta, rows, others, spreads)
    if args.write:
        write(result["calibration"])
    if not args.no_engine:
        result["here"] = here(args.full)
        _run.say(f"here: {result['here']}")
    return _run.emit("speed_error", full=args.full, n=len(rows), goals=goals(result), result=result)


def goals(result: Row) -> list[Row]:
    systems, found = result["systems"], []
    error, cover = systems["median_error"], systems.get("covered")
    found.append(_run.goal("median error, leave one system out", "<= 20 %", error, error <= 0.2))
    met = None if cover is None else 0.85 <= cover <= 0.95
    found.append(_run.goal("the 90 % interval covers, leave one system out", "85 to 95 %", cover, met))
    if "here" in result:
        error = result["here"]["median_error"]
        found.append(_run.goal("median error, the embedded engine here", "<= 20 %", error, error <= 0.2))
        inside = result["here"]["covered"]
        found.append(_run.goal("measured within the interval, here", "all", inside, inside == 1.0))
    return found


if __name__ == "__main__":
    sys.exit(main())
