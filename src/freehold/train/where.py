"""Where this very training could run: on this machine as it was measured just now, on rented cards, by each target.

where(corpus's Plan, ...) ─ this machine: seconds a step measured ─┐
                          └ h100-sxm x 1, x 8, ...: facts' devices ┴→ Training: memory, time, costs, the one to use
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from freehold.engines import bases
from freehold.facts import Facts
from freehold.facts.grounds import counts, ground, market
from freehold.fit import Architecture, Ground, Work, active, available, full, parameters, pick
from freehold.fit.ways import OFFERED
from freehold.launch.ask import asked as to_say
from freehold.launch.write import megatron
from freehold.nouns import Measure, Site, Training
from freehold.nouns.training import HERE
from freehold.project import Project
from freehold.tell import Tell
from freehold.train.asked import Asked
from freehold.train.dial.memory import architecture
from freehold.train.dial.overrides import read
from freehold.train.dial.size import MEASURED
from freehold.train.dial.speed import Speed, measured
from freehold.train.job import ids_at_once
from freehold.train.make import readable
from freehold.train.nouns import Plan

__all__ = ["where"]

PUBLISHED = 1e9  # parameters from which on it was published what a card reaches
SHARED = "how fast processes of one machine talk to each other was not measured"


def where(
    said: Plan, given: Sequence[Path | str], project: Project, asked: Asked, facts: Facts, hardware: str, tell: Tell
) -> Training:
    """`hardware`: a device beside this machine, or "": those that a market price is on file for."""
    start = readable(bases.find(asked.base), project, tell) if asked.base else None
    a, kind = _model(said, start)
    work = Work(said.tokens, said.rows * said.shape.context, said.shape.context, ids_at_once(said.shape))
    offered = [name for name in OFFERED if name != "megatron" or megatron.writes(kind, trained_on=start is not None)]
    rows = [facts.get("hardware", hardware)] if hardware else market(facts)
    grounds = [
        *_here(said, asked, a, start),
        *(ground(row, n, facts, size=active(a)) for row in rows for n in counts(row)),
    ]
    words = [*map(str, given), "--project", str(project.path)]
    sites = tuple(_site(a, one, work, offered, said, words, asked) for one in grounds)
    place, why = pick(sites)
    return Training(
        "whole", asked.base or "", f"{_size(a)}, every weight", Measure(said.tokens, unit="ids", method="given"),
        work.on(1), sites=sites, taken=place, why=why, notes=tuple(_notes(a, sites)),
        uses=tuple(dict.fromkeys(ref for one in grounds for ref in one.uses)),
    )  # fmt: skip


def _model(said: Plan, start: Path | None) -> tuple[Architecture, str]:
    if start is None:
        return architecture(said.shape), "mixtral" if said.shape.experts else "llama"
    config = msgspec.json.decode((start / "config.json").read_bytes(), type=dict[str, Any])
    return Architecture.of(config, str(start)), str(config.get("model_type"))


def _here(said: Plan, asked: Asked, a: Architecture, start: Path | None) -> Iterator[Ground]:
    """One process; and as many as were asked for, of which nobody knows how fast they talk."""
    free = available()
    speed = _speed(said, asked, start)
    ids = said.rows * said.shape.context
    reached = 6 * active(a) * ids / speed.step(ids)
    method = (
        f"measured here now: {ids / speed.step(ids):,.0f} tokens a second, in {said.dtype}, looks at the text apart"
    )
    yield Ground(HERE, 1, free, (reached, reached, reached), card=False, method=method)
    if asked.processes > 1:
        yield Ground(
            HERE, asked.processes, free / asked.processes, None, per=asked.processes, card=False, method=SHARED
        )


def _speed(said: Plan, asked: Asked, start: Path | None) -> Speed:
    """As the dial asked for it, which measured it just now."""
    rows = said.rows if asked.tokens is not None else max(1, MEASURED // said.shape.context)
    most = max(1, len(os.sched_getaffinity(0)) // asked.processes)
    dtype = read(asked.overrides).get("dtype")
    return measured(said.shape, rows, threads=asked.threads, most=most, dtype=dtype, start=start)


def _site(
    a: Architecture, one: Ground, work: Work, offered: Sequence[str], said: Plan, words: Sequence[str],
    asked: Asked,
) -> Site:  # fmt: skip
    own = one.hardware == HERE and one.count > 1
    site = full(a, one, work, [asked.parallel] if own else offered)
    if not site.taken:
        return site
    by = asked.parallel if own else site.taken
    line = to_say(
        _line(said, words, asked, elsewhere=one.card), by, one.count, one.per, card=one.card,
        rented=one.price is not None,
    )  # fmt: skip
    return replace(site, command=line)


def _line(said: Plan, given: Sequence[str], asked: Asked, *, elsewhere: bool) -> str:
    """The same training as it is typed. `elsewhere` the dial is tokens, and the size is the one that was found here."""
    words = ["freehold", "train", *given]
    if asked.minutes is not None and not elsewhere:
        words += ["--minutes", f"{asked.minutes:g}"]
    elif asked.tokens is not None or elsewhere:
        words += ["--tokens", str(said.tokens if asked.tokens is None else asked.tokens)]
    words += ["--moe"] if asked.moe else []
    words += ["--base", asked.base] if asked.base else []
    words += ["--tokenizer", asked.tokenizer] if asked.tokenizer != "bpe" else []
    words += ["--vocabulary", str(asked.vocabulary)] if asked.vocabulary else []
    words += ["--field", asked.text_field] if asked.text_field != "text" else []
    words += ["--seed", str(asked.seed)] if asked.seed else []
    sized = {"layers": said.shape.layers, "width": said.shape.width} if elsewhere and not asked.base else {}
    for flag, pairs in (
        ("--set", {**sized, **asked.overrides}),
        ("--licence", asked.licences),
        ("--source", asked.sources),
    ):
        words += [word for name, value in pairs.items() for word in (flag, f"{name}={value}")]
    return shlex.join(words)


def _size(a: Architecture) -> str:
    total, used = (f"{n / 1e6:,.1f}M" if n < PUBLISHED else f"{n / 1e9:,.2f}B" for n in (parameters(a), active(a)))
    return f"{total} parameters" if total == used else f"{used} active of {total} parameters"


def _notes(a: Architecture, sites: Sequence[Site]) -> Iterator[str]:
    if active(a) < PUBLISHED and any(site.spreads and not site.here for site in sites):
        yield "what a card reaches was published of models of a billion parameters and more: one as small reaches less"
    yield "device hours alone: neither storage nor the time until machines are up is in the cost"
