"""A log gone over once: every tally filled, part by part, here or in many processes.

Source ─survey→ sample → tasks          (audit/sample.py: the first, quick look)
   └ parts ─Scan→ Tallies ─merge→ Tallies          one per part, as msgpack, so that it travels and can be kept
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import msgspec

from freehold import __version__
from freehold.audit.sample import FULL, Survey, expected, survey
from freehold.audit.tallies.estimate import Estimator
from freehold.audit.tallies.eyes import Eyes
from freehold.audit.tallies.health import HealthTally
from freehold.audit.tallies.load import LoadTally
from freehold.audit.tallies.money import MoneyTally, Pricer
from freehold.audit.tallies.prefix import PrefixTally
from freehold.audit.tallies.private import PrivateTally
from freehold.audit.tallies.repeats import RepeatTally
from freehold.audit.tallies.surface import SurfaceTally
from freehold.audit.tallies.tasks import LineTally, TaskTally
from freehold.audit.tallies.twice import TwiceTally
from freehold.facts import PriceBook
from freehold.nouns import Call, Task
from freehold.tell import Tell
from freehold.traffic import Reading, Source, batches
from freehold.traffic.files import records

__all__ = ["Look", "Runner", "Scan", "Tallies", "look", "scan", "scan_calls"]


class Runner(Protocol):
    """Who does the parts: this process, one process a core, Ray."""

    def run(self, do: Look | Scan, jobs: Sequence[int], /) -> Iterator[tuple[int, bytes]]:
        """Each job with its result, in the order of the jobs."""
        ...


class Tallies(msgspec.Struct):
    """Everything that is counted in one going over."""

    reading: Reading
    tasks: TaskTally
    money: MoneyTally
    repeats: RepeatTally
    prefix: PrefixTally
    private: PrivateTally
    surface: SurfaceTally
    health: HealthTally
    load: LoadTally
    twice: TwiceTally
    lines: LineTally | None = None

    @classmethod
    def empty(cls, until: float | None = None, folder: str = "", lines: bool = False) -> Tallies:
        """`folder` is where what grows with the log is put down; "" keeps it in memory. `lines` also notes the task of
        every call."""
        return cls(
            Reading(until=until), TaskTally(), MoneyTally(), RepeatTally(folder), PrefixTally(), PrivateTally(),
            SurfaceTally(), HealthTally(), LoadTally(folder), TwiceTally(folder), LineTally(folder) if lines else None,
        )  # fmt: skip

    def add(self, calls: Sequence[Call], eyes: Eyes, part: int) -> None:
        seen = eyes.see(calls, part)
        for name in self.__struct_fields__[1:]:
            if (tally := getattr(self, name)) is not None:
                tally.add(seen)

    def merge(self, later: Tallies) -> None:
        for name in self.__struct_fields__:
            if (tally := getattr(self, name)) is not None:
                tally.merge(getattr(later, name))


@dataclass(frozen=True, slots=True)
class Look:
    """The first look over a part, as Survey in msgpack."""

    source: Source
    below: int
    most: int

    def __call__(self, order: int) -> bytes:
        return msgspec.msgpack.encode(survey(self.source.parts[order], self.below, self.most))


@dataclass(frozen=True, slots=True)
class Scan:
    """A part gone over, as Tallies in msgpack. Everything that it needs travels with it."""

    source: Source
    tasks: tuple[Task, ...]
    book: PriceBook
    estimator: Estimator
    folder: str = ""
    lines: bool = False

    @property
    def name(self) -> str:
        """Names what a part's result hangs on: the files as they are, what is counted and how."""
        parts = self.source.parts
        files = [(part, os.stat(part.path).st_mtime_ns if Path(part.path).is_file() else 0) for part in parts]
        said = [files, self.source.until, self.tasks, repr(self.book.__reduce__()), self.estimator, self.lines]
        return blake2b(msgspec.json.encode([*said, __version__]), digest_size=8).hexdigest()

    def __call__(self, order: int) -> bytes:
        return msgspec.msgpack.encode(self.tallies(order))

    def tallies(self, order: int, tell: Tell | None = None) -> Tallies:
        found = Tallies.empty(self.source.until, self.folder, self.lines)
        eyes = Eyes(self.tasks, Pricer(self.book, self.estimator))
        with _no_cycles():
            for calls, at in batches(self.source, order, found.reading):
                found.add(calls, eyes, order)
                if tell is not None:
                    tell("read the log", min(1.0, at / max(1, self.source.size)))
        return found


class _no_cycles:
    """Rows from JSON hold no cycles, and looking for some took as long as reading them."""

    def __enter__(self) -> None:
        self._was = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was:
            gc.enable()


def look(source: Source, most: int, runner: Runner, tell: Tell) -> list[Survey]:
    """A survey of each part, in which there are `most` records in all where the log has them."""
    below = expected(source, records(source.parts[0]), most)
    found = _surveyed(Look(source, below, most), runner, tell)
    if below < FULL and sum(len(seen.sample) for seen in found) < most:  # the first records were shorter than the rest
        found = _surveyed(Look(source, FULL, most), runner, tell)
    return found


def _surveyed(work: Look, runner: Runner, tell: Tell) -> list[Survey]:
    found: list[Survey] = []
    passed = 0
    for order, data in runner.run(work, range(len(work.source.parts))):
        found.append(msgspec.msgpack.decode(data, type=Survey))
        passed += work.source.parts[order].size
        tell("look over the log", min(1.0, passed / max(1, work.source.size)))
    return found


def scan(work: Scan, runner: Runner, tell: Tell) -> Tallies:
    """Go over every part and add up."""
    if len(work.source.parts) == 1:
        return work.tallies(0, tell)
    whole: Tallies | None = None
    passed = 0
    for order, data in runner.run(work, range(len(work.source.parts))):
        found = msgspec.msgpack.decode(data, type=Tallies)
        if whole is None:
            whole = found
        else:
            whole.merge(found)
        passed += work.source.parts[order].size
        tell("read the log", min(1.0, passed / max(1, work.source.size)))
    assert whole is not None  # a log has a part
    return whole


def scan_calls(calls: Sequence[Call], tasks: Sequence[Task], pricer: Pricer, lines: bool = False) -> Tallies:
    """The same over calls in memory."""
    found = Tallies.empty(lines=lines)
    eyes = Eyes(tasks, pricer)
    for start in range(0, len(calls), 2048):
        found.add(calls[start : start + 2048], eyes, 0)
    return found
