"""OpenTelemetry's GenAI spans: today's attributes, the events before them, OpenLLMetry's numbered ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold import wire
from freehold.errors import LogMostlyBad
from freehold.nouns import Call, Tokens
from freehold.traffic import Reading
from freehold.traffic.files import Part, Record
from freehold.traffic.formats import otel_genai
from freehold.wire import call_from_row

from .mutate import mutated, only_refuses

JOKE = " Why did the developer bring OpenTelemetry to the party? Because it always knows how to trace the fun!"


def any_value(value: Any) -> dict[str, Any]:
    """A value as OTLP JSON writes it: opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(one) for one in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": pairs(value)}}
    return {"stringValue": value}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


def span(attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "spanId": "00f067aa0ba902b7",
        "name": "chat gpt-4",
        "kind": 3,
        "startTimeUnixNano": "1785000000000000000",
        "endTimeUnixNano": "1785000001500000000",
        "attributes": pairs(attributes),
        "status": {},
    } | more


def batch(*spans: dict[str, Any]) -> dict[str, Any]:
    """A line of the collector's file exporter: github.com/open-telemetry/opentelemetry-proto examples/trace.json."""
    resource = {"attributes": pairs({"service.name": "desk"})}
    scope = {"name": "opentelemetry.instrumentation.openai_v2", "version": "2.1"}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": list(spans)}]}]}


# github.com/open-telemetry/semantic-conventions docs/gen-ai/non-normative/examples-llm-calls.md, "Simple chat"
BARE: dict[str, Any] = {
    "gen_ai.provider.name": "openai", "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4",
    "gen_ai.request.max_tokens": 200, "gen_ai.request.top_p": 1.0, "gen_ai.response.model": "gpt-4-0613",
    "gen_ai.response.id": "chatcmpl-9J3uIL87gldCFtiIbyaOvTeYBRA3l", "gen_ai.usage.output_tokens": 47,
    "gen_ai.usage.input_tokens": 52, "gen_ai.response.finish_reasons": ["stop"],
}  # fmt: skip
ASKED = [
    {"role": "system", "parts": [{"type": "text", "content": "You are a helpful bot"}]},
    {"role": "user", "parts": [{"type": "text", "content": "Tell me a joke about OpenTelemetry"}]},
]
SAID = [{"role": "assistant", "parts": [{"type": "text", "content": JOKE}], "finish_reason": "stop"}]
IN_TEXT = BARE | {
    "gen_ai.input.messages": wire.dumps(ASKED).decode(),
    "gen_ai.output.messages": wire.dumps(SAID).decode(),
}
STRUCTURED = BARE | {"gen_ai.input.messages": ASKED, "gen_ai.output.messages": SAID}
# the conventions to v1.36, docs/gen-ai/gen-ai-events.md: an event a message; Azure and Semantic Kernel put the body
# into gen_ai.event.content, and print an enumeration's name as the reason (azure-ai-inference)
EVENTS = [
    {"name": "gen_ai.system.message", "attributes": pairs({"content": "You are a helpful bot"})},
    {"name": "gen_ai.user.message", "attributes": pairs({"gen_ai.event.content": '{"role": "user", "content": "hi"}'})},
    {
        "name": "gen_ai.choice",
        "attributes": pairs(
            {"gen_ai.event.content": '{"message": {"content": "hello"}, "finish_reason": "FinishReason.STOPPED"}'}
        ),
    },
]
# OpenLLMetry's numbered attributes: github.com/traceloop/openllmetry packages/opentelemetry-semantic-conventions-ai
NUMBERED: dict[str, Any] = {
    "llm.request.type": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-3.5-turbo",
    "gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "You are a support agent.",
    "gen_ai.prompt.1.role": "user", "gen_ai.prompt.1.content": "Where is order 1182?",
    "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.finish_reason": "tool_calls",
    "gen_ai.completion.0.tool_calls.0.id": "c1", "gen_ai.completion.0.tool_calls.0.name": "track",
    "gen_ai.completion.0.tool_calls.0.arguments": '{"id": 1182}', "gen_ai.usage.prompt_tokens": 15,
    "gen_ai.usage.completion_tokens": 5, "llm.usage.total_tokens": 20,
}  # fmt: skip
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_weather", "gen_ai.tool.type": "function"}
# as a Python SDK's ConsoleSpanExporter prints it (opentelemetry-sdk, ReadableSpan.to_json)
PRINTED: dict[str, Any] = {
    "name": "chat gpt-4", "context": {"trace_id": "0x4bf9", "span_id": "0x00f0"}, "kind": "SpanKind.CLIENT",
    "start_time": "2026-07-25T17:20:00.000000Z", "end_time": "2026-07-25T17:20:01.500000Z",
    "status": {"status_code": "UNSET"}, "attributes": IN_TEXT, "events": [],
}  # fmt: skip
ROWS = [
    batch(span(IN_TEXT)), batch(span(STRUCTURED), span(TOOL)), batch(span(BARE, events=EVENTS)),
    batch(span(NUMBERED)), batch(span(BARE)), PRINTED,
]  # fmt: skip


