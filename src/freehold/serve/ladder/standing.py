"""Where a rung stands at a start: which users it answers, and whether its promise is frozen.

never went up      shadow, where [rollout] start = "shadow" and the upstream's answers can be seen
went up before     where it was: the last step that the evidence took, or the one below it where that is no more
[rollout] start = "full", or nothing is asked upstream: full at once, and it says so
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from freehold import wire
from freehold.nouns import Verdict
from freehold.project.gateway import RolloutSettings
from freehold.serve.ladder.stage import Stage
from freehold.serve.ladder.step import Beside, Step, after

__all__ = ["freeze", "news", "of", "own", "share_of", "stand"]

Event = dict[str, Any]


def of(events: Sequence[Event], verdict: Verdict | None) -> list[Event]:
    """The task's events that are of the verdict's place on the ladder: the first student's, or a further one's."""
    return [event for event in events if bool(event.get("after")) == bool(after(verdict))]


def own(events: Sequence[Event], step: Step) -> list[Event]:
    """The events of exactly this student by this verdict."""
    made = step.verdict.made if step.verdict else ""
    this = (step.rung.student, made, after(step.verdict))
    return [e for e in events if (e.get("student"), e.get("verdict"), e.get("after", "")) == this]


def stand(step: Step, events: Sequence[Event], rollout: RolloutSettings, watched: bool) -> float | None:
    """Set the step's stage. Returns when it last went up, in epoch seconds."""
    assert step.verdict is not None, step.rung.task.name
    risen = [event for event in own(events, step) if share_of(event) is not None]
    share = 0.0 if not risen else share_of(risen[-1]) or 0.0
    stage = Stage(step.verdict.bar, rollout.steps, salt=step.rung.student, share=share)
    if not watched:
        stage.move(1.0, "none of its calls is asked upstream, so no evidence could take it up step by step")
    elif rollout.start == "full":
        stage.move(1.0, 'freehold.toml says [rollout] start = "full"')
    elif stage.share:
        stage.why = f"since {risen[-1]['at']}: {risen[-1].get('why', '')}"
    elif step.frozen:
        stage.why = (
            "asked, not used: the model that it was proved on answers no more; prove it on the successor's answers"
        )
    else:
        stage.why = "a new student: asked, not used, until pairs show that it may answer"
    step.stage = stage
    return wire.timestamp(risen[-1]["at"]) if risen else None


def freeze(step: Step, events: Sequence[Event], successor: str, today: str) -> None:
    """Freeze the promise where a successor answers in the place of the model that it is about."""
    assert step.verdict is not None, step.rung.task.name
    models = step.verdict.asked.models if step.verdict.asked else ()
    if successor and set(models) != {successor}:
        step.beside = Beside(successor)
        before = [event["at"] for event in own(events, step) if event["event"] == "frozen"]
        step.frozen = (before[0] if before else today)[:10]


def news(step: Step, events: Sequence[Event]) -> list[dict[str, Any]]:
    """What an open rung's first start in shadow, or with a successor, adds to rungs.jsonl beside its opening."""
    if not step.rung.open:
        return []
    known = {event["event"] for event in own(events, step)}
    found: list[dict[str, Any]] = []
    if step.stage is not None and step.stage.name == "shadow" and "stage" not in known:
        stage = {"stage": "shadow", "share": 0.0}
        found.append({"event": "stage", "by": "start", "why": step.stage.why} | stage)
    if step.beside is not None and "frozen" not in known:
        model = step.beside.model
        why = f"{model} answers in the place of the model that was proved against; the promise stands as it was then"
        found.append({"event": "frozen", "by": "start", "why": why, "successor": model})
    return found


def share_of(event: Event) -> float | None:
    """The share of a step that the evidence took; None of any other event, and where it is no share."""
    share = event.get("share")
    if event["event"] != "stage" or event.get("by") != "evidence" or isinstance(share, bool):
        return None
    return float(share) if isinstance(share, int | float) and math.isfinite(share) and 0.0 < share <= 1.0 else None
