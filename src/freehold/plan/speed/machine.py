"""This machine as a row of hardware, from what `freehold doctor --measure` wrote: hardware/this-machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import ProjectVersion
from freehold.nouns import Fact
from freehold.nouns.machine import EngineSpeed, Machine

__all__ = ["row", "this_machine"]


def this_machine(project: Path) -> Fact | None:
    """The machine that machine.json tells of; None where nothing was measured. Raises ProjectVersion where the file
    can't be read."""
    path = project / "machine.json"
    if not path.is_file():
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Machine)
    except msgspec.DecodeError:
        raise ProjectVersion(f"{path} can't be read.", "Measure again: freehold doctor --measure") from None
    return row(found)


def row(found: Machine) -> Fact | None:
    """A machine as hardware; None where neither its bandwidth nor the engine was measured."""
    values: dict[str, Any] = {"kind": "machine", "memory": found.memory, "per_node": 1}
    values["name"] = f"{found.cpu}, {found.cores} cores"
    if found.bandwidth.value is not None:
        values["bandwidth"] = found.bandwidth.value
    if found.engine is not None:
        values |= {"prefill_flops": found.engine.flops, "decode_bandwidth": found.engine.bandwidth}
        values |= {"crowd": _crowd(found.engine), "threads": found.engine.threads}
        values.setdefault("bandwidth", found.engine.bandwidth)
    if "bandwidth" not in values:
        return None
    return Fact("hardware", "this-machine", values, "measured: freehold doctor --measure", found.made[:10], "computed")


def _crowd(e: EngineSpeed) -> float:
    """How much longer a step of several streams takes than reading the weights or multiplying them, as
    calibrate.Calibration.crowded counts it (with half = 1)."""
    if not e.many.value:
        return 0.0
    ideal = max(2.0 * e.parameters * e.streams / e.flops, e.bytes / e.bandwidth)
    return max(0.0, e.streams / e.many.value / ideal - 1) * e.streams / (e.streams - 1)
