"""nanoGPT's loop (karpathy/nanoGPT, train.py and model.py) for a laptop, in plain PyTorch, from its published settings.

    python peers/nanogpt.py TEXT SEED      {"loss": 1.89, "cpu": 101.2, "cpu_looking": 13.0, "steps": 2000, ...}

Its README's CPU command on config/train_shakespeare_char.py: characters, the first 90 % to learn from; 4 layers of 128,
4 heads, rows of 64, 12 a step, 2,000 steps, no dropout, AdamW at 1e-3 falling to 1e-4 on a cosine after 100 steps,
betas 0.9 and 0.99, decay 0.1 of matrices, clip 1; a look of 20 batches at both sides every 250 steps. `loss` is over
the whole last tenth, in rows of 64 side by side, off the clock.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

LAYERS, HEADS, WIDTH, BLOCK, BATCH, STEPS, WARM = 4, 4, 128, 64, 12, 2000, 100
RATE, LEAST, BETAS, DECAY, CLIP = 1e-3, 1e-4, (0.9, 0.99), 0.1, 1.0
EVERY, LOOKS = 250, 20


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.c_proj = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, ids, width = x.shape
        q, k, v = (t.view(rows, ids, HEADS, -1).transpose(1, 2) for t in self.qkv(x).split(width, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(rows, ids, width))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(WIDTH, bias=False), Attention()
        self.ln_2 = nn.LayerNorm(WIDTH, bias=False)
        self.c_fc, self.c_proj = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x))))


class GPT(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.blocks, self.ln_f = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, 0, 0.02 / (math.sqrt(2 * LAYERS) if name.endswith("c_proj.weight") else 1))

    def forward(self, ids: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), wanted.flatten())


def rate(step: int) -> float:
    if step < WARM:
        return RATE * (step + 1) / (WARM + 1)
    gone = (step - WARM) / (STEPS - WARM)
    return LEAST + 0.5 * (1 + math.cos(math.pi * gone)) * (RATE - LEAST)


def batch(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    starts = torch.randint(len(ids) - BLOCK, (BATCH,))
    return torch.stack([ids[i : i + BLOCK] for i in starts]), torch.stack([ids[i + 1 : i + 1 + BLOCK] for i in starts])


@torch.no_grad()
def whole(model: GPT, ids: torch.Tensor) -> float:
    """Nats a character over all of it."""
    count = (len(ids) - 1) // BLOCK
    x, y = ids[: count * BLOCK].view(count, BLOCK), ids[1 : count * BLOCK + 1].view(count, BLOCK)
    sums = [float(model(a, b)) * len(a) for a, b in zip(x.split(128), y.split(128), strict=True)]
    return sum(sums) / count


def main(path: str, seed: int) -> None:
    torch.manual_seed(seed)
    text = Path(path).read_text()
    known = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([known[c] for c in text])
    learned, held_out = ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :]
    model = GPT(len(known))
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=RATE, betas=BETAS)
    began, looking = time.process_time(), 0.0
    for step in range(STEPS + 1):
        for group in adam.param_groups:
            group["lr"] = rate(step)
        if step % EVERY == 0:
            start = time.process_time()
            with torch.no_grad():
                for side in (learned, held_out):
                    sum(float(model(*batch(side))) for _ in range(LOOKS))
            looking += time.process_time() - start
        if step == STEPS:
            break
        model(*batch(learned)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        adam.step()
        adam.zero_grad(set_to_none=True)
    cpu = time.process_time() - began
    size = sum(p.numel() for p in model.parameters())
    loss = whole(model, held_out)
    print(json.dumps({"loss": loss, "cpu": cpu, "cpu_looking": looking, "steps": STEPS, "parameters": size}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
