"""A small true world: two tiny Llamas of one shape, and a project whose log has two tasks with adapters on one base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.audit import audit
from freehold.engines import bases
from freehold.engines.decoder import Prompt, Recipe
from freehold.nouns import Artifact, Task
from freehold.project import Project
from freehold.traffic import Traffic, read
from freehold.traffic.seen import Sides

CHAT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
HIDDEN, INNER, LAYERS = 32, 64, 2
SIDES = {"self_attn.q_proj": (HIDDEN, HIDDEN), "mlp.down_proj": (HIDDEN, INNER)}
WORDS = ("oslo", "lima", "cairo", "paris", "quito", "delhi", "accra", "hanoi")


def save_model(
    folder: Path, *, seed: int, licence: str = "mit", hidden: int = HIDDEN, words: str = "", experts: int = 0
) -> Path:
    """A random Llama, or Mixtral, of two layers of 32, with a tokenizer of bytes and a chat template."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig, PreTrainedTokenizerFast

    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=260, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    fast.train_from_iterator([words or "a b"], trainer)
    whole = PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<|end|>", chat_template=CHAT)
    whole.save_pretrained(folder)
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": 260, "hidden_size": hidden, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": True,
        "eos_token_id": 0, "bos_token_id": 0,
    }  # fmt: skip
    config = MixtralConfig(num_local_experts=experts, **shape) if experts else LlamaConfig(**shape)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """made(seed=1, licence="mit") -> the folder of such a model, made once."""
    root, known = tmp_path_factory.mktemp("models"), dict[str, Path]()

    def make(**how: Any) -> Path:
        key = json.dumps(how, sort_keys=True)
        if key not in known:
            known[key] = save_model(root / f"m{len(known)}", **how)
        return known[key]

    return make


def tensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(path / "model.safetensors" if path.is_dir() else path)
    return found


def lora(seed: int, rank: int = 4) -> dict[str, Any]:
    """A random adapter of two layers' worth, as PEFT names it."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    found = {}
    for layer in range(LAYERS):
        for name, (out, wide) in SIDES.items():
            stem = f"base_model.model.model.layers.{layer}.{name}"
            found[f"{stem}.lora_A.weight"] = torch.randn(rank, wide, generator=draw)
            found[f"{stem}.lora_B.weight"] = torch.randn(out, rank, generator=draw)
    return found


def deltas(adapter: dict[str, Any], alpha: float) -> dict[str, Any]:
    """What an adapter adds to each layer."""
    found = {}
    for name, a in adapter.items():
        if name.endswith("lora_A.weight"):
            stem = name.removesuffix(".lora_A.weight").removeprefix("base_model.model.")
            found[stem] = alpha / len(a) * adapter[name.replace("lora_A", "lora_B")] @ a
    return found


@dataclass(frozen=True)
class World:
    """A project with an audit of a log of two tasks. `add` puts an adapter into it, as tune would."""

    project: Project
    tasks: dict[str, Task]
    traffic: Traffic
    base: Path

    def add(
        self, task: str, seed: int, *, base: Path | None = None, own: int = 24, rank: int = 4,
        parents: tuple[str, ...] = (), **more: Any,
    ) -> Artifact:  # fmt: skip
        from safetensors.torch import save

        found, sides = bases.find(base or self.base), Sides(self.tasks[task], self.traffic)
        texts = list(sides.fit)[:own]
        recipe: dict[str, Any] = {
            "student": "decoder 1",
            "base": {"name": found.name, "sha256": found.sha256, "source": found.source},
            "lora": {"rank": rank, "alpha": 8},
            "seed": seed,
            "terms": [],
        }
        artifact = self.project.write_artifact(
            {
                "adapter.safetensors": save(lora(seed, rank)),
                "decoder.json": Recipe(mode="adapter", prompt=Prompt(task), context=64, max_tokens=8).encode(),
                "own.json": msgspec.json.encode({"texts": texts, "answers": [f"a{i}" for i in range(len(texts))]}),
            },
            kind="adapter", task=task, base=found.name, licence=found.licence, data_sha256=sides.sha256,
            recipe=recipe | more, parents=parents,
        )  # fmt: skip
        self.project.choose(task, artifact.sha256)
        return artifact


def rows(system: str, n: int, text: Callable[[int], str]) -> list[dict[str, Any]]:
    return [
        {
            "request": {
                "model": "gpt-4o-mini",
                "messages": [{"role": "system", "content": system}, {"role": "user", "content": text(i)}],
            },
            "response": {
                "choices": [
                    {
                        "message": {
                            "role": "assistant",
                            "content": json.dumps({"city": WORDS[i % 8], "n": i * len(system)}),
                        },
                        "finish_reason": "stop",
                    }
                ]
            },
        }
        for i in range(n)
    ]


def trip(i: int) -> str:
    return f"ride {i * 17} to {WORDS[i % 8]} with {WORDS[i // 8 % 8]} bag {i * i}"


def meal(i: int) -> str:
    return f"cook {i * 13} for {WORDS[i % 8]} at stove {i * i + 1} and {WORDS[i // 8 % 8]}"


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Projects with an audit and their logs: `apart`, whose tasks share no text, and `shared`, whose tasks are asked
    the same, but for ten words before each text that move the groups' first texts."""
    found = {}
    for name, other in (("apart", meal), ("shared", trip)):
        root = tmp_path_factory.mktemp(name)
        log = root / "calls.jsonl"
        lines = rows("Name the city as JSON.", 120, trip) + rows("Plan what is eaten, in JSON please.", 120, other)
        log.write_text("".join(json.dumps(line) + "\n" for line in lines))
        project = Project.create(root / "p")
        project.save(audit(read([log])))
        found[name] = (root / "p", log)
    return found


@pytest.fixture
def world(worlds: dict[str, tuple[Path, Path]], made: Callable[..., Path], tmp_path: Path) -> Callable[..., World]:
    def make(name: str = "apart") -> World:
        from freehold.nouns import Audit

        folder, log = worlds[name]
        shutil.copytree(folder, tmp_path / "project")
        project = Project.open(tmp_path / "project")
        tasks = project.load(Audit).tasks
        assert len(tasks) == 2
        return World(project, {task.name: task for task in tasks}, read([log]), made(seed=0))

    return make
