"""What came back from an upstream, read for the ledger while the bytes themselves pass on untouched.

    read_reply(200, "text/event-stream", b"data: {...}\\n\\n...data: [DONE]\\n\\n")
        -> Recorded(response={"choices": [...], "usage": {...}}, status="complete", reason="")

An answer that is not whole carries an "error" in its response, so that no reader of the ledger takes it as evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from freehold import stream, wire

__all__ = ["HOLDS_ERROR", "Recorded", "Status", "failure", "read_reply"]

Status = Literal["complete", "partial", "failed"]
KEPT = 2000  # characters kept of an answer that is not a chat completion
DEEPEST = 128  # levels of nesting; a ledger row with more could not be written
LEARNS = 64  # times in one stream that it is learned what its events look like
HOLDS_ERROR = "the upstream's stream holds an error"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The response as one chat.completion body, or as an error."""

    response: dict[str, Any]
    status: Status
    reason: str = ""


def failure(code: str, message: str) -> dict[str, Any]:
    """A response for the ledger where no whole answer came."""
    return {"error": {"message": message, "type": "upstream_error", "param": None, "code": code}}


def read_reply(http: int, content_type: str, body: bytes, *, why: str = "") -> Recorded:
    """`why` is empty for an answer that came to its end, else a code: what broke it off."""
    if http < 400 and content_type.lower().startswith("text/event-stream"):
        return _stream(body, why)
    if why:
        return Recorded(failure(why, "the answer is not whole"), "partial" if body else "failed", why)
    try:
        found = wire.loads(body)
    except wire.RowError:
        return _nonsense(http, "something that is not JSON", body)
    if body.count(b"{") + body.count(b"[") > DEEPEST and stream.depth(found, DEEPEST) > DEEPEST:
        return _nonsense(http, "JSON that is nested too deeply", body)
    if isinstance(found, dict) and found.get("error") and isinstance(found["error"], dict | str):
        return Recorded(found, "failed", f"the upstream answered {http} with an error")
    if http >= 400 or not stream.is_completion(found):
        return _nonsense(http, "no chat completion", body)
    return Recorded(found, "complete")


def _nonsense(http: int, what: str, body: bytes) -> Recorded:
    reason = f"the upstream answered {http} with {what}"
    said = body[:KEPT].decode("utf-8", "replace")
    return Recorded(failure("upstream_nonsense", reason) | {"body": said}, "failed", reason)


class _Alike:
    """Events that differ from the one before in their text alone, as nearly all of a stream: they are not read one by
    one. What stands before and behind the text is the same, byte for byte, and the text has nothing to unescape."""

    __slots__ = ("_after", "_before", "_delta", "_learned", "_more", "_size")

    def __init__(self) -> None:
        self._before = self._after = ""
        self._size = self._learned = 0
        self._delta: dict[str, Any] = {}
        self._more: list[str] = []

    def goes_on(self, data: str) -> bool:
        """Whether it was such an event; its text is kept."""
        if not self._before or not data.startswith(self._before) or not data.endswith(self._after):
            return False
        text = data[len(self._before) : len(data) - len(self._after)]
        if len(data) < self._size or not _plain(text):
            return False
        self._more.append(text)
        return True

    def ends(self) -> None:
        """Put the texts behind that of the event they followed."""
        if self._more:
            self._delta["content"] += "".join(self._more)
            self._more = []
        self._before = ""

    def begins(self, data: str, chunk: dict[str, Any]) -> None:
        """Learn what further events may look like, where `chunk`, which is what `data` says, is a piece of text."""
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
        delta = choice.get("delta") if isinstance(choice, dict) else None
        text = delta.get("content") if isinstance(delta, dict) and len(delta) == 1 else None
        if not isinstance(delta, dict) or not isinstance(text, str) or not _plain(text) or self._learned >= LEARNS:
            return
        self._learned += 1
        at = data.rfind(f'"{text}"', data.find('"content"') + 9) + 1
        before, after = data[:at], data[at + len(text) :]
        delta["content"] = text + "?"
        try:
            same = at > 0 and wire.loads(f"{before}{text}?{after}") == chunk  # nothing but that text has changed
        except wire.RowError:
            same = False
        delta["content"] = text
        if same:
            self._before, self._after, self._size, self._delta = before, after, len(before) + len(after), delta


def _plain(text: str) -> bool:
    """Whether JSON writes it as it is."""
    return text.isprintable() and '"' not in text and "\\" not in text


def _stream(body: bytes, why: str) -> Recorded:
    chunks: list[dict[str, Any]] = []
    done = False
    alike = _Alike()
    for data in stream.events(body):
        if alike.goes_on(data):
            continue
        alike.ends()
        done = done or data.strip() == stream.DONE
        try:
            chunk = {} if done else wire.loads(data)
        except wire.RowError:
            why = why or "upstream_nonsense"
            continue
        shallow = data.count("{") + data.count("[") <= DEEPEST or stream.depth(chunk, DEEPEST) <= DEEPEST
        if isinstance(chunk, dict) and shallow:
            chunks.append(chunk)
            alike.begins(data, chunk)
    alike.ends()
    merged = stream.merge(chunks)
    begun: Status = "partial" if merged["choices"] else "failed"
    if merged.get("error"):
        said = isinstance(merged["error"], dict | str)
        return Recorded(merged if said else merged | failure("upstream_error", HOLDS_ERROR), begun, HOLDS_ERROR)
    if not why and (done or stream.finished(merged)) and stream.is_completion(merged):
        return Recorded(merged, "complete")
    if not why and (done or stream.finished(merged)):
        why = "upstream_nonsense"
        return Recorded(merged | failure(why, "the stream is no chat completion"), begun, why)
    why = why or "upstream_interrupted"
    return Recorded(merged | failure(why, "the stream is not whole"), begun, why)
