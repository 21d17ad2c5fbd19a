"""What is asked for in a month: from an audit, or from three numbers typed by hand.

    Audit ── span of its log ──→ × 730.5 h / span ──→ Demand(calls, input, cached, output, ... a month)
    --tokens 10M/month --from gpt-4-turbo --ratio 3:1 ──→ Demand(given=True)

A log of under a day says nothing of the hours that it doesn't hold: the busiest hour of a working day is two to three
times the mean of its day and night, so a month is stated as two thirds of such a pace, from a third of it to all of it.
"""

from __future__ import annotations

from datetime import date
from difflib import get_close_matches

from freehold.errors import BadSetting
from freehold.facts import Facts, load, retirement
from freehold.facts.models import plain_name
from freehold.nouns import Audit, Demand, Measure, ModelDemand
from freehold.nouns.shown import shown
from freehold.totals import HOURS

__all__ = ["Unsaid", "by_hand", "from_audit", "scale_of", "unpriced"]

DAY = 86_400.0
SHORTEST = 600.0  # seconds of log from which a pace may be read at all
QUIET, MIDDLE = 1 / 3, 2 / 3  # the day's mean over the pace of a log of some hours: at the least, and in the middle
UNIT = "tokens/month"
TYPED = "freehold plan --tokens 10M/month --from MODEL"


class Unsaid(BadSetting):
    """The log, or what was typed, doesn't say enough for a decision about the whole bill."""


def from_audit(audit: Audit, today: date) -> Demand:
    """Raises Unsaid where the log says no pace (its calls have no times, or span under ten minutes), or no
    tokens."""
    scale, span = scale_of(audit), _spanned(audit)
    if scale is None or span is None:
        why = "its calls have no times" if span is None else f"it spans {_span(span)}, and ten minutes are the least"
        raise Unsaid(f"This log says no pace: {why}.", f"Say how much a month is: {TYPED}.")
    if audit.tokens.prompt + audit.tokens.completion <= 0:
        raise Unsaid("This log counts no tokens, so there is nothing to price.", f"Say how many: {TYPED}.")
    method = f"{_span(span)} of log scaled to a month" + _warned(span)

    def monthly(count: float, unit: str = UNIT) -> Measure:
        down, up = _around(span)
        return Measure(count * scale, count * scale * down, count * scale * up, audit.calls, unit, method)

    tokens = audit.tokens
    return Demand(
        calls=monthly(audit.calls, "calls/month"),
        input=monthly(tokens.prompt),
        cached=monthly(tokens.cached),
        output=monthly(tokens.completion),
        reasoning=monthly(tokens.reasoning),
        bill=_scaled(audit.money, scale, method, span),
        models=tuple(
            ModelDemand(
                m.model, m.calls * scale, m.tokens.prompt * scale, m.tokens.cached * scale, m.tokens.completion * scale,
                _scaled(m.money, scale, method, span), m.retires or "", _left(m.retires, today),
            )
            for m in audit.models
        ),
        kinds=_kinds(audit),
        peaks={f"{one.window}": one.tokens.value for one in audit.load if one.tokens.value is not None},
        source=f"audit of {len(audit.log.paths)} files, sha256 {audit.log.sha256[:12]}",
    )  # fmt: skip


def scale_of(audit: Audit) -> float | None:
    """How many times what the log holds a month is; None where that can't be said."""
    span = _spanned(audit)
    if span is None or span < SHORTEST:
        return None
    return HOURS * 3600 / span * (MIDDLE if span < DAY else 1.0)


def _around(span: float) -> tuple[float, float]:
    """The least and the most over the middle."""
    return (QUIET / MIDDLE, 1 / MIDDLE) if span < DAY else (1.0, 1.0)


def unpriced(model: str, facts: Facts) -> Unsaid:
    """What to say of a closed model without a price: the near names, and how to give one."""
    why = "so what staying costs is not known."
    if not model:
        return Unsaid(f"No model is named, {why}", "Name it: freehold audit --price-as MODEL.")
    known = {plain_name(str(row.values["model"])) for row in facts.rows("hosted") if row.values.get("kind") == "closed"}
    known |= {plain_name(str(row["model"])) for row in load("retirements.csv")}
    near = get_close_matches(plain_name(model), sorted(known), 4, 0.6)
    said = f"Near: {', '.join(near)}. " if near else ""
    return Unsaid(
        f"{shown(model)} has no price on file, {why}",
        f'{said}A price of your own goes into freehold.toml: under [prices."{shown(model)}"] input = 0.12 and '
        "output = 0.48, in USD a million tokens.",
    )


def by_hand(
    tokens: float, model: str, *, share: float, calls: float | None, today: date, split: str = "given"
) -> Demand:
    """`tokens` a month in all, `share` of them input (`split` says where that share is from); `calls` a month where it
    is known. Nothing is taken as cached, nor as reasoning. Raises BadSetting where there would be more calls than
    tokens."""
    if calls is not None and calls > tokens:
        raise BadSetting(f"{calls:,.0f} calls and {tokens:,.0f} tokens a month: under a token a call.", "Mend one.")

    def said(value: float | None, method: str, unit: str = UNIT) -> Measure:
        return Measure(value, unit=unit, method=method)

    when = retirement(model)
    return Demand(
        calls=said(calls, "given" if calls is not None else "not given", "calls/month"),
        input=said(tokens * share, f"of the tokens given; input to output {split}"),
        cached=said(0.0, "assumed: none"),
        output=said(tokens * (1 - share), f"of the tokens given; input to output {split}"),
        reasoning=said(0.0, "assumed: none"),
        bill=Measure(None, unit="USD/month", method="priced below"),
        models=(
            ModelDemand(
                model, calls or 0.0, tokens * share, 0.0, tokens * (1 - share),
                Measure(None, unit="USD/month", method="priced below"), when[0] if when else "",
                _left(when[0] if when else None, today),
            ),
        ),
        source="given by hand",
        given=True,
    )  # fmt: skip


def _scaled(money: Measure, scale: float, method: str, span: float) -> Measure:
    if money.value is None:
        return Measure(None, n=money.n, unit="USD/month", method=money.method)
    down, up = _around(span)
    low = (money.low if money.low is not None else money.value) * scale * down
    high = (money.high if money.high is not None else money.value) * scale * up
    return Measure(money.value * scale, low, high, money.n, "USD/month", f"{money.method}; {method}")


def _kinds(audit: Audit) -> dict[str, float]:
    """The share of the tasks' calls by kind of answer."""
    calls: dict[str, float] = {}
    for task in audit.tasks:
        calls[task.kind] = calls.get(task.kind, 0.0) + task.calls
    total = sum(calls.values())
    return {kind: n / total for kind, n in sorted(calls.items())}


def _left(retires: str | None, today: date) -> int | None:
    return (date.fromisoformat(retires) - today).days if retires else None


def _spanned(audit: Audit) -> float | None:
    return None if audit.first is None or audit.last is None else audit.last - audit.first


def _span(span: float) -> str:
    for least, by, unit in ((DAY, DAY, "days"), (7200, 3600, "hours"), (SHORTEST, 60, "minutes")):
        if span >= least:
            return f"{span / by:.1f} {unit}" if unit != "minutes" else f"{span / by:.0f} {unit}"
    return f"{span:.0f} s"


def _warned(span: float) -> str:
    return "; under a day: from a third of its pace (if these are busy hours) to all of it" if span < DAY else ""
