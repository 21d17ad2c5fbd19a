"""OpenAI's batches: a request file, and the output and error files that answer it by custom_id, in any order.

input    {"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {...}}
output   {"id": "batch_req_123", "custom_id": "request-1", "error": null,
          "response": {"status_code": 200, "request_id": "req_123", "body": {...}}}
joined   both in one record: {"custom_id", "url", "body", "response", "error"}

Everything in a batch is billed at the batch tier. An output row alone has no messages: it counts in tokens and money,
and has no task. An input row alone is no call, for nothing says that it was answered. `join` makes one of two.

Described: https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from freehold import wire
from freehold.traffic.formats import (
    anthropic_messages,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_responses,
    shape,
)
from freehold.traffic.formats.exchange import body_of

__all__ = ["NAME", "SAYS", "fits", "join", "rows", "side"]

NAME = "openai-batch"
SAYS = 'OpenAI batch output {"custom_id", "response", "error"}, with the input\'s "body" beside it where it is known'
TIER = {"tier": "batch"}
Body = dict[str, Any]


def side(record: Any) -> str:
    """Which file a record is from: "input", "output", "joined", or "" where it is from none."""
    if not shape.has(record, "custom_id") or "result" in record or "request" in record:
        return ""
    asked, answered = isinstance(record.get("body"), dict), "response" in record or "error" in record
    return "joined" if asked and answered else "input" if asked else "output" if answered else ""


def join(given: Body, output: Body) -> Body:
    """The joined record of an input row and the output row with the same custom_id."""
    return output | {name: given[name] for name in ("url", "body") if name in given}


def fits(record: Any) -> bool:
    return bool(side(record))


def rows(record: Any) -> Iterable[Body]:
    kind = side(record)
    if not kind:
        raise wire.ShapeError(f"{wire.shape_of(record)}; expected {SAYS}")
    if kind == "input":
        return ()
    response = _response(record)
    if kind == "output":
        return (_alone(record, response),)
    both = {"custom_id": record["custom_id"], "request": record["body"], "response": response}
    return [row | TIER for row in openai_chat.rows(both)]


def _response(record: Body) -> Body:
    """The response's body; for a request that failed, or was never run, its error."""
    body, status = body_of(record.get("response"))
    said = record.get("error")
    if isinstance(said, dict) and said and not isinstance(body, dict):
        return shape.failed(said.get("code"), said.get("message"))
    if status >= 400 and not (isinstance(body, dict) and body.get("error")):
        return shape.failed(status)
    if not isinstance(body, dict):
        raise wire.RowError("the batch row has neither a response body nor an error")
    return body


def _alone(record: Body, body: Body) -> Body:
    endpoint, response = _told(body)
    request = {"messages": [shape.unlogged(record, "id", "custom_id")]}
    if isinstance(body.get("model"), str):
        request["model"] = body["model"]
    return TIER | {"custom_id": record["custom_id"], "endpoint": endpoint, "request": request, "response": response}


def _told(body: Body) -> tuple[str, Body]:
    """The API that a body answers for, and the body in chat's form."""
    if isinstance(body.get("error"), dict | str):
        return "chat", body
    if "output" in body:
        return "responses", openai_responses.answered({}, body)
    if "data" in body:
        return "embeddings", openai_embeddings.answered({}, body)
    if "stop_reason" in body:
        return "messages", anthropic_messages.answered({}, body)
    first = next(iter(shape.listed(body.get("choices"))), None)
    if shape.has(first, "text"):
        return "completions", openai_completions.answered({"prompt": ""}, body)
    return "chat", openai_chat.answered({}, body)
