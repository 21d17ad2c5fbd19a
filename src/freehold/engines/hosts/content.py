"""What of an answer has come: nothing that a reader sees yet, its content, or an error in an answer's place.

    data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}      nothing yet (as are comments)
    data: {"choices": [{"delta": {"content": "tr"}}]}                         content
    data: {"error": {"message": "overloaded"}}                                error
    data: <html>                                                              nonsense

Of a stream only what comes before its content is looked at; of a whole answer, whether it is JSON and no error.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from freehold.stream import DONE

__all__ = ["Scan", "Seen", "whole"]

Seen = Literal["", "content", "error", "nonsense"]

GAPS = (b"\n\n", b"\r\n\r\n", b"\r\r")  # between events (WHATWG HTML, 9.2)
LIFECYCLE = frozenset({"response.created", "response.in_progress", "response.queued", "keepalive", "ping"})
FAILED = frozenset({"error", "response.failed"})


class _Event(msgspec.Struct):
    """What is read of an event: the rest is skipped, and checked to be JSON."""

    choices: Any = None
    error: Any = None
    type: Any = None


_read = msgspec.json.Decoder(_Event).decode


class Scan:
    """Feed it a stream until it has seen something. `held` is all that came, of which `whole` bytes are whole events,
    `events` of them."""

    __slots__ = ("_held", "events", "whole")

    def __init__(self) -> None:
        self._held = bytearray()
        self.events = self.whole = 0

    @property
    def held(self) -> bytes:
        return bytes(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def feed(self, chunk: bytes) -> Seen:
        held = self._held
        back = max(self.whole, len(held) - 4)  # an end of an event may be cut in two
        held += chunk
        end = max((at + len(gap) for gap in GAPS if (at := held.rfind(gap, back)) >= 0), default=0)
        if end <= self.whole:
            return ""
        ready, self.whole = held[self.whole : end], end
        return self._events(ready)

    def end(self) -> Seen:
        """At the end of the stream: what its last event said where the empty line after it never came."""
        rest, self.whole = self._held[self.whole :], len(self._held)
        return self._events(rest + b"\n\n") if rest.strip() else ""

    def _events(self, ready: bytearray) -> Seen:
        name, data, begun = "", [], False
        for line in ready.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n"):
            if line.startswith("data:"):
                data.append(line[5:])
            elif line.startswith("event:"):
                name = line[6:].strip()
            elif not line and begun:
                self.events += 1
                seen = _seen(name, "\n".join(data).strip()) if data else "error" if name == "error" else ""
                if seen:
                    return seen
                name, data = "", []
            begun = bool(line)
        return ""


def _seen(name: str, data: str) -> Seen:
    if data == DONE:
        return "content"  # nothing follows, so this is all of it
    try:
        event = _read(data)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return "nonsense"
    kind = event.type if isinstance(event.type, str) else ""
    if event.error or name == "error" or kind in FAILED:
        return "error"
    if isinstance(event.choices, list):
        return "content" if any(_says(choice) for choice in event.choices) else ""
    return "content" if kind and kind not in LIFECYCLE else ""


def _says(choice: Any) -> bool:
    """Whether a piece of a choice holds anything but its role and empty texts."""
    if not isinstance(choice, dict):
        return False
    if choice.get("finish_reason") or choice.get("text"):
        return True
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(value for key, value in delta.items() if key != "role")


def whole(body: bytes) -> Seen:
    """Of a whole answer with a good status: content, or what came instead."""
    try:
        found = _read(body)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return "nonsense"
    return "error" if found.error and not found.choices else "content"
