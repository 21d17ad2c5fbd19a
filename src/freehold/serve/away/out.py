"""The way back to a client of a stream: events that are whole go out, the one with [DONE] is held back for its row.

The bytes themselves are never changed. A client that stops reading holds at most Limits.buffer_kib of them, and its
connection ends after Limits.write_seconds (http/connection.py).
"""

from __future__ import annotations

import re

from freehold.http.head import Pairs
from freehold.http.request import Request

__all__ = ["Out"]

HELD = 256 << 10  # bytes of an event that is not whole; a longer one is passed on in pieces
END = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\][ \t]*(?:[\r\n]|$)")  # a line of its own: a text may hold the words
FINISH = re.compile(rb'"finish_reason"\s*:\s*"')  # inside a text its quotes would be escaped
GAPS = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r")  # between events (WHATWG HTML, 9.2: a line ends in CRLF, LF or CR)


class Out:
    """Begins with the first bytes, so that an early failure can still be a clean status."""

    def __init__(self, request: Request, status: int, headers: Pairs) -> None:
        self.begun = False
        self.held = b""
        self.torn = False  # whether an event too long to hold was begun
        self._status = status
        self._headers = headers
        self._finish = False
        self._tail = b""
        self._request = request

    @property
    def ended(self) -> bool:
        """Whether a stream has said that it ends: [DONE], or a reason why it finished."""
        return self._finish or bool(END.search(self.held) or FINISH.search(self._tail + self.held))

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError where the client is gone or has stopped reading."""
        if not self.begun:
            self.begun = True
            await self._request.begin(self._status, self._headers)
        await self._request.write(data)

    async def events(self, chunk: bytes) -> bytes:
        """Send the events that are whole, hold the rest. Returns the piece with [DONE], which is not sent yet."""
        if not self.held and chunk.endswith(b"\n\n"):  # as nearly every chunk
            ready = chunk
        else:
            data = self.held + chunk
            end = max((at + len(gap) for gap in GAPS if (at := data.rfind(gap)) >= 0), default=0)
            ready, self.held = data[:end], data[end:]
        if b"[DONE]" in ready and END.search(ready):
            self._finish = True
            return ready
        if len(self.held) > HELD:
            ready, self.held, self.torn = data, b"", True
        if self.torn and not self._finish:
            self._finish = bool(FINISH.search(self._tail + ready))
            self._tail = (self._tail + ready)[-64:]
        elif not self._finish:  # events that are whole: no word of theirs goes on in the next
            self._finish = FINISH.search(ready) is not None
        await self.write(ready)
        return b""

    async def end(self) -> None:
        """Raises ConnectionError."""
        if not self.begun:
            await self.write(b"")
        await self._request.end()

    def abort(self) -> None:
        self._request.abort()
