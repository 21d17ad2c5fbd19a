"""The server's limits, as freehold.toml configures them: each with its unit, and the ones that a person has changed.

And whether the process that holds a language model can be kept from the network on this system (engines/llama/cage.py).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields

from freehold.project.gateway import Limits

__all__ = ["as_json", "lines", "network", "unit"]

UNITS = {
    "body_kib_second": "KiB that buy one second more",
    "body_least": "bytes/s, at least, once body_seconds are over",
    "running_tokens": "tokens of all calls under way",
    "connections_address": "from one address",
    "running_key": "calls of one key under way",
    "queued_key": "calls of one key that wait",
    "choices": "answers to one call (n)",
    "depth": "levels of JSON",
    "values": "values of JSON",
    "schema_depth": "levels of a JSON schema",
    "schema_items": "maxItems of a JSON schema",
}
ENDINGS = {"_kib": "KiB", "_mib": "MiB", "_seconds": "s"}


def unit(name: str) -> str:
    """What a limit is counted in; "" for a plain count."""
    endings = (word for ending, word in ENDINGS.items() if name.endswith(ending))
    return UNITS.get(name) or next(endings, "")


def lines(limits: Limits, source: str) -> Iterator[str]:
    """The limits for people, by their names in [limits]; `source` is where they come from."""
    usual = asdict(Limits())
    yield f"limits of the server, by their names in [limits] ({source}):"
    for one in fields(limits):
        value = getattr(limits, one.name)
        said = f"{value:,}" if isinstance(value, int) else f"{value:,g}"
        changed = "" if value == usual[one.name] else f"   (default {usual[one.name]:,g})"
        yield f"  {one.name:<20} {said:>12} {unit(one.name)}".rstrip() + changed


def as_json(limits: Limits) -> dict[str, dict[str, int | float | str]]:
    """The limits by name, each with its value and unit."""
    return {one.name: {"value": getattr(limits, one.name), "unit": unit(one.name)} for one in fields(limits)}


def network() -> str:
    """Why an engine's process keeps the network here; "" where it has none. Tried in a process of its own."""
    code = "from freehold.engines.llama.cage import enter; print(enter())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "it could not be tried"
