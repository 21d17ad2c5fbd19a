"""Names to files: a file, a folder, a pattern, a store's URL; each file once, in order of name.

logs/                     every known suffix inside, however deep; other files are passed over
logs/2026-*.jsonl.gz      * and ? in a name, ** for folders of any depth
s3://bucket/logs/         through fsspec
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from freehold.errors import LogMissing, LogUnreadable
from freehold.traffic.files.store import Found, is_url, listed, local, shown

__all__ = ["KNOWN", "find"]

KNOWN = ".jsonl, .ndjson, .json, .csv, .tsv or .parquet, plain, .gz or .zst"
NAME = re.compile(r"\.(jsonl|ndjson|json|csv|tsv|parquet)([.-][\d.-]+)?(\.(gz|zst))?$", re.I)  # x.jsonl.1.gz too
ASK = "Check the name; give a log file or a folder of them."
TWICE = "A log is gone over more than once: save it to a file first."


def find(paths: Sequence[Path | str]) -> list[Found]:
    """The files of a log. Raises LogMissing or LogUnreadable."""
    if not paths:
        raise LogMissing("No log was given.", f"Give a log file ({KNOWN}), or a folder of them.")
    found: dict[str, Found] = {}
    for path in paths:
        for file in _of(local(str(path))):
            found.setdefault(file.path if is_url(file.path) else os.path.realpath(file.path), file)
    _alone(list(found.values()))
    return list(found.values())


def _of(path: str) -> list[Found]:
    if is_url(path):
        there = listed(path)
        return [there] if isinstance(there, Found) else _known(there, path)
    if path == "-":
        raise LogMissing("A log isn't read from standard input.", TWICE)
    try:
        if os.path.isdir(path):
            return _known([_file(inside) for inside in sorted(_inside(path, set()))], path)
        if not os.path.lexists(path) and glob.has_magic(path):
            return _matching(path)
        return [_file(path)]
    except OSError as error:
        where = error.filename or path
        raise LogUnreadable(f"Can't read {where}: {error.strerror}.", "Check its permissions.") from None


def _inside(folder: str, above: set[tuple[int, int]]) -> Iterable[str]:
    """The files in a folder, and in those inside; a link back to a folder that was seen is not followed."""
    info = os.stat(folder)
    if (info.st_dev, info.st_ino) in above:
        return
    above.add((info.st_dev, info.st_ino))
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    for entry in inside:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _inside(entry.path, above)
        elif NAME.search(entry.name):
            yield entry.path


def _matching(pattern: str) -> list[Found]:
    matches = sorted(glob.glob(pattern, recursive=True))
    files = [name for name in matches if not os.path.isdir(name)]
    if not matches:
        raise LogMissing(f"No file matches {pattern}.", ASK)
    if not files:
        return [file for folder in matches for file in _of(folder)]
    named = [name for name in files if NAME.search(name)]
    return [_file(name) for name in named or files]


def _file(path: str) -> Found:
    """One file of this machine; raises what keeps it from being read."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise LogMissing(f"{path} is a link to a file that is not there.", ASK) from None
        raise LogMissing(f"There is no file or folder {path}.", ASK) from None
    except OSError as error:
        if os.path.islink(path) and error.strerror != os.strerror(13):
            raise LogMissing(f"{path} is a link that leads back to itself.", ASK) from None
        raise
    if stat.S_ISFIFO(info.st_mode):
        raise LogUnreadable(f"{path} is a pipe.", TWICE)
    if not stat.S_ISREG(info.st_mode):
        raise LogUnreadable(f"{path} is a device or a socket, not a file.", TWICE)
    return Found(path, info.st_size)


def _known(files: Sequence[Found], folder: str) -> list[Found]:
    known = sorted((file for file in files if NAME.search(file.path)), key=lambda file: file.path)
    if not known:
        raise LogMissing(f"{shown(folder)} is a folder without a log file.", f"Known are {KNOWN}.")
    return known


def _alone(files: Sequence[Found]) -> None:
    """A file beside itself packed would count twice."""
    names = {shown(file.path): file for file in files}
    for name in names:
        base = re.sub(r"\.(gz|zst)$", "", name)
        twins = [other for other in (base, f"{base}.gz", f"{base}.zst") if other in names]
        if len(twins) > 1:
            one, other = (twin.rpartition("/")[2] for twin in twins[:2])
            raise LogUnreadable(
                f"{base.rpartition('/')[0] or '.'} holds {other} beside {one}, so its calls would count twice.",
                "Move one of the two away.",
            )
