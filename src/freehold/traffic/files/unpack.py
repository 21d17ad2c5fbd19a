"""Packed bytes as plain ones: gzip of many members, Zstandard of many frames, cut off ones up to the cut.

What stands before a cut or a damaged place is given first, the error after it (of Zstandard, up to 2 kB before a
damaged place are lost with it). Memory stays bounded whatever the file claims: a bite of
packed bytes unpacks to 17 MB at most (gzip packs 1032:1) or 64 MiB (a Zstandard block of 4 bytes gives 128 KiB).
"""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from typing import Any

__all__ = ["Unpacked", "packing_of"]

BITES = {"gzip": 16 << 10, "zstd": 2 << 10}
SKIPPABLE = b"\x2a\x4d\x18"  # a Zstandard frame without data; its first byte is 0x50 to 0x5f


def packing_of(head: bytes) -> str:
    """plain, gzip or zstd, by a file's first bytes."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == SKIPPABLE and head[0] & 0xF0 == 0x50):
        return "zstd"
    return "plain"


def _unpacker(packing: str) -> Any:
    if packing == "gzip":
        return zlib.decompressobj(wbits=31)
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj()


def _errors() -> tuple[type[Exception], ...]:
    import zstandard

    return zlib.error, zstandard.ZstdError


def _sound(unpacker: Any, packed: bytes) -> bytes:
    """What a damaged bite of gzip holds before the damage."""
    out = io.BytesIO()
    with suppress(zlib.error):
        for i in range(len(packed)):
            out.write(unpacker.decompress(packed[i : i + 1]))
    return out.getvalue()


class Unpacked(io.RawIOBase):
    """A stream of what `raw` holds unpacked. `fed` counts the packed bytes that were read. Raises OSError where they
    are cut off or damaged."""

    def __init__(self, raw: io.BufferedReader, packing: str) -> None:
        self.raw, self.packing, self.fed = raw, packing, 0
        self._bite = BITES[packing]
        self._unpacker: Any = None
        self._left = b""  # packed bytes behind the end of a member
        self._wrong: OSError | None = None  # to be raised once what stands before it is given
        self._out = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._out:
            if self._wrong is not None:
                raise self._wrong
            packed = self._left or self.raw.read(self._bite)
            if not packed:
                if self._unpacker is not None:
                    raise OSError("it ends in the middle")
                return 0
            self.fed += 0 if self._left else len(packed)
            self._left = b""
            self._out = memoryview(self._unpack(packed))
        n = min(len(self._out), len(buffer))
        buffer[:n], self._out = self._out[:n], self._out[n:]
        return n

    def _unpack(self, packed: bytes) -> bytes:
        if self._unpacker is None:
            if self.packing == "gzip":
                packed = packed.lstrip(b"\0")  # padding between members, as on tapes
            if not packed:
                return b""
            self._unpacker = _unpacker(self.packing)
        before = self._unpacker.copy() if self.packing == "gzip" else None
        try:
            out: bytes = self._unpacker.decompress(packed)
        except _errors() as error:
            self._wrong = OSError(str(error))
            return _sound(before, packed) if before is not None else b""
        if self._unpacker.eof:
            self._left, self._unpacker = self._unpacker.unused_data, None
        return out
