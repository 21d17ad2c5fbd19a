"""An OpenAI-compatible server: home where the promise holds, else up. `serve` runs it until a signal.

client ──→ door ──→ route ──┬─→ student ──→ ledger row ──→ answer          (a share is asked upstream too: pairs)
                            └─→ upstream ─→ the same bytes back, ledger row
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from freehold.errors import FreeholdError, UpstreamMissing
from freehold.nouns import Audit
from freehold.project import Project
from freehold.tell import Tell, quiet

if TYPE_CHECKING:
    from freehold.engines.upstream import Upstream
    from freehold.project.gateway import Limits
    from freehold.serve.app import App
    from freehold.serve.listen import Stop
    from freehold.serve.pairs import Pairs
    from freehold.serve.runglog import RungLog
    from freehold.serve.rungs import Opener, Step

__all__ = ["running", "serve"]

ENDING = 5.0  # seconds that the students' engines have to end


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
    limits: Limits | None = None,
    ready: Callable[[App], None] | None = None,
    tell: Tell = quiet,
) -> None:
    """Serve the tasks of `audit` that have a `move` verdict, and pass everything else up, until SIGTERM or ctrl-C.

    `opener` makes a Student of an artefact; `pairs` is the share of home answers that are asked upstream too (0: none);
    `machine_cost` is in USD an hour. `ready` is called once it accepts connections, with what is served.
    SIGUSR1 reads the project again, for new verdicts. A second signal to stop does so at once; ctrl-C ends in
    KeyboardInterrupt.
    Raises PortInUse, ServeRefused, UpstreamMissing, BadSetting, StorageFailed, and ArtifactDamaged or StudentUnusable
    where nothing else could be served.
    """
    from freehold.http.loop import run
    from freehold.project.gateway import Limits
    from freehold.serve.listen import Stop, raise_file_limit

    limits = limits or Limits()

    async def until_signal() -> int:
        stop = Stop()
        stop.on_signals()
        home = machine_cost / 3600
        with suppress(_Stopped):
            async with running(
                project, audit, upstream, opener,
                host=host, port=port, pairs=pairs, home=home, limits=limits, stop=stop, tell=tell,
            ) as app:  # fmt: skip
                if ready is not None:
                    ready(app)
                await stop.asked.wait()
                tell("stopping: what is under way may finish within 30 s; once more stops at once")
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
    limits: Limits | None = None,
    hosts: Sequence[str] = (),
    stop: Stop | None = None,
    tell: Tell = quiet,
) -> AsyncIterator[App]:
    """The server, accepting connections on `app.port` inside the context (0 finds a free port); leaving it drains.

    `home` is USD a second; `hosts` are names of this server besides this machine's own.
    """
    from freehold.serve.app import App
    from freehold.serve.grow import Grow
    from freehold.serve.ledger import Ledger
    from freehold.serve.listen import Listener, Stop, check_host
    from freehold.serve.pairs import Pairs
    from freehold.serve.relay import Relay
    from freehold.serve.runglog import RungLog
    from freehold.serve.rungs import close, open_rungs
    from freehold.serve.students import Students
    from freehold.serve.thread import StudentThread

    check_host(host)
    watched = upstream is not None and upstream.kind == "upstream" and pairs > 0
    stop = stop or Stop()
    log = RungLog(project, tell)

    def closing(step: Step, why: str, by: str = "monitor") -> None:
        tell(f"closed {step.rung.task.name}: {why}")
        close(log, step, why, by)

    students, opening, ending = Students(), StudentThread(), StudentThread()
    try:
        share = pairs if watched else 0.0

        def opened(kept: Sequence[Step] = ()) -> list[Step]:
            held = project.load(Audit) if kept else audit
            return open_rungs(project, held, log, opener=opener, students=students, pairs=share, kept=kept, tell=tell)

        steps = await _unless_stopped(asyncio.wrap_future(opening.submit(opened)), stop)
        if upstream is None:
            _something_to_serve(steps)
        ledger = Ledger(project)
        relay = Relay(upstream, ledger) if upstream is not None else None
        pairing = Pairs(upstream, ledger, pairs, closing, tell) if upstream is not None and watched else None
        app = App(steps, ledger, relay, pairing, home, closing, limits, hosts)
        listener = Listener(app.handle, host, port, limits)
        await listener.start()
        app.port = listener.port
        tasks = [asyncio.create_task(ledger.keep_synced(log.retry))]
        tasks += [asyncio.create_task(pairing.run())] if pairing else []
        tasks += [asyncio.create_task(Grow(app, opened, students, opening, tell).run(stop.again))]
        try:
            yield app
        finally:
            app.stop()
            await listener.stop(stop.hurry)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if upstream is not None:
                await upstream.close()
            ledger.close()
            log.retry()
            _farewell(ledger.lost, pairing, log, tell)
    finally:
        opening.shutdown(wait=False, cancel_futures=True)
        ended = asyncio.wrap_future(ending.submit(students.close))  # an engine is a process: none is left behind
        await asyncio.wait([ended], timeout=ENDING)
        ending.shutdown(wait=False)


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


def _something_to_serve(steps: list[Step]) -> None:
    """Raises the first damage, or UpstreamMissing, where there is neither an open rung nor an upstream."""
    if any(step.rung.open for step in steps):
        return
    damage: list[FreeholdError] = [step.damage for step in steps if step.damage]
    if damage:
        raise damage[0]
    raise UpstreamMissing("No task may be answered at home, and there is no upstream.", "Give --upstream URL.")


def _farewell(lost: int, pairs: Pairs | None, log: RungLog, tell: Tell) -> None:
    if lost:
        tell(f"{lost} ledger rows could not be written")
    if pairs is not None and pairs.lost + pairs.waiting:
        tell(f"{pairs.lost + pairs.waiting} pairs were lost, {pairs.asked} were asked")
    for _, event in log.pending:
        tell(f"the closing of {event['task']} could not be written to rungs.jsonl; the next start reads the ledger")
