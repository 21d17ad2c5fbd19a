"""A GGUF is looked at before an engine may load it: what is wrong with it is said in one sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from freehold.engines.gguf.read import check, refuse_pickle
from freehold.errors import BaseUnusable

PICKLE = b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05hello\x94."


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A GGUF with two tensors, written by the package gguf."""
    return written(tmp_path / "small.gguf", "llama")


def written(path: Path, architecture: str) -> Path:
    from gguf import GGMLQuantizationType, GGUFWriter, quantize

    writer = GGUFWriter(path, architecture)
    writer.add_block_count(2)
    writer.add_token_list(["a", "b", "ü"])
    writer.add_add_bos_token(False)
    writer.add_array("some.numbers", [0.5, 1.5])
    rows = np.linspace(-1, 1, 4 * 64, dtype=np.float32).reshape(4, 64)
    writer.add_tensor("plain.weight", rows)
    writer.add_tensor("packed.weight", quantize(rows, GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_it_reads_what_gguf_wrote(small: Path) -> None:
    file = check(small, hashlib.sha256(small.read_bytes()).hexdigest())
    assert (file.version, file.architecture, file.hyper("block_count")) == (3, "llama", 2)
    assert file.keys["tokenizer.ggml.tokens"] == ["a", "b", "ü"]
    assert file.keys["some.numbers"] == [0.5, 1.5]
    assert file.tensors["packed.weight"].shape == (64, 4)
    assert file.tensors["packed.weight"].type == "Q8_0"
    rows = np.linspace(-1, 1, 4 * 64, dtype=np.float32).reshape(4, 64)
    assert np.array_equal(file.tensor("plain.weight"), rows)
    assert np.abs(file.tensor("packed.weight") - rows).max() < 0.01


def test_a_file_cut_anywhere_is_refused(small: Path) -> None:
    data = small.read_bytes()
    for at in [0, 3, 4, 9, 20, 60, 150, len(data) // 2, len(data) - 17]:  # the last 16 are padding
        small.write_bytes(data[:at])
        with pytest.raises(BaseUnusable, match=r"is cut|is no GGUF|a count of"):
            check(small)


def test_a_flipped_bit_is_caught_by_its_sha256(small: Path) -> None:
    data = bytearray(small.read_bytes())
    sha256 = hashlib.sha256(data).hexdigest()
    data[-5] ^= 1
    small.write_bytes(data)
    check(small)  # nothing in the file itself can show it
    with pytest.raises(BaseUnusable, match=f"damaged: expected sha256 {sha256[:12]}"):
        check(small, sha256)


def test_any_damaged_header_is_refused_or_read_never_worse(small: Path) -> None:
    """Every byte of the header set to 255 in turn: a sentence, or a file whose tensors lie inside it."""
    data = small.read_bytes()
    refused = 0
    for at in range(check(small).data):
        broken = bytearray(data)
        broken[at] = 255
        small.write_bytes(broken)
        try:
            file = check(small)
        except BaseUnusable:
            refused += 1
        else:
            assert all(placed.at + placed.bytes <= len(data) for placed in file.tensors.values())
    assert refused > 50


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "other.gguf", "mamba")
    with pytest.raises(BaseUnusable, match=r"architecture 'mamba'.*Known: llama, qwen2"):
        check(path)
    assert check(path, known=("mamba",)).architecture == "mamba"


@pytest.mark.parametrize(
    ("data", "what"),
    [(PICKLE, "is a pickle, which"), (b"PK\x03\x04" + bytes(40), "is a zip"), (b"hello", "is no GGUF: it starts with")],
)
def test_what_is_no_gguf_is_refused_by_its_content(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(BaseUnusable, match=what):
        check(path)


def test_only_a_pickle_is_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((0x0280).to_bytes(8, "little") + b'{"a":1}')  # a header whose length looks like a pickle's start
    refuse_pickle(path)
    path.write_bytes(PICKLE)
    with pytest.raises(BaseUnusable, match="is a pickle"):
        refuse_pickle(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BaseUnusable, match="No such file"):
        check(tmp_path / "nothing.gguf")
