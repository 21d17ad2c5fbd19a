"""Where each rung stands, as the events of rungs.jsonl say: open or closed, its stage, its promise, how it came there.

opened | closed    the last one is the state
stage              shadow, canary at a share, full: none was written where a student served all at once
frozen             a successor answers in the place of the model that was proved against
A task's further rung has its events apart: they name the student before it (`after`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freehold.errors import StorageFailed
from freehold.nouns import Verdict
from freehold.wire import loads, timestamp

__all__ = ["MOST_STEPS", "events", "frozen", "last", "of", "stage", "timeline"]

MOST_STEPS = 12
Event = dict[str, Any]


def events(path: Path) -> list[Event]:
    """All events in order; a line that is none is left out. Raises StorageFailed."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageFailed(f"Can't read {path}: {error.strerror}.") from None
    return [event for line in lines if (event := _event(line)) is not None]


def of(found: Sequence[Event], verdict: Verdict) -> list[Event]:
    """The events of the verdict's place on its task's ladder, whichever student stood there."""
    return [e for e in found if e["task"] == verdict.task and bool(e.get("after")) == bool(verdict.after)]


def last(found: Sequence[Event], sha256: str) -> Event | None:
    """The newest opening or closing in this place, where it is of this student."""
    turns = [event for event in found if event["event"] in ("opened", "closed")]
    return turns[-1] if turns and turns[-1].get("student") == sha256 else None


def stage(found: Sequence[Event], verdict: Verdict, opened: Event, home_at: float) -> dict[str, Any]:
    """How far an open rung is: name, share of users, why, and since when (epoch seconds).

    `home_at` is when the student last answered at home: one that answers without having gone up serves all.
    """
    steps = [e for e in _own(found, verdict) if e["event"] == "stage" and _share(e) is not None]
    if not steps:
        return _stage("full", 1.0, "all at once: no step was asked for, or no evidence could come", opened["time"])
    share, event = _share(steps[-1]) or 0.0, steps[-1]
    if not share and home_at > event["time"]:
        why = 'it answers without a step: [rollout] start = "full", or nothing is asked upstream'
        return _stage("full", 1.0, why, opened["time"])
    name = "full" if share >= 1.0 else "canary" if share else "shadow"
    return _stage(name, share, str(event.get("why", "")), event["time"], stepped=True)


def frozen(found: Sequence[Event], verdict: Verdict) -> dict[str, Any] | None:
    """Since which day (UTC) the promise stands as it was, and who answers now."""
    froze = [event for event in _own(found, verdict) if event["event"] == "frozen"]
    return {"since": froze[0]["at"][:10], "model": str(froze[-1].get("successor", ""))} if froze else None


def timeline(found: Sequence[Event], sha256: str) -> list[dict[str, Any]]:
    """The newest steps, oldest first: {"at" (epoch seconds), "what", "why", "by", "earlier" (another student's)}."""
    return [
        {
            "at": event["time"],
            "what": _what(event),
            "why": str(event.get("why") or ""),
            "by": str(event.get("by") or ""),
            "earlier": event.get("student") != sha256,
        }
        for event in found[-MOST_STEPS:]
    ]


def _what(event: Event) -> str:
    share = _share(event)
    if event["event"] == "frozen":
        return f"frozen, {event.get('successor', 'another model')} answers now"
    if event["event"] != "stage" or share is None:
        return str(event["event"])
    return "full" if share >= 1.0 else f"canary at {100 * share:.4g} %" if share else "shadow"


def _stage(name: str, share: float, why: str, at: float, *, stepped: bool = False) -> dict[str, Any]:
    """`stepped`: an event says so, and steps are asked for only where pairs come in."""
    return {"name": name, "share": share, "why": why, "at": at, "stepped": stepped}


def _share(event: Event) -> float | None:
    share = event.get("share")
    if isinstance(share, bool) or not isinstance(share, int | float) or not math.isfinite(share):
        return None
    return float(share) if 0.0 <= share <= 1.0 else None


def _own(found: Sequence[Event], verdict: Verdict) -> list[Event]:
    """Those of exactly this student by this verdict."""
    sha256 = verdict.student.sha256 if verdict.student else ""
    this = (sha256, verdict.made, verdict.after)
    return [e for e in found if (e.get("student"), e.get("verdict"), e.get("after", "")) == this]


def _event(line: bytes) -> Event | None:
    """A line of rungs.jsonl, with its time in seconds under "time"; None where it is no event."""
    try:
        event = loads(line)
        time = timestamp(event["at"]) if isinstance(event, dict) and isinstance(event.get("at"), str) else None
    except (ValueError, OverflowError):
        return None
    if time is None or not all(isinstance(event.get(key), str) for key in ("task", "event")):
        return None
    return {**event, "time": time}
