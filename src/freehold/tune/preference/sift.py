"""Which pairs may teach: in this order, each that is left out counted by its reason.

of another task      the prompt hasn't the task's form
without a text       one of the answers is empty, cut, or of another kind
the same twice       preferred and rejected are one text; the pair was given before; another pair says the opposite
certifies, held back near to a call that certifies, or to a row that the adapter's tuning held back: word sets with
                     Jaccard >= 0.9, joined transitively (traffic.groups), so that both stay unseen
terms, private       by the terms' gate: a pair counts as the answer of the model that was asked, also where a person
                     wrote it anew
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from freehold import wire
from freehold.nouns import Call, Task
from freehold.traffic import near_duplicates
from freehold.traffic.private import find, redact_together
from freehold.tune.gate import Gate

__all__ = ["Pair", "Sifted", "sha256", "sift", "through"]

Ints = npt.NDArray[np.int64]
TERMS, PRIVATE = "kept out by the terms", "with private data"


@dataclass(frozen=True, slots=True)
class Pair:
    """`text` is what the student reads, `call` the request with the preferred answer, for the gate."""

    text: str
    preferred: str
    rejected: str
    call: Call


@dataclass(frozen=True, slots=True, eq=False)
class Sifted:
    """`groups`: the number of each pair's group of near-duplicates."""

    pairs: tuple[Pair, ...]
    groups: Ints
    left_out: dict[str, int]

    def take(self, which: Sequence[int], why: str) -> Sifted:
        """Some of them, the others being left out for a reason."""
        out = {why: len(self.pairs) - len(which)} if len(which) < len(self.pairs) else {}
        kept = tuple(self.pairs[i] for i in which)
        return Sifted(kept, self.groups[np.asarray(which, np.int64)], self.left_out | out)

    @property
    def words(self) -> str:
        return ", ".join(f"{count:,} {why}" for why, count in self.left_out.items())


def sift(
    said: Sequence[tuple[Call, Call]], task: Task, models: Sequence[str], held: Sequence[str], own: Sequence[str]
) -> Sifted:
    """Those of the task that are near to nothing that must stay unseen. `said`: (preferred, rejected) of one request;
    `models` says whose answer each is; `held` are the texts that certify, `own` those that the tuning held back."""
    left: Counter[str] = Counter()
    found: dict[tuple[str, str, str], Pair] = {}
    for (preferred, rejected), model in zip(said, models, strict=True):
        text = task.text(preferred)
        good, bad = (wire.answer(call, task.kind) for call in (preferred, rejected))
        if text is None:
            left["of another task"] += 1
        elif not good or not bad or not good.strip() or not bad.strip():
            left["without a text"] += 1
        elif good.strip() == bad.strip():
            left["with equal answers"] += 1
        elif (text, good.strip(), bad.strip()) in found:
            left["given before"] += 1
        else:
            key = (text, good.strip(), bad.strip())
            found[key] = Pair(*key, replace(preferred, model=model))
    opposed = {(text, good, bad) for text, good, bad in found if (text, bad, good) in found}
    left |= Counter({"contradicted by another pair": len(opposed)}) if opposed else Counter()
    return _unseen([pair for key, pair in found.items() if key not in opposed], task, left, held, own)


def _unseen(pairs: Sequence[Pair], task: Task, left: Counter[str], held: Sequence[str], own: Sequence[str]) -> Sifted:
    texts = [task.template.text(pair.call.messages) or "" for pair in pairs]
    groups, certify = _near(held, texts)
    _, back = _near(own, [pair.text for pair in pairs])  # what own.json holds: with the fields that are read besides
    left |= Counter({"near to a call that certifies": int(certify.sum())})
    left |= Counter({"near to a row held back": int((back & ~certify).sum())})
    keep: list[int] = np.flatnonzero(~(certify | back)).tolist()
    counted = {why: count for why, count in left.items() if count}
    return Sifted(tuple(pairs[i] for i in keep), groups[keep], counted)


def _near(others: Sequence[str], texts: Sequence[str]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The group of each text, and whether one of the others is in it."""
    groups = near_duplicates([*others, *texts])
    mine = groups[len(others) :]
    return mine, np.isin(mine, groups[: len(others)])


def through(found: Sifted, passed: Gate, private: str) -> Sifted:
    """Those that the gate lets teach (it looks at the preferred answer); rejected ones hold private data as well."""
    found = found.take(passed.rows, f"{TERMS} or {PRIVATE}")
    if private == "leave-out":
        clean = [i for i, pair in enumerate(found.pairs) if not find(pair.rejected)]
        return found.take(clean, f"{PRIVATE} in the rejected answer")
    if not passed.redacts:
        return found
    pairs = []
    for pair in found.pairs:
        text, good, bad = redact_together([pair.text, pair.preferred, pair.rejected])
        pairs.append(replace(pair, text=text, preferred=good, rejected=bad))
    return Sifted(tuple(pairs), found.groups, found.left_out)


def sha256(found: Sifted) -> str:
    """Names the pairs that teach."""
    return hashlib.sha256(msgspec.json.encode([[p.text, p.preferred, p.rejected] for p in found.pairs])).hexdigest()
