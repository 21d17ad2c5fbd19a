"""Answers given again to the same request: opt-in per client key, at temperature 0 only, to the letter.

    key(tenant, body, policy)      sha256, or "" where such a request is never answered from here
    get(key) / put(key, response)  a chat.completion body; least recently used ones go first, old ones at their time
    again(response, id, created)   the same answer under a name of its own
    events(response, usage=...)    as a stream

The key holds the client key's name, so that nobody is given another's answer; all of the request but who asks and how
it is sent; and the policy: which students answer, from which score, how far they have come. A promotion, a new verdict
or a closing makes every answer from before another question. Nothing is kept that was cut, filtered, refused or failed.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from freehold import wire
from freehold.nouns import Tokens

__all__ = ["Cache", "again", "events", "key"]

ENTRIES = 10_000
BYTES = 64 << 20
ASIDE = ("user", "metadata", "stream", "stream_options")  # who asks, and how the answer is sent
WHOLE = ("stop", "tool_calls")  # why a whole answer ended
OVERHEAD = 200  # bytes of an entry beside its answer


def key(tenant: str, body: Mapping[str, Any], policy: str) -> str:
    """The name of a request's answer; "" where the request doesn't say temperature 0, asks for several answers, or for
    one to be stored at the vendor. `tenant` is the client key's name; `policy` changes whenever who answers does."""
    temperature, n = body.get("temperature"), body.get("n", 1)
    exact = type(temperature) in (int, float) and temperature == 0
    if not tenant or not exact or (n is not None and (type(n) is not int or n != 1)) or body.get("store"):
        return ""
    said = {name: value for name, value in body.items() if name not in ASIDE} | {"temperature": 0, "n": 1}
    try:
        data = msgspec.json.encode([tenant, policy, said], order="deterministic")
    except (UnicodeError, RecursionError):  # a lone surrogate, a request nested too deeply: no cache is needed there
        return ""
    return hashlib.sha256(data).hexdigest()


@dataclass(slots=True)
class _Kept:
    data: bytes
    until: float


class Cache:
    """`hits` and `misses` count what was looked for. Not for two threads at a time."""

    def __init__(
        self,
        seconds: float,
        *,
        entries: int = ENTRIES,
        size: int = BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hits = 0
        self.misses = 0
        self.bytes = 0
        self._seconds = seconds
        self._entries = entries
        self._size = size
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> dict[str, Any] | None:
        """A chat.completion body that may be changed; None for what isn't here, or is too old."""
        kept = self._kept.get(key)
        if kept is not None and self._clock() >= kept.until:
            self._drop(key)
            kept = None
        if kept is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        found: dict[str, Any] = msgspec.json.decode(kept.data)
        return found

    def put(self, key: str, status: int, response: Any) -> bool:
        """Keep an answer, where it is whole; returns whether it was."""
        if not key or status != 200 or not _whole(response):
            return False
        data = wire.dumps(response)
        if len(data) + OVERHEAD > self._size:
            return False
        self._drop(key)
        self._kept[key] = _Kept(data, self._clock() + self._seconds)
        self.bytes += len(data) + OVERHEAD
        while len(self._kept) > self._entries or self.bytes > self._size:
            self._drop(next(iter(self._kept)))
        return True

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.bytes -= len(kept.data) + OVERHEAD


def _whole(response: Any) -> bool:
    """One choice, with a text or tool calls, that came to its own end."""
    if not isinstance(response, dict) or response.get("error") or not isinstance(response.get("choices"), list):
        return False
    if len(response["choices"]) != 1 or not isinstance(response["choices"][0], dict):
        return False
    choice = response["choices"][0]
    message = choice.get("message")
    if choice.get("finish_reason") not in WHOLE or not isinstance(message, dict) or message.get("refusal"):
        return False
    return isinstance(message.get("content"), str) or bool(message.get("tool_calls"))


def again(response: Mapping[str, Any], id: str, created: int) -> dict[str, Any]:
    """A kept answer as the answer to another request. Its usage is that of the first time: nothing was used now."""
    return {"object": "chat.completion", **response, "id": id, "created": created}


def events(response: Mapping[str, Any], *, usage: bool) -> bytes | None:
    """The same answer as server-sent events; None where it holds what wire.chunks can't say (log-probabilities, audio,
    tool calls of another form)."""
    choice = response["choices"][0]
    message = choice["message"]
    known = {"role", "content", "refusal", "tool_calls", "annotations"}
    if choice.get("logprobs") or message.get("annotations") or not message.keys() <= known:
        return None
    calls = message.get("tool_calls")
    try:
        text = message["content"] if not calls else wire.dumps([_call(one) for one in calls]).decode()
    except (KeyError, TypeError, wire.RowError):
        return None
    if not isinstance(text, str) or (calls and message.get("content")):
        return None
    used = response.get("usage") or {}
    tokens = Tokens(used.get("prompt_tokens") or 0, used.get("completion_tokens") or 0)
    head = (str(response.get("model", "")), text, tokens, str(response["id"]), int(response["created"]))
    return b"".join(wire.chunks(*head, usage=usage, kind="tools" if calls else "text"))


def _call(one: Mapping[str, Any]) -> dict[str, Any]:
    function = one["function"]
    return {"name": function["name"], "arguments": wire.loads(function["arguments"])}
