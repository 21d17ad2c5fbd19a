"""Merged models: mergekit's tensors against a few lines of their own, what is refused, and what a killed run leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.cli import main
from freehold.engines import bases
from freehold.errors import (
    BadSetting,
    BaseUnusable,
    LaunchFailed,
    LicenceConflict,
    MissingExtra,
    StorageFailed,
    TooLittleMemory,
)
from freehold.merge import Asked, merge
from freehold.merge.alike import check_alike
from freehold.merge.given import find
from freehold.merge.methods import choose
from freehold.merge.whole import config_of
from freehold.merge.worker import work
from freehold.project import Project

from .conftest import tensors

torch = pytest.importorskip("torch")
pytest.importorskip("mergekit")
Made = Callable[..., Path]


def by_mergekit(tmp_path: Path, models: list[Path], weights: tuple[float, ...] = (), **asked: Any) -> dict[str, Any]:
    """The tensors that the worker writes, in this process."""
    project = Project.create(tmp_path / "p")
    said = [f"{model}:{weight}" for model, weight in zip(models, weights, strict=True)] if weights else map(str, models)
    parts = find(list(said), project)
    how = choose(parts, Asked(**asked).checked())
    folder = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    (folder / "merge.yml").write_text(config_of([part.base for part in parts if part.base], how))
    work(folder, how.seed)
    return tensors(folder / "result")


def test_linear_is_the_mean_of_the_tensors(made: Made, tmp_path: Path) -> None:
    a, b = made(seed=1), made(seed=2)
    found = by_mergekit(tmp_path, [a, b], method="linear")
    one, two = tensors(a), tensors(b)
    assert found.keys() == one.keys()
    assert all(torch.allclose(found[name], (one[name] + two[name]) / 2, rtol=0, atol=1e-6) for name in one)
    found = by_mergekit(tmp_path, [a, b], (3.0, 1.0), method="linear")
    assert all(torch.allclose(found[n], 0.75 * one[n] + 0.25 * two[n], rtol=0, atol=1e-6) for n in one)


def test_slerp_goes_along_the_arc(made: Made, tmp_path: Path) -> None:
    a, b = made(seed=1), made(seed=2)
    found, one, two = by_mergekit(tmp_path, [a, b], (0.75, 0.25)), tensors(a), tensors(b)
    for name, tensor in found.items():
        x, y = one[name].double().flatten(), two[name].double().flatten()
        dot = (x @ y) / (x.norm() * y.norm())
        angle = torch.acos(dot.clamp(-1, 1))
        wanted = (torch.sin(0.75 * angle) * x + torch.sin(0.25 * angle) * y) / torch.sin(angle)
        if dot > 0.9995:
            wanted = 0.75 * x + 0.25 * y
        assert torch.allclose(tensor.double().flatten(), wanted, rtol=0, atol=1e-6), name


def test_ties_and_task_arithmetic_against_the_base(made: Made, tmp_path: Path) -> None:
    a, b, base = made(seed=1), made(seed=2), made(seed=0)
    one, two, zero = tensors(a), tensors(b), tensors(base)
    found = by_mergekit(tmp_path, [a, b], (1.0, -0.5), method="task_arithmetic", base=str(base))
    for name in one:
        wanted = zero[name] + (one[name] - zero[name]) - 0.5 * (two[name] - zero[name])
        assert torch.allclose(found[name], wanted, rtol=0, atol=1e-6), name
    found = by_mergekit(tmp_path, [a, b], base=str(base), density=0.5)
    for name in one:
        both = []
        for each in (one[name] - zero[name], two[name] - zero[name]):
            least = each.abs().flatten().sort(descending=True).values[each.numel() // 2 - 1]
            both.append(torch.where(each.abs() >= least, each, 0))
        sign = torch.where(both[0] + both[1] >= 0, 1, -1)
        agree = [each.sign() == sign for each in both]
        many = torch.stack(agree).sum(0).clamp(min=1)
        wanted = zero[name] + sum(each * mask for each, mask in zip(both, agree, strict=True)) / many
        assert torch.allclose(found[name], wanted, rtol=0, atol=1e-5), name


def test_dare_is_repeatable_by_its_seed(made: Made, tmp_path: Path) -> None:
    models, how = [made(seed=1), made(seed=2)], {"method": "dare_ties", "base": str(made(seed=0))}
    first, again, other = (by_mergekit(tmp_path, models, seed=seed, **how) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_experts_keep_their_names(made: Made, tmp_path: Path) -> None:
    """mergekit holds them as one tensor; what reads the folder afterwards, such as the writer of GGUF, does not."""
    from freehold.engines.gguf.weights import open_weights

    a, b = made(seed=1, experts=4), made(seed=2, experts=4)
    found, one, two = by_mergekit(tmp_path, [a, b], method="linear"), tensors(a), tensors(b)
    assert found.keys() == one.keys()
    assert any(".experts.3." in name for name in found)
    assert all(torch.allclose(found[name], (one[name] + two[name]) / 2, rtol=0, atol=1e-6) for name in one)
    (result,) = tmp_path.glob("work*/result")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (result / name).write_bytes((a / name).read_bytes())
    assert open_weights(result).sides == open_weights(a).sides


def test_the_command_makes_a_base(made: Made, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In a process of its own, as people run it; the model loads, and carries what both licences ask."""
    a, b = made(seed=1), made(seed=2, licence="apache-2.0")
    before = {path: path.read_bytes() for folder in (a, b) for path in folder.iterdir()}
    project = tmp_path / "p"
    args = ["merge", str(a), f"{b}:3", "--method", "linear", "--project", str(project)]
    assert main([*args, "--json"]) == 0
    out, err = capfd.readouterr()
    said = json.loads(out)
    assert "linear: 2 models" in err
    assert (said["kind"], said["licence"]) == ("model", "MIT AND Apache-2.0")
    assert [part["weight"] for part in said["recipe"]["merged"]["parts"]] == [0.25, 0.75]
    assert {path: path.read_bytes() for path in before} == before
    base = bases.find(project)  # as freehold tune --base takes it
    assert (base.form, base.licence) == ("hf", "MIT AND Apache-2.0")
    one, two, found = tensors(a), tensors(b), tensors(base.path)
    assert all(torch.allclose(found[n], 0.25 * one[n] + 0.75 * two[n], rtol=0, atol=1e-6) for n in one)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base.path, dtype="auto")
    assert model.dtype == torch.float32
    words = AutoTokenizer.from_pretrained(base.path)
    assert words.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False) == "user: a\n"
    readme = (base.path / "README.md").read_text()
    assert "Say that you changed it (Apache-2.0)." in readme
    assert json.loads((base.path / "merge.yml").read_text())["merge_method"] == "linear"
    assert list((project / "work").iterdir()) == []
    assert main(args) == 0  # the same again is the one that is there
    assert f"model {said['sha256'][:8]}" in capfd.readouterr().out
    assert len(list((project / "artifacts").iterdir())) == 1
    with (base.path / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    assert main([*args, "--json"]) == 0  # one that is damaged is made again
    again = json.loads(capfd.readouterr().out)
    assert again["files"]["model.safetensors"] == said["files"]["model.safetensors"]


def test_a_killed_run_leaves_nothing_half(made: Made, tmp_path: Path) -> None:
    project = tmp_path / "p"
    args = ["merge", str(made(seed=1)), str(made(seed=2)), "--project", str(project)]
    began = subprocess.Popen(
        [sys.executable, "-m", "freehold", *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 600  # it is there at once, unless the machine is full
    while not list(project.glob("work/merge-*/log.txt")) and time.monotonic() < until:
        assert began.poll() is None
        time.sleep(0.02)
    (child,) = children(began.pid)
    os.kill(began.pid, signal.SIGKILL)
    began.wait()
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}").exists()  # it ends with its parent
    assert list((project / "artifacts").iterdir()) == []
    assert (next(project.glob("work/merge-*")) / "merge.yml").is_file()


def children(pid: int) -> list[int]:
    return [int(said) for said in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_licences_that_exclude_each_other_are_refused_by_name(made: Made, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    llama, gemma = made(seed=1, licence="llama3"), made(seed=2, licence="gemma")
    with pytest.raises(LicenceConflict, match="Meta Llama 3 Community License Agreement and Gemma Terms of Use"):
        merge([str(llama), str(gemma)], project)
    share, gnu = made(seed=1, licence="cc-by-sa-4.0"), made(seed=2, licence="gpl-2.0")
    with pytest.raises(LicenceConflict, match=r"CC-BY-SA-4\.0 and GPL-2\.0-only"):
        merge([str(share), str(gnu)], project)
    unpaid = made(seed=2, licence="cc-by-nc-4.0")
    with pytest.raises(LicenceConflict, match=r"CC-BY-NC-4\.0 and commercial use"):
        merge([str(made(seed=1)), str(unpaid)], project, Asked(commercial=True))
    assert project.artifacts() == ()


def test_models_that_differ_are_refused_with_what_differs(made: Made, tmp_path: Path) -> None:
    a = bases.find(made(seed=1))
    wide, words = bases.find(made(seed=2, hidden=64)), bases.find(made(seed=2, words="ab ab ab"))
    check_alike([a, bases.find(made(seed=2))])
    with pytest.raises(BaseUnusable, match=rf"260 x 32 in {a.name} and 260 x 64 in {wide.name}"):
        check_alike([a, wide])
    with pytest.raises(BaseUnusable, match=r"The tokenizers of .* differ in their model"):
        check_alike([a, words])
    other = tmp_path / "other"
    other.mkdir()
    for path in a.path.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    said = json.loads((other / "config.json").read_bytes())
    (other / "config.json").write_text(json.dumps(said | {"architectures": ["MistralForCausalLM"]}))
    with pytest.raises(BaseUnusable, match=r"architectures is LlamaForCausalLM in .* and MistralForCausalLM in other"):
        check_alike([a, bases.find(other)])
    rope = said["rope_parameters"] | {"rope_theta": 5e5}
    (other / "config.json").write_text(json.dumps(said | {"rope_parameters": rope}))
    with pytest.raises(BaseUnusable, match=r"rope_theta is 10000\.0 in .* and 500000\.0 in other"):
        check_alike([a, bases.find(other)])
    torch.save({"a": torch.zeros(1)}, other / "pytorch_model.bin")
    (other / "model.safetensors").unlink()
    with pytest.raises(BaseUnusable, match="is a pickle"):
        merge([str(a.path), str(other)], Project.create(tmp_path / "p"))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"method": "ties"}, "ties compares each model with the one they come from"),
        ({"method": "linear", "base": "BASE"}, "linear does not look at a base"),
        ({"method": "svd"}, "svd is for adapters"),
        ({"method": "mean"}, "The method 'mean' is not known"),
        ({"density": 0.5}, "slerp keeps everything"),
        ({"density": 0.0, "method": "ties", "base": "BASE"}, r"The density is 0\.0"),
        ({"task": "orders"}, "whole models answer none"),
        ({"minutes": 0.0}, r"The minutes are 0\.0"),
        ({"seed": -1}, "The seed is -1"),
    ],
)
def test_what_does_not_go_together(made: Made, tmp_path: Path, asked: dict[str, Any], why: str) -> None:
    if asked.get("base"):
        asked = asked | {"base": str(made(seed=0))}
    with pytest.raises(BadSetting, match=why):
        merge([str(made(seed=1)), str(made(seed=2))], Project.create(tmp_path / "p"), Asked(**asked))


