"""One process of a training: python -m freehold.train.worker FOLDER --parallel fsdp, by itself or under torchrun.

The first one (rank 0) writes JSON lines on stdout: {"tell": "train: loss 2.310 ...", "done": 0.4} and, at a failure of
any of them, {"error": "TrainingFailed", "message": "...", "hint": "..."}; the exit code is the error's. Nothing else
reaches stdout.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec

from freehold import errors
from freehold.errors import FreeholdError, LaunchFailed
from freehold.launch.job import PARALLEL
from freehold.project.storage import write_atomic
from freehold.tell import Tell, quiet

__all__ = ["main"]

FAILED = "failed.json"  # what another process than the first has to say
PATIENCE = 3.0  # seconds that the first one waits for it
EACH = 0.5  # seconds between lines that say the same with another number


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m freehold.train.worker", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parallel", choices=PARALLEL, default="none")
    args = parser.parse_args(argv)
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    out = _own_stdout()
    try:
        _run(args.folder, args.parallel, _lines(out) if rank == 0 else quiet)
    except FreeholdError as error:
        return _fail(error, args.folder, rank, out)
    except Exception as error:  # noqa: BLE001  another process may have ended first, and said why
        said = _heard(args.folder) if rank == 0 and ranks > 1 else None
        return _fail(said or _unknown(error), args.folder, rank, out)
    return 0


def _run(folder: Path, parallel: Any, tell: Tell) -> None:
    from freehold.train.loop import run

    if int(os.environ.get("RANK", "0")) == 0:
        (folder / FAILED).unlink(missing_ok=True)
    run(folder, parallel, tell)


def _own_stdout() -> TextIO:
    """What was stdout, for our lines alone; whatever else is printed goes to stderr, also by code in C."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _lines(out: TextIO) -> Tell:
    words, when = "", 0.0

    def tell(what: str, done: float | None = None, /) -> None:
        nonlocal words, when
        now = time.monotonic()
        if what != words or now - when >= EACH:
            words, when = what, now
            _say(out, {"tell": what, "done": done})

    return tell


def _say(out: TextIO, row: dict[str, Any]) -> None:
    out.write(msgspec.json.encode(row).decode() + "\n")
    out.flush()


def _fail(error: FreeholdError, folder: Path, rank: int, out: TextIO) -> int:
    row = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    if rank == 0:
        _say(out, row)
    else:
        write_atomic(folder / FAILED, msgspec.json.encode(row))
    return error.exit_code


def _heard(folder: Path) -> FreeholdError | None:
    """What another process left as the reason; None where it ended without a word."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if (folder / FAILED).is_file():
            row = msgspec.json.decode((folder / FAILED).read_bytes(), type=dict[str, str])
            error: FreeholdError = getattr(errors, row["error"])(row["message"], row["hint"])
            return error
        time.sleep(0.1)
    return None


def _unknown(error: Exception) -> FreeholdError:
    said = " ".join(str(error).split())[:300]
    return LaunchFailed(
        f"A process of the training ended: {type(error).__name__}: {said}.", "Run it again: it goes on."
    )


if __name__ == "__main__":
    sys.exit(main())
