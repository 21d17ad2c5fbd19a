"""A recogniser from a local folder: a tiny real model, made and trained here to know one name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from freehold.errors import BadSetting
from freehold.traffic.private import Rules
from freehold.traffic.private.recognise import TokenClassifier, recogniser

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS += ["ana", "lee", "bo", "wrote", "to", "the", "bank", "from", "oslo", "at", ","]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch", reason="a model that finds names needs freehold[tune]")
    transformers = pytest.importorskip("transformers", reason="a model that finds names needs freehold[tune]")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    torch.manual_seed(0)
    torch.set_num_threads(1)
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    labels = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC"}
    model = transformers.BertForTokenClassification(
        transformers.BertConfig(
            vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=32, id2label=labels, label2id={v: k for k, v in labels.items()},
        )
    )  # fmt: skip
    texts = ["ana lee wrote to the bank", "bo wrote to ana lee from oslo", "the bank wrote to bo , ana , lee at oslo"]
    gold = {"ana": 1, "lee": 2, "bo": 1, "oslo": 3}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        for text in texts:
            given = tokenizer(text, return_tensors="pt")
            wanted = [[gold.get(WORDS[i], 0) for i in given["input_ids"][0].tolist()]]
            loss = model(**given, labels=torch.tensor(wanted)).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    path = tmp_path_factory.mktemp("model")
    model.save_pretrained(path, safe_serialization=True)
    tokenizer.save_pretrained(path)
    return path


def test_names_beside_what_the_rules_find(folder: Path) -> None:
    finder = recogniser(f"hf:{folder}")
    text = "Ana Lee wrote to the bank from Oslo , ana@firm.com"
    assert [(f.kind, text[f.start : f.end]) for f in finder.find(text)] == [
        ("person", "Ana Lee"),
        ("place", "Oslo"),
        ("email", "ana@firm.com"),
    ]
    assert finder.find("") == finder.find(" \n") == []


def test_a_text_longer_than_the_model(folder: Path) -> None:
    text = "the bank wrote to the bank , " * 40 + "Bo"
    found = TokenClassifier(folder).find(text)
    assert [(f.kind, f.start, f.end) for f in found] == [("person", len(text) - 2, len(text))]


def test_a_log_is_redacted_with_it(folder: Path, tmp_path: Path) -> None:
    import json

    from freehold.audit.redact import unredact_log
    from freehold.cli import main
    from freehold.traffic import open_log

    texts = ["Ana Lee wrote to the bank", "the bank wrote to Ana Lee"]
    rows = [{"messages": [{"role": "user", "content": t}, {"role": "assistant", "content": "ok"}]} for t in texts]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    safe, key = tmp_path / "safe.jsonl", tmp_path / "key"
    assert main(["audit", str(log), "--redact", str(safe), "--key", str(key), "--recogniser", f"hf:{folder}"]) == 0
    first, second = (json.loads(line) for line in safe.read_text().splitlines())
    name = first["messages"][0]["content"].removesuffix(" wrote to the bank")
    assert name not in ("", "Ana Lee")
    assert second["messages"][0]["content"] == f"the bank wrote to {name}"
    unredact_log(open_log([safe]), tmp_path / "back.jsonl", key)
    assert [json.loads(line) for line in (tmp_path / "back.jsonl").read_text().splitlines()] == rows


def test_no_model(tmp_path: Path) -> None:
    assert isinstance(recogniser(), Rules)
    with pytest.raises(BadSetting, match=r"model\.safetensors"):
        recogniser(f"hf:{tmp_path}")
    with pytest.raises(BadSetting, match="Known: rules, hf:FOLDER, spacy:NAME"):
        recogniser("magic")


def test_a_pickled_model_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in os.listdir(folder):
        if name != "model.safetensors":
            (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(BadSetting, match=r"model\.safetensors"):
        recogniser(f"hf:{tmp_path}")


def test_a_spacy_pipeline(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy", reason="spaCy is an optional recogniser")
    made = spacy.blank("en")
    patterns = [{"label": "PERSON", "pattern": "Ana Lee"}, {"label": "DATE", "pattern": "now"}]
    made.add_pipe("entity_ruler").add_patterns(patterns)
    made.to_disk(tmp_path / "pipeline")
    text = "Ana Lee wrote now from ana@firm.com"
    found = recogniser(f"spacy:{tmp_path / 'pipeline'}").find(text)
    assert [(f.kind, text[f.start : f.end]) for f in found] == [("person", "Ana Lee"), ("email", "ana@firm.com")]
    with pytest.raises(BadSetting, match="can't be loaded"):
        recogniser(f"spacy:{tmp_path / 'none'}")
