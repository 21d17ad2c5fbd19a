"""OpenAI's legacy completions, as they were sent and received: the prompt is a user message, the text its answer.

{"request": {"model": "gpt-3.5-turbo-instruct", "prompt": "Say this is a test"},
 "response": {"object": "text_completion", "choices": [{"text": "This is indeed a test", "finish_reason": "length"}]}}

Described: https://platform.openai.com/docs/api-reference/completions/create
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from freehold import wire
from freehold.traffic.formats.exchange import bodies, exchange

__all__ = ["ENDPOINT", "NAME", "SAYS", "asks", "fits", "rows"]

NAME = "openai-completions"
SAYS = "rows with a legacy completions request (prompt) and its response (choices with a text)"
ENDPOINT = "completions"
Body = dict[str, Any]


def asks(request: Body, response: Any = None) -> bool:
    """Is this a completions request? (A prompt that is an object is the responses API's stored one.)"""
    return "prompt" in request and "messages" not in request and not isinstance(request["prompt"], dict)


def fits(record: Any) -> bool:
    said = bodies(record)
    return said is not None and asks(*said)


def rows(record: Any) -> Iterable[Body]:
    return (exchange(record, asked, answered, ENDPOINT, merged),)


def asked(request: Body) -> Body:
    """One user message. Several prompts in one request are no plain text: they belong to no task."""
    further = {name: value for name, value in request.items() if name != "prompt"}
    return further | {"messages": [{"role": "user", "content": prompted(request.get("prompt"))}]}


def prompted(prompt: Any) -> Any:
    """A prompt as a message's content: its text, several texts as parts, or how many token ids it was."""
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list) or not prompt:
        raise wire.RowError(f"the prompt is {wire.shape_of(prompt)}, not a text or a list")
    if all(isinstance(one, str) for one in prompt):
        return prompt[0] if len(prompt) == 1 else [{"type": "text", "text": one} for one in prompt]
    ids = sum(len(one) if isinstance(one, list) else 1 for one in prompt)
    return [{"type": "token_ids", "count": ids}]


def answered(request: Body, response: Body) -> Body:
    """The first text as the assistant's message; none where several prompts were answered."""
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict) or not isinstance(first.get("text"), str):
        raise wire.RowError("the response has no choice with a text")
    prompt = prompted(request.get("prompt"))
    text = first["text"]
    if request.get("echo") is True and isinstance(prompt, str):
        text = text.removeprefix(prompt)
    message = {"role": "assistant", "content": text if isinstance(prompt, str) else None}
    choice = {"index": 0, "message": message, "finish_reason": first.get("finish_reason")}
    return response | {"choices": [choice]}


def merged(chunks: Sequence[Body]) -> Body:
    """A streamed answer: the texts of its chunks in a row."""
    whole: Body = {}
    text, reason = "", None
    for chunk in chunks:
        whole |= {name: value for name, value in chunk.items() if value is not None}
        choices = chunk.get("choices")
        for piece in choices if isinstance(choices, list) else ():
            if isinstance(piece, dict) and piece.get("index") in (0, None):
                text += piece["text"] if isinstance(piece.get("text"), str) else ""
                reason = piece.get("finish_reason") or reason
    cut = {} if reason or "error" in whole else {"error": {"code": "stream_cut", "message": "the stream has no end"}}
    return whole | {"choices": [{"index": 0, "text": text, "finish_reason": reason}]} | cut
