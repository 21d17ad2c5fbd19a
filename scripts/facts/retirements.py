"""Makes src/freehold/facts/data/retirements.csv from litellm's catalogue (MIT; the wheel on PyPI carries it).

    python scripts/facts/retirements.py model_prices_and_context_window.json.gz 2026-11-23

Takes the chat models of the closed vendors that have a deprecation date; what OpenAI's own page says of aliases that
the catalogue leaves undated (gpt-4o and others) is added below with its source.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "src/freehold/facts/data/retirements.csv"
PROVIDERS = {"openai", "text-completion-openai", "anthropic", "gemini", "azure", "mistral", "xai", "deepseek"}
MODES = {"chat", "responses", "completion"}
REGIONS = {"eu", "us", "apac", "global", "global-standard"}
PAGE = "https://developers.openai.com/api/docs/deprecations"
ALIASES = {"gpt-4o": "2027-01-14", "gpt-4o-mini": "2027-01-14", "gpt-4.1": "2027-01-14", "gpt-4.1-mini": "2027-01-14"}


def rows(catalogue: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    """model -> (date, source)."""
    found = {model: (date, PAGE) for model, date in ALIASES.items()}
    for key, entry in catalogue.items():
        date, provider = entry.get("deprecation_date"), entry.get("litellm_provider")
        if not date or provider not in PROVIDERS or entry.get("mode") not in MODES:
            continue
        parts = [part for part in key.split("/") if part not in REGIONS]
        model = "/".join(parts) if provider == "azure" else parts[-1]
        source = entry.get("source", "").partition("?")[0]
        found.setdefault(model, (date, source if source.startswith("http") else "litellm 1.109.1"))
    return found


if __name__ == "__main__":
    with gzip.open(sys.argv[1], "rt", encoding="utf-8") as file:
        table = rows(json.load(file))
    with OUT.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file, lineterminator="\n")
        write.writerow(["model", "retires", "source", "as_of"])
        write.writerows([model, *table[model], sys.argv[2]] for model in sorted(table))
    print(f"{len(table)} models")
