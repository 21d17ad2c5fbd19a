"""From a log to a certified student behind the same API: the whole path, as a user walks it."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from freehold.errors import HopRefused, TooLittleMemory
from freehold.nouns import Audit
from freehold.project import Project
from freehold.switch import _reason

ROOT = Path(__file__).resolve().parent.parent.parent
LOG = ROOT / "examples" / "support-desk" / "calls.jsonl.gz"
BAR = 0.99


def rows(first: int, count: int) -> list[dict[str, Any]]:
    with gzip.open(LOG, "rt") as file:
        lines = [line for n, line in enumerate(file) if first <= n < first + count]
    return [json.loads(line) for line in lines]


def write(path: Path, some: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in some))
    return path


def switch(*args: str | Path, code: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-m", "freehold", "switch", *map(str, args), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else {}


def same(found: dict[str, Any]) -> dict[str, Any]:
    """A result without what may differ between two equal runs: the folder, and how long a call took."""
    return {k: v for k, v in found.items() if k not in ("project", "report", "saved_per_month")}


@contextmanager
def served(project: Path, *args: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`freehold serve` in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "freehold", "serve", str(project), "--port", "0", "--json", *args]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        assert line, server.stderr.read() if server.stderr else ""
        yield json.loads(line)["url"], server
    finally:
        if server.poll() is None:
            server.terminate()
        server.communicate(timeout=60)


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url if url.rstrip("/").endswith("/v1") else f"{url.rstrip('/')}/v1", api_key="none")


# the shape of the result


def test_the_json_has_the_promised_shape(journey: Any) -> None:
    found = journey.json
    measure = {"value", "low", "high", "n", "unit", "method"}
    assert {"project", "bar", "confidence", "kept_home", "saved_per_month", "tasks"} <= found.keys()
    assert (found["bar"], found["confidence"]) == (BAR, 0.95)
    (task,) = found["tasks"]
    assert {"name", "kind", "calls", "verdict", "needed", "kept_home", "agreement", "threshold"} <= task.keys()
    assert set(task["student"]) == {"sha256", "base", "licence", "host"}
    for m in (found["kept_home"], found["saved_per_month"], task["kept_home"], task["agreement"]):
        assert set(m) == measure
    assert (task["kind"], task["calls"], task["verdict"]) == ("labels", 23700, "move")


def test_the_promise_on_the_bundled_log(journey: Any) -> None:
    """The figure everyone sees first. 0.85 is far below what is measured, and far above an accident."""
    found = journey.json
    (task,) = found["tasks"]
    assert found["kept_home"]["value"] == pytest.approx(task["kept_home"]["value"])
    assert task["kept_home"]["value"] >= 0.85
    assert task["kept_home"]["low"] <= task["kept_home"]["value"] <= task["kept_home"]["high"]
    assert task["agreement"]["low"] == BAR
    assert task["agreement"]["value"] > BAR
    assert 0.0 <= task["threshold"] <= 1.0


def test_the_project_is_private_and_whole(journey: Any) -> None:
    assert stat.S_IMODE(journey.project.stat().st_mode) == 0o700
    held = {p.name for p in journey.project.iterdir()}
    assert {"freehold.toml", "audit.json", "plan.json", "artifacts", "verdicts", "report.html"} <= held
    assert not list(journey.project.rglob("*.tmp"))
    project = Project.open(journey.project)
    for artifact in project.artifacts():
        assert project.read_artifact(artifact.sha256) == artifact
        names = set(artifact.files)
        assert all(Path(n).suffix in (".safetensors", ".json", ".onnx") for n in names), names


def test_the_same_question_again_is_no_opening_and_the_same_answer(journey: Any) -> None:
    before = (journey.project / "openings.jsonl").read_bytes()
    again = switch(LOG, "--project", journey.project, "--bar", str(BAR))
    assert same(again) == same(journey.json)
    assert (journey.project / "openings.jsonl").read_bytes() == before


def test_another_log_is_refused(journey: Any, tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", rows(5, 50))
    switch(other, "--project", journey.project, code=22)


# served


def test_home_answers_are_the_certified_ones(journey: Any) -> None:
    """A slice of the log through the real client: at home as often as proved, and as right."""
    (task,) = journey.json["tasks"]
    some = rows(2000, 300)
    home = right = 0
    with served(journey.project, "--upstream", "replay", "--pairs", "0") as (url, _):
        chat = client(url)
        ids = [m.id for m in chat.models.list()]
        assert f"freehold/{task['name']}@{task['student']['sha256'][:8]}" in ids
        for row in some:
            raw = chat.chat.completions.with_raw_response.create(**row["request"])
            said = raw.parse().choices[0].message.content
            if raw.headers["x-freehold-answered-by"] == "student":
                home += 1
                right += said == row["response"]["choices"][0]["message"]["content"]
            else:
                assert raw.headers["x-freehold-answered-by"] == "replay"
                assert said == row["response"]["choices"][0]["message"]["content"]
    assert home >= 0.8 * len(some)
    assert right >= 0.97 * home  # 300 calls, many of them fitted on: a sanity check, the proof is the certificate


def test_a_stream_says_the_same_and_an_unknown_field_goes_up(journey: Any) -> None:
    row = next(r for r in rows(0, 500) if r["response"]["choices"][0]["message"]["content"] == "weather")
    with served(journey.project, "--upstream", "replay", "--pairs", "0") as (url, _):
        chat = client(url)
        whole = chat.chat.completions.create(**row["request"])
        stream = chat.chat.completions.create(**row["request"], stream=True, stream_options={"include_usage": True})
        pieces = list(stream)
        text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
        assert text == whole.choices[0].message.content
        assert pieces[-1].usage == whole.usage
        raw = chat.chat.completions.with_raw_response.create(**row["request"], logprobs=True)
        assert raw.headers["x-freehold-answered-by"] == "replay"


def test_the_ledger_is_a_log_again(journey: Any, tmp_path: Path) -> None:
    with served(journey.project, "--upstream", "replay", "--pairs", "0") as (url, server):
        for row in rows(100, 20):
            client(url).chat.completions.create(**row["request"])
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    command = [sys.executable, "-m", "freehold", "audit", str(journey.project / "ledger"), "--json"]
    done = subprocess.run([*command, "--project", str(tmp_path / "p")], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["calls"] >= 20
    assert found["bad_rows"] == 0


def test_without_an_upstream_what_would_go_up_is_a_503(journey: Any) -> None:
    with served(journey.project) as (url, _), pytest.raises(openai.InternalServerError) as error:
        client(url).with_options(max_retries=0).chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Write a poem."}]
        )
    assert error.value.status_code == 503
    assert error.value.body is not None


def test_a_flipped_bit_keeps_the_student_home_alone(journey: Any, tmp_path: Path) -> None:
    """A damaged artefact never serves."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(journey.project, copy)
    (sha,) = [p for p in (copy / "artifacts").iterdir() if not p.name.startswith(".")]
    weights = sha / "student.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    command = [sys.executable, "-m", "freehold", "serve", str(copy), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 30
    assert "student.safetensors" in done.stderr


