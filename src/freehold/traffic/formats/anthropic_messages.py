"""Anthropic's messages, as they were sent and received, and the results of its message batches.

{"request": {"model": "claude-...", "max_tokens": 64, "system": "Route it.", "messages": [{"role": "user", ...}]},
 "response": {"type": "message", "content": [{"type": "text", "text": "lost_card"}], "stop_reason": "end_turn",
              "usage": {"input_tokens": 11, "cache_read_input_tokens": 900, "output_tokens": 3}}}
{"custom_id": "my-first-request", "result": {"type": "succeeded", "message": {...}}}

Its input_tokens leave out what the cache read and wrote; chat's prompt_tokens don't, so here they are the sum.

Described: https://platform.claude.com/docs/en/api/messages and .../build-with-claude/batch-processing
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from freehold import wire
from freehold.traffic.formats import shape
from freehold.traffic.formats.exchange import bodies, exchange

__all__ = ["ENDPOINT", "NAME", "SAYS", "answered", "asks", "fits", "is_batch", "rows"]

NAME = "anthropic"
SAYS = 'Anthropic messages {"request", "response"}, or message batch results {"custom_id", "result"}'
ENDPOINT = "messages"
FINISH = {
    "end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length",
    "model_context_window_exceeded": "length", "pause_turn": "length", "refusal": "content_filter",
}  # fmt: skip
RENAMED = {"stop_sequences": "stop"}
CHOICE = {"auto": "auto", "any": "required", "none": "none"}
Body = dict[str, Any]


def asks(request: Body, response: Any) -> bool:
    """Is this an exchange with the messages API? The response tells; so does a request of which nothing came."""
    if isinstance(response, list):
        return any(shape.obj(event).get("type") == "message_start" for event in response)
    if isinstance(response, dict) and ("choices" in response or "output" in response or "data" in response):
        return False
    if isinstance(response, dict) and (response.get("type") in ("message", "error") or "stop_reason" in response):
        return "messages" in request
    return "messages" in request and ("system" in request or "anthropic_version" in request)


def fits(record: Any) -> bool:
    if is_batch(record):
        return True
    said = bodies(record)
    return said is not None and asks(*said)


def is_batch(record: Any) -> bool:
    """Is this a line of a message batch: a result, a request, or both joined?"""
    return shape.has(record, "custom_id") and "request" not in record and ("result" in record or "params" in record)


def rows(record: Any) -> Iterable[Body]:
    """A batch's request whose result is not with it holds no call."""
    if not is_batch(record):
        return (exchange(record, asked, answered, ENDPOINT, merged),)
    if "result" not in record:
        return ()
    return (_from_batch(record),)


def _from_batch(record: Body) -> Body:
    result, params = record["result"], record.get("params")
    if not isinstance(result, dict):
        raise wire.RowError(f"the result is {wire.shape_of(result)}, not an object")
    row: Body = {"custom_id": record["custom_id"], "tier": "batch", "endpoint": ENDPOINT}
    row["request"] = asked(params) if isinstance(params, dict) else {"messages": [shape.unlogged(record, "custom_id")]}
    if result.get("type") == "succeeded" and isinstance(result.get("message"), dict):
        return row | {"response": answered(row["request"], result["message"])}
    if result.get("type") not in ("errored", "canceled", "expired"):
        raise wire.RowError("the result is no message, and doesn't say what went wrong")
    error = shape.obj(result.get("error"))
    inner = shape.obj(error.get("error")) or error
    return row | {"response": shape.failed(inner.get("type") or result["type"], inner.get("message"))}


# the request


def asked(request: Body) -> Body:
    gone = ("messages", "system", "tools", "tool_choice", *RENAMED)
    further = {name: value for name, value in request.items() if name not in gone}
    further |= {new: request[old] for old, new in RENAMED.items() if old in request}
    if isinstance(request.get("tools"), list) and request["tools"]:
        further["tools"] = [_tool(tool) for tool in request["tools"]]
    if isinstance(request.get("tool_choice"), dict):
        further["tool_choice"] = _choice(request["tool_choice"])
    user = shape.obj(request.get("metadata")).get("user_id")
    if isinstance(user, str):
        further["user"] = user
    return further | {"messages": list(_messages(request))}


def _tool(tool: Any) -> Any:
    """A client's tool as a function; a server's own (it has a type and no schema) is left as it is."""
    if not isinstance(tool, dict) or "input_schema" not in tool:
        return tool
    kept = {name: tool[name] for name in ("name", "description") if name in tool}
    return {"type": "function", "function": kept | {"parameters": tool["input_schema"]}}


def _choice(choice: Body) -> Any:
    if choice.get("type") == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    kind = choice.get("type")
    return CHOICE.get(kind, kind) if isinstance(kind, str) else choice


