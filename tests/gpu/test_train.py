"""freehold train on a CUDA card: 20 steps give the CPU's losses, and a training that was stopped goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.train.small import Killed, job, killing, plan

from freehold.train.job import RESULT, read_job
from freehold.train.loop import run
from freehold.train.loop.checkpoint import read
from freehold.train.nouns import Trained

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

STEPS = 20
NEAR = {"float32": 1e-3, "bfloat16": 0.05}  # nats of a step: sums in another order, and what rounding makes of it


def on_the_cpu(folder: Path) -> Trained:
    """In a process that sees no card."""
    argv = [sys.executable, "-m", "freehold.train.worker", str(folder)]
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    subprocess.run(argv, env=env, check=True, capture_output=True)
    return msgspec.json.decode((folder / RESULT / "training.json").read_bytes(), type=Trained)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("moe", [False, True], ids=["dense", "moe"])
def test_the_curve_is_the_cpus(tmp_path: Path, moe: bool, dtype: str) -> None:
    said = plan(STEPS, moe=moe, dtype=dtype)
    card, cpu = run(job(tmp_path / "card", said)), on_the_cpu(job(tmp_path / "cpu", said))
    assert len(card.losses) == len(cpu.losses) == STEPS
    assert np.abs(np.array(card.losses) - np.array(cpu.losses)).max() < NEAR[dtype]
    assert card.evals[-1].loss == pytest.approx(cpu.evals[-1].loss, abs=NEAR[dtype])
    assert np.mean(card.losses[-3:]) < np.mean(card.losses[:3])


def test_stopped_it_goes_on(tmp_path: Path) -> None:
    whole = run(job(tmp_path / "whole", plan(STEPS)))
    folder = job(tmp_path / "stopped", plan(STEPS), every=0.0)
    with pytest.raises(Killed):
        run(folder, tell=killing(11, STEPS))
    said = read_job(folder)
    assert said is not None
    half = read(folder, said.key)
    assert half is not None
    assert half.about.step == 10
    assert "rng.cuda" in half.tensors
    again = run(folder)
    assert again.losses[:10] == half.about.losses
    assert np.allclose(again.losses, whole.losses, atol=NEAR["float32"])


def test_what_the_card_wrote_goes_on_on_a_cpu(tmp_path: Path) -> None:
    folder = job(tmp_path / "stopped", plan(STEPS), every=0.0)
    with pytest.raises(Killed):
        run(folder, tell=killing(11, STEPS))
    on, whole = on_the_cpu(folder), on_the_cpu(job(tmp_path / "whole", plan(STEPS)))
    assert np.allclose(on.losses, whole.losses, atol=NEAR["float32"])


def test_one_process_takes_one_card(tmp_path: Path) -> None:
    """Also where there are several: Trainer would hand each of them a part of our batches."""
    from freehold.train.loop.alone import Alone
    from freehold.train.loop.trainer import arguments

    said = read_job(job(tmp_path / "job", plan(STEPS)))
    assert said is not None
    assert arguments(said, Alone(), str(tmp_path)).n_gpu == 1
