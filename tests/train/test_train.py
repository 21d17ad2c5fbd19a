"""freehold train, from text to a model in the project: what is stored, found again, taken up, trained on, refused."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold.cli import main
from freehold.engines import bases
from freehold.errors import BadSetting
from freehold.project import Project
from freehold.train import Asked, command

pytest.importorskip("torch", reason="a model is trained with torch: pip install 'freehold[tune]'")
pytest.importorskip("accelerate", reason="a model is trained with accelerate: pip install 'freehold[tune]'")

TINY = ["layers=1", "width=32", "heads=2", "kv_heads=2", "inner=64", "context=32", "rows=2", "steps=6"]
WORDS = ["the", "a", "small", "large", "old", "house", "river", "keeps", "finds", "green", "wet", "stone", "never"]


def text(folder: Path, seed: int, documents: int = 30) -> Path:
    """Made-up prose, each document another."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    for i in range(documents):
        lines = [" ".join(draw.choice(WORDS, 12)) + "." for _ in range(20)]
        (folder / f"{i}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("train")
    text(where / "books", 1)
    (where / "books" / "LICENSE").write_text("MIT License\n\nnot the whole text", encoding="utf-8")
    return where


def train(where: Path, *more: str | Path, project: str = "own", sets: list[str] | None = None) -> int:
    line = ["train", str(where / "books"), "--project", str(where / project), "--tokens", "1k", "--threads", "1"]
    line += ["--licence", "books=own", *map(str, more)]
    return main([*line, *(part for said in TINY if sets is None for part in ("--set", said))])


def json_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_model_is_made_found_again_and_trained_on(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(world, "--json") == 0
    told = json_of(capsys)
    artifact, trained = told["artifact"], told["trained"]
    assert (artifact["kind"], artifact["licence"], trained["steps"]) == ("model", "own", 6)
    assert trained["tokens"] == 6 * 2 * 32
    assert len(trained["losses"]) == 6
    assert trained["evals"][-1]["rows"] <= trained["evals"][-1]["of"]
    assert told["size"]["total"] == told["size"]["active"] > 0
    project = Project.open(world / "own")
    project.read_artifact(artifact["sha256"])
    folder = project.artifact_path(artifact["sha256"])
    said = (folder / "corpus.json").read_text(encoding="utf-8")
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [0, 2]
    card = (folder / "README.md").read_text()
    assert "rules find none in all" in card
    assert str(world) not in said + (folder / "training.json").read_text() + (folder / "README.md").read_text()
    assert json.loads(said)["parts"][0]["part"] == {"name": "books", "licence": "own", "source": ""}
    assert not list((world / "own" / "work").glob("train-*")), "what was half done is gone"
    assert bases.find(world / "own").licence == "own"

    assert train(world, "--json") == 0
    assert json_of(capsys)["artifact"]["sha256"] == artifact["sha256"], "the same again is not trained again"
    assert len([a for a in project.artifacts() if a.kind == "model"]) == 1

    more = ["--base", str(world / "own"), "--set", "steps=3", "--set", "rows=2", "--set", "context=32"]
    assert train(world, *more, "--json", project="on", sets=[]) == 0
    on = json_of(capsys)
    assert on["artifact"]["recipe"]["start"]["sha256"] == bases.find(world / "own").sha256
    assert on["trained"]["losses"][0] == pytest.approx(trained["losses"][-1], abs=0.5), "it begins where that one ended"
    assert on["size"] == told["size"]


def test_experts_say_what_is_active(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(world, "--moe", "--set", "experts=4", "--set", "chosen=2") == 0
    said = capsys.readouterr().out
    assert "active a token" in said
    assert f"freehold tune --base {world / 'own'}" in said


def test_a_stopped_training_goes_on_to_the_same_model(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from freehold.train.loop.watch import Watch

    assert train(world, "--seed", "7", "--json", project="whole") == 0
    whole = json_of(capsys)
    step_end, stopped = Watch.on_step_end, []

    def stop(self: Any, args: Any, state: Any, control: Any, **more: Any) -> Any:
        if state.global_step == 4 and not stopped:
            stopped.append(state.global_step)
            raise KeyboardInterrupt
        return step_end(self, args, state, control, **more)

    monkeypatch.setattr(Watch, "on_step_end", stop)
    assert train(world, "--seed", "7", "--json", project="cut") == 130
    assert list((world / "cut" / "work").glob("train-*/job.json"))
    capsys.readouterr()
    assert train(world, "--seed", "7", "--json", project="cut") == 0
    again = json_of(capsys)
    assert stopped == [4]
    assert again["artifact"]["files"]["model.safetensors"] == whole["artifact"]["files"]["model.safetensors"]
    assert again["trained"]["losses"] == whole["trained"]["losses"]


def test_the_plan_says_why_and_trains_nothing(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(world, "--plan", project="planned") == 0
    said = capsys.readouterr().out
    assert len([line for line in said.splitlines() if line.startswith("- ")]) >= 5
    assert "As asked: layers 1" in said
    assert "where to train" in said
    assert "use     this machine: done within 12 hours, and nothing has to be rented" in said
    assert not list((world / "planned" / "artifacts").iterdir())


def test_the_plan_shows_where_it_could_run_and_its_commands_are_read(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--launch", "ddp", "--processes", "2", "--hardware", "h100", "--moe", "--json"]
    assert train(world, *more, "--plan", project="ways") == 0
    told = json_of(capsys)
    sites = told["training"]["sites"]
    assert [(s["hardware"], s["devices"]) for s in sites] == [
        ("this-machine", 1), ("this-machine", 2), ("h100-sxm", 1), ("h100-sxm", 8)
    ]  # fmt: skip
    here, two, *cards = sites
    assert 0 < here["hours"]["value"] < 1
    assert "measured here now" in here["hours"]["method"]
    assert (two["taken"], two["hours"]["value"]) == ("ddp", None)
    assert all(site["hours"]["value"] is None for site in cards)  # nobody published so small a model
    assert told["training"]["taken"] == 0
    for line in [line for site in sites for line in site["command"].splitlines()]:
        parser = argparse.ArgumentParser(exit_on_error=False)
        command.flags(parser)
        asked = command._asked(parser.parse_args(shlex.split(line)[2:])).checked()
        assert asked.moe
        assert asked.licences == {"books": "own"}
        assert asked.tokens == 1000
    assert "dtype=bfloat16" in cards[0]["command"]
    assert main(["train", str(world / "books"), "--hardware", "h100"]) == 2
    assert "--hardware is without --plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--set", "colour=red"], 2, "colour is nothing that a training has"),
        (["--set", "layers"], 2, "--set is 'layers'"),
        (["--minutes", "3"], 2, "Both minutes and tokens"),
        (["--processes", "2"], 2, "processes is 2, and the launch is 'none'"),
        (["--base", "nowhere"], 33, "There is no base 'nowhere'"),
        (["--moe", "--base", "smollm2"], 2, "keeps its shape"),
        (["--licence", "nothing=MIT"], 2, "nothing"),
    ],
)
def test_what_can_not_be_meant(
    world: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, said: str
) -> None:
    assert train(world, *more, project="refused") == code
    assert said in capsys.readouterr().err


def test_licences_that_exclude_each_other_are_refused_by_name(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = text(world / "other", 2, 5)
    more = [str(other), "--licence", "other=GPL-2.0-only"]
    line = ["train", str(world / "books"), *more, "--licence", "books=Apache-2.0", "--project", str(world / "mixed")]
    assert main([*line, "--tokens", "1k", "--plan"]) == 43, "a plan is no plan where nothing may come of it"
    assert main([*line, "--tokens", "1k"]) == 43
    said = capsys.readouterr().err
    assert "GPL-2.0-only" in said
    assert "Apache-2.0" in said


def test_numbers_are_read_with_their_unit() -> None:
    from freehold.train.command import _number

    assert (_number("--tokens", "20M"), _number("--tokens", "1_500"), _number("--tokens", "1.5b")) == (
        20_000_000, 1500, 1_500_000_000,
    )  # fmt: skip
    for bad in ("", "many", "M", "1e999"):
        with pytest.raises(BadSetting, match="--tokens"):
            _number("--tokens", bad)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tokens": 0}, "tokens is 0"),
        ({"tokens": 10**30}, "Give 1 to 100,000,000,000,000"),
        ({"minutes": float("nan")}, "minutes is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1 << 63}, "below 2 to the power of 63"),
        ({"threads": -1}, "threads is -1"),
        ({"threads": 10**9}, "Give 1 to 1024"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSetting) as error:
        Asked(**given).checked()
    assert said in f"{error.value.message} {error.value.hint}"


def test_another_rate_is_another_model_of_the_same_run() -> None:
    one, other = Asked(overrides={"rate": "1e-3", "layers": "2"}), Asked(overrides={"rate": "2e-3", "layers": "2"})
    assert one.run("c", "") == other.run("c", "")
    assert one.key("c", "") != other.key("c", "")
    assert one.run("c", "") != Asked(overrides={"layers": "3"}).run("c", "")
    assert one.key("c", "") == Asked(overrides=one.overrides, threads=4).key("c", "")