def test_three_models_and_their_weights(made: Made, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    three = [str(made(seed=seed)) for seed in (0, 1, 2)]
    how = choose(find(three, project), Asked())
    assert (how.method, how.weights) == ("linear", (1 / 3,) * 3)
    assert "no common base" in how.why[0]
    with pytest.raises(BadSetting, match="slerp is between two models, and 3 are given"):
        choose(find(three, project), Asked(method="slerp"))
    with pytest.raises(BadSetting, match="is below 0"):
        choose(find([three[0], f"{three[1]}:-1"], project), Asked(method="linear"))
    for weight in ("0", "nan", "-inf", "1e400", "1e-300"):
        with pytest.raises(BadSetting, match=rf"The weight of .* is {weight}\."):
            find([three[0], f"{three[1]}:{weight}"], project)


def test_what_goes_wrong_is_one_sentence(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two, project = [str(made(seed=1)), str(made(seed=2))], Project.create(tmp_path / "p")
    with pytest.raises(LaunchFailed, match=r"more than 0\.001 minutes"):
        merge(two, project, Asked(minutes=0.001))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(StorageFailed, match=r"needs .* GB in .* free"):
        merge(two, project)
    monkeypatch.undo()
    monkeypatch.setattr("freehold.fit.memory.RESERVE", 0.0)
    with pytest.raises(TooLittleMemory, match=r"Merging the models needs about .* GiB \(program .*largest tensor"):
        merge(two, project)
    monkeypatch.setattr("freehold.merge.whole.NEEDS", ("a-package-that-is-not-there",))
    with pytest.raises(MissingExtra, match="a-package-that-is-not-there"):
        merge(two, project)
    assert list((tmp_path / "p" / "work").iterdir()) == []


def test_numbers_that_are_none_are_not_kept(made: Made, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for path in made(seed=1).iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    spoilt = tensors(broken)
    spoilt["model.norm.weight"][0] = float("nan")
    save_file(spoilt, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"model\.norm\.weight holds numbers that are none in .*broken"):
        by_mergekit(tmp_path, [broken, made(seed=2)], method="linear")
