"""Text on disk to ids on disk: read, without what stands there twice, divided into two sides, written as ids.

    files, folders ─parts→ Part: licence, source ─reading→ documents ─spool→ on disk
        ─clean→ the same, nearly the same, paragraphs that many share: once
        ─sides→ learned from | held out, by a keyed hash of each document
        ─tokenizer→ trained on the one side, or taken      ─packing→ train.npy, held_out.npy

    parts.py     what was given          licence.py   whose it is         spool.py     documents on disk
    opened.py    packed, archives        text.py      bytes to text       sameness.py  what is there twice
    reading.py   a file to documents     gather.py    all of them         sides.py     which are held out
    kept.py      found again by its key  clean.py     the spool, cleaned  packing.py   ids

A piece of text of 256 kB, a row or a batch of ids is held at a time; besides, about 100 bytes a document, and the words
of the 64 MB that a tokenizer is trained on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from freehold.errors import BadSetting, CorpusUnusable
from freehold.project.storage import sha256_file
from freehold.tell import Tell, quiet
from freehold.train import tokenizer as tokenizers
from freehold.train.corpus import kept
from freehold.train.corpus.clean import Clean, clean
from freehold.train.corpus.gather import Met, gather, told
from freehold.train.corpus.looked import looked
from freehold.train.corpus.packing import Packed, Texts, pack
from freehold.train.corpus.parts import Given, parts_of
from freehold.train.corpus.sides import sides
from freehold.train.corpus.spool import Spool
from freehold.train.nouns import Corpus, PartCounts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["CONTEXT", "prepare"]

CONTEXT = 64  # ids that each side holds at least
SAMPLE = 64 << 20  # bytes of text that a tokenizer is trained on
CHECKED, CHECKED_SIZE = 200, 2000  # texts, characters


def prepare(
    given: Sequence[Path | str],
    work: Path,
    *,
    tokenizer: str = "bpe",
    vocabulary: int | None = None,
    field: str = "text",
    licences: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    context: int = CONTEXT,
    seed: int = 0,
    tell: Tell = quiet,
) -> Corpus:
    """The corpus of these files and folders, in a folder of its own in `work`; one that was made before is found again.

    `tokenizer`: bpe, characters or a folder. `licences` and `sources` of parts, by name or path, go before what lies
    beside them. `seed` draws the order in which documents are written. Each side has at least `context` ids.
    Raises CorpusUnusable, BadSetting, StorageFailed, MissingExtra.
    """
    parts = parts_of(given, licences=licences or {}, sources=sources or {})
    sums = kept.part_sums(parts, tell)
    folder = work / kept.key_of(parts, sums, [field, seed, *_asked(tokenizer, vocabulary)])[:16]
    corpus = kept.find(folder, parts) or _make(folder, parts, sums, tokenizer, vocabulary, field, seed, tell)
    _enough(corpus, context)
    for why in corpus.why:
        tell(why)
    return corpus


def _asked(tokenizer: str, vocabulary: int | None) -> list[str | int]:
    """What is asked of the tokenizer, as the key has it. Raises BadSetting, CorpusUnusable."""
    if tokenizer == "bpe":
        if vocabulary is not None and not tokenizers.LEAST <= vocabulary <= 1 << 20:
            raise BadSetting(f"The vocabulary is {vocabulary}.", f"Give {tokenizers.LEAST} to 1,048,576.")
        return ["bpe", vocabulary or 0]
    if vocabulary is not None:
        raise BadSetting(
            f"--vocabulary is given beside --tokenizer {tokenizer}, which has its own size.", "Leave it out."
        )
    if tokenizer == "characters":
        return ["characters"]
    path = Path(tokenizer) / "tokenizer.json"
    if not path.is_file():
        raise CorpusUnusable(
            f"--tokenizer is {tokenizer!r}, and there is no {path}.",
            "Give bpe, characters, or a folder with a tokenizer.json.",
        )
    return ["folder", sha256_file(path)]


def _make(
    folder: Path, parts: Sequence[Given], sums: Sequence[str], tokenizer: str, vocabulary: int | None, field: str,
    seed: int, tell: Tell,
) -> Corpus:  # fmt: skip
    with kept.making(folder) as aside:
        (aside / "spool").mkdir()
        with Spool(aside / "spool") as spool:
            met = gather(parts, spool, field, tell)
        left = clean(spool, len(parts), tell)
        said = sides(left.rows["one"], left.rows["size"])
        text = Texts(left, said)
        made, why = _tokenizer(tokenizer, vocabulary, text, aside / "tokenizer", tell)
        end, size = tokenizers.end_of(made, aside / "tokenizer"), tokenizers.size_of(made)
        packed = pack(text, made, end, size, aside, seed, tell)
        counts = tuple(_counts(i, parts, sums, met, left) for i in range(len(parts)))
        whys = (*_left_out(parts, met, counts, field), said.why, why, looked(text))
        shutil.rmtree(aside / "spool")
        corpus = _corpus(aside, counts, packed, size, end, whys)
        kept.keep(corpus)
    found = kept.find(folder, parts)
    assert found is not None  # it was written just now
    return found


def _corpus(
    folder: Path, counts: tuple[PartCounts, ...], packed: Packed, vocabulary: int, end: int, why: tuple[str, ...]
) -> Corpus:
    return Corpus(
        parts=counts,
        folder=folder,
        vocabulary=vocabulary,
        end=end,
        tokens=packed.tokens,
        held_out_tokens=packed.held_out_tokens,
        held_out_bytes=packed.held_out_bytes,
        sha256=kept.corpus_sha256(folder),
        why=why,
    )


def _tokenizer(name: str, vocabulary: int | None, text: Texts, folder: Path, tell: Tell) -> tuple[Tokenizer, str]:
    tell("make the tokenizer")
    if name == "characters":
        made = tokenizers.characters({letter for pieces in text.all() for piece in pieces for letter in set(piece)})
        why = f"vocabulary {tokenizers.size_of(made):,}: the characters that occur, and three special ones"
        tokenizers.save(made, folder)
    elif name == "bpe":
        best, why = tokenizers.best_size(text.size)
        made = tokenizers.trained(_sample(text, SAMPLE), vocabulary or best)
        got = tokenizers.size_of(made)
        why = f"vocabulary {got:,}, as said" if vocabulary == got else why if got == best else _fewer(got)
        tokenizers.save(made, folder)
    else:
        made = tokenizers.open_folder(Path(name), folder)
        why = f"vocabulary {tokenizers.size_of(made):,}: that of the tokenizer that was given"
    tokenizers.check(made, [piece[:CHECKED_SIZE] for piece in _spread(text, CHECKED)], name)
    return made, why


def _fewer(got: int) -> str:
    return f"vocabulary {got:,}: there are no more pairs of tokens in this text that occur twice"


def _sample(text: Texts, most: int) -> Iterator[str]:
    """The training side, or documents evenly over it that hold about `most` bytes."""
    step = -(-text.size // most)
    order = text.train[::step]
    given = 0
    for pieces in text.learned(order):
        for piece in pieces:
            if given < most:
                yield piece
                given += len(piece)


def _spread(text: Texts, count: int) -> list[str]:
    """The first piece of so many documents, evenly over both sides; of few documents, more pieces of each."""
    number = np.unique(np.linspace(0, len(text.clean.rows) - 1, count).astype(np.int64))
    each = -(-count // len(number))
    return [piece for pieces in text.all(number) for _, piece in zip(range(each), pieces, strict=False)]


def _counts(i: int, parts: Sequence[Given], sums: Sequence[str], met: Sequence[Met], left: Clean) -> PartCounts:
    mine = left.rows["part"] == i
    return PartCounts(
        part=parts[i].part,
        documents=int(mine.sum()),
        bytes=int(left.rows["size"][mine].sum()),
        same=int(left.same[i]),
        alike=int(left.alike[i]),
        empty=met[i].empty + int(left.empty[i]),
        repeated=int(left.repeated[i]),
        skipped=met[i].seen.binary + met[i].seen.bad,
        sha256=sums[i],
    )


def _left_out(parts: Sequence[Given], met: Sequence[Met], counts: Sequence[PartCounts], field: str) -> Iterator[str]:
    for given, mine, count in zip(parts, met, counts, strict=True):
        yield from told(given, mine, field)
        twice = [
            f"{number:,} {what}"
            for number, what in (
                (count.same, "documents that stood before"),
                (count.alike, "nearly the same as one before"),
                (count.repeated, "paragraphs that many documents share"),
            )
            if number
        ]
        if twice:
            yield f"{given.part.name}: left out {', '.join(twice)}"


def _enough(corpus: Corpus, context: int) -> None:
    if min(corpus.tokens, corpus.held_out_tokens) < context:
        size = 25 * context * max(1.0, corpus.bytes_per_token) / 1000
        raise CorpusUnusable(
            f"The text gives {corpus.tokens:,} ids to learn from and {corpus.held_out_tokens:,} to hold out, and "
            f"{context} of each are needed.",
            f"Give about {max(1, round(size)):,} kB of text or more.",
        )
