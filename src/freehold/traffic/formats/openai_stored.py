"""OpenAI's stored completions and responses: the object as the API gives it back, with the messages beside the answer.

{"object": "chat.completion", "id": "chatcmpl-...", "created": 1738960610, "model": "gpt-4o-2024-08-06",
 "metadata": {...}, "temperature": 1.0, "tools": null, "messages": [{"role": "user", "content": "write a haiku"}],
 "choices": [{"message": {...}, "finish_reason": "stop"}], "usage": {...}}

The list endpoint leaves the messages out; such a call counts in tokens and money, and has no task.

Described: https://platform.openai.com/docs/api-reference/chat/list (and getMessages, responses/get)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from freehold import wire
from freehold.traffic.formats import openai_responses, shape
from freehold.traffic.formats.exchange import messages, timed

__all__ = ["NAME", "SAYS", "fits", "rows"]

NAME = "openai-stored"
SAYS = "stored chat completions or responses as the API gives them back, with messages (or input) beside the answer"
ANSWER = ("id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint", "error")
REMEMBERED = ("metadata", "tools", "tool_choice", "response_format", "temperature", "top_p", "seed", "presence_penalty",
              "frequency_penalty", "max_tokens", "max_completion_tokens", "reasoning_effort", "parallel_tool_calls",
              "stop", "n", "user", "store")  # fmt: skip
ECHOED = ("instructions", "tools", "tool_choice", "text", "reasoning", "temperature", "top_p", "max_output_tokens",
          "metadata", "parallel_tool_calls", "previous_response_id", "conversation", "prompt", "user", "truncation",
          "store")  # fmt: skip
"""What of its request a response says again."""
Body = dict[str, Any]


def fits(record: Any) -> bool:
    if not isinstance(record, dict) or "request" in record or "custom_id" in record:
        return False
    if record.get("object") == "list":
        return any(fits(one) for one in shape.listed(record.get("data"))[:1])
    return record.get("object") in ("chat.completion", "response") and ("choices" in record or "output" in record)


def rows(record: Any) -> Iterable[Body]:
    """A page of a list holds many calls."""
    if not isinstance(record, dict):
        raise wire.ShapeError(f"{wire.shape_of(record)} instead of an object")
    if record.get("object") == "list" and isinstance(record.get("data"), list):
        return [row for one in record["data"] for row in rows(one)]
    if record.get("object") == "response":
        return (_response(record),)
    if record.get("object") != "chat.completion":
        raise wire.ShapeError(f"{wire.shape_of(record)}; expected {SAYS}")
    return (_completion(record),)


def _completion(record: Body) -> Body:
    asked = {name: record[name] for name in ("model", *REMEMBERED) if record.get(name) is not None}
    given = record.get("messages", record.get("input"))
    asked["messages"] = unpaged(given) if given else [shape.unlogged(record, "id")]
    row: Body = {"request": asked, "response": {name: record[name] for name in ANSWER if name in record}}
    user = record.get("input_user")
    return row | ({"user": user} if isinstance(user, str) else {})


def unpaged(given: Any) -> Any:
    """Messages without what the store adds to each (an id, its parts a second time)."""
    if isinstance(given, dict) and given.get("object") == "list":
        given = given.get("data")
    if not isinstance(given, list):
        return given
    added = ("id", "content_parts")
    return messages([{k: v for k, v in m.items() if k not in added} if isinstance(m, dict) else m for m in given])


def _response(record: Body) -> Body:
    asked = {name: record[name] for name in ("model", *ECHOED) if record.get(name) is not None}
    given = record.get("input")
    if given is not None:
        request = openai_responses.asked(asked | {"input": given})
    else:
        request = openai_responses.asked(asked | {"input": "-"}) | {"messages": [shape.unlogged(record, "id")]}
    failed = isinstance(record.get("error"), dict | str)
    response = {"error": record["error"]} if failed else openai_responses.answered(request, record)
    at = {"created_at": record["created_at"]} if "created_at" in record else {}
    return timed(at | {"endpoint": "responses", "request": request, "response": response})
