"""What the answers are: labels, JSON, SQL, tools or text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.nouns import Task
from freehold.traffic import find_tasks, read

from .conftest import Pair, row

Write = Callable[..., Path]


def only(write: Write, answers: list[Any], system: str = "Do the job.") -> Task:
    (task,) = find_tasks(read([write([row(f"text number {i}", a, system=system) for i, a in enumerate(answers)])]))
    return task


@pytest.mark.parametrize("n", [200, 1000, 6000])
def test_many_labels_are_labels_in_a_log_of_any_length(write: Write, utterances: list[Pair], n: int) -> None:
    task = only(write, [label for _, label in utterances[:n]])
    assert task.kind == "labels"
    assert set(task.labels) == {label for _, label in utterances[:n]}


def test_labels_that_the_system_message_lists(write: Write, utterances: list[Pair]) -> None:
    labels = sorted({label for _, label in utterances})
    task = only(write, [label for _, label in utterances[:30]], system="One of these:\n" + "\n".join(labels))
    assert task.kind == "labels"


def test_thirty_calls_of_three_labels(write: Write) -> None:
    task = only(write, ["yes", "no", "maybe"] * 10)
    assert (task.kind, task.labels) == ("labels", ("yes", "no", "maybe"))


def test_one_label_only(write: Write) -> None:
    assert only(write, ["yes"] * 30).labels == ("yes",)


def test_labels_come_most_frequent_first(write: Write) -> None:
    assert only(write, ["a"] * 3 + ["b"] * 9 + ["c"] * 5).labels == ("b", "c", "a")


def test_a_few_refusals_among_labels(write: Write) -> None:
    task = only(write, ["yes", "no"] * 48 + [f"I am sorry, I can't say. Case {i}.\nAsk again." for i in range(4)])
    assert task.kind == "labels"


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([f'{{"id": {i}}}' for i in range(30)], "json"),
        ([f"[{i}]" for i in range(30)], "json"),
        ([f"SELECT {i} FROM t" for i in range(30)], "sql"),
        ([f"with t as (select {i}) select * from t" for i in range(30)], "sql"),
        ([f"The answer depends on case {i}, because of this and that." for i in range(30)], "text"),
        ([f"{{ broken {i}" for i in range(30)], "text"),
        ([{"role": "assistant", "content": None, "tool_calls": [{"id": str(i)}]} for i in range(30)], "tools"),
        ([str(i * 7919) for i in range(30)], "text"),
        ([f"name{i // 2}" for i in range(4000)], "text"),
    ],
)
def test_other_kinds(write: Write, answers: list[Any], kind: str) -> None:
    task = only(write, answers)
    assert task.kind == kind
    assert task.labels == ()


def test_real_sql_and_json_and_tool_calls(shared: Path) -> None:
    tasks = find_tasks(read([shared / "data" / "mixed" / "calls.jsonl.gz"]))
    kinds = {task.name: task.kind for task in tasks}
    assert kinds["translate-question-sqlite-geography"] == "sql"
    assert kinds["extract-intent-slots-request"] == "json"
    assert kinds["tools-serve-request"] == "tools"
    assert kinds["medical-librarian"] == kinds["router-support-desk"] == "labels"
    assert kinds["summarise-message-our-support"] == "text"


def test_request_fields_seen_at_most_32_values_each(write: Write) -> None:
    rows = [row(f"text {i}", "a") for i in range(50)]
    for i, made in enumerate(rows):
        made["request"] |= {"seed": i, "user": f"u{i}", "metadata": {"id": i}, "top_p": 1, "stop": ["\n"]}
    (task,) = find_tasks(read([write(rows)]))
    assert len(task.params["seed"]) == 32
    assert {k: v for k, v in task.params.items() if k != "seed"} == {"temperature": [0], "top_p": [1], "stop": [["\n"]]}


def test_white_space_makes_no_further_label_and_nothing_is_no_label(write: Write) -> None:
    assert only(write, ["yes", " yes", "no\n", "no", "no"] * 9 + [""] * 2).labels == ("no", "yes")
