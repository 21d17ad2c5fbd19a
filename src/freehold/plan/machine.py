"""This machine as a row of hardware, from what `freehold doctor --measure` wrote: hardware/this-machine."""

from __future__ import annotations

from pathlib import Path

import msgspec

from freehold.errors import ProjectVersion
from freehold.nouns import Fact
from freehold.nouns.machine import Machine

__all__ = ["this_machine"]


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
    values = {"name": f"{found.cpu}, {found.cores} cores", "kind": "machine", "memory": found.memory, "per_node": 1}
    if found.bandwidth.value is not None:
        values["bandwidth"] = found.bandwidth.value
    if found.engine is not None:
        values |= {"prefill_flops": found.engine.flops, "decode_bandwidth": found.engine.bandwidth}
        values.setdefault("bandwidth", found.engine.bandwidth)
    if "bandwidth" not in values:
        return None
    return Fact("hardware", "this-machine", values, "measured: freehold doctor --measure", found.made[:10], "computed")