def call(attributes: dict[str, Any], **more: Any) -> Call:
    (found,) = otel_genai.rows(batch(span(attributes, **more)))
    return call_from_row(found)


@pytest.mark.parametrize("attributes", [IN_TEXT, STRUCTURED], ids=["in text", "structured"])
def test_a_call_by_todays_conventions(attributes: dict[str, Any]) -> None:
    found = call(attributes)
    said = [(message["role"], message["content"]) for message in found.messages]
    assert said == [("system", "You are a helpful bot"), ("user", "Tell me a joke about OpenTelemetry")]
    assert (found.model, found.answer, found.finish) == ("gpt-4", JOKE, "stop")
    assert (found.at, found.seconds, found.tokens) == (1785000000.0, 1.5, Tokens(52, 47))
    assert found.params == {"max_tokens": 200, "top_p": 1.0}


def test_the_same_as_an_sdk_prints_it() -> None:
    printed = call_from_row(next(iter(otel_genai.rows(PRINTED))))
    assert (printed.messages, printed.answer, printed.at) == (call(IN_TEXT).messages, JOKE, 1785000000.0)


def test_a_call_by_the_events_before() -> None:
    found = call(BARE, events=EVENTS)
    assert [m["content"] for m in found.messages] == ["You are a helpful bot", "hi"]
    assert (found.answer, found.finish) == ("hello", "stop")


def test_a_call_by_numbered_attributes() -> None:
    found = call(NUMBERED)
    assert [m["content"] for m in found.messages] == ["You are a support agent.", "Where is order 1182?"]
    assert wire.answer(found, "tools") == '[{"name":"track","arguments":{"id":1182}}]'
    assert (found.tokens, found.model) == (Tokens(15, 5), "gpt-3.5-turbo")


def test_without_content_a_call_has_times_and_tokens_and_no_text() -> None:
    found = call(BARE)
    assert (found.messages, found.answer) == (({"role": "user", "content": None},), None)
    assert (found.tokens, found.finish) == (Tokens(52, 47), "stop")


