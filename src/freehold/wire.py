"""OpenAI's JSON <-> Call: the only file that knows that format.

A log row (further keys are kept, and come back equal when the row is written again):
    {"timestamp": "2026-10-01T09:12:44Z", "seconds": 0.61,
     "request":  {"model": "gpt-4o-mini", "temperature": 0,
                  "messages": [{"role": "system", "content": "..."}, {"role": "user", "content": "..."}]},
     "response": {"choices": [{"message": {"role": "assistant", "content": "transfer"}, "finish_reason": "stop"}],
                  "usage": {"prompt_tokens": 712, "completion_tokens": 2}}}
A fine-tuning row: {"messages": [..., {"role": "assistant", "content": "transfer"}]}: no time, and money unknown.
A ledger row is a log row with one more key, "freehold": who answered, why the upstream was asked, how likely.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from freehold.errors import BadSetting
from freehold.nouns import Call, Message, Tokens

__all__ = [
    "EXPECTED", "RowError", "ShapeError", "answer", "call_from_request", "call_from_row", "calls_tools",
    "chunks", "completion", "dumps", "error", "estimate_tokens", "finished", "loads", "models", "row_from_call",
    "shape_of", "time_given", "timestamp", "unseen", "usage_tokens",
]  # fmt: skip

TOOL = {"name", "arguments"}
CUT = ("length", "content_filter")  # finish reasons of an answer that isn't whole
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXPECTED = 'rows {"timestamp", "request", "response"} with OpenAI chat bodies, or fine-tuning rows {"messages"}'


class RowError(ValueError):
    """Why one row can't be read."""


class ShapeError(RowError):
    """The row is not JSON, or JSON of another shape than the ones known."""


def loads(data: bytes | str) -> Any:
    """JSON to plain values; raises RowError with the place."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError) as error:
        raise ShapeError(f"not JSON: {error}") from None
    except RecursionError:
        raise ShapeError("not JSON that can be read: nested too deeply") from None


dumps = msgspec.json.encode


def shape_of(row: Any) -> str:
    """What a row looks like, in a few words, for error messages."""
    if isinstance(row, dict):
        return "an object with " + (", ".join(repr(k) for k in list(row)[:6]) or "no keys")
    if isinstance(row, list):
        return "a list"
    return "null" if row is None else f"a {type(row).__name__}"


def timestamp(value: Any) -> float | None:
    """Epoch seconds from ISO 8601 (naive means UTC) or an epoch number (milliseconds above 1e11); raises RowError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowError(f"timestamp is {shape_of(value)}, not ISO 8601 or an epoch number")
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value.strip())
        except ValueError:
            try:
                return timestamp(float(value))
            except ValueError:
                raise RowError(f"timestamp {value[:40]!r} is not ISO 8601 or an epoch number") from None
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH).total_seconds()
        if not 0 <= seconds < 1e11:  # a zero time would stretch the log over two thousand years
            raise RowError(f"timestamp {value[:40]!r} is not a time from 1970 to 5138")
        return seconds
    if not 0 <= value < 1e14:  # also refuses NaN; 1e14 ms is the year 5138
        raise RowError(f"timestamp {str(value)[:40]} is not a time from 1970 to 5138")
    return value / 1000.0 if value > 1e11 else float(value)


def time_given(text: str | None) -> float | None:
    """The time that --until gives, in epoch seconds; raises BadSetting."""
    try:
        return timestamp(text)
    except RowError as error:
        raise BadSetting(f"--until: {error}.", "Give a time such as 2026-10-01T00:00:00Z.") from None


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise RowError("messages is not a list with at least one message")
    for message in value:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RowError("a message has no role")
    return tuple(value)


def call_from_request(body: Any) -> Call:
    """A chat request as a Call without an answer; raises RowError."""
    messages, model, params, user = _asked(body)
    return Call(messages, model, params, user=user)


