"""Helicone's requests: its export tool's rows, its table's columns, its counts that don't overlap."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold import wire
from freehold.nouns import Call, Tokens
from freehold.traffic.formats import helicone
from freehold.wire import call_from_row, timestamp

from .mutate import mutated, only_refuses

REQUEST = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hello"}]}
RESPONSE = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 41, "completion_tokens": 18, "prompt_tokens_details": {"cached_tokens": 32}},
}
# github.com/Helicone/helicone packages/llm-mapper/types.ts, interface HeliconeRequest: what its API answers
# (/v1/request/query-clickhouse) and its export tool writes as a line
ROW: dict[str, Any] = {
    "response_id": "a1",
    "response_created_at": "2024-05-29T13:46:20.775Z",
    "response_body": RESPONSE,
    "response_status": 200,
    "response_model": "gpt-4o-mini-2024-07-18",
    "request_id": "r1",
    "request_created_at": "2024-05-29T13:46:19.963Z",
    "request_body": REQUEST,
    "request_path": "https://api.openai.com/v1/chat/completions",
    "request_user_id": "u-7",
    "request_properties": {"app": "desk"},
    "request_model": "gpt-4o-mini",
    "model_override": None,
    "helicone_user": None,
    "provider": "OPENAI",
    "delay_ms": 812,
    "time_to_first_token": None,
    "total_tokens": 59,
    "prompt_tokens": 9,
    "prompt_cache_write_tokens": 0,
    "prompt_cache_read_tokens": 32,
    "completion_tokens": 18,
    "prompt_id": None,
    "country_code": "NO",
    "scores": None,
    "properties": {},
    "target_url": "https://api.openai.com/v1/chat/completions",
    "model": "gpt-4o-mini-2024-07-18",
    "cache_reference_id": "00000000-0000-0000-0000-000000000000",
}
# packages/llm-mapper RequestResponseRMT: the columns of the table that HQL asks, bodies as texts
HQL: dict[str, Any] = {
    "response_id": "a1", "response_created_at": "2024-05-29 13:46:20", "latency": 812, "status": 200,
    "completion_tokens": 18, "prompt_tokens": 9, "prompt_cache_write_tokens": 0, "prompt_cache_read_tokens": 32,
    "prompt_audio_tokens": 0, "completion_audio_tokens": 0, "model": "gpt-4o-mini-2024-07-18", "request_id": "r1",
    "request_created_at": "2024-05-29 13:46:19.963", "user_id": "u-7", "provider": "OPENAI", "properties": {},
    "request_body": wire.dumps(REQUEST).decode(), "response_body": "",
}  # fmt: skip
FIELDS = (
    "response_id", "response_created_at", "response_status", "request_created_at", "request_body",
    "request_properties", "request_user_id", "model", "prompt_tokens", "completion_tokens", "latency", "cost",
)  # fmt: skip


def exported(values: dict[str, Any]) -> dict[str, Any]:
    """A row of the tool's CSV, escaped as examples/export/typescript/index.ts does it (convertToCSVRow)."""

    def cell(value: Any) -> str:
        if isinstance(value, dict):
            value = wire.dumps(value).decode().replace('"', '""')
        return "" if value is None else '"' + str(value).replace('"', '""') + '"'

    text = ",".join(FIELDS) + "\n" + ",".join(cell(values.get(name)) for name in FIELDS)
    return dict(next(csv.DictReader(io.StringIO(text))))


CSV = exported(ROW | {"latency": 812})
ROWS = [ROW, HQL, CSV]


def call(row: dict[str, Any], **changes: Any) -> Call:
    (found,) = helicone.rows(row | changes)
    return call_from_row(found)


def test_a_request_as_the_export_tool_writes_it() -> None:
    found = call(ROW)
    assert (found.model, found.answer, found.finish) == ("gpt-4o-mini", "hi", "stop")
    assert (list(found.messages), found.params) == (REQUEST["messages"], {"temperature": 0})
    assert (found.at, found.seconds, found.user) == (timestamp("2024-05-29T13:46:19.963Z"), 0.812, "u-7")
    assert (found.tokens, found.answered_by) == (Tokens(41, 18, cached=32), "upstream")


@pytest.mark.parametrize(("row", "tokens"), [(HQL, Tokens(41, 18, cached=32)), (CSV, Tokens(9, 18))])
def test_rows_of_a_table(row: dict[str, Any], tokens: Tokens) -> None:
    found = call(row)
    assert (list(found.messages), found.answer) == (REQUEST["messages"], None)
    assert (found.tokens, found.seconds, found.user) == (tokens, 0.812, "u-7")


def test_a_body_of_anthropics() -> None:
    asked = REQUEST | {"model": "claude-3-5-haiku-20241022", "system": "Be brief.", "max_tokens": 9}
    usage = {"input_tokens": 5, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 2, "output_tokens": 3}
    blocks = [{"type": "text", "text": "hei"}]
    said = {"type": "message", "role": "assistant", "content": blocks, "stop_reason": "max_tokens", "usage": usage}
    path = "https://api.anthropic.com/v1/messages"
    found = call(ROW, request_body=asked, response_body=said, request_path=path, provider="ANTHROPIC")
    assert (found.endpoint, found.finish, found.answer) == ("messages", "length", None)
    assert [m["content"] for m in found.messages] == ["Be brief.", "hello"]
    assert found.tokens == Tokens(37, 3, cached=30, cache_write=2)


def test_a_failure_and_an_answer_of_its_cache() -> None:
    failed = call(ROW, response_status=429, response_body={"error": {"code": "rate_limit_exceeded", "message": "slow"}})
    assert (failed.error, failed.answer) == ("rate_limit_exceeded", None)
    assert call(HQL, status=500).error == "500"
    assert call(ROW, cache_reference_id="7f3e0000-0000-0000-0000-000000000001").answered_by == "cache"


def test_without_bodies_a_call_has_no_text() -> None:
    found = call(ROW, request_body=None, response_body=None)
    assert (found.messages[0]["content"], found.model) == (None, "gpt-4o-mini")
    assert found.tokens == Tokens(41, 18, cached=32)


def test_a_page_of_the_api_holds_many() -> None:
    page = {"data": [ROW, HQL], "error": None}
    assert helicone.fits(page)
    assert len(list(helicone.rows(page))) == 2


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(helicone, data.draw(mutated(ROWS)))
