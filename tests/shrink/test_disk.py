"""A disk that fills up in the middle: one sentence with the file, nothing half-written; with room again it goes on."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from freehold.engines.gguf.folder import hf_folder
from freehold.engines.gguf.weights import open_weights
from freehold.engines.gguf.write import write
from freehold.errors import StorageFailed
from freehold.shrink import shrink


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a disk with no room."""
    before, heard = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)


def test_it_is_told_where_and_goes_on_with_room(tuned: Callable[..., Any]) -> None:
    t = tuned()
    options: dict[str, Any] = {"formats": ("BF16",), "threads": 1, "rows": 12, "speculation": False}
    with largest_file(200_000), pytest.raises(StorageFailed, match=r"Can't write .*F32\.gguf: (?!None)"):
        shrink(t.task, t.artifact, t.project, **options)
    (work,) = (t.project.path / "work").iterdir()
    assert list(work.iterdir()) == []
    with largest_file(700_000), pytest.raises(StorageFailed, match=r"Can't write .*reference\.f32: "):
        shrink(t.task, t.artifact, t.project, **options)
    assert not (work / "reference.json").exists()
    assert t.project.tuned()["orders"] == t.artifact.sha256
    made = shrink(t.task, t.artifact, t.project, **options)
    assert t.project.tuned()["orders"] == made.sha256


def test_a_base_that_is_unfolded(tiny: Callable[..., Path], tmp_path: Path) -> None:
    write(open_weights(tiny(kind="llama", hidden=64)), tmp_path / "base.gguf", "Q8_0")
    with largest_file(100_000), pytest.raises(StorageFailed, match=r"Can't write .*hf: "):
        hf_folder(tmp_path / "base.gguf", tmp_path / "hf")
    assert not list((tmp_path / "hf").glob("*safetensors*"))
    assert (hf_folder(tmp_path / "base.gguf", tmp_path / "hf") / "model.safetensors").is_file()
