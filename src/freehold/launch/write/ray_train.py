"""Ray Train: a script that runs freehold's loop in each worker of a Ray cluster."""

from __future__ import annotations

from typing import Any

from freehold.launch.write.nodes import RESTARTS
from freehold.launch.write.where import Where, home, named, packages

__all__ = ["files"]

SCRIPT = '''\
"""A training of freehold by Ray Train: python train.py, in this folder, which every machine of the cluster sees.

With --cpu the workers take no cards.
"""

import sys
from pathlib import Path

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

HERE = Path(__file__).resolve().parent


def learn(settings):
    """In each worker; Ray has joined them already."""
    from freehold.train.loop import run

    said = set()

    def tell(what, done=None):
        if what not in said:  # it is told at every step
            said.add(what)
            print(what, flush=True)

    run(Path(settings["folder"]), settings["parallel"], tell)


if __name__ == "__main__":
    TorchTrainer(
        learn,
        train_loop_config={{"folder": str(HERE / "job"), "parallel": "{parallel}"}},
        scaling_config=ScalingConfig(num_workers={all}, use_gpu="--cpu" not in sys.argv),
        run_config=RunConfig(storage_path=str(HERE / "ray"), failure_config=FailureConfig(max_failures={restarts})),
    ).fit()
'''

README = """\
# {name}: {all} workers of a Ray cluster by Ray Train ({parallel})
1. Put this folder where every machine of the cluster sees it under the same path.
2. Each machine has `pip install '{packages}' 'ray[train]'`.
3. `python train.py`, on the head of the cluster (from elsewhere `ray job submit -- python FOLDER/train.py`, with this
   folder as the cluster sees it). A worker that dies ends the others, and all start again from the last checkpoint,
   {restarts} times. A second time goes on from there, too.

"""


def files(job: dict[str, Any], where: Where) -> dict[str, str]:
    said = README.format(name=named(job), all=where.all, parallel=where.parallel, packages=packages(where),
                         restarts=RESTARTS)  # fmt: skip
    return {
        "train.py": SCRIPT.format(parallel=where.parallel, all=where.all, restarts=RESTARTS),
        "README.md": said + home(where),
    }
