"""Random numbers, threads and other packages' talk: held still while a training runs, given back afterwards.

random_state() -> {"rng.torch": uint8 [5056], "rng.numpy": int64 [628], "rng.python": int64 [626], "rng.cuda": ...}
"""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np

__all__ = ["put_random_state", "random_state", "still"]


def random_state() -> dict[str, Any]:
    """Of python, numpy and torch, as tensors."""
    import torch

    _, keys, at, has, cached = np.random.get_state(legacy=True)
    _, inner, _ = random.getstate()
    state = {
        "rng.torch": torch.get_rng_state(),
        "rng.numpy": torch.tensor([*np.asarray(keys).tolist(), at, has]),
        "rng.numpy.cached": torch.tensor([cached], dtype=torch.float64),
        "rng.python": torch.tensor(inner),
    }
    # to ask an unopened card opens the first one, which may be another process's
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["rng.cuda"] = torch.cuda.get_rng_state()
    return state


def put_random_state(tensors: Mapping[str, Any]) -> None:
    import torch

    *keys, at, has = tensors["rng.numpy"].tolist()
    cached = float(tensors["rng.numpy.cached"])
    np.random.set_state(("MT19937", np.array(keys, np.uint32), at, has, cached))
    random.setstate((3, tuple(tensors["rng.python"].tolist()), None))
    torch.set_rng_state(tensors["rng.torch"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])


@contextmanager
def still(seed: int, threads: int) -> Iterator[None]:
    """This many threads and this seed; afterwards all is as it was."""
    import torch

    before, state = torch.get_num_threads(), random_state()
    torch.set_num_threads(threads)
    try:
        random.seed(seed)
        np.random.seed(seed % (1 << 32))
        torch.manual_seed(seed)
        with _quiet():
            yield
    finally:
        torch.set_num_threads(before)
        put_random_state(state)


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what the packages say reaches stdout, which is the result's, and no bars of theirs."""
    import torch
    from transformers.utils import logging as said

    level, bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity_error()  # type: ignore[no-untyped-call]
    said.disable_progress_bar()  # type: ignore[no-untyped-call]
    # both are opened by others where they are installed, and warn of what is not used here
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        said.set_verbosity(level)
        if bars:
            said.enable_progress_bar()  # type: ignore[no-untyped-call]
