"""What is here, from what the system says of itself: nothing is run but nvidia-smi, where there is one."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from freehold import __version__
from freehold.engines.bases import find, known
from freehold.engines.llama.engine import container_cores
from freehold.errors import BaseUnusable
from freehold.fit import available
from freehold.nouns.machine import Machine

__all__ = ["extras", "look"]

GPU = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")


def look() -> Machine:
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu(),
        cores=min(_cores(), container_cores()),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        free=available(),
        disk=shutil.disk_usage(Path.cwd()).free,
        python=platform.python_version(),
        freehold=__version__,
        gpus=_gpus(),
        extras=extras(),
        load=round(os.getloadavg()[0], 2),
        bases=tuple(name for name in known() if _here(name)),
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu(path: Path = Path("/proc/cpuinfo")) -> str:
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> tuple[str, ...]:
    """What nvidia-smi lists; nothing where there is none, or it fails."""
    if shutil.which(GPU[0]) is None:
        return ()
    try:
        said = subprocess.run(GPU, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.strip() for line in said.stdout.splitlines() if line.strip()) if said.returncode == 0 else ()


def _here(name: str) -> bool:
    try:
        return bool(find(name))
    except BaseUnusable:
        return False


def extras(asks: list[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Each optional part of freehold, and which of its packages are missing. `asks`: Requires-Dist lines, else those of
    the freehold that is installed."""
    lines = (metadata.requires("freehold") or []) if asks is None else asks
    wanted: dict[str, set[str]] = {}
    for line in lines:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        name = re.match(r"[A-Za-z0-9][\w.-]*", line)
        if extra and name:
            wanted.setdefault(extra[1], set()).add(name[0].lower())
    return {
        extra: tuple(sorted(name for name in names if name != "freehold" and not _installed(name)))
        for extra, names in sorted(wanted.items())
    }


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
