"""What the artefact of a hosted model says: who is asked, and how a text becomes the request that the log has.

hosted.json  {"version": 1, "host": "local", "url": "http://127.0.0.1:8000/v1", "model": "qwen3-32b", "kind": "labels",
              "slots": [{"role": "system", "before": "Name the intent."}, {"role": "user", "variable": true, ...}],
              "fields": {"response_format": {...}}, "reads": ["tools"], "labels": ["transfer", ...],
              "max_tokens": 32, "logprobs": true, "private": false}

A student reads a task's variables as one text. Where one message varies, or none, the request is built again to the
letter. Where several do, their texts come joined by line breaks: a text with more line breaks than that can't be told
apart again, and is not able (it goes up).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from freehold.engines.hosts.guard import is_local_name, kind_of
from freehold.errors import ArtifactDamaged
from freehold.nouns import Kind, Message, Slot, Task

__all__ = ["FILE", "Form", "in_the_house", "is_outside"]

FILE = "hosted.json"
VERSION = 1
SENT = ("response_format", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call")
"""Request fields that decide what is asked, and go along. Those that say how tokens are drawn don't: it is greedy."""
UNLOGGED = 1024  # completion tokens where the log tells of none
HOUSE = ("loopback", "private")
SPARE = 2  # times the longest logged answer: another model counts other tokens


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """hosted.json. `logprobs`: whether the host gives them. `private`: private data is taken out before it is asked."""

    version: int = VERSION
    host: str
    url: str
    model: str
    kind: Kind
    slots: tuple[Slot, ...]
    fields: dict[str, Any] = {}
    reads: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    max_tokens: int = UNLOGGED
    logprobs: bool = True
    private: bool = False

    @classmethod
    def of(cls, task: Task, host: str, url: str, model: str, *, private: bool) -> Form:
        """A field of the request goes along where all calls of the task say the same in it."""
        said = {name: task.params[name] for name in SENT if name in task.params and name not in task.reads}
        same = {name: seen[0] for name, seen in said.items() if len(seen) == 1 and seen[0] is not None}
        most = UNLOGGED if task.answer_tokens is None else SPARE * task.answer_tokens + 16
        return cls(
            host=host, url=url.rstrip("/"), model=model, kind=task.kind, slots=task.template.slots, fields=same,
            reads=task.reads, labels=task.labels if task.kind == "labels" else (), max_tokens=most, private=private,
        )  # fmt: skip

    def messages(self, text: str) -> tuple[list[Message], dict[str, Any]] | None:
        """The messages that a student's text stands for, and the fields that it reads beside them."""
        fields: dict[str, Any] = {}
        if self.reads:  # Task.with_fields wrote them behind the text, as one line
            text, _, line = text.rpartition("\n\n")
            try:
                fields = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.MsgspecError:
                return None
        varying = sum(slot.variable for slot in self.slots)
        parts = [text] if varying == 1 else text.split("\n") if varying else []
        if len(parts) != varying:
            return None
        own = iter(parts)
        said = [
            {"role": s.role, "content": f"{s.before}{next(own)}{s.after}" if s.variable else s.before}
            for s in self.slots
        ]
        return said, {name: value for name, value in fields.items() if value is not None}

    def encode(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def read(cls, folder: Path) -> Form:
        """From an artefact's folder. Raises ArtifactDamaged."""
        path = folder / FILE
        try:
            form = msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as error:
            raise ArtifactDamaged(f"{path} can't be read: {type(error).__name__}.", "Tune again.") from None
        if form.version != VERSION:
            message = f"{path} was written by version {form.version}, and this freehold reads {VERSION}."
            raise ArtifactDamaged(message, "Tune again.")
        return form


def is_outside(url: str) -> bool:
    """Whether what this host is asked leaves the house by what its url says: its address is no local one, and its name
    no local name. Where a local name leads to is seen when it is connected to (`in_the_house`)."""
    host = (urlsplit(url).hostname or "").lower()
    try:
        return kind_of(host) not in HOUSE
    except ValueError:
        return not is_local_name(host)


def in_the_house(address: str) -> bool:
    """Whether an address that is connected to is this machine's own or a private network's."""
    return kind_of(address.partition("%")[0]) in HOUSE
