"""README.md of a trained model: what it is, what it was made of, and how well it reads text that it had not seen.

---
license: "CC0-1.0 AND CC-BY-4.0"
---
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from freehold.nouns.shown import shown
from freehold.train.nouns import Corpus, Plan, Trained

__all__ = ["card"]

SOURCE = 1000  # characters: an address that is cut leads nowhere


def source(said: str) -> str:
    return shown(said, SOURCE) or "-"


def card(
    name: str, licence: str, duties: Sequence[str], plan: Plan, corpus: Corpus, trained: Trained, size: str, day: date
) -> bytes:
    """Markdown with front matter. `size` says the parameters in words; `duties` are what the licences ask."""
    shape, last = plan.shape, trained.evals[-1] if trained.evals else None
    kind = f"Mixtral's shape, {shape.chosen} of {shape.experts} experts a token" if shape.experts else "Llama's shape"
    read = f"{last.loss:.3f} nats a token, {last.bits_per_byte:.3f} bits a byte" if last else "not measured"
    parts = "\n".join(
        f"| {shown(c.part.name)} | {c.documents:,} | {c.bytes:,} | {c.part.licence} | {source(c.part.source)} |"
        for c in corpus.parts
    )
    times = trained.tokens / max(1, corpus.tokens)
    private = "".join(f"{shown(why, 400)}\n" for why in corpus.why if why.startswith("private data"))
    owed = "\n".join(f"- {duty}" for duty in duties) or "- none is on file"
    return f"""---
license: "{licence}"
library_name: transformers
---
# {shown(name)}
A language model trained with freehold on {day.isoformat()}: {kind}, {size}.

- learned from {trained.tokens:,} tokens in {trained.steps:,} steps: {times:.1f} times through {corpus.tokens:,}
- on {corpus.held_out_tokens:,} held-out tokens: {read}
- it is trained on plain text alone: tune it before you ask it anything

## What it learned from
| part | documents | bytes | licence | source |
|---|---|---|---|---|
{parts}

{private}
## What the licences ask
{owed}

Not legal advice.
""".encode()
