"""A log's texts and answers -> the Form of its answers, and each row as a tagger learns it.

texts, answers ─parse→ leaves ─columns→ span and label fields ─place→ which words ─form→ Form
                                                                          └ written again and compared: a row whose
                                                                            answer does not come back is left out
Understood(form, rows, left_out)
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freehold.engines.extract.form import Form, Label, Node, Path, SpanField, Style, Writer
from freehold.engines.extract.read import Read
from freehold.tune.extract.align import Context, Item, Placed, place
from freehold.tune.extract.answers import Parsed
from freehold.tune.extract.fields import MISSING, Column, NotExtractable, columns, labels_of, text_of
from freehold.tune.extract.layers import layers_of
from freehold.tune.extract.spans import Words, found

__all__ = ["LEFT_OUT", "Row", "Understood", "same_answer", "understand"]

ALWAYS = 50  # rows that all have a field, after which an answer without it is not believed
LEFT_OUT = 0.05
"""Share of the rows that may stay out of reach, all fields together: they are errors that no score can tell from the
rest, and at more than this no bar that people ask for (0.95) would be met on all calls."""


@dataclass(frozen=True, slots=True)
class Row:
    """`spans`: (span field, first word, last word + 1); `labels`: a value index per label."""

    spans: tuple[Placed, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Understood:
    """`rows[i]` is None where the answer can't be put together again from its input."""

    form: Form
    rows: list[Row | None]

    @property
    def left_out(self) -> int:
        return sum(row is None for row in self.rows)


def understand(
    reads: Sequence[Read], parsed: Sequence[Parsed], style: Style, *, pieces: bool, few: bool = False
) -> Understood:
    """Raises NotExtractable. `pieces`: the reads are pieces of words; `few`: as `columns` takes it."""
    words = [Words(read) for read in reads]
    fields = columns(words, parsed, few=few)
    spans, labels = [c for c in fields if c.rule], [c for c in fields if not c.rule]
    chosen = [labels_of(labels, p.leaves) for p in parsed]
    placed = _place_all(spans, words, parsed)
    ready = [i for i in range(len(parsed)) if placed[i] is not None and chosen[i] is not None]
    if not ready:
        raise NotExtractable(
            "No answer can be put together from its input.", "Such a task needs a student that writes."
        )
    form = _form(spans, labels, [parsed[i] for i in ready], [(placed[i], chosen[i]) for i in ready], style, pieces)
    writer = Writer(form)
    rows: list[Row | None] = [None] * len(parsed)
    for i in ready:
        row = Row(tuple(placed[i] or ()), tuple(chosen[i] or ()))
        if _legal(form, row) and _same(writer, row, reads[i], parsed[i]):
            rows[i] = row
    return Understood(form, rows)


def _same(writer: Writer, row: Row, read: Read, parsed: Parsed) -> bool:
    text = writer.write(row.labels, [(f, read.places[a][0], read.places[b - 1][1]) for f, a, b in row.spans], read.text)
    style = writer.form.style
    if text is None:
        return False
    return same_answer(json.loads(text[len(style.before) : len(text) - len(style.after)]), parsed.answer)


def same_answer(ours: Any, theirs: Any) -> bool:
    """Equal as JSON: key order doesn't count, 1 and 1.0 and true are three values."""
    return text_of(ours) == text_of(_sorted_like(theirs, ours))


def _sorted_like(answer: Any, model: Any) -> Any:
    """`answer` with the keys of its objects in `model`'s order, so that only what they hold is compared."""
    if isinstance(answer, dict) and isinstance(model, dict):
        keys = [*(k for k in model if k in answer), *(k for k in answer if k not in model)]
        return {k: _sorted_like(answer[k], model.get(k)) for k in keys}
    if isinstance(answer, list) and isinstance(model, list) and len(answer) == len(model):
        return [_sorted_like(a, m) for a, m in zip(answer, model, strict=True)]
    return answer


