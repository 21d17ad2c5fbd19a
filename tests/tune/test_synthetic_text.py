"""Textbook rows for a decoder, and a teacher at a host: what it is shown, what is kept, mixed in, and worth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.hosting import OpenHost, hosting
from tests.tune import tiny

from freehold.agree import Judge
from freehold.cli import main
from freehold.engines.decoder import Prompt
from freehold.errors import BadSetting, TermsBlocked, UpstreamMissing
from freehold.nouns import Slot, Task, Template
from freehold.project import Project
from freehold.tell import quiet
from freehold.traffic import Traffic, find_tasks, read
from freehold.tune import tune
from freehold.tune.decoder.data import Example
from freehold.tune.decoder.mixed import Weighted, Weights, mixed, seen
from freehold.tune.decoder.model import attach, load, loss
from freehold.tune.rows import held_texts, rows_of
from freehold.tune.synthetic import Given
from freehold.tune.synthetic.answer import Answering, answered
from freehold.tune.synthetic.ask import Bounds
from freehold.tune.synthetic.made import Ask, Counts, Kept, Said
from freehold.tune.synthetic.prompts import NEXT, another, shortened
from freehold.tune.synthetic.teacher import find, running
from freehold.tune.synthetic.text import parts
from freehold.tune.synthetic.voice import Wanted

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

MODEL = "Qwen/Qwen3-32B"  # under Apache-2.0 by facts
KEY = "sk-not-to-be-seen-77"
EXTRA = ("loud", "soon", "today", "again", "now", "twice", "early", "late")
MINUTES = 0.05
PARTS: dict[str, Any] = {"verb": {"type": "string"}, "thing": {"type": "string"}}
SCHEMA = {"type": "object", "properties": PARTS, "required": [*PARTS], "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "request", "schema": SCHEMA}}


@dataclass(frozen=True)
class World:
    log: Path
    task: Task
    traffic: Traffic


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    pytest.importorskip("xllamacpp")
    log = tmp_path_factory.mktemp("synthetic") / "calls.jsonl"
    with log.open("w") as file:
        for text, _ in tiny.PAIRS:
            answer = json.dumps(dict(zip(("verb", "thing"), text.split(" ", 1), strict=True)))
            choice = {"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
            request = {"model": "openai/gpt-oss-20b", "messages": tiny.messages(text), "response_format": FORMAT}
            file.write(json.dumps({"request": request, "response": {"choices": [choice]}}) + "\n")
    traffic = read([log])
    (task,) = find_tasks(traffic)
    assert task.kind == "json"
    return World(log, task, traffic)


def teacher(body: dict[str, Any]) -> tuple[str, None]:
    """New texts by the seed; of their answers, some lack a part, and some are others once other rows are shown."""
    text = body["messages"][-1]["content"]
    if text == NEXT:
        seed = body["seed"]
        return f"{tiny.VERBS[seed % 6]} {tiny.THINGS[seed // 6 % 10]} {EXTRA[seed // 60 % 8]}", None
    verb, _, thing = text.partition(" ")
    if "early" in text:
        return json.dumps({"verb": verb}), None
    if "late" in text:
        verb = body["messages"][1]["content"]
    return json.dumps({"verb": verb, "thing": thing}), None


@pytest.fixture
def host() -> Iterator[OpenHost]:
    with hosting(teacher) as one:
        yield one


def test_a_decoder_learns_from_a_hosts_rows_and_both_are_asked_the_same(
    world: World, folder: Path, host: OpenHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it: what the host was shown, what became of its rows, both students, and a second run."""
    monkeypatch.setattr("freehold.tune.synthetic.text.SHARE", 100.0)  # the host has time for all, whatever runs beside
    task, project = world.task, Project.create(tmp_path / "project")
    given = Given(48, f"{host.url}#{MODEL}", keep=True)

    def made(given: Given) -> Any:
        how: dict[str, Any] = {"kind": "decoder", "base": str(folder), "minutes": MINUTES, "synthetic": given}
        return tune(task, world.traffic, project, **how)

    artifact = made(given)
    rows, held = rows_of(task, world.traffic), held_texts(task, world.traffic)
    split = parts(rows, range(len(rows.texts)), held)
    assert held
    assert split.own.texts
    shown = {m["content"] for body in host.seen for m in body["messages"]}
    assert not shown & set(split.unseen), "what certifies or is held back is shown to nobody"
    assert shown & set(split.learn.texts)
    assert {body["model"] for body in host.seen} == {MODEL}

    outcome = json.loads((project.path / f"synthetic-{task.name}.json").read_text())
    counts = outcome["counts"]
    assert counts["asked"] == 48
    assert counts["form"] > 0
    assert counts["disagreed"] > 0
    assert counts["kept"] > 0
    others = ("malformed", "private", "held_out", "duplicates", "disagreed", "form", "late", "kept")
    assert sum(counts[name] for name in others) == 48
    assert outcome["value"]["with_"]["n"] == outcome["value"]["without"]["n"] > 0
    assert (outcome["kept"], outcome["artifact"]) == (True, artifact.sha256)
    assert project.tuned()[task.name] == artifact.sha256

    learned = artifact.recipe["synthetic"]
    assert artifact.kind == "adapter"
    assert learned["rows"] == counts["kept"]
    assert 0 < learned["seen"] <= learned["rows"]
    assert learned["weight"] == min(1.0, 0.5 * len(split.learn.texts) / counts["kept"])
    file = project.artifact_path(artifact.sha256) / "synthetic.jsonl"
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert len(lines) == counts["kept"]
    for row in lines:
        said = json.loads(row["answer"])
        assert row["text"] == f"{said['verb']} {said['thing']}"
        assert not {"early", "late"} & set(row["text"].split())
        assert (row["teacher"], row["licence"], row["host"]) == (MODEL, "Apache-2.0", host.url)
        assert row["prompt"]["rows"]
    own = json.loads((project.artifact_path(artifact.sha256) / "own.json").read_bytes())["texts"]
    assert not set(own) & {row["text"] for row in lines}

    asked = len(host.seen)
    assert made(given).sha256 == artifact.sha256
    assert len(host.seen) == asked, "what was made is not asked for again"
    schemas = [body["response_format"]["json_schema"]["schema"] for body in host.seen if "response_format" in body]
    assert schemas == [SCHEMA] * (2 * (48 - counts["held_out"] - counts["duplicates"] - counts["private"]))

    without = made(Given(8, str(folder)))  # a random model on this machine: what it writes is no help
    outcome = json.loads((project.path / f"synthetic-{task.name}.json").read_text())
    assert outcome["counts"]["asked"] == 8
    assert not outcome["kept"]
    assert outcome["artifact"] == without.sha256 == project.tuned()[task.name]
    assert without.sha256 != artifact.sha256
    assert "synthetic" not in without.recipe


