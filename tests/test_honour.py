"""The allow-list: listed fields with values that the log shows, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from freehold.honour import LONGEST_TEXT, longest_answer, obstacle, refusal, unfit
from freehold.nouns import Call, Slot, Task, Template

TASK = Task(
    "t", Template((Slot("user", "", variable=True),)), "labels", 10, 1.0, labels=("yes", "näh"),
    models=("gpt-4o-mini",), params={"temperature": [0], "seed": [True]},
)  # fmt: skip


def asks(model: str = "gpt-4o-mini", **params: Any) -> Call:
    return Call(({"role": "user", "content": "x"},), model, params)


@pytest.mark.parametrize(
    "params",
    [{}, {"temperature": 0.0}, {"stream": True, "stream_options": {"include_usage": True}}, {"user": "u", "n": 1},
     {"max_tokens": 4}, {"temperature": None}],
)  # fmt: skip
def test_honoured(params: dict[str, Any]) -> None:
    assert refusal(TASK, asks(**params), "x") == ""
    assert obstacle(TASK, asks(**params), "x") == ("", "")


@pytest.mark.parametrize(
    ("params", "field"),
    [({"stop": ["a"]}, "stop"), ({"tools": []}, "tools"), ({"temperature": 1}, "temperature"), ({"seed": 1}, "seed"),
     ({"stream": "yes"}, "stream"), ({"n": 2}, "n"), ({"max_tokens": 3}, "max_tokens"), ({"n": True}, "n")],
)  # fmt: skip
def test_not_honoured(params: dict[str, Any], field: str) -> None:
    assert obstacle(TASK, asks(**params), "x")[0] == field
    assert field in refusal(TASK, asks(**params), "x")


def test_another_model_and_an_endless_text() -> None:
    assert obstacle(TASK, asks("gpt-5"), "x")[0] == "model"
    assert obstacle(TASK, asks(), "x" * (LONGEST_TEXT + 1))[0] == "text"


def test_the_longest_answer_is_counted_in_bytes_where_tokens_are_not_logged() -> None:
    assert longest_answer(TASK) == 4
    assert "max_tokens" in refusal(TASK, asks(max_tokens=9), "x", longest=10)


OFFERED = [{"type": "function", "function": {"name": "find"}}]
ODD = [{"type": "web_search"}, {"function": None}, "find", {"function": {"name": 5}}]


@pytest.mark.parametrize(
    "answer",
    ['[{"name":"find","arguments":{"a":1}}]', "[]", "Hi [1].", '{"name":"find"}', ' [{"name":"find","arguments":{}}] '],
)  # fmt: skip
@pytest.mark.parametrize("more", [[], ODD])
def test_tool_calls_in_the_form_that_a_client_gets(answer: str, more: list[Any]) -> None:
    task = replace(TASK, kind="tools", rule="tools")
    assert unfit(task, asks(tools=[*more, *OFFERED]), answer) == ""


@pytest.mark.parametrize(
    "answer",
    [
        '[{"name":"find"}]',  # the rule reads all these as calls of find, and a client would get them as a text
        '[{"name":"find","arguments":"{}"}]',
        '[{"name":"find","arguments":{},"id":"x"}]',
        '[{"name":"find","arguments":[]}]',
        '[{"name":"lose","arguments":{}}]',
        ' [{"name":"find","arguments":{"a":NaN}}]',
        "[1]",
        '[{"name":5,"arguments":{}}]',
    ],
)
@pytest.mark.parametrize("tools", [OFFERED, ODD, {"find": 1}, None])
def test_other_lists_are_no_answer(answer: str, tools: Any) -> None:
    task = replace(TASK, kind="tools", rule="tools")
    assert "student" in unfit(task, asks(tools=tools), answer)
