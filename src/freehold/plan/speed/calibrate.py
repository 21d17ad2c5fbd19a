"""What share of its data sheet a device really gives: facts that were fitted on published measurements.

    calibration(h100, "FP8")                 vLLM as most people run it on this card
    calibration(h100, "FP8", engine="trt")   TensorRT-LLM as tuned for a benchmark; vllm-tuned: vLLM so
    calibration(this_machine, "Q4_K_M")      what `freehold doctor --measure` measured here

The table `calibration` holds

    a row a class of software, precision and maker    compute: the share of the FLOP/s that a tuned submission reaches;
               devices: how each card among its rows does beside the class
    gpu        what classes share: memory (share of the bandwidth), layer (seconds), power and per_watt (a card that can
               do more a watt than per_watt is held back by its watts), grouped (the further share that products of
               experts reach), most (no share is larger)
    everyday   crowd, half: how much longer a step takes where nobody tunes: 1 + crowd (n-1) / (n-1 + half), n streams
    llama.cpp  memory, where nothing was measured on the device; apart: on a CPU each head reads the cache for itself
    spread-*   low, high: the factors within which nine in ten measurements lay

benchmarks/speed_error.py fits them and checks what they cover.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from freehold.errors import BadSetting
from freehold.facts.tables import Facts
from freehold.nouns import Fact

__all__ = ["ENGINES", "Calibration", "calibration", "is_gguf", "precision"]

ENGINES = ("llama.cpp", "trt", "vllm", "vllm-tuned")
SLOW = ("cpu", "apple", "board", "machine")  # kinds on which llama.cpp is what runs


@dataclass(frozen=True, slots=True)
class Calibration:
    """`flops` and `bandwidth` are a device's, as they are reached (FLOP/s, None where nothing says; bytes/s). `layer`:
    seconds that each layer takes beside its arithmetic. `low`, `high`: the factors of a 90 % interval. `bits`: of a
    number in the cache. `grouped`, `crowd`, `half`, `apart`: as in the table."""

    engine: str
    flops: float | None
    bandwidth: float
    layer: float = 0.0
    low: float = 1.0
    high: float = 1.0
    bits: float = 16.0
    grouped: float = 1.0
    crowd: float = 0.0
    half: float = 1.0
    apart: bool = False
    method: str = ""
    uses: tuple[str, ...] = ()

    def crowded(self, streams: float) -> float:
        """The factor by which a step of so many streams takes longer than its arithmetic."""
        others = max(streams - 1, 0.0)
        return 1 + self.crowd * others / (others + self.half)


def precision(hardware: Fact, form: str) -> str:
    """In what the products are computed: the weights' own precision where the device has it, else in 16 bits (weights
    of 4 bits that are unpacked, and all of GGUF's)."""
    name, has = form.upper(), hardware.values.get("flops", {})
    for wanted, marks in (("fp4", ("NVFP4", "MXFP4")), ("fp8", ("FP8", "MXFP8")), ("int8", ("INT8", "W8A8"))):
        if any(mark in name for mark in marks) and wanted in has:
            return wanted
    return "bf16"


def calibration(hardware: Fact, form: str, *, engine: str = "", facts: Facts | None = None) -> Calibration:
    """How a device does under `engine` (of ENGINES; empty: llama.cpp on what isn't a data-centre or consumer GPU and
    for GGUF's formats, else vLLM as most people run it). Raises BadSetting for another name."""
    engine = engine or ("llama.cpp" if hardware.values.get("kind") in SLOW or is_gguf(form) else "vllm")
    if engine not in ENGINES:
        raise BadSetting(f"There is no engine {engine!r}.", f"Known: {', '.join(ENGINES)}.")
    table = facts or _shipped()
    if hardware.values.get("kind") in SLOW:
        return _measured(hardware, table, engine)
    return _fitted(hardware, precision(hardware, form), table, engine)


def is_gguf(form: str) -> bool:
    """Is it a format of GGUF's, which llama.cpp computes in?"""
    return form.upper().startswith(("Q2", "Q3", "Q4", "Q5", "Q6", "Q8", "IQ"))


@lru_cache(maxsize=1)
def _shipped() -> Facts:
    return Facts()


def _fitted(hardware: Fact, kind: str, table: Facts, engine: str) -> Calibration:
    row, gpu = _class(hardware, kind, table, engine), table.get("calibration", "gpu")
    tuned = engine in ("trt", "vllm-tuned")
    seen = hardware.id in row.values["devices"] and row.values["precision"] == kind
    spread = table.get("calibration", f"spread-{('seen' if seen else 'unseen') if tuned else 'everyday'}")
    everyday = {} if tuned else table.get("calibration", "everyday").values
    rest = {} if tuned else {"crowd": everyday["crowd"], "half": everyday["half"]}
    what = f"roofline calibrated on MLPerf v5.1 ({row.id}, {'this' if seen else 'no such'} device among its rows)"
    what += "" if tuned else ", slowed as untuned servers are"
    uses = (row.ref, gpu.ref, spread.ref, *(() if tuned else ("calibration/everyday",)))
    return Calibration(
        engine, _reached(hardware, kind, row, gpu), hardware.values["bandwidth"] * gpu.values["memory"],
        gpu.values["layer"], spread.values["low"], spread.values["high"], grouped=gpu.values["grouped"],
        method=what, uses=uses, **rest,
    )  # fmt: skip


def _reached(hardware: Fact, kind: str, row: Fact, gpu: Fact) -> float | None:
    """FLOP/s: the class's share of the peak, less for a card whose watts are few for it."""
    peak, watts = hardware.values.get("flops", {}).get(kind), hardware.values.get("watts")
    if not peak:
        return None
    share = row.values["compute"] * row.values["devices"].get(hardware.id, 1.0)
    if watts:
        share *= (peak / watts / gpu.values["per_watt"]) ** -gpu.values["power"]
    return float(peak * min(share, gpu.values["most"]))


def _class(hardware: Fact, kind: str, table: Facts, engine: str) -> Fact:
    """The class's row: of this engine, precision and maker, or the nearest that is there."""
    soft = "trt" if engine == "trt" else "vllm"
    maker = "amd" if hardware.values.get("vendor") == "AMD" else "other"
    rows = [row for row in table.rows("calibration") if row.values.get("engine") == soft]
    rows.sort(key=lambda row: (row.values["maker"] != maker, row.values["precision"] != kind, row.id))
    return table.get("calibration", rows[0].id)


def _measured(hardware: Fact, table: Facts, engine: str) -> Calibration:
    """A device of which what an engine reached was measured, or of which only the bandwidth is known."""
    values: dict[str, Any] = hardware.values
    rule, known = table.get("calibration", "llama.cpp"), "decode_bandwidth" in values
    spread = table.get("calibration", "spread-machine" if known else "spread-everyday")
    bandwidth = values["decode_bandwidth"] if known else values["bandwidth"] * rule.values["memory"]
    told = "as measured on it" if known else "from its bandwidth, nothing measured on it"
    return Calibration(
        engine, values.get("prefill_flops"), bandwidth, values.get("layer", 0.0), spread.values["low"],
        spread.values["high"], apart=rule.values["apart"] and values["kind"] != "apple",
        crowd=values.get("crowd", 0.0), method=f"roofline of {engine}, {told}", uses=(rule.ref, spread.ref),
    )  # fmt: skip
