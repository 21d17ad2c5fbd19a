"""A plan for people, in 80 columns: what to do, what it rests on, what would change it; then the tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from freehold.nouns import Fit, Law, Measure, Option, Plan, Replay, TaskPlan, Training
from freehold.nouns.shown import shown
from freehold.plan.task import ASSUMED
from freehold.plan.verify import Verified
from freehold.plan.words import day, usd

__all__ = ["show", "show_verified"]

WIDE = 64  # columns of a way's name, on two lines where it must be
FLIPS, MOST_NAMES = 6, 5
UNDECIDED = "no decision"  # how the sentence begins that stands in for an advice
OWNED = ("here", "rent", "buy")
WAYS = {"closed": "now", "cheaper": "closed", "hosted": "hosted", "rent": "rent", "buy": "buy", "here": "here"}


def show(plan: Plan, folder: str = "") -> None:
    from rich.console import Console
    from rich.markup import escape

    out = Console(highlight=False, soft_wrap=True)
    if plan.advice is not None:
        out.print(f"\n[bold]{escape(_head(plan))}[/]")
        for line in _wrapped(plan.advice.sentence):
            out.print(escape(line))
        for sentence in (*_caveats(plan), *plan.advice.instead):
            for line in _wrapped(sentence):
                out.print(f"[dim]{escape(line)}[/]")
        _options(out, plan.options, must=plan.advice.word == "MUST MOVE BY")
        _rejected(out, plan.advice.rejected)
        _more(out, plan)
    if plan.tasks:
        _tasks(out, plan.tasks)
    _training(out, plan.training)
    if plan.tasks:  # what serves students: without a task there are none
        out.print(f"\nbill     {plan.bill}")
        out.print(f"machine  ${plan.machine_cost.value:g} an hour ({escape(plan.machine_cost.method)})")
    for line in plan.assumptions:
        if plan.machine_cost.method not in line and (plan.tasks or line not in ASSUMED):
            out.print(f"[dim]{'' if line.startswith(UNDECIDED) else 'assumed  '}{escape(line)}[/]")
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
    if advice.word != "MUST MOVE BY":
        return advice.word
    return "MUST MOVE NOW" if advice.date <= plan.today else f"{advice.word} {day(advice.date)}"


def _wrapped(text: str, width: int = 80) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width) or [""]


def _caveats(plan: Plan) -> Iterable[str]:
    """What a sentence about money leaves out: whether it answers as well, and what the work of a move costs."""
    taken = plan.advised
    if taken is None or taken.way == "closed":
        return
    quality = [note for note in taken.notes if "proof" in note]
    if quality:
        yield f"not proved that it answers as well: {quality[0]} (freehold prove)."
    if taken.once.value and plan.advice is not None and " once" not in plan.advice.sentence:
        yield f"once: {usd(taken.once.value)} for the work of a move (P10 to P90 {_span(taken.once)})."


def _odds(value: float) -> str:
    """Nothing is rounded up to certainty, nor down to none."""
    return "<1 %" if 0 < value < 0.005 else ">99 %" if 0.995 <= value < 1 else f"{100 * value:.0f} %"


def _span(m: Measure) -> str:
    return "not known" if m.low is None or m.high is None else f"{usd(m.low)} to {usd(m.high)}"


def _options(out: Any, options: Sequence[Option], *, must: bool = False) -> None:
    """`must`: staying is no choice, so how often a way saves against it says nothing."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("way", "with", "$/month", "P10 to P90", "saves", "P"):
        table.add_column(name, justify="left" if name in ("way", "with") else "right", no_wrap=name != "with")
    for o in options:
        spread = "" if o.month.low is None or o.month.high is None else f"{_usd(o.month.low)} to {_usd(o.month.high)}"
        sure = "" if must or o.way == "closed" or o.chance.value is None else _odds(o.chance.value)
        sure = "out" if o.out else sure
        saves = "" if o.way == "closed" else _usd(o.saves.value)
        table.add_row(WAYS[o.way], shown(o.name, WIDE), _usd(o.month.value), spread, saves, sure)
    out.print("\n[dim]each way a month: medians, so that savings aren't differences of the columns;[/]")
    chance = "staying is no choice, so no P" if must else "P is how often it saves over a year, the work of moving paid"
    out.print(f"[dim]{chance}; out: ruled out[/]")
    out.print(table)


def _rejected(out: Any, rejected: dict[str, str]) -> None:
    from rich.markup import escape

    if rejected:
        out.print("\n[dim]why not[/]")
    for why in dict.fromkeys(rejected.values()):
        names = [shown(name, WIDE) for name, one in rejected.items() if one == why]
        out.print(f"  {escape(', '.join(names))}: {escape(shown(why, 400))}")


