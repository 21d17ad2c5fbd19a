"""From a log to an artefact: lineage, resuming, a foreign encoder, the team's own classifier, the command."""

from __future__ import annotations

import argparse
import json
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from freehold.audit import audit
from freehold.engines.label import TOLERANCE, check, read_checks
from freehold.engines.open import open_student
from freehold.errors import ArtifactDamaged, BadSetting, StudentUnusable
from freehold.nouns import Artifact, Task
from freehold.plan import plan
from freehold.project import Project
from freehold.traffic import Traffic, evidence, find_tasks, read, split
from freehold.tune import tune
from freehold.tune.command import flags, run
from freehold.tune.label import fit

Pairs = list[tuple[str, str]]


@pytest.fixture(scope="module")
def log(snips: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "calls.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for text, label in snips[:200]:
            asked = [{"role": "system", "content": "Name the intent."}, {"role": "user", "content": text}]
            said = {"choices": [{"message": {"role": "assistant", "content": label}, "finish_reason": "stop"}]}
            row = {"timestamp": "2026-01-05T10:00:00Z", "request": {"model": "m", "messages": asked}, "response": said}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="module")
def traffic(log: Path) -> Traffic:
    return read([str(log)])


@pytest.fixture(scope="module")
def task(traffic: Traffic) -> Task:
    return find_tasks(traffic)[0]


@pytest.fixture(scope="module")
def project(traffic: Traffic, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project.create(tmp_path_factory.mktemp("team") / "project")
    found = audit(traffic)
    made.save(found)
    made.save(plan(found))
    return made


@pytest.fixture(scope="module")
def artifact(task: Task, traffic: Traffic, project: Project) -> Artifact:
    return tune(task, traffic, project)


def test_the_artefact_says_where_it_comes_from(artifact: Artifact, project: Project) -> None:
    assert artifact == project.read_artifact(artifact.sha256)
    assert (artifact.kind, artifact.base, artifact.licence) == ("label", "bge-small-en", "MIT")
    assert sorted(artifact.files) == ["checks.json", "prior.safetensors", "student.json", "student.safetensors"]
    assert artifact.recipe["encoders"][0]["name"] == "bge-small-en"


def test_only_the_fit_side_is_learnt(artifact: Artifact, project: Project, task: Task, traffic: Traffic) -> None:
    calls = evidence(task, traffic)
    texts = [task.template.text(call.messages) or "" for call in calls]
    sides = split(texts)
    folder = project.artifact_path(artifact.sha256)
    assert len(load_file(folder / "prior.safetensors")["ok"]) == len(sides.fit)
    held = {texts[i] for i in sides.cal_all}
    assert not held & {row["text"] for row in read_checks(folder)}


def test_the_stored_calls_give_their_scores_again(artifact: Artifact, project: Project) -> None:
    folder = project.artifact_path(artifact.sha256)
    checks = read_checks(folder)
    assert len(checks) == 64
    student = open_student(folder, artifact)
    assert check(student, checks) < TOLERANCE / 100
    assert check(student, [{**checks[0], "label": "another"}]) == 1.0
    texts = [row["text"] for row in checks]
    assert student.answers(texts) == [student.answers([text])[0] for text in texts]


def test_a_second_run_finds_the_first(artifact: Artifact, project: Project, task: Task, traffic: Traffic) -> None:
    said: list[str] = []
    again = tune(task, traffic, project, tell=lambda what, done=None, /: said.append(what))
    assert again == artifact
    assert said == []


def test_a_damaged_artefact_is_not_taken(artifact: Artifact, project: Project, task: Task, traffic: Traffic) -> None:
    path = project.artifact_path(artifact.sha256) / "student.safetensors"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
        with pytest.raises(ArtifactDamaged, match=r"student\.safetensors"):
            tune(task, traffic, project)
    finally:
        path.write_bytes(whole)


def test_a_foreign_encoder_travels_with_its_student(task: Task, traffic: Traffic, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with resources.as_file(resources.files("freehold.engines") / "data" / "all-minilm-l6-v2") as bundled:
        shutil.copytree(bundled, folder)
    project = Project.create(tmp_path / "project")
    made = tune(task, traffic, project, encoder=str(folder))
    shutil.rmtree(folder)
    assert {"model.onnx", "tokenizer.json", "encoder.json"} <= set(made.files)
    assert made.licence == "Apache-2.0"
    where = project.artifact_path(made.sha256)
    assert check(open_student(where, made), read_checks(where)) < TOLERANCE / 100


def test_what_is_no_encoder_is_named(task: Task, traffic: Traffic, project: Project, tmp_path: Path) -> None:
    with pytest.raises(StudentUnusable, match="nowhere"):
        tune(task, traffic, project, encoder=str(tmp_path / "nowhere"))
    with pytest.raises(StudentUnusable, match="Give one of them"):
        tune(task, traffic, project, encoder="bge-small-en", student=tmp_path)


# the team's own classifier


def write_classifier(folder: Path, labels: list[str], outputs: int) -> None:
    """A word's row of a small table, averaged over the text: as small as a real classifier gets."""
    from onnx import TensorProto, helper, numpy_helper, save
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = ["[UNK]", "play", "book", "weather", "rate", "add", "find"]
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    table = np.zeros((len(words), outputs), np.float32)
    for i in range(1, len(words)):
        table[i, i % outputs] = 9.0
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
         helper.make_node("ReduceMean", ["rows", "axis"], ["logits"], keepdims=0)],
        "classifier",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [None, None])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, outputs])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axis")],
    )  # fmt: skip
    folder.mkdir()
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"id2label": {str(i): name for i, name in enumerate(labels)}}))


