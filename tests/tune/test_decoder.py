"""Tuning a decoder, on a random Llama of two layers: the loss is right, a killed run goes on to the same bits."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tune import tiny
from tests.tune.tiny import CHAT, PAIRS, SYSTEM, examples, make_plan, messages, tuned, world

from freehold.engines import bases
from freehold.engines.decoder import DecoderStudent, Recipe
from freehold.errors import (
    ArtifactDamaged,
    BaseUnusable,
    NothingToLearn,
    SchemaUnmet,
    TooLittleMemory,
    TrainingFailed,
)
from freehold.tell import quiet
from freehold.tune.decoder import tune_decoder
from freehold.tune.decoder.checkpoint import NAME, Checkpoint, read, write
from freehold.tune.decoder.data import encode
from freehold.tune.decoder.fewshot import CHECKS, fewshot
from freehold.tune.decoder.model import adapter, attach, load, loss
from freehold.tune.decoder.plan import Plan
from freehold.tune.decoder.tokens import Tokens
from freehold.tune.decoder.train import held_out_loss, train
from freehold.tune.repeat import repeatable

torch = pytest.importorskip("torch")
pytest.importorskip("peft")


# rows as ids


def test_rows_become_ids_and_what_cannot_be_used_is_counted(folder: Path) -> None:
    tokens = Tokens.open(folder)
    texts, answers = ["play jazz", "book tea", "stop", "call 42 " * 80], ['{"a":1}', " ", '{"a":2}', '{"a":3}']
    found = encode(tokens, messages, texts, answers, context=200)
    assert found.kept == (0, 2)
    assert found.left_out == {"empty answer": 1, "longer than the context": 1}
    for row, i in zip(found.rows, found.kept, strict=True):
        assert [*found.prefix, *row.rest] == tokens.prompt(messages(texts[i]))
        assert row.answer == (*tokens.ids(answers[i]), tokens.end)
    assert tokens.words(found.prefix).startswith(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n")
    assert tokens.words([tokens.end]) == "<|im_end|>"
    assert found.longest == max(len(found.prefix) + row.length for row in found.rows)


# the loss


@pytest.mark.parametrize("prefix", [True, False], ids=["shared prefix", "whole rows"])
def test_the_loss_and_its_gradient_are_transformers_own(folder: Path, prefix: bool) -> None:
    """Padding, the shared prefix and logits at answers alone change nothing: one row at a time, labels -100."""
    tokens, found = examples(folder, 24)
    rows = [found.rows[i] for i in (0, 5, 9, 23)]
    if not prefix:
        rows = [type(r)((*found.prefix, *r.rest), r.answer) for r in rows]
    with repeatable(0):
        model = attach(load(folder, "float32"), rank=4, alpha=8, seed=0)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    p.normal_(0, 0.1)
        ours = loss(model, rows, found.prefix if prefix else (), tokens.pad)
        ours.backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
        model.zero_grad()
        total, count = 0.0, 0
        for row in rows:
            prompt = [*(found.prefix if prefix else ()), *row.rest]
            ids = torch.tensor([[*prompt, *row.answer]])
            labels = torch.tensor([[-100] * len(prompt) + [*row.answer]])
            total = total + model(input_ids=ids, labels=labels).loss * len(row.answer)
            count += len(row.answer)
        theirs: Any = total / count
        theirs.backward()
    assert abs(float(ours.detach()) - float(theirs.detach())) < 1e-5
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert torch.allclose(p.grad, gradients[name], atol=2e-5, rtol=1e-3), name


def test_every_linear_layer_learns_and_nothing_else(folder: Path) -> None:
    model = attach(load(folder, "float32"), rank=4, alpha=8, seed=0)
    names = {n.split(".layers.")[1].split(".", 1)[1].split(".lora")[0] for n in adapter(model)}
    attention = {f"self_attn.{x}_proj" for x in "qkvo"}
    assert names == attention | {f"mlp.{x}_proj" for x in ("gate", "up", "down")}
    assert len(adapter(model)) == 2 * 7 * 2
    assert all("lora" in n for n, p in model.named_parameters() if p.requires_grad)


@pytest.mark.parametrize(("kind", "bits"), [("float32", 16), ("bfloat16", 16), ("bfloat16", 4)])
def test_the_loss_falls_in_each_precision(folder: Path, tmp_path: Path, kind: str, bits: int) -> None:
    if bits == 4:
        pytest.importorskip("bitsandbytes")
    tokens, rows = examples(folder)
    plan = make_plan(15, rate=1e-2)
    with repeatable(0):
        model = attach(load(folder, kind, bits=bits), rank=8, alpha=16, seed=0)
        before = held_out_loss(model, rows, tokens.pad)
        done = train(model, rows, Checkpoint("", plan, 0, [], 0.0, {}), tmp_path, pad=tokens.pad, seed=0, tell=quiet)
        after = held_out_loss(model, rows, tokens.pad)
    assert after < 0.8 * before
    assert len(done.losses) == 15
    assert all(t.dtype == torch.float32 for t in done.tensors.values())
    four = [m for m in model.modules() if type(m).__name__ == "Linear4bit" and hasattr(m, "quant_state")]
    assert bool(four) == (bits == 4)
    assert all(m.weight.quant_state.nested and m.weight.quant_state.quant_type == "nf4" for m in four)


def test_a_step_in_pieces_is_the_step(folder: Path, tmp_path: Path) -> None:
    whole = tuned(folder, tmp_path, make_plan(3))
    (tmp_path / NAME).unlink()
    pieces = tuned(folder, tmp_path, dataclasses.replace(make_plan(3), piece=100))
    assert np.allclose(whole.losses, pieces.losses, atol=1e-4)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(folder: Path, tmp_path: Path) -> None:
    done = tuned(folder, tmp_path, make_plan(4))
    assert np.isfinite(done.losses).all()
    state = read(tmp_path, "key")
    assert state is not None
    name = next(n for n in state.tensors if n.startswith("adapter."))
    state.tensors[name][0, 0] = float("nan")
    bad = Checkpoint("key", state.plan, 2, state.losses[:2], 1.0, state.tensors)
    write(tmp_path, bad)
    held = (tmp_path / NAME).read_bytes()
    with pytest.raises(TrainingFailed, match=r"step 3 of 4 is nan, at the rate 0\.00\d+; .*is kept in") as raised:
        tuned(folder, tmp_path, make_plan(4))
    assert raised.value.exit_code == 35
    assert (tmp_path / NAME).read_bytes() == held


# killed


RUN = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("tiny", sys.argv[1])
world = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world)
print("ready", flush=True)
world.tuned(Path(sys.argv[2]), Path(sys.argv[3]), world.make_plan(int(sys.argv[4])), every=0.02)
"""


