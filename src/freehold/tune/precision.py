"""Is bfloat16 the faster arithmetic here? Measured at the start of a training, on what it spends most on.

faster(384, 1536) -> ("bfloat16", "bfloat16: a product of 256 x 384 by 1536 takes 2.9 ms in float32 and 1.2 ms ...")
"""

from __future__ import annotations

from functools import cache
from time import process_time
from typing import Any

from freehold.tune.repeat import repeatable

__all__ = ["faster"]

LEAST = (
    1.4  # times faster that bfloat16 has to be: with the instructions for it it is twice or more, without them slower
)
ROWS, TIMES, ROUNDS = 256, 5, 7


@cache
def faster(width: int, inner: int) -> tuple[str, str]:
    """The name of the faster type for products of this size, and the measurement in words. CPU seconds on one thread,
    the best of seven, so that it says the same each time. Raises MissingExtra."""
    with repeatable(0):
        import torch

        seconds = {name: _product(getattr(torch, name), width, inner) for name in ("float32", "bfloat16")}
    gain = seconds["float32"] / max(seconds["bfloat16"], 1e-9)
    said = f"a product of {ROWS} x {width} by {inner} takes {1e3 * seconds['float32']:.2f} ms in float32"
    said += f" and {1e3 * seconds['bfloat16']:.2f} ms in bfloat16"
    if gain >= LEAST:
        return "bfloat16", f"bfloat16: {said}, {gain:.1f} times as fast"
    return "float32", f"float32: {said}, no gain"


def _product(dtype: Any, width: int, inner: int) -> float:
    """CPU seconds of one matrix product; torch's random numbers stay untouched."""
    import torch

    a, b = torch.ones(ROWS, width, dtype=dtype), torch.ones(inner, width, dtype=dtype)
    spent = []
    for _ in range(ROUNDS):
        began = process_time()
        for _ in range(TIMES):
            torch.nn.functional.linear(a, b)
        spent.append((process_time() - began) / TIMES)
    return min(spent)
