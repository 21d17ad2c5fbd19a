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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["work"]


def work(folder: Path, seed: int = 0) -> None:
    """Write folder/result from folder/merge.yml. Raises ValueError for a result with numbers that are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mergekit looks at names that numpy and torch have given up
        from mergekit.config import MergeConfiguration
        from mergekit.merge import run_merge
        from mergekit.options import MergeOptions

        from freehold.merge.room import SHARD

        said = json.loads((folder / "merge.yml").read_bytes())
        options = MergeOptions(
            device="cpu",
            trust_remote_code=False,
            lazy_unpickle=False,
            safe_serialization=True,
            copy_tokenizer=False,
            write_model_card=False,
            random_seed=seed,
            out_shard_size=SHARD,
            quiet=True,
        )
        run_merge(MergeConfiguration.model_validate(said), str(folder / "result"), options)
    _finite(folder / "result", [Path(row["model"]) for row in said["models"]])
    if _names(folder / "result") != _names(Path(said["models"][0]["model"])):
        _renamed(folder / "result")


def _finite(result: Path, models: Sequence[Path]) -> None:
    """Raises ValueError, naming the tensor, and the model where it is that already."""
    name = _not_finite(result)
    if name is not None:
        model = next((model for model in models if _not_finite(model) is not None), None)
        where = f"in {model}" if model else "in the result; take weights nearer to each other"
        raise ValueError(f"{name} holds numbers that are none {where}")


def _not_finite(folder: Path) -> str | None:
    """The first tensor with numbers that are none."""
    import torch
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                if not bool(torch.isfinite(file.get_tensor(name)).all()):
                    return str(name)
    return None


def _names(folder: Path) -> set[str]:
    from safetensors import safe_open

    found: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            found |= set(file.keys())
    return found


def _renamed(result: Path) -> None:
    """mergekit writes experts as transformers holds them, several in one tensor; on the disk they lie one by one, and
    all that reads such a folder here expects them so. transformers' own writer puts them back."""
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM

    held = [*result.glob("*.safetensors"), *result.glob("*.safetensors.index.json")]
    tensors = {name: tensor for path in held if path.suffix != ".json" for name, tensor in load_file(path).items()}
    config = AutoConfig.from_pretrained(result, trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=next(iter(tensors.values())).dtype)  # type: ignore[no-untyped-call]
    said = model.load_state_dict(tensors, strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", ()))
    if said.unexpected_keys or set(said.missing_keys) - tied:
        raise ValueError(f"the merged model is not whole: {[*said.unexpected_keys, *said.missing_keys][:3]}")
    for path in held:
        path.unlink()
    model.save_pretrained(result)


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing is ever written there; sys.stdin would be locked when this process ends by itself
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(Path(sys.argv[1]), int(sys.argv[2]))
