"""What a training takes on this machine, by the table that plans of every launch target are made of (fit.launches), and
its refusal before anything is measured or begun where that is not free.

    need(architecture(shape), shape, rows=24)     {"weights, gradients, Adam": ..., "activations": ..., "program": ...}
    checked(plan, budget, start)                  the plan, with what it takes beside what is free as one more reason
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import BadSetting
from freehold.fit import LOADED, Architecture, Devices, Need, available, launches, refuse, resident, total
from freehold.fit.memory import GIB
from freehold.launch.job import Parallel
from freehold.train.job import ids_at_once
from freehold.train.model import config_of
from freehold.train.nouns import Plan, Shape

__all__ = ["architecture", "checked", "fits", "need"]

HINT = "Take less width or fewer layers (--set width=...), a shorter context, or a machine with more memory."


def architecture(shape: Shape) -> Architecture:
    return Architecture.of(config_of(shape, 0).to_dict())


def need(
    a: Architecture,
    shape: Shape,
    rows: int,
    *,
    parallel: Parallel = "none",
    processes: int = 1,
    held_out: int | None = None,
    mixed: bool = False,
    cards: bool = False,
) -> Need:
    """Of the process that holds the most; `cards`: each has a card, elsewhere. Raises BadSetting where the processes
    can't share the model so."""
    ways = launches(
        a, Devices(processes, 0.0, 1.0, 1.0), ids=rows * shape.context, context=shape.context,
        at_once=ids_at_once(shape), cpu=not cards, held_out=held_out, mixed=mixed,
        program=None if cards else _program(processes),
    )  # fmt: skip
    found = next((way.need for way in ways if way.name == parallel), None)
    if found is None:
        raise BadSetting(
            f"{processes} processes can't share the {shape.heads} heads of a layer ({parallel}).",
            "Take a number that divides them, or another --launch.",
        )
    return found


def _program(processes: int) -> int:
    """A training in this process begins with what it holds already: the text's leavings, and all libraries."""
    import freehold.train.loop.trainer  # noqa: F401

    return max(LOADED, resident()) if processes == 1 else LOADED


def _free(processes: int) -> int:
    """For each process."""
    return available() + resident() if processes == 1 else available() // processes


def fits(shape: Shape, needed: Need, processes: int, card: float = 0.0) -> None:
    """`card`: bytes that each process has elsewhere. Raises TooLittleMemory, with the table."""
    each = "" if processes == 1 else f", each of {processes} processes,"
    have = int(card) or _free(processes)
    refuse(needed, f"Training {shape.layers} layers of {shape.width}{each}", have=have, hint=HINT)


def checked(
    plan: Plan, held_out: int, start: Path | None, parallel: Parallel, processes: int, card: float = 0.0
) -> Plan:
    """`start`: the folder of a model that is trained on. Raises TooLittleMemory, BadSetting."""
    a, mixed = _model(plan.shape, start), plan.dtype == "bfloat16"
    needed = need(
        a, plan.shape, plan.rows, parallel=parallel, processes=processes, held_out=held_out, mixed=mixed,
        cards=card > 0,
    )  # fmt: skip
    fits(plan.shape, needed, processes, card)
    return replace(plan, why=(*plan.why, _said(needed, processes, card)))


def _said(needed: Need, processes: int, card: float) -> str:
    parts = ", ".join(f"{name} {size / GIB:.2f}" for name, size in needed.items())
    each = "" if processes == 1 else f" in each of {processes} processes"
    free = f"this machine has {_free(processes) / GIB:.1f} GiB{' for each' * (processes > 1)}"
    if card:
        free = f"a card of {card / 1e9:.0f} GB is taken as given"
    return f"Memory: {total(needed) / GIB:.2f} GiB at the most{each} ({parts}); {free}."


def _model(shape: Shape, start: Path | None) -> Architecture:
    if start is None:
        return architecture(shape)
    return Architecture.of(msgspec.json.decode((start / "config.json").read_bytes(), type=dict[str, Any]), str(start))
