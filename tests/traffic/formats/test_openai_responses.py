"""The responses API: items to messages, output to an answer or tool calls, its counts and its ways to end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.nouns import Call, Tokens
from freehold.traffic.formats import openai_chat, openai_responses
from freehold.wire import RowError, answer, call_from_row, calls_tools, unseen

from .mutate import mutated, only_refuses

# https://platform.openai.com/docs/api-reference/responses/create: "Text input" and its response
TEXT: dict[str, Any] = {
    "request": {"model": "gpt-4.1", "input": "Tell me a three sentence bedtime story about a unicorn."},
    "response": {
        "id": "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
        "object": "response",
        "created_at": 1741476542,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "gpt-4.1-2025-04-14",
        "output": [
            {
                "type": "message",
                "id": "msg_67ccd2bf17f0819081ff3bb2cf6508e60bb6a6b452d3795b",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "In a peaceful grove...", "annotations": []}],
            }
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 12},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 123,
        },
        "user": None,
        "metadata": {},
    },
}
# the same page, "Functions"
WEATHER = {
    "type": "object",
    "properties": {"location": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    "required": ["location", "unit"],
}
TOOLS: dict[str, Any] = {
    "request": {
        "model": "gpt-4.1",
        "input": "What is the weather like in Boston today?",
        "tools": [{"type": "function", "name": "get_current_weather", "description": "Get", "parameters": WEATHER}],
        "tool_choice": "auto",
    },
    "response": TEXT["response"]
    | {
        "output": [
            {
                "type": "function_call",
                "id": "fc_67ca09c6bedc8190a7abfec07b1a1332096610f474011cc0",
                "call_id": "call_unLAR8MvFNptuiZK6K6HCy5k",
                "name": "get_current_weather",
                "arguments": '{"location":"Boston, MA","unit":"celsius"}',
                "status": "completed",
            }
        ],
    },
}


def call(record: dict[str, Any], request: dict[str, Any] | None = None, **response: Any) -> Call:
    changed = {"request": record["request"] | (request or {}), "response": record["response"] | response}
    (row,) = openai_responses.rows(changed)
    assert list(openai_chat.rows(changed)) == [row]
    return call_from_row(row)


def test_the_documented_text() -> None:
    read = call(TEXT)
    assert openai_responses.fits(TEXT)
    assert read.messages == ({"role": "user", "content": "Tell me a three sentence bedtime story about a unicorn."},)
    assert (read.answer, read.finish, read.endpoint) == ("In a peaceful grove...", "stop", "responses")
    assert (read.model, read.at, read.tokens) == ("gpt-4.1", 1741476542.0, Tokens(36, 87, 12, 5))


def test_the_documented_function_call() -> None:
    read = call(TOOLS)
    assert (read.answer, read.finish, calls_tools(read)) == (None, "tool_calls", True)
    assert answer(read, "tools") == (
        '[{"name":"get_current_weather","arguments":{"location":"Boston, MA","unit":"celsius"}}]'
    )
    assert read.params["tools"] == [
        {
            "type": "function",
            "function": {"name": "get_current_weather", "description": "Get", "parameters": WEATHER},
        }
    ]


def test_instructions_and_items_are_messages() -> None:
    # https://platform.openai.com/docs/guides/function-calling: the items of a second turn
    items = [
        {"role": "developer", "content": "Be short."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "the weather in Paris?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Paris"}'},
        {"type": "function_call", "call_id": "call_2", "name": "get_weather", "arguments": '{"city":"Bogota"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "14"},
        {"type": "function_call_output", "call_id": "call_2", "output": "18"},
    ]
    read = call(TEXT, {"instructions": "Answer from the tools.", "input": items})
    assert [m["role"] for m in read.messages] == [
        "system", "developer", "user", "assistant", "tool", "tool",
    ]  # fmt: skip
    assert read.messages[2] == {"role": "user", "content": "the weather in Paris?"}
    assert [c["id"] for c in read.messages[3]["tool_calls"]] == ["call_1", "call_2"]
    assert read.messages[5] == {"role": "tool", "tool_call_id": "call_2", "content": "18"}


def test_settings_stand_under_chats_names() -> None:
    format = {"type": "json_schema", "name": "person", "strict": True, "schema": WEATHER}
    asked = {"text": {"format": format}, "reasoning": {"effort": "low"}, "max_output_tokens": 50, "temperature": 0}
    assert call(TEXT, asked).params == {
        "temperature": 0,
        "max_completion_tokens": 50,
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "person", "strict": True, "schema": WEATHER},
        },
    }


@pytest.mark.parametrize(
    ("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), (None, "length")]
)
def test_an_incomplete_answer_is_cut(reason: str | None, finish: str) -> None:
    read = call(TEXT, status="incomplete", incomplete_details={"reason": reason})
    assert (read.answer, read.finish) == (None, finish)


def test_a_failure_a_refusal_and_one_that_is_not_done() -> None:
    failed = call(TEXT, status="failed", error={"code": "server_error", "message": "x"}, output=[], usage=None)
    assert (failed.error, failed.answer, failed.at) == ("server_error", None, 1741476542.0)
    assert call(TEXT, status="cancelled", output=[]).error == "cancelled"
    refused = call(TEXT, output=[{"type": "message", "content": [{"type": "refusal", "refusal": "I can't."}]}])
    assert (refused.answer, refused.row["response"]["choices"][0]["message"]["refusal"]) == (None, "I can't.")
    with pytest.raises(RowError, match="not done: its status is 'queued'"):
        call(TEXT, status="queued")


def test_what_the_server_remembers_is_not_in_the_log() -> None:
    first = call(TEXT, {"previous_response_id": "resp_1"})
    assert unseen(first)
    assert not unseen(call(TEXT))
    assert first.messages[0] != call(TEXT, {"previous_response_id": "resp_2"}).messages[0]
    assert unseen(call(TEXT, {"prompt": {"id": "pmpt_1"}, "input": None}))


def test_a_stream_ends_with_the_whole_response() -> None:
    # https://platform.openai.com/docs/api-reference/responses-streaming
    events = [{"type": "response.created"}, {"type": "response.completed", "response": TEXT["response"]}]
    (row,) = openai_responses.rows(TEXT | {"response": events})
    assert call_from_row(row).answer == "In a peaceful grove..."
    (row,) = openai_responses.rows(TEXT | {"response": events[:1]})
    assert call_from_row(row).error == "stream_cut"


@pytest.mark.parametrize(
    ("request_", "response", "reason"),
    [({"input": 7}, {}, "the input is a int"), ({"input": [{}]}, {}, "no role"), ({}, {"output": 1}, "no output")],
)
def test_what_is_no_response_says_why(request_: dict[str, Any], response: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        call(TEXT, request_, **response)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(openai_responses, data.draw(mutated([TEXT, TOOLS])))
