"""Which of a teacher's rows may teach: in this order, each counted.

malformed    cut, empty, longer than half as much again as any logged text, a chat's own marks, the same words again
private      private data in it (traffic.private.find): the row is left out
held out     near to a call that certifies, or that the value is measured on: word sets with Jaccard >= 0.9, joined
             transitively (traffic.groups), or 13 words in a row of it (Brown et al. 2020, arXiv:2005.14165, appendix C)
duplicate    near in the same way to a logged row, or to a row kept before it

Only texts of held-out calls are looked at, never their answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from freehold.traffic import near_duplicates, normalise
from freehold.traffic.private import find
from freehold.tune.synthetic.made import Ask, Counts, Kept, Said

__all__ = ["NGRAM", "agreed", "sift", "well_formed"]

NGRAM = 13
LONGER = 1.5
MARKS = re.compile(r"<\|?/?(im_start|im_end|endoftext|system|user|assistant)\b|^\s*(Kind|Another message)\b[: ]")
REPEATS = 0.34  # the share of different words below which a text of DOZEN words says the same again and again
DOZEN = 12


def sift(
    asks: Sequence[Ask], said: Sequence[Said], logged: Sequence[str], held: Sequence[str]
) -> tuple[list[Kept], Counts]:
    """The rows that may teach, with the label that was asked for; and what became of all."""
    counts = Counts(asked=len(said))
    longest = LONGER * max(map(len, logged), default=0)
    formed = []
    for ask, one in zip(asks, said, strict=False):
        if not well_formed(one, longest):
            counts.malformed += 1
        elif kinds := {piece.kind for piece in find(one.text)}:
            counts.private += 1
            for kind in kinds:
                counts.kinds[kind] = counts.kinds.get(kind, 0) + 1
        else:
            formed.append((ask, one))
    near = _near([one.text for _, one in formed], logged, held)
    kept: list[Kept] = []
    for (ask, one), where in zip(formed, near, strict=True):
        if where == "held out":
            counts.held_out += 1
        elif where == "duplicate":
            counts.duplicates += 1
        else:
            kept.append(Kept(ask, one.text, ask.label, ""))
    counts.kept = len(kept)
    return kept, counts


def agreed(kept: Sequence[Kept], agrees: Sequence[bool], why: str, counts: Counts) -> tuple[list[Kept], Counts]:
    """Those that somebody agrees with, who is named in `why`."""
    left = [replace(row, why=why) for row, good in zip(kept, agrees, strict=True) if good]
    return left, replace(counts, disagreed=counts.disagreed + len(kept) - len(left), kept=len(left))


def well_formed(said: Said, longest: float) -> bool:
    words = normalise(said.text).split()
    again = len(words) >= DOZEN and len(set(words)) < REPEATS * len(words)
    whole = said.stopped in ("eos", "stop") and any(map(str.isalnum, said.text))
    return whole and len(said.text) <= longest and not again and not MARKS.search(said.text)


def _near(texts: Sequence[str], logged: Sequence[str], held: Sequence[str]) -> list[str]:
    """ "held out", "duplicate" or "" for each text."""
    groups = near_duplicates([*held, *logged, *texts]).tolist()
    barred, seen = set(groups[: len(held)]), set(groups[len(held) : len(held) + len(logged)])
    runs = {run for text in held for run in _runs(text)}
    found: list[str] = []
    for text, group in zip(texts, groups[len(held) + len(logged) :], strict=True):
        out = group in barred or any(run in runs for run in _runs(text))
        found.append("held out" if out else "duplicate" if group in seen else "")
        if not out:
            seen.add(group)
    return found


def _runs(text: str) -> Iterator[str]:
    words = normalise(text).split()
    return (" ".join(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1))
