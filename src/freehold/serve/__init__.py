"""An OpenAI-compatible server: home where the promise holds, else up. `serve` runs it until a signal.

client ─→ door, key, admission ─→ route ─┬→ student ─→ ledger row ─→ answer     (a share is asked upstream too: pairs)
                                         └→ upstreams ─→ the same bytes back, ledger row
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from freehold.errors import FreeholdError, UpstreamMissing
from freehold.nouns import Audit
from freehold.project import Project
from freehold.tell import Tell, quiet

if TYPE_CHECKING:
    from freehold.engines.upstream import Upstream
    from freehold.keys import Keys
    from freehold.project import Settings
    from freehold.serve.app import App
    from freehold.serve.ladder.kept import Kept
    from freehold.serve.ladder.runglog import RungLog
    from freehold.serve.ladder.rungs import Opener, Step
    from freehold.serve.listen import Stop
    from freehold.serve.parts import Parts
    from freehold.serve.seats.thread import StudentThread
    from freehold.serve.workers import Worker

__all__ = ["running", "serve"]

ENDING = 5.0  # seconds that the students' engines have to end
AWAY = 1.0  # seconds after a signal in which a proxy in front may still send calls: they are answered


def serve(
    project: Project,
    audit: Audit,
    upstream: Upstream | None,
    *,
    opener: Opener,
    host: str = "127.0.0.1",
    port: int = 8080,
    pairs: float = 0.02,
    machine_cost: float = 0.0,
    settings: Settings | None = None,
    environ: Mapping[str, str] | None = None,
    worker: Worker | None = None,
    workers: int = 1,
    ready: Callable[[App], None] | None = None,
    tell: Tell = quiet,
) -> None:
    """Serve the tasks of `audit` that have a `move` verdict, and pass everything else up, until SIGTERM or ctrl-C.

    `opener` makes a Student of an artefact; `pairs` is the share of home answers that are asked upstream too (0: none);
    `machine_cost` is in USD an hour; `settings` are the project's own where none are given; `environ` holds the keys of
    [upstreams.NAME]; `worker` is this process's place among `workers`. `ready` is called once it accepts connections.
    SIGUSR1 reads the project again, for new verdicts. A second signal to stop does so at once; ctrl-C ends in
    KeyboardInterrupt.
    Raises PortInUse, ServeRefused, UpstreamMissing, BadSetting, SecretExposed, StorageFailed, and ArtifactDamaged or
    StudentUnusable where nothing else could be served.
    """
    from freehold.http.loop import run
    from freehold.serve.listen import Stop, raise_file_limit

    limits = (settings or project.settings).limits

    async def until_signal() -> int:
        stop = Stop()
        stop.on_signals()
        home = machine_cost / 3600
        try:
            async with running(
                project, audit, upstream, opener, host=host, port=port, pairs=pairs, home=home, settings=settings,
                environ=environ, worker=worker, workers=workers, stop=stop, tell=tell,
            ) as app:  # fmt: skip
                if ready is not None:
                    ready(app)
                await stop.asked.wait()
                app.leave()
                tell(
                    f"stopping: what is under way may finish within {limits.drain_seconds:g} s; once more stops at once"
                )
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.hurry.wait(), AWAY)
        except _Stopped:
            tell("stopped before it listened: its students were still being checked")
        return stop.number

    raise_file_limit(limits.connections)
    if run(until_signal()) == signal.SIGINT:
        raise KeyboardInterrupt


@asynccontextmanager
async def running(
    project: Project,
    audit: Audit,
    upstream: Upstream | None,
    opener: Opener,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    pairs: float = 0.02,
    home: float = 0.0,
    settings: Settings | None = None,
    environ: Mapping[str, str] | None = None,
    hosts: Sequence[str] = (),
    worker: Worker | None = None,
    workers: int = 1,
    stop: Stop | None = None,
    tell: Tell = quiet,
) -> AsyncIterator[App]:
    """The server, accepting connections on `app.port` inside the context (0 finds a free port); leaving it drains.

    `home` is USD a second; `hosts` are names of this server besides this machine's own.
    """
    from freehold.keys import Keys
    from freehold.serve.app import App
    from freehold.serve.build import build, gates
    from freehold.serve.ladder.kept import Kept
    from freehold.serve.listen import HOSTS, Listener, Stop, check_host
    from freehold.serve.pairing.pairs import Pairs
    from freehold.serve.seats.thread import StudentThread
    from freehold.serve.status import state

    settings = settings or project.settings
    keys = Keys.open(project, tell=tell)
    check_host(host, keys.required)
    stop = stop or Stop()
    opening = StudentThread()
    ladder = Kept(project, settings, opener, lambda: parts.steps, tell)
    parts = build(
        project, settings, upstream, keys, ladder.closing,
        environ=environ or {}, home=home, worker=worker, workers=workers, tell=tell,
    )  # fmt: skip
    watched = parts.fleet is not None and parts.fleet.kind == "upstream" and pairs > 0
    ladder.share, ladder.gates = (pairs if watched else 0.0), gates(settings, parts.spend)
    try:
        _check_cache(settings, keys, tell)
        parts.steps = await _unless_stopped(asyncio.wrap_future(opening.submit(ladder.opened, audit)), stop)
        if parts.fleet is None:
            _something_to_serve(parts.steps)
        await asyncio.to_thread(parts.spend.warm, _models(audit, parts))
        if parts.fleet is not None and watched:
            first = parts.fleet.one(parts.fleet.hosts[0].name)  # another may be another model
            parts.pairs = Pairs(
                first, parts.ledger, pairs, ladder.closing, tell, rising=ladder.rising, log=ladder.pairs
            )
        parts.metrics.watch(lambda: state(parts))
        parts.know()
        app = App(parts, hosts, any_host=host not in HOSTS)
        sockets = [worker.listen] if worker is not None else []
        listener = Listener(app.handle, host, port, settings.limits, sockets)
        await listener.start()
        app.port = listener.port
        adopting = [worker.adopt(listener.http.connection)] if worker is not None else []
        tasks = _beside([*_work(parts, ladder, audit, opening, stop, tell), *adopting], parts, tell)
        try:
            yield app
        finally:
            app.stop()
            await listener.stop(stop.hurry)
            await parts.repeats.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            ladder.close()
            _farewell(parts, ladder.log, tell)
    finally:
        await parts.close()
        opening.shutdown(wait=False, cancel_futures=True)
        ending = StudentThread()
        ended = asyncio.wrap_future(ending.submit(ladder.students.close))  # an engine is a process: none is left behind
        await asyncio.wait([ended], timeout=ENDING)
        ending.shutdown(wait=False)


def _models(audit: Audit, parts: Parts) -> list[str]:
    """Those whose prices a call may need."""
    hosts = parts.fleet.all if parts.fleet is not None else ()
    return [model for task in audit.tasks for model in task.models] + [host.model for host in hosts if host.model]


def _work(
    parts: Parts, ladder: Kept, audit: Audit, opening: StudentThread, stop: Stop, tell: Tell
) -> list[Coroutine[Any, Any, None]]:
    """What runs beside the calls until the stop."""
    from freehold.serve.ladder.grow import Grow

    follow, models = ladder.follow(asyncio.get_running_loop().call_soon_threadsafe), _models(audit, parts)

    def each_second() -> None:
        ladder.log.retry()
        follow.look()
        parts.spend.sync()
        parts.spend.warm(models)  # the first keys may come while it runs

    work = [parts.ledger.keep_synced(each_second), parts.admission.watch(), parts.metrics.keep()]
    work += [Grow(parts, ladder.again, ladder.students, opening, tell).run(stop.again)]
    return work + ([parts.pairs.run()] if parts.pairs is not None else [])


def _beside(work: Sequence[Coroutine[Any, Any, None]], parts: Parts, tell: Tell) -> list[asyncio.Task[None]]:
    """As tasks; one that ends of itself is told, and is why /ready says no."""
    tasks = [asyncio.create_task(one) for one in work]
    for task in tasks:
        task.add_done_callback(lambda ended: _ended(ended, parts, tell))
    return tasks


async def _unless_stopped(steps: asyncio.Future[list[Step]], stop: Stop) -> list[Step]:
    """What is awaited; raises _Stopped where a signal comes first."""
    asked = asyncio.ensure_future(stop.asked.wait())
    try:
        waits: list[asyncio.Future[Any]] = [steps, asked]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
    if not steps.done():
        raise _Stopped
    return steps.result()


class _Stopped(Exception):
    """A signal came before there was anything to serve."""


def _check_cache(settings: Settings, keys: Keys, tell: Tell) -> None:
    """A name in [cache] that no client key has does nothing; it may be made later, so it is said and no more."""
    for name in settings.cache.keys:
        if keys.named(name) is None:
            tell(f"warning: [cache] keys names {name!r}, and there is no client key of that name")


def _ended(task: asyncio.Task[None], parts: Parts, tell: Tell) -> None:
    """What runs beside the calls ends only with the server: else no more calls should come here."""
    if task.cancelled() or parts.stopping:
        return
    error = task.exception()
    name = getattr(task.get_coro(), "__qualname__", "?")
    parts.broken = f"{name} ended" + (f": {type(error).__name__}" if error is not None else "")
    tell(f"{parts.broken}; /ready says no from here on: restart this server")


def _something_to_serve(steps: Sequence[Step]) -> None:
    """Raises the first damage, or UpstreamMissing, where there is neither an open rung nor an upstream."""
    if any(step.rung.open for step in steps):
        return
    damage: list[FreeholdError] = [step.damage for step in steps if step.damage]
    if damage:
        raise damage[0]
    raise UpstreamMissing("No task may be answered at home, and there is no upstream.", "Give --upstream URL.")


def _farewell(parts: Parts, log: RungLog, tell: Tell) -> None:
    pairs = parts.pairs
    if parts.ledger.lost:
        tell(f"{parts.ledger.lost} ledger rows could not be written")
    if pairs is not None and pairs.lost + pairs.waiting:
        tell(f"{pairs.lost + pairs.waiting} pairs were lost, {pairs.asked + pairs.freed} were compared")
    for _, event in log.pending:
        tell(f"the closing of {event['task']} could not be written to rungs.jsonl; the next start reads the ledger")
