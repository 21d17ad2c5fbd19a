"""G33: a training is killed at random moments, runs out of memory, is asked to stop; it ends with the same bits.

    python benchmarks/trust/resume.py [--full] [--seed 33]

Dense and experts (freehold train) and LoRA (freehold tune), on one thread and on two. Each is trained once without a
kill; then again and again from nothing: killed (kill -9) at two random steps, each up to 20 ms after the step was told,
and run to its end. --full has 10 such rounds of each (120 kills), the short form 2. Then one round each with SIGTERM
and one with no memory left. What counts is sha256 of the weights (of the adapter), and the list of losses.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import _run

STEPS = 45  # of LoRA they are three times all rows
KINDS = ("dense", "moe", "lora")
ENDS = ("kill -9", "SIGTERM", "no memory")
NO_MEMORY = 99


def tune_tests() -> Any:
    """The tiny base and its rows, as the tests of tune have them."""
    path = _run.ROOT / "tests" / "tune" / "test_decoder.py"
    spec = importlib.util.spec_from_file_location("decoder_tests", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Case:
    """One kind on so many threads: `learn(folder, every, tell)` trains or goes on; its result's name and losses."""

    def __init__(self, kind: str, threads: int, place: Path, tests: Any) -> None:
        self.kind, self.threads, self.place, self.tests = kind, threads, place, tests

    def learn(self, folder: Path, every: float, tell: Callable[..., None]) -> str:
        return self._tuned(folder, every, tell) if self.kind == "lora" else self._trained(folder, every, tell)

    def _trained(self, folder: Path, every: float, tell: Callable[..., None]) -> str:
        from tests.train.small import job, plan, sha256

        from freehold.train.loop import run

        said = plan(STEPS, moe=self.kind == "moe", rows=16)
        wide = dataclasses.replace(said.shape, width=128, inner=256, context=64)  # enough for two threads to share
        done = run(job(folder, dataclasses.replace(said, shape=wide), threads=self.threads, every=every), tell=tell)
        return f"{sha256(folder)} {digest(repr((done.losses, done.evals)).encode())}"

    def _tuned(self, folder: Path, every: float, tell: Callable[..., None]) -> str:
        from safetensors.torch import save

        from freehold.tune.decoder.checkpoint import Checkpoint, read
        from freehold.tune.decoder.model import attach, load
        from freehold.tune.decoder.train import train
        from freehold.tune.repeat import repeatable

        folder.mkdir(exist_ok=True)
        plan = self.tests.make_plan(STEPS)
        tokens, rows = self.tests.examples(self.place / "base")
        with repeatable(0, self.threads):
            model = attach(load(self.place / "base", plan.dtype), rank=plan.rank, alpha=plan.alpha, seed=0)
            state = read(folder, "key") or Checkpoint("key", plan, 0, [], 0.0, {})
            done = train(model, rows, state, folder, pad=tokens.pad, seed=0, tell=tell, every=every)
        return (
            f"{hashlib.sha256(save(done.tensors)).hexdigest()} {hashlib.sha256(repr(done.losses).encode()).hexdigest()}"
        )


def attempt(case: Case, folder: Path, every: float, at: int | None, how: str, wait: float) -> tuple[int, str]:
    """A process that trains, ended after step `at` (None: never). Its exit code, and its result's name."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        code = 1
        try:
            code = alone(case, folder, every, at if how == "no memory" else None, writing)
        finally:
            os._exit(code)
    os.close(writing)
    name = ""
    with os.fdopen(reading, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("="):
                name = line[1:].strip()
            elif at is not None and how != "no memory" and int(line) >= at:
                time.sleep(wait)
                os.kill(pid, signal.SIGKILL if how == "kill -9" else signal.SIGTERM)
                at = None
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), name


def alone(case: Case, folder: Path, every: float, full_at: int | None, out: int) -> int:
    """What the process does: say each step, and the result's name."""
    import torch

    from freehold.errors import TooLittleMemory

    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def tell(what: str, done: float | None = None, /) -> None:
        if done is None or not what.startswith("train: "):
            return
        step = round(done * STEPS)
        os.write(out, f"{step}\n".encode())
        if step == full_at:
            torch.empty(1 << 50)  # torch's own error where memory ends

    try:
        os.write(out, f"={case.learn(folder, every, tell)}\n".encode())
    except TooLittleMemory:
        return NO_MEMORY
    except RuntimeError as error:
        return NO_MEMORY if "allocate memory" in str(error) else 1
    return 0


def rounds(case: Case, place: Path, how: str, count: int, chance: random.Random, expected: str) -> dict[str, Any]:
    """`count` trainings, each ended twice; how many came to the same bits."""
    same, ended, steps = 0, 0, []
    for number in range(count):
        folder = place / f"{case.kind}-{case.threads}-{how[-4:]}-{number}".replace(" ", "")
        every = (0.0, 0.1)[number % 2]
        for at in sorted(chance.sample(range(1, STEPS - 1), 2)):
            code, _ = attempt(case, folder, every, at, how, chance.uniform(0, 0.02) if how == "kill -9" else 0.0)
            ended += code in (-signal.SIGKILL, -signal.SIGTERM, NO_MEMORY)
            steps.append(at)
        code, name = attempt(case, folder, every, None, how, 0.0)
        same += code == 0 and name == expected
    return {
        "kind": case.kind, "threads": case.threads, "ended_by": how, "rounds": count, "ended": ended, "at": steps,
        "same_bits": same,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="10 rounds of each kind and number of threads, not 2")
    parser.add_argument("--seed", type=int, default=33)
    args = parser.parse_args()
    import transformers.trainer  # noqa: F401  before any fork, so that a process starts in no time

    import freehold.train.loop.learn
    import freehold.train.loop.trainer
    import freehold.train.loop.watch
    import freehold.tune.decoder.train  # noqa: F401

    chance, tests, table = random.Random(args.seed), tune_tests(), []
    with tempfile.TemporaryDirectory() as work:
        place = Path(work)
        tests.save_base(place / "base")
        for kind in KINDS:
            for threads in (1, 2):
                case = Case(kind, threads, place, tests)
                code, expected = attempt(case, place / f"{kind}-{threads}", 1e6, None, "", 0.0)
                assert code == 0, f"{kind} on {threads} threads ended with {code}"
                for how in ENDS:
                    count = (10 if args.full else 2) if how == "kill -9" else 1
                    table.append(rounds(case, place, how, count, chance, expected))
                    _run.say(f"{kind:5} {threads} threads, {how:9}: {table[-1]['same_bits']} of {count} the same bits")
    n, same = sum(row["rounds"] for row in table), sum(row["same_bits"] for row in table)
    ended = sum(row["ended"] for row in table)
    goals = [
        _run.goal("trainings ended twice that end with the same bits", f"{n} of {n}", f"{same} of {n}", same == n),
        _run.goal(
            "ends that met a training still at work", f"{2 * n} of {2 * n}", f"{ended} of {2 * n}", ended == 2 * n
        ),
    ]
    result = {"table": table, "steps": STEPS, "seed": args.seed}
    return _run.emit("trust/resume", full=args.full, n=n, goals=goals, case="G33", result=result)


if __name__ == "__main__":
    sys.exit(main())
