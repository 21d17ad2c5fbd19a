"""A file's bytes unpacked, within bounds: gzip, Zstandard (as a log's are), bzip2, xz; and the files in an archive.

What a small file unpacks to is bounded: RATIO times what was read of it, text packs 20 times at most. Nothing of an
archive is written under its own names: its members are read one after the other, and links, devices, locked members
and names that lead out of it are passed over and counted.
"""

from __future__ import annotations

import bz2
import io
import lzma
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from freehold.errors import CorpusUnusable, FreeholdError
from freehold.traffic.files.store import open_raw, shown
from freehold.traffic.files.unpack import Unpacked, packing_of
from freehold.train.corpus.parts import File

__all__ = ["RATIO", "members", "opened", "reading", "unpacked"]

RATIO = 200  # bytes out for a byte read; more is no text
FREE = 64 << 20  # bytes that may come out whatever was read
BITE = 16 << 10  # packed bytes at a time
XZ_MEMORY = 256 << 20  # a dictionary may claim 4 GB
MAGIC = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
Reader = io.BufferedReader


@contextmanager
def reading(file: File) -> Iterator[None]:
    """What goes wrong while a file is read, as one sentence. Raises CorpusUnusable."""
    try:
        yield
    except FreeholdError:
        raise
    except (OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        said = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise CorpusUnusable(
            f"{shown(file.path)} is cut off, damaged or can't be read: {said}.", "Fetch it again, or leave it out."
        ) from error


@contextmanager
def opened(file: File) -> Iterator[Reader]:
    """The plain bytes of a file."""
    with open_raw(file.path) as raw:
        yield unpacked(raw, file.path)


def unpacked(raw: Any, name: str) -> Reader:
    """The plain bytes of a stream that may be packed."""
    packed = raw if isinstance(raw, Reader) else Reader(raw, 1 << 18)
    packing = _packing(packed.peek(16)[:16])
    if packing == "plain":
        return packed
    inner: Any = Unpacked(packed, packing) if packing in ("gzip", "zstd") else _Unpacked(packed, packing)
    return Reader(_Bounded(inner, name), 1 << 18)


def _packing(head: bytes) -> str:
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None) or packing_of(head)


def members(file: File, passed: Counter[str]) -> Iterator[tuple[str, Reader]]:
    """The files in an archive, in its order, each to be read before the next is asked for."""
    with open_raw(file.path) as raw:
        if raw.peek(4)[:4] == b"PK\x03\x04":
            yield from _zipped(raw, file, passed)
            return
        stream = unpacked(raw, file.path)
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for info in tar:
                if not info.isfile() or not _safe(info.name):
                    if not info.isdir():
                        passed["link, device or path that leads out"] += 1
                    continue
                inner = tar.extractfile(info)
                assert inner is not None  # it is a file
                yield info.name, unpacked(inner, f"{file.path}:{info.name}")


def _zipped(raw: Reader, file: File, passed: Counter[str]) -> Iterator[tuple[str, Reader]]:
    with zipfile.ZipFile(raw) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            if not _safe(info.filename) or info.flag_bits & 1 or (info.external_attr >> 28) == 0xA:
                passed["link, locked or path that leads out"] += 1
                continue
            if info.file_size > FREE and info.file_size > RATIO * max(1, info.compress_size):
                raise _bomb(f"{file.path}:{info.filename}")
            with archive.open(info) as inner:  # gives file_size bytes at most, and checks their sum
                yield info.filename, unpacked(inner, f"{file.path}:{info.filename}")


def _safe(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]


def _bomb(name: str) -> CorpusUnusable:
    return CorpusUnusable(
        f"{shown(name)} unpacks to more than {RATIO} times its size, which is no text.", "Unpack it and look inside."
    )


class _Bounded(io.RawIOBase):
    """A stream that ends with an error where much more comes out of it than goes in."""

    def __init__(self, inner: Any, name: str) -> None:
        self.inner, self.name, self.out = inner, name, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        n = int(self.inner.readinto(buffer))
        self.out += n
        if self.out > FREE and self.out > RATIO * self.inner.fed:
            raise _bomb(self.name)
        return n


class _Unpacked(io.RawIOBase):
    """bzip2 and xz of any number of streams; `fed` counts the packed bytes that were read."""

    def __init__(self, raw: Reader, packing: str) -> None:
        self.raw, self.packing, self.fed = raw, packing, 0
        self._unpacker: Any = None
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            need = self._unpacker is None or self._unpacker.needs_input
            packed = (self._left or self._read()) if need else b""
            self._left = b"" if need else self._left
            if self._unpacker is None:
                if not packed.strip(b"\0"):
                    return 0  # the end, or padding
                self._unpacker = self._new()
            elif need and not packed:
                raise EOFError("it ends in the middle")
            out = self._unpacker.decompress(packed, len(buffer))
            if self._unpacker.eof:
                self._left, self._unpacker = self._unpacker.unused_data, None
            if out:
                buffer[: len(out)] = out
                return len(out)

    def _read(self) -> bytes:
        packed = self.raw.read(BITE)
        self.fed += len(packed)
        return packed

    def _new(self) -> Any:
        return bz2.BZ2Decompressor() if self.packing == "bzip2" else lzma.LZMADecompressor(memlimit=XZ_MEMORY)
