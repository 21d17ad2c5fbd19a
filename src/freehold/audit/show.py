"""An audit on a terminal: what matters first in a few lines, then tables, then what to know before trusting it.

    41,200 calls, 2026-09-21 to 2026-11-02
    bill       $776.82 in this log, $563.20 a month at this pace
    must move  gpt-4o-mini by 2027-01-14 (50 days): 21,300 calls, $44.40 a month
    first      invoice-fields (json), $154.00 a month

Whatever comes from the log is stripped of what steers a terminal (nouns.shown) and never read as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING

from freehold.nouns import Audit, Measure, Spend, Tokens
from freehold.nouns.shown import masked, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["show"]

MOVES = "What can move first"
PROOF = "its calls can prove"
LEFT = ("task", "kind", "model", "switched off", "user", "type", "calls by field", "looks like", "day", PROOF)
TOKENS = ("tokens\nin", "tokens\nout")
NAME, LEAST = 34, 14  # characters of a name, and of one where the table has little room
TELLS = 20  # requests asked again from which on a rate is said of them, and no count
YEAR = 365 * 86_400
FEW = 5
MANY = 30  # rows of a table


def show(audit: Audit, project: str = "") -> None:
    """Print an audit for people, on stdout; with the `project` folder that holds it, also how it becomes a page."""
    from rich.console import Console
    from rich.markup import escape

    out = Console(highlight=False)
    out.print(f"\n[bold]{audit.calls:,} call{'' if audit.calls == 1 else 's'}[/]{_about(audit)}")
    _lines(out, [*_first(audit)])
    for title, rows, table in _tables(audit, out.width):
        if rows:
            out.print(f"\n[bold]{title}[/]")
            out.print(table)
            if title == MOVES and (proofs := _proofs(audit)):
                out.print(f"[dim]{escape(proofs)}[/]")
    lines = [*_repeats(audit), *_health(audit), *_load(audit), *_surface(audit), *_read(audit)]
    out.print()
    _lines(out, lines)
    _lines(out, [("compared", f"{shown(t.name, NAME)}: {t.why}") for t in audit.tasks if t.kind != "labels" and t.why])
    _lines(out, [("note", warning) for warning in audit.warnings], "yellow")
    if project:
        command = shown(f"freehold report --project {quote(project)}", 600)
        out.print(f"[bold]page[/]       {escape(command)}", soft_wrap=True)  # whole, to be copied


def _lines(out: Console, lines: Iterable[tuple[str, str]], style: str = "bold") -> None:
    """A name and what it says, the further lines of it under the first."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=9, no_wrap=True)
    table.add_column(overflow="fold")
    for name, said in lines:
        table.add_row(Text(name, style=style), Text(shown(said, 600)))
    if table.row_count:
        out.print(Padding(table, 0))


def _about(audit: Audit) -> str:
    bad = f", {audit.bad_rows:,} bad rows" if audit.bad_rows else ""
    return f"{bad}{', ' + _span(audit.first, audit.last) if audit.first is not None and audit.last is not None else ''}"


def _span(first: float, last: float) -> str:
    """Two days; within one the times too; of a log whose times count from 0 only how long it is."""
    if last < YEAR:
        return f"{(last - first) / 60:,.0f} minutes of a clock that starts at 0"
    begin, end = (datetime.fromtimestamp(t, UTC) for t in (first, last))
    if begin.date() != end.date():
        return f"{begin.date()} to {end.date()}"
    return f"{begin.date()}" + (f" {begin:%H:%M} to {end:%H:%M} UTC" if first < last else "")


def _dollars(money: Measure) -> str:
    """In cents; what isn't nothing never reads as $0.00."""
    if money.value is None:
        return "not known"
    return "<$0.01" if 0 < money.value < 0.005 else f"${money.value:,.2f}"


def _said(m: Measure) -> str:
    """A figure with its interval and n, where it isn't too small to be told in the digits that are shown."""
    tiny = _dollars(m) if m.unit.startswith("USD") else "under 0.1 %" if m.unit == "share" else ""
    least = 0.005 if m.unit.startswith("USD") else 0.0005
    return f"{tiny} (n = {m.n:,})" if tiny and m.value is not None and 0 < m.value < least else str(m)


def _portion(n: int, of: int) -> str:
    if not of:
        return ""
    return "under 0.1 %" if 0 < n / of < 0.0005 else f"{100 * n / of:.1f} %"


