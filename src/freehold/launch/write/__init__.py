"""A training that runs elsewhere: the files that start it there. Nothing is run here.

    DIR/  job/ corpus/ [start/]        what a worker needs, written before: train/carry.py
          README.md                    what to do, in order, and how the model comes home
    torchrun   run.sh                  on each machine; they find each other                    nodes.py
    skypilot   run.sh task.yaml        machines of a cloud, by SkyPilot                         skypilot.py
    ray        train.py                the machines of a Ray cluster, by Ray Train              ray_train.py
    megatron   to_megatron.py pretrain.sh [from_megatron.py]   NVIDIA's Megatron-LM             megatron.py

The first three run freehold's own worker: the same rows, the same curve, the same checkpoint as here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from freehold.launch.write import megatron, nodes, ray_train, skypilot
from freehold.launch.write.where import Where
from freehold.project.storage import read_bytes, write_atomic

__all__ = ["TARGETS", "Where", "files", "write"]

WRITERS = {"torchrun": nodes.files, "megatron": megatron.files, "skypilot": skypilot.files, "ray": ray_train.files}
TARGETS = tuple(WRITERS)


def files(target: str, job: dict[str, Any], where: Where) -> dict[str, str]:
    """{name: what it says}. `job`: what job.json holds, and the config.json of the first weights as "model". Raises
    BadSetting for what the target can't do."""
    return WRITERS[target](job, where)


def write(target: str, folder: Path, where: Where) -> list[Path]:
    """The files of a target, beside folder/job. Raises BadSetting, StorageFailed."""
    job = msgspec.json.decode(read_bytes(folder / "job" / "job.json"), type=dict[str, Any])
    first = folder / "job" / (job["start"] or "start")
    job["model"] = msgspec.json.decode(read_bytes(first / "config.json"))
    made = {folder / name: text for name, text in files(target, job, where).items()}
    for path, text in made.items():
        write_atomic(path, text.encode())
    return list(made)
