"""A fine-tuned member and further encoders: carried, served without torch, honest in its scores, the same again."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, load_file

from freehold.audit import audit
from freehold.engines.encoder import Encoder
from freehold.engines.label import TOLERANCE, check, read_checks
from freehold.engines.open import open_student
from freehold.errors import MissingExtra, StudentUnusable
from freehold.nouns import Artifact, Task
from freehold.plan import plan
from freehold.project import Project
from freehold.traffic import Traffic, find_tasks, read
from freehold.tune import tune
from freehold.tune.base import Base
from freehold.tune.command import flags, run
from freehold.tune.label import Fitted, fit

pytest.importorskip("onnx", reason="making an encoder from safetensors needs onnx: pip install 'freehold[tune]'")
torch = pytest.importorskip("torch", reason="fine-tuning needs torch: pip install 'freehold[tune]'")
transformers = pytest.importorskip("transformers", reason="fine-tuning needs it: pip install 'freehold[tune]'")

PLACES = ["kitchen", "garage", "garden", "attic", "cellar", "porch", "office", "bath"]
DOES = {"on": "light", "off": "dark", "up": "louder", "down": "softer"}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "turn", "it", "the", "in", "please", "now", *DOES, *PLACES,
         *(f"n{i}" for i in range(16))]  # fmt: skip


def requests(n: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(n)
    said = list(DOES)
    chosen = [said[k] for k in rng.integers(0, len(said), n)]
    places = [PLACES[k] for k in rng.integers(0, len(PLACES), n)]
    numbers = rng.permutation(16 * 16)[:n]
    texts = [
        f"please turn it {w} in the {p} n{k // 16} n{k % 16} now"
        for w, p, k in zip(chosen, places, numbers, strict=True)
    ]
    return texts, [DOES[w] for w in chosen]


def write_bert(folder: Path, seed: int = 0) -> Path:
    """A random BERT of two layers of 32, as Hugging Face's own library writes one."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=32,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.BertModel(config)
        for parameter in model.parameters():  # as wide as a trained one's: a fresh one's texts all look alike
            parameter.data.mul_(5 if parameter.ndim == 2 else 1)
        model.save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\nA test's.\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def fitted(bert: Path) -> Fitted:
    texts, labels = requests(120)
    return fit(texts, labels, groups=np.arange(120), embeddings=[noise(120)], base=Base.open(bert))