# how they are mixed in


def test_a_made_row_counts_by_its_weight(folder: Path) -> None:
    """Against the plain loss: at weight 1 it is the same, at w the mean of both parts by their ids and weights."""
    tokens, found = tiny.examples(folder, 12)
    logged, made = found.some(range(8)), found.some(range(8, 12))
    model, by = attach(load(folder, "float32"), rank=4, alpha=8, seed=0), Weights()
    with torch.no_grad():
        one, other = (float(loss(model, some.rows, found.prefix, tokens.pad)) for some in (logged, made))
        n, m = (sum(len(row.answer) for row in some.rows) for some in (logged, made))
        for weight in (1.0, 0.25):
            both = mixed(logged, made, weight)
            assert [type(row) for row in both.rows] == [Example] * 8 + [Weighted] * 4
            assert sum(map(by.weight, both.rows)) == n + weight * m
            want = (n * one + weight * m * other) / (n + weight * m)
            assert abs(float(by.loss(model, both.rows, both.prefix, tokens.pad)) - want) < 1e-5
            whole = both.whole()
            assert abs(float(by.loss(model, whole.rows, whole.prefix, tokens.pad)) - want) < 1e-4


def test_how_many_made_rows_a_run_has_time_for_is_counted() -> None:
    assert seen(30, 10, 40, 0) == 10
    assert seen(30, 0, 30, 0) == 0
    assert 0 < seen(300, 100, 200, 0) < 100