def _messages(request: Body) -> Iterator[Body]:
    given, system = request.get("messages"), request.get("system")
    if not isinstance(given, list) or not given:
        raise wire.RowError("messages is not a list with at least one message")
    if system:
        yield {"role": "system", "content": shape.plain(system)}
    for message in given:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise wire.RowError("a message has no role")
        content = shape.plain(message.get("content"))
        if isinstance(content, list):
            yield from _blocks(message["role"], content)
        else:
            yield {"role": message["role"], "content": content}


def _blocks(role: str, content: Sequence[Any]) -> Iterator[Body]:
    """A message in blocks: each tool result is a message of its own, tool uses are calls; thoughts are left out."""
    kinds = [(shape.obj(block).get("type"), block) for block in content]
    for kind, block in kinds:
        if kind == "tool_result":
            said = shape.plain(block.get("content"))
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": said}
    apart = ("tool_result", "tool_use", "thinking", "redacted_thinking")
    rest = [block for kind, block in kinds if kind not in apart]
    calls = [_called(block) for kind, block in kinds if kind == "tool_use"]
    if calls:
        yield {"role": role, "content": shape.plain(rest) if rest else None, "tool_calls": calls}
    elif rest or not kinds:
        yield {"role": role, "content": shape.plain(rest)}


def _called(block: Body) -> Body:
    given = block.get("input")
    function = {"name": block.get("name"), "arguments": wire.dumps({} if given is None else given).decode()}
    return {"id": block.get("id"), "type": "function", "function": function}


# the response


def answered(request: Body, response: Body) -> Body:
    content, why = response.get("content"), response.get("stop_reason")
    if not isinstance(content, list):
        raise wire.RowError("the response has no content blocks")
    blocks = [block for block in content if isinstance(block, dict)]
    texts = [block["text"] for block in blocks if block.get("type") == "text" and isinstance(block.get("text"), str)]
    message: Body = {"role": "assistant", "content": "".join(texts) if texts else None}
    calls = [_called(block) for block in blocks if block.get("type") == "tool_use"]
    if calls:
        message["tool_calls"] = calls
    if why == "refusal":
        message["refusal"] = message["content"] or "refused"
    reason = FINISH.get(why, why) if isinstance(why, str) else None
    kept = {name: response[name] for name in ("id", "model", "created_at") if response.get(name) is not None}
    return kept | _counts(response) | {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}


def _counts(response: Body) -> Body:
    """Token counts in chat's form, and the tier that they were billed at."""
    said = shape.obj(response.get("usage"))
    tier = {"service_tier": said["service_tier"]} if isinstance(said.get("service_tier"), str) else {}
    read, written = said.get("cache_read_input_tokens"), said.get("cache_creation_input_tokens")
    parts = [shape.count(0 if one is None else one) for one in (read, written)]
    fresh = shape.count(said.get("input_tokens"))
    if fresh is None or parts[0] is None or parts[1] is None:  # half a count would be a wrong price
        return tier
    thought = shape.obj(said.get("output_tokens_details")).get("thinking_tokens")
    whole = fresh + parts[0] + parts[1]
    usage = shape.usage(whole, said.get("output_tokens"), cached=parts[0], write=parts[1], reasoning=thought)
    return tier | ({"usage": usage} if usage else {})


def merged(events: Sequence[Body]) -> Body:
    """A streamed message put together from its events."""
    whole: Body = {}
    blocks: dict[int, Body] = {}
    for event in events:
        kind, at = event.get("type"), event.get("index")
        if kind == "error":
            return {"error": event.get("error") or {"code": "error"}}
        if kind == "message_start":
            whole |= shape.obj(event.get("message"))
        elif kind == "content_block_start" and isinstance(at, int):
            blocks[at] = shape.obj(event.get("content_block")) | {"json": ""}
        elif kind == "content_block_delta" and isinstance(at, int) and at in blocks:
            _grow(blocks[at], shape.obj(event.get("delta")))
        elif kind == "message_delta":
            whole |= shape.obj(event.get("delta"))
            whole["usage"] = shape.obj(whole.get("usage")) | shape.obj(event.get("usage"))
    whole["content"] = [_ended(blocks[at]) for at in sorted(blocks)]
    return whole if whole.get("stop_reason") else shape.failed("stream_cut", "the stream has no end")


def _grow(block: Body, delta: Body) -> None:
    if isinstance(delta.get("text"), str):
        block["text"] = shape.text(block.get("text")) + delta["text"]
    if isinstance(delta.get("partial_json"), str):
        block["json"] += delta["partial_json"]


def _ended(block: Body) -> Body:
    written = block.pop("json")
    return block | {"input": shape.decoded(written)} if written else block
