"""What the audit's page shows: the nouns as ranked bars, a table of private data, dates in order, shares of calls.

Audit ─audit_page→ AuditPage ─audit.html.j2→ the part of report.html under #audit

A part that the audit doesn't hold is empty, and the template leaves out its heading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from freehold.nouns import Audit, BadRow, FirstMove, Load, Measure, ModelUse, Private, Spend, Task
from freehold.nouns.shown import masked, shown
from freehold.report.days import Chart, chart, date_of
from freehold.report.words import TELLS, YEAR, count, dollars, percent, plural, portion

__all__ = ["AuditPage", "Bar", "Deadline", "Move", "PrivateRow", "Reason", "audit_page"]

FIRST = 12  # bars shown before the fold
USERS = 10
OTHERS = "others"  # the audit's own row for all the users that it doesn't name
FIELDS = ("system", "user", "assistant", "tool arguments", "tool", "user id")


@dataclass(frozen=True, slots=True)
class Bar:
    """One of a ranked list: `part` in [0, 1] is its length, `figure` and `note` are what it says."""

    name: str
    part: float
    figure: str
    note: str = ""
    estimated: bool = False
    task: Task | None = None
    method: str = ""


@dataclass(frozen=True, slots=True)
class Leaving:
    """The models that are switched off on one day, for the head of the page."""

    day: str
    left: int
    models: tuple[str, ...]
    calls: int


@dataclass(frozen=True, slots=True)
class Deadline:
    """A model that is switched off: what must move, and how far along the common line its day is (in per cent)."""

    model: ModelUse
    at: float
    tasks: tuple[str, ...]
    month: float | None


@dataclass(frozen=True, slots=True)
class Move:
    """`needed`: (bar, calls, whether the log has as many of this task; None where the log doesn't name it)."""

    move: FirstMove
    needed: tuple[tuple[str, int | None, bool], ...]


@dataclass(frozen=True, slots=True)
class PrivateRow:
    """A type of private data: (calls, pieces) by field, None where nothing was found."""

    kind: str
    cells: tuple[tuple[int, int] | None, ...]
    examples: tuple[str, ...]
    checked: bool


@dataclass(frozen=True, slots=True)
class Reason:
    why: str
    rows: int
    first: BadRow


@dataclass(frozen=True, slots=True)
class AuditPage:
    tasks: tuple[Bar, ...]
    by_money: bool
    moves: tuple[Move, ...]
    bars: tuple[str, ...]
    dated: bool
    days: Chart | None
    undrawn: tuple[Spend, ...]
    dates: tuple[Deadline, ...]
    leaving: tuple[Leaving, ...]
    furthest: str
    shares: tuple[tuple[str, Measure, str], ...]
    noise: tuple[Task, ...]
    unsure: int
    paid: str
    ways: tuple[tuple[str, str], ...]
    load: tuple[tuple[Load, int], ...]
    users: tuple[Bar, ...]
    fields: tuple[str, ...]
    private: tuple[PrivateRow, ...]
    errors: tuple[Bar, ...]
    ended: tuple[tuple[str, int, str], ...]
    surface: tuple[tuple[str, tuple[Bar, ...]], ...]
    formats: tuple[Bar, ...]
    reasons: tuple[Reason, ...]
    first: int = FIRST


def audit_page(audit: Audit) -> AuditPage:
    """Everything of an audit that the template doesn't take from it as it is."""
    fields = tuple(sorted({p.field for p in audit.private}, key=lambda f: (_place(f), f)))
    dates = _dates(audit)
    dated = bool(audit.days) and (audit.last is None or audit.last >= YEAR)  # else no day is one of the calendar's
    bars = tuple(dict.fromkeys(bar for move in audit.moves for bar in move.needed))
    return AuditPage(
        tasks=_tasks(audit),
        by_money=bool(audit.money.value),
        moves=tuple(_move(move, bars, audit.tasks) for move in audit.moves),
        bars=bars,
        dated=dated,
        days=chart(audit.days) if dated else None,
        undrawn=tuple(d for d in audit.days if date_of(d.name) is None),
        dates=dates,
        leaving=_leaving(dates),
        furthest=max((d.model.retires or "" for d in dates), default=""),
        shares=_shares(audit),
        noise=tuple(t for t in audit.tasks if t.noise.value is not None and t.noise.n >= TELLS),
        unsure=sum(t.noise.value is not None and t.noise.n < TELLS for t in audit.tasks),
        paid=next((m.money.method for m in audit.moves if m.money.method), ""),
        ways=_ways(audit.moves),
        load=_load(audit),
        users=_users(audit),
        fields=fields,
        private=_private(audit.private, fields),
        errors=_counts(audit.health.errors, audit.calls, "call"),
        ended=_ended(audit),
        surface=_surface(audit),
        formats=_counts(audit.log.formats, audit.log.rows, "row"),
        reasons=_reasons(audit.bad),
    )


def _part(value: float, most: float) -> float:
    return 0.0 if most <= 0 else min(1.0, max(0.0, value / most))


def _tasks(audit: Audit) -> tuple[Bar, ...]:
    """Tasks by money (by calls where there is none), then what belongs to no task."""
    total = audit.money.value or 0.0
    sizes = {t.name: (t.money.value or 0.0) if total else float(t.calls) for t in audit.tasks}
    most = max(sizes.values(), default=0.0)
    ranked = sorted(audit.tasks, key=lambda t: (-sizes[t.name], -t.calls, t.name))
    bars = [_task(task, sizes[task.name], most, total) for task in ranked]
    outside = audit.calls - sum(t.calls for t in audit.tasks)
    if outside > 0 and audit.tasks:
        paid = max(0.0, total - sum(t.money.value or 0.0 for t in audit.tasks))
        priced = audit.money.n - sum(t.money.n for t in audit.tasks)
        figure = _paid(paid if priced > 0 else None, total) if total else percent(outside / audit.calls, 1)
        note = f"{plural(outside, 'call')} that share no task"
        if total and 0 < priced < outside:
            note += f" · {count(priced)} of them have a price"
        bars.append(Bar("in no task", _part(paid if total else outside, most), figure, note))
    return tuple(bars)


def _task(task: Task, size: float, most: float, total: float) -> Bar:
    labels = f", {plural(len(task.labels), 'label')}" if task.labels else ""
    note = f"{task.kind}{labels} · {plural(task.calls, 'call')}, {percent(task.share, 1)} of the log"
    if task.money.low is not None and task.money.high is not None:
        note += f" · {dollars(task.money.low)} to {dollars(task.money.high)}"
    if task.money.value is not None and task.money.n < task.calls:
        note += f" · {count(task.money.n)} of them have a price"
    figure = _paid(task.money.value, total) if total else percent(task.share, 1)
    return Bar(task.name, _part(size, most), figure, note, task.estimated > 0, task, task.money.method)


def _paid(value: float | None, total: float) -> str:
    """Dollars, and their share of all."""
    return "no price" if value is None else f"{dollars(value)} · {percent(value / total, 1)}"


def _move(move: FirstMove, bars: Sequence[str], tasks: Sequence[Task]) -> Move:
    calls = {t.name: t.calls for t in tasks}.get(move.task, 0)
    needed = tuple((bar, n := move.needed.get(bar), n is not None and calls >= n) for bar in bars)
    return Move(move, needed)


def _ways(moves: Sequence[FirstMove]) -> tuple[tuple[str, str], ...]:
    """How the share was measured, once a kind of answer: what is of one task alone stands in its row."""
    found: dict[str, str] = {}
    for move in moves:
        said = move.portability.method
        if said and (move.kind not in found or len(said) < len(found[move.kind])) and move.portability.value:
            found[move.kind] = said
    return tuple(found.items())


def _load(audit: Audit) -> tuple[tuple[Load, int], ...]:
    """The windows that are known, each with the calls of the busiest one (0 where n doesn't yield it)."""
    timed = audit.calls - sum(d.calls for d in audit.days if not d.name)
    rows = []
    for load in audit.load:
        if load.calls.value is not None:
            most = load.calls.value * timed / load.calls.n if load.calls.n else 0.0
            rows.append((load, round(most) if abs(most - round(most)) < 1e-6 * max(1.0, most) else 0))
    return tuple(rows)


def _dates(audit: Audit) -> tuple[Deadline, ...]:
    """The next to go first; the line ends at the last of them, or in three months where all go sooner."""
    dated = [m for m in audit.models if m.retires and m.days_left is not None]
    furthest = max([90, *(m.days_left or 0 for m in dated)])
    scale = audit.per_month.value / audit.money.value if audit.per_month.value and audit.money.value else None
    return tuple(
        Deadline(
            m,
            round(100 * _part(m.days_left or 0, furthest), 2),
            tuple(t.name for t in audit.tasks if m.model in t.models),
            m.money.value * scale if scale is not None and m.priced and m.money.value is not None else None,
        )
        for m in sorted(dated, key=lambda m: (m.days_left or 0, m.model))
    )


def _leaving(dates: Sequence[Deadline]) -> tuple[Leaving, ...]:
    days: dict[tuple[str, int], list[ModelUse]] = {}
    for d in dates:
        days.setdefault((d.model.retires or "", d.model.days_left or 0), []).append(d.model)
    return tuple(
        Leaving(day, left, tuple(m.model for m in models), sum(m.calls for m in models))
        for (day, left), models in days.items()
    )


def _shares(audit: Audit) -> tuple[tuple[str, Measure, str], ...]:
    repeats = audit.repeats
    found = (
        ("asked again, to the letter", repeats.exact, "of calls repeat an earlier request"),
        ("nearly the same", repeats.near, "of calls nearly repeat an earlier text of their task"),
        ("the same beginning", repeats.prefix, "of prompt blocks an endless prefix cache would have held"),
        ("same question, same answer", repeats.self_agreement, "of requests asked again got the same answer twice"),
    )
    return tuple(one for one in found if one[1].value is not None)


def _users(audit: Audit) -> tuple[Bar, ...]:
    """The largest few, then the rest as one; a user's name is shown only as far as it tells nobody who it is."""
    total = sum(u.money.value or 0.0 for u in audit.users)
    named = sorted((u for u in audit.users if u.name not in ("", OTHERS)), key=lambda u: (-_size(u, total), u.name))
    rest = [*named[USERS:], *(u for u in audit.users if u.name == OTHERS)]
    groups = [(masked(u.name), [u]) for u in named[:USERS]]
    groups += [("all others", rest)] if rest else []
    groups += [("no user named", [u]) for u in audit.users if not u.name]
    most = max((sum(_size(u, total) for u in group) for _, group in groups), default=0.0)
    return tuple(_user(name, group, most, total, audit.calls) for name, group in groups)


def _size(spend: Spend, total: float) -> float:
    return (spend.money.value or 0.0) if total else float(spend.calls)


def _user(name: str, spends: Sequence[Spend], most: float, total: float, calls: int) -> Bar:
    n, known = sum(s.calls for s in spends), [s.money.value for s in spends if s.money.value is not None]
    paid = sum(known) if known else None
    figure = _paid(paid, total) if total else percent(n / max(1, calls), 1)
    priced = sum(s.priced for s in spends)
    note = plural(n, "call") + (f", {count(priced)} of them have a price" if 0 < priced < n else "")
    part = _part((paid or 0.0) if total else n, most)
    return Bar(name, part, figure, note, any(s.estimated for s in spends), method=spends[0].money.method)


def _place(field: str) -> int:
    return FIELDS.index(field) if field in FIELDS else len(FIELDS)


def _private(found: Sequence[Private], fields: Sequence[str]) -> tuple[PrivateRow, ...]:
    """A row a type, the one in most calls first."""
    rows = []
    for kind in dict.fromkeys(p.kind for p in found):
        own = [p for p in found if p.kind == kind]
        cells = [[p for p in own if p.field == field] for field in fields]
        summed = tuple((sum(p.calls for p in c), sum(p.pieces for p in c)) if c else None for c in cells)
        examples = tuple(dict.fromkeys(shown(p.example, 48) for p in own if p.example))[:2]
        rows.append(PrivateRow(kind, summed, examples, any(p.checked for p in own)))
    return tuple(sorted(rows, key=lambda row: (-max(c[0] for c in row.cells if c), row.kind)))


def _counts(counts: Mapping[str, int], of: int, one: str) -> tuple[Bar, ...]:
    """Counts by name, the largest first, as shares of `of`."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    most = max(counts.values(), default=0)
    return tuple(Bar(name or "not named", _part(n, most), f"{plural(n, one)} · {portion(n, of)}") for name, n in ranked)


def _ended(audit: Audit) -> tuple[tuple[str, int, str], ...]:
    health = audit.health
    found = (
        ("failed", sum(health.errors.values()), "no answer but an error"),
        ("refused", health.refused, "the model declined to answer"),
        ("cut short", health.cut, "the answer ran into its token limit"),
        ("filtered", health.filtered, "stopped by a content filter"),
        ("asked again after a failure", health.retries, "an equal request within a minute"),
    )
    return tuple(one for one in found if one[1])


def _surface(audit: Audit) -> tuple[tuple[str, tuple[Bar, ...]], ...]:
    surface = audit.surface
    found = (
        ("Endpoints", surface.endpoints), ("Request fields", surface.params),
        ("Tools", surface.tools), ("Answer formats", surface.formats),
    )  # fmt: skip
    told = bool(audit.tasks or audit.repeats.exact.value is not None)  # else nobody knows what answers looked like
    return tuple(
        (name, _counts(counts, audit.calls, "call"))
        for name, counts in found
        if counts and (told or name != "Answer formats")
    )


def _reasons(bad: Iterable[BadRow]) -> tuple[Reason, ...]:
    """The kept bad rows by reason, the most frequent first, each with the first row that has it."""
    rows: dict[str, list[BadRow]] = {}
    for row in bad:
        rows.setdefault(row.reason, []).append(row)
    found = [Reason(why, len(own), own[0]) for why, own in rows.items()]
    return tuple(sorted(found, key=lambda r: -r.rows))