# texts and answers


def test_a_prompt_has_as_many_rows_as_there_is_room_for() -> None:
    assert shortened([10, 10, 10]) == 3
    assert shortened([5000, 4000, 1500]) == 2
    assert shortened([10, 90_000]) == 1
    said = another(["one", "two"])
    assert [m["role"] for m in said] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert said[-1]["content"] == NEXT


def test_the_second_time_other_rows_are_shown() -> None:
    rows = [(f"play song {i}", f"s{i}") for i in range(12)]
    how = Answering.of(Prompt("Answer."), rows, None, Bounds(20, 1.0, True))
    first, second = ([m["content"] for m in how.wanted("play song 99", again).messages] for again in (False, True))
    assert len(set(first) & set(second)) == 2, "the fixed words and the text alone"
    assert first[-1] == second[-1] == "play song 99"
    few = Answering.of(Prompt(), rows[:3], {"type": "object"}, Bounds(20, 1.0, True))
    assert few.wanted("play", True).schema == {"type": "object"}
    assert few.wanted("play", True).stop == ()
    assert len(few.wanted("play", True).messages) == 7


def test_answers_that_may_not_teach_are_counted() -> None:
    said = [
        ('{"a": 1}', '{"a":1}'), ('{"a": 1', '{"a": 1'), ('{"a": 2}', '{"a": 3}'), ("", ""),
        ('{"mail": "ana.lopez@firm.com"}',) * 2, ('{"b": 1}',) * 2, ('{"a": "' + "x" * 90 + '"}',) * 2,
    ]  # fmt: skip
    kept = [Kept(Ask(i, "", 0, (0,), i), f"t{i}", "", "") for i in range(len(said) + 2)]
    flat = [Said(one, "eos") for pair in said for one in pair]
    before = Counts(asked=9, kept=9)
    found, counts = answered(kept, [*flat, Said("{}", "eos")], Judge("json"), lambda one: '"b"' not in one, 40, before)
    assert [(row.text, row.answer) for row in found] == [("t0", '{"a": 1}')]
    assert (counts.malformed, counts.form, counts.private, counts.disagreed, counts.late) == (2, 2, 1, 1, 2)
    assert (counts.kept, before.kept) == (1, 9)
    cut = answered(kept[:1], [Said('{"a": 1}', "length")] * 2, Judge("json"), bool, 40, before)
    assert cut[1].malformed == 1


# a host as the teacher


TASK = Task("t", Template((Slot("user", "", "", True),)), "text", 10, 1.0)


def teach(project: Project, named: str, **more: Any) -> Any:
    return find(Given(1, named, **more), project, TASK)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "project")


def test_a_host_may_teach_where_its_models_licence_lets_it(project: Project) -> None:
    at = "http://127.0.0.1:8000/v1/#"
    found = teach(project, at + MODEL)
    assert (found.name, found.sha256, found.said["licence"]) == (MODEL, "", "Apache-2.0")
    assert found.said["host"] == "http://127.0.0.1:8000/v1"
    assert teach(project, at + "our-own", licence="mit").licence.id == "mit"


