"""`--workers N`: a parent that holds the listening sockets, and N processes of the same command that accept on them.

    parent   binds → starts worker 0 → when it listens, the others → says so once all do
             a worker dies     another starts in its place: after 0.1 s, then 0.2, 0.4, ... up to 30 s
             SIGTERM, SIGINT   to all; a second one too (they end at once); SIGUSR1 to all that listen
    worker   `inherited()` is its place: it serves on `listen`, runs `adopt` beside, and says `ready(line)`

Each worker has a socket of its own on the same port (SO_REUSEPORT), so that the kernel spreads connections evenly: on
one shared socket whoever wakes first takes all that wait (8 connections at once went 8 : 0 between two workers). The
parent keeps all of these open, so what waits for a worker that is killed isn't reset; the others look every 20 ms
(`adopt`) and take it, as they do for one that is stuck. Worker 0 starts first and alone, so that what keeps a server
from starting is said once. The workers are fresh processes in sessions of their own: ctrl-C reaches the parent only,
and they end when it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from freehold.errors import BadSetting, PortInUse
from freehold.tell import Tell, quiet

__all__ = ["ENV", "Worker", "bind", "inherited", "work"]

ENV = "FREEHOLD_WORKER"
BACKLOG = 1024  # connections that wait to be accepted
FIRST_DELAY, LONGEST_DELAY = 0.1, 30.0  # seconds before a worker starts again
STEADY = 60.0  # seconds after which a worker that dies had been well
HOPELESS = 6  # starts in a row that failed, with no other worker left: the server ends
LOOK = 0.02  # seconds between two looks at what waits for another worker
AT_ONCE = 64  # connections taken at one look
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD)


class _Place(msgspec.Struct):
    """What a worker reads from its environment: its number, whether all had listened before, and the descriptors it
    was given."""

    index: int
    again: bool
    listen: list[int]
    ready: int
    leash: int
    folder: str


@dataclass(slots=True)
class Worker:
    """This process as one of several: `listen` is its own socket, `others` are the other workers'. `again`: all had
    listened once before it started. `folder` is for what they share while they run."""

    index: int
    again: bool
    listen: socket.socket
    others: tuple[socket.socket, ...]
    folder: Path
    _ready: int

    async def adopt(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Until cancelled: accept what waits for a worker that is dead or stuck. `factory` as for create_server."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK)
            for other in self.others:
                with contextlib.suppress(OSError):  # nothing waits there (or no descriptor is free: the next look)
                    for _ in range(AT_ONCE):
                        conn, _ = other.accept()
                        conn.setblocking(False)
                        await loop.connect_accepted_socket(factory, conn)

    def ready(self, said: bytes = b"") -> None:
        """It accepts connections. `said`, worker 0's, is what the parent prints once all do."""
        with contextlib.suppress(BrokenPipeError):  # the parent is gone, and the leash will say so
            view = memoryview(said)
            while view:
                view = view[os.write(self._ready, view) :]
        os.write(self._ready, b"\n")
        os.close(self._ready)


def inherited() -> Worker | None:
    """This process's place among workers; None where it wasn't started as one. Call it once, early, in the main thread.

    When the parent goes away without a word, this process gets SIGTERM.
    """
    said = os.environ.pop(ENV, "")
    if not said:
        return None
    place = msgspec.json.decode(said, type=_Place)
    for handle in (*place.listen, place.ready, place.leash):
        os.set_inheritable(handle, False)  # a student's engine is no worker
    threading.Thread(target=_until_alone, args=(place.leash,), name="leash", daemon=True).start()
    sockets = [socket.socket(fileno=handle) for handle in place.listen]
    for one in sockets:
        one.setblocking(False)
    own = sockets.pop(place.index)
    return Worker(place.index, place.again, own, tuple(sockets), Path(place.folder), place.ready)


