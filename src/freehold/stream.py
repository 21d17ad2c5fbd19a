"""wire.py's other half: a chat answer that came as server-sent events, put together as one chat.completion.

data: {"choices": [{"index": 0, "delta": {"content": "trans"}, "finish_reason": null}]}
data: {"choices": [{"index": 0, "delta": {"content": "fer"}, "finish_reason": "stop"}]}
data: [DONE]                          -> {"choices": [{"message": {"content": "transfer"}, ...}]}, done
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["DONE", "depth", "events", "finished", "is_completion", "merge"]

DONE = "[DONE]"
GROWS = ("content", "refusal", "reasoning_content", "arguments")
HEAD = frozenset(("id", "created", "model", "system_fingerprint", "service_tier", "usage", "error"))
MOST = 128  # choices or tool calls of one answer, at most


def events(body: bytes) -> Iterator[str]:
    """The data of each event (WHATWG HTML, 9.2): the lines of one event joined, comments left out."""
    data: list[str] = []
    for line in body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
    if data == [DONE]:  # the last event, whose empty line never came: what it says is whole all the same
        yield DONE


def depth(value: Any, most: int) -> int:
    """Levels of nesting, walked level by level so that depth itself can't hurt; stops past `most`."""
    level, found = [value], 0
    while level and found <= most:
        inner = [v for v in level if isinstance(v, dict | list)]
        level = [item for v in inner for item in (v.values() if isinstance(v, dict) else v)]
        found += bool(inner)
    return found


def is_completion(body: Any) -> bool:
    """Whether `body` is a chat.completion: at least one choice, each with a message."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices:
        return False
    return all(isinstance(c, dict) and isinstance(c.get("message"), dict) for c in choices)


def finished(body: Mapping[str, Any]) -> bool:
    """Whether every choice says why it ended."""
    choices = body.get("choices") or ()
    return bool(choices) and all(choice.get("finish_reason") for choice in choices)


def merge(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The chunks of one answer as a chat.completion body; an error among them is kept under "error"."""
    whole: dict[str, Any] = {"object": "chat.completion"}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for key, value in chunk.items():
            if value is not None and key in HEAD:
                whole[key] = value
        for at, piece in _parts(chunk.get("choices")):
            choice = choices.get(at)
            if choice is None:
                message: dict[str, Any] = {"role": "assistant", "content": None}
                choice = choices[at] = {"index": at, "message": message, "finish_reason": None}
            delta, reason = piece.get("delta"), piece.get("finish_reason")
            if isinstance(delta, dict):
                _add(choice["message"], delta)
            if reason:
                choice["finish_reason"] = reason
    return whole | {"choices": [choices[at] for at in sorted(choices)]}


def _parts(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """The parts that say, or imply, where they belong; a place no answer has is dropped."""
    for part in value if isinstance(value, list) else ():
        if isinstance(part, dict):
            at = part.get("index")
            at = 0 if at is None else at
            if type(at) is int and 0 <= at < MOST:
                yield at, part


def _add(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Texts grow, tool calls grow at their index, anything else is replaced."""
    for key, value in delta.items():
        if key in GROWS and isinstance(value, str):
            said = message.get(key)
            message[key] = said + value if isinstance(said, str) else value
        elif key == "tool_calls":
            calls = message.setdefault("tool_calls", [])
            for at, part in _parts(value):
                calls.extend({} for _ in range(at + 1 - len(calls)))
                _add(calls[at], {k: v for k, v in part.items() if k != "index"})
        elif isinstance(value, dict):
            if not isinstance(message.get(key), dict):
                message[key] = {}
            _add(message[key], value)
        elif value is not None:
            message[key] = value
