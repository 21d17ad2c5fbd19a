"""A request and its response as they were sent and received, wherever a row keeps the two, its time and its duration.

{"ts": ..., "latency_ms": 610, "request": {"body": "{...}"}, "response": {"status_code": 200, "body": {...}}}
   → {"timestamp": ..., "seconds": 0.61, "endpoint": ..., "request": {...}, "response": {...}}

A name whose unit isn't plain ("latency": 610) is left alone: a wrong figure is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from freehold import stream, wire
from freehold.traffic.formats import shape

__all__ = [
    "ENDPOINTS", "RESPONSES", "bodies", "body_of", "decode", "exchange", "messages", "pair", "says_time", "sent_at",
    "timed", "took",
]  # fmt: skip

ENDPOINTS = ("chat", "completions", "embeddings", "responses", "messages")
Body = dict[str, Any]

REQUESTS = ("request", "request_body", "requestBody", "body", "input", "params", "kwargs")
RESPONSES = ("response", "response_body", "responseBody", "output", "completion")
TIMES = (
    "timestamp", "@timestamp", "ts", "time", "datetime", "created", "created_at", "createdAt", "start_time",
    "startTime", "requested_at", "request_time", "requestTime",
)  # fmt: skip
DURATIONS = {
    "seconds": 1.0, "duration_s": 1.0, "latency_s": 1.0, "elapsed_s": 1.0, "duration_seconds": 1.0,
    "latency_seconds": 1.0, "elapsed_seconds": 1.0, "duration_ms": 1e3, "latency_ms": 1e3, "elapsed_ms": 1e3,
    "response_time_ms": 1e3, "durationMs": 1e3, "latencyMs": 1e3, "elapsedMs": 1e3, "responseTimeMs": 1e3,
    "duration_ns": 1e9, "latency_ns": 1e9,
}  # fmt: skip
ENDS = (("start_time", "end_time"), ("startTime", "endTime"), ("started_at", "ended_at"))
TIMED = frozenset(TIMES)
TOOK = frozenset(DURATIONS) | {name for pair in ENDS for name in pair}
EARLIEST = 1e8  # seconds: a smaller number under "time" or "created" is a duration or a counter, no time since 1973
BODY = ("messages", "prompt", "input", "choices", "output", "data", "content", "error")


def decode(value: Any) -> Any:
    """What stands in a text that is JSON or server-sent events; any other value as it is. Raises wire.RowError."""
    if not isinstance(value, str):
        return value
    if value.startswith(("data:", "event:")):
        said = [data for data in stream.events((value + "\n\n").encode("utf-8", "replace")) if data != stream.DONE]
        return [wire.loads(data) for data in said]
    if not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return wire.loads(value)
    except wire.RowError as error:
        raise wire.RowError(f"a body that is {error}") from None


def pair(record: Any) -> tuple[str, str] | None:
    """The names under which a record keeps its request and its response ("" for none); None for another shape."""
    if not isinstance(record, dict):
        return None
    asked = next((name for name in REQUESTS if isinstance(record.get(name), dict | str)), "")
    answered = next((name for name in RESPONSES if record.get(name) is not None), "")
    if not asked or not (answered or record.get("error")):
        return None
    return asked, answered


def body_of(value: Any) -> tuple[Any, int]:
    """A body out of its envelope {"status_code", "headers", "body"}, and the HTTP status (0: not said)."""
    value = decode(value)
    if not isinstance(value, dict) or "body" not in value or any(name in value for name in BODY):
        return value, 0
    status = next((shape.count(value[name]) for name in ("status_code", "statusCode", "status") if name in value), None)
    return decode(value["body"]), status or 0


def bodies(record: Any) -> tuple[Body, Any] | None:
    """A record's request, where it is an object, and its response as it stands; None where it has no such pair."""
    names = pair(record)
    if names is None:
        return None
    try:
        request, response = body_of(record[names[0]])[0], body_of(record.get(names[1]))[0]
    except wire.RowError:
        return None
    return (request, response) if isinstance(request, dict) else None