def test_killed_twice_it_ends_with_the_same_bits(folder: Path, tmp_path: Path) -> None:
    steps, rng = 150, np.random.default_rng()
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = tuned(folder, tmp_path / "whole", make_plan(steps))
    at = 0
    for delay in rng.uniform(0.0, 0.25, 2):
        argv = [sys.executable, "-c", RUN, tiny.__file__, folder, tmp_path / "killed", str(steps)]
        process = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, env=os.environ)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 120
        while (_step(tmp_path / "killed") or 0) <= at and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was still running"
        process.stdout.close()
        found = _step(tmp_path / "killed")
        assert found is not None
        assert at < found < steps
        at = found
    again = tuned(folder, tmp_path / "killed", make_plan(steps))
    assert again.losses == whole.losses
    assert again.tensors.keys() == whole.tensors.keys()
    for name, tensor in whole.tensors.items():
        assert tensor.numpy().tobytes() == again.tensors[name].numpy().tobytes(), name


def _step(work: Path) -> int | None:
    state = read(work, "key")
    return None if state is None else state.step


def test_a_checkpoint_is_of_one_run_and_whole(folder: Path, tmp_path: Path) -> None:
    tuned(folder, tmp_path, make_plan(2))
    assert read(tmp_path, "another") is None
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ArtifactDamaged, match="can't be read"):
        read(tmp_path, "key")


# from rows to artefact


