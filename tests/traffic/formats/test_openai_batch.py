"""Batch files: an input alone is no call, an output alone has no task, joined they have both; all at batch prices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import LogEmpty
from freehold.nouns import Call, Tokens
from freehold.traffic import find_tasks, read
from freehold.traffic.formats import openai_batch, recognise
from freehold.wire import RowError, call_from_row, unseen

from .mutate import mutated, only_refuses

# https://platform.openai.com/docs/guides/batch: "1. Prepare your batch file", "5. Retrieve the results"
INPUT: dict[str, Any] = {
    "custom_id": "request-2",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {
        "model": "gpt-3.5-turbo-0125",
        "messages": [
            {"role": "system", "content": "You are an unhelpful assistant."},
            {"role": "user", "content": "Hello world!"},
        ],
        "max_tokens": 1000,
    },
}
OUTPUT: dict[str, Any] = {
    "id": "batch_req_123",
    "custom_id": "request-2",
    "response": {
        "status_code": 200,
        "request_id": "req_123",
        "body": {
            "id": "chatcmpl-123",
            "object": "chat.completion",
            "created": 1711652795,
            "model": "gpt-3.5-turbo-0125",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello."},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 22, "completion_tokens": 2, "total_tokens": 24},
            "system_fingerprint": "fp_123",
        },
    },
    "error": None,
}
# the same page, "Batch expiration"
EXPIRED: dict[str, Any] = {
    "id": "batch_req_123",
    "custom_id": "request-3",
    "response": None,
    "error": {"code": "batch_expired", "message": "This request could not be executed before the completion window."},
}
JOINED = openai_batch.join(INPUT, OUTPUT)


def call(record: dict[str, Any]) -> Call:
    (row,) = openai_batch.rows(record)
    return call_from_row(row)


def answered(body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    return OUTPUT | {"response": {"status_code": status, "request_id": "req_123", "body": body}}


def test_an_output_row_alone_counts_and_has_no_text() -> None:
    read = call(OUTPUT)
    assert (read.tier, read.model, read.tokens, read.at) == ("batch", "gpt-3.5-turbo-0125", Tokens(22, 2), 1711652795.0)
    assert (read.answer, unseen(read)) == ("Hello.", True)
    assert read.messages != call(OUTPUT | {"id": "batch_req_124"}).messages


def test_both_in_one_record_are_a_whole_call() -> None:
    read = call(JOINED)
    assert (read.tier, read.endpoint, read.answer, read.tokens) == ("batch", "chat", "Hello.", Tokens(22, 2))
    assert read.messages == tuple(INPUT["body"]["messages"])
    assert (read.params, unseen(read)) == ({"max_tokens": 1000}, False)


def test_an_input_row_alone_is_no_call(tmp_path: Path) -> None:
    assert list(openai_batch.rows(INPUT)) == []
    path = tmp_path / "input.jsonl"
    path.write_text((json.dumps(INPUT) + "\n") * 3)
    with pytest.raises(LogEmpty, match="3 records and no call"):
        read([path])


def test_a_folder_of_both_is_paired_into_one_task(tmp_path: Path) -> None:
    for name, record in (("in", INPUT), ("out", OUTPUT)):
        lines = [json.dumps(record | {"custom_id": f"r{i}", "id": f"b{i}"}) + "\n" for i in range(9)]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    traffic = read([tmp_path])
    assert (len(traffic.calls), traffic.log.skipped, traffic.bad_rows) == (9, 9, 0)
    (task,) = find_tasks(traffic)
    assert (task.calls, task.template.slots[0].before) == (9, "You are an unhelpful assistant.")
    assert traffic.log.formats == {"openai-batch": 9}


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (EXPIRED, "batch_expired"),
        (answered({"error": {"code": "context_length_exceeded"}}, 400), "context_length_exceeded"),
        (answered({}, 500), "500"),
        (openai_batch.join(INPUT, EXPIRED), "batch_expired"),
    ],
)
def test_a_failure_is_a_call_without_an_answer(record: dict[str, Any], error: str) -> None:
    read = call(record)
    assert (read.error, read.answer, read.tokens, read.tier) == (error, None, None, "batch")


@pytest.mark.parametrize(
    ("body", "endpoint", "tokens"),
    [
        ({"data": [{}], "model": "e", "usage": {"prompt_tokens": 8}}, "embeddings", Tokens(8, 0)),
        ({"choices": [{"text": "x", "finish_reason": "stop"}]}, "completions", None),
        ({"output": [], "usage": {"input_tokens": 3, "output_tokens": 1}}, "responses", Tokens(3, 1)),
    ],
)
def test_the_answer_tells_the_api_where_the_request_is_not_there(
    body: dict[str, Any], endpoint: str, tokens: Tokens | None
) -> None:
    read = call(answered(body))
    assert (read.endpoint, read.tokens) == (endpoint, tokens)


def test_what_is_no_batch_row_says_why() -> None:
    with pytest.raises(RowError, match="neither a response body nor an error"):
        call(OUTPUT | {"response": None})
    with pytest.raises(RowError, match="expected OpenAI batch output"):
        call({"custom_id": "x"})
    found = recognise([OUTPUT, EXPIRED, JOINED, INPUT])
    assert found is openai_batch


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(openai_batch, data.draw(mutated([OUTPUT, EXPIRED, JOINED, INPUT])))
