"""Langfuse's observations, as its blob storage writes them and as its API gives them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold import wire
from freehold.nouns import Call, Tokens
from freehold.traffic.formats import langfuse
from freehold.wire import call_from_row, timestamp

from .mutate import mutated, only_refuses

ASKED = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Where is my refund?"}]
# fields, types and the form of times: langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields
# ("Enriched observations"; input and output are texts, model_parameters is JSON in a text)
BLOB: dict[str, Any] = {
    "id": "obs-1",
    "trace_id": "trace-1",
    "project_id": "project-1",
    "environment": "default",
    "type": "GENERATION",
    "parent_observation_id": "",
    "start_time": "2024-05-29 13:46:19.963000",
    "end_time": "2024-05-29 13:46:21.213000",
    "name": "refund-answer",
    "metadata": {"route": "refund-status"},
    "level": "DEFAULT",
    "status_message": "",
    "version": "",
    "input": wire.dumps(ASKED).decode(),
    "output": '{"role":"assistant","content":"Within three days."}',
    "provided_model_name": "gpt-4o",
    "model_parameters": '{"temperature":0.7}',
    "usage_details": {"input": 41, "output": 18, "total": 59},
    "cost_details": {"input": 0.00000615, "output": 0.0000108},
    "completion_start_time": None,
    "total_cost": 0.00001695,
    "latency": 1.25,
    "model_id": "",
    "created_at": "2024-05-29 13:46:22.000000",
    "tool_calls": [],
    "tool_definitions": {},
    "user_id": "user-42",
    "session_id": "sess-7",
    "tags": [],
}
# the same page, "Notes on CSV exports": every value is text, objects are JSON in a text, null is an empty field
CSV: dict[str, Any] = {
    key: value if isinstance(value, str) else "" if value is None else wire.dumps(value).decode()
    for key, value in BLOB.items()
}
# api.reference.langfuse.com, GET /api/public/observations: the view of an observation, in camelCase
API: dict[str, Any] = {
    "id": "obs-2",
    "traceId": "trace-1",
    "type": "GENERATION",
    "name": "refund-answer",
    "startTime": "2026-05-01T10:00:01.000Z",
    "endTime": "2026-05-01T10:00:02.250Z",
    "completionStartTime": "2026-05-01T10:00:01.420Z",
    "model": "gpt-4o-mini-2026-04",
    "modelParameters": {"temperature": 0.2},
    "input": {"messages": ASKED, "tools": [{"type": "function", "function": {"name": "look"}}]},
    "output": {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": {"name": "look"}}]},
    "usage": {"unit": "TOKENS", "input": 41, "output": 18, "total": 59},
    "level": "DEFAULT",
    "statusMessage": None,
    "metadata": {"source": "chat-widget"},
}
EMBEDDING = API | {
    "type": "EMBEDDING", "model": "text-embedding-3-small", "input": ["one", "two"], "output": [[0.1]],
    "modelParameters": None, "usage": None, "usageDetails": {"input": 7},
}  # fmt: skip
SPAN = API | {"type": "SPAN", "input": {"query": "refund"}, "output": "found", "model": None, "usage": None}
ROWS = [BLOB, CSV, API, EMBEDDING, SPAN]


def call(row: dict[str, Any], **changes: Any) -> Call:
    (found,) = langfuse.rows(row | changes)
    return call_from_row(found)


@pytest.mark.parametrize("row", [BLOB, CSV], ids=["JSON lines", "CSV"])
def test_a_generation_of_the_blob_export(row: dict[str, Any]) -> None:
    found = call(row)
    assert (list(found.messages), found.answer) == (ASKED, "Within three days.")
    assert (found.model, found.params, found.user) == ("gpt-4o", {"temperature": 0.7}, "user-42")
    assert (found.at, found.seconds) == (timestamp("2024-05-29T13:46:19.963Z"), 1.25)
    assert found.tokens == Tokens(41, 18)


def test_a_generation_of_the_api() -> None:
    found = call(API)
    assert (list(found.messages), found.answer, found.tokens) == (ASKED, None, Tokens(41, 18))
    assert found.params == {"temperature": 0.2, "tools": API["input"]["tools"]}
    assert wire.calls_tools(found)


def test_an_answer_that_is_itself_json_stays_text() -> None:
    assert call(BLOB, output='{"city": "Oslo"}').answer == '{"city": "Oslo"}'
    assert call(API, output={"city": "Oslo"}).answer == '{"city":"Oslo"}'
    assert call(BLOB, output='"yes"').answer == "yes"
    assert call(BLOB, output="plain").answer == "plain"


def test_text_blocks_become_plain_text() -> None:
    blocks = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    assert call(API, input=blocks).messages == ({"role": "user", "content": "hi"},)


def test_the_integrations_take_cached_tokens_out_of_input_and_ours_hold_them() -> None:
    details = {"input": 10, "input_cached_tokens": 30, "output": 8, "output_reasoning_tokens": 4, "total": 52}
    assert call(BLOB, usage_details=details).tokens == Tokens(40, 12, cached=30, reasoning=4)
    apart = {"input": 10, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 5, "output": 8, "total": 53}
    assert call(BLOB, usage_details=apart).tokens == Tokens(45, 8, cached=30, cache_write=5)


def test_where_the_total_says_that_they_are_still_in_it_they_stay() -> None:
    details = {"input": 40, "input_cached_tokens": 30, "output": 8, "total": 48}
    assert call(BLOB, usage_details=details).tokens == Tokens(40, 8, cached=30)


def test_counts_of_older_exports() -> None:
    assert call(API, usage={"promptTokens": 5, "completionTokens": 2}).tokens == Tokens(5, 2)
    assert call(API, usage=None, promptTokens="5", completionTokens="2").tokens == Tokens(5, 2)
    assert call(API, usage={"unit": "CHARACTERS", "input": 41, "output": 18}).tokens is None


def test_an_error_is_a_failure() -> None:
    found = call(BLOB, level="ERROR", status_message="overloaded", output="")
    assert (found.error, found.answer) == ("error", None)


def test_embeddings_are_calls_and_spans_are_not() -> None:
    found = call(EMBEDDING)
    assert (found.endpoint, found.tokens, found.answer) == ("embeddings", Tokens(7, 0), None)
    assert [message["content"] for message in found.messages] == ["one\ntwo"]
    assert langfuse.fits(SPAN)
    assert not list(langfuse.rows(SPAN))


def test_a_trace_and_a_page_hold_many() -> None:
    trace = {"id": "trace-1", "userId": "u-1", "observations": [API, SPAN, EMBEDDING]}
    assert [call_from_row(row).user for row in langfuse.rows(trace)] == ["u-1", "u-1"]
    page = {"data": [API, SPAN, BLOB], "meta": {"page": 1}}
    assert langfuse.fits(page)
    assert len(list(langfuse.rows(page))) == 2


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(langfuse, data.draw(mutated(ROWS)))
