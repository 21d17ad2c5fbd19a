"""What was given, as parts: each has one licence and one source, and files in a fixed order.

    texts/                       part "texts"       the files that lie in no part below
    ├── notes.txt
    └── pepys/                   part "pepys"       a folder with a LICENSE, COPYING or SOURCE file is a part of its own
        ├── SOURCE.md
        └── diary.tar.gz
    s3://bucket/rows.parquet     part "rows"

A file's kind follows from its name: text, markup (HTML, XML), lines (JSON), document (JSON), parquet, archive. A file
that is given by its own name is text where its name says nothing; in a folder it is passed over, and counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from freehold.errors import BadSetting, CorpusUnusable
from freehold.traffic.files.store import Found, is_url, listed, local, shown
from freehold.train.corpus.licence import ABOUT, SAYS, UNKNOWN, licence_in, source_in
from freehold.train.nouns import Part

__all__ = ["KINDS", "KNOWN", "File", "Given", "kind_of", "parts_of"]

KINDS = {
    "text": "txt text md markdown rst adoc org tex log srt vtt "
    "py js ts c h cc cpp hpp java go rs rb php sh sql r jl lua",
    "markup": "html htm xhtml xml",
    "lines": "jsonl ndjson",
    "document": "json",
    "parquet": "parquet",
    "archive": "tar tgz tbz2 txz zip",
}
OF = {suffix: kind for kind, suffixes in KINDS.items() for suffix in suffixes.split()}
PACKED = re.compile(r"\.(gz|zst|bz2|xz)$", re.I)
KNOWN = (
    "text (.txt, .md, .rst, source code), .html, .xml, .jsonl, .json, .parquet; plain, .gz, .zst, .bz2 or .xz; "
    "in .tar or .zip"
)
SPDX = re.compile(r"^[A-Za-z0-9.+:()\- ]{1,200}$")


@dataclass(frozen=True, slots=True)
class File:
    """`name`: as it is called in messages and in the corpus's key, without the machine's own folders."""

    path: str
    name: str
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class Given:
    """`passed`: files in its folders of a kind that isn't read, by suffix. `where`: as it was given, or found below."""

    part: Part
    files: tuple[File, ...]
    passed: Mapping[str, int]
    where: str


def kind_of(name: str) -> str | None:
    """By the name, packed or not; None for one that isn't known."""
    return OF.get(PACKED.sub("", name).rpartition(".")[2].lower())


def parts_of(
    given: Sequence[Path | str], *, licences: Mapping[str, str], sources: Mapping[str, str]
) -> tuple[Given, ...]:
    """The parts of a corpus, named apart. Raises CorpusUnusable, BadSetting; of a URL what traffic.files does."""
    if not given:
        raise CorpusUnusable("No text was given.", f"Give files or folders: {KNOWN}.")
    found: dict[str, Given] = {}
    for one in given:
        for part in _parts(local(str(one))):
            found.setdefault(part.where if is_url(part.where) else os.path.realpath(part.where), part)
    named = _apart(list(found.values()))
    said = _said(named, licences, "--licence"), _said(named, sources, "--source")
    for licence in licences.values():
        if not SPDX.match(licence):
            raise BadSetting(f"{licence[:60]!r} is no licence.", "Give its SPDX id, such as CC-BY-4.0, or own.")
    return tuple(_with(part, *(each.get(part.part.name, "") for each in said)) for part in named)


def _with(given: Given, licence: str, source: str) -> Given:
    part = given.part
    told = replace(part, licence=licence or part.licence, source=source or part.source)
    return replace(given, part=told)


def _said(parts: Sequence[Given], said: Mapping[str, str], flag: str) -> dict[str, str]:
    """What a person says of each part, by its name: of its name, its path, or the nearest folder above it."""
    found: dict[str, tuple[int, str]] = {}
    for key, value in said.items():
        where = os.path.realpath(local(key))
        hits = [p.part.name for p in parts if key == p.part.name or _inside(p.where, key, where)]
        if not hits:
            known = ", ".join(p.part.name for p in parts[:20])
            raise BadSetting(f"{flag} names {key}, which is no part of this text.", f"Its parts: {known}.")
        for name in hits:
            weight = 1 << 30 if key == name else len(where)
            if weight >= found.get(name, (0, ""))[0]:
                found[name] = weight, value
    return {name: value for name, (_, value) in found.items()}


