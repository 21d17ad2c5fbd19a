"""Textbook rows: who may teach, what is shown, what is left out, what they are worth, and a run that was killed."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold.cli import main
from freehold.engines.bases import Base
from freehold.engines.llama.completion import Completion, Request
from freehold.engines.llama.engine import Engine
from freehold.engines.scripted import START, ScriptedEngine
from freehold.errors import BadSetting, TermsBlocked
from freehold.facts import facts
from freehold.nouns import Artifact, Slot, Task, Template
from freehold.project import Project, sha256_file
from freehold.tell import quiet
from freehold.traffic import Traffic, find_tasks, read
from freehold.tune.rows import held_texts, rows_of
from freehold.tune.synthetic import Given
from freehold.tune.synthetic.ask import NAME, ask_all
from freehold.tune.synthetic.label import label as label_with
from freehold.tune.synthetic.made import Ask, Said, check, row_id
from freehold.tune.synthetic.prompts import plan, wording
from freehold.tune.synthetic.sift import sift
from freehold.tune.synthetic.teacher import find, may_teach
from freehold.tune.synthetic.value import difference, paired
from freehold.tune.synthetic.voice import CONTEXT, Local, Wanted

CANARY = "zxq"
TASK = Task("t", Template((Slot("user", "", "", True),)), "labels", 10, 1.0)


def model(folder: Path, name: str, licence: str) -> Base:
    (folder / "config.json").write_text("{}")
    return Base(name, folder, "hf", "0" * 64, licence, "here")


def test_a_licence_that_is_free_may_teach(tmp_path: Path) -> None:
    for licence in ("Apache-2.0", "MIT", "OpenMDW-1.0"):
        assert may_teach(model(tmp_path, "ours", licence), facts()).values["out"] == "free"


@pytest.mark.parametrize(
    ("name", "licence"),
    [("ours", "llama3"), ("Meta-Llama-3-8B-Instruct", "MIT"), ("ours", "gemma"), ("gemma-2-2b-it", "MIT"),
     ("ours", "CC-BY-NC-4.0"), ("ours", "unknown"), ("smollm2", "unknown"), ("ours", "MIT AND secret")],
)  # fmt: skip
def test_any_other_is_refused_with_source_and_date(tmp_path: Path, name: str, licence: str) -> None:
    with pytest.raises(TermsBlocked, match=rf"{name} may not teach: .*as of 20\d\d-"):
        may_teach(model(tmp_path, name, licence), facts())


def test_a_closed_model_is_refused_by_its_vendors_terms(tmp_path: Path) -> None:
    with pytest.raises(TermsBlocked, match=r"gpt-4o may not teach: it is openai's, rule T2 .*as of"):
        find(Given(1, "gpt-4o"), Project.create(tmp_path / "project"), TASK)


def test_what_a_person_says_of_a_licence_stands_beside_what_the_model_says(tmp_path: Path) -> None:
    unnamed, known = model(tmp_path, "ours", "unknown"), facts()
    assert may_teach(unnamed, known, "MIT").id == "mit"
    for base, said in ((unnamed, "llama3"), (model(tmp_path, "ours", "llama3"), "MIT"), (unnamed, "no such")):
        with pytest.raises(TermsBlocked, match="ours may not teach"):
            may_teach(base, known, said)


def test_shown_rows_are_of_one_fold_and_rare_labels_come_first() -> None:
    labels = ["a"] * 20 + ["b"] * 5
    fold = np.arange(25) % 5
    asks = plan(labels, fold, 20, 0)
    assert all(fold[i] == ask.fold for ask in asks for i in ask.shown)
    assert all(labels[ask.shown[-1]] == ask.label for ask in asks)
    assert [ask.label for ask in asks[:15]] == ["b"] * 15
    assert plan(labels, fold, 12, 0) == asks[:12]
    assert plan(labels, fold, 12, 1) != asks[:12]


def test_what_may_not_teach_is_counted() -> None:
    held = ["when will the parcel that i ordered come to my new house in the old town"]
    said = [
        Said("where is my parcel", "eos"),
        Said("where is MY parcel?", "eos"),
        Said("so " + held[0] + " at last then", "eos"),
        Said("it was cut in the", "length"),
        Said("write to ana.lopez@firm.com about it", "eos"),
        Said("i want my money", "eos"),
    ]
    asks = [Ask(i, "x", 0, (0,), i) for i in range(len(said))]
    kept, counts = sift(asks, said, ["i want my money", "a" * 100], held)
    assert [row.text for row in kept] == ["where is my parcel"]
    found = (counts.malformed, counts.private, counts.held_out, counts.duplicates, counts.kept)
    assert found == (1, 1, 1, 2, 1)
    assert counts.kinds == {"email": 1}


def wanted(ask: Ask) -> Wanted:
    return Wanted(wording([("some text", "a")], ask.label), 20, ("\n",), 0.8, ask.seed, again=True)


def test_a_killed_run_goes_on_behind_its_last_whole_row(tmp_path: Path) -> None:
    asks = plan(["a", "b"] * 10, np.arange(20) % 5, 8, 0)
    engine = ScriptedEngine({"Kind": ("new words", 0.9)})
    whole = ask_all(asks, wanted, Local(engine), tmp_path / NAME, 60.0, tell=quiet)
    lines = (tmp_path / NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / NAME).write_bytes(b"".join(lines[:3]) + lines[3][:9])
    engine = ScriptedEngine({"Kind": ("new words", 0.9)})
    assert ask_all(asks, wanted, Local(engine), tmp_path / NAME, 60.0, tell=quiet) == whole
    assert [one.seed for one in engine.asked] == [ask.seed for ask in asks[3:]]


def test_the_time_bounds_the_asking(tmp_path: Path) -> None:
    asks = plan(["a", "b"] * 10, np.arange(20) % 5, 8, 0)
    engine = ScriptedEngine({}, otherwise=("words", 0.9), pace=0.5)
    said = ask_all(asks, wanted, Local(engine), tmp_path / NAME, 5.0, tell=quiet)
    assert 0 < len(said) < len(asks)


def test_a_difference_has_its_interval() -> None:
    value = paired([True] * 90 + [False] * 10, [True] * 60 + [False] * 40)
    assert value.helps
    assert (value.only_with, value.only_without) == (30, 0)
    assert not paired([True, False], [False, False]).helps
    few = difference(5, 5, 100)
    assert few.low is not None
    assert few.high is not None
    assert few.low < 0 < few.high


def test_what_cannot_be_asked_is_refused() -> None:
    task = TASK
    with pytest.raises(BadSetting, match="--synthetic is 0"):
        check(Given(0), task)
    with pytest.raises(BadSetting, match="Both --synthetic and --finetune"):
        check(Given(1), task, finetune=Path())
    with pytest.raises(BadSetting, match="--synthetic-weight is for decoders"):
        check(Given(1, weight=0.5), task)
    text, json_ = (replace(task, kind=kind) for kind in ("text", "json"))
    check(Given(1, weight=0.5), text)
    check(Given(1), json_, "decoder")
    with pytest.raises(BadSetting, match=r"--synthetic-weight is 0\."):
        check(Given(1, weight=0.0), text)
    with pytest.raises(BadSetting, match="tried as a tagger first"):
        check(Given(1), json_)
    with pytest.raises(BadSetting, match="Both --synthetic and --kind extract"):
        check(Given(1), json_, "extract")
    check(Given(1, weight=0.5), task, "decoder")
    with pytest.raises(BadSetting, match="t also reads tools"):
        check(Given(1), replace(text, reads=("tools",)))


FAMILIES = ("pump", "valve")
FRAMES = ("please send the {} part", "is the {} one in stock", "do you have {} left", "when does {} come back")
CODES = 50


def codes(family: str) -> list[str]:
    """Made-up names of parts, which no encoder has read: the first two are asked for again and again."""
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    rng = np.random.default_rng(0)
    drawn = ["".join(syllables[i] for i in rng.permutation(len(syllables))[:3]) for _ in range(2 * CODES)]
    return drawn[:CODES] if family == FAMILIES[0] else drawn[CODES:]


def parts() -> list[tuple[str, str]]:
    """(text, label), each with a canary of its own: two of three name a part that no other text names."""
    made = []
    for i in range(2 * CODES):
        family, known = FAMILIES[i % 2], codes(FAMILIES[i % 2])
        part = known[i // 2] if i % 6 < 4 else known[i // 6 % 2]
        made.append((f"{FRAMES[i // 2 % 4].format(part)} {CANARY}{i:03}", family))
    return made


def shop() -> list[tuple[str, str]]:
    """(text, label), in words that a small model has read."""
    refunds = (
        "i want my money back for the shoes", "please refund the red lamp", "can you return my payment for two books",
        "the phone is broken so give me a refund", "how do i get a refund for a coat",
        "refund my order of a garden chair", "i was charged twice and want it back",
    )  # fmt: skip
    tracking = (
        "where is my parcel", "when will the kitchen table arrive", "has my order been sent yet",
        "track the delivery of my new bike", "the package should have come on monday",
        "what day does the courier bring it",
    )  # fmt: skip
    return [*((text, "refund") for text in refunds), *((text, "tracking") for text in tracking)]


def logged(path: Path, pairs: Sequence[tuple[str, str]]) -> Traffic:
    """As calls."""
    with path.open("w", encoding="utf-8") as file:
        for text, label in pairs:
            said = {"choices": [{"message": {"role": "assistant", "content": label}, "finish_reason": "stop"}]}
            asked = {"model": "m", "messages": [{"role": "user", "content": text}]}
            file.write(json.dumps({"request": asked, "response": said}) + "\n")
    return read([str(path)])


class Expert(ScriptedEngine):
    """A teacher that knows all parts of the family it is asked for: a usual one, and three more."""

    def prompt(self, request: Request) -> str:
        assert request.prompt_ids is not None
        return bytes(i for i in request.prompt_ids if i < START).decode()

    def complete(self, request: Request) -> Completion:
        known = codes(self.prompt(request).rpartition("Kind: ")[2].partition("</>")[0])
        rng = np.random.default_rng(request.seed)
        others = [known[i] for i in 2 + rng.permutation(CODES - 2)[:3]]
        self.script = {"Kind": (" ".join([known[rng.integers(2)], *others]), 0.9)}
        return super().complete(request)


def canaries(said: str) -> set[str]:
    return set(re.findall(rf"{CANARY}\d+", said))


def test_rows_that_help_stay_and_no_call_that_certifies_is_shown(smollm2: Path, tmp_path: Path) -> None:
    """All of it, with an expert in place of the model's words: the artefact, the recipe, what the engine was asked."""
    traffic = logged(tmp_path / "calls.jsonl", parts())
    task = find_tasks(traffic)[0]
    rows, held = rows_of(task, traffic), held_texts(task, traffic)
    expert, project = Expert({}, context=CONTEXT), Project.create(tmp_path / "project")
    given = Given(80, str(smollm2))

    def made() -> Artifact:
        return label_with(task, rows, held, project, [], given, None, quiet, lambda *_: nullcontext(Local(expert)))

    artifact = made()
    shown, barred = canaries(" ".join(map(expert.prompt, expert.asked))), canaries(" ".join(held))
    assert len(expert.asked) == 80
    assert len(barred) >= 10
    assert not shown & barred
    assert shown
    assert shown <= canaries(" ".join(rows.texts))

    outcome = json.loads((project.path / f"synthetic-{task.name}.json").read_text())
    assert outcome["kept"]
    assert outcome["artifact"] == artifact.sha256
    assert outcome["value"]["difference"]["low"] > 0
    assert artifact.recipe["synthetic"]["counts"] == outcome["counts"]
    assert artifact.recipe["synthetic"]["value"] == outcome["value"]
    lines = (project.artifact_path(artifact.sha256) / "synthetic.jsonl").read_bytes().splitlines()
    assert len(lines) == outcome["counts"]["kept"] > 0
    names = {row_id(text, answer) for text, answer in zip(rows.texts, rows.labels, strict=True)}
    for row in map(json.loads, lines):
        assert set(row["text"].split()) <= set(codes(row["answer"]))
        assert (row["licence"], row["sha256"]) == ("Apache-2.0", sha256_file(smollm2))
        assert row["prompt"]["label"] == row["answer"]
        assert set(row["prompt"]["rows"]) <= names

    assert made().sha256 == artifact.sha256
    assert len(expert.asked) == 80, "what was made is not asked for again"


