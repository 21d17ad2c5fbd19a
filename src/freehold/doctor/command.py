"""freehold doctor: what this machine has, with --measure what it gives, and the limits that the server keeps."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from freehold.nouns.machine import Machine

__all__ = ["HELP", "flags", "lines", "run"]

GIB = 1 << 30
HELP = "What this machine has, which optional parts are installed, the server's limits; --measure: how fast it is."


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--measure", action="store_true", help="measure bandwidth and the engine, about a minute")
    parser.add_argument(
        "--project",
        metavar="DIR",
        help="whose limits are printed, and where --measure writes machine.json (then by default freehold-project)",
    )
    parser.add_argument("--base", metavar="NAME|GGUF", help="what the engine is measured with (default smollm2)")
    parser.add_argument("--json", action="store_true", help="the machine and the limits as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    import msgspec

    from freehold.doctor import doctor, limits
    from freehold.errors import BadSetting
    from freehold.project import Project
    from freehold.project.gateway import Limits
    from freehold.tell import terminal
    from freehold.wire import dumps

    if not args.measure and args.base:
        raise BadSetting("--base needs --measure.", "freehold doctor --measure --base GGUF")
    project = None
    if args.measure:
        project = Project.create(args.project or "freehold-project")
    elif args.project:
        project = Project.open(args.project)
    kept = project.settings.limits if project is not None else Limits()
    source = f"from {project.path / 'freehold.toml'}" if project is not None else "the defaults; --project DIR: its own"
    with terminal() as tell:
        found = doctor(measure=args.measure, base=args.base, tell=tell)
    if args.measure and project is not None:
        _save(project.path, found)
    why = limits.network()
    if args.json:
        more = {"limits": limits.as_json(kept), "engine_network": why or "none"}
        print(dumps(msgspec.to_builtins(found) | more).decode())
    else:
        network = f"keeps the network: {why}" if why else "has no network"
        print("\n".join([*lines(found), f"isolation  an engine's process {network}", "", *limits.lines(kept, source)]))
        if args.measure and project is not None:
            print(f"\nwritten to {project.path / 'machine.json'}; freehold plan uses it")
    return 0


def _save(folder: Path, found: Machine) -> None:
    from freehold.project import write_atomic
    from freehold.project.storage import pretty

    write_atomic(folder / "machine.json", pretty(found))


def lines(found: Machine) -> Iterator[str]:
    """A machine for people."""
    yield f"freehold {found.freehold}, Python {found.python}, {found.system}"
    yield f"cpu        {found.cpu}, {found.cores} cores"
    yield f"memory     {found.memory / GIB:.1f} GiB, {found.free / GIB:.1f} free; disk {found.disk / GIB:.0f} GiB free"
    yield f"gpu        {'; '.join(found.gpus) or 'none that nvidia-smi lists'}"
    for name, missing in found.extras.items():
        lacks = f"lacks {', '.join(missing)}: pip install 'freehold[{name}]'"
        yield f"extra      {name:<8} {lacks if missing else 'here'}"
    yield f"bases      {', '.join(found.bases) or 'none here: freehold base smollm2'}"
    yield from _measured(found)


def _measured(found: Machine) -> Iterator[str]:
    if found.bandwidth.value is not None:
        b = found.bandwidth
        low, middle, high = (f"{(x or 0) / 1e9:.1f}" for x in (b.low, b.value, b.high))
        yield f"bandwidth  {middle} GB/s ({low} to {high}; {b.method})"
    if found.engine is not None:
        e = found.engine
        yield f"engine     {e.base}, {e.format}, {e.bytes / 1e6:.0f} MB, {e.threads} threads"
        yield f"           reads {e.prefill}, writes {e.decode},"
        yield f"           with {e.streams} at once {e.many}"
    if found.made and found.load > found.cores / 2:
        yield f"busy       the load was {found.load:.1f} on {found.cores} cores: measure again when the machine is idle"
    if found.why:
        yield f"engine     not measured: {found.why}"
