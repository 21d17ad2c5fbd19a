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

LEFT = ("task", "kind", "model", "switched off", "user", "type", "where", "looks like", "day")
TOKENS = ("tokens\nin", "tokens\nout")
NAME = 34  # characters of a name
FEW = 5
MANY = 30  # rows of a table


def show(audit: Audit, project: str = "") -> None:
    """Print an audit for people, on stdout; with the `project` folder that holds it, also how it becomes a page."""
    from rich.console import Console
    from rich.markup import escape

    out = Console(highlight=False)
    out.print(f"\n[bold]{audit.calls:,} call{'' if audit.calls == 1 else 's'}[/]{_about(audit)}")
    _lines(out, [*_first(audit)])
    for title, rows, table in _tables(audit):
        if rows:
            out.print(f"\n[bold]{title}[/]" if title else "")
            out.print(table)
    lines = [*_repeats(audit), *_health(audit), *_load(audit), *_surface(audit), *_read(audit)]
    out.print()
    _lines(out, lines)
    _lines(out, [("agree", f"{shown(t.name, NAME)}: {t.why}") for t in audit.tasks if t.kind != "labels" and t.why])
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
    days = [datetime.fromtimestamp(t, UTC).date().isoformat() for t in (audit.first, audit.last) if t is not None]
    return f"{bad}{', ' + ' to '.join(dict.fromkeys(days)) if days else ''}"


def _dollars(money: Measure) -> str:
    return "not known" if money.value is None else f"${money.value:,.2f}"


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
    yield "bill", f"{audit.money}{pace}"
    yield "", audit.per_month.method if audit.per_month.value is not None else audit.money.method
    if audit.estimate.value is not None:
        yield "estimate", f"{audit.estimate} of it rests on estimated tokens: {audit.estimate.method}"
    dated = sorted((m for m in audit.models if m.days_left is not None), key=lambda m: (m.days_left or 0, m.model))
    scale = audit.per_month.value / audit.money.value if audit.per_month.value and audit.money.value else None
    for use in dated[:FEW]:
        left = use.days_left or 0
        when = f"by {use.retires} ({left:,} days)" if left >= 0 else f"now: switched off on {use.retires}"
        month = f", ${use.money.value * scale:,.2f} a month" if scale and use.money.value is not None else ""
        yield "must move", f"{shown(use.model, NAME)} {when}: {use.calls:,} calls{month}"
    if len(dated) > FEW:
        yield "", f"and {len(dated) - FEW:,} more models with a date, below"
    for move in audit.moves[:1]:
        month = f", {_dollars(move.money)} a month" if move.money.value is not None else ""
        yield "first", f"{shown(move.task, NAME)} ({move.kind}){month}: {shown(move.reason, 300)}"


# the tables


def _tables(audit: Audit) -> Iterator[tuple[str, int, Table]]:
    """Title, number of rows, table."""
    yield "", len(audit.tasks), _tasks(audit)
    yield "", len(audit.models), _models(audit)
    starred = "  [dim]* the log has as many calls as the proof at that bar[/]"
    yield f"What can move first{starred}", len(audit.moves), _moves(audit)
    yield "Who", len(audit.users), _spends("user", _users(audit.users))
    yield "When", len(audit.days), _spends("day", _days(audit.days))
    yield "Private data", len(audit.private), _private(audit)


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, justify="left" if name in LEFT else "right", overflow="fold")
    return table


def _fill(table: Table, rows: Sequence[Sequence[str]], most: int = MANY) -> Table:
    """Cells as they are, without markup; of a long table the first rows, and how many more there are."""
    from rich.text import Text

    for row in rows[:most]:
        table.add_row(*(Text(cell) for cell in row))
    if len(rows) > most:
        table.add_row(Text(f"and {len(rows) - most:,} more", style="dim"))
    return table


def _tasks(audit: Audit) -> Table:
    ranked = sorted(audit.tasks, key=lambda t: (-(t.money.value or 0.0), -t.calls, t.name))
    rows = [
        (shown(t.name, NAME), t.kind, f"{t.calls:,}", f"{t.share:.1%}", f"{len(t.labels):,}" if t.labels else "",
         _many(t.tokens.prompt), _many(t.tokens.completion), _dollars(t.money) + (" est." if t.estimated else ""))
        for t in ranked
    ]  # fmt: skip
    return _fill(_table("task", "kind", "calls", "share", "labels", *TOKENS, "money"), rows)


