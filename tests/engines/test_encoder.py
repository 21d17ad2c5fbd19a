"""A text's vector is its own: alone, among others, in any order, on any number of threads; and bad files are named."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from freehold.engines.encoder import Encoder, _batches, bundled_names
from freehold.errors import StudentUnusable

NAMES = bundled_names()
ODD = [
    "",
    " ",
    "\x00",
    "nul\x00inside",
    "\ud800",
    "half \udc00 pair",
    "日本語のテキスト",
    "ﬁ e\u0301 İ",
    "🙂" * 40,
    "a" * 5000,
]


@pytest.fixture(scope="module", params=NAMES)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return Encoder.bundled(request.param)


@pytest.fixture(scope="module")
def texts(shared: Path) -> list[str]:
    """120 real utterances, and longer texts joined from them: up to past the limit of tokens."""
    with gzip.open(shared / "data/tasks/clinc150/data/data_full.json.gz") as file:
        said = [row[0] for row in json.load(file)["test"]][::37]
    return said + [" ".join(said[k : k + n]) for k, n in ((0, 3), (9, 8), (40, 20), (80, 45), (30, 90))]


def test_both_encoders_ship() -> None:
    assert NAMES == ["all-minilm-l6-v2", "bge-small-en"]


def test_alone_and_among_others_bit_for_bit(encoder: Encoder, texts: list[str]) -> None:
    together = encoder.embed_all(texts + ODD)
    for pooling, rows in together.items():
        alone = np.concatenate([encoder.embed([text], pooling=pooling) for text in texts + ODD])
        np.testing.assert_array_equal(rows, alone)


def test_order_and_threads_change_nothing(encoder: Encoder, texts: list[str]) -> None:
    texts = texts[:200]
    order = np.random.default_rng(0).permutation(len(texts))
    expected = encoder.embed(texts)
    np.testing.assert_array_equal(encoder.embed([texts[i] for i in order]), expected[order])
    np.testing.assert_array_equal(Encoder.bundled(encoder.name, threads=2).embed(texts), expected)


def test_rows_are_float32_of_length_one(encoder: Encoder) -> None:
    rows = encoder.embed(ODD)
    assert rows.shape == (len(ODD), encoder.dim)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert encoder.embed([]).shape == (0, encoder.dim)


def test_meaning_is_in_the_vectors(encoder: Encoder) -> None:
    a, b, c = encoder.embed(["how much money is in my account", "what is my bank balance", "play some jazz music"])
    assert a @ b > a @ c + 0.1


def test_only_the_first_tokens_count(encoder: Encoder) -> None:
    words = "word " * encoder.max_tokens
    np.testing.assert_array_equal(encoder.embed([words + "and more"]), encoder.embed([words + "or less"]))
    short = "word " * (encoder.max_tokens // 2)
    assert (encoder.embed([short + "and more"]) != encoder.embed([short + "or less"])).any()


def test_a_text_of_a_megabyte_costs_no_more_than_the_limit_of_tokens(encoder: Encoder) -> None:
    def cost(text: str) -> float:
        start = time.process_time()
        encoder.embed([text])
        return time.process_time() - start

    full = min(cost("word " * encoder.max_tokens) for _ in range(3))
    for huge in ("word " * 200_000, "é." * 500_000, "x" * 1_000_000, " " * 1_000_000):
        assert min(cost(huge) for _ in range(2)) < 6 * full + 0.1  # the whole of it would cost a second and more


def test_batches_hold_equal_lengths_and_every_row_once() -> None:
    lengths = [5, 7, 5, 512, 5, 512, 7, 5]
    batches = _batches(lengths, 3)
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    assert all(len({lengths[r] for r in rows}) == 1 and len(rows) <= 3 for rows in batches)
    assert [len(rows) for rows in _batches([512] * 10, 32)] == [4, 4, 2]  # 2048 tokens together


def test_files_open_again_as_the_same_encoder(encoder: Encoder, tmp_path: Path) -> None:
    for name, data in encoder.files().items():
        (tmp_path / name).write_bytes(data)
    again = Encoder.open(tmp_path)
    assert (again.sha256, again.name, again.licence, again.dim) == (
        encoder.sha256, encoder.name, encoder.licence, encoder.dim,
    )  # fmt: skip
    np.testing.assert_array_equal(again.embed(["hello"]), encoder.embed(["hello"]))


def test_an_unknown_name_or_pooling_lists_the_known(encoder: Encoder) -> None:
    with pytest.raises(StudentUnusable, match="all-minilm-l6-v2, bge-small-en"):
        Encoder.bundled("gpt-5")
    with pytest.raises(StudentUnusable, match=r"max.*Known.*cls"):
        encoder.embed(["a"], pooling="max")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the smaller bundled encoder, to damage."""
    for name, data in Encoder.bundled("all-minilm-l6-v2").files().items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_changed_file_is_refused_by_name(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(StudentUnusable, match=f"{name} of the encoder .* sha256"):
        Encoder.open(folder)


def test_damage_is_one_clear_sentence(folder: Path) -> None:
    about = json.loads((folder / "encoder.json").read_text())
    cases = {
        "encoder.json": (b"{", "can't be used"),
        "model.onnx": (b"no graph", "can't be loaded"),
        "tokenizer.json": (b'{"model": 3}', "can't be used"),
    }
    (folder / "encoder.json").write_text(json.dumps({**about, "sha256": {}}))
    for name, (damage, said) in cases.items():
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(damage)
        with pytest.raises(StudentUnusable, match=said):
            Encoder.open(folder)
        (folder / name).write_bytes(good)
    assert Encoder.open(folder).dim == 384


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dim": 7}, "says 7 dimensions and gives 384"),
        ({"pooling": ["max"]}, "Known poolings"),
        ({"max_tokens": 0}, "max_tokens is at least"),
        ({"poling": []}, "unknown field"),
    ],
)
def test_settings_that_cannot_be_meant(folder: Path, change: dict[str, object], said: str) -> None:
    about = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps({**about, **change}))
    with pytest.raises(StudentUnusable, match=said):
        Encoder.open(folder)


def test_missing_folders_and_files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(StudentUnusable, match="no encoder folder"):
        Encoder.open(folder / "nowhere")
    with pytest.raises(StudentUnusable, match=r"tokenizer.json can't be read: No such file"):
        Encoder.open(tmp_path_factory.mktemp("empty"))
    (folder / "model.onnx").unlink()
    with pytest.raises(StudentUnusable, match=r"has no model\.onnx"):
        Encoder.open(folder)


def test_sentence_transformers_files_are_read(folder: Path) -> None:
    (folder / "encoder.json").unlink()
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 128, "do_lower_case": false}')
    (folder / "1_Pooling").mkdir()
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}')
    (folder / "onnx").mkdir()
    shutil.move(folder / "model.onnx", folder / "onnx" / "model.onnx")
    encoder = Encoder.open(folder)
    assert (encoder.poolings, encoder.max_tokens) == (("cls",), 128)
    expected = Encoder.bundled("all-minilm-l6-v2").embed(["hello there"], pooling="cls")
    np.testing.assert_array_equal(encoder.embed(["hello there"]), expected)
    pooling.write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(StudentUnusable, match=r"pooling_mode_max_tokens.*Known"):
        Encoder.open(folder)


def test_importing_is_light_and_silent() -> None:
    code = (
        "import sys, freehold.engines.encoder\n"
        "print([m for m in ('onnxruntime', 'tokenizers', 'onnx', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
