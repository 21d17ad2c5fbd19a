"""transformers generate on the same GGUF, dequantised to float32: a process that answers rounds of prompts.

stdin   {"model", "threads"}, then a line a round: {"prompts": [[id, ...], ...], "max_tokens", "batch"}
stdout  a line a round: {"wall", "cpu", "tokens", "each": [seconds, ...]}
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoModelForCausalLM, GgufConfig


def main() -> None:
    voice = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    said = json.loads(sys.stdin.readline())
    torch.set_num_threads(said["threads"])
    path = Path(said["model"])
    how = {"gguf_file": path.name, "dtype": torch.float32, "quantization_config": GgufConfig(dequantize=True)}
    model = AutoModelForCausalLM.from_pretrained(path.parent, **how).eval()
    print(json.dumps({"ready": True}), file=voice)
    for line in sys.stdin:
        asked = json.loads(line)
        start, used = time.perf_counter(), time.process_time()
        tokens, each = 0, []
        for i in range(0, len(asked["prompts"]), asked["batch"]):
            began = time.perf_counter()
            tokens += generate(model, asked["prompts"][i : i + asked["batch"]], asked["max_tokens"])
            each.append(time.perf_counter() - began)
        row = {"wall": time.perf_counter() - start, "cpu": time.process_time() - used, "tokens": tokens, "each": each}
        print(json.dumps(row), file=voice)


def generate(model: torch.nn.Module, prompts: list[list[int]], max_tokens: int) -> int:
    """Tokens written, end tokens included; left-padded as batches of a decoder are."""
    longest = max(map(len, prompts))
    end = model.generation_config.eos_token_id
    ids = torch.tensor([[end] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    with torch.inference_mode():
        out = model.generate(ids, attention_mask=mask, max_new_tokens=max_tokens, do_sample=False, pad_token_id=end)[
            :, longest:
        ]
    ended = (out == end).int()
    written = torch.where(ended.any(1), ended.argmax(1) + 1, out.shape[1])
    return int(written.sum())


if __name__ == "__main__":
    main()
