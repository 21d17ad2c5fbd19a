"""OpenInference spans, as Arize's instrumentation writes them in OTLP JSON and as Phoenix exports them in rows.

{"name": "llm", "span_kind": "LLM", "start_time": "2024-01-11T16:45:17.98-07:00", "end_time": ..., "attributes":
 {"llm.model_name": "gpt-4o", "llm.invocation_parameters": "{...}", "llm.input_messages": [{"message.role": "user",
  "message.content": "what is 23 times 87"}], "llm.output_messages": [...], "llm.token_count.prompt": 229, ...}}
The same in OTLP has llm.input_messages.0.message.role, and Phoenix's rows have a column attributes.llm.model_name.
Attributes: github.com/Arize-ai/openinference, spec/. The prompt's count holds its cached tokens. Only spans of kind
LLM and EMBEDDING are calls; chains, agents, tools and retrievers are passed over.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from freehold import wire
from freehold.traffic.formats import shape, spans
from freehold.traffic.formats.spans import Span

__all__ = ["NAME", "SAYS", "fits", "rows"]

NAME = "openinference"
SAYS = "OpenInference spans"
KIND = "openinference.span.kind"
CALLS = {"LLM": "chat", "EMBEDDING": "embeddings"}
SIGNS = ("openinference.", "llm.input_messages", "llm.model_name", "llm.token_count.", "embedding.model_name")
OWN = ("model", "messages", "input", "prompt")
COUNTS = {
    "cached": "prompt_details.cache_read", "write": "prompt_details.cache_write",
    "reasoning": "completion_details.reasoning", "audio_in": "prompt_details.audio",
    "audio_out": "completion_details.audio",
}  # fmt: skip
DEEPEST = 12
LONGEST = 1 << 20  # characters of a printed list; Python's parser takes some hundred times that in memory


def fits(record: Any) -> bool:
    if isinstance(record, dict) and shape.text(record.get("span_kind")) in CALLS:
        return True
    return any(key.startswith(SIGNS) or key == "openinference" for keys in spans.attribute_keys(record) for key in keys)


def rows(record: Any) -> Iterable[dict[str, Any]]:
    if not isinstance(record, dict):
        raise wire.ShapeError(f"{wire.shape_of(record)}; expected {SAYS}")
    return [row for span in spans.read(record) if (row := _row(span)) is not None]


def _kind(span: Span, found: Mapping[str, Any]) -> str:
    said = shape.text(found.get(KIND)) or span.kind
    return said.upper()


def _row(span: Span) -> dict[str, Any] | None:
    found = _flattened(span.attributes)
    endpoint = CALLS.get(_kind(span, found))
    if endpoint is None:
        return None
    kind = "embedding" if endpoint == "embeddings" else "llm"
    messages, further = _embedded(found) if kind == "embedding" else _asked(found)
    message, why = _answered(found) if kind == "llm" else (None, "")
    params = shape.obj(shape.decoded(found.get(f"{kind}.invocation_parameters")))
    request = {key: value for key, value in (further | params).items() if key not in OWN and value is not None}
    code = next((event.attributes.get("exception.type") for event in span.events if event.name == "exception"), None)
    return shape.row(
        {"model": _model(found, kind, params), "messages": messages} | request,
        shape.failed(code, span.message) if span.wrong else None,
        message=message,
        why=why or shape.finish(found.get("llm.finish_reason")),
        usage=_usage(found, endpoint),
        timestamp=span.start,
        seconds=span.seconds,
        endpoint="completions" if kind == "llm" and _texts(found, "llm.prompts") else endpoint,
        user=shape.text(found.get("user.id")),
    )


def _model(found: Mapping[str, Any], kind: str, params: Mapping[str, Any]) -> Any:
    return found.get(f"{kind}.model_name") or found.get("llm.model_name") or params.get("model")


def _usage(found: Mapping[str, Any], endpoint: str) -> dict[str, Any] | None:
    start = "llm.token_count."
    counts = {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}
    said = counts.get("completion")
    return shape.usage(
        counts.get("prompt", counts.get("total") if endpoint == "embeddings" else None),
        0 if said is None and endpoint == "embeddings" else said,
        **{ours: counts.get(theirs) for ours, theirs in COUNTS.items()},
    )


# attributes, however deep they are nested, under their dotted names: llm.input_messages.0.message.role


def _flattened(attributes: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in attributes.items():
        _flatten(key, _unquoted(value) if key.endswith(("_messages", ".tools", ".prompts")) else value, found, 0)
    return found


def _flatten(key: str, value: Any, found: dict[str, Any], depth: int) -> None:
    if key.endswith(("vector", "embedding.vector")) or depth > DEEPEST:
        return
    if isinstance(value, dict) and not key.endswith(("json_schema", "metadata")):
        for name, inner in value.items():
            _flatten(f"{key}.{name}", inner, found, depth + 1)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for place, inner in enumerate(value):
            _flatten(f"{key}.{place}", inner, found, depth + 1)
    else:
        found[key] = value


def _unquoted(value: Any) -> Any:
    """A list in a table's cell: JSON, or as Python prints it, which is what pandas writes in a CSV file."""
    inner = shape.decoded(value)
    if not isinstance(inner, str) or not inner.startswith("[{'") or len(inner) > LONGEST:
        return inner
    try:
        return ast.literal_eval(inner)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return inner


