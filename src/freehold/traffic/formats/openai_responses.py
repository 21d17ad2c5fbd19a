"""OpenAI's responses, as they were sent and received.

{"request": {"model": "gpt-4.1", "instructions": "Route it.", "input": "my card is gone"},
 "response": {"object": "response", "created_at": 1741476542, "status": "completed", "model": "gpt-4.1-2025-04-14",
              "output": [{"type": "message", "content": [{"type": "output_text", "text": "lost_card"}]}],
              "usage": {"input_tokens": 36, "output_tokens": 87, "input_tokens_details": {"cached_tokens": 0}}}}

instructions → a system message; input items → messages; function_call → tool_calls; text.format → response_format.
What the server remembers (previous_response_id, conversation, a stored prompt) is not in the log: such a call has an
unlogged message, and so no task.

Described: https://platform.openai.com/docs/api-reference/responses (create, and its streaming events)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from freehold import wire
from freehold.traffic.formats import shape
from freehold.traffic.formats.exchange import bodies, exchange

__all__ = ["ENDPOINT", "NAME", "SAYS", "answered", "asked", "asks", "fits", "merged", "rows"]

NAME = "openai-responses"
SAYS = "rows with a responses request (input) and its response (output)"
ENDPOINT = "responses"
REMEMBERED = ("previous_response_id", "conversation", "prompt")
ENDED = {"max_output_tokens": "length", "content_filter": "content_filter"}
RENAMED = {"max_output_tokens": "max_completion_tokens"}
LAST = ("response.completed", "response.incomplete", "response.failed")
Body = dict[str, Any]


def asks(request: Body, response: Any = None) -> bool:
    """Is this a responses request? An embeddings one has an input too: ask it first."""
    if "messages" in request:
        return False
    return "input" in request or any(name in request for name in REMEMBERED)


def fits(record: Any) -> bool:
    said = bodies(record)
    if said is None or not asks(*said):
        return False
    return "output" in said[1] if isinstance(said[1], dict) else isinstance(said[1], list)


def rows(record: Any) -> Iterable[Body]:
    return (exchange(record, asked, answered, ENDPOINT, merged),)


# the request


def asked(request: Body) -> Body:
    gone = ("input", "instructions", "tools", "tool_choice", "text", "reasoning", *RENAMED)
    further = {name: value for name, value in request.items() if name not in gone and value is not None}
    further |= {new: request[old] for old, new in RENAMED.items() if request.get(old) is not None}
    if isinstance(request.get("tools"), list) and request["tools"]:
        further["tools"] = [_tool(tool) for tool in request["tools"]]
    if request.get("tool_choice") is not None:
        further["tool_choice"] = _tool(request["tool_choice"])
    return further | _written(request) | {"messages": list(_messages(request))}


def _tool(tool: Any) -> Any:
    """A function's fields stand one level deeper in chat; a server's own tool is left as it is."""
    if not isinstance(tool, dict) or tool.get("type") != "function" or "function" in tool:
        return tool
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _written(request: Body) -> Body:
    """How the answer is to be written and thought of: text and reasoning under chat's names."""
    text, reasoning = shape.obj(request.get("text")), shape.obj(request.get("reasoning"))
    format = shape.obj(text.get("format"))
    found: Body = {"verbosity": text["verbosity"]} if text.get("verbosity") is not None else {}
    if reasoning.get("effort") is not None:
        found["reasoning_effort"] = reasoning["effort"]
    if format.get("type") == "json_schema":
        schema = {name: value for name, value in format.items() if name != "type"}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif format and format.get("type") != "text":
        found["response_format"] = format
    return found


def _messages(request: Body) -> Iterator[Body]:
    instructions, given = request.get("instructions"), request.get("input")
    if isinstance(instructions, str) and instructions:
        yield {"role": "system", "content": instructions}
    if isinstance(instructions, list):
        yield from _items(instructions)
    remembered = any(request.get(name) is not None for name in REMEMBERED)
    if remembered:
        yield shape.unlogged(request)
    if isinstance(given, str):
        yield {"role": "user", "content": given}
    elif isinstance(given, list) and given:
        yield from _items(given)
    elif given is not None or not remembered:
        raise wire.RowError(f"the input is {wire.shape_of(given)}, not a text or a list of items")


