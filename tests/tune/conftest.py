"""A small true log of labels: SNIPS requests (CC0), and students fitted on them once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from freehold.engines.encoder import Encoder
from freehold.tune.label import Fitted, fit

Pairs = list[tuple[str, str]]


def _read(path: Path) -> Pairs:
    """The files are UTF-8 or Latin-1, each of them one."""
    raw = gzip.decompress(path.read_bytes())
    try:
        found = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        found = json.loads(raw.decode("latin-1"))
    return [("".join(p["text"] for p in row["data"]).strip(), label) for label, rows in found.items() for row in rows]


@pytest.fixture(scope="session")
def snips(shared: Path) -> Pairs:
    pairs = [pair for path in sorted((shared / "data/tasks/snips").glob("*/train*.gz")) for pair in _read(path)]
    order = np.random.default_rng(0).permutation(len(pairs))
    return [pairs[i] for i in order[:2000]]


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder.bundled("bge-small-en")


@pytest.fixture(scope="session")
def fitted(snips: Pairs, encoder: Encoder) -> Fitted:
    texts, labels = zip(*snips[:300], strict=True)
    return fit(texts, labels, encoders=[encoder])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama as a base."""
    from tests.tune.tiny import save_base

    pytest.importorskip("torch")
    return save_base(tmp_path_factory.mktemp("base") / "tiny")