def _many(n: int) -> str:
    """Tokens: 89,700, and 8.73 M from a million on."""
    return f"{n:,}" if n < 1_000_000 else f"{n / 1e6:,.4g} M" if n < 1e10 else f"{n / 1e6:,.0f} M"


# the few lines at the top


def _first(audit: Audit) -> Iterator[tuple[str, str]]:
    """What it costs, what must move and by when, and what can move first."""
    pace = f"; {_dollars(audit.per_month)} a month at this pace" if audit.per_month.value is not None else ""
    yield (
        "bill",
        ("at least " if "calls have a price" in audit.money.method and audit.money.n else "")
        + (f"{_said(audit.money)}{pace}"),
    )
    yield "", audit.per_month.method if audit.per_month.value is not None else audit.money.method
    if audit.estimate.value is not None:
        yield "estimate", f"{audit.estimate} of it rests on estimated tokens: {audit.estimate.method}"
    dated = sorted((m for m in audit.models if m.days_left is not None), key=lambda m: (m.days_left or 0, m.model))
    scale = audit.per_month.value / audit.money.value if audit.per_month.value and audit.money.value else None
    for use in dated[:FEW]:
        left = use.days_left or 0
        when = f"by {use.retires} ({left:,} days)" if left >= 0 else f"now: switched off on {use.retires}"
        month = f", ${use.money.value * scale:,.2f} a month" if scale and use.money.value is not None else ""
        yield "must move", f"{shown(use.model, NAME)} {when}: {_calls(use.calls)}{month}"
    if len(dated) > FEW:
        yield "", f"and {len(dated) - FEW:,} more models with a date, below"
    for move in [m for m in audit.moves if m.portability.value != 0][:1]:
        month = f", {_dollars(move.money)} a month" if move.money.value is not None else ""
        yield "first", f"{shown(move.task, NAME)} ({move.kind}){month}: {shown(move.reason, 300)}"
    if audit.moves and all(m.portability.value == 0 for m in audit.moves):
        yield "first", f"nothing yet: {shown(audit.moves[0].task, NAME)}: {shown(audit.moves[0].reason, 300)}"


def _calls(n: int) -> str:
    return f"{n:,} call{'' if n == 1 else 's'}"


# the tables


def _tables(audit: Audit, width: int) -> Iterator[tuple[str, int, Table]]:
    """Title, number of rows, table."""
    yield "Tasks", len(audit.tasks), _tasks(audit, width)
    yield "Models", len(audit.models), _models(audit, width)
    yield MOVES, len(audit.moves), _moves(audit, width)
    yield "Who", len(audit.users), _spends("user", _users(audit.users), width)
    yield (
        "When",
        len(audit.days) if audit.last is None or audit.last >= YEAR else 0,
        _spends("day", _days(audit.days), width),
    )
    yield "Private data", len(audit.private), _private(audit, width)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, most: int = MANY, name: int = 0) -> Table:
    """Cells as they are, without markup; names in column `name` (-1: none) are cut in the middle to what the others
    leave, a long table after its first rows, with how many more there are."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in columns:
        table.add_column(title, justify="left" if title in LEFT else "right", overflow="fold")
    first = rows[:most]
    taken = [max(len(line) for cell in (columns[k], *(row[k] for row in first)) for line in cell.split("\n"))
             for k in range(len(columns)) if k != name]  # fmt: skip
    room = max(LEAST, min(NAME, width - sum(taken) - 2 * len(taken)))
    for row in first:
        table.add_row(*(Text(shown(cell, room) if k == name else cell) for k, cell in enumerate(row)))
    if len(rows) > most:
        table.add_row(*[""] * name, Text(f"and {len(rows) - most:,} more", style="dim"))
    return table


def _tasks(audit: Audit, width: int) -> Table:
    ranked = sorted(audit.tasks, key=lambda t: (-(t.money.value or 0.0), -t.calls, t.name))
    rows = [
        (t.name, f"{len(t.labels):,} {t.kind}" if len(t.labels) > 1 else t.kind, f"{t.calls:,}",
         f"{100 * t.share:.1f} %", _many(t.tokens.prompt), _many(t.tokens.completion),
         _part(t.money, t.money.n, t.calls, t.estimated))
        for t in ranked
    ]  # fmt: skip
    return _table(("task", "kind", "calls", "share", *TOKENS, "money"), rows, width)


def _part(money: Measure, priced: int, calls: int, estimated: int = 0) -> str:
    """What calls cost; where not all of them have a price, of how many that is."""
    part = f" for {priced:,}" if 0 < priced < calls and money.value is not None else ""
    return _dollars(money) + part + (" est." if estimated else "")


def _models(audit: Audit, width: int) -> Table:
    rows = []
    for m in audit.models:
        left = "" if m.days_left is None else f" ({m.days_left:,} days)" if m.days_left >= 0 else " (gone)"
        off = f"{m.retires}{left}" if m.retires else "no date known"
        rows.append((m.model or "not named", f"{m.calls:,}", _part(m.money, m.priced, m.calls), off))
    return _table(("model", "calls", "money", "switched off"), rows, width)


def _moves(audit: Audit, width: int) -> Table:
    """What each costs, the share of its calls that could move, and how far its calls reach as a proof; reasons stand on
    the report's page."""
    calls = {t.name: t.calls for t in audit.tasks}
    rows = []
    for place, m in enumerate(audit.moves, 1):
        p = m.portability
        share = "not known" if p.value is None else f"{100 * p.value:.0f} %"
        span = f" ({100 * p.low:.0f} to {100 * p.high:.0f})" if p.value and None not in (p.low, p.high) else ""  # type: ignore[operator]
        proof = "nothing" if p.value == 0 else _proof(m.needed, calls.get(m.task, 0))
        rows.append((str(place), m.task, _dollars(m.money), share + span, proof))
    return _table(("", "task", "a month", "could move", PROOF), rows, width, 10, name=1)


