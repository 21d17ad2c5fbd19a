"""Spans of a trace as OpenTelemetry writes them: OTLP JSON, and the flat forms of SDKs and of Phoenix.

    {"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [{"key": "a", "value": {"intValue": "5"}}]}]}]}]}
    {"name": "llm", "start_time": "2024-01-11T16:45:17Z", "attributes": {"a": 5}, "events": [...]}
    {"name": "llm", "start_time": 1704991517982, "attributes.a": 5}                                  a table's row
                                                                            ──→ Span(attributes={"a": 5}, ...)
OTLP JSON: opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding (64-bit integers are texts, keys camelCase).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from freehold.traffic.formats import shape

__all__ = ["Event", "Span", "attribute_keys", "each", "read"]

COLUMN = "attributes."
WRONG = (2, "2", "STATUS_CODE_ERROR", "ERROR", "Error")
DEEPEST = 32  # lists in lists; no tool nests further


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A span with its attributes as plain values. `start` is what wire.timestamp reads; `kind` is a column that
    Phoenix adds."""

    attributes: dict[str, Any]
    start: Any = None
    seconds: float | None = None
    wrong: bool = False
    message: str = ""
    kind: str = ""
    events: list[Event] = field(default_factory=list)

    def get(self, *names: str) -> Any:
        """The first of these attributes that is there."""
        found = (self.attributes.get(name) for name in names)
        return next((value for value in found if value not in (None, "")), None)


def each(record: Any) -> list[Any]:
    """The spans of an OTLP batch or of a page of Phoenix's API, as they stand; else the one span that the record is."""
    if not isinstance(record, dict):
        return [record]
    batch = record.get("resourceSpans", record.get("resource_spans"))
    if batch is None:
        page = record.get("data", record.get("spans"))
        return page if isinstance(page, list) else [record]
    scopes = [
        scope
        for resource in map(shape.obj, shape.listed(batch))
        for scope in shape.listed(resource.get("scopeSpans", resource.get("scope_spans")))
    ]
    return [span for scope in map(shape.obj, scopes) for span in shape.listed(scope.get("spans"))]


def _raw(record: Any) -> Iterator[dict[str, Any]]:
    return map(shape.obj, each(record))


def attribute_keys(record: Any) -> Iterator[tuple[str, ...]]:
    """The names of each span's attributes, without their values."""
    for raw in _raw(record):
        given = raw.get("attributes")
        if isinstance(given, list):
            yield tuple(shape.text(shape.obj(one).get("key")) for one in given)
        elif isinstance(given, dict):
            yield tuple(given)
        else:
            yield tuple(key.removeprefix(COLUMN) for key in raw if key.startswith(COLUMN))


def read(record: Any) -> Iterator[Span]:
    """The spans in a record."""
    for raw in _raw(record):
        yield _flat(raw) if "startTimeUnixNano" not in raw and "start_time_unix_nano" not in raw else _otlp(raw)


def _otlp(raw: dict[str, Any]) -> Span:
    start = _nanoseconds(raw.get("startTimeUnixNano", raw.get("start_time_unix_nano")))
    end = _nanoseconds(raw.get("endTimeUnixNano", raw.get("end_time_unix_nano")))
    status = shape.obj(raw.get("status"))
    return Span(
        _attributes(raw.get("attributes")),
        start,
        shape.seconds(start, end),
        status.get("code") in WRONG,
        shape.text(status.get("message")),
        events=_events(raw.get("events")),
    )


def _flat(raw: dict[str, Any]) -> Span:
    found = _attributes(raw.get("attributes"))
    found |= {key.removeprefix(COLUMN): value for key, value in raw.items() if key.startswith(COLUMN)}
    start, end = _first(raw, "start_time", "startTime"), _first(raw, "end_time", "endTime")
    status = shape.obj(raw.get("status"))
    code = _first(raw, "status_code", "statusCode") or status.get("status_code", status.get("code"))
    message = _first(raw, "status_message", "statusMessage") or status.get("description", status.get("message"))
    return Span(
        {key: value for key, value in found.items() if value is not None},
        start,
        shape.seconds(start, end),
        code in WRONG,
        shape.text(message),
        shape.text(raw.get("span_kind")),
        _events(shape.decoded(raw.get("events"))),
    )


def _first(raw: Mapping[str, Any], *names: str) -> Any:
    return next((raw[name] for name in names if raw.get(name) not in (None, "")), None)


def _nanoseconds(value: Any) -> float | None:
    """Epoch seconds; 0 is OTLP's way to say no time."""
    whole = int(value) if isinstance(value, str) and len(value) < 24 and value.isdecimal() else value
    fits = isinstance(whole, int | float) and not isinstance(whole, bool) and 0 < whole < 1 << 64
    return whole / 1e9 if fits else None


def _events(value: Any) -> list[Event]:
    events = map(shape.obj, shape.listed(value))
    return [Event(shape.text(one.get("name")), _attributes(one.get("attributes"))) for one in events]


def _attributes(given: Any) -> dict[str, Any]:
    if isinstance(given, dict):
        return dict(given)
    pairs = (shape.obj(one) for one in shape.listed(given))
    return {shape.text(one.get("key")): _value(one.get("value")) for one in pairs}


def _value(value: Any, depth: int = 0) -> Any:
    """An OTLP AnyValue as a plain value."""
    if not isinstance(value, dict) or depth > DEEPEST:
        return value
    for name in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
        if name in value:
            return value[name]
    if "intValue" in value:
        whole = value["intValue"]
        return int(whole) if isinstance(whole, str) and len(whole) < 24 and whole.lstrip("-").isdecimal() else whole
    if "arrayValue" in value:
        return [_value(one, depth + 1) for one in shape.listed(shape.obj(value["arrayValue"]).get("values"))]
    if "kvlistValue" in value:
        pairs = map(shape.obj, shape.listed(shape.obj(value["kvlistValue"]).get("values")))
        return {shape.text(one.get("key")): _value(one.get("value"), depth + 1) for one in pairs}
    return None