def _more(out: Any, plan: Plan) -> None:
    from rich.markup import escape

    for constraint in plan.advice.constraints if plan.advice else ():
        costs = "" if constraint.costs.value is None else f": {usd(constraint.costs.value)} a month"
        out.print(f"declared {constraint.name} = {constraint.value}: {escape(constraint.changes)}{costs}")
    out.print("\n[dim]what would change it[/]")
    for line in _flips(plan):
        out.print(f"  {escape(line)}")
    taken = next((fit for fit in plan.fits if fit.fits), plan.fits[0] if plan.fits else None)
    advised = plan.advised
    if (taken is not None or plan.replay is not None) and (advised is None or advised.way not in OWNED):
        out.print("\n[dim]what is nearest with machines of your own, which is not the advice[/]")
    elif taken is not None:
        out.print()
    if taken is not None:
        out.print(f"memory   {escape(_fit(taken))}")
    if plan.replay is not None:
        out.print(f"load     {escape(_replay(plan.replay))}")
    guessing = next((speed.guessing for speed in plan.speeds if speed.guessing), "")
    if guessing:
        out.print(f"guess    {escape(guessing)}")
    if plan.law is not None:
        out.print(f"law      {escape(_law(plan.law))}")
    unsure = sum(fact.status == "unverified" for fact in plan.used if fact.table != "assumptions")
    assumed = sum(one.status == "assumed" for one in plan.rests_on)
    out.print(
        f"facts    {len(plan.used):,} were read, {unsure:,} of them unverified; {assumed:,} figures are assumed "
        "(freehold facts show TABLE/ID)"
    )


def _flips(plan: Plan) -> Iterable[str]:
    if all(o.month.value is None for o in plan.options):
        yield "not known: nobody knows what the present way costs"
        return
    flips = plan.flips
    turning = [flip for flip in flips if flip.at is not None]
    for flip in turning[:FLIPS]:
        name = flip.assumption.replace("-", " ")
        yield f"{name} at {_amount(flip.at, flip.unit)} (now {_amount(flip.now, flip.unit)}): {flip.becomes}"
    rest = len(flips) - len(turning)
    if not turning:
        yield f"none of {len(flips):,} assumptions does, within the range that can be thought of: robust"
    elif rest:
        yield f"{rest:,} further assumptions change nothing, within the range that can be thought of"


def _amount(value: float | None, unit: str) -> str:
    """54.6M tokens/month, $2.35/1M tokens, 38.5 %, x 3.23"""
    if value is None:
        return "not known"
    base, _, per = unit.partition("/")
    if base == "USD":
        return f"${_short(value)}/{per}"
    if base == "share":
        return f"{100 * value:.3g} %"
    return f"x {_short(value)}" if base == "factor" else f"{_short(value)} {unit}"


def _short(value: float) -> str:
    for least, letter in ((1e9, "B"), (1e6, "M")):
        if abs(value) >= least:
            return f"{value / least:.3g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


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
    share = f", {_odds(replay.utilisation.value)} used on the mean" if replay.utilisation.value is not None else ""
    calls = "made-up calls (no log)" if replay.source.startswith("made up") else "calls of the busiest hour"
    return f"{replay.replicas} replica{'s' * (replay.replicas != 1)} for {replay.requests:,} {calls}{share}{times}"


def _law(law: Law) -> str:
    if law.blocked:
        return f"blocked: {law.blocked[0]}"
    todo = sum(duty.outcome != "ALLOW" for duty in law.duties)
    of = f" ({', '.join(card.artefact for card in law.cards)})" if law.cards else ""
    rules = f"{law.unverified:,} rule{'s' * (law.unverified != 1)}"
    duties = f"{todo:,} {'duty' if todo == 1 else 'duties'}"
    return f"nothing blocks{of}; {duties}, {rules} unverified. Not legal advice"


def _usd(value: float | None) -> str:
    """As usd says it, for a column whose head has the sign."""
    return "not known" if value is None else usd(value).replace("$", "")


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


def _training(out: Any, made: Sequence[Training]) -> None:
    """Where to train: students of the machine at hand in a line, every other training with its table."""
    from rich.markup import escape

    from freehold.fit import told

    if made:
        out.print("\n[dim]where to train[/]")
    small = [one for one in made if one.site is not None and one.site.here and len(one.sites) == 1]
    if small:
        minutes = sum(60 * (one.site.hours.value or 0.0) for one in small if one.site is not None)
        names = ", ".join(shown(one.task, WIDE) for one in small[:MOST_NAMES])
        more = f" and {len(small) - MOST_NAMES:,} more" if len(small) > MOST_NAMES else ""
        said = f"{len(small):,} student{'s' * (len(small) != 1)} ({names}{more}): on this machine, no card is needed, "
        for line in _wrapped(f"{said}about {minutes:.2g} CPU minutes{' together' * (len(small) > 1)}: freehold tune"):
            out.print(escape(line))
    for one in made:
        if one not in small:
            for line in told(one):
                out.print(escape(line))


def _minutes(minutes: Measure) -> str:
    return "" if minutes.value is None else f"{minutes.value:.1f}"
