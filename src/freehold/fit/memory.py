"""What a machine has free, and the refusal where a job would take more.

available()                              -> bytes that this process may still take; resident() -> those that it has
refuse({"weights": 15 << 30, ...}, "Tuning llama")    raises TooLittleMemory, with the sum and its parts
"""

from __future__ import annotations

import os
from pathlib import Path

from freehold.errors import TooLittleMemory

__all__ = ["GIB", "Need", "available", "refuse", "resident", "total"]

GIB = 1 << 30
RESERVE = 0.9  # of what is free; the rest of the machine goes on living
Need = dict[str, int]


def total(need: Need) -> int:
    return sum(need.values())


def available() -> int:
    """Bytes that this process may still take: the machine's, or its container's where that is less. Where the system
    does not say what is free (no /proc), all that it has."""
    said = (1024 * int(line.split()[1]) for line in _lines(Path("/proc/meminfo")) if "MemAvailable" in line)
    free = next(said, None)
    if free is None:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    group = Path("/sys/fs/cgroup")
    limit = _number(group / "memory.max")
    if limit is None:
        return free
    cached = next(
        (int(v) for k, _, v in (r.partition(" ") for r in _lines(group / "memory.stat")) if k == "inactive_file"), 0
    )
    return min(free, limit - (_number(group / "memory.current") or 0) + cached)


def resident() -> int:
    """Bytes of this process that lie in memory; 0 where the system does not say (no /proc)."""
    return next((1024 * int(line.split()[1]) for line in _lines(Path("/proc/self/status")) if "VmRSS" in line), 0)


def refuse(need: Need, what: str, *, have: int | None = None, hint: str = "") -> None:
    """Raises TooLittleMemory, with the sum and its parts, where `need` is more than there is (or than `have`)."""
    free = available() if have is None else have
    if total(need) <= RESERVE * free:
        return
    parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in need.items())
    raise TooLittleMemory(
        f"{what} needs about {total(need) / GIB:.1f} GiB ({parts}), and {free / GIB:.1f} GiB are free.",
        hint or "Take a smaller base, or a machine with more memory.",
    )


def _number(path: Path) -> int | None:
    said = "".join(_lines(path)).strip()
    return int(said) if said.isdigit() else None


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
