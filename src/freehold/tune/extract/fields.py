"""What each field of a log's answers is: copied from the input, one of few values, or neither.

    column(path) over the rows      copied in    values seen    so it is
    ("slots", "city")               99.9 %       4,100          a span, rule exact
    ("intent",)                      0.0 %           7          a label
    ("reply",)                       1.2 %       9,800          neither → NotExtractable

`""` is a key left out; null, "", [] and {} say that there is nothing, and so does a text such as "unknown" that a field
which is copied otherwise shows where nothing can be copied.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freehold.engines.extract.form import ABSENT, Path
from freehold.engines.extract.rules import RULES
from freehold.errors import NothingToLearn
from freehold.traffic.private import find
from freehold.tune.extract.answers import Parsed
from freehold.tune.extract.spans import Words, found

__all__ = ["BUDGET", "MISSING", "Column", "NotExtractable", "columns", "labels_of", "text_of"]

BUDGET = 0.02  # share of rows in which one field may be out of reach: above it a student would be wrong too often
SEEN = 3  # rows in which a label's value, or a key, must be seen to be learnt at all
VALUES = 256  # of a label at most
FEW = 32  # values of a field that is a label although it could be copied
PATHS = 200  # different keys at most
LOOKED_AT = 400  # rows on which a field's rule is chosen
NAMED = 0.1  # share of the rows that have a field which is told by its name
SETTLED = 0.1  # a constant is a field's "nothing" where it makes up more than this share of what can't be copied
NOTHING: tuple[Any, ...] = (None, "", [], {})


class NotExtractable(NothingToLearn):
    """The answers are not copied from the input; a student that writes is needed."""


@dataclass(frozen=True, slots=True)
class Column:
    """A field over all rows. `rule` is "" for a label, whose values `labels` names; `nothing`: JSON texts that mean
    that there is none."""

    path: Path
    rule: str
    labels: tuple[str, ...]
    nothing: frozenset[str]

    def elements(self, leaf: Any) -> list[Any]:
        """The values to be copied for a span field; [] where there is nothing."""
        if text_of(leaf) in self.nothing:
            return []
        return list(leaf) if isinstance(leaf, list) else [leaf]


class _Missing:
    pass


MISSING = _Missing()


def text_of(leaf: Any) -> str:
    """A value as JSON text; "" for a key that is left out."""
    return ABSENT if isinstance(leaf, _Missing) else json.dumps(leaf)


def columns(words: Sequence[Words], parsed: Sequence[Parsed], *, few: bool = False) -> list[Column]:
    """Every field's column; raises NotExtractable with the field that fits neither. A field that could be both is
    copied (so a new value is found too); with `few` it is a label where it is always there and has few values."""
    counts = Counter(path for p in parsed for path in p.leaves)
    inner = {path for p in parsed for path in p.keys}
    paths = [path for path, n in counts.items() if n >= SEEN and path not in inner]
    if len(paths) > PATHS:
        raise NotExtractable(
            f"The answers have {len(paths):,} different keys, more than {PATHS}: they are data, not fields.",
            "Such a task needs a student that writes.",
        )
    return [_column(path, words, parsed, few or _is_tool(path)) for path in paths]


def _column(path: Path, words: Sequence[Words], parsed: Sequence[Parsed], few: bool) -> Column:
    leaves = [p.leaves.get(path, MISSING) for p in parsed]
    texts = [text_of(leaf) for leaf in leaves]
    counts = Counter(texts)
    nothing = {text_of(n) for n in NOTHING} | {ABSENT}
    kept = tuple(text for text, n in counts.most_common(VALUES) if n >= SEEN)
    odd = len(texts) - sum(counts[text] for text in kept)
    if few and odd == 0 and len(kept) <= FEW and not nothing & set(kept):
        return Column(path, "", kept, frozenset())
    full = [i for i, text in enumerate(texts) if text not in nothing]
    rule, missed = _rule([(words[i], leaves[i]) for i in full[:: max(1, len(full) // LOOKED_AT)]])
    if rule:
        lost = [texts[i] for i in full if not _copied(rule, leaves[i], words[i])] if missed else []
        common = [(t, n) for t, n in Counter(lost).most_common(1) if n >= SEEN and n > SETTLED * len(lost)]
        settled = {t for t, n in common if n == counts[t]}
        out_of_reach = sum(text not in settled for text in lost)
        if out_of_reach <= BUDGET * len(full) and len(counts) > 1:
            return Column(path, rule, (), frozenset(nothing | settled))
    if odd <= BUDGET * len(texts):
        return Column(path, "", kept, frozenset())
    if rule and out_of_reach <= BUDGET * len(texts):
        return Column(path, rule, (), frozenset(nothing | settled))
    raise NotExtractable(*_neither(path, len(texts), len(full), out_of_reach if rule else len(full), len(counts)))


def _is_tool(path: Path) -> bool:
    """The name of a call in a list of calls."""
    return len(path) == 2 and isinstance(path[0], int) and path[1] == "name"


def _neither(path: Path, rows: int, full: int, lost: int, distinct: int) -> tuple[str, str]:
    """A key may be what a user wrote: only one that many answers have, with nothing private in it, is named."""
    name = ".".join(map(str, path))
    told = f"The field {name}" if full >= NAMED * rows and not find(name) else "A field"
    return (
        f"{told} is not extractable: in {lost / max(1, full):.1%} of the {full:,} answers that have it its "
        f"value is not copied from the input by a known rule, and its {distinct:,} different values are no labels.",
        "Such a task needs a student that writes.",
    )


def _rule(sample: Sequence[tuple[Words, Any]]) -> tuple[str, int]:
    """The simplest rule that copies most of these values ("" where none copies any), and how many it misses."""
    best, most = "", 0
    for rule in RULES:
        hits = sum(_copied(rule, leaf, words) for words, leaf in sample)
        if hits > most:
            best, most = rule, hits
        if most == len(sample):
            break
    return best, len(sample) - most


def _copied(rule: str, leaf: Any, words: Words) -> bool:
    elements = leaf if isinstance(leaf, list) else [leaf]
    return all(found(rule, element, words) for element in elements)


def labels_of(columns: Sequence[Column], leaves: Mapping[Path, Any]) -> list[int] | None:
    """The value's index per label column; None where one is not among its labels."""
    chosen = []
    for column in columns:
        text = text_of(leaves.get(column.path, MISSING))
        if text not in column.labels:
            return None
        chosen.append(column.labels.index(text))
    return chosen
