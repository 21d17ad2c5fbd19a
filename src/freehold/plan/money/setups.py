"""Each way to answer the demand, as what it is made of: whose tokens, or which machines. Their money is cost.py's.

closed_setups(demand, book, today)       staying, and closed models that cost less: the same vendor's first
hosted_setups(models, ...)               open models that somebody sells by the token (hosted.json)
own_setups(model, hardware, ...)         rented machines, bought ones, or this one
student_setup(home, ...)                 students of one's own for a share of the work, the rest as now
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from freehold.errors import BadSetting
from freehold.facts.models import plain_name, retirement, vendor_of
from freehold.facts.prices import PriceBook
from freehold.facts.tables import Facts
from freehold.facts.values import number
from freehold.nouns import Demand, Fact, Measure, Way
from freehold.plan.money.bills import Bill, bill, flat, mix_of, present

__all__ = ["Setup", "Span", "closed_setups", "hosted_setups", "student_setup"]

Span = tuple[float, float, float]
"""value, low, high"""
YEAR = timedelta(days=365)
RANK = {"given": 0, "unverified": 2}
MOST = 3  # closed models of the same vendor, and of others, that are worth a row


@dataclass(frozen=True, slots=True)
class Setup:
    """One way, before its money. `name` is a phrase for a sentence: "gpt-oss-120b at DeepInfra".

    Tokens that are bought: `bill` (at the demand's volume), `quote` the factors between which sources disagree, `same`
    that the tokeniser is the present one's. Machines: `gpus` devices a replica, `replicas` of them, of which the peak
    asks `load` (may be a fraction; None: from `rate`, tokens in and out a second of one replica at full load), `watts`
    a device (rated), `hourly` USD for a device and hour, `capital` USD for a device, `card` that a server comes on top.
    `home` is the share of the bill that it takes over (None: all of it); the rest stays at the present price, or
    goes to the closed model `rest`. `people` and `days` name the assumptions for who runs it, and for the work of
    getting there.
    """

    way: Way
    name: str
    model: str
    provider: str = ""
    hardware: str = ""
    gpus: int = 0
    replicas: int = 0
    load: float | None = None
    rate: Measure | None = None
    format: str = ""
    engine: str = ""
    watts: float | None = None
    hourly: Span | None = None
    hourly_source: str = ""
    hourly_as_of: str = ""
    capital: Span | None = None
    card: bool = False
    bill: Bill | None = None
    bills: dict[str, Bill | None] = field(default_factory=dict)
    quote: tuple[float, float] = (1.0, 1.0)
    same: bool = False
    home: Span | None = None
    rest: Setup | None = None
    people: str = ""
    days: str = ""
    out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


def closed_setups(demand: Demand, book: PriceBook, today: date, facts: Facts, *, most: int = MOST) -> tuple[Setup, ...]:
    """Staying first, then the cheapest closed models: `most` of the vendors in use, `most` of others. None that is
    switched off within a year. Where a model in use is switched off, those that cost more are among them too."""
    stay = _stay(demand, book, today)
    now = sum(float(one.total[0]) for one in stay.bills.values() if one is not None)
    ends = any(part.days_left is not None and part.days_left <= YEAR.days for part in demand.models)
    used = {plain_name(part.model) for part in demand.models}
    vendors = {vendor_of(part.model) for part in demand.models}
    found = []
    for row in facts.rows("hosted"):
        name = str(row.values.get("model", ""))
        if row.values.get("kind") != "closed" or name in used or _ends(name, today):
            continue
        cost = bill(mix_of(demand), str(row.values.get("book", name)), book, today)
        if cost is not None and (ends or cost.total[0] < now):
            found.append(_cheaper(row, cost, demand, vendor_of(name) in vendors, facts))
    found.sort(key=lambda one: float(one.bill.total[0]) if one.bill is not None else 0.0)
    ours, theirs = [one for one in found if one.same], [one for one in found if not one.same]
    kept = (*ours[:most], *theirs[:most])
    for one in kept:
        facts.get(*one.uses[0].split("/", 1))
    return (stay, *kept)


def hosted_setups(
    models: Sequence[str], demand: Demand, book: PriceBook, facts: Facts, today: date, *, most: int = 2
) -> tuple[Setup, ...]:
    """The `most` cheapest hosts of each open model (an id of models.json), the team's own prices first, unverified ones
    last."""
    found: list[Setup] = []
    for model in models:
        rows = [row for row in facts.rows("hosted") if row.values.get("model") == model and _sold(row, today)]
        priced = [(row, cost) for row in rows if (cost := flat(mix_of(demand), row, book, today)) is not None]
        priced.sort(key=lambda one: (RANK.get(one[0].status, 1), float(one[1].total[0])))
        best: dict[str, tuple[Fact, Bill]] = {}
        for row, cost in priced:
            best.setdefault(str(row.values.get("provider", row.id)), (row, cost))
        found += [_hosted(row, cost, demand, facts, today) for row, cost in list(best.values())[:most]]
    return tuple(found)


def student_setup(
    home: Span, machine: Measure, *, rest: Setup | None = None, replicas: int = 1, watts: float | None = None,
    model: str = "", notes: Sequence[str] = (), uses: Sequence[str] = (),
) -> Setup:  # fmt: skip
    """Students for a share of the bill (value, low, high), on `replicas` machines of `machine` USD an hour. The rest
    stays where it is, or goes to another closed model (`rest`: where the present one is switched off)."""
    value, low, high = home
    if not 0 <= low <= value <= high <= 1 or machine.value is None:
        raise BadSetting(f"Students take {value:g} of the bill, from {low:g} to {high:g}.", "Give shares, in order.")
    price = machine.value
    hourly = (price, price if machine.low is None else machine.low, price if machine.high is None else machine.high)
    return Setup(
        "here", f"students of one's own on a small machine, the rest {f'to {rest.name}' if rest else 'as now'}", model,
        gpus=1, replicas=replicas, load=min(1.0, float(replicas)), watts=watts, hourly=hourly, home=home, rest=rest,
        engine="onnxruntime", people="people-students", days="days-students", notes=(*notes, machine.method),
        uses=(*uses, *(rest.uses if rest else ())),
    )  # fmt: skip


def _stay(demand: Demand, book: PriceBook, today: date) -> Setup:
    names = [part.model for part in demand.models]
    bills = present(demand, book, today)
    notes = [
        f"{name} has no price on file, so what it costs is not known" for name, one in bills.items() if one is None
    ]
    notes += [said for name, one in bills.items() if one is not None for said in _announced(name, one)]
    name = f"{names[0]} as now" if len(names) == 1 else "the present models as now"
    return Setup("closed", name, ", ".join(names), bills=bills, same=True, notes=tuple(notes))


def _cheaper(row: Fact, cost: Bill, demand: Demand, same: bool, facts: Facts) -> Setup:
    name, provider = str(row.values["model"]), str(row.values.get("provider", ""))
    notes = (_quality(demand, name, facts), *_announced(name, cost))
    return Setup(
        "cheaper", f"{name} at {provider}", name, provider, bill=cost, same=same, days="days-cheaper",
        notes=notes, uses=(row.ref,),
    )  # fmt: skip


def _hosted(row: Fact, cost: Bill, demand: Demand, facts: Facts, today: date) -> Setup:
    model, provider = str(row.values["model"]), str(row.values.get("provider", ""))
    facts.get("hosted", row.id)
    out = []
    context, longest = number(row, "context") if "context" in row.values else None, demand.longest.value
    if context and longest and longest > context:
        out.append(f"it takes {context:,.0f} tokens at once, and 1 in 1,000 calls needs {longest:,.0f} or more")
    notes = [_quality(demand, model, facts), *_announced(f"{model} at {provider}", cost)]
    ends = _last(row)
    if ends is not None:
        notes.append(f"{provider} stops selling it on {ends}")
        if ends <= today + YEAR:
            out.append(f"{provider} stops selling it on {ends}")
    if row.status == "unverified":
        notes.append(f"its price at {provider} is unverified")
    return Setup(
        "hosted", f"{model} at {provider}", model, provider, bill=cost, quote=_quote(row), days="days-hosted",
        out=tuple(out), notes=tuple(notes), uses=(row.ref,),
    )  # fmt: skip


def _quote(row: Fact) -> tuple[float, float]:
    """How far the sources are apart, as factors of the price that counts."""
    lows = _apart(row, "low")
    highs = _apart(row, "high")
    return min([1.0, *lows]), max([1.0, *highs])


def _apart(row: Fact, end: str) -> list[float]:
    kinds = [kind for kind in ("input", "output") if f"{kind}_{end}" in row.values and row.values.get(kind)]
    return [number(row, f"{kind}_{end}") / number(row, kind) for kind in kinds if row.status != "given"]


def _sold(row: Fact, today: date) -> bool:
    ends = _last(row)
    return row.values.get("kind") != "closed" and (ends is None or ends > today)


def _last(row: Fact) -> date | None:
    """The day from which it is no longer sold. Raises BadSetting for what is no date."""
    said = str(row.values.get("retires", ""))
    try:
        return date.fromisoformat(said) if said else None
    except ValueError:
        raise BadSetting(f"{row.ref}: retires is {said!r}.", "It is a date, such as 2027-01-14.") from None


def _ends(model: str, today: date) -> bool:
    """Is it switched off within a year?"""
    when = retirement(model)
    return when is not None and date.fromisoformat(when[0]) <= today + YEAR


def _announced(name: str, cost: Bill) -> list[str]:
    month, factor = cost.change
    return [f"{name} costs {factor:.2g} times as much from month {month + 1} on, as announced"] if month else []


def _quality(demand: Demand, other: str, facts: Facts) -> str:
    """How good the other model is against the one in use, where a published figure says."""
    main = max(demand.models, key=lambda part: part.input + part.output).model if demand.models else ""
    now, then = facts.find("quality", plain_name(main)), facts.find("quality", plain_name(other))
    if now is None or then is None:
        missing = " and ".join(name for name, row in ((main, now), (other, then)) if row is None and name)
        return f"no published figure of quality on file for {missing}: a proof on your own calls must say"
    facts.get("quality", now.id), facts.get("quality", then.id)
    scores = f"{other} {then.values['arena']:.0f}, {main} {now.values['arena']:.0f}"
    return f"arena score: {scores} ({now.as_of}); a proof on your own calls must say"