def _inside(path: str, key: str, where: str) -> bool:
    if is_url(path) or is_url(key):
        return path == key
    real = os.path.realpath(path)
    return real == where or real.startswith(where.rstrip("/") + "/")


def _apart(parts: list[Given]) -> list[Given]:
    """Each with a name of its own: two of the same get their folder's before it, then a number."""
    taken: set[str] = set()
    named: list[Given] = []
    for one in parts:
        name = one.part.name
        if name in taken:
            name = f"{one.part.path.parent.name}/{name}"
        number = 2
        while name in taken:
            name, number = f"{one.part.name}-{number}", number + 1
        taken.add(name)
        named.append(replace(one, part=replace(one.part, name=name)))
    return named


def _parts(path: str) -> list[Given]:
    if is_url(path):
        return [_remote(path)]
    if path == "-":
        raise CorpusUnusable("Text isn't read from standard input.", "Save it to a file first: it is read twice.")
    try:
        if os.path.isdir(path):
            return _folder(path)
        info = os.stat(path)
    except OSError as error:
        raise CorpusUnusable(f"Can't read {path}: {error.strerror}.", "Check the name, and who may read it.") from None
    if not os.path.isfile(path):
        raise CorpusUnusable(f"{path} is neither a file nor a folder.", "Save its text to a file first.")
    beside = Path(path).resolve().parent
    name = os.path.basename(path)
    part = Part(_stem(name), Path(path), licence_in(beside), source_in(beside))
    return [Given(part, (File(path, name, kind_of(name) or "text", info.st_size),), {}, path)]


def _stem(name: str) -> str:
    return re.sub(r"\.(tar|tgz|tbz2|txz|zip|[a-z0-9]{1,8})$", "", PACKED.sub("", name), flags=re.I) or name


def _folder(root: str) -> list[Given]:
    """The parts in a folder: itself, and each folder below that says its own licence or source."""
    homes: dict[str, list[str]] = {root: []}
    try:
        _walk(root, root, homes, set())
    except OSError as error:
        raise CorpusUnusable(f"Can't read {error.filename}: {error.strerror}.", "Check who may read it.") from None
    found = [_home(home, files) for home, files in homes.items()]
    return [given for given in found if given.files or given.passed] or [found[0]]


def _walk(folder: str, home: str, homes: dict[str, list[str]], above: set[tuple[int, int]]) -> None:
    """Files in order of name, folders too; hidden ones are passed over, and so is a link back to a folder seen."""
    info = os.stat(folder)
    if (info.st_dev, info.st_ino) in above:
        return
    above.add((info.st_dev, info.st_ino))
    with os.scandir(folder) as entries:
        inside = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    if any(SAYS.match(entry.name) and entry.is_file() for entry in inside):
        home = folder
        homes.setdefault(home, [])
    for entry in inside:
        if entry.is_dir():
            _walk(entry.path, home, homes, above)
        elif entry.is_file() and not ABOUT.match(entry.name):
            homes[home].append(entry.path)


def _home(home: str, paths: Sequence[str]) -> Given:
    files: list[File] = []
    passed: dict[str, int] = {}
    for path in paths:
        kind = kind_of(path)
        if kind is None:
            suffix = os.path.splitext(path)[1].lower() or "no suffix"
            passed[suffix] = passed.get(suffix, 0) + 1
        else:
            files.append(File(path, os.path.relpath(path, home), kind, os.path.getsize(path)))
    folder = Path(home)
    name = folder.resolve().name or "text"
    return Given(Part(name, folder, licence_in(folder), source_in(folder)), tuple(files), passed, home)


def _remote(url: str) -> Given:
    there = listed(url)
    found = [there] if isinstance(there, Found) else sorted(there, key=lambda file: file.path)
    files = [File(f.path, shown(f.path).rpartition("/")[2], kind_of(shown(f.path)) or "", f.size) for f in found]
    if isinstance(there, Found):
        files = [File(f.path, f.name, f.kind or "text", f.size) for f in files]
    name = _stem(shown(url).rstrip("/").rpartition("/")[2]) or "text"
    part = Part(name, Path(shown(url)), UNKNOWN, shown(url))
    return Given(part, tuple(f for f in files if f.kind), {}, url)
