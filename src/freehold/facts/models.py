"""Model names: whose they are, and when they are switched off.

ft:gpt-4o-mini-2024-07-18:acme::9x  →  gpt-4o-mini-2024-07-18  →  gpt-4o-mini
a fine-tune                            its dated base             the alias: each inherits the next one's date
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from freehold.facts.catalogue import Row, load

__all__ = ["plain_name", "retirement", "vendor_of", "vendor_row"]

ROUTERS = ("openrouter", "litellm", "litellm_proxy")  # pass a call on to the vendor named after them
DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest)$")


def plain_name(model: str) -> str:
    """A model's own name: without the host before it, and a fine-tune's base."""
    name = model.strip().lower().rpartition("/")[2]
    return name.split(":")[1] if name.startswith("ft:") and name.count(":") >= 1 else name


@lru_cache(4096)
def vendor_row(model: str) -> Row | None:
    """The row of data/vendors.json that a model belongs to: by the host before its name, else by the name."""
    hosts = [host for host in model.strip().lower().split("/")[:-1] if host not in ROUTERS]
    if hosts:
        return next((row for row in load("vendors.json") if hosts[0] in row["prefixes"]), None)
    name = plain_name(model)
    return next((row for row in load("vendors.json") if row["models"] and re.match(row["models"], name)), None)


def vendor_of(model: str) -> str | None:
    """openai, azure-openai, anthropic, google, ...; None for a model that isn't known."""
    row = vendor_row(model)
    return None if row is None else str(row["vendor"])


@lru_cache(4096)
def retirement(model: str) -> tuple[str, str] | None:
    """(ISO date, source) of the day a model is switched off, where one is announced."""
    table = _retirements()
    for name in _ancestors(model):
        if name in table:
            return table[name]
    return None


def _ancestors(model: str) -> Iterator[str]:
    name = plain_name(model)
    host = "azure/" if vendor_of(model) == "azure-openai" else ""
    if model.strip().lower().rpartition("/")[2].startswith("ft:"):
        yield f"{host}ft:{name}"
    yield host + name
    if DATED.search(name):
        yield host + DATED.sub("", name)


@cache
def _retirements() -> dict[str, tuple[str, str]]:
    return {
        row["model"]: (row["retires"], f"{row['source']} (as of {row['as_of']})") for row in load("retirements.csv")
    }
