"""freehold.toml's tables for the server: where calls may go, what may leave the house, what is kept, what is too much.

successor = "gpt-5.6-luna"       # what goes up asks for this model, once the logged one is switched off
[upstreams.local]                # a further host that speaks OpenAI's API
url = "http://127.0.0.1:8000/v1"
open = true                      # an open model's host: it answers only where a verdict says so. Else a closed API,
model = "qwen3-32b"              # asked in this order where those before it fail. `model`: the name it is asked under
key_env = "LOCAL_KEY"            # or key_file, readable by its owner only
budget_day = 25.0                # USD
[rollout]                        # how fast a new student takes over
start = "shadow"                 # or "full": all it is sure of, at once
steps = [0.01, 0.05, 0.25]       # shares on the way to all, kept per "user" or "conversation"
by = "user"
[private]
leaves = "redacted"              # private data is taken out of all that leaves the house; or "as-is"
[ledger]
durability = "fast"              # a killed process loses nothing; "safe": a power cut neither
content = "on"                   # or "redacted", or "off": no text is kept
failure = "serve"                # where no row can be written; or "refuse"
rotate_mib = 256
keep_days = 0                    # 0: for good
[cache]                          # answers given again to the same request at temperature 0
keys = ["batch"]                 # the client keys that want it
seconds = 3600
[limits]
body_mib = 4.0                   # and the other fields of Limits
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from freehold.errors import BadSetting

__all__ = [
    "CacheSettings", "LedgerSettings", "Limits", "PrivateSettings", "RolloutSettings", "UpstreamSettings",
    "check_gateway", "is_id",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """One table [upstreams.NAME]. `open`: an open model's host, which answers only where a verdict says so. `model` is
    the name it is asked under ("": the client's). `private` goes before [private] leaves. `budget_day` is in USD."""

    url: str
    open: bool = False
    model: str = ""
    key_env: str = ""
    key_file: str = ""
    private: str = ""
    budget_day: float | None = None


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """How fast a new student takes over: from `start`, by `steps` (shares of what it is sure of), to all."""

    start: str = "shadow"
    steps: tuple[float, ...] = (0.01, 0.05, 0.25)
    by: str = "user"


@dataclass(frozen=True, slots=True)
class PrivateSettings:
    """`leaves`: as-is, or redacted: private data is taken out of all that leaves the house."""

    leaves: str = "as-is"


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """`durability`: fast (a killed process loses nothing) or safe (a power cut neither); `content`: on, redacted or
    off; `failure`: serve or refuse, where no row can be written; `keep_days` 0: for good."""

    durability: str = "fast"
    content: str = "on"
    failure: str = "serve"
    rotate_mib: int = 256
    keep_days: int = 0


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """`keys` are the names of the client keys whose calls at temperature 0 may be answered from earlier answers."""

    keys: tuple[str, ...] = ()
    seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too much, all on by default. Seconds, bytes where the name says KiB or MiB, else counts."""

    header_kib: int = 32
    header_fields: int = 64
    header_seconds: float = 10.0
    body_mib: float = 4.0
    body_seconds: float = 30.0
    body_kib_second: int = 64  # each buys one second more
    body_least: int = 1024  # bytes a second, once body_seconds are over
    depth: int = 64
    values: int = 50_000
    messages: int = 1024
    choices: int = 8  # n
    stop: int = 16
    logit_bias: int = 1024
    schema_kib: int = 64
    schema_depth: int = 32
    schema_items: int = 10_000
    connections: int = 1024
    connections_address: int = 64
    running_key: int = 16
    queued_key: int = 32
    running_tokens: int = 2_000_000  # tokens of all calls under way: prompt, and the most that may be answered
    queue_seconds: float = 10.0
    buffer_kib: int = 64  # of a stream that its reader does not take
    write_seconds: float = 30.0
    connect_seconds: float = 3.0
    first_seconds: float = 60.0
    between_seconds: float = 30.0
    total_seconds: float = 600.0
    drain_seconds: float = 30.0
    idle_seconds: float = 60.0


WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "rollout": {"start": ("shadow", "full"), "by": ("user", "conversation")},
    "private": {"leaves": ("as-is", "redacted")},
    "ledger": {"durability": ("fast", "safe"), "content": ("on", "redacted", "off"), "failure": ("serve", "refuse")},
}
NAME = "a name of small letters, digits, . _ and -, at most 64 long"


def check_gateway(path: Path, settings: Any) -> None:
    """Raises BadSetting for a word that isn't known, a share or a figure that can't be meant, or a key in a URL."""
    for table, words in WORDS.items():
        for name, known in words.items():
            _known(f"{path}, [{table}]: {name}", getattr(getattr(settings, table), name), known)
    for name, said in settings.upstreams.items():
        _upstream(f"{path}, [upstreams.{name}]", name, said)
    shares = settings.rollout.steps
    if any(not 0.0 < share < 1.0 for share in shares) or list(shares) != sorted(set(shares)):
        said = ", ".join(f"{share:g}" for share in shares)
        raise BadSetting(f"{path}, [rollout]: steps are {said}.", "Give rising shares between 0 and 1.")
    _above(f"{path}, [cache]: seconds", settings.cache.seconds)
    _above(f"{path}, [ledger]: rotate_mib", settings.ledger.rotate_mib)
    if settings.ledger.keep_days < 0:
        raise BadSetting(f"{path}, [ledger]: keep_days is {settings.ledger.keep_days}.", "Give days; 0 keeps all.")
    for one in fields(Limits):
        _above(f"{path}, [limits]: {one.name}", getattr(settings.limits, one.name))


def _known(where: str, said: str, known: tuple[str, ...]) -> None:
    if said not in known:
        raise BadSetting(f"{where} is {said!r}.", f"Known: {', '.join(known)}.")


def _above(where: str, said: float) -> None:
    if not 0 < said < 1e12:
        raise BadSetting(f"{where} is {said}.", "Give a figure above 0.")


def _upstream(where: str, name: str, said: UpstreamSettings) -> None:
    if not is_id(name):
        raise BadSetting(f"{where}: {name!r} is no name.", f"Give {NAME}.")
    parts = urlsplit(said.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise BadSetting(f"{where}: url is no http or https URL without a key.", "Give the key by key_env or key_file.")
    if said.key_env and said.key_file:
        raise BadSetting(f"{where}: both key_env and key_file are given.", "Give one of them.")
    if said.private:
        _known(f"{where}: private", said.private, WORDS["private"]["leaves"])
    if said.budget_day is not None:
        _above(f"{where}: budget_day", said.budget_day)


def is_id(name: str) -> bool:
    """[a-z0-9][a-z0-9._-]{0,63}: a name that is the same on every file system."""
    good = set("abcdefghijklmnopqrstuvwxyz0123456789")
    return 0 < len(name) <= 64 and name[0] in good and set(name) <= good | set("._-")