def _proofs(audit: Audit) -> str:
    """What a proof takes, where that is the same for every task."""
    needs = {tuple(move.needed.items()) for move in audit.moves}
    if len(needs) != 1 or not (bars := needs.pop()):
        return ""
    said = [f"{n:,}{'' if place else ' calls'} at {_bar(bar)}" for place, (bar, n) in enumerate(bars)]
    return f"a proof takes {', '.join(said)}"


def _proof(needed: Mapping[str, int], calls: int) -> str:
    """The highest bar of agreement that so many calls can prove, or how many more the lowest asks for."""
    reached = [bar for bar, n in needed.items() if calls >= n]
    if reached or not needed:
        return f"{_bar(reached[-1])} agreement" if reached else ""
    bar, n = next(iter(needed.items()))
    return f"{n - calls:,} more for {_bar(bar)}"


def _bar(bar: str) -> str:
    """0.95 as 95 %; what is no number stays as it is."""
    try:
        return f"{round(100 * float(bar), 6):g} %"
    except ValueError:
        return shown(bar, 12)


def _spends(what: str, rows: Iterable[tuple[str, Spend]], width: int) -> Table:
    cells = [
        (name, f"{s.calls:,}", _many(s.tokens.prompt), _many(s.tokens.completion),
         _part(s.money, s.priced, s.calls, s.estimated))
        for name, s in rows
    ]  # fmt: skip
    return _table((what, "calls", *TOKENS, "money"), cells, width, 2 * FEW)


def _users(users: Sequence[Spend]) -> Iterator[tuple[str, Spend]]:
    """The few that spent most, what the audit counts as others, and those that say no name."""
    named = [u for u in users if u.name not in ("", "others")]
    yield from ((masked(u.name, NAME), u) for u in named[:FEW])
    rest = [*named[FEW:], *(u for u in users if u.name == "others")]
    if rest:
        yield "all others", _sum(rest)
    yield from (("no user named", u) for u in users if not u.name)


def _sum(spends: Sequence[Spend]) -> Spend:
    known = [s.money.value for s in spends if s.money.value is not None]
    tokens = Tokens(sum(s.tokens.prompt for s in spends), sum(s.tokens.completion for s in spends))
    money = Measure(sum(known) if known else None, n=sum(s.money.n for s in spends), unit="USD")
    return Spend(
        "", sum(s.calls for s in spends), tokens, money, sum(s.priced for s in spends), sum(s.estimated for s in spends)
    )


def _days(days: Sequence[Spend]) -> Iterator[tuple[str, Spend]]:
    """The last few; the report draws them all."""
    early, late = days[: -FEW - 2], days[-FEW - 2 :]
    if early:
        yield f"{len(early):,} before", _sum(early)
    yield from ((shown(d.name, NAME) or "no time", d) for d in late)


