"""N processes of this machine through torchrun, and what the first of them says.

    launch → torch.distributed.run --standalone --nproc-per-node 2 -m MODULE FOLDER --parallel fsdp
        stdout   {"tell": "train: loss 2.310", "done": 0.4} → tell     {"error": "TrainingFailed", ...} → raised here
        stderr   FOLDER/launch.log, of which the last lines are told where a process ends without a word

They are one group: whatever ends this process ends all of them, and they leave a checkpoint before they go.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
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
GRACE = 20.0  # seconds between a polite end and the other one
SHOWN = 300  # characters of the log in a message


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
        raise LaunchFailed(f"{job.about}: a process ended with {_ended(code)} and said nothing{_last(log)}.",
                           f"See {log}; the same command goes on from the last checkpoint.")  # fmt: skip


@contextlib.contextmanager
def _started(line: list[str], sink: IO[bytes], processes: int) -> Iterator[subprocess.Popen[bytes]]:
    cores = max(1, len(os.sched_getaffinity(0)) // processes)
    env = {**os.environ, "OMP_NUM_THREADS": str(cores)}  # else each process takes every core
    with _stoppable():
        child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=sink, env=env, start_new_session=True)
        try:
            yield child
        finally:
            _end(child)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM unwinds the stack, as Ctrl-C does, so that the group is ended before this process is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(child: subprocess.Popen[bytes]) -> None:
    """The whole group; the processes have GRACE seconds for a checkpoint."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)  # torchrun hands it on to each process, and waits for them
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


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


def _ended(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _last(log: Path) -> str:
    """The last line that names an error."""
    said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-200:]
    named = [" ".join(line.split()) for line in said if "Error" in line and "ChildFailedError" not in line]
    return f": {named[-1][:SHOWN]}" if named else ""
