"""Stored completions and responses, with and without what was asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.nouns import Call, Tokens
from freehold.traffic.formats import openai_stored, recognise
from freehold.wire import RowError, call_from_row, unseen

from .mutate import mutated, only_refuses

# https://platform.openai.com/docs/api-reference/chat/list: one of the listed objects
STORED: dict[str, Any] = {
    "object": "chat.completion",
    "id": "chatcmpl-AyPNinnUqUDYo9SAdA52NobMflmj2",
    "model": "gpt-4o-2024-08-06",
    "created": 1738960610,
    "request_id": "req_ded8ab984ec4bf840f37566c1011c417",
    "tool_choice": None,
    "usage": {"total_tokens": 31, "completion_tokens": 18, "prompt_tokens": 13},
    "seed": 4944116822809979520,
    "top_p": 1.0,
    "temperature": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "system_fingerprint": "fp_50cad350e4",
    "input_user": None,
    "service_tier": "default",
    "tools": None,
    "metadata": {},
    "choices": [
        {
            "index": 0,
            "message": {
                "content": "Mind of circuits hum,  \nLearning patterns in silence-  \nFuture's quiet spark.",
                "role": "assistant",
                "tool_calls": None,
                "function_call": None,
            },
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "response_format": None,
}
# https://platform.openai.com/docs/api-reference/chat/getMessages: its messages, as an endpoint of their own gives them
MESSAGES: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "id": "chatcmpl-AyPNinnUqUDYo9SAdA52NobMflmj2-0",
            "role": "user",
            "content": "write a haiku about ai",
            "name": None,
            "content_parts": None,
        }
    ],
}
WHOLE = STORED | {"messages": MESSAGES["data"], "input_user": "u-7"}
# https://platform.openai.com/docs/api-reference/responses/get, with the input items beside it
RESPONSE: dict[str, Any] = {
    "id": "resp_67cb71b351908190a308f3859487620d06981a8637e6bc44",
    "object": "response",
    "created_at": 1741386163,
    "status": "completed",
    "error": None,
    "instructions": "Be brief.",
    "model": "gpt-4o-2024-08-06",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Silent circuits"}]}],
    "temperature": 1.0,
    "usage": {"input_tokens": 32, "output_tokens": 18, "total_tokens": 50},
}


def call(record: dict[str, Any]) -> Call:
    (row,) = openai_stored.rows(record)
    return call_from_row(row)


@pytest.mark.parametrize("key", ["messages", "input"])
@pytest.mark.parametrize("given_", [MESSAGES, MESSAGES["data"]])
def test_a_completion_with_its_messages(key: str, given_: Any) -> None:
    read = call(STORED | {key: given_, "input_user": "u-7"})
    assert read.messages == ({"role": "user", "content": "write a haiku about ai"},)
    assert (read.model, read.at, read.tokens, read.user) == (
        "gpt-4o-2024-08-06", 1738960610.0, Tokens(13, 18), "u-7",
    )  # fmt: skip
    assert read.answer is not None
    assert read.answer.endswith("spark.")
    assert read.params["temperature"] == 1.0
    assert "tools" not in read.params


def test_without_messages_it_counts_and_has_no_text() -> None:
    read = call(STORED)
    assert (unseen(read), read.tokens, read.tier) == (True, Tokens(13, 18), "")
    assert read.messages != call(STORED | {"id": "chatcmpl-2"}).messages


def test_a_page_of_a_list_holds_many() -> None:
    page = {"object": "list", "data": [WHOLE, STORED], "first_id": "a", "last_id": "b", "has_more": False}
    assert openai_stored.fits(page)
    assert [unseen(call_from_row(row)) for row in openai_stored.rows(page)] == [False, True]


def test_a_response_with_and_without_its_input() -> None:
    read = call(RESPONSE | {"input": "write a haiku about ai"})
    assert read.messages[0] == {"role": "system", "content": "Be brief."}
    assert (read.answer, read.tokens, read.endpoint) == ("Silent circuits", Tokens(32, 18), "responses")
    assert (read.at, unseen(read)) == (1741386163.0, False)
    assert unseen(call(RESPONSE))
    assert call(RESPONSE | {"error": {"code": "server_error"}}).error == "server_error"


def test_it_is_told_from_other_formats() -> None:
    assert recognise([STORED, WHOLE, RESPONSE]) is openai_stored
    with pytest.raises(RowError, match="expected stored chat completions"):
        call({"object": "batch"})


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(openai_stored, data.draw(mutated([STORED, WHOLE, RESPONSE, {"object": "list", "data": [WHOLE]}])))
