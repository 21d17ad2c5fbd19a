"""The spool without what stands in it twice.

text, rows ─same─→ ─shared paragraphs out─→ clean, rows ─alike─→ what is learned from or held out
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from freehold.tell import Tell
from freehold.train.corpus.sameness import EACH, GROUPS, Prints, alike, same, shared
from freehold.train.corpus.spool import Rows, Spool, paragraphs, texts

__all__ = ["Clean", "clean"]

LOOK = "look for what stands there twice"
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clean:
    """`rows` of `path`, the documents that are kept; `same`, `alike`, `repeated` and `empty` by part."""

    path: Path
    rows: Rows
    same: Ints
    alike: Ints
    repeated: Ints
    empty: Ints


def clean(spool: Spool, parts: int, tell: Tell) -> Clean:
    tell(LOOK, 0.0)
    rows = spool.rows()
    again = same(rows)
    kept = rows[~again]
    path, kept, repeated = _without_shared(spool, kept, parts)
    full = kept["size"] > 0
    left = kept[full]
    near = _near(path, left, spool.folder / "prints", tell)
    tell(LOOK, 1.0)
    return Clean(
        path, left[~near], _count(rows, again, parts), _count(left, near, parts), repeated, _count(kept, ~full, parts)
    )


def _count(rows: Rows, which: npt.NDArray[np.bool_], parts: int) -> Ints:
    return np.bincount(rows["part"][which], minlength=parts)


def _without_shared(spool: Spool, rows: Rows, parts: int) -> tuple[Path, Rows, Ints]:
    """The documents with each shared paragraph where it stands first and nowhere else."""
    digests = shared(spool.folder / "paragraphs")
    repeated = np.zeros(parts, dtype=np.int64)
    if not digests:
        return spool.folder / "text", rows, repeated
    met: set[bytes] = set()
    rows = rows.copy()
    at = 0
    with (spool.folder / "text").open("rb") as text, (spool.folder / "clean").open("wb") as out:
        for number, pieces in texts(text, rows, range(len(rows))):
            start, lost = at, [0]
            words = False
            for piece in pieces:
                said = "".join(_firsts(piece, digests, met, lost))
                words = words or bool(said.strip())
                at += out.write(said.encode())
            repeated[rows["part"][number]] += lost[0]
            rows["at"][number], rows["size"][number] = start, at - start if words else 0
    (spool.folder / "text").unlink()
    return spool.folder / "clean", rows, repeated


def _firsts(piece: str, digests: frozenset[bytes], met: set[bytes], lost: list[int]) -> Iterator[str]:
    """A piece without the shared paragraphs that were met before, nor what stood between them and the next."""
    dropped = False
    for number, (digest, text) in enumerate(paragraphs(piece)):
        if number % 2:
            if not dropped:
                yield text
            continue
        dropped = digest in digests and digest in met
        lost[0] += dropped
        if not dropped:
            met.update({digest} & digests)
            yield text


def _near(path: Path, rows: Rows, where: Path, tell: Tell) -> npt.NDArray[np.bool_]:
    if len(rows) < 2:
        return np.zeros(len(rows), dtype=np.bool_)
    prints, of = np.memmap(where, np.uint32, "w+", shape=(len(rows), GROUPS * EACH)), Prints()
    with path.open("rb") as text:
        for number, pieces in texts(text, rows, range(len(rows))):
            prints[number] = of.of(pieces)
            if number % 500 == 0:
                tell(LOOK, number / len(rows))
    return alike(prints)
