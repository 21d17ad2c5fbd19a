"""What a machine has and what it was measured to give: machine.json, which `doctor` writes and `plan` reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from freehold.nouns.calls import Measure

__all__ = ["EngineSpeed", "Machine"]


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """The embedded engine with one base: tokens a second that it reads (`prefill`, questions of `prompt` tokens) and
    writes (`decode`, one stream; `many`, `streams` together). `flops` is 2 N prefill, `bandwidth` the bytes of its
    weights a second of writing."""

    base: str
    sha256: str
    format: str
    parameters: int
    bytes: int
    threads: int
    prompt: int
    prefill: Measure
    decode: Measure
    streams: int
    many: Measure
    flops: float
    bandwidth: float


@dataclass(frozen=True, slots=True)
class Machine:
    """`memory`, `free` and `disk` in bytes; `free` and `disk` are what is left. `load`: processes that ran, mean of the
    minute before it was measured. `extras` maps each optional part of
    freehold to the packages of it that are missing (none: it is whole). `bandwidth` (bytes/s, memory read by all cores)
    and `engine` are None-valued where nothing was measured; `why` then says why not."""

    system: str
    cpu: str
    cores: int
    memory: int
    free: int
    disk: int
    python: str
    freehold: str
    gpus: tuple[str, ...] = ()
    extras: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bases: tuple[str, ...] = ()
    bandwidth: Measure = field(default_factory=lambda: Measure(None, unit="bytes/s", method="not measured"))
    engine: EngineSpeed | None = None
    why: str = ""
    load: float = 0.0
    made: str = ""
