"""mergekit, at work in a process of its own: python -m freehold.merge.worker work/merge-<key> SEED

    merge.yml ─MergeConfiguration→ run_merge, on the CPU, no code of a model's, safetensors in and out → result/

The last line of its output says what went wrong. It ends when its stdin does, which is when its parent ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import warnings
from pathlib import Path

__all__ = ["work"]


def work(folder: Path, seed: int = 0) -> None:
    """Write folder/result from folder/merge.yml. Raises ValueError for a result with numbers that are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mergekit looks at names that numpy and torch have given up
        from mergekit.config import MergeConfiguration
        from mergekit.merge import run_merge
        from mergekit.options import MergeOptions

        said = json.loads((folder / "merge.yml").read_bytes())
        options = MergeOptions(
            device="cpu",
            trust_remote_code=False,
            lazy_unpickle=False,
            safe_serialization=True,
            copy_tokenizer=False,
            write_model_card=False,
            random_seed=seed,
            quiet=True,
        )
        run_merge(MergeConfiguration.model_validate(said), str(folder / "result"), options)
    _finite(folder / "result")


def _finite(result: Path) -> None:
    import torch
    from safetensors import safe_open

    for path in sorted(result.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                if not bool(torch.isfinite(file.get_tensor(name)).all()):
                    raise ValueError(f"{name} is not finite in the result; take weights nearer to each other")


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing is ever written there; sys.stdin would be locked when this process ends by itself
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(Path(sys.argv[1]), int(sys.argv[2]))
