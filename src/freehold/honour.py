"""Which requests may be answered at home at all: the allow-list, one for the certificate and for the server.

    task, call ─obstacle→ ("stop", "'stop' is not a field that the student honours")     it goes up
                          ("", "")                                                       it may stay
    task, call, answer ─unfit→ "the student's answer is not whole JSON"                  it goes up all the same

What is not understood goes up: a field is honoured because it is listed here, never because nobody thought of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from freehold.nouns import Call, Task

__all__ = ["HONOURED", "LONGEST_TEXT", "longest_answer", "obstacle", "refusal", "unfit"]

LONGEST_TEXT = 64 * 1024
"""Characters; a longer text is not what the certificate was made on, and it would hold others up."""


def longest_answer(task: Task) -> int:
    """The most completion tokens that any of the task's answers takes; no token is shorter than a byte."""
    most = max((len(label.encode("utf-8", "surrogatepass")) for label in task.labels), default=0)
    return most if task.answer_tokens is None else task.answer_tokens


def refusal(task: Task, call: Call, text: str, longest: int | None = None) -> str:
    """Why no student of `task` can honour this request, or "". `text` is the template's of this call; `longest` is
    longest_answer(task), where it is known already. Values are not repeated: they may be anybody's."""
    return obstacle(task, call, text, longest)[1]


def obstacle(task: Task, call: Call, text: str, longest: int | None = None) -> tuple[str, str]:
    """The field that stands in the way ("model", "text", or a request field) and why; two empty texts where none."""
    if task.models and call.model not in task.models:
        return "model", "the model is not one that the log has for this task"
    if len(text) > LONGEST_TEXT:
        return "text", f"the text is longer than {LONGEST_TEXT} characters"
    if task.kind == "tools" and not call.params.get("tools"):
        return "tools", "the request offers no tools"
    most = longest_answer(task) if longest is None else longest
    for field, value in call.params.items():
        honours = HONOURED.get(field) or (TOOLS.get(field) if task.kind == "tools" else None)
        if field in task.reads:
            honours = _list
        if honours is None:
            return field[:40], f"{field[:40]!r} is not a field that the student honours"
        if value is not None and not honours(value, task.params.get(field, []), most):
            return field, f"the value of {field} is not one that the student honours"
    return "", ""


def unfit(task: Task, call: Call, text: str) -> str:
    """Why a student's answer would break its client whatever its score, or "": JSON that is none, or a call of a tool
    that is not offered. An answer of a tools task that is no JSON list is a reply in words."""
    if task.kind not in ("json", "tools"):
        return ""
    try:
        said = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        torn = task.kind == "json" or text.lstrip().startswith("[{")
        return "the student's answer is not whole JSON" if torn else ""
    if task.kind == "json" or not isinstance(said, list):
        return ""
    if not all(map(_is_call, said)):
        return "the student's answer is a list of something else than tool calls"
    known = {one["name"] for one in said} <= _offered(call)
    return "" if known else "the student calls a tool that is not offered"


def _is_call(one: Any) -> bool:
    """In the one form that wire.completion makes a tool call of."""
    whole = isinstance(one, dict) and one.keys() == {"name", "arguments"}
    return whole and isinstance(one["name"], str) and isinstance(one["arguments"], dict)


def _offered(call: Call) -> set[str]:
    """The names of the functions that a request offers; other sorts of tools are none."""
    tools = call.params.get("tools")
    said = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return {one["name"] for one in said if isinstance(one, dict) and isinstance(one.get("name"), str)}


def _anything(value: Any, seen: list[Any], longest: int) -> bool:
    return True


def _flag(value: Any, seen: list[Any], longest: int) -> bool:
    return isinstance(value, bool)


def _stream_options(value: Any, seen: list[Any], longest: int) -> bool:
    known = isinstance(value, dict) and value.keys() <= {"include_usage", "include_obfuscation"}
    return known and all(isinstance(option, bool) for option in value.values())


def _logged(value: Any, seen: list[Any], longest: int) -> bool:
    """Seen in the log, as the same JSON type: 0 and 0.0 are one number, 1 and true are not."""
    return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in seen)


def _enough(value: Any, seen: list[Any], longest: int) -> bool:
    return type(value) is int and value >= longest


def _one(value: Any, seen: list[Any], longest: int) -> bool:
    return type(value) is int and value == 1


def _list(value: Any, seen: list[Any], longest: int) -> bool:
    return isinstance(value, list)


HONOURED: dict[str, Callable[[Any, list[Any], int], bool]] = {
    "stream": _flag,
    "stream_options": _stream_options,
    "user": _anything,
    "metadata": _anything,
    "store": _anything,
    "temperature": _logged,
    "top_p": _logged,
    "seed": _logged,
    "response_format": _logged,
    "max_tokens": _enough,
    "max_completion_tokens": _enough,
    "n": _one,
}

TOOLS: dict[str, Callable[[Any, list[Any], int], bool]] = {
    "tools": _logged,
    "tool_choice": _logged,
    "parallel_tool_calls": _logged,
}
"""Further ones, of a task whose answers are tool calls; tools that differ from call to call are read by the student."""