def exchange(
    record: Body,
    asked: Callable[[Body], Body],
    answered: Callable[[Body, Body], Body],
    endpoint: str,
    merged: Callable[[Sequence[Body]], Body] = stream.merge,
) -> Body:
    """The row of a record with a request and a response, each told in chat's form by its API's two functions.

    `merged` puts a streamed answer together. Whatever else the record holds stays where it is. Raises wire.RowError.
    """
    names = pair(record)
    if names is None:
        raise wire.ShapeError(f"{wire.shape_of(record)}; no request with a response")
    request, _ = body_of(record[names[0]])
    if not isinstance(request, dict):
        raise wire.RowError(f"the request is {wire.shape_of(request)}, not an object")
    response = _response(record, names[1], merged)
    failed = isinstance(response.get("error"), dict | str)
    row = {name: value for name, value in record.items() if name not in names}
    row["request"] = asked(request)
    row["response"] = response if failed else answered(request, response)
    if failed and "created" not in response and response.get("created_at") is not None:
        row["response"] = response | {"created": response["created_at"]}
    if endpoint != "chat" or "endpoint" in row:
        row["endpoint"] = endpoint
    return timed(row)


def _response(record: Body, name: str, merged: Callable[[Sequence[Body]], Body]) -> Body:
    response, status = body_of(record.get(name))
    if isinstance(response, list):
        response = merged([chunk for chunk in response if isinstance(chunk, dict)])
    said = record.get("error")
    if response is None and isinstance(said, dict | str) and said:
        return {"error": said}
    if status >= 400 and not (isinstance(response, dict) and response.get("error")):
        return shape.failed(status)
    if not isinstance(response, dict):
        raise wire.RowError(f"the response is {wire.shape_of(response)}, not an object")
    return response


# times


def says_time(row: Mapping[str, Any]) -> bool:
    """Has a row its time and duration under freehold's names, or no other name for them?"""
    at = row.get("timestamp") is not None or TIMED.isdisjoint(row)
    return at and ("seconds" in row or TOOK.isdisjoint(row))


def timed(row: Body) -> Body:
    """The row with its time and duration under freehold's names, where it says them plainly under others."""
    if row.get("timestamp") is None and (at := sent_at(row)) is not None:
        row["timestamp"] = at
    if not isinstance(row.get("seconds"), int | float) and (seconds := took(row)) is not None:
        row["seconds"] = seconds
    return row


def sent_at(row: Mapping[str, Any]) -> float | None:
    """When a row says that it was sent, as wire.timestamp reads it; None where it doesn't say."""
    for name in TIMES:
        number = _number(row.get(name)) if name in row else None
        if number is not None and number >= EARLIEST:
            return _epoch(number)
        if number is None and isinstance(row.get(name), str):
            try:
                return wire.timestamp(row[name])
            except wire.RowError:
                continue
    return None


def _epoch(number: float) -> float:
    """Micro- and nanoseconds as milliseconds, which wire.timestamp tells from seconds."""
    return number / 1e6 if number > 1e17 else number / 1e3 if number > 1e14 else number


def took(row: Mapping[str, Any]) -> float | None:
    """How many seconds an answer took, from a name that says its unit, or from start and end."""
    for name, scale in DURATIONS.items():
        number = _number(row.get(name)) if name in row else None
        if number is not None and number >= 0:
            return number / scale
    for start, end in ENDS:
        if row.get(start) is not None and row.get(end) is not None:
            return shape.seconds(row[start], row[end])
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 1e20 else None  # leaves out NaN and infinity too


# messages


def _plain(message: Any) -> Any:
    """A message whose content is text alone with that text, and without the keys that say nothing; so that calls of
    one template look alike however their client wrote them."""
    if not isinstance(message, dict) or (len(message) == 2 and isinstance(message.get("content"), str)):
        return message
    kept = {name: value for name, value in message.items() if value is not None or name == "content"}
    return kept | {"content": shape.plain(kept["content"])} if "content" in kept else kept


def messages(value: Any) -> Any:
    """A request's messages, each plain; what is no list is left for wire to refuse."""
    return [_plain(message) for message in value] if isinstance(value, list) else value
