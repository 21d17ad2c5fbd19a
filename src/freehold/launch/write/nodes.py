"""torchrun on several machines: one script, which each of them runs in the same folder."""

from __future__ import annotations

from typing import Any

from freehold.launch.write.where import Where, home, named, packages

__all__ = ["RESTARTS", "files", "script"]

PORT = 29500
RESTARTS = 3  # of all processes, where one dies: each goes on from the checkpoint

SCRIPT = """\
#!/bin/sh
# On each of the machines ({machines}), in this folder, which all of them see:
#   {environment}sh run.sh
set -eu
cd "$(dirname "$0")"
exec python -m torch.distributed.run \\
  --nnodes {machines} --nproc-per-node {processes} --max-restarts {restarts} \\
  --rdzv-backend c10d --rdzv-id {name} \\
  --rdzv-endpoint "{master}:${{PORT:-{port}}}" \\
  -m freehold.train.worker job --parallel {parallel}
"""

README = """\
# {name}: {all} processes on {machines} machines by torchrun ({parallel})
1. Put this folder where every machine sees it under the same path (NFS or alike): the first process writes the
   checkpoint there, and all read it.
2. On each machine, in an environment with `pip install '{packages}'`:

       {environment}sh run.sh

A process that dies ends the others, and all start again from the last checkpoint, {restarts} times. Port {port} must be
open between the machines; `PORT=` names another, on all of them the same.

"""


def script(job: dict[str, Any], where: Where) -> str:
    master = "127.0.0.1" if where.machines == 1 else "${MASTER:?the address of one of the machines}"
    return SCRIPT.format(machines=where.machines, processes=where.processes, parallel=where.parallel, master=master,
                         environment=_environment(where), restarts=RESTARTS, port=PORT, name=named(job))  # fmt: skip


def files(job: dict[str, Any], where: Where) -> dict[str, str]:
    said = README.format(name=named(job), all=where.all, machines=where.machines, parallel=where.parallel,
                         environment=_environment(where), packages=packages(where), restarts=RESTARTS,
                         port=PORT)  # fmt: skip
    return {"run.sh": script(job, where), "README.md": said + home(where)}


def _environment(where: Where) -> str:
    return "" if where.machines == 1 else "MASTER=<address of one of the machines> "
