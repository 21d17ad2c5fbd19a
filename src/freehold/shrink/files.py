"""The GGUF files on the way, in the project's work folder; one that a killed run has written is used again.

work/shrink-1a2b3c4d/
├── written.json      {"Q8_0.gguf": "<sha256>", ...}    a file that is not listed, or differs, is written again
├── hf/               the base for torch, where it is a GGUF
├── F32.gguf Q4_K_M.gguf ... adapter.gguf
├── reference.f32 reference.json
└── stage/            the student as it will be served
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from freehold.project import sha256_file, write_atomic

__all__ = ["Files"]


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Files({self.folder.name})"

    def have(self, name: str, write: Callable[[Path], Any]) -> Path:
        """The file of this name: as it was written before, where its sha256 still is the one noted then."""
        path, known = self.folder / name, self._known()
        if not (path.is_file() and known.get(name) == sha256_file(path)):
            write(path)
            write_atomic(self.folder / "written.json", msgspec.json.encode(known | {name: sha256_file(path)}))
        return path

    def _known(self) -> dict[str, str]:
        path = self.folder / "written.json"
        if not path.is_file():
            return {}
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except (msgspec.DecodeError, msgspec.ValidationError):
            return {}  # half-done work: it is done again