def _grouped(found: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """What stands under prefix.0, prefix.1, ... as one dict each, in order."""
    groups: dict[int, dict[str, Any]] = {}
    for key, value in found.items():
        if key.startswith(prefix + "."):
            place, _, rest = key[len(prefix) + 1 :].partition(".")
            if place.isdecimal() and len(place) < 7:
                groups.setdefault(int(place), {})[rest] = value
    return [groups[place] for place in sorted(groups)]


def _texts(found: Mapping[str, Any], prefix: str) -> list[str]:
    """Prompts to complete: llm.prompts.0.prompt.text, or a list in llm.prompts."""
    given = found.get(prefix)
    told = given if isinstance(given, list) else [given] if given else []
    told = told or [one.get("prompt.text") for one in _grouped(found, prefix)]
    return [one for one in told if isinstance(one, str) and one]


def _asked(found: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    tools = [shape.decoded(one.get("tool.json_schema")) for one in _grouped(found, "llm.tools")]
    further = {"tools": [tool for tool in tools if isinstance(tool, dict)]} if tools else {}
    messages = [_message(one, "user") for one in _grouped(found, "llm.input_messages")]
    prompts = [{"role": "user", "content": one} for one in _texts(found, "llm.prompts")]
    if messages or prompts:
        return messages or prompts, further
    messages, beside = shape.asked(found.get("input.value"))
    return messages, beside | further


def _embedded(found: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    texts = [one.get("embedding.text") for one in _grouped(found, "embedding.embeddings")]
    told = [one for one in texts if isinstance(one, str)]
    return shape.asked(told or found.get("input.value"))


def _answered(found: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    messages = _grouped(found, "llm.output_messages")
    if messages:
        return _message(messages[0], "assistant"), shape.finish(messages[0].get("message.finish_reason"))
    return shape.said(found.get("output.value"))


def _message(fields: Mapping[str, Any], role: str) -> dict[str, Any]:
    content = fields.get("message.content")
    blocks = [_block(one) for one in _grouped(fields, "message.contents")]
    content = shape.plain(blocks) if blocks and not content else content
    message: dict[str, Any] = {"role": shape.text(fields.get("message.role")) or role, "content": content}
    calls = [_call(one) for one in _grouped(fields, "message.tool_calls")]
    named = {"tool_call_id": fields.get("message.tool_call_id"), "name": fields.get("message.name")}
    message |= {name: value for name, value in named.items() if isinstance(value, str) and value}
    return message | ({"tool_calls": calls} if calls else {})


def _block(fields: Mapping[str, Any]) -> dict[str, Any]:
    bare = {key.removeprefix("message_content."): value for key, value in fields.items()}
    if bare.get("type") == "text":
        return {"type": "text", "text": shape.text(bare.get("text"))}
    return {"type": "image_url", "image_url": {"url": bare["image.image.url"]}} if "image.image.url" in bare else bare


def _call(fields: Mapping[str, Any]) -> dict[str, Any]:
    bare = {key.removeprefix("tool_call."): value for key, value in fields.items()}
    given = bare.get("function.arguments")
    arguments = given if isinstance(given, str) else wire.dumps(_nested(bare) if given is None else given).decode()
    function = {"name": shape.text(bare.get("function.name")), "arguments": arguments}
    return {"id": shape.text(bare.get("id")), "type": "function", "function": function}


def _nested(bare: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that were logged as an object, and flattened with the rest."""
    start = "function.arguments."
    return {key.removeprefix(start): value for key, value in bare.items() if key.startswith(start)}
