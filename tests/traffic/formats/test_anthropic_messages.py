"""Anthropic's messages: blocks to messages, counts that add up, its ways to stop, its batches and its streams."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.nouns import Call, Tokens
from freehold.traffic.formats import anthropic_messages, by_name, openai_chat, recognise
from freehold.wire import RowError, answer, call_from_row, unseen

from .mutate import mutated, only_refuses

# https://platform.claude.com/docs/en/api/messages: request and response
ROW: dict[str, Any] = {
    "timestamp": "2026-10-01T09:12:44Z",
    "request": {
        "model": "claude-3-7-sonnet-20250219",
        "max_tokens": 1024,
        "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello, world"}]}],
        "stop_sequences": ["END"],
        "metadata": {"user_id": "13803d75-b4b5-4c3e-b2a2-6f21399b021b"},
    },
    "response": {
        "content": [{"text": "Hi! My name is Claude.", "type": "text", "citations": None}],
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        "model": "claude-3-7-sonnet-20250219",
        "role": "assistant",
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "type": "message",
        "usage": {
            "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
            "cache_creation_input_tokens": 2051,
            "cache_read_input_tokens": 100,
            "input_tokens": 2095,
            "output_tokens": 503,
            "server_tool_use": {"web_search_requests": 0},
            "service_tier": "standard",
        },
    },
}
# https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview: "Single tool example", second turn
TOOLS: dict[str, Any] = {
    "request": {
        "model": "claude-3-opus-20240229",
        "max_tokens": 1024,
        "tools": [{"name": "get_weather", "description": "Get", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "any"},
        "messages": [
            {"role": "user", "content": "What is the weather like in San Francisco?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I'll look it up."},
                    {"type": "tool_use", "id": "toolu_01", "name": "get_weather", "input": {"location": "SF"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_01", "content": [{"type": "text", "text": "15"}]},
                    {"type": "text", "text": "And in Oslo?"},
                ],
            },
        ],
    },
    "response": {
        "id": "msg_01Aq9w938a90dw8q",
        "model": "claude-3-opus-20240229",
        "stop_reason": "tool_use",
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Let me see."},
            {
                "type": "tool_use",
                "id": "toolu_01A09q90qw90lq917835lq9",
                "name": "get_weather",
                "input": {"location": "San Francisco, CA", "unit": "celsius"},
            },
        ],
        "usage": {"input_tokens": 12, "output_tokens": 8},
    },
}
# https://platform.claude.com/docs/en/build-with-claude/batch-processing: lines of a results file
BATCH: dict[str, Any] = {
    "custom_id": "my-second-request",
    "result": {
        "type": "succeeded",
        "message": {
            "id": "msg_014VwiXbi91y3JMjcpyGBHX5",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-4-8",
            "content": [{"type": "text", "text": "Hello again! It's nice to see you."}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 36},
        },
    },
}
ERRORED: dict[str, Any] = {
    "custom_id": "my-third-request",
    "result": {
        "type": "errored",
        "error": {"type": "error", "error": {"type": "invalid_request_error", "message": "..."}, "request_id": "req_1"},
    },
}
# https://docs.anthropic.com/en/api/messages-streaming: "Streaming request with tool use", shortened
EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_014p7gG3wDgGV9EUtLvnow3U", "type": "message", "role": "assistant",
            "model": "claude-3-haiku-20240307", "stop_sequence": None,
            "usage": {"input_tokens": 472, "output_tokens": 2}, "content": [], "stop_reason": None,
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Okay"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ", let's check"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "toolu_01T1x1fJ34", "name": "get_weather", "input": {}},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"location":'}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ' "SF"}'}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 89},
    },
    {"type": "message_stop"},
]  # fmt: skip


def call(record: dict[str, Any], request: dict[str, Any] | None = None, **response: Any) -> Call:
    changed = dict(record)
    if request:
        changed["request"] = record["request"] | request
    if response:
        changed["response"] = record["response"] | response
    (row,) = anthropic_messages.rows(changed)
    assert list(openai_chat.rows(changed)) == [row]
    return call_from_row(row)


def test_the_documented_row() -> None:
    read = call(ROW)
    assert anthropic_messages.fits(ROW)
    assert read.messages == ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello, world"})
    assert (read.model, read.answer, read.finish) == ("claude-3-7-sonnet-20250219", "Hi! My name is Claude.", "stop")
    assert (read.endpoint, read.tier, read.user) == ("messages", "", "13803d75-b4b5-4c3e-b2a2-6f21399b021b")
    assert (read.params["stop"], read.params["max_tokens"]) == (["END"], 1024)


def test_input_tokens_leave_out_the_cache_and_ours_do_not() -> None:
    assert call(ROW).tokens == Tokens(2095 + 2051 + 100, 503, cached=100, cache_write=2051)
    thought = ROW["response"]["usage"] | {"output_tokens_details": {"thinking_tokens": 400}, "service_tier": "batch"}
    read = call(ROW, usage=thought)
    assert (read.tokens and read.tokens.reasoning, read.tier) == (400, "batch")


@pytest.mark.parametrize(
    "usage", [{"input_tokens": -5}, {"cache_read_input_tokens": -1}, {"output_tokens": None}, {"input_tokens": "x"}]
)
def test_half_a_count_is_none(usage: dict[str, Any]) -> None:
    assert call(ROW, usage=ROW["response"]["usage"] | usage).tokens is None


def test_tools_and_their_results() -> None:
    read = call(TOOLS)
    assert [m["role"] for m in read.messages] == ["user", "assistant", "tool", "user"]
    assert read.messages[1]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"location":"SF"}'}
    assert read.messages[2] == {"role": "tool", "tool_call_id": "toolu_01", "content": "15"}
    assert read.messages[3] == {"role": "user", "content": "And in Oslo?"}
    assert (read.answer, read.finish, read.params["tool_choice"]) == (None, "tool_calls", "required")
    assert answer(read, "tools") == (
        '[{"name":"get_weather","arguments":{"location":"San Francisco, CA","unit":"celsius"}}]'
    )
    assert read.params["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_a_picture_is_no_plain_text() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}}
    content = [picture, {"type": "text", "text": "What is this?"}]
    assert call(ROW, {"messages": [{"role": "user", "content": content}]}).messages[-1]["content"] == content


@pytest.mark.parametrize(
    ("why", "finish", "answered"),
    [("stop_sequence", "stop", True), ("max_tokens", "length", False), ("refusal", "content_filter", False),
     ("pause_turn", "length", False), ("model_context_window_exceeded", "length", False)],
)  # fmt: skip
def test_the_ways_to_stop(why: str, finish: str, answered: bool) -> None:
    read = call(ROW, stop_reason=why)
    assert (read.finish, read.answer is not None) == (finish, answered)


def test_a_failure() -> None:
    # https://docs.anthropic.com/en/api/errors
    record = ROW | {"response": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}}
    (row,) = openai_chat.rows(record)
    read = call_from_row(row)
    assert (read.error, read.answer, read.endpoint) == ("overloaded_error", None, "messages")


def test_a_batch_result() -> None:
    read = call(BATCH)
    assert (read.tier, read.tokens, unseen(read)) == ("batch", Tokens(11, 36), True)
    assert (read.model, read.answer) == ("claude-opus-4-8", "Hello again! It's nice to see you.")
    whole = call(BATCH | {"params": ROW["request"]})
    assert (whole.messages[-1]["content"], whole.tier, unseen(whole)) == ("Hello, world", "batch", False)
    assert (call(ERRORED).error, call(ERRORED).tier) == ("invalid_request_error", "batch")
    assert call({"custom_id": "x", "result": {"type": "expired"}}).error == "expired"
    assert list(anthropic_messages.rows({"custom_id": "x", "params": ROW["request"]})) == []


def test_a_stream_is_put_together() -> None:
    read = call(TOOLS | {"response": EVENTS})
    assert (read.tokens, read.finish) == (Tokens(472, 89), "tool_calls")
    assert answer(read, "tools") == '[{"name":"get_weather","arguments":{"location":"SF"}}]'
    assert read.row["response"]["choices"][0]["message"]["content"] == "Okay, let's check"
    assert call(TOOLS | {"response": EVENTS[:-2]}).error == "stream_cut"


def test_it_is_told_from_other_formats() -> None:
    for records in ([ROW, TOOLS], [BATCH, ERRORED]):
        found = recognise(records)
        assert found is not None
        assert found.NAME == "anthropic"
    for record in (ROW, BATCH):
        assert [row["endpoint"] for row in by_name("anthropic").rows(record)] == ["messages"]


@pytest.mark.parametrize(
    ("request_", "response", "reason"),
    [
        ({"messages": []}, {}, "messages is not a list"),
        ({"messages": ["x"]}, {}, "a message has no role"),
        ({}, {"content": "x"}, "no content blocks"),
    ],
)
def test_what_is_no_message_says_why(request_: dict[str, Any], response: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        call(ROW, request_, **response)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    record = data.draw(mutated([ROW, TOOLS, BATCH, ERRORED, TOOLS | {"response": EVENTS}]))
    only_refuses(anthropic_messages, record)
    only_refuses(openai_chat, record)
