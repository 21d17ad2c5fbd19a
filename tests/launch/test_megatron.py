"""What is written for Megatron-LM, read by its arguments' names, types and choices, and run where that can be done."""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
import types
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.launch.there import HERE, LLAMA, LLAMA_8B, MIXTRAL, job, ran, torchrun

from freehold.errors import BadSetting, TooLittleMemory
from freehold.launch.write import Where, files
from freehold.launch.write.megatron import arguments, degrees, parameters


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
    there = {"MEGATRON": "/opt/megatron", "MASTER": "10.0.0.7", "NODE_RANK": "1"}
    dense = megatron(ran(files("megatron", job(), where)["pretrain.sh"], tmp_path, **there))
    assert (dense.num_layers, dense.hidden_size, dense.ffn_hidden_size) == (32, 4096, 14336)
    assert (dense.num_attention_heads, dense.num_query_groups, dense.group_query_attention) == (32, 8, True)
    assert (dense.normalization, dense.swiglu, dense.disable_bias_linear) == ("RMSNorm", True, True)
    assert (dense.position_embedding_type, dense.untie_embeddings_and_output_weights) == ("rope", True)
    assert (dense.lr, dense.min_lr, dense.lr_warmup_iters, dense.train_iters) == (3e-4, 3e-5, 20, 1000)
    assert (dense.global_batch_size, dense.seq_length, dense.bf16) == (64, 8192, True)
    assert (dense.num_experts, dense.rotary_base, dense.norm_epsilon, dense.kv_channels) == (None, 10_000, 1e-5, 128)
    assert dense.sequence_parallel == (dense.tensor_model_parallel_size > 1)

    many = Where(machines=4, processes=8)
    script = files("megatron", job(MIXTRAL, dtype="float32"), many)["pretrain.sh"]
    mixed = megatron(ran(script, tmp_path, **there))
    assert (mixed.num_experts, mixed.moe_router_topk, mixed.bf16) == (8, 2, False)
    assert mixed.moe_aux_loss_coeff == pytest.approx(0.02 * 2 / 32)
    assert (mixed.expert_model_parallel_size, mixed.expert_tensor_parallel_size) == (8, 1)
    assert mixed.sequence_parallel == (mixed.tensor_model_parallel_size > 1)
    for name in there:
        with pytest.raises(ValueError, match=name):
            ran(script, tmp_path, **{other: value for other, value in there.items() if other != name})


def test_megatron_finds_its_machine_and_what_it_asks_of_the_environment(tmp_path: Path) -> None:
    script = files("megatron", job(), Where(machines=2, processes=8))["pretrain.sh"]
    words = ran(script, tmp_path, MEGATRON="/opt/megatron", MASTER="10.0.0.7", NODE_RANK="1")
    assert (torchrun(words).master_addr, torchrun(words).node_rank, torchrun(words).nnodes) == ("10.0.0.7", 1, "2")
    assert (tmp_path / "connections").read_text() == "1\n", "else layers that are shared are refused"
    alone = files("megatron", job(), Where(machines=1, processes=8))["pretrain.sh"]
    assert torchrun(ran(alone, tmp_path, MEGATRON="/opt/megatron")).master_addr == "127.0.0.1"


def said_of(model: dict[str, Any], **of_the_shape: Any) -> dict[str, Any]:
    on = job(LLAMA_8B | of_the_shape) | {"start": "../start", "model": LLAMA | model}
    return dict(arguments(on, Where(machines=2, processes=8)))


def test_a_base_keeps_what_its_shape_does_not_say() -> None:
    older = said_of({"rope_parameters": None, "rope_theta": 500_000.0, "rms_norm_eps": 1e-6, "head_dim": None})
    assert (older["rotary-base"], older["norm-epsilon"], "kv-channels" in older) == (500_000, 1e-6, False)
    assert (older["pretrained-checkpoint"], "use-rope-scaling" in older) == ("megatron/start", False)
    llama3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 8192}  # fmt: skip
    newer = said_of({"rope_parameters": llama3})
    assert (newer["rotary-base"], newer["use-rope-scaling"], newer["rope-scaling-factor"]) == (500_000, True, 8.0)


