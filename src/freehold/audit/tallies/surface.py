"""What of the API the traffic uses: endpoints, request fields, tools, and what kinds of answers are asked for.

    {"tools": [route, lookup], "stream": true, "messages": [{"content": [{"type": "image_url"}]}]}  answered: route(...)
    → chat 1    tools 1, stream 1    route 1, lookup 0    tools 1, streaming 1, images 1

A tool counts where an answer calls it; one that is only offered stands there with 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from freehold.audit.tallies.names import Counts
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Call, Surface

__all__ = ["SurfaceTally", "said"]

KINDS = {
    "image_url": "images", "input_image": "images", "image": "images", "input_audio": "audio", "audio": "audio",
    "file": "files", "input_file": "files", "document": "files", "video": "video", "video_url": "video",
}  # fmt: skip
"""What a part of a message holds, by its type in the OpenAI and Anthropic APIs."""
INTERNAL = ("hash_ids",)  # of a trace, not of a request


class SurfaceTally(msgspec.Struct):
    endpoints: Counts = msgspec.field(default_factory=Counts)
    params: Counts = msgspec.field(default_factory=Counts)
    tools: Counts = msgspec.field(default_factory=Counts)
    formats: Counts = msgspec.field(default_factory=Counts)

    def add(self, seen: Sequence[Seen], /) -> None:
        calls = [one.call for one in seen if one.call.why != "pair"]
        self.endpoints.add_all(call.endpoint or "chat" for call in calls)
        self.params.add_all(name for call in calls for name, value in call.params.items() if value is not None)
        self.formats.add_all(name for call in calls for name in _formats(call))
        for call in calls:
            if "tools" in call.params or "functions" in call.params:
                self.tools.add_all(_offered(call.params), 0)
        self.tools.add_all(name for call in calls if call.answer is None for name in _called(call))

    def merge(self, later: SurfaceTally, /) -> None:
        for name in ("endpoints", "params", "tools", "formats"):
            getattr(self, name).merge(getattr(later, name))

    def surface(self) -> Surface:
        params = {name: count for name, count in self.params.shown().items() if name not in INTERNAL}
        return Surface(self.endpoints.shown(), params, self.tools.shown(), self.formats.shown())


def _formats(call: Call) -> set[str]:
    """What the answer may be, and what else the request carries; each once."""
    found = {_asked_for(call)} if call.endpoint != "embeddings" else {"embedding"}
    if call.params.get("stream"):
        found.add("streaming")
    for message in call.messages:
        content = message.get("content")
        if isinstance(content, list):
            found.update(KINDS[kind] for kind in _types(content) if kind in KINDS)
    spoken = call.params.get("modalities")
    return found | ({"audio answers"} if isinstance(spoken, list) and "audio" in spoken else set())


def _asked_for(call: Call) -> str:
    """json_schema, json_object, tools, function_call or text: the narrowest that the request asks for."""
    text = call.params.get("text")
    given = call.params.get("response_format") or (text.get("format") if isinstance(text, dict) else None)
    kind = given.get("type") if isinstance(given, dict) else None
    if kind in ("json_schema", "json_object"):
        return str(kind)
    if call.params.get("tools"):
        return "tools"
    return "function_call" if call.params.get("functions") else "text"


def _types(parts: Sequence[Any]) -> Iterator[str]:
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str):
            yield kind


def _offered(params: Mapping[str, Any]) -> Iterator[str]:
    tools, functions = params.get("tools"), params.get("functions")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            yield from _name(tool.get("function") if isinstance(tool.get("function"), dict) else tool)
    for function in functions if isinstance(functions, list) else ():
        yield from _name(function)


def _called(call: Call) -> set[str]:
    """The tools that the answer calls, each once."""
    message = said(call)
    asked = message.get("tool_calls")
    calls = [one for one in asked if isinstance(one, dict)] if isinstance(asked, list) else []
    functions = [*(one.get("function") or one.get("custom") for one in calls), message.get("function_call")]
    return {name for one in functions for name in _name(one)}


def said(call: Call) -> Mapping[str, Any]:
    """The assistant's message as it stands in the row; empty where there is none."""
    response, messages = call.row.get("response"), call.row.get("messages")
    choices = response.get("choices") if isinstance(response, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if message is None and isinstance(messages, list) and messages:
        message = messages[-1]
    return message if isinstance(message, dict) else {}


def _name(tool: Any) -> Iterator[str]:
    """A function's name, or the type of a tool that the vendor runs (web_search)."""
    name = (tool.get("name") or tool.get("type")) if isinstance(tool, dict) else None
    if isinstance(name, str):
        yield name
