"""Over all tasks: what is kept home, and what that saves.

The journey prints these two figures and the report opens with them, so they are made in one place.
"""

from __future__ import annotations

from collections.abc import Sequence

from freehold.nouns import Measure, Verdict

__all__ = ["HOURS", "by_task", "kept_home", "saved"]

HOURS = 730.5  # in a month: 365.25 x 24 / 12


def by_task(verdicts: Sequence[Verdict]) -> dict[str, Verdict]:
    """The verdict that speaks for each task: of its ladder the first rung that moves, else the first."""
    found: dict[str, Verdict] = {}
    for v in verdicts:
        if v.task not in found or (v.decision == "move" and found[v.task].decision != "move"):
            found[v.task] = v
    return found


def kept_home(verdicts: Sequence[Verdict]) -> Measure:
    """Each task's share of calls times the kept share of its certification calls, summed; a task that stays is 0.
    The rungs of one task keep different calls, so they add up.

    Interval by MOVER (Zou and Donner 2008): the tasks' own distances to their limits, added in quadrature.
    """
    moved = [(v.share, v.kept_home) for v in verdicts if v.decision == "move" and v.kept_home.value is not None]
    value = sum(w * (m.value or 0.0) for w, m in moved)
    down = sum((w * ((m.value or 0.0) - (m.low or 0.0))) ** 2 for w, m in moved) ** 0.5
    up = sum((w * ((m.high or 0.0) - (m.value or 0.0))) ** 2 for w, m in moved) ** 0.5
    n = sum(v.kept_home.n for v in by_task(verdicts).values())  # the rungs of a ladder share their calls
    sure = f"{100 * max((v.confidence for v in verdicts), default=0.95):.6g} %"
    method = f"sum over tasks of share of calls x kept share of certification calls; {sure} by MOVER"
    return Measure(value, max(0.0, value - down), min(1.0, value + up), n, "share", method)


def saved(verdicts: Sequence[Verdict], machine: Measure) -> Measure:
    """What the kept calls cost at the closed model in a month, less one machine that is up all month.

    None where the log has no times or no prices. Nothing moves: nothing is saved and no machine is needed.
    """
    moved = [v for v in verdicts if v.decision == "move"]
    if not moved:
        return Measure(0.0, 0.0, 0.0, 0, "USD/month", "nothing moves")
    bills = [(v.money.get("bill", Measure(None)).value, v.kept_home) for v in moved]
    if any(bill is None for bill, _ in bills):
        return Measure(None, None, None, 0, "USD/month", "the log has no times, or models without a price")
    billed = [v.money.get("home", Measure(None)) for v in moved if v.student is not None and v.student.host]
    if unknown := next((one.method for one in billed if one.value is None), ""):
        return Measure(None, None, None, 0, "USD/month", unknown)
    hosts = sum(one.value or 0.0 for one in billed)
    home = (machine.value or 0.0) * HOURS + hosts
    kept, low, high = (
        sum((bill or 0.0) * (getattr(share, which) or 0.0) for bill, share in bills)
        for which in ("value", "low", "high")
    )
    method = (
        f"the kept calls cost ${kept:,.2f} a month now; one machine all month ${home - hosts:,.2f} ({machine.method})"
    )
    method += f", hosts of open models ${hosts:,.2f}" if billed else ""
    if kept < home and kept > 0.0:
        method += f"; even at {home / kept:,.0f} times this traffic"
    return Measure(
        kept - home, low - home, high - home, sum(v.calls for v in by_task(moved).values()), "USD/month", method
    )
