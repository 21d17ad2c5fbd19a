"""Speculation beside a student: tried on its own prompts, told, and never at the price of an answer or a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.engines.decoder import DecoderStudent, Prompt, Recipe
from freehold.engines.gguf.weights import open_weights
from freehold.engines.gguf.write import write
from freehold.engines.open import closing, open_student
from freehold.errors import BadSetting, BaseUnusable
from freehold.nouns import Answer, Artifact
from freehold.shrink import command, shrink
from freehold.shrink.guess import DRAFT, same, tried
from freehold.shrink.hops import Hops
from freehold.shrink.source import Source

from .test_command import asked, audited

RECIPE = Recipe(mode="merged", prompt=Prompt("Give JSON."), context=160, max_tokens=8)


def quiet(what: str, done: float | None = None, /) -> None:
    """Nothing is told."""


@pytest.fixture(scope="module")
def model(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.gguf"
    write(open_weights(taught), path, "BF16")
    return path


def test_an_answer_or_a_score_that_changes_is_counted() -> None:
    one, two = Answer("a", 0.5), Answer("b", 0.9)
    assert same([one, two], [one, replace(two, score=0.9004)]) == 2
    assert same([one, two], [one, replace(two, score=0.93)]) == 1
    assert same([one, two], [replace(one, text="c"), replace(two, able=False)]) == 0


def test_too_few_prompts_and_a_strange_draft_are_told_and_stop_nothing(model: Path, tmp_path: Path) -> None:
    few = tried(model, None, RECIPE, ["play it", "x" * 900], draft=None, threads=1, tell=quiet)
    assert few.setting is None
    assert few.said == {"on": False, "why": "It takes 16 held-back prompts to decide; there are 1."}
    strange = tmp_path / "strange.gguf"
    strange.write_bytes(model.read_bytes()[: 1 << 16])
    texts = [f"play number {i}" for i in range(16)]
    none = tried(model, None, RECIPE, texts, draft=strange, threads=1, seconds=0.0, tell=quiet)
    assert none.setting is None
    assert none.said["why"].startswith("It could not be tried: ")


def test_a_draft_model_is_tried_and_named_as_in_the_artefact(model: Path) -> None:
    texts = [f"play number {i}" for i in range(16)]
    found = tried(model, None, RECIPE, texts, draft=model, threads=1, seconds=0.0, tell=quiet)
    last = found.said["tried"][-1]
    assert last["setting"] == {"kind": "draft", "path": DRAFT, "tokens": 8}
    assert last["ratio"].n == 3
    assert str(model) not in str(found.said)


def test_what_is_on_lies_in_the_artefact_and_is_served(tuned: Callable[..., Any], model: Path) -> None:
    t = tuned()
    hops = Hops(Source.open(t.artifact, t.project), t.project, "merged", lambda a, b: a == b, 12, 1, quiet)
    passed = hops.run(["F32"], False)
    made = hops.store(replace(passed, speculation={"kind": "draft", "path": str(model), "tokens": 4}))
    folder = t.project.artifact_path(made.sha256)
    assert Recipe.read(folder).speculation == {"kind": "draft", "path": DRAFT, "tokens": 4}
    assert (folder / DRAFT).read_bytes() == model.read_bytes()
    with closing(open_student(folder, t.project.read_artifact(made.sha256))) as student:
        assert isinstance(student, DecoderStudent)
        assert student.engine.settings.speculation == {"kind": "draft", "path": str(folder / DRAFT), "tokens": 4}  # type: ignore[attr-defined]
        (answer,) = student.answers([hops.rows[0].text])
    assert answer.text == next(iter(passed.served.answers)).text


def test_a_path_in_a_recipe_leads_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "model.gguf").write_bytes(b"GGUF")
    said = {"kind": "draft", "path": "../../other.gguf", "tokens": 4}
    made = Artifact("0" * 64, "decoder", "t", "tiny", "MIT", (), {}, "", {})
    (folder / "decoder.json").write_bytes(msgspec.structs.replace(RECIPE, speculation=said).encode())
    with DecoderStudent.open(folder, made) as student:
        assert student.engine.settings.speculation["path"] == str(folder / "other.gguf")  # type: ignore[attr-defined]


def test_the_flags(tuned: Callable[..., Any], tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    t = tuned()
    folder = audited(t)
    with pytest.raises(BadSetting, match="--no-speculation leaves out"):
        command.run(asked("--project", folder, "--no-speculation", "--draft", str(model)))
    (tmp_path / "none.gguf").write_bytes(b"\x80\x04\x95")
    with pytest.raises(BaseUnusable, match="is a pickle"):
        command.run(asked("--project", folder, "--draft", str(tmp_path / "none.gguf")))
    assert command.run(asked("--project", folder, "--formats", "BF16", "--rows", "12", "--draft", str(model))) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("speculation "))
    assert line.startswith("speculation off, ")
    assert "tokens/s without it" in line
    assert "times as fast" in line
    made = shrink(t.task, t.artifact, t.project, formats=("BF16",), threads=1, rows=12, speculation=False)
    table = msgspec.json.decode((t.project.artifact_path(made.sha256) / "parity.json").read_bytes())
    assert "speculation" not in table
