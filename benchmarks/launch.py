"""Every way to launch a training beside one process: the curve of the loss, memory as predicted and as it was, seconds.

    python benchmarks/launch.py [--full] [--picture docs/launch.svg]

One job (ids of which each is followed by one of three), dense and with experts, in one process and in two through
torchrun by ddp, fsdp, tp, zero1, zero2, zero3. Distance: the largest |loss - the one process's| of any step, in nats.
Memory: the peak of each rank's process (VmHWM, from /proc), beside what fit says of the launch. What the program takes
is measured here: the peak of one process that trains a model of 10,000 parameters. Seconds a step: the clock, with the
one look at held-out text, over the steps; predicted from the speed of the one process, and of a gloo all-reduce here.

The short form: 12 steps, 0.5 million parameters dense, 1.1 with experts. --full: 10 steps of 4 and 10 million, and for
memory 4 steps of 12 and 33 million. Runs are kept in .benchmarks/launch.jsonl and not done twice.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import _run

WAYS = ("none", "ddp", "fsdp", "tp", "zero1", "zero2", "zero3")
SPREAD = WAYS[1:]
SAME = 1e-5  # nats
WITHIN = 0.15  # of the measured peak
MIB = 1 << 20
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
PACKAGES = ("torch", "transformers", "accelerate", "deepspeed")
ROWS = _run.CACHE / "launch.jsonl"
USED, LEARN, HELD_OUT = 512, 36_000, 4_001  # ids that occur; ids to learn from, and held out


class Size(NamedTuple):
    """`dense`, `experts`: layers, width, inner, vocabulary of each."""

    name: str
    dense: tuple[int, int, int, int]
    experts: tuple[int, int, int, int]
    context: int
    rows: int
    steps: int


TINY = Size("tiny", (1, 16, 16, 512), (1, 16, 16, 512), 32, 4, 3)
SHORT = (Size("short", (2, 128, 256, 1024), (2, 128, 128, 1024), 64, 4, 12),)
FULL = (
    Size("small", (4, 256, 704, 2048), (4, 256, 352, 2048), 128, 4, 10),
    Size("large", (6, 384, 1024, 4096), (6, 384, 512, 4096), 256, 4, 4),
)


def plan(size: Size, kind: str) -> Any:
    from freehold.train.nouns import Plan, Shape

    layers, width, inner, vocabulary = size.experts if kind == "experts" else size.dense
    heads = max(2, width // 64)
    experts = (8, 2) if kind == "experts" else (0, 0)
    shape = Shape(layers, width, inner, heads, heads, size.context, vocabulary, *experts)
    return Plan(shape, rows=size.rows, steps=size.steps, rate=1e-3, warm=2, schedule="cosine", least=0.1, decay=0.1,
                betas=(0.9, 0.95), clip=1.0, balance=0.01, dtype="float32", evals=1, seed=0)  # fmt: skip


def corpus(folder: Path, vocabulary: int) -> Any:
    import numpy as np

    from freehold.train.nouns import Corpus

    rng = np.random.default_rng(0)
    follow, ids = rng.integers(0, USED, (USED, 3)), [1]
    for draw in rng.integers(0, 3, LEARN + HELD_OUT - 1).tolist():
        ids.append(int(follow[ids[-1], draw]))
    if not folder.is_dir():
        folder.mkdir(parents=True)
        np.save(folder / "train.npy", np.array(ids[:LEARN], np.uint16))
        np.save(folder / "held_out.npy", np.array(ids[LEARN:], np.uint16))
    return Corpus((), folder, vocabulary, 0, LEARN, HELD_OUT, 2 * HELD_OUT, "b" * 64)


# what is measured


class Peaks(threading.Thread):
    """The largest VmHWM of each rank that works on a folder, until it is told to stop."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.found, self.over = str(folder), dict[int, int](), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            for path in Path("/proc").glob("[0-9]*"):
                self._look(path)

    def _look(self, path: Path) -> None:
        try:
            words = (path / "cmdline").read_bytes().decode().split("\0")
            if self.folder not in words or "torch.distributed.run" in words:
                return
            said = dict(line.partition("=")[::2] for line in (path / "environ").read_bytes().decode().split("\0"))
            status = (path / "status").read_text()
        except (OSError, UnicodeDecodeError):
            return  # it has ended
        rank = int(said.get("RANK", "0"))
        peak = next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), 0)
        self.found[rank] = max(peak, self.found.get(rank, 0))


