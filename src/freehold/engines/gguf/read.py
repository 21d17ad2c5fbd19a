"""Read a GGUF without loading it into an engine, and refuse what would make the engine fall over.

    b"GGUF" version u32, tensors u64, keys u64
    ├── keys      name, kind, value         {"general.architecture": "llama", "llama.block_count": 30, ...}
    ├── tensors   name, shape, type, offset {"blk.0.attn_q.weight": [576, 576] Q8_0 at 0, ...}  shape innermost first
    └── data      from the next multiple of `general.alignment` on

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A llama.cpp that reads damaged weights answers
with other words or dies: so size and place of every tensor are checked here, and flipped bits by sha256 where it is
known.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from freehold.errors import BaseUnusable, MissingExtra

__all__ = ["ARCHITECTURES", "Gguf", "Placed", "check", "refuse_pickle"]

Floats = npt.NDArray[np.float32]
ARCHITECTURES = ("llama", "qwen2")
MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
MOST = 1 << 31  # entries of one array, bytes of one string: more is a damaged count
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 20: ("IQ4_NL", 32, 18), 23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}  # fmt: skip
"""ggml's number of a type -> name, weights in a block, bytes of a block."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor's shape (innermost first), its type, and where its bytes lie in the file."""

    shape: tuple[int, ...]
    type: str
    at: int
    bytes: int


@dataclass(frozen=True)
class Gguf:
    """What a file says of itself. `data` is where the tensors start."""

    path: Path
    version: int
    keys: dict[str, Any]
    tensors: dict[str, Placed]
    data: int

    def __repr__(self) -> str:
        return f"Gguf({self.path.name}, {self.architecture}, {len(self.tensors)} tensors)"

    @property
    def alignment(self) -> int:
        return int(self.keys.get("general.alignment", ALIGNMENT))

    @property
    def architecture(self) -> str:
        return str(self.keys.get("general.architecture", ""))

    def hyper(self, name: str, default: Any = None) -> Any:
        """A key of the architecture: hyper("block_count") is llama.block_count."""
        return self.keys.get(f"{self.architecture}.{name}", default)

    @cached_property
    def quantisation(self) -> str:
        """The type that most weights have."""
        weight: dict[str, int] = {}
        for tensor in self.tensors.values():
            weight[tensor.type] = weight.get(tensor.type, 0) + tensor.bytes
        return max(weight, key=lambda name: weight[name])

    def tensor(self, name: str) -> Floats:
        """One tensor in float32, shape outermost first as numpy has it. Raises MissingExtra."""
        placed = self.tensors[name]
        shape = placed.shape[::-1]
        raw = np.fromfile(self.path, np.uint8, count=placed.bytes, offset=placed.at)
        if placed.type == "F32":
            return raw.view(np.float32).reshape(shape)
        if placed.type == "F16":
            return raw.view(np.float16).reshape(shape).astype(np.float32)
        try:
            from gguf import GGMLQuantizationType, dequantize
        except ImportError as error:
            raise MissingExtra(
                "Reading a quantised GGUF needs the package gguf.", "pip install 'freehold[text]'"
            ) from error
        whole = dequantize(raw, GGMLQuantizationType[placed.type])
        return np.ascontiguousarray(whole, np.float32).reshape(shape)


def check(path: Path, sha256: str | None = None, known: tuple[str, ...] = ARCHITECTURES) -> Gguf:
    """The file's header, after it has been found whole: magic, version, counts, every tensor inside the file, an
    architecture out of `known`, and the sha256 where it is given. Raises BaseUnusable."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            found = _Reader(file, path, size).read()
    except OSError as error:
        raise BaseUnusable(f"{path} can't be read: {error.strerror}.", "Give the path of a GGUF file.") from None
    if found.architecture not in known:
        raise BaseUnusable(
            f"{path} has the architecture {found.architecture[:40]!r}, which freehold does not know.",
            f"Known: {', '.join(known)}.",
        )
    _inside(found, size)
    if sha256 is not None:
        _same(path, sha256)
    return found


def refuse_pickle(path: Path) -> None:
    """Raise BaseUnusable where the file's first bytes are those of a pickle or of a zip (torch.save writes both)."""
    with path.open("rb") as file:
        head = file.read(9)
    pickled = head[:1] == b"\x80" and head[1:2] <= b"\x05" and head[8:] != b"{"  # safetensors: a length, then its JSON
    if pickled or head[:4] == b"PK\x03\x04":
        what = "a pickle" if pickled else "a zip, as torch.save writes it, with a pickle inside"
        raise BaseUnusable(
            f"{path} is {what}, which can run code when it is opened.", "Save it as safetensors or GGUF, and give that."
        )


