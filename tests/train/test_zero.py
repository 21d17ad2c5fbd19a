"""DeepSpeed's places: what one process learns, two and three learn, and go on from each other's checkpoint."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.train.small import Killed, job, killing, plan, ranks

from freehold.errors import BadSetting, MissingExtra
from freehold.train.job import read_job
from freehold.train.loop import run
from freehold.train.loop.checkpoint import read
from freehold.train.loop.place import open_place
from freehold.train.nouns import Trained

pytest.importorskip("deepspeed", reason="ZeRO: pip install 'freehold[launch]'")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings(  # what DeepSpeed calls of torch
    "ignore:.*`torch.distributed.*` is deprecated:FutureWarning",
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning",
)
SAME = 2e-6  # nats: what sums in another order may differ by
ROWS = 5  # of a step: not to be divided evenly


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Trained]:
    """Dense and with experts, in one process; and what its forks would each import."""
    import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401

    folder = tmp_path_factory.mktemp("alone")
    return {moe: run(job(folder / str(moe), plan(6, moe=moe, rows=ROWS))) for moe in (False, True)}


def until(folder: Path, parallel: Any, step: int) -> int:
    """Killed after this step of 6, in this process."""
    with pytest.raises(Killed):
        run(folder, parallel, killing(step, 6))
    return 0


@pytest.mark.parametrize(("parallel", "moe", "count"), [("zero1", False, 2), ("zero2", True, 2), ("zero3", True, 3)])
def test_one_process_and_several_learn_the_same(
    tmp_path: Path, alone: dict[bool, Trained], parallel: Any, moe: bool, count: int
) -> None:
    """Two steps in one process, two in several, two in one again, each from the other's checkpoint: as if in one."""
    folder, whole = job(tmp_path / "job", plan(6, moe=moe, rows=ROWS), every=0.0), alone[moe]
    until(folder, "none", 3)
    assert ranks(count, tmp_path, lambda: until(folder, parallel, 5))[0] == 0
    state = read(folder, read_job(folder).key)  # type: ignore[union-attr]
    assert state is not None
    assert state.about.step == 4
    found = run(folder)
    assert np.abs(np.array(whole.losses) - found.losses).max() < SAME
    for one, two in zip(whole.evals, found.evals, strict=True):
        assert one.loss == pytest.approx(two.loss, abs=SAME)


@pytest.mark.parametrize("parallel", ["zero2", "zero3"])
def test_a_whole_training_without_a_compiler(tmp_path: Path, alone: dict[bool, Trained], parallel: Any) -> None:
    """From the first weights to the folder that the first process writes; a step in pieces."""
    folder = job(tmp_path / "job", plan(6, rows=ROWS), at_once=16)

    def without() -> None:
        os.environ["PATH"] = str(tmp_path)
        run(folder, parallel)

    assert ranks(2, tmp_path, without) == [0, 0]
    found = run(folder)
    assert np.abs(np.array(alone[False].losses) - found.losses).max() < SAME
    on = run(job(tmp_path / "on", plan(2, start="f" * 64, rate=1e-3), start=folder / "result"))
    assert on.losses[0] < found.losses[0] - 0.1, "the result is a model that goes on"


def test_bfloat16_goes_on_from_the_float32_weights(tmp_path: Path) -> None:
    """DeepSpeed computes in bfloat16 weights; what Adam moves, and the checkpoint holds, is float32."""
    said = plan(6, dtype="bfloat16")
    one = run(job(tmp_path / "one", said))
    folder = job(tmp_path / "job", said, every=0.0)
    assert ranks(2, tmp_path, lambda: until(folder, "zero1", 4))[0] == 0
    state = read(folder, read_job(folder).key)  # type: ignore[union-attr]
    assert state is not None
    weights = state.tensors["model.model.layers.0.mlp.up_proj.weight"]
    assert not weights.equal(weights.bfloat16().float())
    found = run(folder)
    assert 0 < np.abs(np.array(one.losses) - found.losses).max() < 0.02


def test_without_deepspeed_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "deepspeed"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(MissingExtra, match="deepspeed") as found:
        open_place("zero2")
    assert "freehold[launch]" in found.value.hint
    with pytest.raises(BadSetting, match="zero4"):
        open_place("zero4")  # type: ignore[arg-type]