def trained(work: Path, size: Size, kind: str, way: str) -> dict[str, Any]:
    """In processes of their own, one too: losses, seconds a step, the peak of each rank."""
    import msgspec

    from freehold.launch import launch
    from freehold.launch.job import Job
    from freehold.train.job import write_job

    folder, said = work / f"{size.name}-{kind}-{way}", plan(size, kind)
    folder.mkdir(parents=True)
    write_job(folder, said, corpus(work / "corpus", said.shape.vocabulary))
    peaks, parallel = Peaks(folder), way
    peaks.start()
    if way == "none":
        _run.must(_run.child([sys.executable, "-m", "freehold.train.worker", folder]), "one process")
    else:
        launch(Job("freehold.train.worker", folder, lambda tell: None, way), parallel, processes=2)  # type: ignore[arg-type]
    peaks.over.set()
    peaks.join()
    told = msgspec.json.decode((folder / "result" / "training.json").read_bytes())
    return {"losses": told["losses"], "seconds": told["seconds"], "cpu_seconds": told["cpu_seconds"],
            "peaks": [peaks.found[rank] for rank in sorted(peaks.found)], "load": os.getloadavg()[0]}  # fmt: skip


def kept(work: Path, size: Size, kind: str, way: str) -> dict[str, Any]:
    """As it was measured before with these packages, or now."""
    import msgspec

    of = _run.versions(PACKAGES)
    key = _run.fingerprint(msgspec.json.encode([plan(size, kind), way, of]))
    for row in _run.read_rows(ROWS):
        if row["key"] == key:
            return row
    row = {"key": key, "size": size.name, "kind": kind, "way": way, **trained(work, size, kind, way)}
    _run.say(f"{size.name} {kind} {way}: {max(row['peaks']) / MIB:.0f} MiB, {row['seconds']:.0f} s")
    _run.add_row(ROWS, row)
    return row


