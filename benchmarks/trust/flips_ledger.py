"""G34, the ledger's part: one bit of the ledger, its seals or a backup flips, and is found before anything is used.

    python benchmarks/trust/flips_ledger.py [--flips 200 | --full] [--seed 1]

Half of the flips are in the ledger's files and seals.log (`verify` must name a problem), half in a backup's files and
its manifest (`restore` must refuse it and leave nothing). One line of JSON goes to stdout; the exit code is 1 where one
passed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from freehold.errors import LedgerDamaged
from freehold.ledger import Entry, Ledger, backup, restore, verify
from freehold.nouns import Call
from freehold.project import Project
from freehold.project.gateway import LedgerSettings

FULL = 1000


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.chmod(0o600)
    path.write_bytes(data)


def passed(project: Project, src: Path, flips: int, seed: int) -> list[str]:
    """The flips that nobody found."""
    rng, unseen = random.Random(seed), []
    own = [*sorted((project.path / "ledger").glob("*.jsonl")), project.path / "ledger" / "seals.log"]
    copied = sorted(path for path in src.rglob("*") if path.is_file())
    for number in range(flips):
        path = rng.choice(copied if number % 2 else own)
        bit = rng.randrange(path.stat().st_size * 8)
        flip(path, bit)
        if number % 2:
            try:
                restore(src, src.parent / "again")
                unseen.append(f"{path.name}, bit {bit}")
            except LedgerDamaged:
                assert not (src.parent / "again").exists()
        elif not verify(project).problems:
            unseen.append(f"{path.name}, bit {bit}")
        flip(path, bit)
    return unseen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--full", action="store_true", help=f"{FULL} flips")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    flips = FULL if args.full else args.flips
    with tempfile.TemporaryDirectory() as name:
        project, src = Project.create(Path(name) / "p"), Path(name) / "backup"
        ledger = Ledger(project, LedgerSettings(rotate_mib=1), ballast=0)
        body = {"model": "m", "messages": [{"role": "user", "content": "move 50 to savings; " * 80}]}
        for _ in range(800):
            ledger.write(Entry(Call(()), body))
        ledger.close()
        backup(project, src)
        unseen = passed(project, src, flips, args.seed)
        sound = not verify(project).problems
    found = {"case": "G34 ledger", "flips": flips, "unseen": len(unseen), "which": unseen[:5], "sound_after": sound}
    print(json.dumps(found | {"seed": args.seed}))
    return int(bool(unseen) or not sound)


if __name__ == "__main__":
    sys.exit(main())
