"""From a log whose answers are JSON, or SQL, to a student behind the same API: the whole path, as a user walks it."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from freehold.nouns import Artifact, Audit
from freehold.project import Project

pytest.importorskip("torch", reason="students that extract or write are tuned with torch: pip install 'freehold[tune]'")

ROOT = Path(__file__).resolve().parent.parent.parent
LOG = ROOT / "examples" / "extraction" / "calls.jsonl.gz"
BAR = 0.8


def run(*args: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "freehold", *map(str, args)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done


@contextmanager
def served(project: Path) -> Iterator[openai.OpenAI]:
    command = [sys.executable, "-m", "freehold", "serve", str(project), "--port", "0", "--json"]
    command += ["--upstream", "replay", "--pairs", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        assert line, server.stderr.read() if server.stderr else ""
        yield openai.OpenAI(base_url=f"{json.loads(line)['url'].rstrip('/').removesuffix('/v1')}/v1", api_key="none")
    finally:
        if server.poll() is None:
            server.terminate()
        server.communicate(timeout=60)


# extraction, on a slice of the bundled log


@pytest.fixture(scope="module")
def slice_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("extraction") / "calls.jsonl"
    with gzip.open(LOG, "rt", encoding="utf-8") as file:
        path.write_text("".join(itertools.islice(file, 1200)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def extraction(slice_of: Path) -> tuple[Path, dict[str, Any], str]:
    """The project, the result and what was said, of a journey with a small budget."""
    project = slice_of.parent / "project"
    done = run("switch", slice_of, "--project", project, "--bar", str(BAR), "--minutes", "0.5", "--json")
    return project, json.loads(done.stdout), done.stderr


def test_a_tagger_is_picked_tuned_proved_and_its_terms_told(extraction: tuple[Path, dict[str, Any], str]) -> None:
    project, found, said = extraction
    (task,) = found["tasks"]
    assert (task["kind"], task["verdict"]) == ("json", "move"), task["reason"]
    assert task["agreement"]["low"] == BAR
    assert found["kept_home"]["value"] > 0.3
    (verdict,) = Project.open(project).verdicts()
    assert verdict.asked is not None
    assert verdict.asked.rule == "json"
    (notice,) = [n for n in verdict.terms if n.rule == "T2"]
    assert notice.outcome == "WARN_COUNSEL"
    assert notice.rows > 800
    assert notice.clause in said
    fields = {row.label for row in verdict.labels}
    assert "intent" in fields
    assert any(name.startswith("slots") for name in fields)


def test_the_tagger_is_one_small_file_without_pickle(extraction: tuple[Path, dict[str, Any], str]) -> None:
    (artifact,) = Project.open(extraction[0]).artifacts()
    assert artifact.kind == "extract"
    assert all(Path(name).suffix in (".safetensors", ".json", ".onnx") for name in artifact.files)


def test_the_same_again_fits_and_opens_nothing(slice_of: Path, extraction: tuple[Path, dict[str, Any], str]) -> None:
    project, found, _ = extraction
    before = (project / "openings.jsonl").read_bytes()
    again = run("switch", slice_of, "--project", project, "--bar", str(BAR), "--minutes", "0.5", "--json")
    assert json.loads(again.stdout)["tasks"] == found["tasks"]
    assert "train the tagger" not in again.stderr
    assert (project / "openings.jsonl").read_bytes() == before


def test_home_answers_are_json_as_the_log_writes_it(
    slice_of: Path, extraction: tuple[Path, dict[str, Any], str]
) -> None:
    project, found, _ = extraction
    home = right = 0
    with served(project) as chat, slice_of.open(encoding="utf-8") as file:
        for line in itertools.islice(file, 150):
            row = json.loads(line)
            raw = chat.chat.completions.with_raw_response.create(**row["request"])
            if raw.headers["x-freehold-answered-by"] != "student":
                continue
            home += 1
            said = json.loads(raw.parse().choices[0].message.content or "")
            right += said == json.loads(row["response"]["choices"][0]["message"]["content"])
    assert home >= 0.5 * 150 * found["kept_home"]["value"]
    assert right >= BAR * home


def test_without_anything_to_learn_by_the_terms_the_task_stays(slice_of: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    Project.create(project)
    (project / "freehold.toml").write_text('use = "sold"\n', encoding="utf-8")
    done = run("switch", slice_of, "--project", project, "--bar", str(BAR), "--json")
    (task,) = json.loads(done.stdout)["tasks"]
    assert task["verdict"] == "stay"
    assert "T3" in task["reason"]
    assert "2025-12-06" in task["reason"]
    done = run("tune", "--project", project, "--task", task["name"], code=38)
    assert "permission" in done.stderr


# what must be written: SQL, by a decoder on a small base


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of questions answered in SQL, the database they are about, and a project that names it."""
    folder = tmp_path_factory.mktemp("sql")
    with sqlite3.connect(folder / "shop.sqlite") as base:
        base.execute("CREATE TABLE orders (city TEXT, item TEXT, total INTEGER)")
        rng = random.Random(1)
        cities, items = ["Oslo", "Lima", "Cairo", "Kyoto"], ["lamp", "chair", "desk"]
        rows = [(rng.choice(cities), rng.choice(items), rng.randrange(500)) for _ in range(200)]
        base.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    base.close()
    system = "Answer with one SQLite query. Table orders(city, item, total)."
    with (folder / "calls.jsonl").open("w", encoding="utf-8") as file:
        for i in range(180):
            city, item, least = rng.choice(cities), rng.choice(items), rng.randrange(400)
            asked = rng.choice(["How many {} orders from {} above {}?", "Count {} orders in {} over {}, please."])
            query = f"SELECT COUNT(*) FROM orders WHERE item = '{item}' AND city = '{city}' AND total > {least}"
            request = {
                "model": "deepseek-chat", "temperature": 0,
                "messages": [{"role": "system", "content": system},
                             {"role": "user", "content": asked.format(item, city, least)}],
            }  # fmt: skip
            answer = {"index": 0, "message": {"role": "assistant", "content": query}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 40, "completion_tokens": 30}
            row = {"timestamp": 1790000000 + 900 * i, "request": request,
                   "response": {"choices": [answer], "usage": usage}}  # fmt: skip
            file.write(json.dumps(row) + "\n")
    Project.create(folder / "project")
    (folder / "project" / "freehold.toml").write_text('vendor = "deepseek"\n', encoding="utf-8")
    run("audit", folder / "calls.jsonl", "--project", folder / "project", "--json")
    (task,) = Project.open(folder / "project").load(Audit).tasks
    said = f'vendor = "deepseek"\n[tasks.{task.name}]\nrule = "sql"\ndatabase = "../shop.sqlite"\n'
    (folder / "project" / "freehold.toml").write_text(said, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers: every hop of the journey in seconds, though no answer is right. (What the real
    small base does on such a log takes minutes: benchmarks/text_tasks.py.)"""
    pytest.importorskip("xllamacpp", reason="decoders are served by the embedded engine: pip install 'freehold[text]'")
    spec = importlib.util.spec_from_file_location("tiny", ROOT / "tests" / "shrink" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    folder: Path = module.save_tiny(tmp_path_factory.mktemp("base") / "tiny")
    return folder


@pytest.fixture(scope="module")
def written(shop: Path, base: Path) -> tuple[Path, dict[str, Any], str]:
    done = run(
        "switch", shop / "calls.jsonl", "--project", shop / "project", "--bar", "0.5", "--base", base,
        "--minutes", "0.4", "--json",
    )  # fmt: skip
    return shop / "project", json.loads(done.stdout), done.stderr


def decoder(project: Path) -> Artifact:
    (found,) = [a for a in Project.open(project).artifacts() if a.kind == "decoder"]
    return found


def test_sql_is_written_by_a_decoder_and_judged_on_the_database(written: tuple[Path, dict[str, Any], str]) -> None:
    project, found, said = written
    (task,) = found["tasks"]
    assert task["kind"] == "sql"
    (verdict,) = Project.open(project).verdicts()
    assert verdict.asked is not None
    assert verdict.asked.database.endswith("shop.sqlite")
    assert verdict.evidence is not None
    assert verdict.evidence.cal_groups > 20
    assert task["verdict"] in ("stay", "need_more")
    assert "training and server read the same ids" in said
    assert decoder(project).recipe["compared"]["wins"] in ("tuned", "fewshot")
    assert decoder(project).recipe["shrink"]["format"] in ("Q4_K_M", "Q8_0", "BF16")
    assert [n.rule for n in verdict.terms] == ["T7"]


def test_the_whole_lineage_is_kept(written: tuple[Path, dict[str, Any], str]) -> None:
    project = Project.open(written[0])
    by_sha = {a.sha256: a for a in project.artifacts()}
    last = decoder(written[0])
    assert [by_sha[parent].kind for parent in last.parents]
    assert {by_sha[p].kind for p in last.parents} <= {"adapter", "base"}
    for artifact in by_sha.values():
        assert project.read_artifact(artifact.sha256) == artifact
    assert not list((written[0] / "work").iterdir())
