"""What a request's head must look like before anybody acts on it: whatever two parsers could read differently is
refused, so that no request can hide in another one (RFC 9112, 11.2)."""

from __future__ import annotations

from collections.abc import Sequence

from freehold.http.head import NAMES, decode, name_of

__all__ = ["METHODS", "BadHead", "Read", "read_head"]

METHODS = {name.encode(): name for name in ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS")}
ONCE = ("content-length", "transfer-encoding", "host", "content-type", "content-encoding", "authorization", "expect")
DIGITS = 16  # of a length: more can't be meant
Read = tuple[dict[str, str], int | None, bool, bool]


class BadHead(ValueError):
    """A head that is not read. It says nothing of what the client sent."""


def read_head(head: bytes, pairs: Sequence[tuple[bytes, bytes]], most: int) -> Read:
    """Of a head that llhttp has read: each header's first value by its name, the body's length (None: not said),
    whether it comes in chunks, and whether this is HTTP/1.0. Raises BadHead; `most` is how many headers there may be.
    """
    lines, line = head.count(b"\r\n"), head[: head.find(b"\r\n")]
    version = line[-9:]
    if (
        lines != head.count(b"\n")  # a bare LF
        or lines != head.count(b"\r")
        or b"\n " in head  # a folded header
        or b"\n\t" in head
        or b"\0" in head
        or line.count(b" ") != 2
        or version not in (b" HTTP/1.1", b" HTTP/1.0")
        or len(pairs) > most
    ):
        raise BadHead
    first: dict[str, str] = {}
    for raw, value in pairs:
        name = NAMES.get(raw) or name_of(raw)
        if name not in first:
            first[name] = decode(value)
        elif name in ONCE:
            raise BadHead
    old = version == b" HTTP/1.0"
    coding, said = first.get("transfer-encoding"), first.get("content-length")
    if "upgrade" in first:
        raise BadHead
    if coding is not None and (coding.lower() != "chunked" or old or said is not None):
        raise BadHead
    if said is not None and not (said.isascii() and said.isdigit() and len(said) < DIGITS):
        raise BadHead
    return first, None if said is None else int(said), coding is not None, old
