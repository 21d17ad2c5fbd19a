"""Short numbers for what is compared: equal numbers exactly where two answers, two texts or two prompts are the same.

    {"a": 1, "b": 2}   {"b":2.0,"a":1e0}   → one number: equal as JSON values
    "x"   " x\\n"                          → one number: equal text

64 bits of blake2b: among 4,000,000 different things the chance that any two share a number is 4e-7.
"""

from __future__ import annotations

import hashlib
import zlib
from decimal import Decimal
from functools import lru_cache
from typing import Any

from freehold.agree import json_rule

__all__ = ["answer_number", "number", "text_number"]

SHORT = 1000  # characters of an answer that is remembered


def number(data: bytes) -> int:
    """64 bits, never 0, which stands for nothing."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


def text_number(messages: int, task: int, text: str) -> int:
    """Of a task's text, by the number of the messages it stands in. What else it reads (tools) tells equal messages
    apart by a check sum, which is enough where only those could be taken for each other."""
    beside = zlib.crc32(text.encode("utf-8", "surrogatepass")) << 16 | task & 0xFFFF
    return messages ^ beside or 1


def answer_number(answer: str) -> int:
    """Equal for two answers exactly where they are the same text but for white space at the ends, or, of JSON objects
    and lists, the same values."""
    return _remembered(answer) if len(answer) <= SHORT else _answer_number(answer)


def _answer_number(answer: str) -> int:
    text = answer.strip()
    if text.startswith(("{", "[")):
        try:
            found = json_rule.leaves(json_rule.read(text))
        except json_rule.NotJson:
            return _told("text", text)
        return _told("json", repr(sorted((path, kind, _plain(value)) for path, (kind, value) in found.items())))
    return _told("text", text)


_remembered = lru_cache(maxsize=4096)(_answer_number)


def _told(kind: str, text: str) -> int:
    return number(f"{kind} {text}".encode("utf-8", "surrogatepass"))


def _plain(value: Any) -> str:
    """A leaf's value as text, equal numbers as equal text, exactly."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return repr(value)
    sign, digits, exponent = Decimal(value).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    bare = text.rstrip("0")
    return f"{'-' if sign else ''}{bare}e{int(exponent) + len(text) - len(bare)}" if bare else "0"
