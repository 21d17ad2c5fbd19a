"""A training's ways as lines of text, the same wherever they are shown.

llama-3.1-8b, every weight: 2 billion ids in steps of about 35,840
       on                by    GiB of 90 %               takes                costs
       1 x h100-sxm  (none)  127.8 of 72.0        does not fit
    >  8 x h100-sxm    fsdp   23.9 of 72.0  14.1 h (7.8 to 53)  $332 (124 to 2,138)
  use     8 x h100-sxm: the cheapest
  by      fsdp: 23.9 GiB a device and 0.934 s a step, of 8 that fit
  run     freehold train TEXT --tokens 2B --launch fsdp --processes 8
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from freehold.fit.memory import GIB, RESERVE
from freehold.nouns import Measure, Site, Spread, Training

__all__ = ["clock", "dollars", "told"]

WIDE = 80
MOST = "seconds are a most: no talk is thought to hide behind work; of a range the lower end hides all of it"
SCALE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def told(one: Training) -> list[str]:
    """A table of the devices, what to use and why, and each launch target on what is used."""
    learns = _said("learns", one.tokens.method) if one.tokens.method not in ("", "given") else []
    said = [*_sites(one), *learns, *_advice(one), *_spreads(one)]
    return [*textwrap.wrap(_head(one), WIDE), *said, *(line for note in one.notes for line in _said("note", note))]


def _said(word: str, text: str) -> list[str]:
    """A word at the left, and the text beside it."""
    return textwrap.wrap(f"  {word:8}{text}", WIDE, subsequent_indent=10 * " ", break_on_hyphens=False)


def _head(one: Training) -> str:
    name = f"{one.task}: {one.said}" if one.task else one.said
    if one.tokens.value is None:
        return name
    steps = f" in steps of about {one.ids:,}" if one.ids else ""
    return f"{name}: {_count(one.tokens.value)} ids{steps}"


def _sites(one: Training) -> Iterator[str]:
    rows = [("", "on", "by", "GiB of 90 %", "takes", "costs")]
    for place, site in enumerate(one.sites):
        rows.append((">" if place == one.taken else "", *_site(site)))
    yield from _columns(rows)


def _site(site: Site) -> tuple[str, str, str, str, str]:
    least = site.spread or min(site.spreads, key=lambda s: s.bytes, default=None)
    memory = "" if least is None else f"{least.bytes / GIB:.1f}"
    if memory and site.memory:
        memory += f" of {RESERVE * site.memory / GIB:.1f}"
    by = site.taken if site.taken not in ("none", "here") else "-"
    if not site.taken:
        return _name(site), f"({least.launch})" if least else "", memory, "does not fit" if least else "can't", ""
    return _name(site), by, memory, clock(site.hours), "-" if site.here else dollars(site.costs)


def _advice(one: Training) -> Iterator[str]:
    yield from _said("use", one.why)
    site = one.site
    if site is None:
        return
    if site.why:
        yield from _said("by", site.why)
    yield from (f"  {word:8}{line}" for word, line in zip(("run", "or"), site.command.splitlines(), strict=False))
    if site.hours.method:
        yield from _said("time", site.hours.method)


def _spreads(one: Training) -> Iterator[str]:
    """Every launch target where the model is spread over several devices."""
    site = one.site
    if site is None or len(site.spreads) < 2 or one.what != "whole":
        return
    yield from _said("each", f"launch target on {_name(site)}; {MOST}")
    rows = [("", "by", "GiB a device", "computes", "talks", "takes", "")]
    rows += [(">" if spread.launch == site.taken else "", *_spread(spread)) for spread in site.spreads]
    yield from _columns(rows)


def _spread(spread: Spread) -> tuple[str, str, str, str, str, str]:
    seconds = [f"{value:.3g} s" for value in (spread.computing, spread.talking)]
    if spread.hours.value is None:
        seconds = ["", ""]
    out = "does not fit" if spread.out else ""
    return spread.launch, f"{spread.bytes / GIB:.1f}", *seconds, clock(spread.hours), out  # type: ignore[return-value]


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The first two at the left, numbers at the right."""
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(n) if i < 2 else cell.rjust(n) for i, (cell, n) in enumerate(zip(row, wide, strict=True))]
        yield "    " + "  ".join(cells).rstrip()


def _name(site: Site) -> str:
    if site.here:
        return "this machine" if site.devices == 1 else f"{site.devices} processes of this machine"
    return f"{site.devices} x {site.hardware}"


def clock(hours: Measure) -> str:
    """12.9 h (8.2 to 54); below an hour and a half in minutes."""
    if hours.value is None:
        return "not known"
    scale, unit = (60, "min") if hours.value < 1.5 else (1, "h") if hours.value < 96 else (1 / 24, "days")
    return f"{_short(hours.value * scale)} {unit}{_range(hours, scale)}"


def dollars(costs: Measure) -> str:
    """$305 (130 to 2,175)"""
    if costs.value is None:
        return "no price"
    return f"${_short(costs.value)}{_range(costs, 1)}"


def _range(measure: Measure, scale: float) -> str:
    if measure.low is None or measure.high is None or measure.low == measure.high:
        return ""
    return f" ({_short(measure.low * scale)} to {_short(measure.high * scale)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _count(value: float) -> str:
    for least, unit in SCALE:
        if value >= least:
            return f"{value / least:.3g} {unit}"
    return f"{value:,.0f}"
