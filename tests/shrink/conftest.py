"""Tiny random decoders with a real tokenizer and a chat template, as Hugging Face saves them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.engines import bases
from freehold.engines.bases import Base
from freehold.engines.decoder import Prompt, Recipe
from freehold.nouns import Artifact, Slot, Task, Template
from freehold.project import Project

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

    from freehold.engines.gguf.vocab import QWEN2

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    if splits == "llama2":
        fast = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *special]
        trainer = trainers.BpeTrainer(vocab_size=size + 256, special_tokens=special, show_progress=False)
        fast.train_from_iterator(TEXTS, trainer)
        raw = json.loads(fast.to_str())
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
    """A random llama, qwen2 or mixtral of two layers. `outliers`: how much larger a few weights of each row are."""
    import torch
    import transformers

    words = tokenizer(folder, splits or ("qwen2" if kind == "qwen2" else "smollm"))
    torch.manual_seed(seed)
    numbers: dict[str, Any] = {
        "vocab_size": len(words) + 5, "hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": 2,
        "num_attention_heads": heads, "num_key_value_heads": heads // 2, "max_position_embeddings": 512,
        "tie_word_embeddings": tied, "initializer_range": spread, "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id, "rms_norm_eps": 1e-5,
    } | more  # fmt: skip
    if kind == "mixtral":
        numbers = {"num_local_experts": 4, "num_experts_per_tok": 2} | numbers
    name = kind.capitalize()
    model: Any = getattr(transformers, f"{name}ForCausalLM")(getattr(transformers, f"{name}Config")(**numbers))
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


VERBS = ("play", "book", "find", "rate", "call", "stop")
THINGS = ("jazz", "Miles Davis", "a table for 4", "São Paulo", "taxi 12", "the news", "song 7", "Zürich", "tea", "42")


def pairs() -> list[tuple[str, str]]:
    """Texts and JSON answers that copy from them."""
    return [
        (f"{verb} {thing}{tail}", f'{{"intent":"{verb}","what":"{thing}"}}')
        for verb in VERBS
        for thing in THINGS
        for tail in ("", " please", " now!")
    ]


def teach(folder: Path, steps: int = 220, seed: int = 0) -> None:
    """Train the whole tiny model in place until it mostly answers as pairs() do; every fifth pair is held back."""
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    words = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rows = []
    for i, (text, answer) in enumerate(pairs()):
        if i % 5:
            prompt = words.apply_chat_template(
                [{"role": "system", "content": "Give JSON."}, {"role": "user", "content": text}],
                tokenize=False, add_generation_prompt=True,
            )  # fmt: skip
            asked = words.encode(prompt, add_special_tokens=False)
            said = [*words.encode(answer, add_special_tokens=False), words.eos_token_id]
            rows.append((asked + said, [-100] * len(asked) + said))
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([i + [0] * (longest - len(i)) for i, _ in rows])
    labels = torch.tensor([w + [-100] * (longest - len(w)) for _, w in rows])
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(steps):
        chosen = torch.randint(len(rows), (24,))
        for group in optimiser.param_groups:
            group["lr"] = 4e-3 * (1 - step / steps)
        loss = model(input_ids=ids[chosen], labels=labels[chosen]).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Llama that mostly answers as pairs() do."""
    folder = save_tiny(tmp_path_factory.mktemp("taught"), spread=0.05)
    teach(folder)
    return folder


def save_adapter(path: Path, folder: Path, rank: int = 4, size: float = 0.02) -> Path:
    """A small random adapter on every linear layer, as PEFT names it."""
    import numpy as np
    from safetensors.numpy import save_file

    random, config = np.random.default_rng(1), json.loads((folder / "config.json").read_bytes())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    sides = {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (hidden // 2, hidden),
        "self_attn.v_proj": (hidden // 2, hidden), "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner),
    }  # fmt: skip
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name, (out, wide) in sides.items():
            stem = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{stem}.lora_A.weight"] = random.normal(0, 0.2, (rank, wide)).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = random.normal(0, size, (out, rank)).astype(np.float32)
    save_file(tensors, path)
    return path


@dataclass(frozen=True)
class Tuned:
    """A project whose one task has an adapter that `freehold tune` could have made."""

    project: Project
    task: Task
    artifact: Artifact
    base: Base


@pytest.fixture
def tuned(taught: Path, tmp_path: Path) -> Callable[..., Tuned]:
    """tuned() -> such a project in a new folder; another base folder or file may be given."""

    def make(folder: Path = taught, base: Path | None = None, sha256: str = "", rows: int = 36) -> Tuned:
        project = Project.create(tmp_path / "project")
        found = bases.find(base or folder)
        held = pairs()[::5][:rows]
        recipe = Recipe(mode="adapter", prompt=Prompt("Give JSON."), context=160, max_tokens=48)
        artifact = project.write_artifact(
            {
                "adapter.safetensors": save_adapter(tmp_path / "adapter.safetensors", folder),
                "decoder.json": recipe.encode(),
                "own.json": msgspec.json.encode({"texts": [t for t, _ in held], "answers": [a for _, a in held]}),
            },
            kind="adapter", task="orders", base=found.name, licence="Apache-2.0", data_sha256="0" * 64,
            recipe={"lora": {"rank": 4, "alpha": 8},
                    "base": {"name": found.name, "sha256": sha256 or found.sha256, "source": found.source}},
        )  # fmt: skip
        template = Template((Slot("system", "Give JSON."), Slot("user", "", variable=True)))
        project.choose("orders", artifact.sha256)
        return Tuned(project, Task("orders", template, "json", 180, 1.0, rule="json"), artifact, found)

    return make
