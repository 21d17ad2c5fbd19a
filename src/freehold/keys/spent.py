"""keys.spent: what each key has spent today and this month, and what calls under way may still cost, for all workers.

    head     magic | records | the time last believed (clock.py) | which start of the machine
    record   name | day | month | spent today | spent this month | two rates | reserved by process 0 ... 63

One mapped file of fixed records, changed under a lock: a killed process loses nothing, and what it had reserved is free
again, since a process holds a lock on its place for as long as it lives. Money is in whole billionths of a USD, rounded
up. Days and months are UTC; a day never comes twice, whatever the clock says.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from freehold.errors import ArtifactDamaged, StorageFailed
from freehold.keys.alone import Alone, Held, lock
from freehold.keys.clock import Tick, boot, follow
from freehold.project.storage import guarded, read_bytes

__all__ = ["FILE", "Account", "Rate", "Reservation", "Spent", "peek"]

FILE = "keys.spent"
MAGIC = b"FHSPENT1"
SIZE = 640  # bytes of a record, and of the head
WORDS = SIZE // 8
SLOTS = 64
GROW = 256  # records
MOST = 65_536  # records
NANO = 1e9
COUNT, SEEN, BOOT, OFF, START, USED = 1, 2, 3, 4, 5, 6  # words of the head
DAY, MONTH, TODAY, THIS_MONTH, ASKS, TOKENS, RESERVED = 8, 9, 10, 11, 12, 13, 16  # words of a record
UNSAID = -1 << 40
LATEST = 250e9  # epoch seconds; a calendar ends in the year 9999


@dataclass(frozen=True, slots=True)
class Account:
    """Whose money it is: `day` and `month` are the most that may be spent, in USD (None: no limit)."""

    name: str
    day: float | None = None
    month: float | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What one key may do in a minute (None: no limit)."""

    name: str
    calls: int | None = None
    tokens: int | None = None


class Reservation:
    """Money put aside for one call, in USD. It ends once: by `settle` (what the call cost) or `cancel` (nothing)."""

    __slots__ = ("_accounts", "_nano", "_spent")

    def __init__(self, spent: Spent | None, accounts: tuple[str, ...], nano: int) -> None:
        self._spent, self._accounts, self._nano = spent, accounts, nano

    @property
    def usd(self) -> float:
        return self._nano / NANO

    def settle(self, actual: float | None = None) -> None:
        """What the call cost; None, where nobody knows, for all that was put aside."""
        self._end(self._nano if actual is None else _nano(actual))

    def cancel(self) -> None:
        """Nothing was spent. Does nothing once it has ended."""
        self._end(0)

    def charge(self, usd: float) -> None:
        """A further cost of the same call (a try that failed, but is billed), whatever was put aside."""
        if self._accounts and self._spent is not None:
            self._spent.charge(self._accounts, usd)

    def _end(self, nano: int) -> None:
        if self._spent is not None:
            self._spent._settle(self._accounts, self._nano, nano)
        self._spent = None


