"""A plan for people, in 80 columns: what to do, what it rests on, what would change it; then the tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from freehold.nouns import Fit, Flip, Law, Measure, Option, Plan, Replay, TaskPlan
from freehold.nouns.shown import shown
from freehold.plan.verify import Verified

__all__ = ["show", "show_verified"]

WIDE = 44  # columns of a way's name
FLIPS = 6
WAYS = {"closed": "now", "cheaper": "closed", "hosted": "hosted", "rent": "rent", "buy": "buy", "here": "here"}


def show(plan: Plan, folder: str = "") -> None:
    from rich.console import Console
    from rich.markup import escape

    out = Console(highlight=False, soft_wrap=True)
    if plan.advice is not None:
        out.print(f"\n[bold]{escape(_head(plan))}[/]")
        for line in _wrapped(plan.advice.sentence):
            out.print(escape(line))
        for sentence in plan.advice.instead:
            out.print(f"[dim]{escape(sentence)}[/]")
        _options(out, plan.options)
        _rejected(out, plan.advice.rejected)
        _more(out, plan)
    if plan.tasks:
        _tasks(out, plan.tasks)
    out.print(f"\nbill     {plan.bill}" if plan.tasks else "")
    out.print(f"machine  ${plan.machine_cost.value:g} an hour ({escape(plan.machine_cost.method)})")
    for line in plan.assumptions:
        if plan.machine_cost.method not in line:
            out.print(f"[dim]assumed  {escape(line)}[/]")
    if folder and plan.sha256:
        out.print(f"\nplan     {escape(folder)}/plan.json, sha256 {plan.sha256[:16]}…")
        out.print(f"[dim]         the page for people who sign: freehold report --project {escape(folder)}[/]")


def show_verified(plan: Plan, found: Verified) -> None:
    from rich.console import Console
    from rich.markup import escape

    out = Console(highlight=False, soft_wrap=True)
    said = "as it was signed" if found.intact else "NOT what its sha256 says: it was changed after it was made"
    out.print(f"file     {said} ({plan.sha256[:16]}…)")
    out.print(f"as of {plan.today}  {'the same to the cent' if found.same else f'{len(found.then):,} things differ'}")
    for change in found.then[:20]:
        out.print(f"  {escape(change.what)}: {escape(change.then)} → {escape(change.now)}")
    since = f"{len(found.since):,} things have changed" if found.since else "nothing has changed"
    out.print(f"as of {found.today}  {since}")
    for change in found.since[:40]:
        out.print(f"  {escape(change.what)}: {escape(change.then)} → {escape(change.now)}")


def _head(plan: Plan) -> str:
    advice = plan.advice
    assert advice is not None
    return f"{advice.word} {advice.date}" if advice.word == "MUST MOVE BY" else advice.word


def _wrapped(text: str, width: int = 80) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width) or [""]


def _options(out: Any, options: Sequence[Option]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("way", "with", "$/month", "P10 to P90", "saves", "P"):
        table.add_column(name, justify="left" if name in ("way", "with") else "right", no_wrap=name != "with")
    for o in options:
        spread = "" if o.month.low is None or o.month.high is None else f"{_usd(o.month.low)} to {_usd(o.month.high)}"
        sure = "" if o.way == "closed" or o.chance.value is None else f"{o.chance.value:.0%}"
        saves = "" if o.way == "closed" else _usd(o.saves.value)
        table.add_row(WAYS[o.way], shown(o.name, WIDE), _usd(o.month.value), spread, saves, sure)
    out.print("\n[dim]each way a month; P is how often it saves over a year, the work of getting there paid[/]")
    out.print(table)


def _rejected(out: Any, rejected: dict[str, str]) -> None:
    from rich.markup import escape

    if rejected:
        out.print("\n[dim]why not[/]")
    for name, why in rejected.items():
        out.print(f"  {escape(shown(name, WIDE))}: {escape(shown(why, 400))}")


def _more(out: Any, plan: Plan) -> None:
    from rich.markup import escape

    for constraint in plan.advice.constraints if plan.advice else ():
        costs = "" if constraint.costs.value is None else f": {_usd(constraint.costs.value)} a month"
        out.print(f"declared {constraint.name} = {constraint.value}: {escape(constraint.changes)}{costs}")
    out.print("\n[dim]what would change it[/]")
    for line in _flips(plan.flips):
        out.print(f"  {escape(line)}")
    taken = next((fit for fit in plan.fits if fit.fits), plan.fits[0] if plan.fits else None)
    if taken is not None:
        out.print(f"\nmemory   {escape(_fit(taken))}")
    if plan.replay is not None:
        out.print(f"load     {escape(_replay(plan.replay))}")
    if plan.law is not None:
        out.print(f"law      {escape(_law(plan.law))}")
    unsure = sum(fact.status == "unverified" for fact in plan.used)
    out.print(f"facts    {len(plan.used):,} are used, {unsure:,} of them unverified (freehold facts show TABLE/ID)")


def _flips(flips: Sequence[Flip]) -> Iterable[str]:
    turning = [flip for flip in flips if flip.at is not None]
    for flip in turning[:FLIPS]:
        yield f"{flip.assumption} at {flip.at:.3g} {flip.unit} (assumed: {flip.now:.3g}): {flip.becomes}"
    rest = len(flips) - len(turning)
    if not turning:
        yield f"none of {len(flips):,} assumptions does, within the range that can be thought of: robust"
    elif rest:
        yield f"{rest:,} further assumptions change nothing, within the range that can be thought of"


def _fit(fit: Fit) -> str:
    if not fit.fits:
        return fit.why
    used = (fit.weights + fit.cache + fit.buffers) / 1e9
    return (
        f"{fit.model} in {fit.format} on {fit.gpus} x {fit.hardware}: {used:.1f} of {fit.capacity / 1e9:.1f} GB with "
        f"{fit.streams} x {fit.context:,} tokens; one call of up to {fit.most_context:,}"
    )


def _replay(replay: Replay) -> str:
    first, between = replay.first_token, replay.between
    if not replay.met:
        return replay.why
    times = ""
    if first.high is not None and between.high is not None:
        times = f"; 95 % of calls within {first.high:.2g} s to the first token, {1000 * between.high:.3g} ms between"
    share = f", {replay.utilisation.value:.0%} used on the mean" if replay.utilisation.value is not None else ""
    return f"{replay.replicas} replica{'s' * (replay.replicas != 1)} for {replay.requests:,} calls{share}{times}"


def _law(law: Law) -> str:
    if law.blocked:
        return f"blocked: {law.blocked[0]}"
    todo = sum(duty.outcome != "ALLOW" for duty in law.duties)
    return f"nothing blocks; {todo:,} duties, {law.unverified:,} rules unverified. Not legal advice"


def _usd(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.0f}" if abs(value) >= 10 else f"{value:,.2f}"


def _tasks(out: Any, tasks: Sequence[TaskPlan]) -> None:
    from rich.markup import escape
    from rich.table import Table

    bars = list(tasks[0].needed)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("task", "go", "calls", *bars, "minutes"):
        table.add_column(name, justify="left" if name in ("task", "go") else "right", no_wrap=True)
    for t in tasks:
        needed = [f"{n:,}" for n in t.needed.values()]
        table.add_row(escape(t.name), t.go.replace("_", " "), f"{t.calls:,}", *needed, _minutes(t.minutes))
    out.print("\n[dim]calls needed at each bar, if no kept call is wrong[/]")
    out.print(table)
    for t in tasks:
        out.print(f"\n{escape(t.name)}: {escape(t.reason)}")


def _minutes(minutes: Measure) -> str:
    return "" if minutes.value is None else f"{minutes.value:.1f}"
