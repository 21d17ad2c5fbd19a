"""freehold train --write: what is made ready is a training that another machine can run, and its model comes home."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.train.test_resume import largest_file
from tests.train.test_train import TINY, text

from freehold.cli import main
from freehold.errors import ArtifactDamaged, StorageFailed
from freehold.project import Project
from freehold.train.job import read_job
from freehold.train.loop import run

pytest.importorskip("torch", reason="a model is trained with torch: pip install 'freehold[tune]'")
pytest.importorskip("accelerate", reason="a model is trained with accelerate: pip install 'freehold[tune]'")


HERE = [*TINY, "dtype=float32"]  # as on this machine; cards take bfloat16


def train(where: Path, *more: str | Path, sets: list[str] = HERE) -> int:
    line = ["train", str(where / "books"), "--project", str(where / "own"), "--threads", "1", "--licence", "books=own"]
    return main([*line, *(part for said in sets for part in ("--set", said)), *map(str, more)])


def test_it_runs_there_and_its_model_comes_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text(tmp_path / "books", 1)
    there = tmp_path / "disk" / "there"
    assert train(tmp_path, "--tokens", "1k", "--write", "torchrun", "--into", there, "--processes", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(there),
        "files": [str(there / name) for name in ("run.sh", "README.md")],
    }
    assert {path.name for path in there.iterdir()} == {"corpus", "job", "run.sh", "README.md"}
    assert not (there / "corpus" / "corpus.json").exists(), "no path of this machine goes along"
    (work,) = (tmp_path / "own" / "work").glob("train-*")
    assert f"cp -r job/result {work}/coming && mv {work}/coming {work}/result" in (there / "README.md").read_text()

    moved = there.rename(tmp_path / "moved")
    said = read_job(moved / "job")
    assert said is not None
    assert np.load(moved / "job" / said.corpus.folder / "train.npy").size == said.corpus.tokens
    found = run(moved / "job")
    assert found.steps == 6
    half_copied(moved / "job" / "result", work / "result", lambda: train(tmp_path, "--tokens", "1k"))
    shutil.copytree(moved / "job" / "result", work / "result")
    capsys.readouterr()
    assert train(tmp_path, "--tokens", "1k", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trained"]["losses"] == list(found.losses)
    assert told["trained"]["seconds"] == found.seconds, "it was not trained again"

    assert train(tmp_path, "--tokens", "1k", "--project", tmp_path / "here", "--json") == 0
    here = json.loads(capsys.readouterr().out)
    assert here["trained"]["losses"] == list(found.losses), "and it is what would have come of it here"

    on = ["--base", tmp_path / "own", "--write", "megatron", "--into", tmp_path / "on"]
    assert train(tmp_path, "--tokens", "1k", *on, sets=["rows=2", "context=32"]) == 0
    assert "README.md says what to do" in capsys.readouterr().out
    said = read_job(tmp_path / "on" / "job")
    assert said is not None
    weights = (tmp_path / "on" / "job" / said.start / "model.safetensors").read_bytes()
    model = Project.open(tmp_path / "own").artifact_path(told["artifact"]["sha256"])
    assert weights == (model / "model.safetensors").read_bytes()


def half_copied(result: Path, here: Path, store: Callable[[], int]) -> None:
    """None of these is stored, and each is one sentence."""
    other = json.loads((result / "training.json").read_bytes()) | {"steps": 3}
    config = json.loads((result / "config.json").read_bytes()) | {"hidden_size": 48}
    ways = {
        "model.safetensors": (result / "model.safetensors").read_bytes()[:20_000],
        "config.json": json.dumps(config).encode(),
        "training.json": json.dumps(other).encode(),
    }
    for name, data in ways.items():
        for found in (data, None)[: 1 if name == "training.json" else 2]:  # without it nothing has come home
            shutil.copytree(result, here)
            if found is None:
                (here / name).unlink()
            else:
                (here / name).write_bytes(found)
            assert store() == ArtifactDamaged.exit_code, name
            shutil.rmtree(here)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--write", "ray", "--tokens", "1k"], "--write, --into and --machines go together"),
        (["--into", "x", "--tokens", "1k"], "--write, --into and --machines go together"),
        (["--write", "ray", "--into", "new"], "--write is without --tokens"),
        (["--write", "megatron", "--into", "new", "--launch", "tp", "--tokens", "1k"], "--launch tp is not Megatron's"),
        (["--write", "ray", "--into", "new", "--tokens", "1k", "--machines", "0"], "0 machines of 1 processes"),
        (["--write", "ray", "--into", "FULL", "--tokens", "1k"], "is there already"),
        (["--write", "ray", "--into", "new", "--tokens", "1k", "--plan"], "Both --plan and --write"),
    ],
)
def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str) -> None:
    text(tmp_path / "books", 1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    assert train(tmp_path, *(str(tmp_path / "full") if word == "FULL" else word for word in more)) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "make the tokenizer" not in told, "it is known before the text is read"
    assert (tmp_path / "full" / "mine").read_text() == "kept"
    assert not Path("new").exists()


def test_an_empty_folder_is_taken_also_the_one_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text(tmp_path / "books", 1)
    (tmp_path / "a b'$(x)").mkdir()
    monkeypatch.chdir(tmp_path / "a b'$(x)")
    assert train(tmp_path, "--tokens", "1k", "--write", "ray", "--into", ".") == 0
    assert {path.name for path in (tmp_path / "a b'$(x)").iterdir()} == {"corpus", "job", "train.py", "README.md"}


@pytest.mark.parametrize("size", [2_000, 20_000], ids=["the text", "the weights"])
def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int) -> None:
    text(tmp_path / "books", 1)
    assert train(tmp_path, "--tokens", "1k", "--plan") == 0
    with largest_file(size):
        code = train(tmp_path, "--tokens", "1k", "--write", "ray", "--into", tmp_path / "there" / "x")
    assert code == StorageFailed.exit_code
    assert re.search(r"Can't write [^:]+: (\[Errno 27\] )?File too large", capsys.readouterr().err)
    assert list((tmp_path / "there").iterdir()) == []