def _inside(found: Gguf, size: int) -> None:
    for name, placed in found.tensors.items():
        if placed.at + placed.bytes > size:
            missing = placed.at + placed.bytes - size
            raise BaseUnusable(
                f"{found.path} is cut: tensor {name[:60]!r} ends {missing:,} bytes behind the end of the file.",
                "Fetch the file again.",
            )
    end = max((placed.at + placed.bytes for placed in found.tensors.values()), default=found.data)
    if size - end >= found.alignment:  # less is padding
        raise BaseUnusable(
            f"{found.path} holds {size - end:,} bytes behind its last tensor, which no GGUF does.",
            "Fetch the file again.",
        )


def _same(path: Path, sha256: str) -> None:
    from freehold.project import sha256_file

    actual = sha256_file(path)
    if actual != sha256:
        raise BaseUnusable(
            f"{path} is damaged: expected sha256 {sha256[:12]}…, found {actual[:12]}….", "Fetch the file again."
        )


class _Reader:
    """The header, value by value; each count is held against the file's size before anything is made of it."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self.file = file
        self.path = path
        self.size = size

    def read(self) -> Gguf:
        magic = self.file.read(4)
        if magic != MAGIC:
            refuse_pickle(self.path)
            raise BaseUnusable(f"{self.path} is no GGUF: it starts with {magic!r}.", "Give a file that ends in .gguf.")
        version = self.number("<I")
        if version not in VERSIONS:
            known = " and ".join(map(str, VERSIONS))
            raise BaseUnusable(f"{self.path} is a GGUF of version {version}.", f"Versions {known} are read.")
        tensors, keys = self.count(24), self.count(13)
        said: dict[str, Any] = {}
        for _ in range(keys):
            name = self.text()
            said[name] = self.value(self.number("<I"))
        placed = [self.placed() for _ in range(tensors)]
        alignment = said.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment > 1 << 20:
            raise self.damaged(f"an alignment of {alignment!r}")
        data = -(-self.file.tell() // alignment) * alignment
        whole = {name: Placed(shape, kind, data + at, length) for name, shape, kind, at, length in placed}
        if len(whole) != tensors:
            raise self.damaged("a tensor twice")
        return Gguf(self.path, version, said, whole, data)

    def damaged(self, what: str) -> BaseUnusable:
        return BaseUnusable(f"{self.path} is damaged: its header holds {what}.", "Fetch the file again.")

    def take(self, length: int) -> bytes:
        data = self.file.read(length)
        if len(data) != length:
            raise BaseUnusable(f"{self.path} is cut: it ends inside its header.", "Fetch the file again.")
        return data

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self, least: int) -> int:
        """A count of things that take at least `least` bytes each."""
        found: int = self.number("<Q")
        if found * least > self.size:
            raise self.damaged(f"a count of {found:,} in a file of {self.size:,} bytes")
        return found

    def text(self) -> str:
        try:
            return self.take(self.count(1)).decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged("a name that is no UTF-8") from None

    def value(self, kind: int) -> Any:
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind == STRING:
            return self.take(self.count(1)).decode("utf-8", "replace")
        if kind != ARRAY:
            raise self.damaged(f"a value of the unknown kind {kind}")
        inner = self.number("<I")
        if inner in SCALARS:
            form = SCALARS[inner]
            width = struct.calcsize(form)
            count = self.count(width)
            return list(struct.unpack(f"<{count}{form[1]}", self.take(count * width)))
        if inner != STRING:
            raise self.damaged(f"an array of the unknown kind {inner}")
        return [self.value(STRING) for _ in range(self.count(8))]

    def placed(self) -> tuple[str, tuple[int, ...], str, int, int]:
        name = self.text()
        dims = self.number("<I")
        if not 1 <= dims <= 4:
            raise self.damaged(f"a tensor of {dims} dimensions")
        shape = tuple(self.number("<Q") for _ in range(dims))
        kind, at = self.number("<I"), self.number("<Q")
        if kind not in TYPES:
            raise BaseUnusable(
                f"{self.path}: tensor {name[:60]!r} has the type number {kind}, which freehold does not know.",
                f"Known: {', '.join(known for known, _, _ in TYPES.values())}.",
            )
        label, block, width = TYPES[kind]
        weights = 1
        for side in shape:
            weights *= side
        if shape[0] % block or not 0 < weights <= MOST * 256:
            raise self.damaged(f"tensor {name[:60]!r} with the shape {shape}")
        return name, shape, label, at, weights // block * width
