"""doctor: what this machine has, and what it gives.

doctor()                    ─→ Machine: cores, memory, GPUs, which optional parts of freehold are here
doctor(measure=True)        ─→ and measured in about a minute: memory bandwidth; what the embedded engine reads and
                               writes a second with a base. `plan` predicts from it what larger models do here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from freehold.nouns.machine import Machine
from freehold.tell import Tell, quiet

__all__ = ["Machine", "doctor"]


def doctor(
    *, measure: bool = False, base: str | Path | None = None, seconds: float = 60.0, tell: Tell = quiet
) -> Machine:
    """This machine. `measure` takes about `seconds`; `base` is a GGUF file or the name of a base (None: the usual one).

    Where no base is named and none is here, or the engine isn't installed, `engine` is None and `why` says so. Raises
    BaseUnusable or MissingExtra where `base` was named, and BadSetting where it isn't a GGUF file.
    """
    from freehold.doctor.look import look
    from freehold.doctor.measure import bandwidth, engine
    from freehold.errors import BaseUnusable, MissingExtra
    from freehold.project import now

    found = look()
    if not measure:
        return found
    tell("memory bandwidth")
    found = replace(found, bandwidth=bandwidth(seconds / 6), made=now())
    try:
        return replace(found, engine=engine(base, seconds * 0.7, tell))
    except (BaseUnusable, MissingExtra) as error:
        if base is not None:
            raise
        return replace(found, why=f"{error.message} {error.hint}".strip())
