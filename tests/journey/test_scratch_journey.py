"""A model of one's own from the first weight to the last answer: train, tune in 4 bits, shrink, prove, serve."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from freehold.engines.gguf.read import check
from freehold.nouns import Artifact
from freehold.project import Project

pytest.importorskip("torch", reason="a model is trained with torch: pip install 'freehold[tune]'")
pytest.importorskip("xllamacpp", reason="a model is served by llama.cpp: pip install 'freehold[text]'")

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = ROOT / "examples" / "text"
BAR = 0.6


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "freehold", *map(str, args)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """(the model's project, the log's project, the last verdict): each step one command."""
    where = tmp_path_factory.mktemp("scratch")
    own, log, project = where / "own", where / "intents.jsonl", where / "intents"
    short = [sys.executable, str(ROOT / "examples" / "extraction" / "make.py"), "--intents", "2000"]
    log.write_bytes(subprocess.run(short, capture_output=True, check=True).stdout)
    size = ["--vocabulary", "1024", "--set", "context=512", "--set", "layers=2", "--set", "width=64"]
    # the pages hold braces and quotation marks, which books don't: a frozen base can't write what it never read
    text = [TEXT / "sherlock", TEXT / "wodehouse", ROOT / "docs", "--licence", "docs=Apache-2.0"]
    run("train", *text, "--project", own, "--tokens", "1200k", "--threads", "1", *size)
    run("audit", log, "--project", project)
    run("plan", "--project", project)
    run("tune", "--project", project, "--base", own, "--kind", "decoder", "--bits", "4", "--minutes", "0.6")
    run("shrink", "--project", project, "--formats", "Q4_K_M,Q8_0", "--no-speculation")
    (verdict,) = json.loads(run("prove", "--project", project, "--bar", str(BAR), "--json").stdout)
    return own, project, verdict


def line_of(project: Project) -> list[Artifact]:
    """What is served, and all that it came from."""
    by_sha = {a.sha256: a for a in project.artifacts()}
    (chosen,) = project.tuned().values()
    found, todo = [], [chosen]
    while todo:
        found.append(project.read_artifact(todo.pop()))
        todo += [sha256 for sha256 in found[-1].parents if sha256 in by_sha]
    return found


def test_each_step_stands_on_the_one_before(walked: tuple[Path, Path, dict[str, Any]]) -> None:
    own, project = Project.open(walked[0]), Project.open(walked[1])
    (model,) = (a for a in own.artifacts() if a.kind == "model")
    served, *before = line_of(project)
    assert [a.kind for a in (served, *before)] == ["decoder", "adapter", "base"]
    assert served.licence == before[0].licence == model.licence == "CC0-1.0 AND Apache-2.0"
    assert before[0].recipe["base"]["source"] == str(own.artifact_path(model.sha256))
    assert before[0].recipe["plan"]["bits"] == 4
    folder = project.artifact_path(served.sha256)
    keys = check(folder / "model.gguf").keys
    assert keys["general.architecture"] == "llama"
    config = msgspec.json.decode((own.artifact_path(model.sha256) / "config.json").read_bytes())
    assert keys["llama.block_count"] == config["num_hidden_layers"]
    table = msgspec.json.decode((folder / "parity.json").read_bytes())
    rows = {row["format"]: row for row in table["formats"]}
    assert (table["taken"] == "Q4_K_M") == (not rows["Q4_K_M"]["why"]), "4 bits are taken, or refused with the reason"
    assert rows["Q4_K_M"]["bytes"] < 0.5 * rows["F32"]["bytes"]


def test_it_is_proved_and_answers_at_home(walked: tuple[Path, Path, dict[str, Any]]) -> None:
    _, path, verdict = walked
    assert verdict["decision"] == "move", verdict["reason"]
    assert verdict["agreement"]["low"] >= BAR
    line = [sys.executable, "-m", "freehold", "serve", str(path), "--port", "0", "--json"]
    line += ["--upstream", "replay", "--pairs", "0"]
    server = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = json.loads(server.stdout.readline())["url"].rstrip("/").removesuffix("/v1")
        home = right = 0
        with (
            (path.parent / "intents.jsonl").open(encoding="utf-8") as log,
            closing(openai.OpenAI(base_url=f"{url}/v1", api_key="none")) as chat,
        ):
            for row in (json.loads(line) for _, line in zip(range(60), log, strict=False)):
                raw = chat.chat.completions.with_raw_response.create(**row["request"])
                if raw.headers["x-freehold-answered-by"] == "student":
                    home += 1
                    wanted = row["response"]["choices"][0]["message"]["content"]
                    right += raw.parse().choices[0].message.content == wanted
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert home >= 0.5 * 60 * verdict["kept_home"]["value"]
    assert right >= BAR * home
