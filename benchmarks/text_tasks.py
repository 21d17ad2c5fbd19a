"""Students that extract and write, on three logs: agreement on rows that nothing has seen, and the certified share.

    python benchmarks/text_tasks.py [--full] [--only snips|sql|calls]

    snips   utterance -> JSON      the tagger on all rows; the product's run (75 % fit, 25 % certify), p50 over HTTP
    sql     question  -> SQL       tuned decoder, shrunk, certified     right: the same result on the database
    calls   question  -> tools     tuned decoder, shrunk, certified     right: name and arguments, accepted values
                                   beside each: the untuned base with the nearest logged calls as examples

    log ─split→ fit ─tune, shrink→ student ─┐
          └ cal ───── one look ──────certify┴→ threshold      test ─→ agreement, share kept there, oracle

A student and the few-shot rival read the same fit side. Every part says its CPU seconds, children included. One row a
part goes to .benchmarks/text_tasks.jsonl; a run that was stopped goes on after the last one, and a row counts only for
the rows, the budget and the code that made it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _run

ENV = _run.one_thread()  # before numpy comes in

import logs  # noqa: E402
import numpy as np  # noqa: E402
from _text import BARS, WORK, Size, World, asked, certified, cpu, opened, over_http, paired  # noqa: E402
from kept_home import oracle  # noqa: E402

CERTIFIED = {0.90: 0.93, 0.95: 0.82, 0.98: 0.58}
ROWS = _run.CACHE / "text_tasks.jsonl"
CODE = ("tune", "engines", "shrink", "agree", "measure.py", "traffic")


SHORT = Size("short", 1_500, 1, {"snips": 1, "sql": 1, "calls": 1}, 24, 300)
FULL = Size("full", None, None, {"snips": 15, "sql": 20, "calls": 20}, 150, 2_000)


# the students


def project_of(name: str) -> Any:
    """A new project folder under .benchmarks."""
    from freehold.project import Project

    shutil.rmtree(WORK / name, ignore_errors=True)
    return Project.create(WORK / name)


def tagger(world: World) -> dict[str, Any]:
    """The tagger, fitted on every row of the log (no certificate), and asked the test."""
    from freehold.engines.extract.student import ExtractStudent
    from freehold.traffic import evidence, near_duplicates
    from freehold.tune.extract.fit import fit

    calls = evidence(world.task, world.traffic)
    texts = [world.task.text(call) for call in calls]
    start = cpu()
    fitted = fit(texts, [call.answer for call in calls], groups=near_duplicates(texts), minutes=world.size.tagger)
    fit_cpu = cpu() - start
    project = project_of(f"tagger-{world.size.name}")
    head = {"kind": "extract", "task": world.task.name, "base": "", "licence": "", "data_sha256": "0" * 64}
    artifact = project.write_artifact(fitted.files, recipe=fitted.recipe, **head)
    student = ExtractStudent.open(project.artifact_path(artifact.sha256))
    found = asked(student, world, world.test())
    oracles = {f"{bar:.2f}": round(oracle(np.array(found["scores"]), np.array(found["same"]), bar), 4) for bar in BARS}
    return found | {"fit_rows": len(texts), "fit_cpu": round(fit_cpu, 1), "oracle": oracles, "recipe": fitted.recipe}


def product(world: World) -> dict[str, Any]:
    """`freehold switch` on the log as a team runs it, the certificate at each bar, and `freehold serve` over HTTP."""
    from freehold.project import Project

    folder = WORK / f"switch-{world.size.name}"
    shutil.rmtree(folder, ignore_errors=True)
    argv = [sys.executable, "-m", "freehold", "switch", world.file, "--project", folder, "--bar", "0.9", "--json"]
    argv += ["--minutes", world.size.tagger] if world.size.tagger else []
    cost = _run.must(_run.child(argv, env=ENV), "freehold switch")
    project = Project.open(folder)
    (verdict,) = project.verdicts()
    if verdict.student is None:
        raise SystemExit(f"freehold switch gave no student: {verdict.reason}")
    artifact = project.read_artifact(verdict.student.sha256)
    _, cal = world.sides
    with opened(project, artifact) as student:
        held, test = asked(student, world, cal), asked(student, world, world.test())
    shares = certified(project, artifact, held, test)
    head = {"kind": artifact.kind, "switch_cpu": round(cost.cpu, 1), "peak_gib": round(cost.peak_gib, 2)}
    head |= {"decision": verdict.decision, "cal": len(cal), "bars": shares}
    return head | test | {"http": over_http(folder, world) if verdict.decision == "move" else None}


def decoder(world: World) -> dict[str, Any]:
    """The tuned decoder in its served form: tune on the fit side, shrink, certify, ask the test. Where the untuned base
    with examples answers the held-back rows better, tuning itself takes that (`mode` says so)."""
    from freehold.shrink import shrink
    from freehold.tune.decoder import tune_decoder

    project = project_of(f"decoder-{world.log.name}-{world.size.name}")
    rows, cal = world.sides
    start = cpu()
    artifact = tune_decoder(rows, world.task, project, base(), minutes=minutes(world), tell=tell)
    how = artifact.recipe
    tune_cpu, start = cpu() - start, cpu()
    if artifact.kind == "adapter":
        artifact = shrink(world.task, artifact, project, tell=tell)
    shrink_cpu, start = cpu() - start, cpu()
    most = world.size.written
    with opened(project, artifact) as student:
        held, test = asked(student, world, cal[:most]), asked(student, world, world.test(most))
    about = json.loads((project.artifact_path(artifact.sha256) / "decoder.json").read_bytes())
    seconds = {"tune_cpu": tune_cpu, "shrink_cpu": shrink_cpu, "ask_cpu": cpu() - start}
    head = {"minutes": minutes(world), "mode": about["mode"], "quant": about["quant"], "fit_rows": len(rows.texts)}
    head |= {name: round(v, 1) for name, v in seconds.items()} | {"cal": len(held["ok"])}
    head |= {"recipe": how, "bars": certified(project, artifact, held, test)}
    return head | test


def fewshot(world: World) -> dict[str, Any]:
    """The rival: the untuned base with the nearest calls of the same fit side as examples."""
    from freehold.tune.decoder.fewshot import fewshot as examples

    project = project_of(f"fewshot-{world.log.name}-{world.size.name}")
    rows, _ = world.sides
    artifact = examples(rows, world.task, project, base(), tell=tell)
    start = cpu()
    with opened(project, artifact) as student:
        found = asked(student, world, world.test(world.size.written))
    return found | {"ask_cpu": round(cpu() - start, 1), "fit_rows": len(rows.texts)}


def base() -> Any:
    """The default open base, brought where it is absent."""
    from freehold.engines import bases
    from freehold.errors import BaseUnusable

    try:
        return bases.find()
    except BaseUnusable:
        return bases.install()


def minutes(world: World) -> float:
    return world.size.minutes[world.log.name]


def tell(what: str, share: float | None = None) -> None:
    if not share:
        _run.say(f"  {what}")


# the run

PARTS: dict[str, dict[str, Callable[[World], dict[str, Any]]]] = {
    "snips": {"tagger": tagger, "product": product, "decoder": decoder, "fewshot": fewshot},
    "sql": {"decoder": decoder, "fewshot": fewshot},
    "calls": {"decoder": decoder, "fewshot": fewshot},
}
MAKE = {"snips": logs.snips, "sql": logs.geography, "calls": logs.calls}


def key_of(world: World) -> str:
    """What a part's row depends on: rows, budget, code."""
    code = [f for name in CODE for f in _sources(_run.ROOT / "src" / "freehold" / name)]
    return _run.fingerprint(world.file, json.dumps(world.log.test), repr(world.size), *code)[:16]


