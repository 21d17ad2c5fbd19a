"""What the server says of itself: /health for people, /ready for whoever sends it calls, numbers for /metrics."""

from __future__ import annotations

from typing import Any

from freehold import wire
from freehold.serve.chat import PATIENCE
from freehold.serve.ladder.step import Step
from freehold.serve.numbers.counts import Host, RungState, State
from freehold.serve.parts import Parts

__all__ = ["health", "models", "ready", "state"]


def models(parts: Parts) -> dict[str, Any]:
    """The list that GET /v1/models gives."""
    logged = [model for step in parts.steps for model in step.rung.task.models]
    home = [step.rung.model for step in parts.steps if step.rung.open]
    return wire.models(list(dict.fromkeys([*logged, *home])), parts.started)


def ready(parts: Parts) -> str:
    """Why no calls should come here now; "" where they may."""
    if parts.leaving:
        return "stopping"
    return parts.broken or ("the ledger can't be written" if parts.ledger.refuses else "")


def health(parts: Parts) -> dict[str, Any]:
    rungs = [_rung(step) for step in parts.steps]
    closed = any(step.rung.student and not step.rung.open for step in parts.steps)
    hosts = parts.fleet.state() if parts.fleet is not None else []
    resting = any(host["breaker"] != "closed" for host in hosts)
    amiss = closed or resting or parts.ledger.why or parts.keys.why or parts.broken
    status = "stopping" if parts.leaving else "degraded" if amiss else "ok"
    pairs = parts.pairs
    return {
        "status": status,
        "upstream": parts.fleet.kind if parts.fleet is not None else "none",
        "upstreams": hosts,
        "successor": parts.settings.successor,
        "unmonitored": pairs is None,
        "rungs": rungs,
        "ledger": {
            "writable": not parts.ledger.why,
            "why": parts.ledger.why,
            "rows_lost": parts.ledger.lost,
            "durability": parts.ledger.settings.durability,
            "content": parts.ledger.settings.content,
        },
        "pairs": {
            "share": pairs.share if pairs else 0.0,
            "asked": pairs.asked if pairs else 0,
            "free": pairs.freed if pairs else 0,
            "lost": pairs.lost if pairs else 0,
            "waiting": pairs.waiting if pairs else 0,
        },
        "keys": parts.keys.required,
        "keys_why": parts.keys.why,
        "broken": parts.broken,
    }


def state(parts: Parts) -> State:
    """The same as numbers."""
    pairs = parts.pairs
    hosts = parts.fleet.state() if parts.fleet is not None else []
    return State(
        waiting=parts.admission.waiting,
        rungs=tuple(_numbers(step) for step in parts.steps if step.rung.student),
        hosts=tuple(Host(h["name"], h["failures"], h["retries"], h["breaker"] == "open") for h in hosts),
        pairs_asked=pairs.asked + pairs.freed if pairs else 0,
        pairs_lost=pairs.lost if pairs else 0,
        pairs_waiting=pairs.waiting if pairs else 0,
        ledger_writable=not parts.ledger.why,
        ledger_lost=parts.ledger.lost,
        budget_refused=parts.spend.refused,
    )


def _numbers(step: Step) -> RungState:
    monitor, stage = step.monitor, step.stage
    return RungState(
        step.rung.task.name,
        step.rung.open,
        stage.name if stage is not None else "",
        stage.share if stage is not None else float(step.rung.open),
        monitor.evidence if monitor is not None else 0.0,
        monitor.seen if monitor is not None else 0,
        monitor.differed if monitor is not None else 0,
    )


def _rung(step: Step) -> dict[str, Any]:
    rung, monitor, stage = step.rung, step.monitor, step.stage
    if not rung.student:
        return {"task": rung.task.name, "open": False, "why": rung.why}
    head: dict[str, Any] = {"task": rung.task.name, "open": rung.open, "why": rung.why, "model": rung.model}
    head |= {"kind": rung.task.kind, "student": step.title}
    if step.seat is not None:
        head["patience"] = step.seat.patience(PATIENCE)
    if stage is not None:
        pairs = {"agree": stage.agree, "differ": stage.differ}
        head["stage"] = {"name": stage.name, "share": stage.share, "why": stage.why, "next": stage.next, **pairs}
    if step.frozen and step.beside is not None:
        agreement = step.beside.agreement
        beside: dict[str, Any] = {"model": step.beside.model, "agreement": agreement.value, "n": agreement.n}
        head["frozen"] = {"since": step.frozen, "beside": {**beside, "low": agreement.low, "high": agreement.high}}
    watch = {"pairs": monitor.seen, "differ": monitor.differed, "evidence": monitor.evidence} if monitor else None
    return head | {"threshold": rung.threshold, "monitor": watch}
