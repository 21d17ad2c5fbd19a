"""Bytes to text, piece by piece: UTF-8, UTF-16 by its mark, Windows-1252 for lines that are neither; or no text at all.

    b"... and so to bed.\\nUp and to ..."  ─→  "... and so to bed."  "\\nUp and to ..."

A piece ends before white space, at the end of a line where there is one near: so a tokenizer that splits as GPT-2's
does gives the same ids for the pieces as for the whole.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from typing import IO

__all__ = ["PIECE", "Binary", "cut", "looks_binary", "markup_text", "pieces_in", "plain_text", "row_text"]

PIECE = 256 << 10  # bytes of text at a time, about
NEAR = 8 << 10  # bytes back from the end of a piece in which a place to cut is looked for
CONTROL = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f]")
AT_LINE = re.compile(rb"[^\s](?=\r?\n)")
AT_BLANK = re.compile(rb"[^\s](?=\s)")
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Binary(Exception):
    """What is read is no text."""


def looks_binary(head: bytes) -> bool:
    """A zero byte, or more than one in a hundred that steers a terminal."""
    head = head[: 8 << 10]
    return b"\0" in head or len(CONTROL.findall(head)) * 100 > len(head)


def plain_text(stream: IO[bytes], odd: list[bool]) -> Iterator[str]:
    """The text of a stream; `odd` gets an entry where some of it was not UTF-8. Raises Binary before any piece."""
    head = stream.read(PIECE)
    if head.startswith(UTF16):
        yield from _pieces(_recoded(head, stream), odd)
        return
    if looks_binary(head):
        raise Binary
    yield from _pieces(_blocks(head.removeprefix(codecs.BOM_UTF8), stream), odd)


def _blocks(head: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    yield head
    while block := stream.read(PIECE):
        yield block


def _recoded(head: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    decode = codecs.getincrementaldecoder("utf-16")("replace").decode
    for block in _blocks(head, stream):
        yield decode(block).encode()
    yield decode(b"", True).encode()


def row_text(text: str) -> Iterator[str]:
    """The pieces of a text that is at hand."""
    data = memoryview(text.encode("utf-8", "replace"))
    yield from _pieces((bytes(data[at : at + PIECE]) for at in range(0, len(data), PIECE)), [])


def pieces_in(file: IO[bytes], size: int) -> Iterator[str]:
    """The pieces of the next `size` bytes of UTF-8 in a file."""
    yield from _pieces((file.read(min(PIECE, size - at)) for at in range(0, size, PIECE)), [])


def _pieces(blocks: Iterable[bytes], odd: list[bool]) -> Iterator[str]:
    rest = b""
    for block in blocks:
        data = rest + block
        if len(data) < PIECE:
            rest = data
            continue
        at = cut(data)
        yield _decoded(data[:at], odd)
        rest = data[at:]
    if rest:
        yield _decoded(rest, odd)


def cut(data: bytes) -> int:
    """Where a piece of text that goes on ends: before white space, else between two characters."""
    start = max(1, len(data) - NEAR)
    for place in (AT_LINE, AT_BLANK):
        if ends := [match.end() for match in place.finditer(data, start - 1)]:
            return ends[-1]
    at = len(data)
    while at > 1 and at > len(data) - 4 and data[at - 1] & 0xC0 == 0x80:
        at -= 1
    return at - 1 if at > 1 and data[at - 1] >= 0xC0 else len(data)


def _decoded(data: bytes, odd: list[bool]) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        odd.append(True)
        text = "".join(_line(line) for line in data.splitlines(keepends=True))
    return text.replace("\r\n", "\n")


def _line(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace")


def markup_text(pieces: Iterable[str], *, xml: bool) -> Iterator[str]:
    """What stands between the tags, a blank line between blocks; scripts and styles are left out. Of XML, what has less
    than three words: there such are codes and labels."""
    reader = _Markup(xml)
    for piece in pieces:
        reader.feed(piece)
        if reader.held >= PIECE:
            yield reader.take()
    reader.close()
    yield reader.take()


INLINE = frozenset(
    ("a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "dfn", "em", "font", "i", "kbd", "mark", "q", "s", "samp",
     "small", "span", "strong", "sub", "sup", "time", "u", "var", "wbr")
)  # fmt: skip
LOST = frozenset(("script", "style", "template", "noscript", "svg"))


class _Markup(HTMLParser):
    def __init__(self, xml: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.xml, self.held = xml, 0
        self._lost = 0
        self._block: list[str] = []
        self._blocks: list[str] = []

    def set_cdata_mode(self, elem: str, **how: bool) -> None:
        if not self.xml:  # a <script> of XML holds elements like any other
            super().set_cdata_mode(elem, **how)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._lost += not self.xml and tag in LOST
        self._between(tag)

    def handle_endtag(self, tag: str) -> None:
        self._lost = max(0, self._lost - (not self.xml and tag in LOST))
        self._between(tag)

    def handle_data(self, data: str) -> None:
        if not self._lost:
            self._block.append(data)

    def unknown_decl(self, data: str) -> None:
        if data.startswith("CDATA["):
            self.handle_data(data[6:])

    def handle_comment(self, data: str) -> None:  # CDATA, of later Pythons
        if data.startswith("[CDATA["):
            self.handle_data(data[7:].removesuffix("]]"))

    def _between(self, tag: str) -> None:
        if self.xml or tag not in INLINE:
            self._end()

    def _end(self) -> None:
        text = "".join(self._block)
        self._block = []
        lines = [re.sub(r"[ \t\r\f\v]+", " ", line).strip() for line in text.strip().split("\n")]
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
        if text and not (self.xml and len(text.split()) < 3):
            self._blocks.append(text + "\n\n")
            self.held += len(text)

    def close(self) -> None:
        super().close()
        self._end()

    def take(self) -> str:
        said, self._blocks, self.held = "".join(self._blocks), [], 0
        return said
