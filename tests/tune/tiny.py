"""A small true world of decoders: a random Llama of two layers, requests and their JSON, a training on them.

It imports no other test, so that a process which is to be killed can load it by its path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from freehold.nouns import Message, Slot, Task, Template
from freehold.project import Project
from freehold.tell import quiet
from freehold.tune.decoder.checkpoint import Checkpoint, read
from freehold.tune.decoder.data import Examples, encode
from freehold.tune.decoder.device import CPU, Device
from freehold.tune.decoder.model import attach, load
from freehold.tune.decoder.plan import Plan
from freehold.tune.decoder.tokens import Tokens
from freehold.tune.decoder.train import train
from freehold.tune.rows import Rows

SYSTEM = "Turn the request of the person into JSON with a verb and a thing, on one line."
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VERBS = ("play", "book", "find", "rate", "call", "stop")
THINGS = ("jazz", "a table", "São Paulo", "taxi 12", "the news", "song 7", "Zürich", "tea", "42", "a film")
PAIRS = [(f"{v} {t}{e}", f'{{"verb":"{v}","thing":"{t}"}}') for v in VERBS for t in THINGS for e in ("", " please")]


def save_base(folder: Path, *, hidden: int = 64, layers: int = 2) -> Path:
    """A random Llama with a byte-level tokenizer and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    fast = Tokenizer(models.BPE())
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    fast.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte])
    fast.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    fast.train_from_iterator([SYSTEM, *(f"{t} {a}" for t, a in PAIRS)], trainer)
    words = PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>",
        unk_token="<|endoftext|>", chat_template=CHAT, add_bos_token=False,
    )  # fmt: skip
    words.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True,
        initializer_range=0.2, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


def messages(text: str) -> list[Message]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


def examples(folder: Path, n: int = len(PAIRS)) -> tuple[Tokens, Examples]:
    tokens = Tokens.open(folder)
    return tokens, encode(tokens, messages, [t for t, _ in PAIRS[:n]], [a for _, a in PAIRS[:n]], context=256)


def make_plan(steps: int, rate: float = 5e-3) -> Plan:
    return Plan("float32", 16, 4, 8, rate, 8, min(len(PAIRS), 8 * steps), max(1, 8 * steps // len(PAIRS)), steps, ())


def tuned(folder: Path, work: Path, plan: Plan, every: float = 60.0, tell: Any = quiet, device: Device = CPU) -> Any:
    """A training that goes on where `work` left it; also what the killed processes run."""
    tokens, rows = examples(folder)
    with device.still(0):
        device.loosen(plan.loose)
        bare = load(folder, plan.dtype, bits=plan.bits, device=device)
        model = attach(bare, rank=plan.rank, alpha=plan.alpha, seed=0)
        state = read(work, "key") or Checkpoint("key", plan, 0, [], 0.0, {})
        return train(model, rows, state, work, pad=tokens.pad, seed=0, tell=tell, every=every, device=device)


def world(tmp_path: Path, n: int = len(PAIRS)) -> tuple[Rows, Task, Project]:
    template = Template((Slot("system", SYSTEM), Slot("user", "", variable=True)))
    task = Task("orders", template, "json", n, 1.0, rule="json")
    rows = Rows([t for t, _ in PAIRS[:n]], [a for _, a in PAIRS[:n]], np.arange(n) // 2)
    return rows, task, Project.create(tmp_path / "project")
