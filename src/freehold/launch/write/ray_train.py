"""Ray Train: a script that runs freehold's loop in each worker of a Ray cluster."""

from __future__ import annotations

from typing import Any

from freehold.launch.write.where import Where, home, named, packages

__all__ = ["files"]

SCRIPT = '''\
"""A training of freehold by Ray Train: python train.py, in this folder, which every machine of the cluster sees.

With --cpu the workers take no cards.
"""

import sys
from pathlib import Path

from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer

FOLDER = Path(__file__).resolve().parent / "job"


def learn(settings):
    """In each worker; Ray has joined them already."""
    from freehold.train.loop import run

    run(Path(settings["folder"]), settings["parallel"], lambda what, done=None: print(what, flush=True))


if __name__ == "__main__":
    TorchTrainer(
        learn,
        train_loop_config={{"folder": str(FOLDER), "parallel": "{parallel}"}},
        scaling_config=ScalingConfig(num_workers={all}, use_gpu="--cpu" not in sys.argv),
    ).fit()
'''

README = """\
# {name}: {all} workers of a Ray cluster by Ray Train ({parallel})
1. Put this folder where every machine of the cluster sees it under the same path.
2. Each machine has `pip install '{packages}' 'ray[train]'`.
3. `python train.py`, on the head of the cluster (`ray job submit -- python train.py` from elsewhere). A second time
   goes on from the checkpoint.

"""


def files(job: dict[str, Any], where: Where) -> dict[str, str]:
    said = README.format(name=named(job), all=where.all, parallel=where.parallel, packages=packages(where))
    return {
        "train.py": SCRIPT.format(parallel=where.parallel, all=where.all),
        "README.md": said + home(where),
    }
