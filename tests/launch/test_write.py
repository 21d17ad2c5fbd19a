"""What is written for other machines, read as the tools there read it: their parsers, their schema, their shell."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import runpy
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import BadSetting, TooLittleMemory
from freehold.launch.write import TARGETS, Where, files, write
from freehold.launch.write.megatron import arguments, degrees, parameters

HERE = Path(__file__).parent
LLAMA_8B = {
    "layers": 32, "width": 4096, "inner": 14336, "heads": 32, "kv_heads": 8, "context": 8192, "vocabulary": 128_256,
    "experts": 0, "chosen": 0, "tied": False,
}  # fmt: skip
MIXTRAL = LLAMA_8B | {"vocabulary": 32_000, "experts": 8, "chosen": 2}


def job(shape: dict[str, Any] | None = None, **plan: Any) -> dict[str, Any]:
    usual = {
        "shape": shape or LLAMA_8B, "rows": 64, "steps": 1000, "rate": 3e-4, "warm": 20, "schedule": "cosine",
        "least": 0.1, "decay": 0.1, "betas": [0.9, 0.95], "clip": 1.0, "balance": 0.02, "dtype": "bfloat16",
        "evals": 10, "seed": 0,
    }  # fmt: skip
    corpus = {"folder": "../corpus", "vocabulary": 128_256, "end": 0, "held_out_tokens": 10**7, "sha256": "ab" * 32}
    return {"plan": usual | plan, "corpus": corpus, "start": ""}


def ran(text: str, folder: Path, **environment: str) -> list[str]:
    """What a shell script gives to `python`: a stand-in that writes down its words."""
    (folder / "run.sh").write_text(text)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nfor word in "$@"; do echo "$word"; done > {folder}/words\n')
    python.chmod(0o755)
    environment |= {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", folder / "run.sh"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return (folder / "words").read_text().splitlines()


def torchrun(words: list[str]) -> argparse.Namespace:
    run = pytest.importorskip("torch.distributed.run")
    assert words[:2] == ["-m", "torch.distributed.run"]
    said: argparse.Namespace = run.get_args_parser().parse_args(words[2:])
    return said


# torchrun


def test_torchrun_reads_the_script(tmp_path: Path) -> None:
    script = files("torchrun", job(), Where(machines=4, processes=8, parallel="zero2"))["run.sh"]
    said = torchrun(ran(script, tmp_path, MASTER="10.0.0.7"))
    assert (said.nnodes, said.nproc_per_node, said.rdzv_backend) == ("4", "8", "c10d")
    assert (said.rdzv_endpoint, said.rdzv_id) == ("10.0.0.7:29500", "freehold-abababab")
    assert (said.module, said.training_script) == (True, "freehold.train.worker")
    assert said.training_script_args == ["job", "--parallel", "zero2"]
    assert torchrun(ran(script, tmp_path, MASTER="a", PORT="1234")).rdzv_endpoint == "a:1234"
    with pytest.raises(ValueError, match="the address of one of the machines"):
        ran(script, tmp_path)


# SkyPilot


@pytest.mark.parametrize("machines", [1, 2])
def test_skypilot_reads_the_task(tmp_path: Path, machines: int) -> None:
    yaml, jsonschema = pytest.importorskip("yaml"), pytest.importorskip("jsonschema")
    made = files("skypilot", job(), Where(machines=machines, processes=8, parallel="fsdp"))
    task = yaml.safe_load(made["task.yaml"])
    jsonschema.validate(task, json.loads((HERE / "skypilot.json").read_text())["task"])
    assert (task["num_nodes"], task["resources"]["accelerators"]) == (machines, "H100:8")
    assert ("workdir" in task, "file_mounts" in task) == (machines == 1, machines > 1), "one checkpoint for all"
    last = task["run"].splitlines()[-1]
    assert last == 'MASTER=$(echo "$SKYPILOT_NODE_IPS" | head -n 1) sh run.sh'
    words = ran(last.replace("sh run.sh", f"sh {tmp_path}/of-the-node.sh"), _beside(tmp_path, made["run.sh"]),
                SKYPILOT_NODE_IPS="10.0.0.1\n10.0.0.2")  # fmt: skip
    assert torchrun(words).rdzv_endpoint == "10.0.0.1:29500"


def _beside(folder: Path, script: str) -> Path:
    (folder / "of-the-node.sh").write_text(script)
    return folder


# Ray Train


def test_ray_train_calls_the_loop_as_it_is() -> None:
    tree = ast.parse(files("ray", job(), Where(machines=2, processes=8, parallel="zero3"))["train.py"])
    calls = {ast.unparse(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    said = {key.arg: ast.unparse(key.value) for key in calls["ScalingConfig"].keywords}
    assert said == {"num_workers": "16", "use_gpu": "'--cpu' not in sys.argv"}
    settings = next(key.value for key in calls["TorchTrainer"].keywords if key.arg == "train_loop_config")
    assert "'parallel': 'zero3'" in ast.unparse(settings)
    pytest.importorskip("torch")
    from freehold.train.loop import run

    inspect.signature(run).bind(*calls["run"].args)


# Megatron-LM


def megatron(words: list[str]) -> argparse.Namespace:
    """Its parser, made of the names, types and choices of its source."""
    known = json.loads((HERE / "megatron.json").read_text())["arguments"]
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    types_of = {"int": int, "float": float, "str": str, "many": str}
    for name, kind in known.items():
        how: dict[str, Any] = {"action": "store_true"} if kind is None else {}
        if isinstance(kind, list):
            how = {"choices": kind}
        elif kind is not None:
            how = {"type": types_of[kind], "nargs": "*" if kind == "many" else None}
        parser.add_argument(f"--{name}", **how)
    said = torchrun(words)
    assert said.training_script == "/opt/megatron/pretrain_gpt.py"
    return parser.parse_args(said.training_script_args)


def test_megatron_reads_the_arguments(tmp_path: Path) -> None:
    where = Where(machines=2, processes=8, parallel="fsdp")
    dense = megatron(ran(files("megatron", job(), where)["pretrain.sh"], tmp_path, MEGATRON="/opt/megatron"))
    assert (dense.num_layers, dense.hidden_size, dense.ffn_hidden_size) == (32, 4096, 14336)
    assert (dense.num_attention_heads, dense.num_query_groups, dense.group_query_attention) == (32, 8, True)
    assert (dense.normalization, dense.swiglu, dense.disable_bias_linear) == ("RMSNorm", True, True)
    assert (dense.position_embedding_type, dense.untie_embeddings_and_output_weights) == ("rope", True)
    assert (dense.lr, dense.min_lr, dense.lr_warmup_iters, dense.train_iters) == (3e-4, 3e-5, 20, 1000)
    assert (dense.global_batch_size, dense.seq_length, dense.bf16) == (64, 8192, True)
    assert dense.num_experts is None
    assert dense.sequence_parallel == (dense.tensor_model_parallel_size > 1)

    many = Where(machines=4, processes=8)
    script = files("megatron", job(MIXTRAL, dtype="float32") | {"start": "../start"}, many)["pretrain.sh"]
    mixed = megatron(ran(script, tmp_path, MEGATRON="/opt/megatron"))
    assert (mixed.num_experts, mixed.moe_router_topk, mixed.bf16) == (8, 2, False)
    assert mixed.moe_aux_loss_coeff == pytest.approx(0.02 * 2 / 32)
    assert (mixed.expert_model_parallel_size, mixed.expert_tensor_parallel_size) == (8, 1)
    assert mixed.sequence_parallel == (mixed.tensor_model_parallel_size > 1)
    assert mixed.pretrained_checkpoint == "megatron/start"
    with pytest.raises(ValueError, match="the folder of Megatron-LM"):
        ran(script, tmp_path)


def test_rows_that_can_not_be_shared_are_refused_with_a_number_that_can() -> None:
    where = Where(machines=2, processes=8)
    found = degrees(LLAMA_8B, where)
    copies = where.all // (found.tensor * found.pipeline)
    with pytest.raises(BadSetting, match=f"30 rows, which {copies} copies") as refused:
        arguments(job(rows=30), where)
    more = int(refused.value.hint.partition("rows=")[2].rstrip("."))
    assert dict(arguments(job(rows=more), where))["global-batch-size"] == more == 32


def test_what_fits_on_no_card_is_refused_before_the_start() -> None:
    with pytest.raises(TooLittleMemory, match=r"46\.\d billion parameters take .* GB on each of 8 cards, and 48 GB"):
        degrees(MIXTRAL, Where(machines=1, processes=8))


def test_parameters_are_counted_as_published() -> None:
    assert parameters(LLAMA_8B) == pytest.approx(8.03e9, rel=0.002)  # Llama 3 8B
    assert parameters(MIXTRAL) == pytest.approx(46.7e9, rel=0.002)  # Mixtral 8x7B


@given(
    layers=st.integers(1, 80), kv=st.sampled_from([1, 2, 3, 8]), width=st.sampled_from([256, 4096, 8192]),
    experts=st.sampled_from([0, 4, 8, 60]), machines=st.integers(1, 9), processes=st.integers(1, 8),
    memory=st.sampled_from([8e9, 80e9, 1e12, 1e14]),
)  # fmt: skip
def test_degrees_divide_what_they_divide(
    layers: int, kv: int, width: int, experts: int, machines: int, processes: int, memory: float
) -> None:
    shape = LLAMA_8B | {"layers": layers, "kv_heads": kv, "width": width, "experts": experts, "chosen": 2}
    try:
        found = degrees(shape, Where(machines, processes, memory=memory))
    except TooLittleMemory:
        assert 18 * parameters(shape) > 0.6 * memory, "what fits on one card is never refused"
        return
    assert processes % found.tensor == kv % found.tensor == layers % found.pipeline == 0
    assert machines * processes % (found.tensor * found.pipeline) == 0
    assert machines * processes // found.pipeline % found.expert == 0
    assert experts % found.expert == 0
    small = degrees(shape, Where(machines, processes, memory=1e18))
    assert (small.tensor, small.pipeline) == (1, 1), "what fits is not divided"


def test_the_ids_go_to_megatron_document_by_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a stand-in of megatron.core's builder, of the signature that 0.16.1 has."""
    made: dict[str, list[Any]] = {}

    class Builder:
        def __init__(self, bin_path: str, dtype: Any) -> None:
            self.got = made.setdefault(Path(bin_path).stem, [dtype])

        def add_document(self, ids: Any, lengths: list[int]) -> None:
            assert lengths == [len(ids)]
            self.got.append(list(ids))

        def finalize(self, idx_path: str) -> None:
            assert Path(idx_path).suffix == ".idx"

    module = types.ModuleType("megatron.core.datasets.indexed_dataset")
    sort = types.SimpleNamespace(optimal_dtype=lambda vocabulary: np.int32 if vocabulary > 65_500 else np.uint16)
    module.__dict__.update(IndexedDatasetBuilder=Builder, DType=sort)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (tmp_path / "corpus").mkdir()
    np.save(tmp_path / "corpus" / "train.npy", np.array([0, 5, 6, 0, 7, 0, 0, 8], np.uint32))
    np.save(tmp_path / "corpus" / "held_out.npy", np.array([9, 9, 0, 4], np.uint32))
    (tmp_path / "to_megatron.py").write_text(files("megatron", job(), Where())["to_megatron.py"])
    runpy.run_path(str(tmp_path / "to_megatron.py"), run_name="__main__")
    assert made == {"train": [np.int32, [0, 5, 6], [0, 7], [0], [0, 8]], "held_out": [np.int32, [9, 9], [0, 4]]}
    assert "train: 8 ids" in capsys.readouterr().out


# all


@pytest.mark.parametrize("target", TARGETS)
def test_all_of_it_is_there_and_python_is_python(tmp_path: Path, target: str) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "job.json").write_text(json.dumps(job()))
    made = write(target, tmp_path, Where(machines=2, work="/home/a b/work/train-1"))
    assert {path.name for path in made} == {path.name for path in tmp_path.iterdir()} - {"job"}
    for path in made:
        text = path.read_text()
        assert not any(line.endswith(" ") for line in text.splitlines()), path
        if path.suffix == ".py":
            ast.parse(text)
    said = (tmp_path / "README.md").read_text()
    assert "'/home/a b/work/train-1'/" in said or target == "megatron"


def test_what_can_not_be_meant() -> None:
    with pytest.raises(BadSetting, match="0 machines"):
        Where(machines=0).checked()
    with pytest.raises(BadSetting, match="'none'"):
        Where(parallel="none").checked()
    assert Where(parallel="tp").checked().all == 8