@pytest.mark.parametrize(
    ("named", "licence", "said"),
    [
        ("our-own", None, r"our-own may not teach: its licence is not on file.*rule T10.*as of 20\d\d-"),
        ("our-own", "secret", r"our-own may not teach: its licence is 'secret'"),
        ("our-own", "llama3", r"our-own may not teach: .*BLOCK"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "MIT", r"may not teach: .*BLOCK"),
        ("gpt-4o", "MIT", r"gpt-4o may not teach: it is openai's, rule T2 .*as of"),
        ("claude-sonnet-4-5", "Apache-2.0", r"claude-sonnet-4-5 may not teach: it is anthropic's, rule T"),
    ],
)
def test_any_other_model_at_a_host_is_refused(project: Project, named: str, licence: str | None, said: str) -> None:
    with pytest.raises(TermsBlocked, match=said):
        teach(project, f"http://localhost:8000/v1#{named}", licence=licence)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("http://127.0.0.1:8000/v1", "names no model at 127"),
        ("http://#m", "a url without a host"),
        ("http://127.0.0.1:notaport/v1#m", "a url without a host"),
        (f"http://me:{KEY}@127.0.0.1/v1#m", "a user, a password or a query"),
        (f"http://127.0.0.1/v1?key={KEY}#m", "a user, a password or a query"),
        (f"https://api.example.com/v1#{MODEL}", "outside the house"),
        ("closed", "does not say open = true"),
    ],
)
def test_a_url_that_can_not_be_asked_is_refused_without_its_key(project: Project, named: str, said: str) -> None:
    with (project.path / "freehold.toml").open("a") as file:
        file.write('[upstreams.closed]\nurl = "https://api.openai.com/v1"\nmodel = "gpt-4o"\n')
    with pytest.raises(BadSetting, match=said) as raised:
        teach(Project.open(project.path), named)
    assert KEY not in str(raised.value)


def test_a_key_goes_to_its_host_and_nowhere_else(
    world: World, host: OpenHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From freehold.toml, in the header alone; what the host is told is redacted where that is said."""
    monkeypatch.setenv("LOCAL_KEY", KEY)
    project = Project.create(tmp_path / "project")
    with (project.path / "freehold.toml").open("a") as file:
        file.write(f'[upstreams.local]\nurl = "{host.url}"\nopen = true\nmodel = "{MODEL}"\n')
        file.write('key_env = "LOCAL_KEY"\nprivate = "redacted"\n')
    project = Project.open(project.path)
    found = teach(project, "local")
    wanted = Wanted([{"role": "user", "content": "book for ana.lopez@firm.com"}], 20, ("\n",), 0.8, 7)
    with running(found, project, tmp_path, "text", quiet) as voice:
        assert voice.say(wanted).stopped == "eos"
        host.finish = "length"
        assert voice.say(replace(wanted, schema={"type": "object", "x-guidance": {}})).stopped == "length"
    assert host.keys == [f"Bearer {KEY}"] * 2
    assert "ana.lopez" not in json.dumps(host.seen)
    first, second = host.seen
    assert (first["stop"], first["seed"], first["temperature"], first["max_tokens"]) == (["\n"], 7, 0.8, 20)
    assert second["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert KEY not in repr(found) + json.dumps(found.said)


def test_a_host_that_fails_is_said_and_a_closed_model_behind_it_ends_the_asking(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.engines.hosted.PAUSE", 0.0)
    wanted = Wanted([{"role": "user", "content": "book"}], 20)

    class Proxy(OpenHost):
        def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
            return super().answer(body | {"model": "gpt-4o-2024-08-06"})

    with hosting(teacher) as host:
        found = teach(project, f"{host.url}#{MODEL}")
        with running(found, project, tmp_path, "text", quiet) as voice:
            host.fails = [400]
            assert voice.say(wanted).stopped == "refused"
            host.fails = [503] * 5
            with pytest.raises(UpstreamMissing, match=r"The host 127\.0\.0\.1:\d+ answered 503\.") as raised:
                voice.say(wanted)
            assert "sk-secret" not in str(raised.value)
            host.answer = Proxy(teacher).answer  # type: ignore[method-assign]
            with pytest.raises(TermsBlocked, match="gpt-4o-2024-08-06 may not teach: it is openai's"):
                voice.say(wanted)


# the command line


def test_flags_that_say_nothing_without_rows_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Project.create(tmp_path / "project")
    at = ["tune", "--project", str(tmp_path / "project")]
    for flags in (["--teacher-licence", "mit"], ["--synthetic-weight", "0.5"], ["--teacher", "smollm2"]):
        assert main([*at, *flags]) == BadSetting.exit_code
        assert "Give --synthetic N." in capsys.readouterr().err
