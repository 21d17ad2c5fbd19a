"""The ledger as the server writes it: one row a call, in the file of this process.

    write(entry) ─ one os.write ─→ the operating system     fast: that is all; the disk follows within a second
    await durable(entry) ─ waits for the sync under way or the next ─→ the disk     safe: before the answer is acked

A row is with the operating system before the last byte of its answer goes out, so a killed server has lost no answered
call. Syncs run in a thread, one at a time, each for all who came meanwhile. A file that could not be synced is never
written again: what the system says of it is not to be trusted after that; `why` says so until a fresh file was written
and synced. A file is let go, and a new one begun, once it is full, its day is over, or it was moved, removed, or made
read-only (so an erasure asks for it); nobody opens it for writing again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from freehold.errors import BadSetting, FreeholdError, StorageFailed
from freehold.ledger.ballast import BALLAST, Ballast
from freehold.ledger.chain import chained
from freehold.ledger.entry import Entry, Redact, body
from freehold.ledger.names import label, locked, newest, rows_files
from freehold.ledger.open_file import OpenFile, begin, mend
from freehold.ledger.seals import remove_old, seal_free
from freehold.project import Project
from freehold.project.gateway import LedgerSettings
from freehold.project.storage import sync_folder
from freehold.tell import Tell, quiet

__all__ = ["Ledger"]

SYNC = 1.0  # seconds between syncs to the disk
AGAIN = 3600.0  # seconds between looks for files that others left, and for old ones
SKEW = 3600.0  # a clock that jumped further than this removes no file
PROBE = 65536  # bytes
QUIET = 10.0  # seconds between two words about the ledger, so that one that comes and goes fills no log
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SAID = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EROFS: "it is read-only"}
DEFAULT = LedgerSettings()


class Ledger:
    """`why` is empty while rows can be written, `lost` counts those that could not be, `low` says that the disk was
    full and the room kept for the last rows is given up. `redact` takes private data out of a value ("redacted").

    Raises BadSetting where content is redacted and nothing is given that redacts."""

    def __init__(
        self,
        project: Project,
        settings: LedgerSettings = DEFAULT,
        *,
        name: str = "",
        tell: Tell = quiet,
        redact: Redact | None = None,
        ballast: int = BALLAST,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if settings.content == "redacted" and redact is None:
            raise BadSetting("The ledger's content is redacted, and nothing is given that redacts.", "Give `redact`.")
        self.folder = project.path / "ledger"
        self.settings = settings
        self.why = ""
        self.lost = 0
        self.low = False
        self._name, self._tell, self._redact, self._clock = name or str(os.getpid()), tell, redact, clock
        self._most = int(settings.rotate_mib * (1 << 20))
        self._ballast = Ballast(self.folder / ".ballast", ballast)
        self._file: OpenFile | None = None
        self._last: OpenFile | None = None
        self._files: list[OpenFile] = []  # not yet closed, in order of time
        self._unsealed = False  # a file was closed since the last look
        self._seq, self._chain, self._label = 0, b"", 0
        self._suspect = False  # a sync failed, and none has succeeded since
        self._told = False, 0, -QUIET  # that it could not be written, rows lost, when: as was said last
        self._syncing = threading.Lock()
        self._waiting: list[asyncio.Future[None]] = []
        self._running: list[asyncio.Future[None]] = []
        self._thread: ThreadPoolExecutor | None = None
        self._started = clock(), time.monotonic()
        self._looked = -AGAIN
        self._recover()

    def __repr__(self) -> str:
        return f"Ledger({str(self.folder)!r}, why={self.why!r})"

    @property
    def refuses(self) -> bool:
        """Whether calls are to be refused, because no row can be written."""
        return bool(self.why) and self.settings.failure == "refuse"

    # rows

    def write(self, entry: Entry) -> bool:
        """Append the row. False, with `why` set and the row counted as lost, where that is not possible."""
        data = body(entry, self.settings.content, self._redact)
        try:
            self._append(entry, data)
        except OSError as error:
            failed = self._failed(entry, data, error)
        else:
            failed = False
        if not failed and not self._suspect:
            self.why = ""
        self.lost += failed - entry.lost  # a home answer whose row failed is tried once more, as the call that went up
        entry.lost, entry.written = failed, not failed
        return not failed

    def _failed(self, entry: Entry, data: bytes, error: OSError) -> bool:
        """The room that was kept is given up, and the row tried once more; whether it is lost all the same."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and self._ballast.release():
            self.low = True
            self._tell(f"{self.folder}: the disk is full; rows go into the room that was kept for the last ones")
            try:
                self._append(entry, data)
                return False
            except OSError as again:
                error = again
        said = SAID.get(error.errno or 0, error.strerror or str(error))
        self.why = f"Can't write {error.filename or (self._file.path if self._file else self.folder)}: {said}."
        return True

    def _append(self, entry: Entry, data: bytes) -> None:
        file = self._current()
        own = b',"seq":%d' % (self._seq + 1)
        if not file.rows and self._chain:
            own += b',"prev":"%b"' % self._chain
        line, link = chained(data + own, self._chain)
        try:
            if os.write(file.fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._cut(file, error)
            raise
        self._seq, self._chain = self._seq + 1, link
        file.size += len(line)
        file.rows += 1
        self._last = file
        entry.place = file, file.rows

    def _cut(self, file: OpenFile, error: OSError) -> None:
        """Cut back what a failed write left, so that the next row never lands behind half of this one."""
        try:
            os.ftruncate(file.fd, file.size)
        except OSError:
            self._retire()  # its half row is cut off when it is sealed
            return
        if error.errno not in FULL:
            self._retire()

    def _current(self) -> OpenFile:
        file = self._file
        if file is not None:
            over = file.size >= self._most or self._clock() >= file.ends or time.monotonic() >= file.over
            if not over and not file.bad and file.ours():
                return file
            self._retire()
        self._file = self._fresh()
        self._files.append(self._file)
        return self._file

    def _fresh(self) -> OpenFile:
        """A new file, whose name comes after all others', whatever the clock says. Raises OSError."""
        clock = self._clock()
        self.folder.mkdir(exist_ok=True)
        self._label = max(int(clock * 1000), self._label + 1, newest(self.folder) + 1)
        while (file := begin(self.folder / f"{label(self._label)}-{self._name}.jsonl", clock)) is None:
            self._label += 1
        return file

    def _retire(self) -> None:
        if self._file is not None:
            self._file.retired = True  # closed by the next sync
            self._file = None

    # the disk

    async def durable(self, entry: Entry | None = None) -> None:
        """In `safe`: returns once the entry, or all that was written so far, is on the disk. Raises StorageFailed where
        that can't be said. Without an entry a row that an earlier failed sync left in doubt isn't looked at again."""
        if self.settings.durability != "safe":
            return
        if entry is None:
            file, number = self._last, self._last.rows if self._last else 0
        elif entry.place is None:
            raise StorageFailed(self.why or "The row was not written.")
        else:
            file, number = entry.place
        while file is not None and file.synced < number:
            if file.bad:
                raise StorageFailed(file.bad, "What was written to it may be lost.")
            await self._round()

    def _round(self) -> asyncio.Future[None]:
        """The end of the next sync that begins from now on."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[None] = loop.create_future()  # each its own, so that who goes away takes nobody along
        self._waiting.append(mine)
        if not self._running and len(self._waiting) == 1:
            loop.call_soon(self._begin, loop)  # all who come in this turn of the loop go along
        return mine

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._running or not self._waiting:
            return
        self._running, self._waiting = self._waiting, []
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        loop.run_in_executor(self._thread, self.sync).add_done_callback(lambda done: self._ended(loop, done))

    def _ended(self, loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
        batch, self._running = self._running, []
        error = done.exception()
        for one in batch:
            if not one.done():
                one.set_result(None) if error is None else one.set_exception(error)
        self._begin(loop)

    def sync(self) -> None:
        """Bring all that was written to the disk, and close the files that were let go. May run in any thread."""
        with self._syncing:
            for file in tuple(self._files):
                retired, rows = file.retired, file.rows  # before the sync: what comes meanwhile is the next one's
                if rows > file.synced and not file.bad:
                    self._sync(file, rows)
                if retired:
                    self._files.remove(file)  # first: a descriptor is closed once, whatever that says
                    self._unsealed = True
                    with contextlib.suppress(OSError):  # what it had was synced, or is said to be in doubt
                        os.close(file.fd)

    def _sync(self, file: OpenFile, rows: int) -> None:
        try:
            os.fdatasync(file.fd)
            if not file.named:
                sync_folder(file.path.parent)
                file.named = True
        except OSError as error:
            said = SAID.get(error.errno or 0, error.strerror or str(error))
            file.bad = self.why = f"Can't sync {file.path}: {said}."
            self._suspect = True
        else:
            file.synced = rows
            if self._suspect:
                self._suspect, self.why = False, ""

    # what is due each second

    async def keep_synced(self, also: Callable[[], None] = lambda: None) -> None:
        """Bring what was written to the disk once a second, off the event loop, and do what else is due (`also`)."""
        while True:
            await asyncio.sleep(SYNC)
            if self._file is not None and not self._file.ours():
                self._retire()
            for due in (self.tend, also):
                try:
                    await asyncio.to_thread(due)
                except (FreeholdError, OSError) as error:  # the next second tries again
                    self._tell(f"what is due each second failed: {error}")

    def tend(self) -> None:
        """Sync, seal what is finished, remove what is too old, keep room for the last rows, and see whether a ledger
        that could not be written can be again."""
        self.sync()
        try:
            if self.why:
                self._probe()
            if self._ballast.make() and self.low:
                self.low = False
            if self._unsealed or time.monotonic() - self._looked >= AGAIN:
                self._seal()
        except FreeholdError as error:
            self._tell(error.message)
        except OSError as error:
            self._tell(f"{error.filename or self.folder}: {error.strerror}")
        if time.monotonic() - self._told[2] >= QUIET:
            self._report()

    def _report(self) -> None:
        """Say what has changed since the last word: rows can't be written, or can again, or were lost."""
        was, lost, _ = self._told
        why, more = self.why, self.lost - lost
        rows = f"{more:,} {'row was' if more == 1 else 'rows were'} lost"
        if why and not was:
            then = "calls are refused" if self.refuses else "home answers stop, and calls go up without a row"
            self._tell(f"the ledger can't be written: {why} Until it can, {then}")
        elif was and not why:
            self._tell(f"the ledger can be written again{f'; {rows}' if more else ''}")
        elif more and (not why or self.lost >= 2 * lost):
            self._tell(f"{rows}, {self.lost:,} in all")
        else:
            return
        self._told = bool(why), lost if why and not was else self.lost, time.monotonic()

    def _probe(self) -> None:
        """Write and sync a fresh file, so that it shows that rows can be written where no call comes to try it."""
        path = self.folder / f".{self._name}.probe.tmp"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                whole = os.write(fd, b"\n" * PROBE) == PROBE
                os.fdatasync(fd)
            finally:
                os.close(fd)
        except OSError:
            return  # `why` goes on saying what was wrong first
        finally:
            path.unlink(missing_ok=True)
        if whole:
            self._suspect, self.why = False, ""

    def _seal(self, wait: float = 1.0) -> None:
        self._looked = time.monotonic()
        self._unsealed = False
        try:
            with locked(self.folder, wait):
                seal_free(self.folder)
                if self.settings.keep_days and self._steady():
                    remove_old(self.folder, self.settings.keep_days, self._clock())
        except (OSError, FreeholdError):
            self._unsealed = True  # the next second tries again
            raise

    def _steady(self) -> bool:
        """Whether the wall clock went as the one that can't jump; else nobody knows what is old."""
        wall, monotonic = self._started
        return abs(self._clock() - wall - (time.monotonic() - monotonic)) < SKEW

    def _recover(self) -> None:
        """Cut off the half row that a killed process may have left at the end of its file."""
        try:
            for path in rows_files(self.folder):
                mend(path)
        except OSError as error:
            self.why = f"Can't read {error.filename or self.folder}: {error.strerror}."

    def close(self) -> None:
        """Sync and seal this process's file."""
        self._retire()
        self.sync()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        try:
            if self._unsealed:
                self._seal()
        except FreeholdError as error:
            self._tell(error.message)
        except OSError as error:
            self._tell(f"{error.filename or self.folder}: {error.strerror}")
        self._ballast.release()
