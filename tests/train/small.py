"""A training small enough for a test: text whose next id follows from the one before, a model of two layers of 32."""

from __future__ import annotations

import gc
import hashlib
import os
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from freehold.train.job import Training, write_job
from freehold.train.nouns import Corpus, Plan, Shape

VOCABULARY, CONTEXT = 64, 16


class Killed(Exception):
    """What a test throws into a training, at a step."""


def corpus(folder: Path, ids: int = 4000) -> Corpus:
    """Each id is followed by one of three."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    follow, found = rng.integers(0, VOCABULARY, (VOCABULARY, 3)), [1]
    while len(found) < ids:
        found.append(int(follow[found[-1], rng.integers(3)]))
    held = ids // 10
    np.save(folder / "train.npy", np.array(found[:-held], np.uint16))
    np.save(folder / "held_out.npy", np.array(found[-held:], np.uint16))
    return Corpus((), folder, VOCABULARY, 0, ids - held, held, 2 * held, "c" * 64)


def plan(steps: int = 12, *, moe: bool = False, rows: int = 4, **other: Any) -> Plan:
    shape = Shape(2, 32, 64, 4, 2, CONTEXT, VOCABULARY, *((4, 2) if moe else (0, 0)))
    usual: dict[str, Any] = {
        "rate": 1e-2, "warm": 2, "schedule": "cosine", "least": 0.1, "decay": 0.1, "betas": (0.9, 0.95), "clip": 1.0,
        "balance": 0.01, "dtype": "float32", "evals": 2, "seed": 0,
    }  # fmt: skip
    return Plan(shape, rows, steps, **usual | other)


def job(folder: Path, said: Plan | None = None, **other: Any) -> Path:
    """The folder of a training; its corpus lies beside it."""
    _settle()
    folder.mkdir(parents=True, exist_ok=True)
    written: Training = write_job(folder, said or plan(), corpus(folder.parent / "corpus"), **other)
    assert written.plan == (said or plan())
    return folder


@cache
def _settle() -> None:
    """accelerate collects garbage before every training: not all modules again and again."""
    import freehold.train.loop.trainer  # noqa: F401

    gc.collect()
    gc.freeze()


def killing(step: int, steps: int) -> Callable[..., None]:
    """A tell that throws after this step, before its checkpoint could be written."""

    def tell(what: str, done: float | None = None, /) -> None:
        if done is not None and round(done * steps) >= step:
            raise Killed

    return tell


def sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "result" / "model.safetensors").read_bytes()).hexdigest()


def ranks(count: int, work: Path, do: Callable[[], int | None]) -> list[int]:
    """What each of `count` processes ends with, which find each other as torchrun's do."""
    import torch

    meeting = work / "meeting"
    meeting.unlink(missing_ok=True)
    started = []
    for rank in range(count):
        if pid := os.fork():
            started.append(pid)
            continue
        code = 1
        try:
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "LOCAL_WORLD_SIZE": str(count)}
            torch.set_num_threads(1)
            torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
            code = do() or 0
        except BaseException:  # noqa: BLE001  a fork must never come back into the tests
            traceback.print_exc()
        finally:
            os._exit(code)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
