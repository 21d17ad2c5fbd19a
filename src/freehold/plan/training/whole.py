"""Every weight of a model learns: which devices, how many, and by which launch target.

--train 2B --model llama-3.1-8b ──→ 1 x h100-sxm: does not fit; 8 x h100-sxm: ddp, fsdp, zero1 ... ──→ fsdp, and why
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from freehold.engines.gguf.names import SHAPES
from freehold.errors import BadSetting
from freehold.facts import Facts
from freehold.facts.grounds import counts, ground
from freehold.facts.open_models import architecture
from freehold.fit import Architecture, Ground, Work, active, full, ids_a_step, pick
from freehold.fit.ways import OFFERED
from freehold.launch.ask import asked
from freehold.launch.write import megatron
from freehold.nouns import Fact, Measure, Option, Site, Training

__all__ = ["whole"]

CONTEXT = 512  # ids of a row that train takes for a model that is trained on
MACHINES = (2, 4, 8, 16, 32)  # that are tried where one holds too little


def whole(model: str, tokens: float, rows: Sequence[Fact], own: Option | None, facts: Facts) -> Training:
    """Raises BadSetting where no model is named, or one whose configuration is not on file."""
    if not model:
        raise BadSetting("--train does not say what to train.", "Name an open model: --model llama-3.1-8b.")
    row = facts.get("models", model)
    a, kind = architecture(row), str(row.values.get("config", {}).get("model_type"))
    context = min(CONTEXT, int(row.values.get("context") or CONTEXT))
    work = Work(tokens, ids_a_step(tokens), context)
    offered = [name for name in OFFERED if name != "megatron" or megatron.writes(kind, trained_on=True)]
    grounds = list(_grounds(rows, own, active(a), facts))
    sites = [_site(a, one, work, offered, tokens) for one in grounds]
    if not any(site.taken for site in sites):
        more = list(_more(a, rows, work, offered, facts))
        grounds += more
        sites += [_site(a, one, work, offered, tokens) for one in more]
    place, why = pick(sites)
    notes = (*_notes(row, kind, tokens), *_of_site(sites[place] if place is not None else None))
    return Training(
        "whole", row.id, f"{row.id}, every weight", Measure(tokens, unit="ids", method="given"), work.on(1),
        sites=tuple(sites), taken=place, why=why, notes=notes,
        uses=tuple(dict.fromkeys((row.ref, *(ref for one in grounds for ref in one.uses)))),
    )  # fmt: skip


def _grounds(rows: Sequence[Fact], own: Option | None, size: float, facts: Facts) -> Iterator[Ground]:
    """Of each device one, as many as the plan serves with, and a machine full of them."""
    for row in rows:
        mine = (own.gpus,) if own is not None and own.hardware == row.id and own.gpus else ()
        for count in sorted({*counts(row), *mine}):
            yield ground(row, count, facts, size=size)


def _more(a: Architecture, rows: Sequence[Fact], work: Work, offered: Sequence[str], facts: Facts) -> Iterator[Ground]:
    """The fewest machines of each device that hold it, of devices with a network between machines."""
    for row in rows:
        if "network" not in row.values:
            continue
        tried = (ground(row, machines * max(counts(row)), facts) for machines in MACHINES)
        fits = next((one for one in tried if full(a, one, work, offered).taken), None)
        if fits is not None:
            yield fits


def _site(a: Architecture, one: Ground, work: Work, offered: Sequence[str], tokens: float) -> Site:
    site = full(a, one, work, offered)
    if not site.taken:
        return site
    train = f"freehold train TEXT --base DIR --tokens {brief(tokens)}"
    said = asked(train, site.taken, one.count, one.per, card=one.card, rented=one.price is not None)
    return replace(site, command=said)


def _of_site(site: Site | None) -> Iterator[str]:
    """What is worth knowing of the one that is to be used."""
    if site is None or site.spread is None:
        return
    if site.spread.talking > site.spread.computing:
        yield "most of a step is talk: a larger one (--set rows=N) talks less often, and learns less a token"
    if "skypilot" in site.command and "h100" not in site.hardware:
        yield f"task.yaml asks for H100: write the cloud's name of {site.hardware} there"


def brief(tokens: float) -> str:
    """As it is typed: 2B, 1.5B, 20M."""
    for least, letter in ((1e9, "B"), (1e6, "M")):
        if tokens >= least and f"{tokens / least:g}" == f"{tokens / least:.12g}":
            return f"{tokens / least:g}{letter}"
    return f"{tokens:.0f}"


def _notes(row: Fact, kind: str, tokens: float) -> Iterator[str]:
    yield f"DIR is the folder of {row.id}, which is trained on: {row.values.get('weights', 'your own')}"
    yield (
        "a new model of this shape takes the same. Without --base, freehold train TEXT --tokens "
        f"{brief(tokens)} --plan sizes one for your text, and shows this table for it"
    )
    if kind not in SHAPES:
        yield f"it is of the kind {kind}, which nothing here was trained on; freehold shrink takes {', '.join(SHAPES)}"
    yield "zero1 to zero3 take pip install 'freehold[launch]'; Megatron-LM has a loop, and a curve, of its own"
    yield "device hours alone: neither storage nor the time until machines are up is in the cost"