class Spent:
    """The file, open in this process. Raises StorageFailed where it can't be written, ArtifactDamaged where it isn't
    what was written."""

    def __init__(
        self, path: Path, *, wall: Callable[[], float] = time.time, steady: Callable[[], float] = boot
    ) -> None:
        self.path = path
        self._wall, self._steady = wall, steady
        self._known: dict[str, int] = {}
        self._read = 0
        self._swept = -math.inf
        self._late: deque[Callable[[], None]] = deque()
        self._months: tuple[int, int] = (UNSAID, UNSAID)
        with guarded(path), contextlib.ExitStack() as undo:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            undo.callback(os.close, self._file)
            self._alone = Alone(self._file, path)
            with self._alone:
                if os.fstat(self._file).st_size == 0:
                    os.ftruncate(self._file, SIZE * (GROW + 1))
                    os.pwrite(self._file, MAGIC, 0)
                self._map()
                self._start()
                self._slot = self._claim()
            undo.pop_all()

    def close(self) -> None:
        """Give the place back; what is still reserved is free again."""
        while self._late:
            self._late.popleft()()
        with self._alone:
            self._free(self._slot)
            lock(self._file, fcntl.F_UNLCK, self._slot)  # the map holds the file open, so closing alone frees no lock
        self._words.release()
        self._times.release()
        self._bytes.close()
        os.close(self._file)

    def sync(self) -> None:
        """Bring it to the disk, for a power cut, after what could not be counted before; call it once a second, off
        the event loop."""
        while self._late:
            self._late[0]()
            self._late.popleft()
        with guarded(self.path):
            self._bytes.flush()

    # money

    def reserve(self, accounts: Sequence[Account], usd: float) -> Reservation | None:
        """Put money aside in every account, or in none: None where one of them has not so much left."""
        amount = _nano(usd)
        with self._alone:
            places = [self._place(account.name) for account in accounts]
            words = self._words
            self._roll(places)
            if self._over(places, accounts, amount) and not (
                self._sweep() and not self._over(places, accounts, amount)
            ):
                return None
            for at in places:
                words[at + RESERVED + self._slot] += amount
        return Reservation(self, tuple(account.name for account in accounts), amount)

    def charge(self, names: Sequence[str], usd: float) -> None:
        """Spend without having asked: a try that failed but is billed, a host's own budget."""
        self._settle(names, 0, _nano(usd))

    def read(self, name: str) -> tuple[float, float, float]:
        """USD spent today, this month, and put aside for calls under way."""
        with self._alone:
            at = self._place(name)
            self._roll([at])
            words = self._words
            return words[at + TODAY] / NANO, words[at + THIS_MONTH] / NANO, self._reserved(at) / NANO

    def _settle(self, names: Sequence[str], reserved: int, spent: int) -> None:
        self._sometime(lambda: self._settled(names, reserved, spent))

    def _settled(self, names: Sequence[str], reserved: int, spent: int) -> None:
        with self._alone:
            places = [self._place(name) for name in names]
            words = self._words
            self._roll(places)
            for at in places:
                words[at + TODAY] += spent  # first: whoever is killed in between has it counted, never lost
                words[at + THIS_MONTH] += spent
                words[at + RESERVED + self._slot] -= reserved

    def _over(self, places: Sequence[int], accounts: Sequence[Account], amount: int) -> bool:
        words = self._words
        for at, account in zip(places, accounts, strict=True):
            if account.day is None and account.month is None:
                continue
            waiting = self._reserved(at) + amount
            if account.day is not None and words[at + TODAY] + waiting > account.day * NANO:
                return True
            if account.month is not None and words[at + THIS_MONTH] + waiting > account.month * NANO:
                return True
        return False

    def _reserved(self, at: int) -> int:
        return sum(self._words[at + RESERVED : at + RESERVED + self._words[USED]])

    def _roll(self, places: Sequence[int]) -> None:
        """Start a new day or month where one has begun. One that lies behind the last is no new one."""
        day = int(min(max(self._now(), 0.0), LATEST) // 86_400)
        if day != self._months[0]:
            self._months = _period(day * 86_400.0)
        month = self._months[1]
        words = self._words
        for at in places:
            if words[at + DAY] < day:
                words[at + TODAY] = 0
                words[at + DAY] = day
            if words[at + MONTH] < month:
                words[at + THIS_MONTH] = 0
                words[at + MONTH] = month

    def _now(self) -> float:
        """The time that all workers believe; it never goes back, so that no day's budget is given twice."""
        times = self._times
        tick = Tick(times[SEEN], times[BOOT], times[OFF])
        now = follow(tick, self._wall(), self._steady(), back=False)
        times[SEEN], times[BOOT], times[OFF] = tick.seen, tick.boot, tick.off
        return now

    # rates

    def take(self, rates: Sequence[Rate], calls: int, tokens: int) -> float:
        """Count calls and tokens against the minute of every key given, or of none: 0.0, or how many seconds until
        there is room. A quiet key may use a whole minute's worth at once. More than a minute has: inf."""
        with self._alone:
            places = [self._place(rate.name) for rate in rates]
            now, times = self._steady(), self._times
            due: list[tuple[int, float]] = []
            wait = 0.0
            for at, rate in zip(places, rates, strict=True):
                for word, count, most in ((at + ASKS, calls, rate.calls), (at + TOKENS, tokens, rate.tokens)):
                    if most is None or not count:
                        continue
                    if count > most:
                        return math.inf
                    then = max(times[word], now) + count * 60.0 / most
                    wait = max(wait, then - now - 60.0)
                    due.append((word, then))
            if wait > 1e-9:
                return wait
            for word, then in due:
                times[word] = then
            return 0.0

    def give_back(self, rates: Sequence[Rate], tokens: int) -> None:
        """Tokens that were counted and not used (below 0: used and not counted)."""
        self._sometime(lambda: self._give_back(rates, tokens))

    def _give_back(self, rates: Sequence[Rate], tokens: int) -> None:
        with self._alone:
            for rate in rates:
                if rate.tokens is not None:
                    at = self._place(rate.name)
                    self._times[at + TOKENS] -= tokens * 60.0 / rate.tokens

    def _sometime(self, count: Callable[[], None]) -> None:
        """Now, or where another process holds the file for too long, at the next `sync`: what has been is counted."""
        try:
            count()
        except Held:
            self._late.append(count)

    # the file

    def _place(self, name: str) -> int:
        """The first word of a key's record, which is made where there is none. Only under the lock."""
        found = self._known.get(name)
        if found is not None:
            return found
        while self._read < self._words[COUNT]:
            self._read += 1
            if SIZE * (self._read + 1) > len(self._bytes):
                self._map()
            raw = self._bytes[self._read * SIZE : self._read * SIZE + 64].rstrip(b"\0")
            self._known.setdefault(raw.decode("ascii", "replace"), self._read * WORDS)
        if name not in self._known:
            self._known[name] = self._make(name)
        return self._known[name]

    def _make(self, name: str) -> int:
        raw = name.encode("ascii")
        assert 0 < len(raw) <= 64, name
        number = self._words[COUNT] + 1
        if number > MOST:
            raise StorageFailed(f"{self.path} holds {MOST:,} keys.", "Remove it while no server runs.")
        if SIZE * (number + 1) > os.fstat(self._file).st_size:
            with guarded(self.path):
                os.ftruncate(self._file, SIZE * (number + GROW))
        if SIZE * (number + 1) > len(self._bytes):
            self._map()
        self._bytes[number * SIZE : number * SIZE + len(raw)] = raw
        at = number * WORDS
        self._words[at + DAY] = self._words[at + MONTH] = UNSAID
        self._words[COUNT] = self._read = number  # last: a record counts once it is whole
        return at

    def _map(self) -> None:
        size = os.fstat(self._file).st_size
        if size < SIZE or size % SIZE or os.pread(self._file, 8, 0) != MAGIC:
            raise ArtifactDamaged(f"{self.path} is damaged.", "Remove it: what was spent today is then counted anew.")
        self._bytes = mmap.mmap(self._file, size)
        self._words = memoryview(self._bytes).cast("q")
        self._times = memoryview(self._bytes).cast("d")
        if not 0 <= self._words[COUNT] < size // SIZE:
            raise ArtifactDamaged(f"{self.path} is damaged.", "Remove it: what was spent today is then counted anew.")

    def _start(self) -> None:
        """After a start of the machine its steady clock begins anew, and so do rates; time goes on from there."""
        start = _machine_start()
        words, times = self._words, self._times
        if words[START] == start:
            return
        times[SEEN], times[BOOT], times[OFF] = max(times[SEEN], self._wall()), self._steady(), -1.0
        for at in range(WORDS, (words[COUNT] + 1) * WORDS, WORDS):
            times[at + ASKS] = times[at + TOKENS] = 0.0
        words[START] = start

    # places of processes

    def _claim(self) -> int:
        for slot in range(SLOTS):
            if lock(self._file, fcntl.F_WRLCK, slot):
                self._free(slot)
                self._words[USED] = max(self._words[USED], slot + 1)  # of the places, those that were ever taken
                return slot
        raise StorageFailed(f"More than {SLOTS} processes use {self.path}.", "Start fewer workers.")

    def _free(self, slot: int) -> None:
        for at in range(WORDS, (self._words[COUNT] + 1) * WORDS, WORDS):
            if SIZE * (at // WORDS + 1) > len(self._bytes):
                self._map()
            self._words[at + RESERVED + slot] = 0

    def _sweep(self) -> bool:
        """Free what dead processes had reserved, at most once a second; whether any was."""
        now = self._steady()
        if 0.0 <= now - self._swept < 1.0:
            return False
        self._swept, dead = now, False
        for slot in range(SLOTS):
            if slot != self._slot and lock(self._file, fcntl.F_WRLCK, slot):
                self._free(slot)
                lock(self._file, fcntl.F_UNLCK, slot)
                dead = True
        return dead


def _nano(usd: float) -> int:
    assert 0 <= usd < 1e9, usd
    return math.ceil(round(usd * NANO, 3))


def _machine_start() -> int:
    try:
        said = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return 1
    return int.from_bytes(said.replace(b"-", b"")[:15], "big") & 0x7FFF_FFFF_FFFF_FFFF | 1


def peek(path: Path, wall: Callable[[], float] = time.time) -> dict[str, tuple[float, float]]:
    """USD that each key has spent today and this month, for people to look at; {} where there is no file. Takes no
    place and no lock, and changes nothing."""
    if not path.exists():
        return {}
    data = read_bytes(path)
    if len(data) < SIZE or len(data) % SIZE or not data.startswith(MAGIC):
        raise ArtifactDamaged(f"{path} is damaged.", "Remove it: what was spent today is then counted anew.")
    day, month = _period(max(wall(), struct.unpack_from("d", data, SEEN * 8)[0]))
    found = {}
    for number in range(1, min(struct.unpack_from("q", data, COUNT * 8)[0], len(data) // SIZE - 1) + 1):
        at = number * SIZE
        name = data[at : at + 64].rstrip(b"\0").decode("ascii", "replace")
        days, months, today, this_month = struct.unpack_from("4q", data, at + DAY * 8)
        found[name] = (today / NANO if days >= day else 0.0, this_month / NANO if months >= month else 0.0)
    return found


def _period(now: float) -> tuple[int, int]:
    """The day and the month (UTC), both counted."""
    day = int(min(max(now, 0.0), LATEST) // 86_400)
    at = datetime.fromtimestamp(day * 86_400, UTC)
    return day, at.year * 12 + at.month
