"""The same rows and seed give the same bits: torch's threads and random numbers are held still for a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from freehold.errors import MissingExtra

__all__ = ["repeatable"]


@contextmanager
def repeatable(seed: int, threads: int = 1) -> Iterator[None]:
    """This many threads and this seed for torch; afterwards both are as they were. Raises MissingExtra."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("Tuning needs the package torch.", "pip install 'freehold[tune]'") from error
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
