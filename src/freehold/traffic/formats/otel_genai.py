"""OpenTelemetry's spans of generative AI, in OTLP JSON or as an SDK prints them, by the conventions old and new.

    today         gen_ai.input.messages, gen_ai.output.messages, gen_ai.system_instructions: JSON with parts
    to 2025       an event a message: gen_ai.user.message, gen_ai.choice, with content or gen_ai.event.content
    OpenLLMetry   gen_ai.prompt.0.role, gen_ai.prompt.0.content, gen_ai.completion.0.content
Attributes: github.com/open-telemetry/semantic-conventions (docs/gen-ai/gen-ai-spans.md). gen_ai.usage.input_tokens
"SHOULD include all types of input tokens, including cached tokens"; a source that counts them apart is seen where they
are more than the prompt. Spans of agents, tools and workflows repeat what their calls say, and are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from freehold import wire
from freehold.traffic.formats import shape, spans
from freehold.traffic.formats.spans import Span

__all__ = ["NAME", "SAYS", "fits", "rows"]

NAME = "otel-genai"
SAYS = "OpenTelemetry spans with gen_ai attributes"
OPERATIONS = {
    "chat": "chat", "generate_content": "chat", "text_completion": "completions", "embeddings": "embeddings",
    "chat.completions": "chat", "text.completions": "completions", "completion": "completions",
    "embedding": "embeddings", "responses": "responses",
}  # fmt: skip
"""Operations that are calls of a model, also in the words of OpenLLMetry and of Semantic Kernel."""
PARAMS = {
    "temperature": "temperature", "top_p": "top_p", "max_tokens": "max_tokens", "seed": "seed",
    "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty", "stop_sequences": "stop",
    "choice.count": "n",
}  # fmt: skip
EVENT = re.compile(r"gen_ai\.(system|user|assistant|tools?)\.message")
PROMPT = re.compile(r"gen_ai\.(prompt|completion)\.(\d{1,6})\.(.+)")
CALLED = re.compile(r"tool_calls\.(\d{1,6})\.(id|name|arguments)")


def fits(record: Any) -> bool:
    return any(key.startswith("gen_ai.") for keys in spans.attribute_keys(record) for key in keys)


def rows(record: Any) -> Iterable[dict[str, Any]]:
    if not isinstance(record, dict):
        raise wire.ShapeError(f"{wire.shape_of(record)}; expected {SAYS}")
    return [row for span in spans.read(record) if (row := _row(span)) is not None]


def _endpoint(span: Span) -> str | None:
    """The API that a span is a call of; None for a span of another sort."""
    operation = span.get("gen_ai.operation.name", "llm.request.type")
    if operation is not None:
        return OPERATIONS.get(operation) if isinstance(operation, str) else None
    model = span.get("gen_ai.request.model", "gen_ai.response.model")
    return "chat" if model is not None and span.get("traceloop.span.kind") is None else None


def _row(span: Span) -> dict[str, Any] | None:
    endpoint = _endpoint(span)
    if endpoint is None:
        return None
    carriers = [span.attributes, *(event.attributes for event in span.events)]
    message, why = _answer(span, carriers) if endpoint != "embeddings" else (None, "")
    model = span.get("gen_ai.request.model", "gen_ai.response.model")
    tier = span.get("openai.response.service_tier", "gen_ai.openai.response.service_tier")
    reasons = span.get("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason")
    logged = reasons[0] if isinstance(reasons, list) and reasons else reasons
    return shape.row(
        {"model": model, "messages": _messages(span, carriers) or [shape.unlogged()]} | _params(span, carriers),
        _failure(span),
        message=message,
        why=why or shape.finish(logged),
        usage=_usage(span, endpoint),
        timestamp=span.start,
        seconds=span.seconds,
        endpoint=endpoint,
        tier=shape.text(tier),
        user=shape.text(span.get("user.id", "enduser.id", "gen_ai.user")),
    )


def _failure(span: Span) -> dict[str, Any] | None:
    code = span.get("error.type")
    if code is None and not span.wrong:
        return None
    said = next((event.attributes for event in span.events if event.name == "exception"), {})
    return shape.failed(code or said.get("exception.type"), span.message or said.get("exception.message"))


def _usage(span: Span, endpoint: str) -> dict[str, Any] | None:
    said = span.get("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
    read, written = "gen_ai.usage.cache_read", "gen_ai.usage.cache_creation"
    return shape.usage(
        span.get("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        0 if said is None and endpoint == "embeddings" else said,
        cached=span.get(f"{read}.input_tokens", f"{read}_input_tokens", "gen_ai.usage.input_cached_tokens"),
        write=span.get(f"{written}.input_tokens", f"{written}_input_tokens"),
        reasoning=span.get("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    )


def _params(span: Span, carriers: list[dict[str, Any]]) -> dict[str, Any]:
    found = {ours: span.get(f"gen_ai.request.{theirs}") for theirs, ours in PARAMS.items()}
    tools = shape.listed(_carried(carriers, "gen_ai.tool.definitions"))
    if tools:
        found["tools"] = tools
    if span.get("gen_ai.output.type", "gen_ai.openai.request.response_format") in ("json", "json_object"):
        found["response_format"] = {"type": "json_object"}
    return {name: value for name, value in found.items() if value is not None}


def _carried(carriers: list[dict[str, Any]], *names: str) -> Any:
    """A value of the span or of one of its events; JSON in a text is decoded."""
    found = (carrier[name] for name in names for carrier in carriers if carrier.get(name) not in (None, ""))
    return shape.decoded(next(found, None))


def _messages(span: Span, carriers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was asked, from whichever place holds it."""
    first = _carried(carriers, "gen_ai.system_instructions")
    head = _from_parts("system", first if isinstance(first, list) else [{"type": "text", "content": first}])
    head = head if first else []
    given = _carried(carriers, "gen_ai.input.messages")
    if isinstance(given, list):
        return head + [message for one in given for message in _message(shape.obj(one))]
    told = [message for event in span.events if (message := _told(event)) is not None]
    if told:
        return head + told
    numbered = _numbered(span.attributes, "prompt")
    if numbered:
        return head + [_from_fields(fields, "user") for fields in numbered]
    whole = _carried(carriers, "gen_ai.prompt", "gen_ai.content.prompt")
    return head + (shape.asked(whole)[0] if whole else [])