def test_what_goes_to_the_engines_socket(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real teacher by the command line: left out where too few rows are there to see a help, kept where that is
    asked; the same seed makes the same rows; all that its socket was sent is of the fit side."""
    sent: list[tuple[str, dict[str, Any]]] = []
    send = http.client.HTTPConnection.request

    def request(
        self: http.client.HTTPConnection, method: str, url: str, body: Any = None, headers: Any = None, **own: Any
    ) -> None:
        if body:
            sent.append((url, json.loads(body)))
        send(self, method, url, body, headers or {}, **own)

    monkeypatch.setattr(http.client.HTTPConnection, "request", request)
    log = tmp_path / "calls.jsonl"
    traffic = logged(log, 9 * shop())  # a plan tries 116 calls and more; without a fold too few texts are left to fit
    task = find_tasks(traffic)[0]
    project = Project.create(tmp_path / "project")
    at = ["--project", str(project.path)]
    assert main(["audit", str(log), *at]) == main(["plan", *at]) == 0
    asked = ["tune", *at, "--task", task.name, "--synthetic", "6", "--teacher", str(smollm2), "--json"]
    made = []
    for flags in ([], ["--keep-synthetic"]):
        capsys.readouterr()
        assert main([*asked, *flags]) == 0
        artifact = json.loads(capsys.readouterr().out)[0]
        outcome = json.loads((project.path / f"synthetic-{task.name}.json").read_text())
        assert outcome["value"]["with_"]["n"] == 0
        assert outcome["counts"]["kept"] > 0
        assert outcome["kept"] == ("synthetic.jsonl" in artifact["files"]) == ("synthetic" in artifact["recipe"])
        assert outcome["kept"] == bool(flags)
        assert project.tuned()[task.name] == artifact["sha256"]
        made.append((project.path / f"synthetic-{task.name}.jsonl").read_bytes())
    assert made[0] == made[1]

    all_sent = json.dumps(sent)
    texts = [str(body["content"]) for url, body in sent if url == "/tokenize"]
    prompts = {tuple(body["prompt"]) for url, body in sent if url == "/completion"}
    held, fit = set(held_texts(task, traffic)), set(rows_of(task, traffic).texts)
    assert held
    assert prompts
    assert not [text for text in held if text in all_sent]
    assert [text for text in fit if text in all_sent]
    with Engine.start(smollm2, context=CONTEXT) as engine:
        known = [tuple(engine.tokenize(text)) for text in texts]
    assert all(any(ids[: len(prompt)] == prompt for ids in known) for prompt in prompts), "no prompt has other words"