def _legal(form: Form, row: Row) -> bool:
    """No word is in two spans of one layer."""
    used = Counter((form.spans[f].layer, w) for f, a, b in row.spans for w in range(a, b))
    return max(used.values(), default=1) == 1


def _place_all(spans: Sequence[Column], words: Sequence[Words], parsed: Sequence[Parsed]) -> list[list[Placed] | None]:
    items = [_items(spans, w, p) for w, p in zip(words, parsed, strict=True)]
    context = Context()
    for some, w in zip(items, words, strict=True):
        context.add(some or (), w)
    return [None if some is None else place(some, w, context) for some, w in zip(items, words, strict=True)]


def _items(spans: Sequence[Column], words: Words, parsed: Parsed) -> list[Item] | None:
    items = []
    for i, column in enumerate(spans):
        for element in column.elements(parsed.leaves.get(column.path, MISSING)):
            places = found(column.rule, element, words)
            if not places:
                return None
            items.append(Item(i, places))
    return items


def _form(
    spans: Sequence[Column],
    labels: Sequence[Column],
    parsed: Sequence[Parsed],
    rows: Sequence[Any],
    style: Style,
    pieces: bool,
) -> Form:
    values = [column.labels for column in labels]
    governor = _governor(spans, labels, parsed, rows)
    of = [row[1][governor] if governor >= 0 else 0 for row in rows]
    count = len(values[governor]) if governor >= 0 else 1
    inner = sorted({path for p in parsed for path in p.keys} | {()}, key=lambda path: (len(path), str(path)))
    allowed: list[set[int]] = [set() for _ in range(count)]
    choices: list[list[set[int]]] = [[set() for _ in labels] for _ in range(count)]
    for g, (placed, chosen) in zip(of, rows, strict=True):
        allowed[g].update(f for f, _, _ in placed)
        for j, k in enumerate(chosen):
            choices[g][j].add(k)
    layers = layers_of(len(spans), [row[0] for row in rows])
    return Form(
        root="list" if sum(isinstance(p.answer, list) for p in parsed) * 2 > len(parsed) else "object",
        labels=tuple(Label(c.path, v) for c, v in zip(labels, values, strict=True)),
        spans=tuple(
            SpanField(c.path, c.rule, _many(c, parsed), _empty(c, parsed, of, count), layer)
            for c, layer in zip(spans, layers, strict=True)
        ),
        nodes=tuple(Node(path, _hollow(path, parsed, of, count), _order(path, parsed, spans, rows)) for path in inner),
        governor=governor,
        allowed=tuple(tuple(sorted(some)) for some in allowed),
        choices=tuple(tuple(tuple(sorted(some or {0})) for some in each) for each in choices),
        style=style,
        pieces=pieces,
        needed=_needed(of, count, rows),
    )


