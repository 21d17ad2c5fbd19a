"""What a call is evidence of: full text fits; a refusal or a tool call is whole too; a failure is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.traffic import evidence, find_tasks, put_upstream, read
from freehold.wire import finished

from .conftest import row

Write = Callable[..., Path]
PLAIN = [row(f"text number {i}", "yes" if i % 2 else "no") for i in range(40)]
TOOL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}


def whole(answer: dict[str, Any]) -> dict[str, Any]:
    return row("the odd one", {"role": "assistant"} | answer)


def ended(reason: str) -> dict[str, Any]:
    cut = row("the odd one", "yes")
    cut["response"]["choices"][0]["finish_reason"] = reason
    return cut


def bare(answer: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [*row("the odd one", "")["request"]["messages"], {"role": "assistant"} | answer]}


@pytest.mark.parametrize(
    ("odd", "fits", "is_whole"),
    [
        (whole({"content": "yes"}), True, True),
        (whole({"content": "yes", "refusal": None, "tool_calls": []}), True, True),
        (whole({"content": None, "refusal": "I can't help with that."}), False, True),
        (whole({"content": "", "refusal": "I can't help with that."}), False, True),
        (whole({"content": "yes", "tool_calls": [TOOL]}), False, True),
        (whole({"content": None, "function_call": {"name": "f", "arguments": "{}"}}), False, True),
        (bare({"content": None, "tool_calls": [TOOL]}), False, True),
        (ended("length"), False, False),
        (ended("content_filter"), False, False),
        (row("the odd one", "yes") | {"response": {"error": {"message": "overloaded"}}}, False, False),
        (row("the odd one", "yes", freehold={"answered_by": "upstream", "status": "partial"}), False, False),
    ],
)
def test_evidence(write: Write, odd: dict[str, Any], fits: bool, is_whole: bool) -> None:
    traffic = read([write([*PLAIN, odd])])
    (task,) = find_tasks(traffic)
    last = put_upstream(task, traffic)[-1]
    assert task.template.text(last.messages) == "the odd one"
    assert (evidence(task, traffic)[-1] is last, finished(last)) == (fits, is_whole)


def test_answers_given_at_home_were_not_put_upstream(write: Write) -> None:
    home = row("the odd one", "yes", freehold={"answered_by": "student", "why": "home"})
    traffic = read([write([*PLAIN, home])])
    (task,) = find_tasks(traffic)
    assert len(put_upstream(task, traffic)) == len(evidence(task, traffic)) == len(PLAIN)


OWN = {"answered_by": "upstream", "why": "closed", "status": "complete", "host": "first", "probability": 1.0}


@pytest.mark.parametrize(
    ("own", "is_evidence"),
    [
        ({}, True),
        ({"other": False, "against": ""}, True),
        ({"host": "second", "other": True}, False),
        ({"why": "pair", "probability": 0.02, "agrees": True}, True),
        ({"why": "pair", "probability": 0.02, "agrees": False, "against": "gpt-5.6-luna"}, False),
        ({"redacted": True}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("message", [{"content": "yes"}, {"content": None, "tool_calls": [TOOL]}], ids=["text", "tool"])
def test_what_another_model_answered_is_no_evidence(
    write: Write, own: dict[str, Any], is_evidence: bool, message: dict[str, Any]
) -> None:
    """Of a ledger row that a fail-over host or a successor answered, time and money count, and the answer doesn't."""
    made = whole(message) | {"freehold": OWN | own}
    traffic = read([write([*PLAIN, made])])
    (task,) = find_tasks(traffic)
    last = put_upstream(task, traffic)[-1]
    assert finished(last) is is_evidence
    assert (last.tokens is None, last.at is None) == (False, False)
    is_text = message["content"] is not None
    assert len(evidence(task, traffic)) == len(PLAIN) + (is_evidence and is_text)
    assert (last.answer is not None) is (is_evidence and is_text)
