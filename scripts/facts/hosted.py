"""Rewrite src/freehold/facts/data/hosted.json from a copy of litellm's price list and the installed genai-prices.

    python scripts/facts/hosted.py model_prices_and_context_window.json 1.109.1 2026-11-23

Open models: each of models.json that a host sells by the token. A price that the two lists give differently keeps both
numbers (input_low, input_high, ...); the one that counts is genai-prices', which is dated and knows the hour, as the
mean over a week; a row of one list alone that names no page is "unverified". Closed models: those that CLOSED names,
with the price of genai-prices on that day.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from datetime import date
from pathlib import Path
from typing import Any

from freehold.facts.listed import midnight
from freehold.facts.prices import PriceBook

DATA = Path(__file__).resolve().parents[2] / "src" / "freehold" / "facts" / "data"
HOSTS = {
    "baseten": "Baseten", "cerebras": "Cerebras", "deepinfra": "DeepInfra", "deepseek": "DeepSeek",
    "fireworks_ai": "Fireworks", "groq": "Groq", "hyperbolic": "Hyperbolic", "lambda_ai": "Lambda",
    "mistral": "Mistral", "moonshot": "Moonshot", "nebius": "Nebius", "novita": "Novita", "sambanova": "SambaNova",
    "together_ai": "Together", "zai": "Z.ai",
}  # fmt: skip
CLOSED = {
    "OpenAI": ("gpt-6-astra", "gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-luna", "gpt-5.6-sol", "gpt-5.6-terra",
               "gpt-5.6-luna"),
    "Anthropic": ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5"),
    "Google": ("gemini-4-argon", "gemini-3.8-flash", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"),
}  # fmt: skip
SUFFIX = re.compile(r"-(instruct|it|chat|hf|turbo|ultra|fast|fp8|fp4|bf16|versatile|instant|2507|v0\.1|v0\.3)$")
KINDS = ("input", "cached", "output")
HOURS = [h * 3600 for h in range(7 * 24)]


def main(path: str, version: str, day: str) -> None:
    raw = Path(path).read_bytes()
    listed = json.loads(gzip.decompress(raw) if path.endswith(".gz") else raw)
    book, names = PriceBook(), _names()
    rows = [row for vendor, models in CLOSED.items() for name in models if (row := _closed(vendor, name, book, day))]
    for key, said in sorted(listed.items()):
        host = key.split("/")[0]
        if host in HOSTS and said.get("mode") == "chat" and said.get("output_cost_per_token") and "ft:" not in key:
            model = _match(key, names)
            if model:
                rows.append(_open(key, host, model, said, book, version, day))
    unique = {row["id"]: row for row in reversed(rows)}
    text = ",\n".join("  " + json.dumps(row) for row in sorted(unique.values(), key=lambda row: row["id"]))
    (DATA / "hosted.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")
    print(len(unique), "rows;", sum("input_low" in row for row in unique.values()), "where the lists disagree")


def _names() -> dict[str, str]:
    found = {}
    for row in json.loads((DATA / "models.json").read_text(encoding="utf-8")):
        for name in (row["id"], *row.get("aliases", ())):
            found.setdefault(_plain(name), row["id"])
    return found


def _plain(name: str) -> str:
    text = name.lower().rpartition("/")[2]
    text = re.sub(r"^(meta|nvidia)-|^nvidia-nvidia-", "", text)
    text = re.sub(r"(?<=[a-z])-v(\d)p(\d)", r"-\1.\2", text)
    return re.sub(r"(?<=\d)p(?=\d)", ".", re.sub(r"^llama-v3-", "llama-3-", text))


def _match(key: str, names: dict[str, str]) -> str:
    text = _plain(key)
    while text not in names and SUFFIX.search(text):
        text = SUFFIX.sub("", text)
    return names.get(text, "")


def _closed(vendor: str, name: str, book: PriceBook, day: str) -> dict[str, Any] | None:
    prices = _mean(name, book, day)
    if prices is None:
        print("no price:", name)
        return None
    row = {"id": f"{vendor.lower()}/{name}", "kind": "closed", "model": name, "provider": vendor, "book": name}
    return row | prices | {"source": "genai-prices 0.2.3 (MIT)", "as_of": day}


def _open(
    key: str, host: str, model: str, said: dict[str, Any], book: PriceBook, version: str, day: str
) -> dict[str, Any]:
    other = {
        kind: round(said[name] * 1e6, 6)
        for kind, name in zip(
            KINDS, ("input_cost_per_token", "cache_read_input_token_cost", "output_cost_per_token"), strict=True
        )
        if said.get(name) is not None
    }
    counts = _mean(key, book, day)
    provider = HOSTS[host].lower().replace(".", "-")
    row: dict[str, Any] = {
        "id": f"{provider}/{_plain(key)}", "kind": "open", "model": model, "provider": HOSTS[host], "book": key,
    } | (counts or other)  # fmt: skip
    source = f"litellm {version} (MIT)" + (f" from {said['source']}" if said.get("source") else "")
    if counts is not None:
        apart = {k for k in ("input", "output") if abs(counts[k] - other[k]) > 0.005 * max(counts[k], other[k])}
        for kind in sorted(apart):
            row |= {f"{kind}_low": min(counts[kind], other[kind]), f"{kind}_high": max(counts[kind], other[kind])}
        theirs = "/".join(f"{other[k]:g}" for k in ("input", "output"))
        source = f"genai-prices 0.2.3 (MIT); {source}" + (f", which says {theirs}: the lists disagree" if apart else "")
    if said.get("deprecation_date"):
        row["retires"] = said["deprecation_date"]
    if said.get("max_input_tokens"):
        row["context"] = said["max_input_tokens"]
    unsure = {"status": "unverified"} if counts is None and not said.get("source") else {}
    return row | {"source": source, "as_of": day} | unsure


def _mean(name: str, book: PriceBook, day: str) -> dict[str, float] | None:
    """USD a million tokens, the mean over a week's hours, for a call of usual length."""
    start, found = midnight(day), {}
    rates = [book.rates(name, start + hour) for hour in HOURS]
    bands = [rate.bands[0] for rate in rates if rate is not None]
    if len(bands) < len(HOURS) or bands[0].output is None:
        return None
    for kind in KINDS:
        values = [getattr(band, kind) for band in bands]
        if all(value is not None for value in values):
            found[kind] = round(float(sum(values) / len(values)) * 1e6, 6)
    return found


if __name__ == "__main__":
    date.fromisoformat(sys.argv[3])
    main(*sys.argv[1:])
