"""Where a training runs: on each ground every launch target, which of them to use, and of the grounds the one to use.

    Ground("h100-sxm", 8, memory, flops, link, price)     alike devices, with ranges; facts.grounds makes them of rows
    full(a, ground, Work(ids, tokens, context=512))       Site(spreads=(ddp, fsdp, ...), taken="fsdp", hours, costs)
    adapter(a, ground, Rows(1000, mean=400, ...))         Site(spreads=(LoRA, QLoRA), taken="LoRA", ...)
    pick(sites)                                           (1, "8 x h100-sxm: $61, the fastest of those within ...")

Hours: the middle computes at the middle share of the peak and then talks; the most does both at the lowest shares; the
least computes at the highest share with all of the talk behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from freehold.errors import TooLittleMemory
from freehold.fit.architecture import Layer, Stack
from freehold.fit.count import active
from freehold.fit.launch import Devices, Launch, choose, launches
from freehold.fit.memory import GIB, RESERVE, Need, total
from freehold.fit.train import How, training
from freehold.nouns import Measure, Site, Spread

__all__ = ["OFFERED", "Ground", "Rows", "Span", "Work", "adapter", "full", "ids_a_step", "pick"]

Span = tuple[float, float, float]
"""The middle, the least, the most."""
OFFERED = ("none", "ddp", "fsdp", "zero1", "zero2", "zero3", "tp", "megatron")
NIGHT = 12.0  # hours that the machine at hand may take before another is rented
NEAR, CHANGE = 1.25, 1.0  # times the cheapest, and USD more: below, the faster one is taken
BATCH, PIECE, SHORT = 8, 1024, 512  # tune's: rows of a step, ids at once, ids of a row whose attention keeps its scores


@dataclass(frozen=True, slots=True)
class Ground:
    """`count` alike devices, of `memory` bytes each. `flops`: FLOP/s that a training reaches on each, and `link` the
    bytes/s that each sends to the next (None: nobody knows). `price`: USD a device and hour. `per`: devices a machine.
    `out`: why nothing can be trained there. `method` says where the shares are from."""

    hardware: str
    count: int
    memory: float
    flops: Span | None
    link: Span = (1.0, 1.0, 1.0)
    price: Span | None = None
    per: int = 1
    card: bool = True
    out: str = ""
    method: str = ""
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """`tokens` in all, in steps of about `ids` in rows of `context`; `at_once`: ids that a device holds at the most."""

    tokens: float
    ids: float
    context: int
    at_once: int = 0

    def on(self, devices: int) -> int:
        """Ids of a step: rows that so many devices share evenly."""
        return self.context * devices * max(1, round(self.ids / self.context / devices))


@dataclass(frozen=True, slots=True)
class Rows:
    """What an adapter learns from: rows of `mean` ids, the longest of `longest`, their answers of `answer` at most."""

    count: float
    mean: float
    longest: int
    answer: int


def full(a: Stack, ground: Ground, work: Work, offered: Sequence[str] = OFFERED) -> Site:
    """Every weight learns. `offered`: the targets that can be asked for. Recomputing is not among them: freehold's loop
    keeps its activations."""
    site = Site(ground.hardware, ground.count, int(ground.memory), out=ground.out)
    if ground.out:
        return site
    flops = ground.flops[0] if ground.flops else 1.0
    devices = Devices(ground.count, ground.memory, flops, ground.link[0])
    ids = work.on(ground.count)
    options = [
        one
        for one in launches(
            a, devices, ids=ids, context=work.context, width=2 if ground.card else 4,
            at_once=work.at_once or work.context, fused=work.context > SHORT, cpu=not ground.card,
        )
        if one.name in offered and not one.recompute and _divides(a, ground, one.tp)
    ]  # fmt: skip
    spreads = tuple(_spread(one, ground, math.ceil(work.tokens / ids)) for one in options)
    try:
        best, why = choose(options, ground.memory)
    except TooLittleMemory as error:
        return replace(site, spreads=spreads, out=error.message)
    return _taken(replace(site, spreads=spreads), best.words, _said(best, why, ground), ground)


def _divides(a: Stack, ground: Ground, tp: int) -> bool:
    """Can `tp` devices share each layer: within a machine, by whole heads of keys."""
    return tp == 1 or (tp <= ground.per and all(_keys(layer) % tp == 0 for _, layer in a.layers))


def _keys(layer: Layer) -> int:
    """Heads of keys: as many as queries unless k is narrower than q."""
    wide = {m.role: m.outputs for m in layer.matrices if m.role in ("q", "k")}
    return round(layer.heads * wide["k"] / wide["q"]) if len(wide) == 2 else layer.heads


def _said(best: Launch, why: str, ground: Ground) -> str:
    """choose's sentence; without the seconds where nobody knows them."""
    name = "one process" if best.name == "none" else best.words
    if ground.flops is None:
        return f"{name}: {total(best.need) / GIB:.1f} GiB a device; how fast is not known."
    return why.replace(best.words, name, 1)