def _needed(of: Sequence[int], count: int, rows: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    """The span fields that all rows of a governor's value have, where there are enough rows to say so."""
    seen, there = (
        Counter(of),
        Counter((g, f) for g, (placed, _) in zip(of, rows, strict=True) for f in {p[0] for p in placed}),
    )
    return tuple(
        tuple(sorted(f for (h, f), n in there.items() if h == g and n == seen[g] >= ALWAYS)) for g in range(count)
    )


def _governor(spans: Sequence[Column], labels: Sequence[Column], parsed: Sequence[Parsed], rows: Sequence[Any]) -> int:
    """The label that says most about which span fields are there, and about what is written where one is not; -1 where
    none says anything."""
    best, most = -1, _says([0] * len(rows), spans, parsed, rows)
    for j, column in enumerate(labels):
        told = _says([chosen[j] for _, chosen in rows], spans, parsed, rows) if len(column.labels) > 1 else most
        if told > most:
            best, most = j, told
    return best


def _says(of: Sequence[int], spans: Sequence[Column], parsed: Sequence[Parsed], rows: Sequence[Any]) -> int:
    """Over all rows: span fields ruled out, and fields whose "nothing" is what most rows of the same value write."""
    there: defaultdict[int, set[int]] = defaultdict(set)
    written: Counter[tuple[int, int, str]] = Counter()
    for g, p, (placed, _) in zip(of, parsed, rows, strict=True):
        there[g].update(f for f, _, _ in placed)
        for f, column in enumerate(spans):
            text = text_of(p.leaves.get(column.path, MISSING))
            if text in column.nothing:
                written[g, f, text] += 1
    every = set().union(*there.values())
    usual: dict[tuple[int, int], int] = {}
    for (g, f, _), n in written.items():
        usual[g, f] = max(n, usual.get((g, f), 0))
    return sum(len(every) - len(there[g]) for g in of) + sum(usual.values())


def _many(column: Column, parsed: Sequence[Parsed]) -> Any:
    leaves = [p.leaves[column.path] for p in parsed if column.path in p.leaves and p.leaves[column.path] != []]
    lists = [leaf for leaf in leaves if isinstance(leaf, list)]
    single = [leaf for leaf in leaves if text_of(leaf) not in column.nothing and not isinstance(leaf, list)]
    ones = sum(len(leaf) == 1 for leaf in lists)
    if not lists:
        return "never"
    return "always" if ones > len(single) or not single else "sometimes"


def _empty(column: Column, parsed: Sequence[Parsed], of: Sequence[int], count: int) -> tuple[str, ...]:
    """What stands for nothing, by the governor's value: what most of its rows write."""
    told: list[Counter[str]] = [Counter() for _ in range(count)]
    for g, p in zip(of, parsed, strict=True):
        text = text_of(p.leaves.get(column.path, MISSING))
        if text in column.nothing:
            told[g][text] += 1
    return _most(told)


def _hollow(path: Path, parsed: Sequence[Parsed], of: Sequence[int], count: int) -> tuple[str, ...]:
    told: list[Counter[str]] = [Counter() for _ in range(count)]
    for g, p in zip(of, parsed, strict=True):
        if path not in p.keys:
            told[g][text_of(p.leaves.get(path, MISSING) if path else p.answer)] += 1
    every = any(told)
    if path and not every:  # never seen empty
        return ("[]" if any(isinstance(k, int) for p in parsed[:1000] for k in p.keys.get(path, ())) else "{}",) * count
    return _most(told)


def _most(told: Sequence[Counter[str]]) -> tuple[str, ...]:
    every = sum(told, Counter[str]())
    usual = min(every, key=lambda t: (-every[t], t), default="")
    return tuple(min(some, key=lambda t: (-some[t], t), default=usual) for some in told)


def _order(
    path: Path, parsed: Sequence[Parsed], spans: Sequence[Column], rows: Sequence[Any]
) -> tuple[str | int, ...] | None:
    """The keys by their usual place; None where the order of their values in the input is the log's more often."""
    places: defaultdict[str | int, list[float]] = defaultdict(list)
    for p in parsed:
        keys = p.keys.get(path, ())
        for i, key in enumerate(keys):
            places[key].append((i + 1) / (len(keys) + 1))
    fixed = tuple(sorted(places, key=lambda k: (sum(places[k]) / len(places[k]), str(k))))
    at = {
        c.path[len(path)]: i
        for i, c in enumerate(spans)
        if len(c.path) == len(path) + 1 and c.path[: len(path)] == path
    }
    as_fixed = as_read = 0
    for p, (placed, _) in zip(parsed, rows, strict=True):
        keys = p.keys.get(path, ())
        if len(keys) < 2:
            continue
        first = {f: a for f, a, _ in sorted(placed, key=lambda s: -s[1])}
        as_fixed += keys == tuple(k for k in fixed if k in keys)
        as_read += all(at.get(k, -1) in first for k in keys) and keys == tuple(sorted(keys, key=lambda k: first[at[k]]))
    return None if as_read > as_fixed else fixed
