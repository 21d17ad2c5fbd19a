"""OpenAI bodies as they were sent and received, and freehold's own ledger.

{"timestamp": "2026-10-01T09:12:44Z", "seconds": 0.61, "request": {"model": ..., "messages": [...]}, "response": {}}
{"timestamp": ..., "model": ..., "messages": [...], "response": {...} or the text}      the request's fields at the top

A log often holds several APIs side by side: each row goes to the module of the one that its request asks, so
completions, embeddings, responses, Anthropic's messages and fine-tuning rows may stand among the chat ones.

Described: https://platform.openai.com/docs/api-reference/chat (create, and its streaming chunks)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from freehold import stream, wire
from freehold.traffic.formats import (
    anthropic_messages,
    openai_completions,
    openai_embeddings,
    openai_finetuning,
    openai_responses,
    shape,
)
from freehold.traffic.formats.exchange import ENDPOINTS, RESPONSES, bodies, decode, exchange, messages, says_time

__all__ = ["NAME", "SAYS", "Among", "fits", "rows"]

NAME = "openai"
SAYS = wire.EXPECTED
Body = dict[str, Any]

FIELDS = (
    "model", "temperature", "top_p", "n", "stop", "seed", "max_tokens", "max_completion_tokens", "tools", "tool_choice",
    "parallel_tool_calls", "response_format", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs",
    "top_logprobs", "reasoning_effort", "stream", "user", "functions", "function_call", "service_tier",
)  # fmt: skip
"""A chat request's fields, where they stand at a row's top."""


class _Named(Protocol):
    NAME: str
    SAYS: str

    def fits(self, record: Any, /) -> bool: ...


class _Module(Protocol):
    def asks(self, request: Body, response: Any, /) -> bool: ...
    def rows(self, record: Any, /) -> Iterable[Body]: ...


@dataclass
class Among:
    """A format named after the API that most of its rows ask. Rows that ask another are refused here, so that reading
    tries the other formats and counts each row under its own name."""

    NAME: str
    SAYS: str
    fits: Callable[[Any], bool]

    @staticmethod
    def of(module: _Named) -> Among:
        return Among(module.NAME, module.SAYS, module.fits)

    def rows(self, record: Any) -> Iterable[Body]:
        if not self.fits(record):
            raise wire.ShapeError(f"{wire.shape_of(record)}; expected {self.SAYS}")
        return rows(record)


APIS: tuple[_Module, ...] = (openai_completions, openai_embeddings, openai_responses)


def fits(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    if "request" in record or "messages" in record or openai_finetuning.fits(record):
        return True
    return _api(_raised(record)) is not None


def rows(record: Any) -> Iterable[Body]:
    """The row as it stands where it is canonical already, so that it is written again as it was read."""
    if not isinstance(record, dict) or _as_sent(record):
        return (record,)
    if openai_finetuning.fits(record):
        return openai_finetuning.rows(record)
    if anthropic_messages.is_batch(record):
        return anthropic_messages.rows(record)
    raised = _raised(record)
    read = _api(raised)
    return (raised,) if read is None else read(raised)


def _as_sent(record: Body) -> bool:
    """Has the row the canonical names, and only messages that are a role and a text?"""
    request, response = record.get("request"), record.get("response")
    if type(request) is not dict or type(response) is not dict or "choices" not in response:
        return False
    if not says_time(record) or record.get("endpoint", "chat") not in ENDPOINTS:
        return False
    said = request.get("messages")
    if type(said) is not list:
        return False
    for message in said:
        if type(message) is not dict or len(message) != 2 or type(message.get("content")) is not str:
            return False
    return True


def _api(record: Body) -> Callable[[Any], Iterable[Body]] | None:
    """What reads a record's row: the API that its request asks; None where it asks none."""
    said = bodies(record)
    if said is None:
        return None
    request, response = said
    if anthropic_messages.asks(request, response):
        return anthropic_messages.rows
    if "messages" in request:
        return _chat
    found: _Module | None = next((api for api in APIS if api.asks(request, response)), None)
    return found.rows if found else None


def _chat(record: Any) -> Iterable[Body]:
    return (exchange(record, asked, answered, "chat", merged),)


def asked(request: Body) -> Body:
    return request | {"messages": messages(request["messages"])}


def answered(request: Body, response: Body) -> Body:
    """The response as it is; an answer in parts as one text."""
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return response
    whole = first | {"message": message | {"content": shape.plain(message["content"])}}
    return response | {"choices": [whole, *shape.listed(choices)[1:]]}


def merged(chunks: Sequence[Body]) -> Body:
    """A streamed answer as one; a stream that says of no choice why it ended was cut, and is an error."""
    whole = stream.merge(chunks)
    if "error" in whole or stream.finished(whole):
        return whole
    return whole | {"error": {"code": "stream_cut", "message": "the stream has no end"}}


def _raised(record: Body) -> Body:
    """A record whose request's fields stand at its top, with a request of their own."""
    given = record.get("messages", record.get("input"))
    if "request" in record or not _is_chat(given):
        return record
    name = next((name for name in RESPONSES if record.get(name) is not None), "")
    if not name and not record.get("error"):
        return record
    gone = ("messages", "input", *FIELDS, name, "usage", "finish_reason")
    raised = {key: value for key, value in record.items() if key not in gone}
    request = {"messages": given} | {key: record[key] for key in FIELDS if record.get(key) is not None}
    return raised | {"request": request} | ({"response": _answer(record, name)} if name else {})


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(shape.has(one, "role") for one in value)


def _answer(record: Body, name: str) -> Any:
    """A body, or what stands for one: the answer's message or its text."""
    given = record[name]
    if isinstance(given, str):
        body = decode(given) if given.startswith(("data:", "event:")) else shape.decoded(given)
        if isinstance(body, list) or (isinstance(body, dict) and body.keys() & {"choices", "error", "stop_reason"}):
            return body
        given = {"role": "assistant", "content": given}
    if not isinstance(given, dict) or given.get("role") != "assistant" or "stop_reason" in given:
        return given
    choice = {"index": 0, "message": given, "finish_reason": record.get("finish_reason")}
    return {"choices": [choice], "usage": record.get("usage")}