def link() -> float:
    """Bytes/s that a process sends in an all-reduce over gloo, of two processes here."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = _run.must(_run.child([*run, Path(__file__).resolve(), "--link"]), "an all-reduce of two processes").out
    return float(said.split()[-1])


def reduced() -> int:
    """One process of `link`: two send as much as they sum (2 (n-1)/n)."""
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    numbers, took = torch.zeros(1 << 24), []
    for _ in range(5):
        start = time.perf_counter()
        dist.all_reduce(numbers)
        took.append(time.perf_counter() - start)
    if dist.get_rank() == 0:
        print(4 * numbers.numel() / min(took))
    dist.destroy_process_group()
    return 0


# beside what was predicted


def foretold(size: Size, kind: str, way: str, program: int, flops: float, sent: float) -> tuple[dict[str, int], float]:
    """(bytes of the process that holds the most, seconds of a step)."""
    from freehold.fit import Architecture, Devices, launches
    from freehold.train.job import ids_at_once
    from freehold.train.model import config_of

    said = plan(size, kind)
    a = Architecture.of(config_of(said.shape, 0).to_dict())
    options = launches(
        a, Devices(1 if way == "none" else 2, 0.0, flops, sent), ids=said.rows * size.context, context=size.context,
        at_once=ids_at_once(said.shape), held_out=HELD_OUT, cpu=True, program=program,
    )  # fmt: skip
    one = next(option for option in options if option.name == way)
    return one.need, one.seconds


def side(rows: dict[str, dict[str, Any]], size: Size, kind: str, program: int, sent: float) -> dict[str, Any]:
    from freehold.fit import Architecture, active
    from freehold.train.model import config_of

    said, alone = plan(size, kind), rows["none"]
    work = 6 * active(Architecture.of(config_of(said.shape, 0).to_dict())) * said.rows * size.context
    flops = work * size.steps / alone["seconds"]
    found = {}
    for way, row in rows.items():
        need, seconds = foretold(size, kind, way, program, flops, sent)
        found[way] = {
            "losses": row["losses"],
            "distance": max(abs(a - b) for a, b in zip(row["losses"], alone["losses"], strict=True)),
            "peaks": row["peaks"], "peak": max(row["peaks"]), "predicted": sum(need.values()), "need": need,
            "seconds": row["seconds"] / size.steps, "seconds_predicted": seconds,
            "cpu_seconds": row["cpu_seconds"] / size.steps, "load": row["load"],
        }  # fmt: skip
    return found


def table(sides: dict[str, Any]) -> Iterator[str]:
    yield "| | | distance, nats | MiB, predicted | measured, each rank | ratio | s a step, predicted | clock | CPU |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, rows in sides.items():
        for way, row in rows.items():
            each = " / ".join(f"{peak / MIB:,.0f}" for peak in row["peaks"])
            yield (
                f"| {name} | `{way}` | {'-' if way == 'none' else format(row['distance'], '.1e')} | "
                f"{row['predicted'] / MIB:,.0f} | {each} | {row['predicted'] / row['peak']:.2f} | "
                f"{row['seconds_predicted']:.2f} | {row['seconds']:.2f} | {row['cpu_seconds']:.2f} |"
            )


def picture(sides: dict[str, Any]) -> str:
    """Above, every curve on top of the others, each a little narrower, so that all are seen; below how far each is from
    that of one process, on a log axis (zero1 broad, since zero2 is the same)."""
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 440" font-family="sans-serif" font-size="12">',
           '<rect width="760" height="440" fill="#fff"/>']  # fmt: skip
    for left, (name, rows) in zip((60, 440), sides.items(), strict=True):
        losses = rows["none"]["losses"]
        low, high = math.floor(min(losses) * 2) / 2, math.ceil(max(losses) * 2) / 2
        xs = [left + 290 * i / (len(losses) - 1) for i in range(len(losses))]
        out.append(f'<text x="{left}" y="20" font-weight="bold">{name}: loss, nats a token</text>')
        out += [f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{value:.1f}</text>'
                f'<path d="M{left} {y}h290" stroke="#ddd"/>' for y, value in ((34, high), (170, low))]  # fmt: skip
        for place, (colour, way) in enumerate(zip(("#000", *COLOURS), WAYS, strict=True)):
            ys = [34 + 136 * (high - v) / (high - low) for v in rows[way]["losses"]]
            out.append(_line(xs, ys, colour, 14 - 2 * place))
        out.append(f'<text x="{left}" y="205" font-weight="bold">distance from one process, nats</text>')
        for power in range(-8, -4):
            y, zero = 222 + 150 * (-5 - power) / 3, "0, " if power == -8 else ""
            out.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{zero}1e{power}</text>'
                       f'<path d="M{left} {y}h290" stroke="#ddd"/>')  # fmt: skip
        for colour, way in zip(COLOURS, SPREAD, strict=True):
            apart = [max(1e-8, abs(a - b)) for a, b in zip(rows[way]["losses"], losses, strict=True)]
            out.append(
                _line(xs, [222 + 150 * (-5 - math.log10(d)) / 3 for d in apart], colour, 5 if way == "zero1" else 1.5)
            )
        out.append(f'<text x="{left + 290}" y="390" text-anchor="end">step {len(losses)}</text>')
    for i, (colour, way) in enumerate(zip(("#000", *COLOURS), ("one process", *SPREAD), strict=True)):
        x = 60 + (0 if i == 0 else 20 + 92 * i)
        out.append(f'<path d="M{x} 418h20" stroke="{colour}" stroke-width="3"/><text x="{x + 26}" y="422">{way}</text>')
    return "\n".join([*out, "</svg>", ""])


def _line(xs: list[float], ys: list[float], colour: str, width: float) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    parser.add_argument("--link", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ |= _run.one_thread()
    if args.link:
        return reduced()
    sizes = FULL if args.full else SHORT
    with tempfile.TemporaryDirectory() as made:
        work, sent = Path(made), link()
        program = max(kept(work, TINY, "dense", "none")["peaks"])
        sides = {}
        for size in sizes:
            for kind in ("dense", "experts"):
                rows = {way: kept(work, size, kind, way) for way in WAYS}
                sides[f"{kind}, {size.name}"] = side(rows, size, kind, program, sent)
    for line in table(sides):
        _run.say(line)
    if args.picture:
        names = [f"{kind}, {sizes[0].name}" for kind in ("dense", "experts")]
        args.picture.write_text(picture({name.partition(",")[0]: sides[name] for name in names}))
    every = [row for rows in sides.values() for row in rows.values()]
    far, ratios = max(row["distance"] for row in every), [row["predicted"] / row["peak"] for row in every]
    near = max(abs(ratio - 1) for ratio in ratios)
    goals = [
        _run.goal("the curve of every launch, from one process's", f"<= {SAME} nats", far, far <= SAME),
        _run.goal("memory predicted over measured, the farthest", f"within {WITHIN:.0%}",
                  [round(min(ratios), 3), round(max(ratios), 3)], near <= WITHIN if args.full else None),
    ]  # fmt: skip
    result = {"program": program, "link": sent, "sides": sides}
    return _run.emit("launch", full=args.full, n=len(every), goals=goals, result=result,
                     versions=_run.versions(("freehold", *PACKAGES)))  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
