"""G34: one bit of a stored file is another: it is found before the file is used, wherever the bit lies.

Sixty flips here, seeded; benchmarks/trust/flips.py makes 1,000 in a real student, tokenizer, adapter and base too.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from freehold.errors import FreeholdError
from freehold.nouns import Artifact, Audit
from freehold.project import Project

from .world import project_at

FLIPS = 60


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def used(project: Path) -> list[Artifact]:
    """Everything that a start reads of a project, each file checked as the start does."""
    opened = Project.open(project)
    opened.load(Audit)
    return [opened.read_artifact(v.student.sha256) for v in opened.verdicts() if v.student is not None]


def refusal(project: Path) -> int:
    """The exit code of a start; 0 where nothing was found."""
    try:
        used(project)
    except FreeholdError as error:
        return error.exit_code
    return 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_at(tmp_path_factory.mktemp("whole") / "project").path


def kept(project: Path) -> list[Path]:
    """The computed files: model, manifest, verdict, audit (freehold.toml is a person's)."""
    found = [p for top in ("artifacts", "verdicts") for p in (project / top).rglob("*") if p.is_file()]
    return sorted([*found, project / "audit.json"])


def test_every_flip_is_found(whole: Path, tmp_path: Path) -> None:
    assert len(used(whole)) == 1
    project = tmp_path / "project"
    shutil.copytree(whole, project)
    files, chance, missed = kept(project), random.Random(34), []
    assert {p.name for p in files} == {"manifest.json", "script.json", "checks.json", "intents.json", "audit.json"}
    for i in range(FLIPS):
        path = files[i % len(files)]
        bit = chance.randrange(8 * path.stat().st_size)
        flip(path, bit)
        if refusal(project) not in (21, 30):
            missed.append((path.name, bit))
        flip(path, bit)
    assert missed == []
    assert len(used(project)) == 1


def test_a_link_is_no_file_of_an_artefact(whole: Path, tmp_path: Path) -> None:
    """What a manifest has checked must still be what is opened afterwards."""
    project = tmp_path / "project"
    shutil.copytree(whole, project)
    script = next((project / "artifacts").rglob("script.json"))
    script.rename(tmp_path / "elsewhere.json")
    script.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(FreeholdError) as said:
        used(project)
    assert said.value.exit_code == 30
