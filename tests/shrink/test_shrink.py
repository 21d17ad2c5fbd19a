"""From an adapter to what is served: the smallest format that keeps its budget, proved hop by hop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from freehold.engines import bases
from freehold.engines.gguf.read import check
from freehold.engines.gguf.weights import open_weights
from freehold.engines.label import check as recheck
from freehold.engines.label import read_checks
from freehold.engines.open import closing, open_student
from freehold.errors import AdapterMismatch, BadSetting, HopRefused, MissingExtra, StudentUnusable, TooLittleMemory
from freehold.shrink import room, shrink
from freehold.shrink.hops import Hops
from freehold.shrink.source import Source


def table(tuned: Any, artifact: Any) -> dict[str, Any]:
    path = tuned.project.artifact_path(artifact.sha256) / "parity.json"
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])


def test_every_hop_is_measured_and_the_smallest_that_passes_is_served(tuned: Callable[..., Any]) -> None:
    t = tuned()
    made = shrink(t.task, t.artifact, t.project, whole=True, threads=1)
    said = table(t, made)
    assert made.kind == "decoder"
    assert made.parents == (t.artifact.sha256,)
    assert set(made.files) == {
        "model.gguf", "decoder.json", "parity.json", "Modelfile", "prior.safetensors", "checks.json"
    }  # fmt: skip
    assert said["merge"]["largest_logit_difference"] <= 1e-3
    assert said["float32"]["largest_logit_difference"] <= 1e-3
    assert said["float32"]["positions"] >= 1000
    assert said["float32"]["same_ids"] == said["served"]["same_ids"] == 2 * said["rows"]
    lines = {line["format"]: line for line in said["formats"]}
    assert list(lines) == ["F32", "Q4_K_M", "Q8_0", "BF16"]
    assert lines["F32"]["kl"]["value"] < 1e-6
    assert 0 < lines["BF16"]["kl"]["value"] < lines["Q8_0"]["kl"]["value"] < lines["Q4_K_M"]["kl"]["value"]
    first = next(name for name in ("Q4_K_M", "Q8_0", "BF16") if lines[name]["passed"])
    assert said["taken"] == first
    assert made.recipe["shrink"] == {"format": first, "form": "merged"}
    guess = said["speculation"]
    assert guess["n"] + 8 <= 24
    assert guess["same"] == guess["n"]  # the same answers, whatever was guessed
    assert guess["scored"] < guess["n"] or guess["acceptance"]["n"] == 0  # and not the scores, as of this llama.cpp
    assert len(guess["tried"]) == 3
    assert min(guess[name]["value"] for name in ("with", "without", "ratio")) > 0
    recipe = msgspec.json.decode((t.project.artifact_path(made.sha256) / "decoder.json").read_bytes())
    assert (recipe["speculation"], guess["on"]) == (None, False)
    for line in lines.values():
        assert line["passed"] == (line["why"] == "")
        assert line["agreement"]["n"] == line["equal"]["n"] == said["rows"]
        assert line["kl"]["low"] <= line["kl"]["value"] <= line["kl"]["high"]
    assert t.project.tuned()["orders"] == made.sha256
    assert not list((t.project.path / "work").glob("shrink-*"))
    folder = t.project.artifact_path(made.sha256)
    with closing(open_student(folder, t.project.read_artifact(made.sha256))) as student:
        assert recheck(student, read_checks(folder)) <= 1e-3
    from safetensors.numpy import load

    prior = load((folder / "prior.safetensors").read_bytes())
    assert prior["score"].shape == prior["ok"].shape == (36,)
    assert prior["ok"].mean() == pytest.approx(said["served"]["agreement"]["value"])
    assert prior["ok"].mean() > 0.6


def test_an_adapter_beside_a_shared_base(tuned: Callable[..., Any]) -> None:
    t = tuned()
    made = shrink(t.task, t.artifact, t.project, form="adapter", formats=("BF16", "F32"), threads=1, speculation=False)
    base, adapter = made.parents
    assert adapter == t.artifact.sha256
    assert t.project.read_artifact(base).kind == "base"
    folder = t.project.artifact_path(made.sha256)
    assert f"FROM ../{base}/model.gguf\nADAPTER ./adapter.gguf\n" in (folder / "Modelfile").read_text()
    with closing(open_student(folder, made)) as student:
        assert recheck(student, read_checks(folder)) <= 1e-3
    again = shrink(t.task, t.artifact, t.project, form="adapter", formats=("F32",), threads=1, speculation=False)
    assert again.parents[0] != base


def test_a_format_that_loses_is_refused_and_the_next_taken(
    tuned: Callable[..., Any], taught: Path, tmp_path: Path
) -> None:
    """A model with weights far outside the rest of their row: blocks of 4 bits lose what is small beside them."""
    from shutil import copytree

    import torch
    from transformers import AutoModelForCausalLM

    folder = copytree(taught, tmp_path / "outliers")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():  # the same function: what one side is made larger by, the other is made smaller by
        for layer in model.model.layers:
            layer.mlp.up_proj.weight[::16] *= 400
            layer.mlp.down_proj.weight[:, ::16] /= 400
            layer.input_layernorm.weight[::9] /= 300
            for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
                part.weight[:, ::9] *= 300
    model.save_pretrained(folder)
    t = tuned(folder=folder)
    with pytest.raises(HopRefused) as refused:
        shrink(t.task, t.artifact, t.project, formats=("Q4_K_M",), threads=1, speculation=False)
    assert refused.value.exit_code == 36
    assert "No format of orders keeps its budget: Q4_K_M: " in refused.value.message
    assert "became" in refused.value.message
    assert len(refused.value.message) < 1000
    assert t.project.tuned()["orders"] == t.artifact.sha256
    made = shrink(t.task, t.artifact, t.project, threads=1, speculation=False)
    said = table(t, made)
    lines = {line["format"]: line for line in said["formats"]}
    assert not lines["Q4_K_M"]["passed"]
    assert said["taken"] in ("Q8_0", "BF16")
    assert lines[said["taken"]]["passed"]


def test_stopped_in_the_middle_it_goes_on(tuned: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    t = tuned()
    stop = {"at": "measure BF16"}

    def tell(what: str, done: float | None = None, /) -> None:
        if what == stop["at"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shrink(t.task, t.artifact, t.project, formats=("BF16",), threads=1, speculation=False, tell=tell)
    (work,) = (t.project.path / "work").glob("shrink-*")
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("*.gguf")}
    assert set(before) == {"F32.gguf", "BF16.gguf"}
    data = bytearray((work / "BF16.gguf").read_bytes())
    data[-9] ^= 8
    (work / "BF16.gguf").write_bytes(data)  # half-done work that was damaged since is not trusted
    known = (work / "reference.json").read_bytes()
    said: list[str] = []
    made = shrink(
        t.task,
        t.artifact,
        t.project,
        formats=("BF16",),
        threads=1,
        speculation=False,
        tell=lambda what, done=None: said.append(what),
    )
    assert "write F32" not in said
    assert "read along in float32" not in said
    assert "write BF16" in said
    work.mkdir(exist_ok=True)
    (work / "reference.json").write_bytes(known)  # of a file that is not there
    whole = shrink(t.task, t.artifact, t.project, formats=("BF16",), threads=1, speculation=False)
    assert whole.files["model.gguf"] == made.files["model.gguf"]
    assert whole.sha256 == made.sha256


def test_a_base_that_is_a_gguf(tuned: Callable[..., Any], taught: Path, tmp_path: Path) -> None:
    """Its own keys are kept, torch reads it from a folder made of it, and a shipped file is tried as it is."""
    from freehold.engines.gguf.write import write

    write(open_weights(taught), tmp_path / "shipped.gguf", "Q8_0")
    t = tuned(base=tmp_path / "shipped.gguf")
    made = shrink(t.task, t.artifact, t.project, form="adapter", formats=("BF16",), threads=1, speculation=False)
    said = table(t, made)
    assert [line["format"] for line in said["formats"]][:2] == ["F32", "Q8_0"]
    model = t.project.artifact_path(made.parents[0]) / "model.gguf"
    if said["taken"] == "Q8_0":
        assert model.read_bytes() == (tmp_path / "shipped.gguf").read_bytes()
    assert (
        check(model).keys["tokenizer.chat_template"] == check(tmp_path / "shipped.gguf").keys["tokenizer.chat_template"]
    )


def test_what_can_not_be_shrunk_is_told(tuned: Callable[..., Any], tiny: Callable[..., Path]) -> None:
    t = tuned(sha256="f" * 64)
    with pytest.raises(AdapterMismatch, match="tuned on the base ffffffffffff"):
        shrink(t.task, t.artifact, t.project)
    t = tuned()
    other_base = bases.find(tiny(kind="llama", hidden=96, tied=False))
    with pytest.raises(AdapterMismatch, match="tuned on the base"):
        shrink(t.task, t.artifact, t.project, base=other_base)
    with pytest.raises(BadSetting, match="--formats names"):
        shrink(t.task, t.artifact, t.project, formats=("Q2_K",))
    other = t.project.write_artifact(
        {"x.json": b"{}"}, kind="label", task="orders", base="", licence="", recipe={}, data_sha256=""
    )
    with pytest.raises(StudentUnusable, match="only an adapter is shrunk"):
        shrink(t.task, other, t.project)
    t = tuned(rows=4)
    with pytest.raises(HopRefused, match="Only 4 held-back rows fit"):
        shrink(t.task, t.artifact, t.project, formats=("BF16",))


@pytest.mark.parametrize("lost", ["xllamacpp", "gguf"])
def test_an_absent_package_is_told_before_anything_is_measured(
    tuned: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    from freehold.engines.gguf.ggml import library

    t = tuned()
    monkeypatch.setitem(sys.modules, lost, None)
    library.cache_clear()
    said: list[str] = []
    with pytest.raises(MissingExtra, match=rf"package {lost}.*freehold\[text\]"):
        shrink(t.task, t.artifact, t.project, threads=1, tell=lambda what, done=None: said.append(what))
    assert "read along in float32" not in said
    assert t.project.tuned()["orders"] == t.artifact.sha256


def test_too_little_room_is_told_before_the_start(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = open_weights(taught)
    need, files = room.memory(weights, 160), room.disk(weights, ("BF16",), 160, fold=True)
    parameters = sum(int(np.prod(sides)) for sides in weights.sides.values())
    assert need["weights"] == pytest.approx(1.3 * 4 * parameters, rel=0.01)
    assert files > 4 * parameters * 2 + 2 * parameters
    with pytest.raises(TooLittleMemory, match=r"Measuring against the float32 model needs about"):
        room.check(weights, ("BF16",), 10**9, tmp_path, fold=False)
    monkeypatch.setattr(room, "POSITIONS", 10**12)
    with pytest.raises(TooLittleMemory, match=r"GB of disk, and .* has"):
        room.check(weights, ("BF16",), 160, tmp_path, fold=False)


def test_other_ids_are_refused_with_the_place(tuned: Callable[..., Any], taught: Path, tmp_path: Path) -> None:
    """Qwen2's tokenizers compose accents first, llama.cpp does not: a text where that matters stops the hop."""
    from shutil import copytree

    folder = copytree(taught, tmp_path / "composed")
    said = msgspec.json.decode((folder / "tokenizer.json").read_bytes(), type=dict[str, Any])
    (folder / "tokenizer.json").write_bytes(msgspec.json.encode(said | {"normalizer": {"type": "Lowercase"}}))
    t = tuned(folder=folder)
    with pytest.raises(HopRefused, match=r"GGUF reads other ids than the tuning did, from the \d+th on"):
        shrink(t.task, t.artifact, t.project, formats=("BF16",), threads=1, speculation=False)


def test_sources_and_hops_say_what_they_are(tuned: Callable[..., Any]) -> None:
    t = tuned()
    source = Source.open(t.artifact, t.project)
    hops = Hops(source, t.project, "merged", lambda a, b: a == b, 10, 1, lambda what, done=None: None)
    assert hops.recipe("Q8_0").mode == "merged"
    assert hops.recipe("Q8_0").quant == "Q8_0"
    assert source.lora.scale == 2.0
    assert np.isfinite(source.weights.tensor("output_norm.weight")).all()
