"""The split: which calls fit a student, and which certify it.

    group of near-duplicates ─blake2b(KEY, its first text, normalised)→ 75 % fit | 25 % cal ─one call each→ cal
                                                                                └─────────── every call → cal_all

The key is fixed here and no option changes it, so nobody can draw again until the figures please. A group keeps its
side as the log grows, unless new calls join it to an older group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.traffic.groups import near_duplicates, normalise

__all__ = ["KEY", "Split", "rows_sha256", "split"]

KEY = b"freehold split 1"
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Ascending indices into the texts. `fit` and `cal_all` part them; `cal` is one call of each group in `cal_all`.
    `groups` is the group number of each text."""

    fit: Indices
    cal: Indices
    cal_all: Indices
    groups: Indices


def split(texts: Sequence[str], *, key: bytes = KEY, fit_share: float = 0.75) -> Split:
    """Part texts (the variables of a task's calls, in the log's order) into fit and cal, near-duplicates together.

    `fit_share` is the expected share of groups that go to fit. `key` (at most 64 bytes) is for simulation only.
    """
    groups = near_duplicates(texts)
    names = _first_texts(texts, groups)
    fits = np.array([_draw(key, name) < fit_share for name in names], dtype=bool)
    in_fit = fits[groups] if len(texts) else np.zeros(0, dtype=bool)
    chosen = _one_of_each(groups, names, key)
    return Split(
        fit=np.flatnonzero(in_fit),
        cal=np.array(sorted(i for i in chosen if not in_fit[i]), dtype=np.int64),
        cal_all=np.flatnonzero(~in_fit),
        groups=groups,
    )


def _first_texts(texts: Sequence[str], groups: Indices) -> list[str]:
    """The normalised first text of each group: what its draw hangs on."""
    _, first = np.unique(groups, return_index=True)
    return [normalise(texts[i]) for i in first]


def _draw(key: bytes, text: str, nth: int = -1) -> float:
    """A number in [0, 1) that looks random and depends on these arguments alone."""
    hashed = hashlib.blake2b(key=key, digest_size=8)
    hashed.update(f"{nth} ".encode() + text.encode("utf-8", "surrogatepass"))
    return (int.from_bytes(hashed.digest(), "big") >> 11) / 2.0**53


def _one_of_each(groups: Indices, names: Sequence[str], key: bytes) -> list[int]:
    """One call of each group, by the smallest draw: every call of a group is as likely as any other."""
    best: dict[int, tuple[float, int]] = {}
    seen = [0] * len(names)
    for i, group in enumerate(groups.tolist()):
        drawn = (_draw(key, names[group], seen[group]), i)
        seen[group] += 1
        if group not in best or drawn < best[group]:
            best[group] = drawn
    return [i for _, i in best.values()]


def rows_sha256(texts: Sequence[str], labels: Sequence[str]) -> str:
    """Names the rows that a student was fitted on: their (text, label) pairs in the log's order."""
    lines = [[t.encode("utf-8", "surrogatepass").hex(), a] for t, a in zip(texts, labels, strict=True)]
    return hashlib.sha256(msgspec.json.encode(lines)).hexdigest()
