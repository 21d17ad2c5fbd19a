"""G08: twelve model folders made to run code: each is refused through the loaders that would read it, and nothing ran.

Every pickle here writes a canary file when it is opened; every Python file does when it is imported.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from freehold.engines import bases
from freehold.engines.encoder_files import read as read_encoder
from freehold.engines.hf import weights
from freehold.engines.open import open_student
from freehold.errors import FreeholdError
from freehold.project import Project

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
Make = Callable[[Path, bytes, str], object]


def pickled(canary: Path) -> bytes:
    """A pickle, written by hand, that calls open(canary, "w")."""
    return (
        b"\x80\x02cio\nopen\nX"
        + struct.pack("<I", len(str(canary)))
        + str(canary).encode()
        + b"X\x01\x00\x00\x00w\x86R."
    )


def code(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()\n"


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, data)
    return out.getvalue()


def hf(folder: Path, **config: object) -> Path:
    """The files of a small model."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    save_file({"w": np.ones((2, 2), np.float32)}, folder / "model.safetensors")
    return folder


def gguf(path: Path) -> Path:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    said = {"general.architecture": "llama", "tokenizer.chat_template": TEMPLATE}
    pairs = [text(key) + struct.pack("<I", 8) + text(value) for key, value in said.items()]
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
    return path


def artefact(where: Path, kind: str, files: dict[str, bytes]) -> tuple[Project, str]:
    project = Project.create(where / "project")
    made = project.write_artifact(files, kind=kind, task="t", base="b", licence="MIT", recipe={}, data_sha256="0" * 64)
    return project, made.sha256


def opened(where: Path, kind: str, files: dict[str, bytes]) -> object:
    project, sha256 = artefact(where, kind, files)
    return open_student(project.artifact_path(sha256), project.read_artifact(sha256))


def auto_map(where: Path, _: bytes, run: str) -> object:
    folder = hf(where / "m", auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    (folder / "modeling_evil.py").write_text(run)
    return bases.find(folder)


def tokenizer_map(where: Path, _: bytes, run: str) -> object:
    folder = hf(where / "m")
    said = {"chat_template": TEMPLATE, "auto_map": {"AutoTokenizer": ["tokenization_evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    (folder / "tokenization_evil.py").write_text(run)
    return bases.find(folder)


def python_beside(where: Path, _: bytes, run: str) -> object:
    folder = hf(where / "m")
    (folder / "configuration_llama.py").write_text(run)
    return bases.find(folder)


def pickle_renamed(where: Path, data: bytes, _: str) -> object:
    folder = hf(where / "m")
    (folder / "model.safetensors").write_bytes(data)
    return bases.find(folder)


def torch_zip_renamed(where: Path, data: bytes, _: str) -> object:
    folder = hf(where / "m")
    (folder / "model.safetensors").write_bytes(zipped("archive/data.pkl", data))
    return bases.find(folder)


def pickle_alone(where: Path, data: bytes, _: str) -> object:
    folder = hf(where / "m")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(data)
    return bases.find(folder)


def shard_elsewhere(where: Path, data: bytes, _: str) -> object:
    folder = hf(where / "m")
    (where / "evil.bin").write_bytes(data)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "../evil.bin"}}))
    return bases.find(folder)


def safetensors_polyglot(where: Path, data: bytes, _: str) -> object:
    folder = hf(where / "m")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes() + zipped("archive/data.pkl", data))
    return bases.find(folder)


def pickled_gguf(where: Path, data: bytes, _: str) -> object:
    (where / "base.gguf").write_bytes(data)
    return bases.find(where / "base.gguf")


def gguf_polyglot(where: Path, data: bytes, run: str) -> object:
    path = gguf(where / "base.gguf")
    path.write_bytes(path.read_bytes() + zipped("__main__.py", run.encode()))
    return bases.find(path)


def side_file(where: Path, _: bytes, run: str) -> object:
    project, sha256 = artefact(where, "label", {"student.json": b"{}"})
    (project.artifact_path(sha256) / "sitecustomize.py").write_text(run)
    return project.read_artifact(sha256)


def pickled_student(where: Path, data: bytes, _: str) -> object:
    return opened(where, "classifier", {"model.onnx": data, "tokenizer.json": data, "labels.json": data})


HOSTILE: tuple[Make, ...] = (
    auto_map, tokenizer_map, python_beside, pickle_renamed, torch_zip_renamed, pickle_alone, shard_elsewhere,
    safetensors_polyglot, pickled_gguf, gguf_polyglot, side_file, pickled_student,
)  # fmt: skip


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_it_is_refused_and_nothing_ran(make: Make, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    before = set(sys.modules)
    with pytest.raises(FreeholdError) as said:
        make(tmp_path, pickled(canary), code(canary))
    assert not canary.exists()
    assert said.value.exit_code in (30, 31, 33)
    assert not {m for m in set(sys.modules) - before if "evil" in m or "configuration_llama" in m}


def test_an_encoder_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    folder = tmp_path / "encoder"
    folder.mkdir()
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        (folder / name).write_bytes(pickled(canary))
    with pytest.raises(FreeholdError):
        read_encoder(folder)
    with pytest.raises(FreeholdError):
        weights({"model_type": "bert", "num_attention_heads": 1, "num_hidden_layers": 1}, folder)
    assert not canary.exists()


def test_the_canary_is_live(tmp_path: Path) -> None:
    """The same bytes do write the file where somebody opens them with pickle, in a process that may."""
    import subprocess

    canary = tmp_path / "canary"
    program = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", program], input=pickled(canary), check=True)
    assert canary.exists()
