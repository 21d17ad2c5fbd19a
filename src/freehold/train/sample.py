"""What the model writes by itself: a few texts from nothing, drawn by a seed. They show what it is, and prove nothing.

samples(folder, end=0) -> ("ROMEO:\\nI will not ...", ...)
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["samples"]

TEXTS, IDS = 3, 120
WARMTH, LIKELIEST = 0.8, 200  # nanoGPT's sample.py


def samples(folder: Path, *, end: int, context: int, seed: int, texts: int = TEXTS, ids: int = IDS) -> tuple[str, ...]:
    """Texts of a Hugging Face folder with a tokenizer, each begun at the end token, as a document is."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False)
    model.eval()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        said = model.generate(
            torch.full((texts, 1), end),
            attention_mask=torch.ones((texts, 1), dtype=torch.long),
            max_new_tokens=max(1, min(ids, context - 1)),
            do_sample=True,
            temperature=WARMTH,
            top_k=min(LIKELIEST, model.config.vocab_size),
            eos_token_id=end,
            pad_token_id=end,
        )
    return tuple(str(tokenizer.decode(row[1:], skip_special_tokens=True)) for row in said)
