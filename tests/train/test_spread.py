"""Processes that share a training: each has its own card, and all begin at one step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.train.small import Killed, job, killing, plan, ranks

from freehold.errors import LaunchFailed
from freehold.train.loop import run
from freehold.train.loop.checkpoint import CHECKPOINT
from freehold.train.loop.spread import join, leave

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.mark.parametrize("parallel", ["ddp", "tp"])
def test_a_process_that_sees_another_checkpoint_ends_all(tmp_path: Path, parallel: Any) -> None:
    """As on a network disk that shows one of two machines what stood there a minute ago."""
    folder = job(tmp_path / "job", plan(6), every=0.0)
    with pytest.raises(Killed):
        run(folder, tell=killing(3, 6))
    stale = shutil.copytree(folder, tmp_path / "stale")
    (stale / CHECKPOINT).unlink()

    def one() -> None:
        seen, step = ((folder, 2), (stale, 0))[int(os.environ["RANK"])]
        with pytest.raises(LaunchFailed, match=f"finds the checkpoint after step {step}, and another a different one"):
            run(seen, parallel)

    assert ranks(2, tmp_path, one) == [0, 0]


def test_each_process_of_a_machine_takes_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a machine with two, before the processes meet: a stand-in for what torch says of cards and does with them."""
    done: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda at: done.append(at))
    met = torch.distributed.init_process_group

    def meet(backend: str) -> None:
        done.append(backend)
        met("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)

    monkeypatch.setattr(torch.distributed, "init_process_group", meet)
    for name, value in (("LOCAL_RANK", "1"), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, value)
    assert join() == (0, 1)
    assert done == [1, "nccl"]
    join()
    leave()
    assert done == [1, "nccl"], "where others have made them meet, the card is theirs to choose"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(LaunchFailed, match="Process 3 of this machine finds no card: there are 2"):
        join()
