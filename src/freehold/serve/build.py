"""A project's server, put together: from freehold.toml, the keys, the ledger and the upstreams to Parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from freehold.engines.hosts.fleet import Fleet
from freehold.engines.hosts.host import Policy
from freehold.engines.hosts.make import make_fleet
from freehold.engines.hosts.secret import Secret
from freehold.engines.upstream import HttpUpstream, Timeouts, Upstream
from freehold.facts import PriceBook
from freehold.keys import Keys
from freehold.keys.spent import Spent
from freehold.ledger import Ledger
from freehold.project import Project, Settings
from freehold.serve.admit import Admission
from freehold.serve.cache import Cache
from freehold.serve.leaving import Leaving, leaving_key
from freehold.serve.metrics import Metrics
from freehold.serve.parts import Parts
from freehold.serve.rungs import Step
from freehold.serve.spend import Prices, Spend
from freehold.serve.workers import Worker
from freehold.tell import Tell, quiet

__all__ = ["build"]


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
    policy = Policy(leaves=leaving, total=limits.total_seconds)
    fleet: Fleet | None = make_fleet(settings, project.path, environ, upstream, connect, policy=policy, left=spend.left)
    assert fleet is not None
    ledger = Ledger(project, settings.ledger, tell=tell, redact=leaving.value if leaving is not None else None)
    loop = asyncio.get_running_loop()
    parts = Parts(
        project=project,
        settings=settings,
        ledger=ledger,
        fleet=fleet if fleet.hosts else None,
        pairs=None,
        keys=keys,
        admission=Admission(limits, spent=spend.spent if keys.required else None, workers=workers, clock=loop.time),
        spend=spend,
        metrics=Metrics(
            folder=worker.folder / "metrics" if worker is not None else None,
            worker=worker.index if worker is not None else 0,
        ),
        closing=closing,
        cache=Cache(settings.cache.seconds) if settings.cache.keys else None,
        home=home,
    )
    return parts