def test_tools_results_and_reasoning() -> None:
    # examples-llm-calls.md, "Tool calls (functions)"; "System instructions along with chat history"
    asked = [
        ASKED[1],
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "get", "arguments": {"at": "X"}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "result": "rainy, 57°F"}]},
    ]
    said = [{"parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "rain"}]}]
    first = [{"type": "text", "content": "Be brief."}]
    more = {"gen_ai.input.messages": asked, "gen_ai.output.messages": said, "gen_ai.system_instructions": first}
    found = call(BARE | more)
    assert [m["role"] for m in found.messages] == ["system", "user", "assistant", "tool"]
    assert found.messages[2]["tool_calls"][0]["function"] == {"name": "get", "arguments": '{"at":"X"}'}
    assert (found.messages[3]["content"], found.answer) == ("rainy, 57°F", "rain")


def test_pictures_are_no_plain_text() -> None:
    part = {"type": "uri", "modality": "image", "uri": "https://example.org/a.png"}
    asked = [{"role": "user", "parts": [*ASKED[1]["parts"], part]}]
    assert isinstance(call(BARE | {"gen_ai.input.messages": asked}).messages[0]["content"], list)


def test_cached_tokens_are_in_the_input_tokens_and_added_where_they_can_t_be() -> None:
    cached = {"gen_ai.usage.cache_read.input_tokens": 40, "gen_ai.usage.cache_creation.input_tokens": 4}
    assert call(BARE | cached).tokens == Tokens(52, 47, cached=40, cache_write=4)
    apart = cached | {"gen_ai.usage.input_tokens": 8}
    assert call(BARE | apart).tokens == Tokens(52, 47, cached=40, cache_write=4)


def test_failures() -> None:
    assert call(BARE | {"error.type": "rate_limit_exceeded"}).error == "rate_limit_exceeded"
    assert call(BARE, status={"code": 2, "message": "boom"}).error == "error"
    thrown = [{"name": "exception", "attributes": pairs({"exception.type": "openai.APITimeoutError"})}]
    assert call(BARE, status={"code": "STATUS_CODE_ERROR"}, events=thrown).error == "openai.APITimeoutError"


def test_embeddings_completions_and_the_price_tier() -> None:
    embedding = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e", "gen_ai.usage.input_tokens": 7}
    found = call(embedding)
    assert (found.endpoint, found.tokens) == ("embeddings", Tokens(7, 0))
    text = call(NUMBERED | {"llm.request.type": "completion", "openai.response.service_tier": "flex"})
    assert (text.endpoint, text.tier) == ("completions", "flex")


@pytest.mark.parametrize(
    "attributes",
    [
        TOOL,
        BARE | {"gen_ai.operation.name": "invoke_agent"},
        {"traceloop.span.kind": "workflow", "gen_ai.request.model": "gpt-4"},
        {"http.request.method": "POST"},
    ],
)
def test_other_spans_of_a_trace_hold_no_call(attributes: dict[str, Any]) -> None:
    assert not list(otel_genai.rows(batch(span(attributes))))


def test_a_batch_holds_many() -> None:
    record = batch(span(IN_TEXT), span(TOOL), span(BARE))
    assert len(list(otel_genai.rows(record))) == 2


BAD = span(BARE | {"gen_ai.request.model": 7})


def reading_of(*records: Any) -> tuple[Reading, list[Call]]:
    reading, part = Reading(), Part("spans.jsonl")
    lines = [Record(i, wire.dumps(record), 0) for i, record in enumerate(records, 1)]
    return reading, [call for line in lines for call in reading.take(line, part, 0, otel_genai)]


def test_a_bad_span_is_one_bad_row_and_the_others_are_read() -> None:
    torn: Any = None
    reading, calls = reading_of(batch(span(IN_TEXT), BAD, span(TOOL), span(BARE), torn, BAD), batch(span(TOOL)))
    assert [call.answer for call in calls] == [JOKE, None]
    assert [call.line for call in calls] == [1, 1]
    assert [bad.line for bad in reading.bad] == [1, 1, 1]
    assert [bad.reason.rpartition(", ")[2] for bad in reading.bad] == ["span 2 of 6", "span 5 of 6", "span 6 of 6"]
    assert next(iter(reading.reasons.items())) == ("model is not a text", 2)
    assert (reading.records, reading.rows, reading.bad_rows, reading.skipped) == (2, 6, 3, 1)
    assert reading.formats == {"otel-genai": 2}


def test_more_bad_spans_than_good_are_no_log() -> None:
    reading, _ = reading_of(batch(span(IN_TEXT), BAD, BAD, *[span(TOOL)] * 10))
    with pytest.raises(LogMostlyBad, match="2 of 3 rows are bad"):
        reading.check("spans.jsonl")


def test_a_page_of_flat_spans_is_read_span_by_span() -> None:
    reading, calls = reading_of({"data": [PRINTED, PRINTED | {"start_time": "yesterday"}, PRINTED]})
    assert (len(calls), reading.rows, reading.bad_rows) == (2, 3, 1)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_rows_of_batches_add_up(data: st.DataObject) -> None:
    whole = batch(span(IN_TEXT), span(BARE), span(TOOL), span(NUMBERED))
    reading, calls = reading_of(data.draw(mutated([whole, *ROWS])), whole)
    assert reading.rows == sum(reading.formats.values()) + reading.skipped + reading.bad_rows
    assert len(calls) == reading.calls == sum(reading.formats.values())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(otel_genai, data.draw(mutated(ROWS)))