def _asked(body: Any) -> tuple[tuple[Message, ...], str, dict[str, Any], str | None]:
    """Of a chat request: messages, model, its other fields, user."""
    if not isinstance(body, dict):
        raise RowError(f"the request is {shape_of(body)}, not an object")
    messages = _messages(body.get("messages"))
    model = body.get("model", "")
    if not isinstance(model, str):
        raise RowError("model is not a text")
    user = body.get("user")
    params = body.copy()
    params.pop("model", None)
    del params["messages"]
    return messages, model, params, user if isinstance(user, str) else None


def call_from_row(row: Any, line: int = 0) -> Call:
    """One log row, fine-tuning row or ledger row as a Call; raises RowError with the reason."""
    if not isinstance(row, dict):
        raise ShapeError(f"{shape_of(row)} instead of an object")
    if "request" in row:
        return _logged(row, line)
    if "messages" in row:
        messages = _messages(row["messages"])
        if messages[-1]["role"] != "assistant" or len(messages) < 2:
            raise RowError("the last of the messages is not the assistant's answer")
        answer = _content(messages[-1])
        return Call(messages[:-1], params=_further(row), answer=answer, line=line, row=row)
    raise ShapeError(f"{shape_of(row)}; expected {EXPECTED}")


def _further(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: row[k] for k in ("tools", "response_format") if k in row}


def _content(message: Mapping[str, Any]) -> str | None:
    """The message's text; None where it refuses, or calls a tool or a function, whatever text stands beside that."""
    content = message.get("content")
    other = message.get("tool_calls") or message.get("function_call") or message.get("refusal")
    return content if isinstance(content, str) and not other else None


def _logged(row: dict[str, Any], line: int) -> Call:
    messages, model, params, user = _asked(row["request"])
    response = row.get("response")
    if not isinstance(response, dict):
        raise RowError(f"the response is {shape_of(response)}, not an object")
    at = timestamp(response.get("created") if row.get("timestamp") is None else row["timestamp"])
    whole, by, why, probability = True, "upstream", "", None
    own = row.get("freehold")
    if isinstance(own, dict):
        by, why = str(own.get("answered_by", by)), str(own.get("why", why))
        whole, probability = _is_evidence(own), _number(own.get("probability"))
    choice = _first(response)
    return Call(  # by place: names take half as long again, of every row
        messages,
        model or str(response.get("model") or ""),
        params,
        _answer(response, choice) if whole else None,
        at,
        usage_tokens(response.get("usage")),
        _number(row.get("seconds")),
        user or _text(row.get("user")) or None,
        by,
        why,
        1.0 if probability is None else probability,
        line,
        row,
        _text(row.get("endpoint")) or "chat",
        _tier(row, response),
        _text(choice.get("finish_reason")) if isinstance(choice, dict) else "",
        _error(response),
    )