def _message(one: dict[str, Any]) -> list[dict[str, Any]]:
    """A message of gen_ai.input.messages; the results of tools become messages of their own."""
    role = shape.text(one.get("role")) or "user"
    if not isinstance(one.get("parts"), list):
        return [{"role": role, "content": shape.plain(one.get("content"))}]
    return _from_parts(role, one["parts"])


def _from_parts(role: str, parts: list[Any]) -> list[dict[str, Any]]:
    results, blocks, calls = [], [], []
    for part in map(shape.obj, parts):
        kind = part.get("type")
        if kind == "tool_call_response":
            result = part.get("response", part.get("result"))
            said = result if isinstance(result, str) else wire.dumps(result).decode()
            results.append({"role": "tool", "tool_call_id": shape.text(part.get("id")), "content": said})
        elif kind == "tool_call":
            calls.append(_call(part.get("id"), part.get("name"), part.get("arguments")))
        elif kind not in ("reasoning", "thinking"):
            blocks.append({"type": "text", "text": shape.text(part.get("content"))} if kind == "text" else part)
    if not blocks and not calls:
        return results
    message: dict[str, Any] = {"role": role, "content": shape.plain(blocks) or None}
    return [message | ({"tool_calls": calls} if calls else {}), *results]


def _call(id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    given = arguments if isinstance(arguments, str) else wire.dumps({} if arguments is None else arguments).decode()
    return {"id": shape.text(id), "type": "function", "function": {"name": shape.text(name), "arguments": given}}


def _told(event: spans.Event) -> dict[str, Any] | None:
    """An event that is a message."""
    fits = EVENT.fullmatch(event.name)
    if fits is None:
        return None
    body = shape.decoded(event.attributes.get("gen_ai.event.content"))
    said = body if isinstance(body, dict) else {"content": body} if body else event.attributes
    role = shape.text(said.get("role")) or fits[1].removesuffix("s")
    message: dict[str, Any] = {"role": role, "content": shape.plain(shape.decoded_blocks(said.get("content")))}
    calls = shape.listed(shape.decoded(said.get("tool_calls")))
    if role == "tool" and said.get("id"):
        message["tool_call_id"] = said["id"]
    return message | ({"tool_calls": calls} if calls else {})


def _numbered(attributes: Mapping[str, Any], which: str) -> list[dict[str, Any]]:
    """gen_ai.prompt.0.role, gen_ai.prompt.0.content, ... as one dict a message, in order."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        fits = PROMPT.fullmatch(key)
        if fits is not None and fits[1] == which:
            found.setdefault(int(fits[2]), {})[fits[3]] = value
    return [found[i] for i in sorted(found)]


def _from_fields(fields: dict[str, Any], role: str) -> dict[str, Any]:
    content = shape.plain(shape.decoded_blocks(fields.get("content")))
    message: dict[str, Any] = {"role": shape.text(fields.get("role")) or role, "content": content or None}
    calls: dict[int, dict[str, Any]] = {}
    for key, value in fields.items():
        fits = CALLED.fullmatch(key)
        if fits is not None:
            calls.setdefault(int(fits[1]), {})[fits[2]] = value
    if calls:
        made = (calls[i] for i in sorted(calls))
        message["tool_calls"] = [_call(one.get("id"), one.get("name"), one.get("arguments")) for one in made]
    if fields.get("tool_call_id"):
        message["tool_call_id"] = fields["tool_call_id"]
    return message


def _answer(span: Span, carriers: list[dict[str, Any]]) -> tuple[dict[str, Any] | None, str]:
    """What was answered first, and why it ended."""
    given = shape.obj(next(iter(shape.listed(_carried(carriers, "gen_ai.output.messages"))), None))
    if given:
        message = next(iter(_message({"role": "assistant"} | given)), None)
        return message, shape.finish(given.get("finish_reason"))
    return next(_older(span, carriers), (None, ""))


def _older(span: Span, carriers: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any] | None, str]]:
    for event in span.events:
        if event.name == "gen_ai.choice":
            body = shape.decoded(event.attributes.get("gen_ai.event.content"))
            told = body if isinstance(body, dict) else event.attributes
            inner = shape.decoded(told.get("message"))
            said = inner if isinstance(inner, dict) else {"content": inner or told.get("content")}
            calls = shape.listed(shape.decoded(said.get("tool_calls") or told.get("tool_calls")))
            message: dict[str, Any] = {"role": "assistant", "content": shape.plain(said.get("content"))}
            yield message | ({"tool_calls": calls} if calls else {}), shape.finish(told.get("finish_reason"))
    for fields in _numbered(span.attributes, "completion"):
        yield _from_fields(fields, "assistant"), shape.finish(fields.get("finish_reason"))
    whole = _carried(carriers, "gen_ai.completion", "gen_ai.content.completion")
    if whole:
        yield shape.said(whole)
