"""When calls came and how long they were: the file in which the audit leaves them for the plan.

arrivals.safetensors     at float64 [n], input int32 [n], output int32 [n]; the rest as JSON in its header

`safetensors.numpy.load_file` reads it, and nothing in it can run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.errors import ArtifactDamaged
from freehold.project.storage import read_bytes, write_atomic

__all__ = ["NAME", "Arrivals", "read_arrivals", "write_arrivals"]

NAME = "arrivals.safetensors"
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Calls in the order in which they came: `at` in seconds from 0, `input` and `output` in tokens.

    They fill `seconds`, and are the share `kept` of all calls of that stretch, taken evenly. `begins` is its start in
    epoch seconds; `share` the part of the whole log's tokens that came in it, of a log of `span` seconds.
    `cached` is the share of a question that needn't be read again, since the replica holds its beginning; nothing is
    assumed of it unless somebody says so. `uses` names the facts that made-up calls rest on.
    """

    at: Floats
    input: Ints
    output: Ints
    source: str
    seconds: float
    kept: float = 1.0
    synthetic: bool = False
    begins: float | None = None
    share: float = 1.0
    span: float = 0.0
    cached: float = 0.0
    uses: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.at)

    @property
    def read(self) -> Ints:
        """Tokens of each question that are read: at least one, its last."""
        found: Ints = np.maximum(1, np.ceil(self.input * (1 - self.cached))).astype(np.int32)
        return found

    @property
    def written(self) -> Ints:
        """Tokens of each answer, at least one."""
        return np.maximum(1, self.output)

    @property
    def busy(self) -> float:
        """The stretch's pace over the whole log's mean pace, in tokens."""
        return self.share * self.span / self.seconds if self.span else 1.0

    @property
    def tokens(self) -> float:
        """Tokens of the stretch in all, read and written; those of the calls that weren't kept among them."""
        return (int(self.input.sum(dtype=np.int64)) + int(self.output.sum(dtype=np.int64))) / self.kept


ABOUT = ("source", "seconds", "kept", "synthetic", "begins", "share", "span")


def write_arrivals(path: Path, arrivals: Arrivals) -> None:
    """Raises StorageFailed."""
    from safetensors.numpy import save

    about = msgspec.json.encode({name: getattr(arrivals, name) for name in ABOUT}).decode()
    rows: dict[str, npt.NDArray[Any]] = {
        "at": np.ascontiguousarray(arrivals.at, np.float64),
        "input": np.ascontiguousarray(arrivals.input, np.int32),
        "output": np.ascontiguousarray(arrivals.output, np.int32),
    }
    write_atomic(path, save(rows, {"freehold": about}))  # one key: several come in no fixed order


def read_arrivals(path: Path) -> Arrivals | None:
    """What lies there; None where nothing does. Raises ArtifactDamaged, StorageFailed."""
    if not path.is_file():
        return None
    data = read_bytes(path)
    try:
        return _decoded(data)
    except (ValueError, KeyError, TypeError, msgspec.DecodeError, _damage()) as error:
        raise ArtifactDamaged(f"{path} can't be read: {error}.", "Audit the log again: freehold audit LOG.") from None


def _damage() -> type[Exception]:
    from safetensors import SafetensorError

    found: type[Exception] = SafetensorError
    return found


def _decoded(data: bytes) -> Arrivals:
    from safetensors.numpy import load

    rows = load(data)
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = msgspec.json.decode(data[8 : 8 + length])
    about: dict[str, Any] = msgspec.json.decode(header["__metadata__"]["freehold"])
    at, read, written = rows["at"], rows["input"], rows["output"]
    if (
        not at.shape == read.shape == written.shape == (len(at),)
        or not np.isfinite(at).all()
        or (np.diff(at) < 0).any()
    ):
        raise ValueError("its rows are not calls in the order of their times")
    if not 0 < about["kept"] <= 1 or not about["seconds"] > 0 or min(at.min(), read.min(), written.min()) < 0:
        raise ValueError("a count in it is below 0")
    return Arrivals(at, read, written, **{name: about[name] for name in ABOUT})
