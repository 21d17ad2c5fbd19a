"""What is written for other machines, read as the tools there read it: their parsers, their schema, their shell."""

from __future__ import annotations

import ast
import inspect
import json
import re
import runpy
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.launch.there import HERE, job, ran, torchrun

from freehold.errors import BadSetting
from freehold.launch.write import TARGETS, Where, files, write
from freehold.launch.write.where import named

# torchrun


def test_torchrun_reads_the_script(tmp_path: Path) -> None:
    script = files("torchrun", job(), Where(machines=4, processes=8, parallel="zero2"))["run.sh"]
    said = torchrun(ran(script, tmp_path, MASTER="10.0.0.7"))
    assert (said.nnodes, said.nproc_per_node, said.rdzv_backend) == ("4", "8", "c10d")
    assert (said.rdzv_endpoint, said.rdzv_id) == ("10.0.0.7:29500", named(job()))
    assert (said.module, said.training_script) == (True, "freehold.train.worker")
    assert said.training_script_args == ["job", "--parallel", "zero2"]
    assert (said.max_restarts, (tmp_path / "where").read_text()) == (3, f"{tmp_path}\n"), "wherever it is called from"
    assert torchrun(ran(script, tmp_path, MASTER="a", PORT="1234")).rdzv_endpoint == "a:1234"
    with pytest.raises(ValueError, match="the address of one of the machines"):
        ran(script, tmp_path)
    alone = files("torchrun", job(), Where(machines=1, processes=8))["run.sh"]
    assert torchrun(ran(alone, tmp_path)).rdzv_endpoint == "127.0.0.1:29500"


def test_another_training_has_another_name() -> None:
    """What goes on under a name, in a bucket or on a cluster, is never another one's."""
    names = {named(said) for said in (job(), job(), job(steps=9), job(seed=1), job() | {"start": "../start"})}
    assert len(names) == 4
    assert all(re.fullmatch("freehold-[0-9a-f]{12}", name) for name in names)


# SkyPilot


@pytest.mark.parametrize("machines", [1, 2])
def test_skypilot_reads_the_task(tmp_path: Path, machines: int) -> None:
    yaml, jsonschema = pytest.importorskip("yaml"), pytest.importorskip("jsonschema")
    made = files("skypilot", job(), Where(machines=machines, processes=8, parallel="fsdp"))
    task = yaml.safe_load(made["task.yaml"])
    jsonschema.validate(task, json.loads((HERE / "skypilot.json").read_text())["task"])
    assert (task["num_nodes"], task["resources"]["accelerators"]) == (machines, "H100:8")
    assert ("workdir" in task, "file_mounts" in task) == (machines == 1, machines > 1), "one checkpoint for all"
    assert f"pip install 'freehold[tune]=={version('freehold')}'" in task["setup"]
    if machines > 1:
        bucket = {"name": named(job()), "source": "./job", "mode": "MOUNT"}
        copied = {f"~/freehold/{name}": f"./{name}" for name in ("run.sh", "corpus", "start")}
        on = yaml.safe_load(files("skypilot", job() | {"start": "../start"}, Where(machines=2))["task.yaml"])
        assert on["file_mounts"] | {"~/freehold/job": bucket} == copied | {"~/freehold/job": bucket}
        assert task["file_mounts"] == {name: where for name, where in copied.items() if "start" not in name} | {
            "~/freehold/job": bucket
        }
        assert task["run"].splitlines()[0] == "cd ~/freehold"
    last = task["run"].splitlines()[-1]
    assert last == 'MASTER=$(echo "$SKYPILOT_NODE_IPS" | head -n 1) sh run.sh'
    words = ran(last.replace("sh run.sh", f"sh {tmp_path}/of-the-node.sh"), _beside(tmp_path, made["run.sh"]),
                SKYPILOT_NODE_IPS="10.0.0.1\n10.0.0.2")  # fmt: skip
    assert torchrun(words).rdzv_endpoint == ("10.0.0.1:29500" if machines > 1 else "127.0.0.1:29500")


def _beside(folder: Path, script: str) -> Path:
    (folder / "of-the-node.sh").write_text(script)
    return folder


# Ray Train


def test_ray_train_calls_the_loop_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a stand-in of Ray's trainer, made of its own classes, and of the loop, of its own signature."""
    train, torch = pytest.importorskip("ray.train"), pytest.importorskip("ray.train.torch")
    from freehold.train import loop

    asked: list[Any] = []

    class Trainer:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.said = takes.bind(self, *args, **kwargs).arguments
            asked.append(self.said)

        def fit(self) -> None:
            self.said["train_loop_per_worker"](self.said["train_loop_config"])

    def run(*args: Any, **kwargs: Any) -> None:
        bound = inspect.signature(true_run).bind(*args, **kwargs).arguments
        asked.append((bound["folder"], bound["parallel"]))
        for words in ("loss 2", "loss 2", "loss 1"):
            bound["tell"](words, 0.5)

    true_run, takes = loop.run, inspect.signature(torch.TorchTrainer.__init__)
    monkeypatch.setattr(torch, "TorchTrainer", Trainer)
    monkeypatch.setattr(loop, "run", run)
    (tmp_path / "train.py").write_text(
        files("ray", job(), Where(machines=2, processes=8, parallel="zero3"))["train.py"]
    )
    for line, cards in (["train.py"], True), (["train.py", "--cpu"], False):
        monkeypatch.setattr(sys, "argv", line)
        runpy.run_path(str(tmp_path / "train.py"), run_name="__main__")
        said, ran_with = asked[-2:]
        assert said["scaling_config"] == train.ScalingConfig(num_workers=16, use_gpu=cards)
        assert said["run_config"].failure_config.max_failures == 3
        assert said["run_config"].storage_path == str(tmp_path / "ray"), "every machine sees it"
        assert ran_with == (tmp_path / "job", "zero3")
    assert capsys.readouterr().out == "loss 2\nloss 1\n" * 2, "each step is told, and not each printed"


# all


@pytest.mark.parametrize("target", TARGETS)
def test_all_of_it_is_there_and_python_is_python(tmp_path: Path, target: str) -> None:
    (tmp_path / "job").mkdir()
    said = job()
    (tmp_path / "job" / "start").mkdir()
    (tmp_path / "job" / "start" / "config.json").write_text(json.dumps(said.pop("model")))
    (tmp_path / "job" / "job.json").write_text(json.dumps(said))
    made = write(target, tmp_path, Where(machines=2, work="/home/a b/work/train-1"))
    assert {path.name for path in made} == {path.name for path in tmp_path.iterdir()} - {"job"}
    for path in made:
        text = path.read_text()
        assert not any(line.endswith(" ") for line in text.splitlines()), path
        if path.suffix == ".py":
            ast.parse(text)
    readme = (tmp_path / "README.md").read_text()
    assert "'/home/a b/work/train-1'/" in readme or target == "megatron"


def test_what_can_not_be_meant() -> None:
    with pytest.raises(BadSetting, match="0 machines"):
        Where(machines=0).checked()
    with pytest.raises(BadSetting, match="'none'"):
        Where(parallel="none").checked()
    assert Where(parallel="tp").checked().all == 8
