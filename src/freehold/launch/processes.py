"""N processes of this machine through torchrun, and what the first of them says.

    launch → torch.distributed.run --standalone --nproc-per-node 2 -m MODULE FOLDER --parallel fsdp
        stdout   {"tell": "train: loss 2.310", "done": 0.4} → tell     {"error": "TrainingFailed", ...} → raised here
        stderr   FOLDER/launch.log, of which the last lines are told where a process ends without a word

Whatever ends this process ends all of them, and they leave a checkpoint before they go. torchrun gives each of them a
session of its own, so those that are left are found by what stands in their environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

import msgspec

from freehold import errors
from freehold.errors import FreeholdError, LaunchFailed
from freehold.launch.job import Job, Parallel
from freehold.project.storage import guarded
from freehold.tell import Tell

__all__ = ["command", "spread"]

LOG = "launch.log"
MARK = "FREEHOLD_LAUNCH"  # in the environment of all processes of a launch
GRACE = 40.0  # seconds between a polite end and the other one; torchrun gives its processes 30 of them
SHOWN = 300  # characters of the log in a message
TAIL = 1 << 16  # bytes of its end that are looked at
KILLED = "signal 9, as the system sends it where memory ends,"


def command(job: Job, parallel: Parallel, processes: int) -> list[str]:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*run, "-m", job.module, str(job.folder), "--parallel", parallel]


def spread(job: Job, parallel: Parallel, processes: int, tell: Tell) -> None:
    """Run the job to its end. Raises what the job does; LaunchFailed where its processes end without a word."""
    log = job.folder / LOG
    with guarded(log):
        sink = log.open("wb")
    with sink, _started(command(job, parallel, processes), sink, processes) as child:
        assert child.stdout is not None
        failed = _listen(child.stdout, tell)
        code = child.wait()
    if failed is not None:
        raise failed
    if code != 0:
        raise LaunchFailed(f"{job.about}: a process ended with {_ended(code, log)} and said nothing{_last(log)}.",
                           f"See {log}; the same command goes on from the last checkpoint.")  # fmt: skip


@contextlib.contextmanager
def _started(line: list[str], sink: IO[bytes], processes: int) -> Iterator[subprocess.Popen[bytes]]:
    cores, mark = max(1, len(os.sched_getaffinity(0)) // processes), uuid.uuid4().hex
    env = {**os.environ, "OMP_NUM_THREADS": str(cores), MARK: mark}  # else each process takes every core
    with _stoppable():
        child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=sink, env=env, start_new_session=True)
        try:
            yield child
        finally:
            _end(child, mark)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM, and the end of the terminal, unwind the stack, as Ctrl-C does: the processes are ended before this one
    is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    hung_up = [] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]  # nohup
    before = {number: signal.signal(number, stop) or signal.SIG_DFL for number in (signal.SIGTERM, *hung_up)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(child: subprocess.Popen[bytes], mark: str) -> None:
    """All of them; the processes have GRACE seconds for a checkpoint, or until this one is asked to end again."""
    try:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)  # torchrun hands it on to each process, and waits for them
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
    finally:
        while left := _left(mark):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _left(mark: str) -> list[int]:
    """The processes of a launch that are still there, whoever is their parent by now."""
    said, found = f"{MARK}={mark}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # another user's, or gone
            if said in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _listen(lines: IO[bytes], tell: Tell) -> FreeholdError | None:
    """What went wrong, as the job said it; None where it said nothing of the kind."""
    failed: FreeholdError | None = None
    for line in lines:
        try:
            row = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError):
            continue  # torchrun itself may print
        if "error" in row:
            failed = _error(row)
        elif "tell" in row:
            tell(str(row["tell"]), row.get("done"))
    return failed


def _error(row: dict[str, Any]) -> FreeholdError:
    kind = getattr(errors, str(row["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, FreeholdError)):
        kind = LaunchFailed
    return kind(str(row.get("message", "")), str(row.get("hint", "")))


def _ended(code: int, log: Path) -> str:
    """How the first process that failed did, as torchrun's summary says it; else torchrun itself."""
    first = re.search(r"Root Cause.*?exitcode\s*: (-?\d+)", _tail(log), re.DOTALL)
    code = int(first[1]) if first else code
    return KILLED if code == -signal.SIGKILL else f"signal {-code}" if code < 0 else f"exit code {code}"


def _last(log: Path) -> str:
    """The last line that names an error."""
    lines = _tail(log).splitlines()
    named = [" ".join(line.split()) for line in lines if "Error" in line and "ChildFailedError" not in line]
    return f": {named[-1][:SHOWN]}" if named else ""


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        return file.read().decode(errors="replace")