def test_from_rows_to_an_adapter(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    rows, task, project = world(tmp_path)
    said: list[str] = []
    use = [i for i in range(len(PAIRS)) if i % 10]
    made = tune_decoder(
        rows, task, project, bases.find(folder), minutes=0.05, use=use, tell=lambda what, done=None: said.append(what)
    )
    assert made.kind == "adapter"
    assert (made.task, made.licence, made.data_sha256) == ("orders", "MIT", rows.sha256)
    home = project.artifact_path(made.sha256)
    assert set(made.files) == {"adapter.safetensors", "adapter_config.json", "decoder.json", "own.json"}
    base = project.read_artifact(made.parents[0])
    assert (base.kind, base.recipe["sha256"], set(base.files)) == ("base", bases.find(folder).sha256, {"model.gguf"})
    own = json.loads((home / "own.json").read_bytes())
    assert 5 <= len(own["texts"]) <= 12
    assert not set(own["texts"]) & {rows.texts[i] for i in range(0, len(PAIRS), 10)}
    recipe = Recipe.read(home)
    assert (recipe.mode, recipe.prompt.system) == ("adapter", SYSTEM)
    assert recipe.max_tokens <= recipe.context <= 512
    how = made.recipe
    assert how["loss"]["held_out"] < how["loss"]["first"]
    assert how["lora"]["alpha"] == 2 * how["lora"]["rank"]
    assert how["compared"]["wins"] == "tuned"
    assert how["compared"]["rows"] >= min(CHECKS, len(own["texts"]))
    assert how["prompts_compared"] == 50
    assert len(how["plan"]["why"]) == 5
    assert any("CPU min left" in what for what in said)
    assert not list((project.path / "work").iterdir()), "whoever finishes removes it"
    assert tune_decoder(rows, task, project, bases.find(folder), minutes=0.05, use=use) == made


def test_peft_reads_the_adapter_as_it_lies(folder: Path, tmp_path: Path) -> None:
    """adapter.safetensors and adapter_config.json are PEFT's own, under another name."""
    import warnings

    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from freehold.tune.decoder.model import adapter_config

    done = tuned(folder, tmp_path, make_plan(2))
    from safetensors.torch import save_file

    save_file(done.tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_bytes(adapter_config("tiny", 4, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), tmp_path)
    theirs = adapter(model)
    assert theirs.keys() == done.tensors.keys()
    assert all(torch.equal(theirs[n], t) for n, t in done.tensors.items())


def test_few_shot_alone_is_a_student_that_gives_its_checks_again(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    rows, task, project = world(tmp_path)
    made = fewshot(rows, task, project, bases.find(folder), k=2)
    assert made.kind == "decoder"
    checks = json.loads((project.artifact_path(made.sha256) / "checks.json").read_bytes())
    assert len(checks) == CHECKS
    with DecoderStudent.open(project.artifact_path(made.sha256), made) as student:
        answers = student.answers([row["text"] for row in checks[:3]])
    assert [(a.text, a.score) for a in answers] == [(row["label"], row["score"]) for row in checks[:3]]
    assert fewshot(rows, task, project, bases.find(folder), k=2) == made


def test_too_few_rows_say_so(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    rows, task, project = world(tmp_path, 14)
    with pytest.raises(NothingToLearn, match="rows to learn from"):
        tune_decoder(rows, task, project, bases.find(folder), minutes=0.05)


def test_a_template_that_the_server_lacks_a_role_for_is_refused(folder: Path) -> None:
    tokens = Tokens.open(folder)
    refusing = Tokens.open(folder)
    refusing._tokenizer.chat_template = "{{ raise_exception('only user and assistant') }}"
    with pytest.raises(BaseUnusable, match="only user and assistant"):
        refusing.prompt(messages("hi"))
    assert tokens.prompt(messages("hi"))


def with_template(folder: Path, where: Path, template: str) -> bases.Base:
    shutil.copytree(folder, where)
    (where / "chat_template.jinja").write_text(template)
    return bases.find(where)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (
            "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}",
            "No system role",
        ),
        ("{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}", "today's date into every prompt"),
        ("{{ messages[0]['content'] + 1 }}", "does not take these messages"),
    ],
    ids=["no system role", "date", "type error"],
)
def test_a_template_that_does_not_fit_is_told_and_nothing_is_left(
    folder: Path, tmp_path: Path, before: str, said: str
) -> None:
    rows, task, project = world(tmp_path)
    with pytest.raises(BaseUnusable, match=said):
        tune_decoder(rows, task, project, with_template(folder, tmp_path / "other", before + CHAT), minutes=0.02)
    assert not list((project.path / "work").iterdir())


def test_a_schema_that_no_answer_satisfies_is_told_before_the_training(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    rows, task, project = world(tmp_path)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    task = dataclasses.replace(task, params={"response_format": [form]})
    said: list[str] = []
    with pytest.raises(SchemaUnmet):
        tune_decoder(rows, task, project, bases.find(folder), minutes=5, tell=lambda what, done=None: said.append(what))
    assert not any(what.startswith("train:") for what in said)


def test_a_base_that_cannot_fit_is_refused_before_it_is_converted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, task, project = world(tmp_path)
    read = Path.read_text
    small = "MemTotal: 2000 kB\nMemAvailable: 1000 kB\n"
    monkeypatch.setattr(Path, "read_text", lambda p, *a, **k: small if str(p) == "/proc/meminfo" else read(p, *a, **k))
    with pytest.raises(TooLittleMemory, match=r"needs about 0\.[45] GiB .* and 0\.0 GiB are free"):
        tune_decoder(rows, task, project, bases.find(folder), minutes=0.02)
    assert not list(project.artifacts())
    assert not list((project.path / "work").iterdir())


def test_the_real_base_learns_in_a_few_steps(smollm2: Path, tmp_path: Path) -> None:
    from freehold.engines.gguf.folder import hf_folder

    where = hf_folder(smollm2, tmp_path / "hf")
    tokens, rows = examples(where, 40)
    plan = Plan("bfloat16", 16, 8, 16, 2e-3, 4, 16, 1, 4, ())
    with repeatable(0):
        model = attach(load(where, "bfloat16", longest=rows.longest), rank=8, alpha=16, seed=0)
        done = train(model, rows, Checkpoint("", plan, 0, [], 0.0, {}), tmp_path, pad=tokens.pad, seed=0, tell=quiet)
    assert done.losses[-1] < 0.8 * done.losses[0]
