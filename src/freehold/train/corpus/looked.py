"""What rules find of private data in a corpus: counted, told, and left as it stands.

looked(text) -> "private data, as rules find it in all 27 kB: 1 secret, 2 email; it is learned as it stands"

All of a text of 8 MB; of more, documents evenly over it of about that much, and how much that was is said.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from freehold.train.corpus.packing import Texts

__all__ = ["looked"]

MOST = 8 << 20  # bytes; a second or less


def looked(text: Texts, most: int = MOST) -> str:
    """One sentence, also where nothing is found."""
    from freehold.traffic.private import find

    sizes = text.clean.rows["size"]
    whole = int(sizes.sum())
    which = np.arange(0, len(sizes), -(-whole // most))
    read, kinds = 0, Counter[str]()
    for pieces in text.all(which):
        for piece in pieces:
            if read >= most:
                break
            kinds.update(found.kind for found in find(piece))
            read += len(piece.encode())
    where = f"all {whole / 1e3:,.0f} kB" if read >= whole else f"{read / 1e3:,.0f} of {whole / 1e3:,.0f} kB"
    if not kinds:
        return f"private data: rules find none in {where} (names of people are not looked for)"
    said = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items(), key=lambda x: (-x[1], x[0])))
    return f"private data, as rules find it in {where}: {said}; it is learned as it stands"