# small and odd logs


def test_thirty_calls_are_too_few(tmp_path: Path) -> None:
    found = switch(write(tmp_path / "log.jsonl", rows(0, 30)), "--project", tmp_path / "p")
    (task,) = found["tasks"]
    assert task["verdict"] in ("need_more", "stay")
    assert task["student"] is None
    assert found["kept_home"]["value"] == 0


def test_one_label_only(tmp_path: Path) -> None:
    some = rows(0, 200)
    for row in some:
        row["response"]["choices"][0]["message"]["content"] = "yes"
    (task,) = switch(write(tmp_path / "log.jsonl", some), "--project", tmp_path / "p")["tasks"]
    assert task["verdict"] in ("need_more", "stay")


def test_a_task_with_nothing_to_learn_stops_no_other(tmp_path: Path) -> None:
    some = rows(0, 300)
    for n, row in enumerate(rows(300, 300)):
        row["request"]["messages"] = [
            {"role": "system", "content": "Is this polite? Answer yes or no, nothing else."},
            {"role": "user", "content": f"thank you number {n % 6}"},
        ]
        row["response"]["choices"][0]["message"]["content"] = "yes" if n % 2 else "no"
        some.append(row)
    found = switch(write(tmp_path / "log.jsonl", some), "--project", tmp_path / "p", "--bar", "0.9")
    assert len(found["tasks"]) == 2
    few = next(task for task in found["tasks"] if task["student"] is None)
    assert "different texts" in few["reason"]
    assert (tmp_path / "p" / "report.html").exists()