def _is_evidence(own: Mapping[str, Any]) -> bool:
    """Is a ledger row's answer whole, to the question as asked, by the first host's model: no `other`, no successor?"""
    odd = own.get("redacted") is True or own.get("other") or own.get("against")
    return not odd and own.get("status", "complete") == "complete"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _tier(row: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    """The price tier, where it isn't the usual one."""
    tier = _text(row.get("tier")) or _text(response.get("service_tier"))
    return "" if tier in ("auto", "default", "standard") else tier


def _first(response: Mapping[str, Any]) -> Any:
    choices = response.get("choices")
    return choices[0] if isinstance(choices, list) and choices else None


def _error(response: Mapping[str, Any]) -> str:
    """What a failure is called: its code, else its type, else "error"; "" for none."""
    said = response.get("error")
    if isinstance(said, dict):
        return str(said.get("code") or said.get("type") or "error")[:80]
    return "error" if isinstance(said, str) else ""


def _number(value: Any) -> float | None:
    """A count of seconds or a share, where it is one."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    return float(value) if fits else None


def _answer(response: Mapping[str, Any], choice: Any) -> str | None:
    """The text of a finished answer; None for a failure, a tool call, or an answer cut short."""
    if isinstance(response.get("error"), dict | str):
        return None
    if not isinstance(choice, dict):
        raise RowError("the response has no choices")
    message = choice.get("message")
    if not isinstance(message, dict):
        raise RowError("the first choice has no message")
    if choice.get("finish_reason") in CUT:
        return None
    return _content(message)


def answer(call: Call, kind: str) -> str | None:
    """A logged answer as a student of this kind of task writes it: the text, or for tools the calls as JSON

        [{"name": "get_weather", "arguments": {"city": "Oslo"}}]

    None for a failure, an answer cut short, or arguments that are no JSON object.
    """
    if kind != "tools" or call.answer is not None:
        return call.answer
    said = _said(call)
    asked = said.get("tool_calls") or ([{"function": said["function_call"]}] if said.get("function_call") else [])
    if not asked or not isinstance(asked, list) or not finished(call):
        return None
    try:
        return dumps([_tool(one["function"]) for one in asked]).decode()
    except (KeyError, TypeError, RowError):  # an entry that is no object, or a call of another sort
        return None


def _tool(function: Any) -> dict[str, Any]:
    if not isinstance(function, dict):
        raise RowError("a tool call that calls no function")
    given = function.get("arguments") or "{}"
    arguments = loads(given) if isinstance(given, str) else given
    if not isinstance(arguments, dict) or not isinstance(function.get("name"), str):
        raise RowError("a tool call without a name or with arguments that are no object")
    return {"name": function["name"], "arguments": arguments}


def calls_tools(call: Call) -> bool:
    """Is a logged call's answer a tool call?"""
    return bool(_said(call).get("tool_calls"))


def unseen(call: Call) -> bool:
    """Does the log not hold the whole text of a call's request? Then its tokens can't be estimated from it, and nobody
    knows whether it was asked before."""
    for message in call.messages:
        if message.get("content") is None and message.get("role") == "user":
            return True
    return not call.messages


def finished(call: Call) -> bool:
    """Is a logged call's answer whole and evidence (_is_evidence), be it a text, a refusal or a tool call?"""
    if call.answer is not None:
        return True
    own, response = call.row.get("freehold"), call.row.get("response")
    failed = isinstance(response, dict) and isinstance(response.get("error"), dict | str)
    failed = failed or (isinstance(own, dict) and not _is_evidence(own))
    return not failed and _choice(call).get("finish_reason") not in CUT and bool(_said(call))


def _choice(call: Call) -> Mapping[str, Any]:
    response = call.row.get("response")
    first = _first(response) if isinstance(response, dict) else None
    return first if isinstance(first, dict) else {}


def _said(call: Call) -> Mapping[str, Any]:
    """The assistant's message of a logged call as it stands in the row; empty where there is none."""
    message = _choice(call).get("message")
    if message is None and isinstance(call.row.get("messages"), list):
        message = call.row["messages"][-1]
    return message if isinstance(message, dict) else {}


def _count(value: Any) -> int:
    """A count of tokens, which some logs write as a text or a float; raises ValueError for what is none."""
    if type(value) is int and 0 <= value < 1e12:
        return value
    if (isinstance(value, str) and value.isascii() and value.isdigit()) or (isinstance(value, float) and not value % 1):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1e12:
        raise ValueError("not a count")
    return value


def usage_tokens(usage: Any) -> Tokens | None:
    """Token counts as logged; None where any of them is missing or no count."""
    if not isinstance(usage, dict):
        return None
    prompt = usage.get("prompt_tokens_details") or {}
    completion = usage.get("completion_tokens_details") or {}
    try:
        read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        if not prompt and not completion:
            return Tokens(read, written)
        return Tokens(
            read,
            written,
            _count(prompt.get("cached_tokens") or 0),
            _count(completion.get("reasoning_tokens") or 0),
            _count(prompt.get("cache_write_tokens") or 0),
            _count(prompt.get("audio_tokens") or 0),
            _count(completion.get("audio_tokens") or 0),
        )
    except (ValueError, AttributeError):
        return None


def row_from_call(call: Call) -> dict[str, Any]:
    """The row to write: as it was read, or built where the call was never a row."""
    if call.row:
        return call.row
    request = {"model": call.model, "messages": list(call.messages), **call.params}
    row: dict[str, Any] = {"request": request}
    if call.at is not None:
        row["timestamp"] = datetime.fromtimestamp(call.at, UTC).isoformat(timespec="milliseconds")
    if call.seconds is not None:
        row["seconds"] = call.seconds
    row["response"] = completion(call.model, call.answer or "", call.tokens or Tokens(), "", int(call.at or 0))
    return row


# answers


def estimate_tokens(messages: Sequence[Message]) -> int:
    """A rough count, four bytes a token and three a message, where no tokeniser of the closed model is at hand."""
    return sum(3 + math.ceil(len(str(m.get("content", "")).encode()) / 4) for m in messages)


def _usage(tokens: Tokens) -> dict[str, Any]:
    total = tokens.prompt + tokens.completion
    return {"prompt_tokens": tokens.prompt, "completion_tokens": tokens.completion, "total_tokens": total}


def completion(model: str, text: str, tokens: Tokens, id: str, created: int, kind: str = "text") -> dict[str, Any]:
    """A chat.completion body; an answer of kind tools that is a list of calls (`answer`) becomes tool_calls."""
    calls = _tool_calls(text, id) if kind == "tools" else []
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else text, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else "stop"}
    head = {"id": id, "object": "chat.completion", "created": created, "model": model}
    return head | {"choices": [choice], "usage": _usage(tokens)}


