"""Where a training job runs.

Job(module="freehold.train.worker", folder=work/train-1f3a, run=<the same in this process>)
    none                               this process    job.run(tell)
    ddp fsdp tp zero1 zero2 zero3      N processes     torchrun -m MODULE FOLDER --parallel NAME: processes.py
    other machines                     nothing here    the files that start it there: write/

A worker's rank 0 writes JSON lines on stdout: {"tell": "loss 2.31 ...", "done": 0.4} and, at a failure,
{"error": "TrainingFailed", "message": "...", "hint": "..."}; the result lies in the job's folder.
"""

from __future__ import annotations

from freehold.launch.job import Job, Parallel
from freehold.tell import Tell, quiet

__all__ = ["launch"]


def launch(job: Job, parallel: Parallel, *, processes: int = 1, tell: Tell = quiet) -> None:
    """Run a job to its end, in this process or in `processes` of this machine. Raises what the job raises, LaunchFailed
    where its processes could not be started or ended without a word, MissingExtra."""
    if parallel == "none":
        job.run(tell)
        return
    from freehold.launch.processes import spread

    spread(job, parallel, processes, tell)
