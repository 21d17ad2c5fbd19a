"""Tiny random decoders with a real tokenizer and a chat template, as Hugging Face saves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = [
    "Turn the text into JSON: play the new song by Miles Davis on the living room speaker at 7 pm.",
    'Book a table for 4 in Zürich tomorrow, {"people": 4, "city": "Zürich"} — "quoted", it\'s 12:45!',
    "weather in 東京 and São Paulo;   three   blanks\n\n\ttabs, 1234567 digits, don't won't I'll we've",
]


def tokenizer(folder: Path, splits: str = "smollm", size: int = 400) -> Any:
    """A BPE trained on TEXTS: byte-level as SmolLM2's or Qwen2's, or over characters as Llama 2's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from freehold.engines.gguf_vocab import QWEN2

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    if splits == "llama2":
        fast = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *special]
        trainer = trainers.BpeTrainer(vocab_size=size + 256, special_tokens=special, show_progress=False)
        fast.train_from_iterator(TEXTS, trainer)
        said = fast.to_str()
        import json

        raw = json.loads(said)
        raw["added_tokens"] = [t for t in raw["added_tokens"] if not t["content"].startswith("<0x")]
        fast = Tokenizer.from_str(json.dumps(raw))
        fast.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    else:
        fast = Tokenizer(models.BPE())
        byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=splits != "qwen2")
        first: Any = pre_tokenizers.Digits(individual_digits=True)
        if splits == "qwen2":
            from tokenizers import Regex

            fast.normalizer = normalizers.NFC()
            first = pre_tokenizers.Split(Regex(QWEN2), "isolated")
        fast.pre_tokenizer = pre_tokenizers.Sequence([first, byte])
        fast.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        fast.train_from_iterator(TEXTS, trainer)
    fast.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special[-3:]])
    whole = PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>",
        unk_token="<|endoftext|>", chat_template=TEMPLATE, add_bos_token=False,
    )  # fmt: skip
    whole.save_pretrained(folder)
    return whole


def save_tiny(
    folder: Path, *, kind: str = "llama", hidden: int = 64, heads: int = 4, tied: bool = True, splits: str = "",
    seed: int = 0, spread: float = 0.2, outliers: float = 0.0, **more: Any,
) -> Path:  # fmt: skip
    """A random model of two layers. `outliers`: how much larger a few weights of each row are."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    words = tokenizer(folder, splits or ("qwen2" if kind == "qwen2" else "smollm"))
    torch.manual_seed(seed)
    numbers: dict[str, Any] = {
        "vocab_size": len(words) + 5, "hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": 2,
        "num_attention_heads": heads, "num_key_value_heads": heads // 2, "max_position_embeddings": 512,
        "tie_word_embeddings": tied, "initializer_range": spread, "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id, "rms_norm_eps": 1e-5,
    } | more  # fmt: skip
    model: Any = (
        Qwen2ForCausalLM(Qwen2Config(**numbers)) if kind == "qwen2" else LlamaForCausalLM(LlamaConfig(**numbers))
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(0, 0.5)
            elif name.endswith("norm.weight"):
                weight.uniform_(0.5, 1.5)
            elif outliers and weight.ndim == 2 and "layers" in name:
                weight[:, ::29] *= outliers
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """tiny(kind="qwen2", hidden=96) -> the folder of such a model, made once."""
    made: dict[str, Path] = {}

    def make(**how: Any) -> Path:
        key = repr(sorted(how.items()))
        if key not in made:
            made[key] = save_tiny(tmp_path_factory.mktemp("tiny"), **how)
        return made[key]

    return make
