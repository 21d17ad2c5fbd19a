"""Chat rows as they are sent, streamed and logged under other names; other APIs' rows among them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold import wire
from freehold.nouns import Call, Tokens
from freehold.traffic import find_tasks, read
from freehold.traffic.formats import by_name, openai_chat
from freehold.wire import RowError, call_from_row

from .mutate import mutated, only_refuses

REQUEST = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}
# https://platform.openai.com/docs/api-reference/chat/create, "Default" (the answer)
RESPONSE: dict[str, Any] = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello! How can I assist you today?", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
    "service_tier": "default",
}
ROW: dict[str, Any] = {"timestamp": "2025-03-10T01:25:52Z", "seconds": 0.5, "request": REQUEST, "response": RESPONSE}


def chunk(**more: Any) -> dict[str, Any]:
    head = {"id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1694268190, "model": "gpt-4o-mini"}
    return head | {"choices": []} | more


def delta(said: dict[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": said, "logprobs": None, "finish_reason": reason}]


# https://platform.openai.com/docs/api-reference/chat-streaming/streaming, with stream_options.include_usage
CHUNKS = [
    chunk(choices=delta({"role": "assistant", "content": ""})),
    chunk(choices=delta({"content": "Hel"})),
    chunk(choices=delta({"content": "lo"})),
    chunk(choices=delta({}, "stop")),
    chunk(usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}),
]


def call(record: Any) -> Call:
    (row,) = openai_chat.rows(record)
    return call_from_row(row)


def test_a_row_under_freeholds_own_names_is_read_as_it_stands() -> None:
    (row,) = openai_chat.rows(ROW)
    assert row is ROW
    read = call_from_row(row)
    assert (read.answer, read.tokens, read.seconds, read.endpoint, read.tier, read.finish) == (
        "Hello! How can I assist you today?", Tokens(19, 10, 8), 0.5, "chat", "", "stop",
    )  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        {"ts": 1741569952, "latency_ms": 500, "request_body": REQUEST, "response_body": RESPONSE},
        {"created_at": "2025-03-10T01:25:52Z", "duration_s": 0.5, "input": REQUEST, "output": RESPONSE},
        {"start_time": 1741569952, "end_time": 1741569952.5, "body": REQUEST, "response": RESPONSE},
        {"@timestamp": 1741569952000, "durationMs": 500} | {k: json.dumps(ROW[k]) for k in ("request", "response")},
        {
            "time": 1741569952_000_000,
            "elapsed_ms": "500",
            "request": {"method": "POST", "url": "/v1/chat/completions", "headers": {}, "body": REQUEST},
            "response": {"status_code": 200, "body": json.dumps(RESPONSE)},
        },
        {"timestamp": "2025-03-10T01:25:52Z", "latency_ms": 500.0, **REQUEST, "response": RESPONSE},
        {"ts": "1741569952", "latency_ms": 500, "params": REQUEST, "response": RESPONSE, "endpoint": "/v1/chat"},
    ],
)  # fmt: skip
def test_other_names_for_the_same_say_the_same(record: dict[str, Any]) -> None:
    assert openai_chat.fits(record)
    read = call(record)
    assert (read.at, read.seconds) == (1741569952.0, 0.5)
    assert (read.model, read.messages, read.endpoint) == ("gpt-4o-mini", tuple(REQUEST["messages"]), "chat")
    assert (read.answer, read.tokens) == ("Hello! How can I assist you today?", Tokens(19, 10, 8))


def test_a_name_whose_unit_is_not_plain_says_nothing() -> None:
    assert call({"latency": 610, "time": 0.61, "request": REQUEST, "response": RESPONSE}).seconds is None
    assert call({"latency": 610, "time": 0.61, "request": REQUEST, "response": RESPONSE}).at == 1741569952.0  # created


def test_messages_beside_an_answer_that_is_a_text_or_a_message() -> None:
    record = {"ts": 1741569952, "model": "m", "temperature": 0, "messages": REQUEST["messages"], "user": "u-7"}
    read = call(record | {"response": '{"city": "Oslo"}', "usage": {"prompt_tokens": "12", "completion_tokens": 3.0}})
    assert (read.model, read.params, read.answer) == ("m", {"temperature": 0, "user": "u-7"}, '{"city": "Oslo"}')
    assert (read.tokens, read.user) == (Tokens(12, 3), "u-7")
    said = call(record | {"output": {"role": "assistant", "content": "hi"}})
    assert (said.answer, said.tokens) == ("hi", None)


def test_a_content_in_text_parts_is_plain_text() -> None:
    parts = [{"type": "text", "text": "Label:"}, {"type": "text", "text": "my card"}]
    messages = [{"role": "system", "content": [{"type": "text", "text": "Route."}], "name": None}]
    read = call(ROW | {"request": {"model": "m", "messages": [*messages, {"role": "user", "content": parts}]}})
    assert read.messages == ({"role": "system", "content": "Route."}, {"role": "user", "content": "Label:\nmy card"})
    picture = [*parts, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    kept = call(ROW | {"request": {"model": "m", "messages": [{"role": "user", "content": picture}]}})
    assert kept.messages[0]["content"] == picture


@pytest.mark.parametrize("usage", [{"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": "a lot"}, [], 7])
def test_counts_that_are_none_leave_the_call_without_tokens(usage: Any) -> None:
    assert call(ROW | {"response": RESPONSE | {"usage": usage}}).tokens is None


@pytest.mark.parametrize("said", [CHUNKS, "".join(f"data: {json.dumps(c)}\n\n" for c in CHUNKS) + "data: [DONE]\n\n"])
def test_a_streamed_answer_is_put_together(said: Any) -> None:
    read = call({"timestamp": 1694268190, "request": REQUEST | {"stream": True}, "response": said})
    assert (read.answer, read.tokens, read.finish, read.error) == ("Hello", Tokens(9, 2), "stop", "")


def test_a_stream_without_an_end_is_no_answer() -> None:
    read = call({"timestamp": 1694268190, "request": REQUEST, "response": CHUNKS[:3]})
    assert (read.answer, read.error) == (None, "stream_cut")


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ({"request": REQUEST, "response": None, "error": {"code": "rate_limit_exceeded"}}, "rate_limit_exceeded"),
        ({"request": REQUEST, "error": "timed out"}, "error"),
        ({"request": REQUEST, "response": {"status_code": 503, "body": "upstream connect error"}}, "503"),
        ({"request": REQUEST, "response": {"status": 429, "body": {"error": {"type": "tokens"}}}}, "tokens"),
    ],
)
def test_a_failure_is_a_call_without_an_answer(record: dict[str, Any], error: str) -> None:
    read = call(record)
    assert (read.answer, read.error) == (None, error)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"request": REQUEST}, "the response is null"),
        ({"request": '{"model": "m", "mess', "response": RESPONSE}, "the request is a str"),
        ({"request": {"model": "m"}, "response": RESPONSE}, "messages is not a list"),
        (ROW | {"response": {}}, "the response has no choices"),
        ({"b": 1}, "an object with 'b'"),
        ([ROW], "a list instead of an object"),
    ],
)
def test_what_is_no_call_says_why(record: Any, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        call(record)


def test_other_apis_may_stand_among_chat_rows() -> None:
    embedding = {"request": {"model": "e", "input": "x"}, "response": {"data": [{}], "usage": {"prompt_tokens": 1}}}
    claude = {"request": {"model": "claude", "messages": REQUEST["messages"]}}
    claude["response"] = {"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
    assert [call(one).endpoint for one in (ROW, embedding, claude)] == ["chat", "embeddings", "messages"]


def test_each_row_of_a_mixed_log_is_read_and_counted_under_its_name(tmp_path: Any) -> None:
    embedding = {"request": {"model": "e", "input": "x"}, "response": {"data": [{}], "usage": {"prompt_tokens": 1}}}
    claude = {"request": {"model": "claude", "messages": REQUEST["messages"]}}
    claude["response"] = {"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in (embedding, embedding, ROW, claude)))
    traffic = read([path])
    assert [call.endpoint for call in traffic.calls] == ["embeddings", "embeddings", "chat", "messages"]
    assert traffic.log.formats == {"anthropic": 1, "openai": 1, "openai-embeddings": 2}
    with pytest.raises(RowError, match="expected rows with an embeddings request"):
        list(by_name("openai-embeddings").rows(ROW))


def test_a_log_in_parts_and_texts_is_one_task(tmp_path: Any) -> None:
    def request(i: int) -> dict[str, Any]:
        content = f"text {i}" if i % 2 else [{"type": "text", "text": f"text {i}"}]
        said = [{"role": "system", "content": "Route it."}, {"role": "user", "content": content}]
        return {"model": "m", "messages": said}

    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(ROW | {"request": request(i)}) + "\n" for i in range(20)))
    traffic = read([path])
    (task,) = find_tasks(traffic)
    assert (task.calls, traffic.bad_rows, traffic.log.formats) == (20, 0, {"openai": 20})


RECORDS = [
    ROW,
    {"ts": 1, "latency_ms": "5", "input": REQUEST, "output": json.dumps(RESPONSE)},
    {"ts": 1, **REQUEST, "response": "text"},
    {"request": {"body": REQUEST}, "response": {"status_code": 200, "body": RESPONSE}},
    {"request": REQUEST, "response": CHUNKS},
]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(openai_chat, data.draw(mutated(RECORDS)))


def test_a_row_is_not_edited() -> None:
    for record in RECORDS:
        before = wire.dumps(record)
        call(record)
        assert wire.dumps(record) == before
