"""A row in the making, and what of it is kept: all (`on`), no private data (`redacted`), no text (`off`).

    {"timestamp": "2026-11-24T10:15:02.114+00:00", "seconds": 0.0041, "request": {...}, "response": {...},
     "freehold": {"id": "chatcmpl-…", "task": "intents", "answered_by": "student", "why": "home", "probability": 1.0,
                  "status": "complete", "http": 200,
                  "student": {"sha256": "9f…", "answer": "transfer", "score": 0.998, "threshold": 0.97},
                  "money": {"home": 1.1e-07, "saved": 0.000107}, "reason": "", "seq": 7, "chain": "…"}}

Without its texts a row keeps the model, the settings that are numbers, roles without contents (as logs that keep no
texts write them: wire.unseen), tokens, times, money, and what the monitor counts. The client's headers never get here.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from freehold.nouns import Answer, Call

__all__ = ["Entry", "Redact", "body", "without_text"]

Redact = Callable[[Any], Any]
SETTINGS = (
    "model", "temperature", "top_p", "n", "seed", "max_tokens", "max_completion_tokens", "stream", "stream_options",
    "service_tier", "store", "parallel_tool_calls", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs",
    "reasoning_effort",
)  # fmt: skip
"""A request's fields that hold no text of anybody's."""
WORDS = ("model", "service_tier", "reasoning_effort")
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
SHOWN = ("id", "object", "created", "model", "usage", "service_tier", "system_fingerprint")
UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)
CONTROLS = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")  # what terminals and str.splitlines act upon


@dataclass(slots=True)
class Entry:
    """A row in the making. `body` is the request as parsed, `started` a monotonic clock, `at` the wall clock. `place`
    says where it was written, for Ledger.durable."""

    call: Call
    body: dict[str, Any]
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.perf_counter)
    task: str = ""
    answered_by: str = "upstream"
    why: str = ""
    probability: float = 1.0
    status: str = "failed"
    http: int = 0
    student: dict[str, Any] | None = None
    home: float | None = 0.0
    saved: float | None = 0.0
    reason: str = ""
    pairs: float = 0.0
    agrees: bool | None = None
    response: dict[str, Any] = field(default_factory=dict)
    lost: bool = False
    written: bool = False
    more: dict[str, Any] = field(default_factory=dict)
    place: tuple[Any, int] | None = field(default=None, repr=False, compare=False)

    def says(self, sha256: str, threshold: float, answer: Answer) -> None:
        """Keep what the student would have answered."""
        self.student = {"sha256": sha256, **asdict(answer), "threshold": threshold}
        self.student["answer"] = self.student.pop("text")
        if self.student.pop("able") is False:
            self.student["able"] = False

    def ends(self, http: int, status: str, response: dict[str, Any], reason: str = "") -> None:
        """Keep how the call ended; a reason given earlier (why it went up) stands first."""
        self.http, self.status, self.response = http, status, response
        self.reason = "; ".join(said for said in (self.reason, reason) if said)

    def row(self) -> dict[str, Any]:
        own: dict[str, Any] = {
            "id": self.id, "task": self.task, "answered_by": self.answered_by, "why": self.why,
            "probability": self.probability, "status": self.status, "http": self.http, "student": self.student,
            "money": {"home": self.home, "saved": self.saved}, "reason": self.reason,
        }  # fmt: skip
        if self.why == "home":
            own["pairs"] = self.pairs
        if self.why == "pair":
            own["agrees"] = self.agrees
        if self.more:  # what further rooms want on record: numbers and names, never texts
            own |= self.more
        at = f"{_second(int(self.at))}.{int(self.at % 1 * 1000):03}+00:00"
        seconds = round(time.perf_counter() - self.started, 6)
        return {"timestamp": at, "seconds": seconds, "request": self.body, "response": self.response, "freehold": own}


@lru_cache(maxsize=64)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def body(entry: Entry, content: str, redact: Redact | None) -> bytes:
    """The row as bytes, without the two braces that close it.

    One that JSON can't hold, or that `redact` fails on, is kept without its texts: there it says so.
    """
    row = entry.row()
    try:
        if content == "off":
            row = without_text(row)
        elif content == "redacted":
            row = _redacted(row, redact)
        return _bytes(row)
    except UNWRITABLE as error:
        row = without_text(row)
        row["freehold"]["unkept"] = f"the texts could not be written: {type(error).__name__}"
        return _bytes(row)


def _bytes(row: dict[str, Any]) -> bytes:
    data = msgspec.json.encode(row)[:-2]
    if b"\xc2" in data or b"\xe2" in data or b"\x7f" in data:  # msgspec escapes those below U+0020 only
        data = CONTROLS.sub(lambda found: f"\\u{ord(found[0].decode()):04x}".encode(), data)
    return data


def _redacted(row: dict[str, Any], redact: Redact | None) -> dict[str, Any]:
    assert redact is not None, "content is redacted"
    own = dict(row["freehold"])
    answer = (own["student"] or {}).get("answer")
    texts = {"request": row["request"], "response": row["response"], "answer": answer, "reason": own["reason"]}
    clean = redact(texts)  # in one go, so that a name is replaced by the same one everywhere
    own["reason"] = clean["reason"]
    if answer is not None:
        own["student"] = own["student"] | {"answer": clean["answer"]}
    own["content"] = "redacted"
    return row | {"request": clean["request"], "response": clean["response"], "freehold": own}


def without_text(row: dict[str, Any]) -> dict[str, Any]:
    """The same row without what anybody wrote: what money, routing and the monitor need is left."""
    own = dict(row["freehold"])
    if own.get("student"):
        own["student"] = {name: value for name, value in own["student"].items() if name != "answer"}
    own["content"] = "off"
    request, response = row.get("request"), row.get("response")
    kept = {"request": _request(request if isinstance(request, dict) else {})}
    return row | kept | {"response": _response(response if isinstance(response, dict) else {}), "freehold": own}


def _request(said: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: said[name] for name in SETTINGS if name in said and _plain(name, said[name])}
    form = said.get("response_format")
    if isinstance(form, dict) and isinstance(form.get("type"), str):
        kept["response_format"] = {"type": form["type"]}
    messages = said.get("messages")
    roles = [m.get("role") for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    roles = [role if role in ROLES else "other" for role in roles]
    if "user" not in roles:
        roles.append("user")  # so that readers know that the text isn't here
    return kept | {"messages": [{"role": role, "content": None} for role in roles]}


def _response(said: dict[str, Any]) -> dict[str, Any]:
    kept = {name: said[name] for name in SHOWN if name in said}
    error = said.get("error")
    if isinstance(error, dict):
        kept["error"] = {"message": "", "type": error.get("type"), "param": None, "code": error.get("code")}
    elif isinstance(error, str):
        kept["error"] = {"message": "", "type": "error", "param": None, "code": None}
    choices = said.get("choices")
    if isinstance(choices, list):
        kept["choices"] = [_choice(choice) for choice in choices if isinstance(choice, dict)]
    return kept


def _choice(said: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": None}
    return {"index": said.get("index", 0), "message": message, "finish_reason": said.get("finish_reason")}


def _plain(name: str, value: Any) -> bool:
    """A number, a word of the API, or include_usage and the like."""
    if name == "stream_options":
        return isinstance(value, dict) and all(
            len(key) <= 40 and isinstance(inside, bool) for key, inside in value.items()
        )
    word = name in WORDS and isinstance(value, str) and len(value) <= 128
    return value is None or isinstance(value, bool | int | float) or word
