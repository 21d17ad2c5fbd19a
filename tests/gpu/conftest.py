"""Checks that a CUDA card alone can answer: the same training there as on a CPU. Elsewhere they skip and say why."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.tune.decoder.device import Device, device


@pytest.fixture(scope="session", autouse=True)
def card() -> Device:
    """The card that torch sees."""
    torch = pytest.importorskip("torch", reason="needs torch and a CUDA card")
    if not torch.cuda.is_available():
        pytest.skip(f"needs a CUDA card, and there is none for torch here ({device().why})")
    return device("cuda")


@pytest.fixture(scope="session")
def folder(card: Device, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama as a base; of two layers, as tests/tune has it."""
    from tests.tune.tiny import save_base

    return save_base(tmp_path_factory.mktemp("base") / "tiny")
