"""Model names: whose they are, who served them, and when they are switched off.

ft:gpt-4o-mini-2024-07-18:acme::9x  →  gpt-4o-mini-2024-07-18  →  gpt-4o-mini
a fine-tune                            its dated base             the alias: each inherits the next one's date

together_ai/meta-llama/Llama-3.3-70B  →  Address("together", ("meta-llama/llama-3.3-70b", "llama-3.3-70b"))
us.anthropic.claude-sonnet-4-5-v1:0   →  Address("aws", (...))         by the host before the name, else by the name
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from freehold.facts.catalogue import Row, load

__all__ = ["Address", "address_of", "plain_name", "retirement", "vendor_of", "vendor_row"]

ROUTERS = ("openrouter", "litellm", "litellm_proxy")  # pass a call on to the vendor named after them
DATED = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest|default)$")
GEO = re.compile(r"^(us|eu|apac|au|jp|ca|global|us-gov)\.")  # where Bedrock may answer
ARN = re.compile(r"^arn:aws[a-z-]*:bedrock:")


def plain_name(model: str) -> str:
    """A model's own name: without the host before it, and a fine-tune's base."""
    name = model.strip().lower().rpartition("/")[2]
    return name.split(":")[1] if name.startswith("ft:") and name.count(":") >= 1 else name


@lru_cache(4096)
def vendor_row(model: str) -> Row | None:
    """The row of data/vendors.json that a model belongs to: by the host before its name, else by the name."""
    if ARN.match(model.strip().lower()):
        return next(row for row in load("vendors.json") if "bedrock" in row["prefixes"])
    hosts = [host for host in model.strip().lower().split("/")[:-1] if host not in ROUTERS]
    if hosts:
        return next((row for row in load("vendors.json") if hosts[0] in row["prefixes"]), None)
    name = plain_name(model)
    return next((row for row in load("vendors.json") if row["models"] and re.match(row["models"], name)), None)


def vendor_of(model: str) -> str | None:
    """openai, azure-openai, anthropic, google, ...; None for a model that isn't known."""
    row = vendor_row(model)
    return None if row is None else str(row["vendor"])


@dataclass(frozen=True, slots=True)
class Address:
    """Whose price list a model is on (`provider`), and the names that it may have there, the fullest first."""

    provider: str
    names: tuple[str, ...]


@lru_cache(4096)
def address_of(model: str) -> tuple[Address, ...]:
    """Where a model's price may stand, the likeliest first; empty where nobody says who served it.

    The host before the name goes first: azure/gpt-4o is on Azure's list, groq/... on Groq's. A router that has a list
    of its own (openrouter) comes before the vendor that it passes the call on to.
    """
    path = model.strip().lower()
    if ARN.match(path):
        return (Address("aws", (path.rpartition("/")[2],)),)
    parts = [part for part in path.split("/") if part]
    while len(parts) > 1 and parts[0] in ROUTERS and parts[0] not in _hosts():
        parts = parts[1:]
    row = vendor_row(model)
    found: list[Address] = []
    if len(parts) > 1 and parts[0] in _hosts():
        found.append(Address(_hosts()[parts[0]], _names(parts[1:])))
        parts = parts[1:]
    if row is not None:
        after = parts[1:] if len(parts) > 1 and parts[0] in row["prefixes"] else parts
        found.append(Address(str(row["prices"]), _names(after)))
    return tuple(found)


def _names(parts: list[str]) -> tuple[str, ...]:
    """A path's name as a whole and its last part; a fine-tune by its base's, with ft: before it."""
    last = parts[-1]
    if last.startswith("ft:"):
        return (f"ft:{plain_name(last)}",)
    return tuple(dict.fromkeys(("/".join(parts), last)))


@cache
def _hosts() -> dict[str, str]:
    return {row["host"]: row["provider"] for row in load("hosts.csv")}


@lru_cache(4096)
def retirement(model: str) -> tuple[str, str] | None:
    """(ISO date, source) of the day a model is switched off, where one is announced."""
    table = _retirements()
    for name in _ancestors(model):
        if name in table:
            return table[name]
    return None


def _ancestors(model: str) -> Iterator[str]:
    """The names whose date holds for a model. A cloud has dates of its own (Azure, Bedrock, Vertex): there a model is
    not switched off on its maker's day."""
    row = vendor_row(model)
    host = str(row.get("retires", "")) if row is not None else ""
    name = plain_name(model)
    for own in dict.fromkeys((name, GEO.sub("", name))):
        if model.strip().lower().rpartition("/")[2].startswith("ft:"):
            yield f"{host}ft:{own}"
        yield host + own
        if DATED.search(own):
            yield host + DATED.sub("", own)


@cache
def _retirements() -> dict[str, tuple[str, str]]:
    return {
        row["model"]: (row["retires"], f"{row['source']} (as of {row['as_of']})") for row in load("retirements.csv")
    }
