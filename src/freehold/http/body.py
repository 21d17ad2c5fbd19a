"""A request's body as it comes: counted, capped, and cut where the next request begins."""

from __future__ import annotations

import httptools

from freehold.http.request import BodyRefused

__all__ = ["Body"]

AROUND = 8  # bytes on the wire for each byte of a chunked body, at most; and `head` bytes besides


class Body:
    """`left` is how many bytes are still to come (None: it comes in chunks), `got` how many have. `bad` says why it is
    not read any further; `most` is what its reader takes (-1: nobody has asked for it yet)."""

    __slots__ = ("_head", "_tail", "_wire", "bad", "chunks", "got", "left", "most", "whole")

    def __init__(self, left: int | None, head: int) -> None:
        self.left = left
        self.got = 0
        self.whole = False
        self.most = -1
        self.bad: BodyRefused | None = None
        self.chunks: list[bytes] = []
        self._head = head
        self._wire = 0
        self._tail = b""

    def feed(self, parser: httptools.HttpRequestParser, data: bytes) -> bytes:
        """Bytes from the wire; gives back what follows the body. The parser tells the connection what they hold, and
        that is added here (`add`)."""
        rest = b""
        try:
            if self.left is not None:
                if len(data) > self.left:
                    data, rest = data[: self.left], data[self.left :]
                self.left -= len(data)
                parser.feed_data(data)
            else:
                rest = self._chunked(parser, data)
        except httptools.HttpParserError:
            self.breaks(400, "bad_body", "The body is not what its headers say.")
            return b""
        if self.got > self.most >= 0:
            self.too_long()
        return rest

    def _chunked(self, parser: httptools.HttpRequestParser, data: bytes) -> bytes:
        """A chunked body ends with an empty line, so what comes is cut behind each: no byte of the next is fed."""
        self._wire += len(data)
        at, first = 0, self._tail + data[:3]  # an empty line may come in two pieces
        found = first.find(b"\r\n\r\n") if self._tail else -1
        end = found + 4 - len(self._tail) if found >= 0 else 0
        while at < len(data) and not self.whole:
            if end <= at:
                found = data.find(b"\r\n\r\n", at)
                end = len(data) if found < 0 else found + 4
            parser.feed_data(data[at:end])
            at = end
        self._tail = (self._tail + data)[-3:]
        if self._wire > AROUND * self.got + self._head:  # chunks of nothing much, or trailers without end
            raise httptools.HttpParserError("too much around the body")
        return data[at:]

    def add(self, data: bytes) -> None:
        self.chunks.append(data)
        self.got += len(data)

    def take(self) -> bytes:
        """The whole body, once."""
        body = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks = []
        return body

    def too_long(self) -> None:
        self.breaks(413, "body_too_large", f"The body is longer than {self.most} bytes.")

    def breaks(self, status: int, code: str, message: str) -> None:
        if self.bad is None:
            self.bad, self.chunks = BodyRefused(status, code, message), []
