"""audit: what a log holds, before anything is built.

Source ─look→ sample → tasks ─┐                                    a log on disk, of any size, gone over twice
   └─────────scan─────────────┴→ Tallies → Audit
Traffic ──────────────────────→ the same, of calls in memory       its own sample
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from freehold.audit.bill import Bill
from freehold.audit.models import models_used
from freehold.audit.moves import rank
from freehold.audit.rules import ruled, unused
from freehold.audit.sample import SAMPLE, numbered, traffic_of
from freehold.audit.scan import Runner, Scan, Tallies, look, scan, scan_calls
from freehold.audit.tallies.arrivals import keep
from freehold.audit.tallies.estimate import calibrate
from freehold.audit.tallies.money import Pricer, per_month
from freehold.audit.tallies.tasks import tasks_of, write_lines
from freehold.audit.warn import warnings
from freehold.audit.workers import Here, Kept, Processes
from freehold.facts import PriceBook, price_book
from freehold.nouns import Audit, Measure, Task
from freehold.project import Settings
from freehold.tell import Tell, quiet
from freehold.traffic import Source, Traffic, find_tasks, paired

__all__ = ["Whole", "audit"]

LARGE = 128 << 20  # bytes of a log from which on it is read by a process a core


def audit(
    log: Traffic | Source,
    settings: Settings | None = None,
    *,
    today: date | None = None,
    book: PriceBook | None = None,
    folder: Path | None = None,
    runner: Runner | None = None,
    sample: int = SAMPLE,
    lines: Path | None = None,
    arrivals: Path | None = None,
    tell: Tell = quiet,
) -> Audit:
    """Count what a log holds, price it at each call's day, find its tasks, and pick how the answers of each compare.

    Money is in USD and counts only what the closed model answered; a model without a price is named and left out.
    `settings` may name a task's rule or database, which goes before what is picked, and own prices. `today` (default:
    the clock's, UTC) is what `days_left` counts from. `book` prices the calls (default: each at its day).

    A log on disk is read in parts; `folder` is where each part's counts are kept until all are in, so that a stopped
    run goes on (default: nowhere). `runner` does the parts (default: this process, or one a core where the log is
    large). Tasks are found in `sample` of its records. `lines` is a CSV file to write with the task of every call,
    `arrivals` one to write with when the calls of the busiest hour came and how long they were.
    Raises LogError, BadSetting, StorageFailed.
    """
    today = today or datetime.now(UTC).date()
    book = book or price_book(settings)
    if isinstance(log, Traffic):
        whole = _in_memory(log, settings, book, lines is not None, tell)
        return _audited(whole, settings, book, today, lines, arrivals, tell)
    with _workplace(folder) as place:
        whole = _on_disk(log, settings, book, Path(place), runner, sample, lines is not None, tell)
        return _audited(whole, settings, book, today, lines, arrivals, tell)


def _workplace(folder: Path | None) -> AbstractContextManager[str | Path]:
    if folder is None:
        return TemporaryDirectory(prefix="freehold-audit-")
    folder.mkdir(parents=True, exist_ok=True)
    return nullcontext(folder)


@dataclass(frozen=True, slots=True)
class Whole:
    """A log gone over: what was read (of a log on disk without its calls), the tasks as they were found in the sample,
    and everything counted. `files` are the parts'. `changed` says that a file did between the first look and the
    count."""

    read: Traffic
    sample: Traffic
    tasks: tuple[Task, ...]
    bill: Bill
    tallies: Tallies
    files: tuple[str, ...]
    changed: bool = False


def _in_memory(traffic: Traffic, settings: Settings | None, book: PriceBook, lines: bool, tell: Tell) -> Whole:
    tell("find the tasks", 0.0)
    tasks = tuple(ruled(task, traffic, settings) for task in find_tasks(traffic))
    estimator = calibrate(traffic.calls)
    tell("count the calls", 0.4)
    tallies = scan_calls(traffic.calls, tasks, Pricer(book, estimator), lines)
    tell("count the calls", 1.0)
    return Whole(traffic, traffic, tasks, Bill(tallies.money, book, estimator), tallies, ("",))


def _on_disk(
    source: Source, settings: Settings | None, book: PriceBook, folder: Path, runner: Runner | None, most: int,
    lines: bool, tell: Tell,
) -> Whole:  # fmt: skip
    runner = runner or (Processes() if source.size >= LARGE and len(source.parts) > 1 else Here())
    source = paired(source, folder / "inputs")
    surveys = look(source, most, runner, tell)
    source = numbered(source, surveys)
    tell("find the tasks", 0.0)
    sample = traffic_of(source, surveys, most)
    tasks = tuple(ruled(task, sample, settings) for task in find_tasks(sample))
    estimator = calibrate(sample.calls)
    tell("find the tasks", 1.0)
    work = Scan(source, tasks, book, estimator, str(folder), lines)
    many = len(source.parts) > 1
    tallies = scan(work, Kept(runner, folder, work.name) if many else runner, tell)
    source.check(tallies.reading)
    read = tallies.reading.traffic(source.paths)
    files = tuple(part.path for part in source.parts)
    changed = tallies.reading.records != sum(seen.records for seen in surveys)
    return Whole(read, sample, tasks, Bill(tallies.money, book, estimator), tallies, files, changed)


def _audited(
    whole: Whole, settings: Settings | None, book: PriceBook, today: date, lines: Path | None, arrivals: Path | None,
    tell: Tell,
) -> Audit:  # fmt: skip
    """What the tallies say, in nouns."""
    tell("add it up", 0.0)
    tallies, bill = whole.tallies, whole.bill
    calls = tallies.money.total.calls
    repeated = tallies.repeats.found()
    tasks = _tasks(whole, repeated.noise, calls)
    models = models_used(bill, today)
    first, last = tallies.load.span()
    money = bill.money()
    spoilt = tallies.health.shares({place: count.calls for place, count in tallies.tasks.tasks.items()})
    named = {whole.tasks[place].name: share for place, share in spoilt.items() if place >= 0}
    moves = rank(tasks, lambda part: per_month(part, first, last), spoilt=named, today=today)
    if lines is not None and tallies.lines is not None:
        write_lines(tallies.lines, [task.name for task in whole.tasks], whole.files, lines)
    if arrivals is not None:
        keep(tallies.load, arrivals, f"the log, sha256 {whole.read.log.sha256[:12]}")
    tell("add it up", 1.0)
    return Audit(
        log=whole.read.log,
        calls=calls,
        bad_rows=whole.read.bad_rows,
        bad=whole.read.bad,
        tasks=tasks,
        tokens=tallies.money.total.tokens(),
        money=money,
        per_month=per_month(money, first, last),
        first=first,
        last=last,
        models=models,
        repeats=replace(repeated.repeats, prefix=tallies.prefix.share()),
        conflicts=repeated.conflicts,
        warnings=(*warnings(whole, tasks, models, repeated.conflicts), *unused(tasks, settings)),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        sampled=len(whole.sample.calls),
        users=bill.users(),
        days=bill.days(),
        estimate=bill.estimate(),
        private=tallies.private.found(),
        surface=tallies.surface.surface(),
        health=tallies.health.health(repeated.retries),
        load=tallies.load.load(),
        moves=moves,
    )


def _tasks(whole: Whole, noise: dict[int, Measure], calls: int) -> tuple[Task, ...]:
    """The tasks with the whole log's counts, money and noise; the largest first."""
    bills = [whole.bill.task(place) for place in range(len(whole.tasks))]
    known: Sequence[Task] = [
        replace(task, money=money, estimated=estimated, noise=noise.get(place, task.noise))
        for place, (task, (money, _, estimated)) in enumerate(zip(whole.tasks, bills, strict=True))
    ]
    tokens = {task.name: used for task, (_, used, _) in zip(whole.tasks, bills, strict=True)}
    return tuple(replace(task, tokens=tokens[task.name]) for task in tasks_of(known, whole.tallies.tasks, calls))