@given(vocabulary=st.integers(2, 300_000), spare=st.integers(0, 400), tensor=st.sampled_from([1, 2, 4, 8]))
def test_the_vocabulary_is_the_models_whatever_the_tokenizer_has(vocabulary: int, spare: int, tensor: int) -> None:
    """As Megatron pads: up to the next that its number of cards divides, and no further."""
    shape = LLAMA_8B | {"vocabulary": vocabulary}
    where = Where(machines=1, processes=tensor, memory=18.1 * parameters(shape) / 0.6 / tensor)
    how = degrees(shape, where)
    assert how.tensor == tensor
    divisor = dict(arguments(job(shape), where))["make-vocab-size-divisible-by"]
    of_the_tokenizer = max(vocabulary // 2 + 1, vocabulary - spare)
    padded = -(-of_the_tokenizer // (divisor * how.tensor)) * divisor * how.tensor
    assert vocabulary <= padded < vocabulary + how.tensor
    assert padded % how.tensor == 0


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"model_type": "qwen2"}, "its type qwen2"),
        ({"attention_bias": True}, "attention_bias: True"),
        ({"sliding_window": 4096}, "sliding_window: 4096"),
        ({"hidden_act": "gelu"}, "hidden_act: gelu"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, "rope_type: yarn"),
        ({"model_type": "mixtral"}, "experts, which Megatron Bridge can't read"),
    ],
)
def test_a_base_that_would_become_another_model_is_refused(model: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSetting, match=f"can't be trained on by Megatron-LM: {said}") as refused:
        said_of(model)
    assert "--write torchrun" in refused.value.hint


def test_the_way_back_says_what_the_bridge_has_to_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in of Megatron Bridge, of the signatures that 0.6.2 has: a checkpoint of Megatron-LM is loaded by
    load_megatron_model with its type alone (export_ckpt leaves the type out, and asserts that there is one)."""
    said: list[Any] = []

    class Bridge:
        def save_hf_pretrained(self, model: list[Any], path: str, strict: bool = True) -> None:
            assert os.getcwd() == str(tmp_path), "the checkpoint names the tokenizer as seen from here"
            said.append((model, strict))
            Path(path).mkdir()

    def load(checkpoint_path: str, model_type: str | None = None, use_cpu_init: bool = False) -> str:
        said.append((Path(checkpoint_path).relative_to(tmp_path).as_posix(), model_type, use_cpu_init))
        return "the model"

    bridge, loading = types.ModuleType("megatron.bridge"), types.ModuleType("megatron.bridge.training.model_load_save")
    found = {"from_hf_pretrained": lambda path: said.append(Path(path).name) or Bridge()}
    bridge.__dict__.update(AutoBridge=types.SimpleNamespace(**found))
    loading.__dict__.update(load_megatron_model=load, temporary_distributed_context=lambda backend: nullcontext())
    for module in (bridge, loading):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    (tmp_path / "corpus" / "tokenizer").mkdir(parents=True)
    (tmp_path / "corpus" / "tokenizer" / "tokenizer.json").write_text("{}")
    where = Where(machines=2, processes=8, licence="""own "it's" {ours}""")
    (tmp_path / "from_megatron.py").write_text(files("megatron", job(), where)["from_megatron.py"])
    monkeypatch.chdir(tmp_path.parent)
    runpy.run_path(str(tmp_path / "from_megatron.py"), run_name="__main__")
    assert said == ["start", ("megatron/checkpoint/iter_0001000", "gpt", True), (["the model"], True)]
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"tokenizer.json", "README.md"}
    assert (tmp_path / "model" / "README.md").read_text() == f"---\nlicense: {where.licence}\n---\n"


def test_experts_have_no_way_back_from_megatron_and_it_is_said() -> None:
    made = files("megatron", job(MIXTRAL), Where(machines=4, processes=8))
    assert "from_megatron.py" not in made
    assert "no way back" in made["README.md"]


def test_the_plan_is_what_megatron_is_told() -> None:
    """With numbers that are nobody's default."""
    plan = {
        "rate": 2e-3,
        "schedule": "linear",
        "least": 0.25,
        "decay": 0.3,
        "betas": [0.7, 0.8],
        "clip": 0.6,
        "seed": 4,
    }
    said = dict(arguments(job(**plan), Where(machines=2, processes=8)))
    names = ("lr", "min-lr", "lr-decay-style", "weight-decay", "adam-beta1", "adam-beta2", "clip-grad", "seed")
    assert [said[name] for name in names] == [2e-3, "0.0005", "linear", 0.3, 0.7, 0.8, 0.6, 5]
    assert (said["lr-decay-iters"], said["eval-interval"], said["save-interval"]) == (1000, 100, 100)
    paths = ("train-data-path", "valid-data-path", "tokenizer-model", "save", "load")
    kept = ["megatron/checkpoint"] * 2
    assert [said[name] for name in paths] == ["megatron/train", "megatron/held_out", "corpus/tokenizer", *kept]
    odd = degrees(LLAMA_8B | {"inner": 14_339, "context": 8190}, Where(machines=1, processes=8))
    assert odd.tensor == 1, "what can't be divided evenly is not"


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
