"""What the files for Megatron-LM say, but for the arguments."""

from __future__ import annotations

__all__ = ["BACK", "README", "SHELL", "THERE"]

THERE = '''\
"""The ids of the corpus as Megatron's own dataset: python to_megatron.py, in this folder; needs megatron-core."""

from pathlib import Path

import numpy as np
from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder

VOCABULARY, END = {vocabulary}, {end}
START = "{start}"  # a model that is trained on

HERE = Path(__file__).resolve().parent


def documents(ids):
    """(first, after the last) of each; a document begins with END."""
    firsts = np.flatnonzero(ids == END)
    edges = np.concatenate([firsts if len(firsts) and firsts[0] == 0 else np.append(0, firsts), [len(ids)]])
    return zip(edges[:-1], edges[1:])


if __name__ == "__main__":
    (HERE / "megatron").mkdir(exist_ok=True)
    for name in ("train", "held_out"):
        ids = np.load(HERE / "corpus" / f"{{name}}.npy", mmap_mode="r")
        builder = IndexedDatasetBuilder(str(HERE / "megatron" / f"{{name}}.bin"), DType.optimal_dtype(VOCABULARY))
        for first, last in documents(ids):
            builder.add_document(ids[first:last], [int(last - first)])
        builder.finalize(str(HERE / "megatron" / f"{{name}}.idx"))
        print(f"{{name}}: {{len(ids):,}} ids")
    if START:
        from megatron.bridge import AutoBridge

        AutoBridge.import_ckpt(hf_model_id=str(HERE / START), megatron_path=str(HERE / "megatron" / "start"))
'''

SHELL = """\
#!/bin/sh
# On each of the machines ({machines}), in this folder, which all of them see:
#   MASTER=<address of the first> NODE_RANK=<0, 1, ...> MEGATRON=<Megatron-LM's folder> sh pretrain.sh
{why}
set -eu
cd "$(dirname "$0")"
exec python -m torch.distributed.run \\
  --nnodes {machines} --nproc-per-node {processes} --node-rank "${{NODE_RANK:-0}}" \\
  --master-addr "${{MASTER:-127.0.0.1}}" --master-port "${{PORT:-29500}}" \\
  "${{MEGATRON:?the folder of Megatron-LM}}/pretrain_gpt.py" \\
  {arguments}
"""

BACK = '''\
"""Megatron's checkpoint as a Hugging Face folder, model/: python from_megatron.py; needs megatron-bridge."""

import shutil
from pathlib import Path

from megatron.bridge import AutoBridge

HERE = Path(__file__).resolve().parent
LAST = "iter_{steps:07d}"

if __name__ == "__main__":
    bridge = AutoBridge.from_hf_pretrained(str(HERE / "{start}"))
    bridge.export_ckpt(megatron_path=str(HERE / "megatron" / "checkpoint" / LAST), hf_path=str(HERE / "model"))
    for path in (HERE / "corpus" / "tokenizer").iterdir():
        shutil.copyfile(path, HERE / "model" / path.name)
    (HERE / "model" / "README.md").write_text("---\\nlicense: {licence}\\n---\\n")
'''

README = """\
# {name}: {all} cards on {machines} machines by Megatron-LM
Arguments are those of Megatron-LM at its commit 000c4ac24f61. to_megatron.py was run, with megatron-core 0.16.1;
pretrain.sh and from_megatron.py never were: no cards could be had.

1. `git clone https://github.com/NVIDIA/Megatron-LM`, `pip install megatron-core`; for the way back
   `pip install megatron-bridge`.
2. `python to_megatron.py`: the ids as Megatron's dataset.
3. On each machine, in this folder, which all of them see:

       MASTER=<address of the first> NODE_RANK=<0, 1, ...> MEGATRON=<its folder> sh pretrain.sh

   A second time goes on from `megatron/checkpoint`.
4. `python from_megatron.py`: a Hugging Face folder, `model/`, that `freehold tune --base model` starts from.

Megatron has its own loop, checkpoint and order of rows: the curve is not the one that freehold's launches share.
"""