def _private(audit: Audit, width: int) -> Table:
    """A line a type: its fields, the most calls first."""
    rows = []
    for kind in dict.fromkeys(p.kind for p in audit.private):
        own = [p for p in audit.private if p.kind == kind]
        where = ", ".join(f"{shown(p.field, 20)} {p.calls:,}" for p in own)
        checked = " (check sum right)" if any(p.checked for p in own) else ""
        rows.append((shown(kind, NAME) + checked, where, next((shown(p.example, 24) for p in own if p.example), "")))
    return _table(("type", "calls by field", "looks like"), rows, width, name=-1)


# the lines under the tables


def _repeats(audit: Audit) -> Iterator[tuple[str, str]]:
    """Nothing where no request was logged: then nobody knows what was asked again."""
    r = audit.repeats
    own = r.self_agreement
    few = own.value is not None and own.n < TELLS
    agrees = f"{round((own.value or 0.0) * own.n):,} of {own.n:,}" if few else str(own)
    again = f"; the model agrees with itself on {agrees}" if r.texts else ""
    name = "repeats"
    if r.texts or r.exact.value is not None:
        yield (
            name,
            f"{r.texts:,} requests asked again ({_calls(r.calls)}){again}" if r.texts else "no request asked again",
        )
        name = ""
    shares = ((r.exact, "of calls repeat a request to the letter"), (r.near, "nearly repeat a text of their task"),
              (r.prefix, "of prompt blocks an endless prefix cache would have held"))  # fmt: skip
    if said := [f"{_said(m)} {what}" for m, what in shares if m.value is not None]:
        yield name, "; ".join(said)
    if r.texts and r.saved.value is not None:
        safe = f", {_dollars(r.safe)} of it at temperature 0" if r.safe.value is not None else ""
        yield "cache", f"{_said(r.saved)} would have been saved by a cache{safe}"


def _health(audit: Audit) -> Iterator[tuple[str, str]]:
    h = audit.health
    failed = sum(h.errors.values())
    counts = ((failed, "failed"), (h.refused, "refused"), (h.cut, "cut short"), (h.filtered, "filtered"),
              (h.retries, "asked again after a failure"))  # fmt: skip
    said = [f"{n:,} {what} ({_portion(n, audit.calls)})" for n, what in counts if n]
    if said:
        codes = f"; errors: {_top(h.errors)}" if failed else ""
        yield "health", "; ".join(said) + codes
    if h.seconds.value is not None:
        slow = f", one in twenty {h.slow.value:.3g} s or more" if h.slow.value is not None else ""
        yield "latency", f"median {h.seconds}{slow}"


def _load(audit: Audit) -> Iterator[tuple[str, str]]:
    """Beside each ratio the calls it stands for: where they are few, it says little."""
    timed = audit.calls - sum(d.calls for d in audit.days if not d.name)
    peaks = []
    for load in audit.load:
        if load.calls.value is not None:
            most = load.calls.value * timed / load.calls.n if load.calls.n else 0.0
            whole = round(most) if abs(most - round(most)) < 1e-6 * max(1.0, most) else 0
            peaks.append(f"{load.calls.value:.1f} at {_window(load.window)}{f' ({_calls(whole)})' if whole else ''}")
    if peaks:
        yield "load", f"busiest window over the mean one: {', '.join(peaks)}"


def _window(seconds: int) -> str:
    return f"{seconds} s" if seconds % 60 else f"{seconds // 60} min"


def _surface(audit: Audit) -> Iterator[tuple[str, str]]:
    s = audit.surface
    answers = s.formats if audit.tasks or audit.repeats.exact.value is not None else {}  # else no text was logged
    for name, counts in (("endpoints", s.endpoints), ("fields", s.params), ("tools", s.tools), ("answers", answers)):
        if counts:
            yield name, _top(counts, 8)


def _read(audit: Audit) -> Iterator[tuple[str, str]]:
    if audit.log.formats:
        skipped = f"; {audit.log.skipped:,} records without a call" if audit.log.skipped else ""
        yield "read", _top(audit.log.formats) + skipped
    if 0 < audit.sampled < audit.calls:
        yield "", f"tasks found in {audit.sampled:,} calls drawn from {audit.calls:,}"


def _top(counts: Mapping[str, int], most: int = FEW) -> str:
    """The largest few by name, and how many more."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(ranked) - most:,} more" if len(ranked) > most else ""
    return ", ".join(f"{shown(name, 30) or 'not named'} {n:,}" for name, n in ranked[:most]) + more
