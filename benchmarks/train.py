"""A language model from scratch: beside nanoGPT's loop on the same characters, and dense beside experts on English.

    python benchmarks/train.py [--full] [--only characters|english] [--threads N]

characters   tinyshakespeare, 4 layers of 128, one thread: `freehold train --tokens 768k` and nanoGPT's published CPU
             settings (peers/nanogpt.py) take turns. Loss in nats a character over the whole last tenth, CPU seconds.
english      the permissive English of the shared data (books, tldr pages, the 18F handbook, MedQuAD), so many minutes
             each: a dense model, and 8 experts of which 2 are chosen, as wide and with as many active parameters. Bits
             a byte of held-out text; the difference is paired by seed, with Student's 95 % interval.

The short form: 1 seed, and a minute; --full: 3 seeds, and 10 minutes. Rows are kept in .benchmarks/train.jsonl.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import _run

PUBLISHED = 1.88  # nanoGPT's README, on a CPU
TOKENS = 768_000
T_95 = {2: 12.706, 3: 4.303}  # Student's, two-sided, by n
ENGLISH = (
    "text/se-devils-dictionary", "text/se-pepys", "text/se-sherlock", "text/se-wodehouse", "text/tldr-en",
    "documents/18f-handbook/pages", "documents/medquad",
)  # fmt: skip
ROWS = _run.CACHE / "train.jsonl"


def shared() -> Path:
    folder = Path(os.environ.get("FREEHOLD_SHARED", _run.ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        raise SystemExit(f"needs the shared data: {folder} is absent; set FREEHOLD_SHARED to what holds data/")
    return folder


def freehold(texts: list[Path], project: Path, *said: object) -> dict[str, Any]:
    """`freehold train` in a process of its own: its JSON, and what all of it cost."""
    cost = _run.child([sys.executable, "-m", "freehold", "train", *texts, "--project", project, "--json", *said])
    told: dict[str, Any] = json.loads(_run.must(cost, "freehold train").out)
    trained, size = told["trained"], told["size"]
    return {
        "loss": trained["evals"][-1]["loss"],
        "bits_per_byte": trained["evals"][-1]["bits_per_byte"],
        "cpu": cost.cpu,
        "cpu_learning": trained["cpu_seconds"],
        "seconds": trained["seconds"],
        "steps": trained["steps"],
        "tokens": trained["tokens"],
        "evals": [[e["step"], e["loss"]] for e in trained["evals"]],
        "parameters": size,
        "peak_gib": cost.peak_gib,
        "shape": told["plan"]["shape"],
    }


def reached(row: dict[str, Any]) -> float | None:
    """CPU seconds of learning until a look at held-out text was at the published loss, by its share of the steps."""
    step = next((step for step, loss in row["evals"] if loss <= PUBLISHED), None)
    return None if step is None else row["cpu_learning"] * step / row["steps"]


def characters(seeds: int, folder: Path) -> dict[str, Any]:
    text = folder / "input.txt"
    text.write_bytes(gzip.decompress((shared() / "text" / "tinyshakespeare" / "input.txt.gz").read_bytes()))
    ours, theirs = [], []
    for seed in range(seeds):
        said = ["--tokens", TOKENS, "--tokenizer", "characters", "--set", "layers=4", "--set", "width=128"]
        ours.append(freehold([text], folder / f"characters-{seed}", *said, "--threads", 1, "--seed", seed))
        peer = _run.child([sys.executable, _run.PEERS / "nanogpt.py", text, seed], env=_run.one_thread())
        theirs.append(json.loads(_run.must(peer, "nanoGPT's loop").out))
        for name, row in (("freehold", ours[-1]), ("nanoGPT", theirs[-1])):
            _run.add_row(ROWS, {"part": "characters", "side": name, "seed": seed, **row})
            _run.say(f"{name}: loss {row['loss']:.3f}, {row['cpu']:.0f} CPU seconds")
    return {"freehold": ours, "nanogpt": theirs, "reached": [reached(row) for row in ours]}


def english(seeds: int, minutes: float, threads: int, folder: Path) -> dict[str, Any]:
    texts = [shared() / name for name in ENGLISH]
    dense, moe = [], []
    for seed in range(seeds):
        said = ["--minutes", minutes, "--threads", threads, "--seed", seed]
        dense.append(freehold(texts, folder / f"dense-{seed}", *said))
        width = dense[-1]["shape"]["width"]
        moe.append(freehold(texts, folder / f"moe-{seed}", *said, "--moe", "--set", f"width={width}"))
        for name, row in (("dense", dense[-1]), ("experts", moe[-1])):
            _run.add_row(ROWS, {"part": "english", "side": name, "seed": seed, "minutes": minutes, **row})
            _run.say(f"{name}: {row['bits_per_byte']:.3f} bits a byte, {row['seconds'] / 60:.1f} minutes")
    return {"dense": dense, "experts": moe, "experts_minus_dense": difference(dense, moe)}


def difference(dense: list[dict[str, Any]], moe: list[dict[str, Any]]) -> dict[str, Any]:
    """In bits a byte, with its interval where there are two pairs or more."""
    gaps = [b["bits_per_byte"] - a["bits_per_byte"] for a, b in zip(dense, moe, strict=True)]
    mean = statistics.fmean(gaps)
    if len(gaps) not in T_95:
        return {"mean": mean, "n": len(gaps), "interval": None}
    half = T_95[len(gaps)] * statistics.stdev(gaps) / math.sqrt(len(gaps))
    return {"mean": mean, "n": len(gaps), "interval": [mean - half, mean + half]}


def goals(result: dict[str, Any]) -> list[dict[str, Any]]:
    if "characters" not in result:
        return []
    ours, theirs = result["characters"]["freehold"], result["characters"]["nanogpt"]
    loss = max(row["loss"] for row in ours)
    times = statistics.fmean(r["cpu"] for r in ours) / statistics.fmean(r["cpu"] for r in theirs)
    return [
        _run.goal("loss of characters, the worst seed", f"at most {PUBLISHED}", round(loss, 4), loss <= PUBLISHED),
        _run.goal("CPU seconds, the whole command over nanoGPT's loop", "at most 2", round(times, 3), times <= 2),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=["characters", "english"])
    parser.add_argument("--threads", type=int, default=1, help="for English (default 1)")
    args = parser.parse_args()
    seeds, minutes = (3, 10.0) if args.full else (1, 1.0)
    _run.one_thread()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        if args.only != "english":
            result["characters"] = characters(seeds, Path(place))
        if args.only != "characters":
            result["english"] = english(seeds, minutes, args.threads, Path(place))
    names = (*_run.CORE, "torch", "transformers", "accelerate")
    said = {"result": result, "peers": {"nanogpt": "peers/nanogpt.py"}, "versions": _run.versions(names)}
    return _run.emit("train", full=args.full, n=seeds, goals=goals(result), **said)


if __name__ == "__main__":
    sys.exit(main())
