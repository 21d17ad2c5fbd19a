"""Textbook rows: who may teach, what is shown, what is left out, what they are worth, and a run that was killed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from freehold.engines.bases import Base
from freehold.engines.scripted import ScriptedEngine
from freehold.errors import BadSetting, TermsBlocked
from freehold.facts import facts
from freehold.nouns import Message, Slot, Task, Template
from freehold.project import Project
from freehold.project.settings import Settings
from freehold.tell import quiet
from freehold.traffic import find_tasks, read
from freehold.tune import tune
from freehold.tune.rows import held_texts, rows_of
from freehold.tune.synthetic import Given
from freehold.tune.synthetic.ask import NAME, Bounds, ask_all
from freehold.tune.synthetic.made import Ask, Said, check
from freehold.tune.synthetic.prompts import plan, wording
from freehold.tune.synthetic.sift import sift
from freehold.tune.synthetic.teacher import find, may_teach
from freehold.tune.synthetic.value import difference, paired

CANARY = "zxqcanary"


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


def test_a_closed_model_is_refused_by_its_vendors_terms() -> None:
    with pytest.raises(TermsBlocked, match=r"gpt-4o may not teach: it is openai's, rule T2 .*as of"):
        find("gpt-4o", Settings())


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


def test_a_killed_run_goes_on_behind_its_last_whole_row(tmp_path: Path) -> None:
    asks = plan(["a", "b"] * 10, np.arange(20) % 5, 8, 0)
    bounds = Bounds(20, 60.0, True)

    def asked(ask: Ask) -> list[Message]:
        return wording([("some text", "a")], ask.label)

    whole = ask_all(asks, asked, ScriptedEngine({"Kind": ("new words", 0.9)}), tmp_path, bounds, tell=quiet)
    lines = (tmp_path / NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / NAME).write_bytes(b"".join(lines[:3]) + lines[3][:9])
    engine = ScriptedEngine({"Kind": ("new words", 0.9)})
    assert ask_all(asks, asked, engine, tmp_path, bounds, tell=quiet) == whole
    assert [one.seed for one in engine.asked] == [ask.seed for ask in asks[3:]]


def test_the_time_bounds_the_asking(tmp_path: Path) -> None:
    asks = plan(["a", "b"] * 10, np.arange(20) % 5, 8, 0)
    engine = ScriptedEngine({}, otherwise=("words", 0.9), pace=0.5)
    said = ask_all(
        asks, lambda ask: wording([("some text", "a")], ask.label), engine, tmp_path, Bounds(20, 5.0, True), tell=quiet
    )
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
    task = Task("t", Template((Slot("user", "", "", True),)), "labels", 10, 1.0)
    with pytest.raises(BadSetting, match="--synthetic is 0"):
        check(Given(0), task)
    with pytest.raises(BadSetting, match="Both --synthetic and --finetune"):
        check(Given(1), task, finetune=Path())
    with pytest.raises(BadSetting, match="a text task"):
        check(Given(1), Task("t", task.template, "text", 10, 1.0))


def test_a_student_is_made_whatever_comes_of_it(smollm2: Path, tmp_path: Path) -> None:
    """The real teacher; no call that certifies is shown to it, and the same seed makes the same rows."""
    path = tmp_path / "calls.jsonl"
    words = {"refund": "please give me the money back for", "track": "where in the world is", "stop": "do not send me"}
    with path.open("w", encoding="utf-8") as file:
        for i in range(45):
            label = sorted(words)[i % 3]
            asked = [{"role": "user", "content": f"{words[label]} {CANARY}{i} item{i} thing{i * 7}"}]
            said = {"choices": [{"message": {"role": "assistant", "content": label}, "finish_reason": "stop"}]}
            file.write(json.dumps({"request": {"model": "m", "messages": asked}, "response": said}) + "\n")
    traffic = read([str(path)])
    task = find_tasks(traffic)[0]
    rows, held = rows_of(task, traffic), held_texts(task, traffic)
    assert held
    assert not set(held) & set(rows.texts)
    made = []
    for name in ("one", "two"):
        project = Project.create(tmp_path / name)
        artifact = tune(task, traffic, project, synthetic=Given(8, str(smollm2)))
        assert project.tuned()[task.name] == artifact.sha256
        found = next(project.path.glob("synthetic-*.json"))
        assert json.loads(found.read_text())["counts"]["asked"] == 8
        made.append((artifact.sha256, found.with_suffix(".jsonl").read_bytes()))
        assert tune(task, traffic, project, synthetic=Given(8, str(smollm2))).sha256 == artifact.sha256
    assert made[0] == made[1]


def test_only_the_fit_side_is_shown() -> None:
    """Every prompt is made of logged rows by number, out of the rows that a fit may see."""
    texts = [f"{CANARY}{i}" for i in range(20)]
    asks = plan(["a", "b"] * 10, np.arange(20) % 5, 40, 3)
    shown = {m["content"] for ask in asks for m in wording([(texts[i], "a") for i in ask.shown], ask.label)}
    assert {text for text in shown if CANARY in text} <= set(texts)
