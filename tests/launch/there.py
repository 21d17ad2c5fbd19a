"""A training that is written for other machines, and what reads it there: a shell, and torchrun's own parser."""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LLAMA_8B = {
    "layers": 32, "width": 4096, "inner": 14336, "heads": 32, "kv_heads": 8, "context": 8192, "vocabulary": 128_256,
    "experts": 0, "chosen": 0, "tied": False,
}  # fmt: skip
MIXTRAL = LLAMA_8B | {"vocabulary": 32_000, "experts": 8, "chosen": 2}
LLAMA = {"model_type": "llama", "rms_norm_eps": 1e-5, "hidden_act": "silu", "attention_bias": False, "head_dim": 128,
         "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}  # fmt: skip


def job(shape: dict[str, Any] | None = None, **plan: Any) -> dict[str, Any]:
    usual = {
        "shape": shape or LLAMA_8B, "rows": 64, "steps": 1000, "rate": 3e-4, "warm": 20, "schedule": "cosine",
        "least": 0.1, "decay": 0.1, "betas": [0.9, 0.95], "clip": 1.0, "balance": 0.02, "dtype": "bfloat16",
        "evals": 10, "seed": 0,
    }  # fmt: skip
    corpus = {"folder": "../corpus", "vocabulary": 128_256, "end": 0, "held_out_tokens": 10**7, "sha256": "ab" * 32}
    model = LLAMA | {"model_type": "mixtral" if usual["shape"]["experts"] else "llama"}  # type: ignore[index]
    return {"plan": usual | plan, "corpus": corpus, "start": "", "model": model}


def ran(text: str, folder: Path, **environment: str) -> list[str]:
    """What a shell script gives to `python`: a stand-in that writes down its words."""
    (folder / "run.sh").write_text(text)
    python = folder / "python"
    python.write_text(f"""#!/bin/sh
for word in "$@"; do echo "$word"; done > '{folder}/words'
pwd > '{folder}/where'
echo "$CUDA_DEVICE_MAX_CONNECTIONS" > '{folder}/connections'
""")
    python.chmod(0o755)
    environment |= {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", folder / "run.sh"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return (folder / "words").read_text().splitlines()


def torchrun(words: list[str]) -> argparse.Namespace:
    run = pytest.importorskip("torch.distributed.run")
    assert words[:2] == ["-m", "torch.distributed.run"]
    said: argparse.Namespace = run.get_args_parser().parse_args(words[2:])
    return said
