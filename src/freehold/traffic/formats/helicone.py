"""Helicone's requests: its export tool (JSON lines, CSV), its API's pages, rows of its request_response_rmt table.

{"request_id": "r-1", "request_created_at": "2024-05-29T13:46:19Z", "request_body": {...}, "response_body": {...},
 "response_status": 200, "delay_ms": 812, "model": "gpt-4o", "provider": "OPENAI", "prompt_tokens": 41,
 "prompt_cache_read_tokens": 0, "completion_tokens": 18, "request_user_id": "u-7", "request_properties": {...}}
Fields: HeliconeRequest in github.com/Helicone/helicone, packages/llm-mapper/types.ts, and the CSV columns in
examples/export/typescript/index.ts. Its prompt tokens are those that were not cached (packages/cost/usage), so the
counts of the response body, where it is there, come first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from freehold import wire
from freehold.traffic.formats import shape

__all__ = ["NAME", "SAYS", "fits", "rows"]

NAME = "helicone"
SAYS = "Helicone's requests"
SIGNS = ("response_status", "status", "delay_ms", "latency", "request_properties", "properties", "prompt_tokens")
ASKED = ("prompt_tokens", "prompt_cache_read_tokens", "prompt_cache_write_tokens", "prompt_audio_tokens")
SAID = ("completion_tokens", "reasoning_tokens", "completion_audio_tokens")
PATHS = {"/embeddings": "embeddings", "/responses": "responses", "/messages": "messages", "/chat/completions": "chat"}


def fits(record: Any) -> bool:
    return any(_is_request(one) for one in _requests(record)[:8])


def _requests(record: Any) -> list[Any]:
    inner = record.get("data") if isinstance(record, dict) else None
    return inner if isinstance(inner, list) else [record]


def _is_request(one: Any) -> bool:
    return shape.has(one, "request_created_at") and any(sign in one for sign in SIGNS)


def rows(record: Any) -> Iterable[dict[str, Any]]:
    found = _requests(record)
    if not all(shape.has(one, "request_created_at") for one in found):
        raise wire.ShapeError(f"{wire.shape_of(record)}; expected {SAYS}")
    return [_row(one) for one in found]


def _get(one: dict[str, Any], *names: str) -> Any:
    return next((one[name] for name in names if one.get(name) not in (None, "")), None)


def _row(one: dict[str, Any]) -> dict[str, Any]:
    body, answer = _decoded(one.get("request_body")), _decoded(one.get("response_body"))
    messages, further = shape.asked(body)
    endpoint = _endpoint(one, shape.obj(body), shape.obj(answer))
    message, why = shape.said(None if endpoint == "embeddings" else answer)
    # the request's own name; the model column is the one that answered, or an alias of the gateway's
    model = shape.text(shape.obj(body).get("model")) or _get(one, "request_model", "model", "response_model")
    cached = shape.text(_get(one, "cache_reference_id"))
    return shape.row(
        {"model": model, "messages": messages} | further,
        _failure(one, shape.obj(answer)),
        message=message,
        why=why,
        usage=_usage(one, shape.obj(shape.obj(answer).get("usage")), endpoint),
        timestamp=one["request_created_at"],
        seconds=_seconds(one),
        endpoint=endpoint,
        tier=shape.text(shape.obj(answer).get("service_tier")),
        user=shape.text(_get(one, "request_user_id", "helicone_user", "user_id")),
        freehold={"answered_by": "cache"} if cached.strip("0-") else None,
    )


def _decoded(body: Any) -> Any:
    """A body; the export tool doubles the quotes of those in CSV twice (index.ts, convertToCSVRow)."""
    twice = isinstance(body, str) and body.startswith(('{""', '[{""'))
    return shape.decoded(body.replace('""', '"') if twice else body)


def _endpoint(one: dict[str, Any], body: dict[str, Any], answer: dict[str, Any]) -> str:
    path = shape.text(_get(one, "request_path", "target_url")).split("?")[0]
    for end, endpoint in PATHS.items():
        if path.endswith(end):
            return endpoint
    if path.endswith("/completions") or ("prompt" in body and "messages" not in body):
        return "completions"
    if answer.get("type") == "message":
        return "messages"
    asks = "input" in body and "messages" not in body
    return ("responses" if "output" in answer else "embeddings" if "data" in answer else "chat") if asks else "chat"


def _failure(one: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any] | None:
    status = shape.count(_get(one, "response_status", "status"))
    said = answer.get("error")
    if said is None and (status is None or 100 <= status < 400):
        return None
    inner = said if isinstance(said, dict) else {"message": said}
    code = inner.get("code") or inner.get("type") or status
    return shape.failed(code, inner.get("message") or inner.get("heliconeMessage"))


def _seconds(one: dict[str, Any]) -> float | None:
    """`delay_ms` and `latency` are both milliseconds."""
    passed = shape.number(_get(one, "delay_ms", "latency"))
    return None if passed is None else passed / 1000


def _usage(one: dict[str, Any], said: dict[str, Any], endpoint: str) -> dict[str, Any] | None:
    prompt = shape.obj(said.get("prompt_tokens_details") or said.get("input_tokens_details"))
    answer = shape.obj(said.get("completion_tokens_details") or said.get("output_tokens_details"))
    read, written = said.get("cache_read_input_tokens"), said.get("cache_creation_input_tokens")
    asked = _get(said, "prompt_tokens", "input_tokens")
    if isinstance(read, int) or isinstance(written, int):  # Anthropic's body counts them apart
        asked = sum(shape.count(part) or 0 for part in (asked, read, written))
    completion = _get(said, "completion_tokens", "output_tokens")
    found = shape.usage(
        asked,
        0 if completion is None and endpoint == "embeddings" else completion,
        cached=prompt.get("cached_tokens") or read,
        write=prompt.get("cache_write_tokens") or written,
        reasoning=answer.get("reasoning_tokens"),
        audio_in=prompt.get("audio_tokens"),
        audio_out=answer.get("audio_tokens"),
    )
    return found or _from_columns(one)


def _from_columns(one: dict[str, Any]) -> dict[str, Any] | None:
    """The columns are parts that don't overlap: what was cached, heard or thought is not in the two main ones."""
    counts = {name: shape.count(one.get(name)) for name in (*ASKED, *SAID)}
    if counts["prompt_tokens"] is None or counts["completion_tokens"] is None:
        return None
    _, read, written, heard = (counts[name] for name in ASKED)
    _, thought, spoken = (counts[name] for name in SAID)
    return shape.usage(
        sum(counts[name] or 0 for name in ASKED),
        sum(counts[name] or 0 for name in SAID),
        cached=read,
        write=written,
        reasoning=thought,
        audio_in=heard,
        audio_out=spoken,
    )
