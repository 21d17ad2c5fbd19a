"""llama.cpp's own shared object, which xllamacpp carries, for what its Python face does not offer.

    library()                     the shared object, by ctypes
    quantised(rows, "Q4_K")       float32 [n, row] -> uint8 [n, bytes of a row], by ggml_quantize_chunk

The K-quants search for the best scales; they are not in the package gguf, so ggml's own code makes them.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from freehold.engines.gguf.read import TYPES
from freehold.errors import EngineFailed, MissingExtra

__all__ = ["library", "quantised"]

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
NUMBERS = {name: (number, block, width) for number, (name, block, width) in TYPES.items()}
ROWS = 4096  # a call, so that one large tensor needs no second copy of itself


@cache
def library() -> ctypes.CDLL:
    """Raises MissingExtra where xllamacpp is absent, EngineFailed where its shared object is another than expected."""
    from importlib.util import find_spec

    spec = find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        raise MissingExtra("The embedded engine needs the package xllamacpp.", "pip install 'freehold[text]'")
    found = sorted(Path(spec.origin).parent.glob("xllamacpp*.so")) + sorted(Path(spec.origin).parent.glob("*.dylib"))
    if not found:
        raise EngineFailed("The package xllamacpp holds no shared object.", "pip install --force-reinstall xllamacpp")
    return ctypes.CDLL(str(found[0]))


def quantised(rows: Floats, kind: str) -> Bytes:
    """Rows of a tensor in ggml's type `kind`; a row must be a multiple of the type's block."""
    number, block, width = NUMBERS[kind]
    n, row = rows.shape
    assert row % block == 0, (kind, row)
    lib = library()
    try:
        chunk, init = lib.ggml_quantize_chunk, lib.ggml_quantize_init
    except AttributeError as error:
        raise EngineFailed(
            "This build of xllamacpp has no ggml_quantize_chunk.", "pip install xllamacpp==2026.10.11549"
        ) from error
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    init(ctypes.c_int(number))
    out = np.empty((n, row // block * width), np.uint8)
    for start in range(0, n, ROWS):
        part = np.ascontiguousarray(rows[start : start + ROWS], np.float32)
        target = out[start : start + ROWS]
        written = chunk(number, part.ctypes.data, target.ctypes.data, 0, len(part), row, None)
        assert written == target.nbytes, (kind, written, target.nbytes)
    return out
