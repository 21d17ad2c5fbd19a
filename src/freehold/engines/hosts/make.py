"""The fleet that freehold.toml describes: its upstream first, then [upstreams.NAME] in the order of the file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from freehold.engines.hosts.fleet import Fleet
from freehold.engines.hosts.guard import guard
from freehold.engines.hosts.host import Host, Policy
from freehold.engines.hosts.model import asks
from freehold.engines.hosts.secret import Secret, read_key
from freehold.engines.upstream import Upstream
from freehold.errors import BadSetting
from freehold.project.settings import Settings

__all__ = ["FIRST", "Connect", "make_fleet"]

FIRST = "upstream"
"""The name of the host that `upstream` of freehold.toml, or --upstream, names."""

Connect = Callable[[str, Secret, Callable[[str], bool]], Upstream]
"""(url, key, allowed) -> an upstream; allowed(address) says whether that may be connected to."""


def make_fleet(
    settings: Settings,
    folder: Path,
    environ: Mapping[str, str],
    first: Upstream | None,
    connect: Connect,
    *,
    policy: Policy | None = None,
    left: Callable[[str, float], Callable[[], float]] | None = None,
    inside: Collection[str] = (),
) -> Fleet:
    """`first` is made by the caller (its key has rules of its own; it may be a Replay). `left(name, budget_day)` gives
    what tells how many USD are left today. `inside` are public names that may lead to addresses in the house.

    Raises BadSetting, or SecretExposed, before anything is connected to.
    """
    hosts = []
    if first is not None:
        # a replay answers from the log, in the house, by the very words that were asked
        private = settings.private.leaves == "redacted" and first.kind == "upstream"
        hosts.append(_host(FIRST, first, False, settings.successor, private))
    for name, said in settings.upstreams.items():
        if name == FIRST:
            raise BadSetting(f"[upstreams.{FIRST}] has the name of the first upstream.", "Give it another one.")
        upstream = connect(said.url, read_key(said, folder, environ, name), guard(said.url, inside))
        model = said.model or ("" if said.open else settings.successor)
        private = (said.private or settings.private.leaves) == "redacted"
        host = _host(name, upstream, said.open, model, private)
        if said.budget_day is not None:
            if left is None:
                raise BadSetting(f"[upstreams.{name}]: budget_day is given, and nobody counts.", "Remove it.")
            host.left = left(name, said.budget_day)
        hosts.append(host)
    return Fleet(hosts, policy)


def _host(name: str, upstream: Upstream, open: bool, model: str, private: bool) -> Host:
    return Host(name, upstream, open, model, private, asks(model) if model else None)
