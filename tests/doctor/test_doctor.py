"""freehold doctor: what is here is said as it is; what was measured is hardware that the plan predicts with."""

from __future__ import annotations

import json
import os
import re
from dataclasses import fields
from pathlib import Path

import pytest
from tests.plan.speed.test_speed import LLAMA_8B

from freehold.cli import main
from freehold.doctor import doctor
from freehold.doctor.command import lines
from freehold.doctor.look import extras, look
from freehold.doctor.measure import bandwidth
from freehold.errors import BaseUnusable, ProjectMissing, ProjectVersion
from freehold.fit import Architecture
from freehold.nouns import Measure
from freehold.nouns.machine import EngineSpeed, Machine
from freehold.plan.speed import speed
from freehold.plan.speed.machine import this_machine
from freehold.project import Project
from freehold.project.gateway import Limits
from freehold.project.storage import pretty

SMOLLM2 = {
    "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's cache folder with no base in it: nothing is measured with an engine here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def machine(**more: object) -> Machine:
    said = {"system": "Linux", "cpu": "Some CPU", "cores": 4, "memory": 32 << 30, "free": 16 << 30, "disk": 1 << 40}
    return Machine(**said, python="3.11.7", freehold="0.1.0", made="2026-11-25T12:00:00+00:00", **more)  # type: ignore[arg-type]


def test_what_is_here() -> None:
    found = look()
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert 0 < found.free <= found.memory
    assert found.bandwidth.value is None
    assert found.engine is None
    assert found.bases == ()


def test_each_extra_says_what_it_lacks() -> None:
    asks = [
        "aiohttp<4,>=3.12", "pytest>=8; extra == 'test'", "no-such-thing>=1; extra == 'odd'",
        "numpy; extra == 'odd'", 'freehold[text]; extra == "tune"',
    ]  # fmt: skip
    assert extras(asks) == {"odd": ("no-such-thing",), "test": (), "tune": ()}


def test_bandwidth_is_of_the_right_size() -> None:
    found = bandwidth(0.05, cores=1, each=8 << 20)
    assert found.n >= 3
    assert found.value is not None
    assert 1e8 < found.value < 1e13
    assert (found.low or 0) <= found.value <= (found.high or 0)
    assert "1 cores read 16 MiB" in found.method


def test_without_a_base_the_rest_is_measured_and_the_reason_is_told() -> None:
    found = doctor(measure=True, seconds=0.5)
    assert found.bandwidth.value is not None
    assert found.engine is None
    assert "freehold base" in found.why
    assert found.made
    assert any(line.startswith("engine     not measured:") for line in lines(found))


def test_a_base_that_was_named_and_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BaseUnusable):
        doctor(measure=True, base=tmp_path / "none.gguf", seconds=0.1)


def test_the_page_for_people() -> None:
    rates = Measure(30e9, 28e9, 31e9, 40, "bytes/s", "4 cores")
    text = "\n".join(lines(machine(bandwidth=rates, extras={"text": ("gguf",), "tune": ()}, load=3.5)))
    assert "bandwidth  30.0 GB/s (28.0 to 31.0; 4 cores)" in text
    assert "lacks gguf: pip install 'freehold[text]'" in text
    assert "the load was 3.5 on 4 cores" in text


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cores"] >= 1
    assert found["limits"]["body_mib"] == {"value": 4.0, "unit": "MiB"}
    assert found["engine_network"]
    assert main(["doctor", "--base", "smollm2"]) == 2
    assert "needs --measure" in capsys.readouterr().err


def test_every_limit_is_printed_by_its_name_with_its_unit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for one in fields(Limits):
        assert re.search(rf"^  {one.name} +[0-9]", said, re.M), one.name
    assert re.search(r"^  header_kib +32 KiB$", said, re.M)
    assert re.search(r"^  running_tokens +2,000,000 tokens of all calls under way$", said, re.M)
    assert "the defaults" in said
    assert re.search(r"^isolation  an engine's process (has no network|keeps the network: .+)$", said, re.M)


def test_a_projects_own_limits_are_the_ones_that_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Project.create(tmp_path / "p")
    settings = project.path / "freehold.toml"
    settings.write_text(settings.read_text() + "[limits]\nbody_mib = 0.5\nmessages = 7\n")
    assert main(["doctor", "--project", str(project.path)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^  body_mib +0.5 MiB   \(default 4\)$", said, re.M)
    assert re.search(r"^  messages +7   \(default 1,024\)$", said, re.M)
    assert str(settings) in said
    assert not (project.path / "machine.json").exists()
    assert main(["doctor", "--project", str(project.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["limits"]
    assert found["messages"] == {"value": 7, "unit": ""}
    assert set(found) == {one.name for one in fields(Limits)}


def test_a_project_that_is_not_there_or_has_a_bad_limit_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--project", str(tmp_path / "none")]) == ProjectMissing.exit_code
    assert str(tmp_path / "none") in capsys.readouterr().err
    settings = Project.create(tmp_path / "p").path / "freehold.toml"
    settings.write_text("[limits]\nmessages = 0\n")
    assert main(["doctor", "--project", str(tmp_path / "p")]) == 2
    assert "messages is 0" in capsys.readouterr().err


def test_the_plan_predicts_from_what_was_measured(tmp_path: Path) -> None:
    assert this_machine(tmp_path) is None
    engine = EngineSpeed(
        "smollm2", "ab", "Q4_1", 134_515_008, 97_000_000, 4, 512, Measure(900.0), Measure(120.0), 4, Measure(200.0),
        flops=2 * 134_515_008 * 900.0, bandwidth=97e6 * 120,
    )  # fmt: skip
    (tmp_path / "machine.json").write_bytes(pretty(machine(bandwidth=Measure(40e9), engine=engine)))
    row = this_machine(tmp_path)
    assert row is not None
    assert (row.ref, row.status, row.as_of) == ("hardware/this-machine", "computed", "2026-11-25")
    found = speed("m", Architecture.of(LLAMA_8B), row, "Q4_K_M", gpus=1, streams=1, context=32, prompt=128)
    assert found.decode.value == pytest.approx(97e6 * 120 / 4.92e9, rel=0.02)  # its weights at the measured bytes/s
    assert found.prefill.value == pytest.approx(900 * 134_515_008 / 8_030_261_248, rel=0.02)
    assert "as measured on it" in found.decode.method
    small = Architecture.of(SMOLLM2)
    four = speed("m", small, row, "Q4_1", gpus=1, streams=4, context=1, prompt=128)
    assert four.decode.value == pytest.approx(200, rel=0.15)  # as it was measured with this very base


def test_a_machine_without_an_engine_is_known_by_its_bandwidth(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_bytes(pretty(machine(bandwidth=Measure(40e9))))
    row = this_machine(tmp_path)
    assert row is not None
    found = speed("m", Architecture.of(LLAMA_8B), row, "Q4_K_M", gpus=1, streams=1, context=32, prompt=128)
    assert found.prefill.value is None
    assert found.decode.value == pytest.approx(0.68 * 40e9 / 4.92e9, rel=0.03)


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text("{")
    with pytest.raises(ProjectVersion, match="can't be read"):
        this_machine(tmp_path)


def test_measuring_wants_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--measure", "--project", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err