def noise(n: int) -> np.ndarray:
    """A frozen encoder that knows nothing."""
    vectors = np.random.default_rng(n).standard_normal((n, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_member_learns_and_is_weighed(fitted: Fitted) -> None:
    assert fitted.tuned is not None
    _, labels = requests(120)
    y = np.array([sorted(set(labels)).index(label) for label in labels])
    assert (fitted.tuned.unseen.argmax(1) == y).mean() > 0.6
    assert fitted.student().members.names[-1] == "tuned"
    arrays = load(fitted.files["student.safetensors"])
    assert arrays["tuned.w"].shape == (4, 32)
    assert len(arrays["first"]) == 5
    assert len(arrays["second"]) == 6


def test_labels_at_random_stay_at_random(bert: Path) -> None:
    """Were a row scored by a model that had seen it, its label would be known."""
    texts, _ = requests(120)
    labels = [f"l{k}" for k in np.random.default_rng(5).integers(0, 4, 120)]
    fitted = fit(texts, labels, groups=np.arange(120), embeddings=[noise(120)], base=Base.open(bert))
    assert fitted.tuned is not None
    y = np.array([int(label[1]) for label in labels])
    assert (fitted.tuned.unseen.argmax(1) == y).mean() < 0.4
    vectors = fitted.tuned.encoder.embed(texts)
    w, b = fitted.tuned.head
    assert ((vectors @ w.T + b).argmax(1) == y).mean() > 0.45
    assert fitted.prior_ok.mean() < 0.45


def test_the_lower_layers_stay_and_the_seed_decides(fitted: Fitted, bert: Path) -> None:
    from freehold.tune.finetune import _Steps, _train
    from freehold.tune.members import Training

    texts, labels = requests(120)
    base = Base.open(bert)
    settings = base.plan(120)
    assert (settings.layers, settings.of, settings.epochs) == (1, 2, 10)
    encoder = Encoder.open(bert)
    rows = Training(texts, np.array([sorted(set(labels)).index(label) for label in labels]), [noise(120)], 4)
    given = (base, rows, encoder.tokens(texts), encoder.embed(texts), settings)
    before = torch.random.get_rng_state(), torch.get_num_threads()
    (first, head), (again, _), (other, _) = (
        _train(*given, seed, _Steps(120, settings, lambda what, done=None, /: None)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    moved = {name for name, value in first.items() if not np.array_equal(value, base.weights[name])}
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)
    assert fitted.tuned is not None
    assert np.array_equal(head[0], fitted.tuned.head[0])


def test_the_same_rows_give_the_same_bytes(fitted: Fitted, bert: Path) -> None:
    texts, labels = requests(120)
    torch.manual_seed(99)
    again = fit(texts, labels, groups=np.arange(120), embeddings=[noise(120)], base=Base.open(bert))
    assert again.files == fitted.files
    assert again.recipe == fitted.recipe


# as an artefact


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    path = tmp_path_factory.mktemp("log") / "calls.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for text, label in zip(*requests(140), strict=True):
            asked = [{"role": "system", "content": "Name the wish."}, {"role": "user", "content": text}]
            said = {"choices": [{"message": {"role": "assistant", "content": label}, "finish_reason": "stop"}]}
            row = {"timestamp": "2026-01-05T10:00:00Z", "request": {"model": "m", "messages": asked}, "response": said}
            file.write(json.dumps(row) + "\n")
    return read([str(path)])


@pytest.fixture(scope="module")
def task(traffic: Traffic) -> Task:
    return find_tasks(traffic)[0]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.create(tmp_path_factory.mktemp("team") / "project")


@pytest.fixture(scope="module")
def artifact(task: Task, traffic: Traffic, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Everything at once, by the command: a bundled encoder, a foreign one beside it, and a fine-tuned one. Then their
    folders go."""
    folder = tmp_path_factory.mktemp("gone")
    other, base = write_bert(folder / "other", seed=1), write_bert(folder / "base")
    found = audit(traffic)
    project.save(found)
    project.save(plan(found))
    parser = argparse.ArgumentParser()
    flags(parser)
    line = ["--project", str(project.path), "--encoder", "bge-small-en", "--encoder", str(other)]
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert run(parser.parse_args([*line, "--finetune", str(base)])) == 0
    assert "fine-tuned base: the top 1 of 2 layers" in printed.getvalue()
    (made,) = project.artifacts()
    assert made == tune(task, traffic, project, encoder=["bge-small-en", str(other)], finetune=base)
    other.rename(folder / "moved")
    base.rename(folder / "moved too")
    return made


def test_the_artefact_says_where_it_comes_from(artifact: Artifact, project: Project) -> None:
    carried = {"model.onnx", "tokenizer.json", "encoder.json"}
    assert carried | {f"tuned-{name}" for name in carried} <= set(artifact.files)
    assert artifact.base == "bge-small-en + other + base (fine-tuned)"
    assert artifact.licence == "MIT AND unknown AND Apache-2.0"
    assert [e["name"] for e in artifact.recipe["encoders"]] == ["bge-small-en", "other"]
    said = artifact.recipe["finetune"]
    assert said["layers"] == [1, 2]
    assert len(said["base"]["sha256"]) == 64
    assert artifact.recipe["seed"] == 0
    members = load_file(project.artifact_path(artifact.sha256) / "student.safetensors")
    assert len(members["first"]) == 2 * 2 + 2 + 1


def test_it_is_served_without_torch(artifact: Artifact, project: Project, tmp_path: Path) -> None:
    texts, labels = requests(64)
    asked = tmp_path / "texts.json"
    asked.write_text(json.dumps(texts))
    code = (
        "import sys, json\n"
        "for name in ('torch', 'transformers', 'onnx', 'sklearn', 'scipy'): sys.modules[name] = None\n"
        "from freehold.engines.label import check, read_checks\n"
        "from freehold.engines.open import open_student\n"
        "from freehold.project import Project\n"
        "project = Project.open(sys.argv[1])\n"
        "artifact = project.read_artifact(sys.argv[2])\n"
        "folder = project.artifact_path(artifact.sha256)\n"
        "student = open_student(folder, artifact)\n"
        "texts = json.load(open(sys.argv[3]))\n"
        "whole = [a for i in (0, 32) for a in student.answers(texts[i:i + 32])]\n"
        "alone = [student.answers([t])[0] for t in texts]\n"
        "print(json.dumps({'gap': check(student, read_checks(folder)), 'same': whole == alone,"
        " 'said': [a.text for a in whole]}))\n"
    )
    given = [sys.executable, "-c", code, str(project.path), artifact.sha256, str(asked)]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same"]
    assert found["gap"] < TOLERANCE / 100
    assert np.mean([a == b for a, b in zip(found["said"], labels, strict=True)]) > 0.9


def test_one_more_bundled_encoder(task: Task, traffic: Traffic, project: Project) -> None:
    made = tune(task, traffic, project, encoder=["bge-small-en", "all-minilm-l6-v2"])
    assert made.base == "bge-small-en + all-minilm-l6-v2"
    assert sorted(made.files) == ["checks.json", "prior.safetensors", "student.json", "student.safetensors"]
    where = project.artifact_path(made.sha256)
    assert check(open_student(where, made), read_checks(where)) < TOLERANCE / 100
    assert "finetune" not in made.recipe


def test_what_cannot_be_meant(task: Task, traffic: Traffic, project: Project, bert: Path, tmp_path: Path) -> None:
    other = write_bert(tmp_path / "other", seed=1)
    with pytest.raises(StudentUnusable, match="carries one at most"):
        tune(task, traffic, project, encoder=[str(bert), str(other)])
    with pytest.raises(StudentUnusable, match="bge-small-en is given twice"):
        tune(task, traffic, project, encoder=["bge-small-en", "bge-small-en"])
    with pytest.raises(StudentUnusable, match="Both --student and --finetune"):
        tune(task, traffic, project, finetune=bert, student=tmp_path)
    with pytest.raises(StudentUnusable, match=r"no folder .*nowhere"):
        tune(task, traffic, project, finetune=tmp_path / "nowhere")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"intermediate_size": 128}))
    with pytest.raises(StudentUnusable, match=r"don't fit its config\.json"):
        tune(task, traffic, project, finetune=other)
    (other / "config.json").write_text(json.dumps(config | {"model_type": "roberta"}))
    with pytest.raises(StudentUnusable, match="only BERT's shape"):
        tune(task, traffic, project, finetune=other)


def test_without_torch_it_says_what_to_install(
    task: Task, traffic: Traffic, bert: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"torch.*pip install 'freehold\[tune\]'"):
        tune(task, traffic, Project.create(tmp_path / "project"), finetune=bert)


@pytest.mark.parametrize(
    ("name", "text", "licence"),
    [
        ("README.md", "---\nlicense: mit\n---\n", "MIT"),
        ("README.md", "# A model\nlicense: mit\n", "unknown"),
        ("LICENSE", "                Apache License\n        Version 2.0\n", "Apache-2.0"),
        ("LICENSE", "All rights reserved.\n", "unknown"),
    ],
)
def test_the_licence_is_the_bases(tmp_path: Path, name: str, text: str, licence: str) -> None:
    folder = write_bert(tmp_path / "base")
    (folder / "README.md").unlink()
    (folder / name).write_text(text, encoding="utf-8")
    assert Base.open(folder).licence == licence