def test_a_flag_that_fits_no_text_task_stops_no_label_task(tmp_path: Path) -> None:
    some = rows(0, 300)
    asked = rows(300, 320)
    for n, row in enumerate(asked):
        row["request"]["messages"] = [
            {"role": "system", "content": "Write a query for the shop."},
            {"role": "user", "content": f"what did guest {n} of table {n * 7} pay"},
        ]
        row["response"]["choices"][0]["message"]["content"] = f"SELECT paid FROM bill WHERE guest = {n}"
    log = write(tmp_path / "log.jsonl", [*asked, *some])
    found = switch(log, "--project", tmp_path / "p", "--bar", "0.9", "--kind", "extract")
    task = {one["kind"]: one for one in found["tasks"]}
    assert task["sql"]["student"] is None
    assert "tagger" in task["sql"]["reason"]
    assert task["labels"]["student"] is not None


def test_what_a_page_says_quotes_no_user() -> None:
    assert _reason(HopRefused("The answer to 'my card 4929' differs.", "Give BF16.")) == (
        "It got no student (HopRefused, exit code 36); freehold tune and shrink say why."
    )
    assert _reason(TooLittleMemory("It takes 9 GB.", "Give --bits 4.")) == "It takes 9 GB. Give --bits 4."


def test_the_kept_share_is_the_served_share(tmp_path: Path) -> None:
    """What no student honours is not promised: every request here sets stop, so nothing is kept home."""
    some = rows(0, 23700)
    labels = sorted({row["response"]["choices"][0]["message"]["content"] for row in some})[:4]
    some = [row for row in some if row["response"]["choices"][0]["message"]["content"] in labels]
    for row in some:
        row["request"]["stop"] = ["\n"]
    (task,) = switch(write(tmp_path / "log.jsonl", some), "--project", tmp_path / "p", "--bar", "0.9")["tasks"]
    assert task["kept_home"]["value"] == 0
    assert task["verdict"] != "move"


def test_bad_rows_conflicts_and_a_huge_utterance_stop_nothing(tmp_path: Path) -> None:
    some = rows(0, 400)
    some[3]["request"]["messages"][1]["content"] = "x " * 500_000
    double = json.loads(json.dumps(some[5]))
    double["response"]["choices"][0]["message"]["content"] = "another_label"
    path = write(tmp_path / "log.jsonl", [*some, double])
    with path.open("ab") as file:
        file.write(b'not json\n{"request": 1}\n\xff\xfe\n')
    (task,) = switch(path, "--project", tmp_path / "p")["tasks"]
    audit = Project.open(tmp_path / "p").load(Audit)
    assert (audit.bad_rows, audit.calls, task["calls"]) == (3, 401, 401)
    assert audit.conflicts >= 1
    assert {row.line for row in audit.bad} == {402, 403, 404}


def test_until_leaves_later_calls_out(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", rows(0, 300))
    at = rows(150, 1)[0]["timestamp"]
    (task,) = switch(path, "--project", tmp_path / "p", "--until", at)["tasks"]
    assert task["calls"] < 300


# killed


@dataclass(frozen=True)
class Whole:
    """A log, what a run on it gives when nothing stops it, and how long that took here."""

    log: Path
    found: dict[str, Any]
    seconds: float


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    some = rows(0, 23700)
    labels = sorted({row["response"]["choices"][0]["message"]["content"] for row in some})[:8]
    some = [row for row in some if row["response"]["choices"][0]["message"]["content"] in labels]
    log, began = write(folder / "log.jsonl", some), time.monotonic()
    return Whole(log, switch(log, "--project", folder / "project"), time.monotonic() - began)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_any_point_the_next_run_gives_the_same(tmp_path: Path, whole: Whole, seed: int) -> None:
    wait = random.Random(seed)
    command = [sys.executable, "-m", "freehold", "switch", str(whole.log), "--project", str(tmp_path / "killed")]
    for _ in range(3):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait.uniform(0.02, 0.6) * whole.seconds)  # as far on a slow machine as on a fast one
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    found = switch(whole.log, "--project", tmp_path / "killed")
    assert same(found) == same(whole.found)
    assert found["tasks"][0]["student"] == whole.found["tasks"][0]["student"]
    assert not [p for p in (tmp_path / "killed" / "artifacts").iterdir() if p.name.startswith(".")]


def test_ctrl_c_is_130_and_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", rows(0, 3000))
    command = [sys.executable, "-m", "freehold", "switch", str(path), "--project", str(tmp_path / "p")]
    # a test run started in the background ignores ctrl-C, and so would its children
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    run = subprocess.Popen(command, preexec_fn=listen, **pipes)
    assert run.stderr is not None
    assert any("encode" in line for line in run.stderr), "it ended before it was under way"
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "Traceback" not in err
    assert "goes on where this one stopped" in err