def _models(audit: Audit) -> Table:
    rows = []
    for m in audit.models:
        left = "" if m.days_left is None else f" ({m.days_left:,} days)" if m.days_left >= 0 else " (gone)"
        off = f"{m.retires}{left}" if m.retires else "no date known"
        part = f" of {m.priced:,}" if 0 < m.priced < m.calls else ""
        rows.append((shown(m.model, NAME) or "not named", f"{m.calls:,}", _dollars(m.money) + part, off))
    return _fill(_table("model", "calls", "money", "switched off"), rows)


def _moves(audit: Audit) -> Table:
    """The calls that a proof asks for at each bar, * where the log has them; reasons stand on the report's page."""
    bars = list(dict.fromkeys(bar for move in audit.moves for bar in move.needed))
    calls = {t.name: t.calls for t in audit.tasks}
    rows = []
    for place, m in enumerate(audit.moves, 1):
        p = m.portability
        share = "not known" if p.value is None else f"{p.value:.0%}"
        span = f" ({p.low:.0%} to {p.high:.0%})" if p.value and p.low is not None and p.high is not None else ""
        needed = [f"{n:,}{' *' if calls.get(m.task, 0) >= n else ''}" if (n := m.needed.get(b)) else "" for b in bars]
        rows.append((str(place), shown(m.task, NAME), _dollars(m.money), share + span, *needed))
    return _fill(_table("", "task", "a month", "could move", *(shown(f"at {bar}", 12) for bar in bars)), rows, 10)


def _spends(what: str, rows: Iterable[tuple[str, Spend]]) -> Table:
    cells = [
        (name, f"{s.calls:,}", _many(s.tokens.prompt), _many(s.tokens.completion),
         _dollars(s.money) + (" est." if s.estimated else ""))
        for name, s in rows
    ]  # fmt: skip
    return _fill(_table(what, "calls", *TOKENS, "money"), cells, 2 * FEW)


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
    return Spend("", sum(s.calls for s in spends), tokens, money, estimated=sum(s.estimated for s in spends))


def _days(days: Sequence[Spend]) -> Iterator[tuple[str, Spend]]:
    """The last few; the report draws them all."""
    early, late = days[: -FEW - 2], days[-FEW - 2 :]
    if early:
        yield f"{len(early):,} before", _sum(early)
    yield from ((shown(d.name, NAME) or "no time", d) for d in late)


def _private(audit: Audit) -> Table:
    """A line a type: its fields, the most calls first."""
    rows = []
    for kind in dict.fromkeys(p.kind for p in audit.private):
        own = [p for p in audit.private if p.kind == kind]
        where = ", ".join(f"{shown(p.field, 20)} {p.calls:,}" for p in own)
        checked = " (check sum right)" if any(p.checked for p in own) else ""
        rows.append((shown(kind, NAME) + checked, where, next((shown(p.example, 24) for p in own if p.example), "")))
    return _fill(_table("type", "where", "looks like"), rows)


# the lines under the tables


def _repeats(audit: Audit) -> Iterator[tuple[str, str]]:
    r = audit.repeats
    again = f"; the model agrees with itself on {r.self_agreement}" if r.texts else ""
    yield "repeats", f"{r.texts:,} requests asked again ({r.calls:,} calls){again}"
    shares = ((r.exact, "of calls repeat a request to the letter"), (r.near, "nearly repeat a text of their task"),
              (r.prefix, "of prompt blocks an endless prefix cache would have held"))  # fmt: skip
    if said := [f"{m} {what}" for m, what in shares if m.value is not None]:
        yield "", "; ".join(said)
    if r.saved.value is not None:
        safe = f", {_dollars(r.safe)} of it at temperature 0" if r.safe.value is not None else ""
        yield "cache", f"{r.saved} would have been saved by a cache{safe}"


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
        yield "latency", f"{h.seconds}{slow}"


def _load(audit: Audit) -> Iterator[tuple[str, str]]:
    known = [(load.window, load.calls.value) for load in audit.load if load.calls.value is not None]
    if known:
        peaks = ", ".join(f"{peak:.1f} at {_window(window)}" for window, peak in known)
        yield "load", f"peak to mean of calls: {peaks}"


def _window(seconds: int) -> str:
    return f"{seconds} s" if seconds % 60 else f"{seconds // 60} min"


def _surface(audit: Audit) -> Iterator[tuple[str, str]]:
    s = audit.surface
    for name, counts in (("endpoints", s.endpoints), ("fields", s.params), ("tools", s.tools), ("formats", s.formats)):
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
