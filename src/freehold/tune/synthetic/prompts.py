"""What a teacher is asked, as a chat whose turns are logged rows of the fit side.

    system      You write new messages of the kind asked for, as different people would word them.
    user        Kind: refund                      a label of another row of the fold, to show the game
    assistant   where is my money back
    user        Kind: card arrival                the label that is wanted, after as many of its rows as there are
    → the new text. Its answer is the label that was asked for, where a student agrees.

For a task whose answers are written, the turns are texts alone, and the answers come in a second asking (answer.py):

    system      You write another message like the ones before, about something else, as another person would word it.
    user        Another message.
    assistant   play some jazz on the radio
    user        Another message.

plan(...) says which rows are shown for which new row: those of one fold alone, so that a student that is fitted
without that fold has learnt nothing of it. Labels with the fewest rows come first, until all have as many.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from freehold.nouns import Message
from freehold.tune.synthetic.made import Ask

__all__ = ["SAMPLES", "SHOWN", "TEMPERATURE", "TEMPLATE", "another", "plan", "shortened", "wording"]

TEMPLATE = "freehold synthetic 1"
SHOWN = 5  # rows in a prompt
OTHERS = 3  # of them, of other labels, where the label has too few in the fold
SAMPLES = 4  # new rows of one prompt: it is read once
TEMPERATURE = 0.8
SYSTEM = "You write new messages of the kind asked for, as different people would word them."
ANOTHER = "You write another message like the ones before, about something else, as another person would word it."
NEXT = "Another message."
ROOM = 6000  # characters of the rows in a prompt: about half of the teacher's context
Indices = npt.NDArray[np.int64]


def plan(labels: Sequence[str], fold: Indices, rows: int, seed: int) -> list[Ask]:
    """`rows` asks for a label task, SAMPLES at a time; a longer plan begins as a shorter one."""
    rng = np.random.default_rng(seed)
    place: defaultdict[str, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    inside: defaultdict[int, list[int]] = defaultdict(list)
    for i, (label, f) in enumerate(zip(labels, fold.tolist(), strict=True)):
        place[label][f].append(i)
        inside[f].append(i)
    line = [(sum(map(len, folds.values())), label) for label, folds in place.items()]
    heapq.heapify(line)
    turns = {label: rng.permutation(sorted(folds)).tolist() for label, folds in place.items()}
    asks: list[Ask] = []
    while len(asks) < rows:
        count, label = heapq.heappop(line)
        f = turns[label].pop(0)
        turns[label].append(f)
        shown = _shown(place[label][f], inside[f], labels, label, rng)
        seeds = rng.integers(1, 2**31, SAMPLES).tolist()
        asks += [Ask(len(asks) + s, label, f, shown, seeds[s]) for s in range(SAMPLES)]
        heapq.heappush(line, (count + SAMPLES, label))
    return asks[:rows]


def _shown(
    own: Sequence[int], inside: Sequence[int], labels: Sequence[str], label: str, rng: np.random.Generator
) -> tuple[int, ...]:
    """Some of the label's rows, and rows of other labels before them where those are few."""
    mine = rng.permutation(own)[:SHOWN].tolist()
    others = rng.permutation(inside)[: 4 * OTHERS].tolist()
    others = [i for i in others if labels[i] != label][: min(OTHERS, SHOWN - len(mine))]
    return (*others, *mine)


def wording(shown: Sequence[tuple[str, str]], label: str) -> list[Message]:
    """Asks for a new text of this label. `shown`: (text, label) pairs."""
    said: list[Message] = [{"role": "system", "content": SYSTEM}]
    for text, kind in shown:
        said += [{"role": "user", "content": _kind(kind)}, {"role": "assistant", "content": text}]
    return [*said, {"role": "user", "content": _kind(label)}]


def _kind(label: str) -> str:
    return f"Kind: {label.replace('_', ' ')}"


def another(shown: Sequence[str]) -> list[Message]:
    """Asks for a new text like these."""
    said: list[Message] = [{"role": "system", "content": ANOTHER}]
    for text in shown:
        said += [{"role": "user", "content": NEXT}, {"role": "assistant", "content": text}]
    return [*said, {"role": "user", "content": NEXT}]


def shortened(sizes: Sequence[int]) -> int:
    """How many of the last rows, of so many characters each, a prompt has room for: one at least."""
    room, count = ROOM, 0
    for size in reversed(sizes):
        room -= size
        if room < 0:
            break
        count += 1
    return max(1, count)