def _spread(one: Launch, ground: Ground, steps: int) -> Spread:
    out = _over(one.need, ground)
    if ground.flops is None:
        return Spread(one.words, one.need, 0.0, 0.0, Measure(None, unit="hours", method=ground.method), out)
    middle, slow, fast = ground.flops
    link, narrow, wide = ground.link
    least = max(one.computing * middle / fast, one.talking * link / wide)
    most = one.computing * middle / slow + one.talking * link / narrow
    hours = [steps * seconds / 3600 for seconds in (one.seconds, least, most)]
    return Spread(one.words, one.need, one.computing, one.talking, _hours(hours, ground), out)


def _over(need: Need, ground: Ground) -> str:
    """What is too much; "" where it fits, or where nobody knows what there is."""
    room = RESERVE * ground.memory
    if not room or total(need) <= room:
        return ""
    return f"{total(need) / GIB:.1f} GiB, and {room / GIB:.1f} are for it"


def _hours(hours: Sequence[float], ground: Ground) -> Measure:
    middle, least, most = hours
    return Measure(middle, least, most, unit="hours", method=ground.method)


def _taken(site: Site, launch: str, why: str, ground: Ground) -> Site:
    spread = next(one for one in site.spreads if one.launch == launch)
    return replace(site, taken=launch, why=why, hours=spread.hours, costs=_costs(spread.hours, ground))


def _costs(hours: Measure, ground: Ground) -> Measure:
    """Device hours at their price."""
    if ground.price is None or hours.value is None:
        return Measure(None, unit="USD", method="no price a device and hour is on file")
    value, low, high = (
        (end or 0.0) * ground.count * price
        for end, price in zip((hours.value, hours.low, hours.high), ground.price, strict=True)
    )
    return Measure(value, low, high, unit="USD", method=f"{ground.count} x hours x ${ground.price[0]:g} an hour")


def adapter(a: Stack, ground: Ground, rows: Rows, *, share4: Span | None = None) -> Site:
    """A low-rank adapter on one device: on a base in 16 bits (LoRA), or in 4 (QLoRA, which `share4` is the FLOP/s of).
    The memory is what tune itself foretells, of the fastest form that fits."""
    site = Site(ground.hardware, 1, int(ground.memory), out=ground.out)
    if ground.out:
        return site
    spreads = _form(a, ground, rows, "lora", ground.flops), _form(a, ground, rows, "qlora", share4)
    able = [one for one in spreads if not one.out]
    fits = min(able, key=_slow, default=None)
    site = replace(site, spreads=spreads)
    if fits is None:
        return replace(site, out=f"its adapter fits in no form: {spreads[-1].launch} takes {spreads[-1].out}")
    why = f"{fits.launch}: {fits.bytes / GIB:.1f} GiB"
    other = spreads[fits is spreads[0]]
    if other.out:
        why += f"; {other.launch} takes {other.out}"
    elif fits.hours.value is not None:
        why += f", quicker than {other.launch}"
    return _taken(site, fits.launch, f"{why}.", ground)


