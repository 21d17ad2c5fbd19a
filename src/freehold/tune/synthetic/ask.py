"""The asking: row by row into a file, each row whole or not there; a run that was killed goes on behind the last.

    made.jsonl   {"text": "where is my money", "stopped": "eos", "seconds": 0.21}

The seeds are in the asks, and the engine has one slot: the same asks give the same words, killed or not. The time is
that of the asking alone, of all runs together. A host is asked for several at a time, and promises no same words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from freehold.project.storage import Appender, read_bytes
from freehold.tell import Tell
from freehold.tune.synthetic.made import Said
from freehold.tune.synthetic.voice import Speaks, Wanted

__all__ = ["NAME", "Bounds", "ask_all", "bounds_of"]

NAME = "made.jsonl"
MOST = 512  # tokens of one text
Row = TypeVar("Row")


class Bounds(msgspec.Struct, frozen=True):
    """Tokens of a text, seconds of all; `one_line` where no logged text has a second line."""

    text: int
    seconds: float
    one_line: bool

    @property
    def stop(self) -> tuple[str, ...]:
        return ("\n",) if self.one_line else ()


def bounds_of(texts: Sequence[str], seconds: float) -> Bounds:
    """Room for half as much again as the longest logged one, at about 3 characters a token."""
    room = min(MOST, max(map(len, texts), default=0) // 2 + 16)
    return Bounds(room, seconds, not any("\n" in text for text in texts))


def ask_all(
    asks: Sequence[Row],
    wanted: Callable[[Row], Wanted],
    voice: Speaks,
    path: Path,
    seconds: float,
    *,
    what: str = "ask the teacher",
    tell: Tell,
) -> list[Said]:
    """What the teacher said to the first asks: to all of them, unless the time is up. Raises EngineFailed,
    UpstreamMissing, StorageFailed."""
    file = Appender(path)
    try:
        said = msgspec.json.decode(b"[" + read_bytes(path).replace(b"\n", b",").rstrip(b",") + b"]", type=list[Said])
        spent = sum(one.seconds for one in said)
        while len(said) < len(asks):
            if spent >= seconds:
                tell(f"the time is up after {len(said):,} of {len(asks):,} rows")
                break
            found = _some([wanted(ask) for ask in asks[len(said) : len(said) + voice.parallel]], voice)
            for one in found:
                file.append(one)
            said += found
            spent += sum(one.seconds for one in found)
            tell(what, len(said) / len(asks))
    finally:
        file.close()
    return said[: len(asks)]


def _some(wanted: Sequence[Wanted], voice: Speaks) -> list[Said]:
    """Where several are asked at a time, each has its share of the time that all of them took."""
    if len(wanted) == 1:
        return [voice.say(wanted[0])]
    began = time.monotonic()
    with ThreadPoolExecutor(len(wanted), "teacher") as pool:
        found = list(pool.map(voice.say, wanted))
    each = (time.monotonic() - began) / len(wanted)
    return [Said(one.text, one.stopped, each) for one in found]