def _until_alone(leash: int) -> None:
    """The parent holds the other end and writes nothing: an end of file is its death."""
    os.read(leash, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` listening sockets on the first address of `host` and one port; 0 takes a free one.

    Raises PortInUse, also where the other is a server of the same kind, or BadSetting.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as alone:  # without SO_REUSEPORT: it fails where anybody listens
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind((address[0], port, *address[2:]))
            alone.listen()
            port = alone.getsockname()[1]
        with contextlib.ExitStack() as undo:
            found = [undo.enter_context(socket.socket(family, kind, proto)) for _ in range(count)]
            for one in found:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                one.bind((address[0], port, *address[2:]))
                one.listen(BACKLOG)
            undo.pop_all()
            return found
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            hint = "Stop what listens there, or choose another with --port."
            raise PortInUse(f"Port {port} is taken.", hint) from None
        raise BadSetting(f"Can't listen on {host}, port {port}: {error}.", "Choose another with --port.") from None


def work(
    command: Callable[[int], Sequence[str]],
    listen: Sequence[socket.socket],
    folder: Path,
    *,
    said: Callable[[bytes], None],
    tell: Tell = quiet,
    drain: float = 30.0,
) -> int:
    """Run a worker for each socket of `bind` until a signal; the exit code, as one process would have it.

    `command` makes the command line of a worker from its number; `said` gets worker 0's line once all listen; `folder`
    is theirs to share; `drain` is the seconds that a worker takes at most to end in good order. A worker that ends
    before all have listened ends them all, with its code. SIGINT raises KeyboardInterrupt once all have ended.
    """
    return _Parent(command, listen, folder, said, tell, drain).run()


@dataclass(slots=True)
class _Slot:
    """One worker's place: the process in it, if any, and when the next may start (monotonic seconds)."""

    index: int
    child: subprocess.Popen[bytes] | None = None
    pipe: int = -1  # where it says that it listens
    line: bytearray = field(default_factory=bytearray)
    ready: float = 0.0  # when it said so; 0: not yet
    again: bool = False  # SIGUSR1 came before it could take it
    failures: int = 0
    due: float = 0.0


class _Parent:
    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        listen: Sequence[socket.socket],
        folder: Path,
        said: Callable[[bytes], None],
        tell: Tell,
        drain: float,
    ) -> None:
        self._command = command
        self._listen = listen
        self._folder = folder
        self._said = said
        self._tell = tell
        self._drain = drain
        self._slots = [_Slot(index) for index in range(len(listen))]
        self._open = 1  # how many places may be filled: the others wait for the first
        self._announced = False
        self._stopping = 0  # the first signal to stop
        self._deadline = float("inf")
        self._code = 0
        self._selector = selectors.DefaultSelector()
        self._leash, self._leash_end = os.pipe()

    def run(self) -> int:
        try:
            with _signals() as wake:
                self._selector.register(wake, selectors.EVENT_READ)
                while True:
                    self._fill()
                    if self._stopping and not self._alive():
                        break
                    self._wait(wake)
        finally:
            for slot in self._alive():  # only where an error of ours brought us here
                assert slot.child is not None
                slot.child.kill()
                slot.child.wait()
            os.close(self._leash_end)
            os.close(self._leash)
            self._selector.close()
        if self._stopping == signal.SIGINT and not self._code:
            raise KeyboardInterrupt
        return self._code

    def _alive(self) -> list[_Slot]:
        return [slot for slot in self._slots if slot.child is not None]

    def _wait(self, wake: socket.socket) -> None:
        now = time.monotonic()
        dues = [slot.due for slot in self._slots[: self._open] if slot.child is None and not self._stopping]
        timeout = min([self._deadline, *dues]) - now
        for key, _ in self._selector.select(None if timeout == float("inf") else max(0.0, timeout)):
            if key.fileobj is wake:
                for number in wake.recv(4096):
                    self._heard(signal.Signals(number))
            else:
                self._listens(key.data)
        for slot in self._alive():
            assert slot.child is not None
            code = slot.child.poll()
            if code is not None:
                self._ended(slot, code)
        if time.monotonic() >= self._deadline:
            self._deadline = float("inf")
            for slot in self._alive():
                assert slot.child is not None
                self._tell(f"worker {slot.index} did not end in time and is ended now")
                self._code = self._code or 1
                slot.child.kill()

    # workers that start

    def _fill(self) -> None:
        if self._stopping:
            return
        for slot in self._slots[: self._open]:
            if slot.child is None and time.monotonic() >= slot.due:
                self._start(slot)

    def _start(self, slot: _Slot) -> None:
        """Raises OSError where the system starts no process, unless all listened once: then it is tried again."""
        slot.pipe, end = os.pipe()
        slot.line, slot.ready, slot.again = bytearray(), 0.0, False
        self._selector.register(slot.pipe, selectors.EVENT_READ, slot)
        listen = [one.fileno() for one in self._listen]
        place = _Place(slot.index, self._announced, listen, end, self._leash, str(self._folder))
        try:
            slot.child = subprocess.Popen(
                self._command(slot.index),
                env=os.environ | {ENV: msgspec.json.encode(place).decode()},
                stdin=subprocess.DEVNULL,
                pass_fds=(*listen, end, self._leash),
                start_new_session=True,
            )
        except OSError as error:
            if not self._announced:
                raise
            self._failed(slot, f"was not started ({error.strerror})", 1)
        finally:
            os.close(end)

    def _listens(self, slot: _Slot) -> None:
        data = os.read(slot.pipe, 65536)
        slot.line += data
        if data and not slot.line.endswith(b"\n"):
            return
        self._drop_pipe(slot)
        if not slot.line.endswith(b"\n"):
            return  # it died; it will be reaped
        slot.ready = time.monotonic()
        if slot.again and slot.child is not None:
            slot.child.send_signal(signal.SIGUSR1)
        self._open = len(self._slots)
        if self._announced:
            self._tell(f"worker {slot.index} listens again")
        elif all(slot.ready for slot in self._slots):
            self._announced = True
            self._said(bytes(self._slots[0].line).rstrip(b"\n"))

    def _drop_pipe(self, slot: _Slot) -> None:
        if slot.pipe >= 0:
            self._selector.unregister(slot.pipe)
            os.close(slot.pipe)
            slot.pipe = -1

    # workers that end

    def _ended(self, slot: _Slot, code: int) -> None:
        if self._stopping:
            slot.child = None
            self._drop_pipe(slot)
            asked = code == -signal.SIGTERM  # it had not come so far as to take the signal itself
            self._code = self._code or (0 if asked else _as_exit(code))
        elif not self._announced:
            slot.child = None
            self._drop_pipe(slot)
            if code < 0:
                self._tell(f"worker {slot.index} ended with signal {-code} while it started")
            self._stop(signal.SIGTERM, _as_exit(code))
        else:
            how = f"exit code {code}" if code >= 0 else f"signal {-code}"
            self._failed(slot, f"ended with {how}", _as_exit(code))

    def _failed(self, slot: _Slot, how: str, code: int) -> None:
        """Another one starts in its place, later each time."""
        slot.child = None
        self._drop_pipe(slot)
        now = time.monotonic()
        steady = slot.ready and now - slot.ready >= STEADY
        slot.failures = 1 if steady else slot.failures + 1
        if slot.failures >= HOPELESS and not any(other.ready for other in self._alive()):
            self._tell(f"worker {slot.index} {how}, {slot.failures} times in a row, and no other is left")
            self._stop(signal.SIGTERM, code or 1)
            return
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (slot.failures - 1))
        slot.due = now + delay
        self._tell(f"worker {slot.index} {how}; another starts in {delay:g} s")

    # signals

    def _heard(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop(number, 0)
        elif number == signal.SIGUSR1:
            for slot in self._alive():
                assert slot.child is not None
                if slot.ready:
                    slot.child.send_signal(number)
                slot.again = True  # one that starts now may have read the project already

    def _stop(self, number: int, code: int) -> None:
        """The first asks all to end; the second makes them. Ctrl-C is SIGTERM to them: it is said here, once."""
        if not self._stopping:
            self._stopping, self._code = number, code
            self._deadline = time.monotonic() + self._drain + 10.0
        for slot in self._alive():
            assert slot.child is not None
            slot.child.send_signal(signal.SIGTERM)


def _as_exit(code: int) -> int:
    """A process's end as a shell says it: 128 and the signal."""
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket on which each signal's number arrives as a byte. Needs the main thread."""
    wake, end = socket.socketpair()
    wake.setblocking(False)
    end.setblocking(False)
    before = [(number, signal.signal(number, lambda *_: None)) for number in SIGNALS]
    woken = signal.set_wakeup_fd(end.fileno())
    try:
        yield wake
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before:
            signal.signal(number, handler)
        wake.close()
        end.close()