def _slow(one: Spread) -> float:
    """Hours; what nobody timed comes last."""
    return math.inf if one.hours.value is None else one.hours.value


def _form(a: Stack, ground: Ground, rows: Rows, how: How, flops: Span | None) -> Spread:
    """The fastest form that fits, or the smallest one."""
    need: Need = {}
    recompute, out = False, ""
    for piece, recompute in _pieces(rows, ground.card):
        need = _need(a, rows, how, piece, ground.card, recompute)
        if not (out := _over(need, ground)):
            break
    name = ("LoRA" if how == "lora" else "QLoRA") + (" with recomputing" if recompute else "")
    if flops is None:
        return Spread(name, need, 0.0, 0.0, Measure(None, unit="hours", method=ground.method), out)
    work = (6 if recompute else 4) * active(a) * rows.mean
    hours = [rows.count * work / speed / 3600 for speed in (flops[0], flops[2], flops[1])]
    return Spread(name, need, BATCH * work / flops[0], 0.0, _hours(hours, ground), out)


def _pieces(rows: Rows, card: bool) -> Iterator[tuple[int, bool]]:
    """(ids at once, activations made twice), from the fastest form on."""
    piece = BATCH * rows.longest if card else 0
    while piece > PIECE:
        yield piece, False
        piece //= 2
    yield PIECE, False
    yield PIECE, True


def _need(a: Stack, rows: Rows, how: How, piece: int, card: bool, recompute: bool) -> Need:
    return training(
        a, how, tokens=max(rows.longest, min(piece, BATCH * rows.longest)), longest=rows.longest,
        answers=min(piece, BATCH * rows.answer), width=2 if card or how == "qlora" else 4,
        fused=card or rows.longest > SHORT, recompute=recompute,
    )  # fmt: skip


def ids_a_step(tokens: float) -> float:
    """What freehold train's dial reads in a step: 0.3 of Step Law's 0.58 D^0.571 (arXiv 2503.04715)."""
    return float(min(1 << 22, max(256.0, 0.3 * 0.58 * tokens**0.571)))


def pick(sites: Sequence[Site]) -> tuple[int | None, str]:
    """(which, why): the machine at hand where it is done within a night; else the cheapest, or a faster one that costs
    nearly the same; of what has no price the fastest."""
    able = [(place, site) for place, site in enumerate(sites) if site.taken]
    timed = [(place, site) for place, site in able if site.hours.value is not None]
    here = next((one for one in timed if one[1].here and (one[1].hours.value or 0.0) <= NIGHT), None)
    if here is not None:
        return here[0], f"this machine: done within {NIGHT:.0f} hours, and nothing has to be rented"
    priced = [one for one in timed if not one[1].here and one[1].costs.value is not None]
    if priced:
        return _cheapest(priced)
    if timed:
        place, site = min(timed, key=lambda one: one[1].hours.value or 0.0)
        return place, f"{_name(site)}: the fastest of those it fits on; no price is on file"
    if able:
        return able[0][0], f"{_name(able[0][1])}: it fits there; how long it takes is not known"
    return None, "it fits on none of these devices"


def _cheapest(priced: Sequence[tuple[int, Site]]) -> tuple[int, str]:
    least = min(site.costs.value or 0.0 for _, site in priced)
    near = [one for one in priced if (one[1].costs.value or 0.0) <= max(NEAR * least, least + CHANGE)]
    place, site = min(near, key=lambda one: one[1].hours.value or 0.0)
    if site.costs.value == least:
        return place, f"{_name(site)}: the cheapest"
    return (
        place,
        f"{_name(site)}: the fastest of those that cost at most a quarter, or a dollar, more than the cheapest",
    )


def _name(site: Site) -> str:
    return "this machine" if site.here else f"{site.devices} x {site.hardware}"