def _items(items: Sequence[Any]) -> Iterator[Body]:
    """Input items as messages; calls that follow one another are one message's."""
    calls: list[Body] = []
    for item in items:
        kind = item.get("type", "message") if isinstance(item, dict) else None
        if kind in ("function_call", "custom_tool_call"):
            calls.append(_called(item))
            continue
        if calls:
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            calls = []
        if kind == "message" and isinstance(item.get("role"), str):
            yield {"role": item["role"], "content": shape.plain(item.get("content"))}
        elif kind in ("function_call_output", "custom_tool_call_output"):
            yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": shape.plain(item.get("output"))}
        elif kind == "item_reference":
            yield shape.unlogged(item, "id")
        elif kind is None or kind == "message":
            raise wire.RowError("an item of the input has no role")
        elif kind != "reasoning":  # a server's own tool: what it said stays a part that no template fits
            yield {"role": "assistant", "content": [item]}
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def _called(item: Body) -> Body:
    """A call in chat's form; of a custom tool the input is a free text, not JSON."""
    if item.get("type") == "custom_tool_call":
        custom = {"name": item.get("name"), "input": item.get("input")}
        return {"id": item.get("call_id"), "type": "custom", "custom": custom}
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


# the response


def answered(request: Body, response: Body) -> Body:
    """A chat response; a cancelled one is an error, one that isn't done yet is refused."""
    output, status = response.get("output"), response.get("status", "completed")
    if status == "cancelled":
        return shape.failed("cancelled") | _head(response)
    if status not in ("completed", "incomplete"):
        raise wire.RowError(f"the response is not done: its status is {str(status)[:40]!r}")
    if not isinstance(output, list):
        raise wire.RowError("the response has no output")
    message = _message([item for item in output if isinstance(item, dict)])
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    if status == "incomplete":
        why = shape.obj(response.get("incomplete_details")).get("reason")
        reason = ENDED.get(why, "length") if isinstance(why, str) else "length"
    return _head(response) | {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}


def _message(output: Sequence[Body]) -> Body:
    parts = [part for item in output if item.get("type") == "message" for part in shape.listed(item.get("content"))]
    parts = [part for part in parts if isinstance(part, dict)]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    refused = [part["refusal"] for part in parts if isinstance(part.get("refusal"), str)]
    message: Body = {"role": "assistant", "content": "".join(texts) if texts else None}
    if refused:
        message["refusal"] = "".join(refused)
    calls = [_called(item) for item in output if item.get("type") in ("function_call", "custom_tool_call")]
    return message | ({"tool_calls": calls} if calls else {})


def _head(response: Body) -> Body:
    """What isn't the answer: id, model, time, tier and counts."""
    kept = {name: response[name] for name in ("id", "model", "service_tier") if response.get(name) is not None}
    created = response.get("created_at")
    counts = shape.obj(response.get("usage"))
    read, written = (shape.obj(counts.get(f"{side}_tokens_details")) for side in ("input", "output"))
    usage = shape.usage(
        counts.get("input_tokens"), counts.get("output_tokens"), cached=read.get("cached_tokens"),
        write=read.get("cache_write_tokens"), reasoning=written.get("reasoning_tokens"),
        audio_in=read.get("audio_tokens"), audio_out=written.get("audio_tokens"),
    )  # fmt: skip
    return kept | ({"created": created} if created is not None else {}) | ({"usage": usage} if usage else {})


def merged(events: Sequence[Body]) -> Body:
    """A streamed answer: the event that ends it holds the whole response."""
    last = next((one for one in reversed(events) if one.get("type") in LAST), None)
    if last is not None and isinstance(last.get("response"), dict):
        return dict(last["response"])
    said = next((one for one in events if one.get("type") == "error"), None)
    if said is not None:
        return shape.failed(said.get("code"), said.get("message"))
    return shape.failed("stream_cut", "the stream has no end")
