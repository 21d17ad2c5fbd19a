"""A corpus that was made ready, found again.

    work/<key>/  train.npy  held_out.npy  tokenizer/  corpus.json

The key is over the contents of the files given (of a URL: its name and size), the field, the tokenizer asked for and
the seed. The folder is made under another name, and has its own only when it is whole; what a killed run left is swept.
Licences and sources are no part of the key: they are those that are said now.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from freehold.project.storage import guarded, pretty, read_bytes, sha256_file, sync_folder, write_atomic
from freehold.tell import Tell
from freehold.traffic.files.store import is_url
from freehold.train.corpus.opened import reading
from freehold.train.corpus.parts import File, Given
from freehold.train.nouns import Corpus

__all__ = ["corpus_sha256", "find", "keep", "key_of", "making", "part_sums"]

VERSION = 1
IDS = ("train.npy", "held_out.npy")


def part_sums(parts: Sequence[Given], tell: Tell) -> list[str]:
    """A sha256 over the files of each part."""
    whole = max(1, sum(file.size for given in parts for file in given.files))
    passed, found = 0, []
    for given in parts:
        sums = hashlib.sha256()
        for file in given.files:
            tell("look at the files", passed / whole)
            sums.update(f"{file.name}\0{file.kind}\0{_sum(file)}\n".encode())
            passed += file.size
        found.append(sums.hexdigest())
    return found


def _sum(file: File) -> str:
    if is_url(file.path):
        return f"{file.path} {file.size}"
    with reading(file):
        return sha256_file(Path(file.path))


def key_of(parts: Sequence[Given], sums: Sequence[str], asked: Sequence[Any]) -> str:
    names = [given.part.name for given in parts]
    return hashlib.sha256(msgspec.json.encode([VERSION, names, list(sums), list(asked)])).hexdigest()


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """A folder to work in, which is `folder` once all has gone well. Raises StorageFailed."""
    aside = folder.with_name(f".{folder.name}.tmp")
    with guarded(folder):
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)  # it was there, and not whole
        aside.mkdir(parents=True)
        try:
            yield aside
            aside.rename(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def corpus_sha256(folder: Path) -> str:
    """Over the ids and the tokenizer's files."""
    sums = hashlib.sha256()
    for path in [*(folder / name for name in IDS), *sorted((folder / "tokenizer").iterdir())]:
        sums.update(f"{path.name} {sha256_file(path)}\n".encode())
    return sums.hexdigest()


def keep(corpus: Corpus) -> None:
    write_atomic(corpus.folder / "corpus.json", pretty(msgspec.to_builtins(corpus, enc_hook=str)))


def find(folder: Path, parts: Sequence[Given]) -> Corpus | None:
    """What an earlier run left there whole, with the licences that are said now."""
    if not (folder / "corpus.json").is_file():
        return None
    try:
        found: Corpus = msgspec.json.decode(
            read_bytes(folder / "corpus.json"), type=Corpus, dec_hook=lambda kind, value: kind(value)
        )
        whole = found.sha256 == corpus_sha256(folder)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, OSError):
        return None  # not whole: it is made again
    if not whole:
        return None
    counts = tuple(replace(count, part=given.part) for count, given in zip(found.parts, parts, strict=True))
    return replace(found, folder=folder, parts=counts)
