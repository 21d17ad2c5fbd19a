"""What the files for Megatron-LM say, but for the arguments."""

from __future__ import annotations

__all__ = ["BACK", "BRIDGE", "HOME", "NO_HOME", "README", "SHELL", "THERE"]

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
#   {environment}MEGATRON=<Megatron-LM's folder> sh pretrain.sh
{why}
set -eu
cd "$(dirname "$0")"
export CUDA_DEVICE_MAX_CONNECTIONS=1  # Megatron refuses to share layers without
exec python -m torch.distributed.run \\
  --nnodes {machines} --nproc-per-node {processes} --node-rank {rank} \\
  --master-addr {master} --master-port "${{PORT:-29500}}" \\
  "${{MEGATRON:?the folder of Megatron-LM}}/pretrain_gpt.py" \\
  {arguments}
"""

BACK = '''\
"""Megatron's checkpoint as a Hugging Face folder, model/: python from_megatron.py; needs megatron-bridge."""

import os
import shutil
from pathlib import Path

from megatron.bridge import AutoBridge
from megatron.bridge.training.model_load_save import load_megatron_model, temporary_distributed_context

HERE = Path(__file__).resolve().parent
LAST = "iter_{steps:07d}"
LICENCE = {licence!r}

if __name__ == "__main__":
    os.chdir(HERE)  # the checkpoint names the tokenizer as seen from here
    bridge = AutoBridge.from_hf_pretrained(str(HERE / "{start}"))
    with temporary_distributed_context(backend="gloo"):
        # the bridge's own export_ckpt reads its own checkpoints alone: Megatron-LM's don't say that they are a GPT
        found = load_megatron_model(str(HERE / "megatron" / "checkpoint" / LAST), model_type="gpt", use_cpu_init=True)
        bridge.save_hf_pretrained(found if isinstance(found, list) else [found], str(HERE / "model"))
    for path in (HERE / "corpus" / "tokenizer").iterdir():
        shutil.copyfile(path, HERE / "model" / path.name)
    (HERE / "model" / "README.md").write_text(f"---\\nlicense: {{LICENCE}}\\n---\\n")
'''

README = """\
# {name}: {all} cards on {machines} machines by Megatron-LM
Arguments are those of Megatron-LM at its commit 000c4ac24f61. to_megatron.py was run, with megatron-core 0.16.1;
pretrain.sh{and_back} never {were}: no cards could be had.

1. In NVIDIA's container of PyTorch (nvcr.io/nvidia/pytorch), which has the Transformer Engine that Megatron computes
   with: `git clone https://github.com/NVIDIA/Megatron-LM`, `pip install megatron-core`{bridge}.
2. `python to_megatron.py`: the ids as Megatron's dataset.
3. On each machine, in this folder, which all of them see:

       {environment}MEGATRON=<its folder> sh pretrain.sh

   A second time goes on from `megatron/checkpoint`.
4. {home}

Megatron has its own loop, checkpoint and order of rows: the curve is not the one that freehold's launches share.
"""

BRIDGE = ", and for the way back\n   `pip install megatron-bridge` (0.6 of it, which reads what transformers 5 writes)"
HOME = "`python from_megatron.py`: a Hugging Face folder, `model/`, that `freehold tune --base model` starts from."
NO_HOME = """\
There is no way back into a Hugging Face folder yet: megatron-bridge 0.6.2 knows no experts of Mixtral's shape, so
   freehold can't take this model home. `--write torchrun`, `skypilot` or `ray` train the same experts, and theirs come
   home."""
