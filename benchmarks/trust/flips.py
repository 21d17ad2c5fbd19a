"""G34: 1,000 single bits flipped in what a project holds: model, tokenizer, manifest, verdict, adapter, base.

    python benchmarks/trust/flips.py [--full] [--seed 34]

The project is that of benchmarks/student.py (a certified label student, its encoder and tokenizer), with a decoder
artefact beside it: an adapter and the base that it shares. A flip is made in one file, everything that a start reads is
read and checked, and the flip is taken back. The short form makes 150. Which file is drawn evenly, and the bit within.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import _run


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def made(folder: Path) -> Path:
    from student import project

    shutil.copytree(project(0.99), folder, ignore=shutil.ignore_patterns("ledger", "rungs.jsonl"))
    (folder / "ledger").mkdir()
    with_decoder(folder)
    return folder


def with_decoder(folder: Path) -> None:
    """An adapter on a base that is another artefact; what is in them is never run here."""
    from freehold.project import Project

    project = Project.open(folder)
    chance = random.Random(1)
    base = project.write_artifact(
        {"model.gguf": chance.randbytes(1 << 20)},
        kind="base",
        task="",
        base="b",
        licence="MIT",
        recipe={},
        data_sha256="",
    )
    files: dict[str, Any] = {"adapter.gguf": chance.randbytes(200_000), "decoder.json": b"{}", "checks.json": b"[]"}
    project.write_artifact(
        files,
        kind="decoder",
        task="written",
        base="b",
        licence="MIT",
        recipe={},
        data_sha256="",
        parents=(base.sha256,),
    )


def read_all(folder: Path) -> int:
    """What a start reads: the nouns, and every artefact's files against its manifest."""
    from freehold.nouns import Audit, Plan
    from freehold.project import Project

    project = Project.open(folder)
    for noun in (Audit, Plan):
        if project.has(noun):
            project.load(noun)
    project.verdicts()
    found = sorted(p.name for p in (folder / "artifacts").iterdir() if not p.name.startswith("."))
    for sha256 in found:
        project.check_base(project.read_artifact(sha256))
    return len(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="1,000 flips instead of 150")
    parser.add_argument("--seed", type=int, default=34)
    args = parser.parse_args()
    from freehold.errors import FreeholdError

    _run.CACHE.mkdir(exist_ok=True)
    found: Counter[str] = Counter()
    missed: list[tuple[str, int]] = []
    with tempfile.TemporaryDirectory(dir=_run.CACHE) as work:
        folder = made(Path(work) / "project")
        kept = [p for top in ("artifacts", "verdicts") for p in (folder / top).rglob("*") if p.is_file()]
        kept = sorted([*kept, folder / "audit.json", *folder.glob("plan.json")])
        artefacts = read_all(folder)
        chance = random.Random(args.seed)
        for _ in range(1000 if args.full else 150):
            path = chance.choice(kept)
            bit = chance.randrange(8 * path.stat().st_size)
            flip(path, bit)
            try:
                read_all(folder)
                missed.append((path.name, bit))
            except FreeholdError:
                found[path.name] += 1
            flip(path, bit)
        read_all(folder)
    n = sum(found.values()) + len(missed)
    goals = [_run.goal("single flipped bits found before use", f"{n} of {n}", f"{n - len(missed)} of {n}", not missed)]
    result = {
        "found": dict(found),
        "missed": missed[:20],
        "artefacts": artefacts,
        "files": len(kept),
        "seed": args.seed,
    }
    return _run.emit("trust/flips", full=args.full, n=n, goals=goals, case="G34", result=result)


if __name__ == "__main__":
    sys.exit(main())
