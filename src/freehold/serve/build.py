"""A project's server, put together: from freehold.toml, the keys, the ledger and the upstreams to Parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from freehold import wire
from freehold.engines.hosted_gate import Gate
from freehold.engines.hosts.host import Policy
from freehold.engines.hosts.make import make_fleet
from freehold.engines.hosts.secret import Secret
from freehold.engines.upstream import HttpUpstream, Timeouts, Upstream, UpstreamFailed
from freehold.facts import PriceBook
from freehold.keys import Keys
from freehold.keys.spent import Spent
from freehold.ledger import Ledger
from freehold.project import Project, Settings
from freehold.serve.away.leaving import Leaving, leaving_key
from freehold.serve.entry.admit import Admission
from freehold.serve.entry.cache import Cache
from freehold.serve.entry.spend import Prices, Spend
from freehold.serve.ladder.rungs import Step
from freehold.serve.numbers.metrics import Metrics
from freehold.serve.parts import Parts
from freehold.serve.workers import Worker
from freehold.tell import Tell, quiet

__all__ = ["build", "gates"]

LONGEST_ROW = 64 << 10  # bytes of a row that are read for private data: a tenth of a second at most


def build(
    project: Project,
    settings: Settings,
    upstream: Upstream | None,
    keys: Keys,
    closing: Callable[[Step, str, str], None],
    *,
    environ: Mapping[str, str],
    home: float = 0.0,
    worker: Worker | None = None,
    workers: int = 1,
    tell: Tell = quiet,
) -> Parts:
    """All but the rungs and the pairs. Needs a running event loop.

    Raises BadSetting, SecretExposed, StorageFailed, ArtifactDamaged.
    """
    limits = settings.limits
    redacts = settings.ledger.content == "redacted" or settings.private.leaves == "redacted"
    redacts = redacts or any(one.private == "redacted" for one in settings.upstreams.values())
    leaving = Leaving(leaving_key(project.path)) if redacts else None
    timeouts = Timeouts(limits.connect_seconds, limits.first_seconds, limits.between_seconds, limits.total_seconds)

    def connect(url: str, secret: Secret, allowed: Callable[[str], bool]) -> Upstream:
        return HttpUpstream(url, secret.reveal(), timeouts=timeouts, allowed=allowed)

    spend = Spend(
        lambda: Spent(project.path / "keys.spent"), Prices(PriceBook(settings.prices, settings.discounts)), keys
    )
    policy = Policy(leaves=leaving, total=limits.total_seconds, tell=tell)
    fleet = make_fleet(settings, project.path, environ, upstream, connect, policy=policy, left=spend.left)
    ledger = Ledger(project, settings.ledger, tell=tell, redact=_readable(leaving) if leaving is not None else None)
    loop = asyncio.get_running_loop()
    return Parts(
        project=project,
        settings=settings,
        ledger=ledger,
        fleet=fleet if fleet.hosts else None,
        pairs=None,
        keys=keys,
        admission=Admission(
            limits, spent=spend.spent if keys.required else None, line=keys.line, workers=workers, clock=loop.time
        ),
        spend=spend,
        metrics=Metrics(
            folder=worker.folder / "metrics" if worker is not None else None,
            worker=worker.index if worker is not None else 0,
        ),
        closing=closing,
        cache=Cache(settings.cache.seconds) if settings.cache.keys else None,
        home=home,
    )


def gates(settings: Settings, spend: Spend) -> dict[str, Gate]:
    """What stands before each open model's host: its day's budget, and a breaker."""
    return {
        name: Gate(spend.left(name, one.budget_day) if one.budget_day is not None else None, partial(spend.bill, name))
        for name, one in settings.upstreams.items()
        if one.open
    }


def _readable(leaving: Leaving) -> Callable[[Any], Any]:
    """Private data out of a row's values, on the event loop: so not where that takes long. Raises ValueError for what
    can't be read, and the row is kept without its texts."""

    def redact(value: Any) -> Any:
        said = wire.dumps(value)
        if len(said) > LONGEST_ROW:
            raise ValueError("too long to be read for private data while others wait")
        try:
            return leaving.value(value)
        except UpstreamFailed as error:
            raise ValueError(error.code) from None

    return redact
