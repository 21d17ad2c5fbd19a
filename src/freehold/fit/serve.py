"""Memory that answering takes on one replica, and how much of a context or how many streams it leaves room for.

    serving(a, "Q4_K_M", context=8192, slots=4)         {weights, cache, buffers}
    most_streams(a, 4.9e9, room=24e9, context=8192)     how many such streams the rest holds

Of a device's memory nine tenths are used (vLLM's default), the rest is the driver's and the graphs'.
"""

from __future__ import annotations

from freehold.fit.architecture import Stack
from freehold.fit.count import Model, cache_bytes, whole
from freehold.fit.forms import Form, weight_bytes
from freehold.fit.memory import Need

__all__ = ["BUFFERS", "most_context", "most_streams", "serving"]

BUFFERS = 512 << 20  # llama.cpp's compute buffers: 0.3 to 1.5 GiB
MOST = 1 << 24  # tokens: no model reads more


def serving(
    model: Model,
    form: str | Form,
    *,
    context: int,
    slots: int = 1,
    bits: float = 16.0,
    weights: int | None = None,
    buffers: int = BUFFERS,
) -> Need:
    """`slots` calls at once, of `context` ids each; `bits` a number of the cache. `weights`: bytes as a folder's or a
    GGUF's header says them, where one is at hand; else they are predicted."""
    a = whole(model)
    return {
        "weights": weight_bytes(a, form) if weights is None else weights,
        "cache": slots * cache_bytes(a, context, bits=bits),
        "buffers": buffers,
    }


def most_streams(a: Stack, weights: int, *, room: int, context: int, bits: float = 16.0) -> int:
    """Streams of `context` tokens whose caches fit beside `weights` into `room` bytes; 0 where none does."""
    one = cache_bytes(a, context, bits=bits)
    left = room - weights
    return max(left // one, 0) if one else (0 if left < 0 else MOST)


def most_context(a: Stack, weights: int, *, room: int, bits: float = 16.0) -> int:
    """Tokens of one stream that fit beside `weights` into `room` bytes, at most what the model reads; 0 where the
    weights themselves don't."""
    low, high = 0, a.context or MOST
    if room - weights < cache_bytes(a, 1, bits=bits):
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cache_bytes(a, middle, bits=bits) <= room - weights else (low, middle - 1)
    return low
