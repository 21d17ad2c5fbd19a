"""LiteLLM's StandardLoggingPayload: what it says of a call, a failure, its own cache and redacted text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.nouns import Call, Tokens
from freehold.traffic.formats import litellm_payload
from freehold.wire import call_from_row, timestamp

from .mutate import mutated, only_refuses

# github.com/BerriAI/litellm tests/logging_callback_tests/gcs_pub_sub_body/standard_logging_payload.json, shortened
PAYLOAD: dict[str, Any] = {
    "id": "chatcmpl-2299b6a2-82a3-465a-b47c-04e685a2227f",
    "trace_id": None,
    "call_type": "acompletion",
    "cache_hit": None,
    "stream": True,
    "status": "success",
    "custom_llm_provider": "openai",
    "saved_cache_cost": 0.0,
    "startTime": "2025-01-24 09:20:46.847371",
    "endTime": "2025-01-24 09:20:46.851954",
    "completionStartTime": "2025-01-24 09:20:46.851954",
    "response_time": 0.007394075393676758,
    "model": "gpt-4o",
    "metadata": {"user_api_key_hash": None, "user_api_key_user_id": None, "user_api_key_end_user_id": None},
    "response_cost": 0.00022500000000000002,
    "total_tokens": 30,
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "end_user": "",
    "model_group": "",
    "messages": [{"role": "user", "content": "Hello, world!"}],
    "response": {
        "id": "chatcmpl-2299b6a2-82a3-465a-b47c-04e685a2227f",
        "created": 1742855151,
        "model": "gpt-4o",
        "object": "chat.completion",
        "choices": [
            {
                "finish_reason": "stop",
                "index": 0,
                "message": {"content": "hi", "role": "assistant", "tool_calls": None, "function_call": None},
            }
        ],
        "usage": {"completion_tokens": 20, "prompt_tokens": 10, "total_tokens": 30, "prompt_tokens_details": None},
    },
    "model_parameters": {},
    "hidden_params": {"api_base": "https://api.openai.com", "litellm_model_name": "gpt-4o"},
    "error_str": None,
    "error_information": {"error_code": "", "error_class": "", "llm_provider": ""},
}
FAILURE = PAYLOAD | {  # the fields of docs.litellm.ai/docs/proxy/logging_spec for a failed call
    "status": "failure",
    "response": None,
    "response_cost": 0,
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "startTime": 1737710446.847371,
    "endTime": 1737710447.097371,
    "error_str": "litellm.RateLimitError: slow down",
    "error_information": {"error_code": "429", "error_class": "RateLimitError", "llm_provider": "openai"},
}
# tests/logging_callback_tests/gcs_pub_sub_body/spend_logs_payload.json, shortened: a row of the proxy's database
SPEND: dict[str, Any] = {
    "request_id": "chatcmpl-2283081b-dc89-41f6-93e6-d4f914774027", "session_id": "1234567890",
    "call_type": "acompletion", "api_key": "", "cache_hit": "None", "startTime": "2025-01-24 09:20:46.847371",
    "endTime": "2025-01-24 09:20:46.851954", "model": "gpt-4o", "user": "", "spend": 0.00022500000000000002,
    "metadata": '{"usage_object": {"completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 4}}}',
    "total_tokens": 30, "prompt_tokens": 10, "completion_tokens": 20, "request_tags": "[]", "end_user": "",
    "custom_llm_provider": "openai", "messages": "{}", "response": "{}", "proxy_server_request": "{}",
    "status": "success",
}  # fmt: skip
ROWS = [PAYLOAD, FAILURE, SPEND]


def call(**changes: Any) -> Call:
    (row,) = litellm_payload.rows(PAYLOAD | changes)
    return call_from_row(row)


def test_a_call_as_it_was_logged() -> None:
    found = call()
    assert (found.model, found.answer, found.finish) == ("gpt-4o", "hi", "stop")
    assert found.messages == ({"role": "user", "content": "Hello, world!"},)
    assert (found.at, found.tokens) == (timestamp("2025-01-24T09:20:46.847371Z"), Tokens(10, 20))
    assert found.seconds == pytest.approx(0.004583, abs=1e-6)
    assert (found.endpoint, found.answered_by, found.user, found.error) == ("chat", "upstream", None, "")


def test_what_is_cached_and_thought_is_a_part_of_the_counts() -> None:
    usage = {"prompt_tokens_details": {"cached_tokens": 4, "cache_creation_tokens": 3}, "cache_read_input_tokens": 4}
    thought = {"completion_tokens_details": {"reasoning_tokens": 12}}
    found = call(response=PAYLOAD["response"] | {"usage": usage | thought})
    assert found.tokens == Tokens(10, 20, cached=4, cache_write=3, reasoning=12)


def test_a_failure_is_named_by_its_code() -> None:
    found = call(**FAILURE)
    assert (found.error, found.answer, found.seconds) == ("429", None, pytest.approx(0.25))


def test_what_its_own_cache_answered_is_neither_evidence_nor_money() -> None:
    assert call(cache_hit=True).answered_by == "cache"
    assert call(cache_hit=False).answered_by == "upstream"


def test_redacted_text_makes_no_task() -> None:
    redacted = [{"role": "user", "content": "redacted-by-litellm"}]
    found = call(messages=redacted, response={"text": "redacted-by-litellm"})
    assert found.messages[0]["content"] is None
    assert found.answer is None
    assert found.tokens == Tokens(10, 20)


def test_parameters_tools_and_users() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    found = call(model_parameters={"temperature": 0, "tools": tools}, end_user="u-9")
    assert (found.params, found.user) == ({"temperature": 0, "tools": tools}, "u-9")


@pytest.mark.parametrize(
    ("kind", "endpoint"),
    [
        ("completion", "chat"), ("atext_completion", "completions"), ("aembedding", "embeddings"),
        ("aresponses", "responses"), ("anthropic_messages", "messages"),
    ],
)  # fmt: skip
def test_each_call_type_has_its_endpoint(kind: str, endpoint: str) -> None:
    assert call(call_type=kind).endpoint == endpoint


def test_what_is_no_call_of_a_language_model_is_passed_over() -> None:
    assert not list(litellm_payload.rows(PAYLOAD | {"call_type": "aimage_generation"}))


def test_embeddings_and_responses() -> None:
    vectors = {"object": "list", "data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 3}}
    embedded = call(call_type="aembedding", messages=["one", "two"], response=vectors, completion_tokens=0)
    assert [m["content"] for m in embedded.messages] == ["one\ntwo"]
    assert (embedded.answer, embedded.tokens) == (None, Tokens(10, 0))
    said = [{"type": "reasoning"}, {"type": "message", "content": [{"type": "output_text", "text": "hej"}]}]
    asked = [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]
    answered = call(call_type="aresponses", messages=asked, response={"object": "response", "output": said})
    assert (answered.messages[0]["content"], answered.answer) == ("hi", "hej")


def test_a_row_of_the_spend_logs_has_times_and_tokens() -> None:
    found = call_from_row(next(iter(litellm_payload.rows(SPEND))))
    assert (found.tokens, found.answered_by) == (Tokens(10, 20, cached=4), "upstream")
    assert found.messages[0]["content"] is None


def test_spend_logs_may_keep_the_request_as_it_came() -> None:
    kept = '{"model": "gpt-4o", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}'
    found = call_from_row(next(iter(litellm_payload.rows(SPEND | {"proxy_server_request": kept}))))
    assert (found.messages[0]["content"], found.params) == ("hi", {"temperature": 0})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(litellm_payload, data.draw(mutated(ROWS)))