def test_a_classifier_of_the_team_is_a_student(task: Task, traffic: Traffic, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    write_classifier(folder, sorted(task.labels), len(task.labels))
    project = Project.create(tmp_path / "project")
    made = tune(task, traffic, project, student=folder)
    assert made == tune(task, traffic, project, student=folder)
    assert made.kind == "classifier"
    shutil.rmtree(folder)
    where = project.artifact_path(made.sha256)
    student = open_student(where, made)
    assert check(student, read_checks(where)) == 0.0
    prior = load_file(where / "prior.safetensors")
    assert prior["score"].min() >= 0
    assert prior["score"].max() > prior["score"].min()
    alone = [student.answers([t])[0] for t in ("play a song", "", "book " * 3000)]
    assert alone == student.answers(["play a song", "", "book " * 3000])


def test_a_classifier_that_cannot_be_meant(task: Task, traffic: Traffic, project: Project, tmp_path: Path) -> None:
    strange, short, bare = tmp_path / "strange", tmp_path / "short", tmp_path / "bare"
    write_classifier(strange, ["a", "b"], 2)
    with pytest.raises(StudentUnusable, match="No label of the student"):
        tune(task, traffic, project, student=strange)
    write_classifier(short, list(task.labels), 2)
    with pytest.raises(StudentUnusable, match=r"gave \[1, 2\] numbers for 7 labels"):
        tune(task, traffic, project, student=short)
    bare.mkdir()
    with pytest.raises(StudentUnusable, match=r"holds no model\.onnx"):
        tune(task, traffic, project, student=bare)
    (short / "config.json").unlink()
    with pytest.raises(StudentUnusable, match="doesn't name the labels"):
        tune(task, traffic, project, student=short)
    (short / "model.onnx").write_bytes(b"not a model")
    (short / "labels.json").write_text('["a", "b"]')
    with pytest.raises(StudentUnusable, match="can't be loaded"):
        tune(task, traffic, project, student=short)


# the command


def given(project: Project, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    flags(parser)
    return parser.parse_args(["--project", str(project.path), *more])


def test_the_command(artifact: Artifact, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(given(project)) == 0
    assert artifact.sha256[:8] in capsys.readouterr().out
    assert run(given(project, "--json")) == 0
    assert json.loads(capsys.readouterr().out)[0]["sha256"] == artifact.sha256
    with pytest.raises(BadSetting, match="Known: "):
        run(given(project, "--task", "nothing"))


def test_the_benchmark_face_gives_the_same_student(
    artifact: Artifact, project: Project, task: Task, traffic: Traffic
) -> None:
    """`fit` with embeddings given, as the figures are made, is the artefact's student."""
    from freehold.engines.encoder import Encoder
    from freehold.tune.rows import rows_of

    rows = rows_of(task, traffic)
    vectors = Encoder.bundled("bge-small-en").embed(rows.texts)
    fitted = fit(rows.texts, rows.labels, groups=rows.groups, embeddings=[vectors])
    stored = (project.artifact_path(artifact.sha256) / "student.safetensors").read_bytes()
    assert fitted.files["student.safetensors"] == stored
