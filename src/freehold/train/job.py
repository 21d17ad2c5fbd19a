"""job.json: what a training is, beside the text itself. A process that trains needs its folder and nothing else.

    {"freehold": 1, "plan": Plan, "corpus": {"folder": "../corpus", "vocabulary": 1024, "end": 0, ..., "sha256": ...},
     "start": "../start-1f3a or empty", "threads": 1, "every": 60.0, "at_once": 16384}

Folders are written as seen from the job's own, so that a project that was moved still goes on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import msgspec

from freehold.errors import ArtifactDamaged
from freehold.project.storage import pretty, read_bytes, write_atomic
from freehold.train.nouns import Corpus, Plan, Shape

__all__ = ["JOB", "RESULT", "START", "STOPPED", "Text", "Training", "ids_at_once", "read_job", "write_job"]

JOB, START, RESULT, STOPPED = "job.json", "start", "result", "stopped.json"
VERSION = 1
EVERY = 60.0  # seconds on the clock between checkpoints
AT_ONCE = 16_384  # ids of a step that one process holds in memory at once, at most
ROOM = 1 << 30  # bytes for what they leave behind until the backward pass


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a loop has to know of a corpus."""

    folder: str
    vocabulary: int
    end: int
    tokens: int
    held_out_tokens: int
    held_out_bytes: int
    sha256: str


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`threads`: of each process. `every`: seconds between checkpoints. `at_once`: ids that a process works on at
    once; a step of more is made in pieces, with the same gradient but for the order of sums."""

    plan: Plan
    corpus: Text
    start: str = ""
    threads: int = 1
    every: float = EVERY
    at_once: int = AT_ONCE
    freehold: int = VERSION

    @property
    def key(self) -> str:
        """What has to be the same for a checkpoint to be of this training. Rate, schedule, clip and precision may be
        changed on the way: that is how one goes on after a loss that was no number."""
        p = self.plan
        said = [p.shape, p.rows, p.steps, p.seed, p.start, self.corpus.sha256]
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def write_job(
    folder: Path,
    plan: Plan,
    corpus: Corpus,
    start: Path | None = None,
    threads: int = 1,
    *,
    every: float = EVERY,
    at_once: int = 0,
) -> Training:
    """`start`: the Hugging Face folder of the model that is trained on. Where another plan stood here, the result and
    the verdict of that one go; its checkpoint stays, and is used if it fits (Training.key). `at_once`: 0 is as many
    ids as ROOM holds."""
    text = Text(
        folder=_seen(corpus.folder, folder),
        vocabulary=corpus.vocabulary,
        end=corpus.end,
        tokens=corpus.tokens,
        held_out_tokens=corpus.held_out_tokens,
        held_out_bytes=corpus.held_out_bytes,
        sha256=corpus.sha256,
    )
    job = Training(
        plan, text, _seen(start, folder) if start else "", threads, every, at_once or ids_at_once(plan.shape)
    )
    before = read_job(folder)
    if before is not None and (before.plan, before.corpus.sha256) != (plan, text.sha256):
        shutil.rmtree(folder / RESULT, ignore_errors=True)
        (folder / STOPPED).unlink(missing_ok=True)
        if before.key != job.key:
            shutil.rmtree(folder / START, ignore_errors=True)
    write_atomic(folder / JOB, pretty(job))
    return job


def ids_at_once(shape: Shape, room: int = ROOM) -> int:
    """How many ids of a step are worked on together: what their layers and logits keep in float32 fits into `room`.
    Counted from the shape alone, so that a training goes on with the same sums. One row at least."""
    experts = max(1, shape.chosen)
    kept = shape.layers * (12 * shape.width + 4 * experts * shape.inner) + 3 * shape.vocabulary
    return max(shape.context, min(AT_ONCE, room // (4 * kept)))


def read_job(folder: Path) -> Training | None:
    """None where nothing was begun. Raises ArtifactDamaged."""
    path = folder / JOB
    if not path.is_file():
        return None
    try:
        job = msgspec.json.decode(read_bytes(path), type=Training)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ArtifactDamaged(
            f"{path} can't be read: {error}.", "Remove its folder; the training starts again."
        ) from error
    if job.freehold != VERSION:
        raise ArtifactDamaged(
            f"{path} is of the form {job.freehold}; this one reads {VERSION}.",
            "Remove its folder, or take that freehold.",
        )
    return job


def _seen(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())
