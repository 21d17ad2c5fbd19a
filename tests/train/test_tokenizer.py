"""The tokenizer of a model from scratch: transformers, llama.cpp and we read it alike, and it is the same each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import BadSetting, CorpusUnusable
from freehold.train import tokenizer
from freehold.train.corpus import prepare

TEXT = [
    "Before we proceed any further, hear me speak.\n\nAll: Speak, speak. It's 12:45 in 1659!\n" * 3,
    "Le café était très bon; “quoted”, naïve — and then 東京 and 😀.\tTabs,  two blanks.\n" * 3,
]
HARD = [
    "a", "  a", "\n\n a\t b", "1234567890", "don't I'LL we've", "Zürich 東京 São ñ 😀👍🏽", "x=1;y[2]={'a': 3.14}",
    "   trailing   ", "!!!???...", "é", "\r\n\r\n", "It's café “quoted” — 東京",
]  # fmt: skip


@pytest.fixture(scope="module")
def bpe() -> tokenizer.Tokenizer:
    return tokenizer.trained(TEXT, 400)


@given(st.text())
def test_bpe_gives_every_text_back(text: str) -> None:
    made = tokenizer.trained(TEXT, 300)
    made.encode_special_tokens = True
    assert made.decode(made.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


def test_characters_are_one_id_each() -> None:
    letters = set("".join(TEXT))
    made = tokenizer.characters(letters)
    for letter in letters:
        assert len(made.encode(letter, add_special_tokens=False).ids) == 1, letter
    text = "".join(TEXT)
    ids = made.encode(text, add_special_tokens=False).ids
    assert len(ids) == len(text)
    assert made.decode(ids) == text
    plain = tokenizer.characters("abcdefgh")
    assert tokenizer.size_of(plain) == 3 + len({*"abcdefgh", *tokenizer.ROLES})


def test_a_special_tokens_name_in_a_text_is_text(tmp_path: Path) -> None:
    text = "he wrote <|endoftext|> and <|im_end|> on the wall. " * 200
    (tmp_path / "a.txt").write_text(text)
    import numpy as np

    corpus = prepare([tmp_path / "a.txt"], tmp_path / "w", vocabulary=300)
    ids = np.load(corpus.folder / "train.npy")
    assert (ids < 3).sum() == 1  # the one that begins the document
    assert ids[0] == corpus.end == 0


def test_transformers_reads_it(bpe: tokenizer.Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    for name, made in (("bpe", bpe), ("characters", tokenizer.characters("".join(TEXT)))):
        tokenizer.save(made, tmp_path / name)
        whole = AutoTokenizer.from_pretrained(tmp_path / name)
        assert (whole.bos_token_id, whole.eos_token_id, whole.pad_token_id) == (0, 2, 0)
        for text in TEXT + HARD:
            assert whole.encode(text, add_special_tokens=False) == made.encode(text, add_special_tokens=False).ids
        asked = whole.apply_chat_template(
            [{"role": "user", "content": "Speak"}], tokenize=False, add_generation_prompt=True
        )
        assert asked == "<|im_start|>user\nSpeak<|im_end|>\n<|im_start|>assistant\n"
        assert whole.decode(whole.encode(TEXT[1], add_special_tokens=False)) == TEXT[1]
        assert tokenizer.end_of(made, tmp_path / name) == 0


@pytest.mark.parametrize("kind", ["bpe", "characters"])
def test_llama_cpp_reads_the_same_ids(bpe: tokenizer.Tokenizer, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="needs freehold[text]")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from freehold.engines.gguf.weights import HfWeights
    from freehold.engines.gguf.write import write
    from freehold.engines.llama.forced import Forced

    made = bpe if kind == "bpe" else tokenizer.characters("".join(TEXT))
    folder = tmp_path / "model"
    tokenizer.save(made, folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.size_of(made), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    write(HfWeights.open(folder), tmp_path / "model.gguf", "F32")
    with Forced.start(tmp_path / "model.gguf", context=64, threads=1) as engine:
        for text in [*TEXT, *HARD, "<|im_start|>user\nSpeak<|im_end|>\n"]:
            assert engine.ids(text) == made.encode(text, add_special_tokens=False).ids, text


def test_the_same_bytes_whatever_the_threads() -> None:
    code = (
        "import hashlib, random; from freehold.train import tokenizer as t; r = random.Random(0)\n"
        "w = [''.join(r.choices('abcdefghij', k=r.randint(2, 7))) for _ in range(3000)]\n"
        "texts = [' '.join(r.choices(w, k=400)) for _ in range(200)]\n"
        "print(hashlib.sha256(t.trained(texts, 600).to_str().encode()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "TOKENIZERS_PARALLELISM": parallel, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for parallel, seed in (("false", "1"), ("true", "2"))
    }
    assert len(said) == 1


def test_the_size_grows_with_the_text_and_says_why() -> None:
    sizes = [tokenizer.best_size(round(n))[0] for n in (1e6, 4e7, 1e9, 1e11)]
    assert sizes == sorted(sizes)
    assert sizes[0] == tokenizer.LEAST_BEST
    assert 40_000 < tokenizer.best_size(55_000_000_000)[0] < 60_000  # 2.9B parameters: the paper, of wider ones, 43,000
    assert "arXiv 2407.13623" in tokenizer.best_size(40_000_000)[1]


def test_one_that_is_taken_is_copied_or_refused(tmp_path: Path, bpe: tokenizer.Tokenizer) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer.save(bpe, tmp_path / "good")
    text = tmp_path / "a.txt"
    text.write_text("".join(TEXT) * 30, encoding="utf-8")
    corpus = prepare([text], tmp_path / "w", tokenizer=str(tmp_path / "good"))
    assert (corpus.folder / "tokenizer" / "tokenizer.json").read_bytes() == (
        tmp_path / "good/tokenizer.json"
    ).read_bytes()
    assert corpus.vocabulary == tokenizer.size_of(bpe)

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "we": 1, "</s>": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    lower = Tokenizer.from_str(bpe.to_str())
    lower.normalizer = normalizers.Lowercase()
    for name, made, said in (("words", words, "has no id for"), ("lower", lower, "comes back as")):
        (tmp_path / name).mkdir()
        made.save(str(tmp_path / name / "tokenizer.json"))
        (tmp_path / name / "tokenizer_config.json").write_text(
            json.dumps({"eos_token": "</s>" if name == "words" else "<|endoftext|>"})
        )
        with pytest.raises(CorpusUnusable, match=said):
            prepare([text], tmp_path / "w", tokenizer=str(tmp_path / name))

    (tmp_path / "good" / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "x.Y"}}')
    for name, said in (("good", "auto_map"), ("none", "there is no")):
        with pytest.raises(CorpusUnusable, match=said):
            prepare([text], tmp_path / "x", tokenizer=str(tmp_path / name))
    with pytest.raises(BadSetting, match="its own size"):
        prepare([text], tmp_path / "x", tokenizer="characters", vocabulary=300)
    with pytest.raises(BadSetting, match="vocabulary is 100"):
        prepare([text], tmp_path / "x", vocabulary=100)