def _sources(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def rows_of(name: str, size: Size) -> dict[str, dict[str, Any]]:
    """The parts of one log, those that are missing made now."""
    world = World(MAKE[name](), size)
    key = key_of(world)
    there = {r["part"]: r for r in _run.read_rows(ROWS) if (r["log"], r["key"]) == (name, key)}
    for part, make in PARTS[name].items():
        if part not in there:
            _run.say(f"{name}: {part}")
            start, used = time.perf_counter(), cpu()
            found = make(world)
            row = {"log": name, "part": part, "key": key, "cpu": round(cpu() - used, 1)}
            row |= {"seconds": round(time.perf_counter() - start, 1), **found}
            row |= {"n": len(found["ok"]), "agreement": round(statistics.fmean(found["ok"]), 4)}
            there[part] = row | {"same_as_logged": round(statistics.fmean(found["same"]), 4)}
            _run.add_row(ROWS, there[part])
        _run.say(f"{name}: {part}: {shown(there[part])}")
    return there


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what is one a call."""
    return {k: v for k, v in row.items() if k not in ("same", "ok", "scores", "key", "log", "part", "recipe", "wrong")}


def goals_of(found: dict[str, dict[str, dict[str, Any]]], full: bool) -> list[dict[str, Any]]:
    goals: list[dict[str, Any]] = []

    def add(what: str, wanted: str, value: Any, met: bool) -> None:
        goals.append(_run.goal(what, wanted, value, met if full else None))

    if snips := found.get("snips"):
        tagged, run = snips["tagger"], snips["product"]
        add("SNIPS, exact on the 700", ">= 0.90", tagged["agreement"], tagged["agreement"] >= 0.90)
        add("SNIPS, CPU seconds of the fit", "<= 900", tagged["fit_cpu"], tagged["fit_cpu"] <= 900)
        for bar, wanted in CERTIFIED.items():
            share = run["bars"][f"{bar:.2f}"]["certified"]
            add(f"SNIPS, certified share at {bar:.2f}", f">= {wanted}", share, share >= wanted)
        p50 = run["http"] and run["http"]["p50_ms"]
        add("SNIPS, p50 over HTTP, ms", "<= 10", p50, p50 is not None and p50 <= 10)
    for name in ("sql", "calls"):
        if name in found:
            beside = paired(found[name]["decoder"]["ok"], found[name]["fewshot"]["ok"])
            add(f"{name}, agreement, student minus few-shot", "interval above 0", beside, beside["low"] > 0)
    return goals


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all rows and the stated budgets")
    parser.add_argument("--only", choices=tuple(PARTS), help="one log only")
    args = parser.parse_args()
    size = FULL if args.full else SHORT
    found = {name: rows_of(name, size) for name in PARTS if args.only in (None, name)}
    result = {name: {part: shown(row) for part, row in parts.items()} for name, parts in found.items()}
    beside = {n: paired(p["decoder"]["ok"], p["fewshot"]["ok"]) for n, p in found.items()}
    notes = [
        "answers are people's, standing in for a closed model's",
        f"decoders: {size.minutes} minutes of tuning",
        "11 rows of the SNIPS log whose utterance is in its test are left out",
        "paired: bootstrap over test rows (10,000, percentiles, 95 %), and McNemar's exact p",
    ]
    known = _run.versions((*_run.CORE, "torch", "transformers", "peft", "xllamacpp", "gguf", "sqlglot", "openai"))
    return _run.emit(
        "text_tasks",
        full=args.full,
        n=sum(row["n"] for parts in found.values() for row in parts.values()),
        goals=goals_of(found, args.full),
        result=result,
        peers={"few-shot on the untuned base, student minus it": beside},
        notes=notes,
        versions=known,
    )


if __name__ == "__main__":
    sys.exit(main())
