"""The log as an upstream: each request is answered as the log answered the same messages, for trying things offline.

    Replay(traffic.calls)   messages seen → the logged answer · not seen → 404, which says that this is a replay

A replayed answer is nothing new: it is never evidence, never a pair and never trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from freehold import wire
from freehold.engines.upstream import Headers, Reply
from freehold.nouns import Call, Message, Tokens

__all__ = ["Replay"]


def _key(messages: Sequence[Message]) -> bytes:
    return hashlib.sha256(msgspec.json.encode(messages, order="deterministic")).digest()


class Replay:
    """Answers from logged calls; where messages were asked more than once, the latest answer in the log stands."""

    kind = "replay"

    def __init__(self, calls: Iterable[Call]) -> None:
        self._answers: dict[bytes, tuple[str, str, Tokens, int]] = {}
        for call in calls:
            if call.answer is not None and call.answered_by == "upstream":
                answer = (call.model, call.answer, call.tokens or Tokens(), int(call.at or 0))
                self._answers[_key(call.messages)] = answer

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        return f"Replay({len(self)} requests)"

    @asynccontextmanager
    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, whole: bool = False
    ) -> AsyncIterator[Reply]:
        """The logged answer, streamed in OpenAI's events where `body` asks for a stream."""
        if path.partition("?")[0] != "/v1/chat/completions":
            yield _reply(404, wire.error("This is a replay of a log of chat calls; it has no such route."))
            return
        request = wire.loads(body)
        found = self._answers.get(_key(wire.call_from_request(request).messages))
        if found is None:
            message = (
                "This is a replay, and these messages are not in the log. Start with --upstream URL to ask a model."
            )
            yield _reply(404, wire.error(message, code="not_in_the_log"))
            return
        model, text, tokens, created = found
        id = "chatcmpl-replay-" + hashlib.sha256(body).hexdigest()[:16]
        if request.get("stream"):
            options = request.get("stream_options")
            usage = isinstance(options, dict) and options.get("include_usage") is True
            events = b"".join(wire.chunks(model, text, tokens, id, created, usage=usage))
            yield _reply(200, events, "text/event-stream")
        else:
            yield _reply(200, wire.dumps(wire.completion(model, text, tokens, id, created)))

    async def close(self) -> None:
        """Nothing is open."""


def _reply(status: int, body: bytes, content_type: str = "application/json") -> Reply:
    headers: Headers = [("Content-Type", content_type)]
    left = [body]

    async def read() -> bytes:
        return left.pop() if left else b""

    return Reply(status, headers, read)
