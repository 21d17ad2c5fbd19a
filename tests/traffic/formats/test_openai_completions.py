"""Legacy completions: the prompt is the user's message, the text the answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.nouns import Call, Tokens
from freehold.traffic.formats import by_name, openai_chat, openai_completions
from freehold.wire import RowError, call_from_row, finished

from .mutate import mutated, only_refuses

# https://platform.openai.com/docs/api-reference/completions/create: its example request and response
ROW: dict[str, Any] = {
    "timestamp": 1589478378,
    "request": {
        "model": "gpt-3.5-turbo-instruct",
        "prompt": "Say this is a test",
        "max_tokens": 7,
        "temperature": 0,
    },
    "response": {
        "id": "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7",
        "object": "text_completion",
        "created": 1589478378,
        "model": "gpt-3.5-turbo-instruct",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": [{"text": "\n\nThis is indeed a test", "index": 0, "logprobs": None, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    },
}


def call(request: dict[str, Any] | None = None, **response: Any) -> Call:
    record = ROW | {"request": ROW["request"] | (request or {}), "response": ROW["response"] | response}
    (row,) = openai_completions.rows(record)
    assert list(openai_chat.rows(record)) == [row]
    return call_from_row(row)


def choice(text: str, reason: str = "stop") -> list[dict[str, Any]]:
    return [{"text": text, "index": 0, "logprobs": None, "finish_reason": reason}]


def test_the_documented_row() -> None:
    read = call()
    assert openai_completions.fits(ROW)
    assert read.messages == ({"role": "user", "content": "Say this is a test"},)
    assert (read.model, read.endpoint, read.at, read.tokens) == (
        "gpt-3.5-turbo-instruct", "completions", 1589478378.0, Tokens(5, 7),
    )  # fmt: skip
    assert (read.params, read.finish, read.answer) == ({"max_tokens": 7, "temperature": 0}, "length", None)
    whole = call(choices=choice(" transfer"))
    assert (whole.answer, finished(whole)) == (" transfer", True)


def test_echo_gives_the_prompt_back_before_the_answer() -> None:
    assert call({"echo": True}, choices=choice("Say this is a test now")).answer == " now"


def test_several_prompts_or_token_ids_are_a_call_without_a_task() -> None:
    two = call({"prompt": ["a", "b"]}, choices=choice("x"))
    assert (two.answer, two.messages[0]["content"][1]) == (None, {"type": "text", "text": "b"})
    ids = call({"prompt": [[1, 2, 3], [4]]}, choices=choice("x"))
    assert (ids.messages[0]["content"], ids.tokens) == ([{"type": "token_ids", "count": 4}], Tokens(5, 7))
    assert call({"prompt": ["only one"]}, choices=choice("x")).messages[0]["content"] == "only one"


def test_a_stream_is_put_together() -> None:
    chunks = [{"choices": choice(text, reason)} for text, reason in (("in", ""), ("deed", "stop"))]  # type: ignore[misc]
    (row,) = openai_completions.rows(ROW | {"response": chunks})
    assert call_from_row(row).answer == "indeed"
    (row,) = openai_completions.rows(ROW | {"response": chunks[:1]})
    assert (call_from_row(row).answer, call_from_row(row).error) == (None, "stream_cut")


@pytest.mark.parametrize(
    ("request_", "response", "reason"),
    [({"prompt": 7}, {}, "the prompt is a int"), ({}, {"choices": []}, "no choice with a text")],
)
def test_what_is_no_completion_says_why(request_: dict[str, Any], response: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        call(request_, **response)


def test_a_failure_has_no_choices() -> None:
    (row,) = openai_completions.rows(ROW | {"response": {"error": {"message": "x", "code": "context_length_exceeded"}}})
    assert call_from_row(row).error == "context_length_exceeded"


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    record = data.draw(mutated([ROW]))
    only_refuses(openai_completions, record)
    only_refuses(by_name("openai-completions"), record)
