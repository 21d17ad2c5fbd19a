"""LiteLLM's StandardLoggingPayload, as its bucket, queue and webhook loggers write it, and rows of its spend logs.

{"id": "chatcmpl-1", "call_type": "acompletion", "status": "success", "cache_hit": null, "startTime": 1737710446.8,
 "endTime": 1737710446.9, "model": "gpt-4o", "messages": [...], "response": {...}, "model_parameters": {...},
 "prompt_tokens": 10, "completion_tokens": 20, "response_cost": 0.000225, "end_user": ""}
Fields: docs.litellm.ai/docs/proxy/logging_spec. Its prompt tokens hold the cached ones, whatever the provider counts.
A call that LiteLLM's own cache answered cost nothing and is no evidence of the model: answered by "cache".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from freehold import wire
from freehold.traffic.formats import shape

__all__ = ["NAME", "SAYS", "fits", "rows"]

NAME = "litellm"
SAYS = "LiteLLM's StandardLoggingPayload or spend logs"
ENDPOINTS = {
    "completion": "chat", "text_completion": "completions", "embedding": "embeddings", "responses": "responses",
    "anthropic_messages": "messages", "generate_content": "chat",
}  # fmt: skip
"""Its call types (without the a of the asynchronous ones) that are calls of a language model."""
REDACTED = "redacted-by-litellm"
OWN = ("model", "messages", "metadata", "extra_headers", "extra_body")


def fits(record: Any) -> bool:
    return shape.has(record, "call_type", "startTime") and ("response_cost" in record or "spend" in record)


def rows(record: Any) -> Iterable[dict[str, Any]]:
    if not shape.has(record, "call_type"):
        raise wire.ShapeError(f"{wire.shape_of(record)}; expected {SAYS}")
    kind = shape.text(record["call_type"])
    endpoint = ENDPOINTS.get(kind) or ENDPOINTS.get(kind.removeprefix("a").removesuffix("_stream"))
    if endpoint is None and kind:
        return ()
    return (_row(record, endpoint or "chat"),)


def _row(record: dict[str, Any], endpoint: str) -> dict[str, Any]:
    meta = shape.obj(shape.decoded(record.get("metadata")))
    given = _open(record.get("messages"))
    if given in (None, "", "{}", "[]", {}, []):  # spend logs keep the request as it came elsewhere
        given = _open(record.get("proxy_server_request"))
    messages, further = shape.asked(None if given in ("{}", {}) else given)
    params = shape.obj(shape.decoded(record.get("model_parameters")))
    request = {key: one for key, one in (further | params).items() if key not in OWN}
    body = shape.decoded(_open(record.get("response")))
    message, why = shape.said(None if endpoint == "embeddings" else body)
    said = shape.obj(shape.obj(body).get("usage")) or shape.obj(meta.get("usage_object"))
    return shape.row(
        {"model": record.get("model"), "messages": messages} | request,
        _failure(record),
        message=message,
        why=why,
        usage=_usage(record, said),
        timestamp=record.get("startTime"),
        seconds=shape.seconds(record.get("startTime"), record.get("endTime")),
        endpoint=endpoint,
        tier=shape.text(shape.obj(body).get("service_tier")),
        user=_user(record, meta),
        freehold={"answered_by": "cache"} if record.get("cache_hit") in (True, "True", "true") else None,
    )


def _open(value: Any) -> Any:
    """A body, or None where LiteLLM was told not to log it."""
    text = value if isinstance(value, str) else wire.dumps(value).decode()
    return None if REDACTED in text[:4096] else value


def _user(record: dict[str, Any], meta: dict[str, Any]) -> str:
    names = [record.get("end_user"), record.get("user")]
    names += [meta.get("user_api_key_end_user_id"), meta.get("user_api_key_user_id")]
    return next((name for name in map(shape.text, names) if name), "")


def _failure(record: dict[str, Any]) -> dict[str, Any] | None:
    if record.get("status") != "failure":
        return None
    said = shape.obj(record.get("error_information"))
    code = said.get("error_code") or said.get("error_class")
    return shape.failed(code, record.get("error_str") or said.get("error_message"))


def _usage(record: dict[str, Any], said: dict[str, Any]) -> dict[str, Any] | None:
    """The counts that LiteLLM priced; what is cached, written and thought stands in the response's own."""
    prompt = shape.obj(said.get("prompt_tokens_details") or said.get("input_tokens_details"))
    answer = shape.obj(said.get("completion_tokens_details") or said.get("output_tokens_details"))
    return shape.usage(
        record.get("prompt_tokens"),
        record.get("completion_tokens"),
        cached=prompt.get("cached_tokens") or said.get("cache_read_input_tokens"),
        write=prompt.get("cache_creation_tokens") or said.get("cache_creation_input_tokens"),
        reasoning=answer.get("reasoning_tokens"),
        audio_in=prompt.get("audio_tokens"),
        audio_out=answer.get("audio_tokens"),
    )
