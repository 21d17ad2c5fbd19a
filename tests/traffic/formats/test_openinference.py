"""OpenInference spans: nested as in its specification, numbered in OTLP, in columns as Phoenix exports them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold import wire
from freehold.nouns import Call, Tokens
from freehold.traffic.formats import openinference
from freehold.wire import call_from_row, timestamp

from .mutate import mutated, only_refuses
from .test_otel_genai import batch, span

# github.com/Arize-ai/openinference spec/llm_spans.md, its two examples; the system text shortened
SYSTEM = "You are a Shakespearean writing assistant who speaks in a Shakespearean style."
CALLED = [{"tool_call.function.name": "multiply", "tool_call.function.arguments": '{\n  "a": 23,\n  "b": 87\n}'}]
ASKED = [
    {"message.role": "system", "message.content": SYSTEM},
    {"message.role": "user", "message.content": "what is 23 times 87"},
]
SPEC: dict[str, Any] = {
    "name": "llm",
    "context": {"trace_id": "409df945-e058-4829-b240-cfbdd2ff4488", "span_id": "01fa9612-01b8-4358-85d6-e3e067305ec3"},
    "span_kind": "LLM",
    "parent_id": "2fe8a793-2cf1-42d7-a1df-bd7d46e017ef",
    "start_time": "2024-01-11T16:45:17.982858-07:00",
    "end_time": "2024-01-11T16:45:18.517639-07:00",
    "status_code": "OK",
    "status_message": "",
    "attributes": {
        "llm.input_messages": ASKED,
        "llm.model_name": "gpt-3.5-turbo-0613",
        "llm.invocation_parameters": '{"model": "gpt-3.5-turbo-0613", "temperature": 0.1, "max_tokens": null}',
        "output.value": '{"tool_calls": [{"function": {"name": "multiply"}, "type": "function"}]}',
        "output.mime_type": "application/json",
        "llm.output_messages": [{"message.role": "assistant", "message.tool_calls": CALLED}],
        "llm.token_count.prompt": 229,
        "llm.token_count.completion": 21,
        "llm.token_count.total": 250,
    },
    "events": [],
}
SYNTHESIS: dict[str, Any] = SPEC | {
    "attributes": SPEC["attributes"]
    | {
        "llm.input_messages": [
            *ASKED,
            {"message.role": "assistant", "message.content": None, "message.tool_calls": CALLED},
            {"message.role": "tool", "message.content": "2001", "message.name": "multiply"},
        ],
        "output.value": "The product of 23 times 87 is 2001.",
        "llm.output_messages": [
            {"message.role": "assistant", "message.content": "The product of 23 times 87 is 2001."}
        ],
        "llm.token_count.prompt": 259,
        "llm.token_count.completion": 14,
    }
}
# the flattening of lists is in spec/semantic_conventions.md ("Flattened attributes"); counts in parts as well
NUMBERED: dict[str, Any] = {
    "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o-mini", "llm.provider": "openai",
    "input.value": '[{"role": "user", "content": "Hello..."}]', "output.value": "World!",
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.contents.0.message_content.type": "text",
    "llm.input_messages.0.message.contents.0.message_content.text": "Hello...",
    "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "World!",
    "llm.invocation_parameters": '{"temperature": 0}', "llm.token_count.prompt": 80,
    "llm.token_count.completion": 20, "llm.token_count.prompt_details.cache_read": 40,
    "llm.token_count.completion_details.reasoning": 5, "user.id": "user-123",
    "llm.tools.0.tool.json_schema": '{"type": "function", "function": {"name": "look"}}',
}  # fmt: skip
# github.com/Arize-ai/phoenix packages/phoenix-client/tests/client/resources/spans/test_spans_dataframe.py: its columns
PHOENIX: dict[str, Any] = {
    key: value for key, value in SYNTHESIS.items() if key not in ("attributes", "context")
} | {"context.span_id": "f26d", "context.trace_id": "409d"} | {
    f"attributes.{key}": value for key, value in SYNTHESIS["attributes"].items()
}  # fmt: skip
# pandas' to_csv writes a list as Python prints it
CSV = {key: str(value) if isinstance(value, list | int) else value or "" for key, value in PHOENIX.items()}
# spec/embedding_spans.md, "Batch Text Input"
EMBEDDING: dict[str, Any] = {
    "name": "CreateEmbeddings",
    "span_kind": "SPAN_KIND_INTERNAL",
    "attributes": {
        "openinference.span.kind": "EMBEDDING",
        "embedding.model_name": "text-embedding-ada-002",
        "embedding.invocation_parameters": '{"model": "text-embedding-ada-002"}',
        "input.value": '["hello", "world"]',
        "embedding.embeddings.0.embedding.text": "hello",
        "embedding.embeddings.0.embedding.vector": [0.1, 0.2, 0.3],
        "embedding.embeddings.1.embedding.text": "world",
        "embedding.embeddings.1.embedding.vector": [0.4, 0.5, 0.6],
        "llm.token_count.prompt": 3,
        "llm.token_count.total": 3,
    },
}
CHAIN = batch(span({"openinference.span.kind": "CHAIN", "input.value": "q", "output.value": "a"}))
ROWS = [SPEC, SYNTHESIS, batch(span(NUMBERED)), PHOENIX, CSV, EMBEDDING, CHAIN]


def call(record: dict[str, Any]) -> Call:
    (found,) = openinference.rows(record)
    return call_from_row(found)


def test_a_tool_call_as_specified() -> None:
    found = call(SPEC)
    assert [m["content"] for m in found.messages] == [SYSTEM, "what is 23 times 87"]
    assert wire.answer(found, "tools") == '[{"name":"multiply","arguments":{"a":23,"b":87}}]'
    assert (found.model, found.params) == ("gpt-3.5-turbo-0613", {"temperature": 0.1})
    assert (found.at, found.tokens) == (timestamp("2024-01-11T23:45:17.982858Z"), Tokens(229, 21))
    assert found.seconds == pytest.approx(0.534781)


@pytest.mark.parametrize("record", [SYNTHESIS, PHOENIX, CSV], ids=["specified", "Phoenix", "CSV"])
def test_an_answer_after_a_tool(record: dict[str, Any]) -> None:
    found = call(record)
    assert [m["role"] for m in found.messages] == ["system", "user", "assistant", "tool"]
    assert found.messages[2]["tool_calls"][0]["function"]["name"] == "multiply"
    assert (found.messages[3]["content"], found.answer) == ("2001", "The product of 23 times 87 is 2001.")
    assert (found.model, found.tokens) == ("gpt-3.5-turbo-0613", Tokens(259, 14))


def test_numbered_attributes_of_otlp() -> None:
    found = call(batch(span(NUMBERED)))
    assert (found.messages, found.answer) == (({"role": "user", "content": "Hello..."},), "World!")
    assert found.params == {"temperature": 0, "tools": [{"type": "function", "function": {"name": "look"}}]}
    assert found.tokens == Tokens(80, 20, cached=40, reasoning=5)
    assert (found.user, found.at, found.seconds) == ("user-123", 1785000000.0, 1.5)


def test_nested_attributes() -> None:
    nested = {"openinference": {"span": {"kind": "LLM"}}, "llm": {"model_name": "m", "token_count": {"prompt": 3}}}
    found = call({"attributes": nested | {"input": {"value": "hi"}, "output": {"value": "ho"}}})
    assert (found.model, found.messages, found.answer) == ("m", ({"role": "user", "content": "hi"},), "ho")


def test_inputs_and_outputs_stand_in_where_no_messages_are() -> None:
    kept = {key: value for key, value in NUMBERED.items() if "_messages" not in key}
    found = call(batch(span(kept)))
    assert (found.messages, found.answer) == (({"role": "user", "content": "Hello..."},), "World!")


def test_a_page_of_phoenix_s_api_holds_many() -> None:
    page = {"data": [SPEC, SYNTHESIS], "next_cursor": None}  # its GET /v1/projects/.../spans, in the same tests
    assert openinference.fits(page)
    assert len(list(openinference.rows(page))) == 2


def test_texts_to_complete() -> None:
    found = call({"span_kind": "LLM", "attributes": {"llm.prompts": ["Once"], "output.value": "upon"}})
    assert (found.endpoint, found.messages[0]["content"], found.answer) == ("completions", "Once", "upon")


def test_embeddings() -> None:
    found = call(EMBEDDING)
    assert (found.endpoint, found.model, found.tokens) == ("embeddings", "text-embedding-ada-002", Tokens(3, 0))
    assert [m["content"] for m in found.messages] == ["hello\nworld"]


def test_a_failure() -> None:
    found = call(SPEC | {"status_code": "ERROR", "status_message": "rate limited"})
    assert (found.error, found.answer) == ("error", None)


def test_chains_and_tools_are_no_calls() -> None:
    assert openinference.fits(CHAIN)
    assert not list(openinference.rows(CHAIN))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(openinference, data.draw(mutated(ROWS)))