def _tool_calls(text: str, id: str) -> list[dict[str, Any]]:
    """tool_calls of an answer that is a list of calls, each named after the answer; none where it is a text."""
    try:
        said = loads(text)
    except RowError:
        return []
    if not isinstance(said, list) or not said or not all(isinstance(c, dict) and c.keys() == TOOL for c in said):
        return []
    names = [{"name": c["name"], "arguments": dumps(c["arguments"]).decode()} for c in said]
    made = (f"call_{id.rsplit('-', 1)[-1]}_{i}" for i in range(len(names)))
    return [{"id": call, "type": "function", "function": name} for call, name in zip(made, names, strict=True)]


def chunks(
    model: str, text: str, tokens: Tokens, id: str, created: int, *, usage: bool, kind: str = "text"
) -> Iterator[bytes]:
    """The same answer as server-sent events, with a usage chunk where stream_options.include_usage asked for it."""
    calls = _tool_calls(text, id) if kind == "tools" else []

    def event(choices: list[Any], **more: Any) -> bytes:
        head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        if usage and "usage" not in more:
            more["usage"] = None
        return b"data: " + dumps(head | {"choices": choices} | more) + b"\n\n"

    def choice(delta: dict[str, Any], reason: str | None) -> list[Any]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]

    yield event(choice({"role": "assistant", "content": None if calls else ""}, None))
    said = {"tool_calls": [{"index": i, **call} for i, call in enumerate(calls)]} if calls else {"content": text}
    yield event(choice(said, None))
    yield event(choice({}, "tool_calls" if calls else "stop"))
    if usage:
        yield event([], usage=_usage(tokens))
    yield b"data: [DONE]\n\n"


def error(message: str, type: str = "invalid_request_error", code: str | None = None) -> bytes:
    """An error body in OpenAI's shape."""
    return dumps({"error": {"message": message, "type": type, "param": None, "code": code}})


def models(ids: Sequence[str], created: int) -> dict[str, Any]:
    """A /v1/models body."""
    rows = [{"id": id, "object": "model", "created": created, "owned_by": "freehold"} for id in ids]
    return {"object": "list", "data": rows}
