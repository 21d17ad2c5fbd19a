"""SkyPilot: a task file for machines of a cloud, which runs the script of nodes.py on each.

On one machine the folder is copied there (workdir). On several all must see one checkpoint: a bucket that SkyPilot
makes and mounts on each; the text is copied, since it is read all the time. Fields are those of SkyPilot 0.14.
"""

from __future__ import annotations

from typing import Any

from freehold.launch.write.nodes import script
from freehold.launch.write.where import Where, home, named, packages

__all__ = ["files"]

ACCELERATOR = "H100"

TASK = """\
# {packages}: sky launch -c {name} task.yaml, in this folder
name: {name}
num_nodes: {machines}
resources:
  accelerators: {accelerator}:{processes}  # any that `sky gpus list` names
{folder}
setup: |
  pip install '{packages}'
run: |
  cd {there}
  MASTER=$(echo "$SKYPILOT_NODE_IPS" | head -n 1) sh run.sh
"""
COPIED = "workdir: ."
MOUNTED = """\
file_mounts:
{copied}
  ~/freehold/job:  # a bucket that is made of this folder; all machines see it
    name: {name}
    source: ./job
    mode: MOUNT"""

README = """\
# {name}: {all} processes on {machines} machines of a cloud by SkyPilot ({parallel})
Written after SkyPilot 0.14's schema; nothing of it was run.

1. `pip install skypilot[<your cloud>]`, and `sky check`.
2. Look at `accelerators` in task.yaml, and at what it costs: `sky launch --dryrun task.yaml`.
3. `sky launch -c {name} task.yaml`
4. {fetch}
5. `sky down {name}`: machines cost until they are gone.

"""
FETCHED = "`rsync -r {name}:sky_workdir/job/ job/` brings checkpoint and result here."
KEPT = "The bucket {name} is `job/`, with checkpoint and result: copy it here with your cloud's own command."


def files(job: dict[str, Any], where: Where) -> dict[str, str]:
    name, many = named(job), where.machines > 1
    copied = ["run.sh", "corpus", *([job["start"].removeprefix("../")] if job["start"] else [])]
    mounted = MOUNTED.format(name=name, copied="\n".join(f"  ~/freehold/{path}: ./{path}" for path in copied))
    task = TASK.format(name=name, machines=where.machines, accelerator=ACCELERATOR, processes=where.processes,
                       folder=mounted if many else COPIED, packages=packages(where),
                       there="~/freehold" if many else "~/sky_workdir")  # fmt: skip
    said = README.format(name=name, all=where.all, machines=where.machines, parallel=where.parallel,
                         fetch=(KEPT if many else FETCHED).format(name=name))  # fmt: skip
    return {
        "run.sh": script(job, where),
        "task.yaml": task,
        "README.md": said + home(where),
    }
