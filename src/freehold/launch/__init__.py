"""Where a training job runs.

Job(module="freehold.train.worker", folder=work/train-1f3a, run=<the same in this process>)
    here                               this process    job.run(tell)
    ddp fsdp tp zero1 zero2 zero3      N processes     torchrun -m MODULE FOLDER --parallel NAME, its lines read

A worker's rank 0 writes JSON lines on stdout: {"tell": "loss 2.31 ...", "done": 0.4} and, at a failure,
{"error": "TrainingFailed", "message": "...", "hint": "..."}; the result lies in the job's folder.
"""

from __future__ import annotations

__all__: list[str] = []
