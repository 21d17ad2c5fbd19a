"""What a server says at its start: task by task what is served, whether it is watched, and a line to try."""

from __future__ import annotations

import math
from typing import Any

from freehold import wire
from freehold.engines.hosts.host import Host
from freehold.engines.hosts.make import FIRST
from freehold.engines.upstream import HttpUpstream
from freehold.errors import StorageFailed
from freehold.project import Project
from freehold.serve.app import App
from freehold.serve.chat import PATIENCE
from freehold.serve.ladder.stage import LEAST, Stage, evidence
from freehold.serve.ladder.step import Step
from freehold.serve.parts import Parts
from freehold.serve.status import health
from freehold.tell import Tell

__all__ = ["announce"]

MOST_PAIRS = 1_000_000
SHAPES = ("response_format", "tools", "tool_choice")  # fields that say what an answer looks like
UNMONITORED = "UNMONITORED: no home answers are asked upstream, so nobody watches the promise"


def announce(app: App, project: Project, host: str, say: Tell, pid: int) -> dict[str, Any]:
    """Say it line by line; returns the same as `--json` prints it. `pid` takes the signals."""
    parts = app.parts
    for step in parts.steps:
        rung = step.rung
        if rung.open:
            stage = step.stage
            if stage is not None and not stage.share:
                say(f"shadow    {rung.task.name}: {rung.model} is asked, not used; {_to_next(stage)}{_how(step)}")
            else:
                say(f"home      {rung.task.name}: {rung.model} answers from score {rung.threshold:.4f} up{_how(step)}")
                if stage is not None and stage.share < 1.0:
                    say(f"{stage.name:<9} {rung.task.name}: for {stage.share:.4g} of users; {_to_next(stage)}")
            if step.beside is not None:
                say(f"frozen    {rung.task.name}: the model of its promise answers no more, since {step.frozen}")
            if step.seat is not None and step.seat.network:
                say(f"          its engine can reach the network: {step.seat.network}")
        else:
            say(f"{'closed ' if rung.student else 'upstream'}  {rung.task.name}: {rung.why}")
    for line in _above(parts):
        say(line)
    pairs = parts.pairs
    say(f"watched: {pairs.share:.2%} of home answers are asked upstream too" if pairs is not None else UNMONITORED)
    if parts.keys.required:
        say(f"keys: {sum(key.revoked is None for key in parts.keys.all())} may call; without one nobody does")
    shown = {"::1": "[::1]", "localhost": "127.0.0.1"}.get(host, host)
    url = f"http://{shown}:{app.port}"
    say(f"listening on {url}/v1; stop with ctrl-C, read new verdicts with kill -USR1 {pid}")
    call = _example(parts)
    if call is not None:
        try:
            path = project.write("example-request.json", wire.dumps(call) + b"\n")
        except StorageFailed as error:
            say(error.message)
        else:
            key = " -H 'Authorization: Bearer KEY'" if parts.keys.required else ""
            say(f"try:  curl -si {url}/v1/chat/completions{key} -H 'Content-Type: application/json' -d @{path}")
    return {"url": f"{url}/v1", **health(parts)}


def _how(step: Step) -> str:
    """Of a student of a text task: what it is, and how long a call waits for it."""
    if step.rung.task.kind == "labels" or step.seat is None:
        return ""
    return f"; {step.title}; within {step.seat.patience(PATIENCE):.3g} s"


def _to_next(stage: Stage) -> str:
    """How many pairs it is to the next step, if all of them agree."""
    more = max(0, LEAST - stage.agree - stage.differ)
    while evidence(stage.agree + more, stage.differ, stage.least) < -math.log(stage.level) and more < MOST_PAIRS:
        more += 1 + more // 50
    return f"about {more:,} pairs to the next step"


def _above(parts: Parts) -> list[str]:
    if parts.fleet is None:
        return ["no upstream: what is not answered at home gets a 503 (start with --upstream URL)"]
    if parts.fleet.kind == "replay":
        return ["REPLAY: what goes up is answered from the log, to try this offline; no model is asked"]
    lines = []
    for host in parts.fleet.hosts:
        model = f", asked for {host.model}" if host.model else ""
        private = ", private data taken out" if host.private else ""
        lines.append(f"upstream  {host.name}: {_address(host)}{model}{private}")
    return lines


def _address(host: Host) -> str:
    upstream = host.upstream
    if not isinstance(upstream, HttpUpstream):
        return upstream.kind
    mine = host.name == FIRST
    missing = "set FREEHOLD_UPSTREAM_KEY" if mine else f"give key_env or key_file in [upstreams.{host.name}]"
    return f"{upstream.url} ({'with a key' if upstream.keyed else f'no key: {missing}'})"


def _example(parts: Parts) -> dict[str, Any] | None:
    """A request that an open rung may answer, from the log's own example; None where its text stands in two places."""
    for step in parts.steps:
        task = step.rung.task
        if step.rung.open and sum(slot.variable for slot in task.template.slots) == 1:
            texts = [slot.before + (task.example if slot.variable else "") + slot.after for slot in task.template.slots]
            pairs = zip(task.template.slots, texts, strict=True)
            messages = [{"role": slot.role, "content": text} for slot, text in pairs]
            fields = {name: task.params[name][0] for name in SHAPES if task.params.get(name)}
            return {"model": task.models[0] if task.models else "freehold", "messages": messages, **fields}
    return None
