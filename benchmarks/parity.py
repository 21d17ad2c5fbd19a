"""The parity gate's table for a decoder tuned on the SNIPS log, each format: what every hop costs, and what is refused.

    python benchmarks/parity.py [--full]

    SNIPS log ─tune_decoder→ adapter ─shrink, every format→ merge · GGUF F32 · Q4_K_M · Q8_0 · BF16 · served

No peer: the figures are against the tuned model in float32 as transformers computes it, on rows that the tuning held
back. The short form tunes for a few CPU minutes and compares 60 rows; --full tunes for 20 and compares 300.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import _run

_run.one_thread()  # before numpy comes in

import logs  # noqa: E402
from _text import Size, World, cpu  # noqa: E402

SIZES = {
    False: Size("parity-short", 4_000, 0, {"snips": 5}, 0, 0),
    True: Size("parity-full", None, 0, {"snips": 20}, 0, 0),
}
ROWS = {False: 60, True: 300}
LARGEST = 1e-3


def tell(what: str, share: float | None = None) -> None:
    if not share:
        _run.say(f"  {what}")


def adapter(world: World, project: Any) -> Any:
    """Tuned now, or by a run before this one: the same rows and minutes give the same artefact."""
    from freehold.engines.bases import find
    from freehold.tune.decoder import tune_decoder

    rows, _ = world.sides
    made = tune_decoder(rows, world.task, project, find(None), minutes=world.size.minutes["snips"], tell=tell)
    if made.kind != "adapter":
        raise SystemExit("the untuned base with examples was better: nothing to shrink; tune for longer (--full)")
    return made


def goals_of(table: dict[str, Any]) -> list[dict[str, Any]]:
    merge, exact = table["merge"], table["float32"]
    lines = {line["format"]: line for line in table["formats"]}
    worst = max(merge["largest_logit_difference"], exact["largest_logit_difference"])
    silent = [name for name, line in lines.items() if line["passed"] != (line["why"] == "")]
    return [
        _run.goal("largest logit difference, merge and GGUF F32", f"<= {LARGEST:g}", worst, worst <= LARGEST),
        _run.goal(
            "greedy answers that turn in F32 where the margin exceeds 1e-3", "0", lines["F32"]["margin"],
            lines["F32"]["margin"] <= LARGEST,
        ),
        _run.goal("formats refused without a reason, or taken with one", "none", silent, not silent),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="20 minutes of tuning, 300 rows")
    args = parser.parse_args()
    from freehold.project import Project
    from freehold.shrink import shrink
    from freehold.shrink.command import show

    world = World(logs.snips(), SIZES[args.full])
    project = Project.create(_run.CACHE / f"project-{world.size.name}")
    start, used = time.perf_counter(), cpu()
    made = adapter(world, project)
    tuned, used = cpu() - used, cpu()
    served = shrink(world.task, made, project, rows=ROWS[args.full], whole=True, threads=1, tell=tell)
    table = json.loads((project.artifact_path(served.sha256) / "parity.json").read_bytes())
    cost = {"tune_cpu": tuned, "shrink_cpu": cpu() - used, "seconds": time.perf_counter() - start}
    show(project, served, table, sys.stderr)
    return _run.emit(
        "parity",
        full=args.full,
        n=table["rows"],
        goals=goals_of(table),
        result={"taken": table["taken"], "cost": {k: round(v, 1) for k, v in cost.items()}, "table": table},
        peers={},
        notes=[f"{world.size.minutes['snips']} CPU minutes of tuning on {len(world.sides[0].texts)} rows"],
        versions=_run.versions((*_run.CORE, "torch", "transformers", "peft", "xllamacpp", "gguf")),
    )


if __name__ == "__main__":
    sys.exit(main())
