"""OpenAI's embeddings, as they were sent and received: what is embedded is a user message, and there is no answer.

{"request": {"model": "text-embedding-3-small", "input": "The food was delicious and the waiter..."},
 "response": {"object": "list", "data": [{"object": "embedding", "embedding": [0.0023, ...], "index": 0}],
              "usage": {"prompt_tokens": 8, "total_tokens": 8}}}

The vectors are counted, not kept: they outweigh the text many times over, and give it away.

Described: https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from freehold import wire
from freehold.traffic.formats.exchange import bodies, exchange

__all__ = ["ENDPOINT", "NAME", "SAYS", "asks", "fits", "rows"]

NAME = "openai-embeddings"
SAYS = "rows with an embeddings request (input) and its response (data)"
ENDPOINT = "embeddings"
Body = dict[str, Any]


def asks(request: Body, response: Any = None) -> bool:
    """Is this an embeddings request? The response tells, or the model's name where it failed."""
    if "input" not in request or "messages" in request:
        return False
    if isinstance(response, dict) and ("data" in response or "output" in response):
        return "data" in response
    return "embed" in str(request.get("model", "")) or "encoding_format" in request


def fits(record: Any) -> bool:
    said = bodies(record)
    return said is not None and asks(*said)


def rows(record: Any) -> Iterable[Body]:
    return (exchange(record, asked, answered, ENDPOINT),)


def asked(request: Body) -> Body:
    further = {name: value for name, value in request.items() if name != "input"}
    return further | {"messages": [{"role": "user", "content": _embedded(request.get("input"))}]}


def _embedded(given: Any) -> Any:
    """What is embedded as one content: one request is one call, however many texts it holds, one a line."""
    if isinstance(given, str):
        return given
    if not isinstance(given, list) or not given:
        raise wire.RowError(f"the input is {wire.shape_of(given)}, not a text or a list")
    if all(isinstance(one, str) for one in given):
        return "\n".join(given)
    ids = sum(len(one) if isinstance(one, list) else 1 for one in given)
    return [{"type": "token_ids", "count": ids}]


def answered(request: Body, response: Body) -> Body:
    """A chat response without text; an embedding has no completion tokens."""
    data = response.get("data")
    if not isinstance(data, list) or not data:
        raise wire.RowError("the response has no data")
    usage = response.get("usage")
    counted = {"completion_tokens": 0} | usage if isinstance(usage, dict) else None
    further = {name: value for name, value in response.items() if name not in ("data", "usage")}
    choice = {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": None}
    return further | {"choices": [choice], "embeddings": len(data), "usage": counted}
