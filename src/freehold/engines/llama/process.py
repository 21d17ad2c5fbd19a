"""One child process that holds llama.cpp, and how to speak with it.

    Process(settings) ─starts→ python -m freehold.engines.llama.child
        .post("/tokenize", {...})         -> the JSON answer of llama.cpp's server
        .lines("/completion", {...})      -> the JSON rows of a stream; closing the iterator cancels inside the child
        .kill()                           -> gone now; calls under way raise Gone

The talk goes over a Unix socket in a folder of mode 0700: no TCP port, and nothing of Python's stands between llama.cpp
and the reader. What llama.cpp writes to its log is kept in that folder, and goes with it. The child has no network
where the system allows that, and no secrets in its environment (cage.py). It ends with its parent, when its stdin does
(child.py); a signal by the kernel (PR_SET_PDEATHSIG) would come already when the thread ends that started it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from freehold.engines.llama import cage
from freehold.engines.llama.slots import Kept, Slot, Slots
from freehold.errors import AdapterMismatch, BadSetting, BaseUnusable, EngineFailed, FreeholdError

__all__ = ["EngineDied", "Gone", "Process", "Settings", "Untouched", "check_files"]

START_SECONDS = 60.0  # to load a model, and a second for each 20 MB on top
LOG_TAIL = 16 << 10
TELLING = ("error", "fail", "assert", "invalid", "unknown")  # words of the line that gives the reason
PICKLES = (b"\x80", b"PK")  # how a bare pickle begins, and a checkpoint of torch (a zip)


class Gone(Exception):
    """The child is no more: it died, or was killed, before the answer was whole."""


class Untouched(Gone):
    """The child was no more before the call came to it: it did not die of this one."""


class EngineDied(EngineFailed):
    """A call on which the engine died, `kills` times, or had to be ended because it said nothing."""

    def __init__(self, message: str, hint: str = "", *, kills: int = 1) -> None:
        super().__init__(message, hint)
        self.kills = kills


@dataclass(frozen=True, slots=True)
class Settings:
    """What a child is started with. Two children of equal settings give equal answers.

    `context` is in tokens, for each of the `slots` that answer at once. `batch` is how many tokens of a prompt are
    computed together: it decides how sums are split, and so belongs to what is certified. `poll` (0 to 100) is how
    eagerly idle threads wait: more is faster on a machine of one's own and wasteful on a shared one.
    `silence` is how many seconds the child may say nothing before it counts as hung (plus half a second a token).
    """

    model: Path
    adapters: tuple[Path, ...] = ()
    context: int = 2048
    slots: int = 1
    threads: int = 1
    kv: Literal["f16", "f32"] = "f16"
    flash: bool = True
    speculation: Mapping[str, Any] | None = None
    batch: int = 512
    poll: int = 0
    silence: float = 60.0

    def said(self, address: str) -> bytes:
        """The line that the child reads."""
        here = asdict(self) | {"model": str(self.model), "adapters": [str(a) for a in self.adapters]}
        return msgspec.json.encode(here | {"socket": address}) + b"\n"


class _Local(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Process:
    """A started child. Raises BaseUnusable, AdapterMismatch or EngineFailed where it doesn't come up. `network` says
    why it can reach the network ("": it can't)."""

    def __init__(self, settings: Settings) -> None:
        check_files(settings.model, settings.adapters)
        self.settings = settings
        self._slots = Slots(settings.slots)
        self._broken = False
        self.network = ""
        self._busy = 0
        self._retired = False
        self._lock = threading.Lock()
        self._folder = tempfile.mkdtemp(prefix="freehold-")
        if len(self._folder) > 90:  # a Unix socket's path holds 107 bytes
            shutil.rmtree(self._folder)
            self._folder = tempfile.mkdtemp(prefix="freehold-", dir="/tmp")
        self.address = f"{self._folder}/engine.sock"
        self._log = Path(self._folder, "log")
        with contextlib.ExitStack() as undo:
            undo.callback(self.kill)
            self._child = self._spawn()
            self._wait_ready()
            undo.pop_all()

    def __repr__(self) -> str:
        return f"Process({self.settings.model.name}, pid {self._child.pid})"

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return not self._broken and self._child.poll() is None

    def cpu_seconds(self) -> float:
        """CPU seconds that the process has taken so far, all its threads together."""
        stat = Path(f"/proc/{self.pid}/stat")
        if stat.exists():
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        said = subprocess.run(["ps", "-o", "time=", "-p", str(self.pid)], capture_output=True, text=True, check=True)
        seconds = 0.0
        for part in said.stdout.strip().split(":"):  # [hours:]minutes:seconds
            seconds = 60.0 * seconds + float(part)
        return seconds

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            child = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "freehold.engines.llama.child",
                ],  # -P: nothing is imported from where we stand
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=cage.environment(os.environ),
                start_new_session=True,  # ctrl-C in the terminal is for the parent, which then ends this one
            )
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; _wait_ready says why
            child.stdin.write(self.settings.said(self.address))
            child.stdin.flush()
        return child

    def _wait_ready(self) -> None:
        assert self._child.stdout is not None
        size = self.settings.model.stat().st_size
        limit = START_SECONDS + size / 20e6
        with selectors.DefaultSelector() as ready:  # select() can't wait for a descriptor beyond 1023
            ready.register(self._child.stdout, selectors.EVENT_READ)
            spoke = bool(ready.select(limit))
        if not spoke:
            raise EngineFailed(f"{self.settings.model} was not loaded within {limit:.0f} seconds.")
        line = self._child.stdout.readline()
        said: dict[str, Any] = msgspec.json.decode(line) if line.startswith(b"{") else {}
        if not said.get("ready"):
            raise self._failed(said.get("failed", ""))
        self.network = str(said.get("network", ""))

    def _failed(self, said: str) -> FreeholdError:
        """What the child's log says about a start that failed, as one sentence."""
        code = self._child.wait(10)
        reason = _reason(self._log) or said or (f"it ended with signal {-code}" if code < 0 else f"exit code {code}")
        if "xllamacpp" in said and "ModuleNotFound" in said:
            from freehold.errors import MissingExtra

            return MissingExtra("The embedded engine needs the package xllamacpp.", "pip install 'freehold[text]'")
        if any(word in reason for word in ("lora", "adapter")):
            return AdapterMismatch(
                f"An adapter does not fit {self.settings.model.name}: {reason}.", "Tune it on this base."
            )
        if "alloc" in reason:
            return EngineFailed(f"There is too little memory to load {self.settings.model.name}: {reason}.")
        return BaseUnusable(f"{self.settings.model} can't be loaded: {reason}.", "Fetch or convert the model again.")

    # speaking with it

    @contextlib.contextmanager
    def turn(self, kept: Kept | None = None, *, alone: bool = False) -> Iterator[Slot]:
        """A slot to compute in (slots.py). Raises Untouched where the child ended while the call waited for it."""
        with self._slots.turn(kept, alone=alone) as slot:
            if not self.alive:
                raise Untouched("it ended before this call began")
            try:
                yield slot
            except Gone:  # said before the slot is free, so that who waits for it knows
                self._broken = True
                raise

    def post(self, path: str, body: Mapping[str, Any], tokens: int = 0) -> dict[str, Any]:
        """One JSON answer; `tokens` is how many may have to be computed first."""
        with contextlib.closing(self._open(path, body, tokens)) as connection:
            with self._watch():
                response = connection.getresponse()
                data = response.read()
            return _checked(response.status, data)

    def get(self, path: str) -> dict[str, Any]:
        with contextlib.closing(self._open(path, None, 0)) as connection, self._watch():
            response = connection.getresponse()
            return _checked(response.status, response.read())

    def lines(self, path: str, body: Mapping[str, Any], tokens: int = 0) -> Generator[dict[str, Any], None, None]:
        """The rows of a stream, as they come."""
        with contextlib.closing(self._open(path, body, tokens)) as connection:
            with self._watch():
                response = connection.getresponse()
                if response.status != 200:
                    _checked(response.status, response.read())
            last = False
            while not last:
                with self._watch():
                    line = response.readline()
                if not line:
                    raise Gone("the stream broke off")
                if line.startswith((b"data:", b"error:")):
                    row = _checked(200, line.split(b":", 1)[1])
                    last = "stop_type" in row
                    yield row

    def _open(self, path: str, body: Mapping[str, Any] | None, tokens: int) -> _Local:
        connection = _Local(self.address, self.settings.silence + 0.5 * tokens * self.settings.slots)
        with self._watch():
            if body is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, msgspec.json.encode(body), {"Content-Type": "application/json"})
        return connection

    @contextlib.contextmanager
    def _watch(self) -> Iterator[None]:
        """What a broken or silent connection means."""
        try:
            yield
        except TimeoutError:
            self.kill()
            raise EngineDied(
                f"The embedded engine said nothing for longer than {self.settings.silence:.0f} seconds and was ended.",
                "The next call starts it again.",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Gone(str(error)) from error

    # its end

    def enter(self) -> bool:
        """A call begins; False where this child has been retired or is dead."""
        with self._lock:
            if self._retired or not self.alive:
                return False
            self._busy += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._busy -= 1
            done = self._retired and self._busy == 0
        if done:
            self.kill()

    def retire(self) -> None:
        """End once the calls under way have ended."""
        with self._lock:
            self._retired = True
            idle = self._busy == 0
        if idle:
            self.kill()

    def reason(self) -> str:
        """llama.cpp's latest reason for a failure, as far as it has told one."""
        return _reason(self._log, latest=True)

    def died(self) -> str:
        """How it ended, in words; it is certainly gone afterwards."""
        try:
            code = self._child.wait(2)
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            how = "it broke off the talk"
        reason = self.reason()
        self.kill()
        return f"{how}: {reason}" if reason else how

    def kill(self) -> None:
        """End it now, and remove its folder. May be called often, and from any thread."""
        child: subprocess.Popen[bytes] | None = getattr(self, "_child", None)
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def check_files(model: Path, adapters: Sequence[Path]) -> None:
    """Raises BaseUnusable or AdapterMismatch for a file that is not there, or no GGUF by its first bytes."""
    for path, error in ((model, BaseUnusable), *((a, AdapterMismatch) for a in adapters)):
        try:
            with path.open("rb") as file:
                start = file.read(4)
        except OSError as cause:
            raise error(f"{path} can't be read: {cause.strerror}.") from cause
        if start != b"GGUF":
            what = "looks like a pickle, which is never opened" if start.startswith(PICKLES) else "is no GGUF file"
            raise error(f"{path} {what}.", "The embedded engine reads GGUF files.")


def _checked(status: int, data: bytes) -> dict[str, Any]:
    """The JSON of an answer; an error of llama.cpp's server as one of ours."""
    try:
        said: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Gone("half an answer") from error
    failed = said.get("error")
    if failed is None and status == 200:
        return said
    about = failed if isinstance(failed, dict) else said
    message = str(about.get("message", f"status {status}")).strip().replace("\n", " ")
    if about.get("code", status) == 400:
        raise BadSetting(f"The embedded engine refuses this request: {message}.")
    raise EngineFailed(f"The embedded engine failed on a request: {message}.")


def _reason(log: Path, latest: bool = False) -> str:
    """llama.cpp's reason in its log: the line that names it, without the clock before it."""
    try:
        text = log.read_bytes()[-LOG_TAIL:].decode(errors="replace")
    except OSError:
        return ""
    lines = [line.split(" E ", 1)[-1].strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line.lower() for word in TELLING)]
    return telling[-1 if latest else 0].rstrip(".") if telling else ""
