"""How rows hold together: each ends with its number and a sum over itself and the row before.

    {"timestamp": ..., "request": ..., "response": ..., "freehold": {..., "seq": 7, "chain": "9f86d081884c7d65…"}}
     └───────────────────────────── body ──────────────────────────────────────┘

chain = the first 32 hex digits of sha256(chain of the row before + body). The first row of a file goes on from nothing,
or from the last row of the file before, whose chain it names: "prev". A row whose bytes changed, one that is missing
and two that changed places break the chain; it holds no key, so it finds damage, not somebody who writes a new chain.
"""

from __future__ import annotations

import hashlib

__all__ = ["HEX", "body_of", "chained"]

HEX = 32
HEAD, END = b',"chain":"', b'"}}\n'
TAIL = len(HEAD) + HEX + len(END)


def chained(body: bytes, previous: bytes) -> tuple[bytes, bytes]:
    """The whole line of a body that lacks its last two braces, and its chain."""
    link = hashlib.sha256(previous + body).hexdigest()[:HEX].encode()
    return body + (HEAD + link + END), link


def body_of(line: bytes) -> tuple[bytes, bytes]:
    """Body and chain of a line; both empty where it has none."""
    if line[-TAIL:].startswith(HEAD) and line.endswith(END):
        return line[:-TAIL], line[-TAIL + len(HEAD) : -len(END)]
    return b"", b""
