"""README.md of a merged model: what it was made of, how, and what its licences ask.

---
license: "Apache-2.0 AND MIT"
---
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from freehold.facts import Union
from freehold.merge.nouns import METHODS, How, Part
from freehold.nouns.shown import shown

__all__ = ["card"]


def card(name: str, parts: Sequence[Part], how: How, duties: Union, day: date) -> bytes:
    """Markdown with front matter."""
    rows = "\n".join(
        f"| {shown(part.name)} | {weight:.4g} | {part.licence} | {part.sha256[:12]} | {shown(base.source)} |"
        for part, weight in zip(parts, how.weights, strict=True)
        if (base := part.base) is not None
    )
    owed = "\n".join(f"- {duty}" for duty in duties.said()) or "- none is on file"
    against = f", against {shown(how.base.name)} ({how.base.sha256[:12]})" if how.base else ""
    kept = f", density {how.density:g}, seed {how.seed}" if how.density is not None else ""
    return f"""---
license: "{duties.expression}"
library_name: transformers
tags: [merge, mergekit]
---
# {shown(name)}
Merged with freehold on {day.isoformat()}: {how.method}, {METHODS[how.method]}{against}{kept}. `merge.yml` is what
mergekit was given. Nothing was measured yet: tune it, and prove what comes of it.

| model | weight | licence | sha256 | source |
|---|---|---|---|---|
{rows}

## What the licences ask
{owed}

Not legal advice.
""".encode()
