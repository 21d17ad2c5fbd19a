"""Where bytes lie: this machine's files, and object stores through fsspec (s3://, gs://, az://, https://, memory://).

A store is asked in one place, so that whatever it raises becomes one sentence. A URL may carry a key in its query or
before its host: `shown` is what is said of it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from freehold.errors import FreeholdError, LogMissing, LogUnreadable, MissingExtra

__all__ = ["Found", "is_url", "listed", "local", "open_raw", "shown"]

BLOCK = 8 << 20  # bytes asked of a store at a time


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a log. `splits`: it can be read from any byte on."""

    path: str
    size: int
    splits: bool = True


def is_url(path: str) -> bool:
    return "://" in path


def local(path: str) -> str:
    """file:///logs/x.jsonl as the path that it is."""
    return unquote(urlsplit(path).path) if path.startswith("file://") else path


def shown(path: str) -> str:
    """A path as it may be said: a URL without user, password, query and fragment."""
    if not is_url(path):
        return path
    parts = urlsplit(path)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Each store raises its own errors; here they become ours."""
    try:
        yield
    except FreeholdError:
        raise
    except FileNotFoundError:
        raise LogMissing(f"There is no {shown(url)}.", "Check the name, and who may read it.") from None
    except ImportError:
        scheme = urlsplit(url).scheme
        raise MissingExtra(f"Reading {scheme}:// needs a further package.", _install(scheme)) from None
    except Exception as error:  # noqa: BLE001  a store's own error may name keys: its type alone is said
        said = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
        raise LogUnreadable(f"Can't read {shown(url)}: {said}.", "Check the address, and who may read it.") from None


def _install(scheme: str) -> str:
    package = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}.get(scheme)
    return "pip install 'freehold[remote]'" + (f" {package}" if package else "")


def _store(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    try:
        import fsspec
    except ImportError:
        scheme = urlsplit(url).scheme
        raise MissingExtra(f"Reading {scheme}:// needs the package fsspec.", _install(scheme)) from None
    scheme = urlsplit(url).scheme
    if scheme not in fsspec.available_protocols():
        raise LogMissing(f"There is no store {scheme}://.", "Known: s3://, gs://, az://, https://, file://.")
    store, path = fsspec.url_to_fs(url)
    return store, path


def listed(url: str) -> list[Found] | Found:
    """The files that a URL names (a folder or a pattern: a list), each with its size."""
    with _asking(url):
        store, path = _store(url)
        web = _web(url)  # a question mark is a query there, and a folder has no list
        if not web and any(sign in path for sign in "*?["):
            return [_found(store, info) for info in store.glob(path, detail=True).values() if info["type"] == "file"]
        if not web and store.isdir(path):
            return [_found(store, info) for info in store.find(path, detail=True).values()]
        info = store.info(path)
        return Found(url, info.get("size") or 0, _ranged(url, info))


def _web(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


def _ranged(url: str, info: dict[str, Any]) -> bool:
    """Does the store give a file from any byte on? A web server may know its size and give it as a whole only."""
    return bool(info.get("size")) and (not _web(url) or bool(info.get("partial")))


def _found(store: Any, info: dict[str, Any]) -> Found:
    return Found(store.unstrip_protocol(info["name"]), info.get("size") or 0, bool(info.get("size")))


class _Remote(io.RawIOBase):
    """A store's file, whose errors are ours."""

    def __init__(self, url: str) -> None:
        self.url = url
        with _asking(url):
            store, path = _store(url)
            self.ranged = _ranged(url, store.info(path))
            self.file = store.open(path, "rb", block_size=BLOCK if self.ranged else 0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.ranged

    def readinto(self, buffer: Any) -> int:
        with _asking(self.url):
            data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        with _asking(self.url):
            return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def close(self) -> None:
        if not self.closed:
            self.file.close()
        super().close()


def open_raw(path: str) -> io.BufferedReader:
    """Open a file's bytes, as they lie there. Raises LogUnreadable."""
    if is_url(path):
        return io.BufferedReader(_Remote(path), 1 << 20)
    try:
        return io.BufferedReader(io.FileIO(path), 1 << 18)
    except FileNotFoundError:
        raise LogUnreadable(
            f"{path} is gone; it was there when the run began.", "Read a copy that nobody moves meanwhile."
        ) from None
    except OSError as error:
        raise LogUnreadable(f"Can't read {path}: {error.strerror}.", "Check its permissions.") from None
