"""What the page shows at one moment, as plain values for /data.json: every figure with its interval and n.

    {"project": "desk", "calls": 1240, "home": M, "saved": {...}, "agreement": M, "tasks": [{"name", "state", ...}],
     "traffic": {"hours": [...], "home": [...], "up": [...]}, "ups": [{"at", "task", "why", "prompt", ...}], ...}
with M = {"value", "low", "high", "n", "unit", "method"}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from freehold.engines.title import title
from freehold.errors import StorageFailed
from freehold.measure import share
from freehold.nouns import Audit, Verdict
from freehold.project import Project, now
from freehold.totals import HOURS, by_task
from freehold.watch.tail import Tail
from freehold.watch.tally import HOUR, Pairs, Tally, TaskTally, Up
from freehold.wire import loads, timestamp

__all__ = ["Watcher", "mask"]

BUDGET = 128 << 20  # bytes of ledger read for one answer: a second or two
SHOWN = 7 * 24  # hours of traffic
MOST_TASKS = 100
WORD = 12


def mask(text: str) -> str:
    """At most two words, never more than half of the text, and how long it is."""
    start = " ".join(word[:WORD] for word in text[:200].split()[:2])[: len(text) // 2]
    return f"{start} … ({len(text):,} characters)"


class Watcher:
    """Reads the project's files, each row once, and says what they show. Not for two threads at a time."""

    def __init__(self, project: Project, *, show_prompts: bool = False) -> None:
        self.project = project
        self.show_prompts = show_prompts
        self.tail = Tail(project.path / "ledger")
        self.tally = Tally()

    def snapshot(self, budget: int = BUDGET) -> dict[str, Any]:
        """Raises FreeholdError where a file of the project can't be read."""
        if self.tail.rewritten():
            self.tail, self.tally = Tail(self.project.path / "ledger"), Tally()
        for line in self.tail.rows(budget):
            self.tally.add(line)
        audit = self.project.load(Audit) if self.project.has(Audit) else None
        verdicts = by_task(self.project.verdicts())
        tally = self.tally
        pairs = [p for task in tally.tasks.values() for p in task.pairs.values()]
        return {
            "project": self.project.path.resolve().name,
            "at": now(),
            "behind": self.tail.behind,
            "calls": tally.calls,
            "home": share(tally.home, tally.calls),
            "counts": {k: getattr(tally, k) for k in ("replayed", "failed", "unreadable", "unpriced")},
            "why": tally.why.most_common(),
            "saved": _saved(tally),
            "agreement": _agreement(pairs),
            "lost": sum(p.lost for p in pairs),
            "tasks": _tasks(audit, verdicts, tally.tasks, self._rungs(), self._titles()),
            "traffic": _traffic(tally),
            "ups": [self._up(up, verdicts) for up in sorted(tally.ups, reverse=True)],
            "prompts": "shown" if self.show_prompts else "masked",
        }

    def _rungs(self) -> dict[str, dict[str, Any]]:
        """The last event of each task's rung; a line that is none is left out. Raises StorageFailed."""
        path = self.project.path / "rungs.jsonl"
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageFailed(f"Can't read {path}: {error.strerror}.") from None
        events = [event for line in lines if (event := _event(line)) is not None]
        return {event["task"]: event for event in events}

    def _titles(self) -> dict[str, str]:
        """What each student is, in words, by its sha256."""
        found = self.project.artifacts()
        return {one.sha256: title(one, self.project.artifact_path(one.sha256)) for one in found}

    def _up(self, up: Up, verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
        row = {"at": up.at, "task": up.task, "why": up.why, "score": up.score, "threshold": up.threshold}
        if self.show_prompts:
            return row | {"reason": up.reason, "answer": up.answer, "prompt": up.prompt}
        a_label = up.task in verdicts and verdicts[up.task].kind == "labels"
        # the first words of an answer that was extracted are a user's own values: its length says enough
        answer = up.answer if a_label or not up.answer else f"an answer of {len(up.answer):,} characters"
        reason = up.reason.replace(up.prompt, "…") if up.prompt else up.reason
        return row | {"reason": reason[:200], "answer": answer, "prompt": mask(up.prompt) if up.prompt else ""}


def _event(line: bytes) -> dict[str, Any] | None:
    """A line of rungs.jsonl, with its time in seconds under "time"; None where it is no event."""
    try:
        event = loads(line)
        time = timestamp(event["at"]) if isinstance(event, dict) and isinstance(event.get("at"), str) else None
    except (ValueError, OverflowError):
        return None
    if time is None or not all(isinstance(event.get(key), str) for key in ("task", "event")):
        return None
    return {**event, "time": time}


def _saved(tally: Tally) -> dict[str, Any]:
    """What home answers would have cost upstream, less their machine time and the pairs; per month at this pace."""
    span = (tally.last - tally.first) / HOUR if tally.first is not None and tally.last is not None else 0.0
    per_month = tally.saved / span * HOURS if span >= 1.0 else None
    method = f"so far, over {span:.1f} hours, at that pace for {HOURS} hours; the machine's idle time is not in it"
    return {"value": tally.saved, "cost": tally.cost, "n": tally.home, "per_month": per_month, "method": method}


def _agreement(pairs: list[Pairs]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(share(sum(p.agree for p in pairs), sum(p.seen for p in pairs)))
    return found


def _tasks(
    audit: Audit | None,
    verdicts: Mapping[str, Verdict],
    seen: Mapping[str, TaskTally],
    rungs: Mapping[str, dict[str, Any]],
    titles: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Every task of a verdict, the audit or the ledger; the busiest first."""
    logged = {task.name: task.calls for task in audit.tasks} if audit else {}
    names = {name for name in (*verdicts, *logged, *seen) if name}
    busiest = sorted(names, key=lambda n: (-seen.get(n, TaskTally()).calls, -logged.get(n, 0), n))
    return [_task(n, verdicts.get(n), seen.get(n, TaskTally()), rungs.get(n), titles) for n in busiest[:MOST_TASKS]]


def _task(
    name: str, verdict: Verdict | None, seen: TaskTally, rung: dict[str, Any] | None, titles: Mapping[str, str]
) -> dict[str, Any]:
    state, why = _state(verdict, seen, rung)
    sha256 = verdict.student.sha256 if verdict and verdict.student else ""
    return {
        "name": name,
        "state": state,
        "why": why,
        "kind": verdict.kind if verdict else "",
        "student": titles.get(sha256, ""),
        "since": rung["at"] if rung and state in ("open", "unmonitored", "closed") else "",
        "bar": verdict.bar if verdict else None,
        "calls": seen.calls,
        "home": share(seen.home, seen.calls),
        "certified": verdict.kept_home if verdict and verdict.decision == "move" else None,
        "pairs": _agreement([seen.pairs[sha256]] if sha256 in seen.pairs else []),
    }


def _state(verdict: Verdict | None, seen: TaskTally, rung: dict[str, Any] | None) -> tuple[str, str]:
    """open, unmonitored, closed, not served, stays or no verdict; and why."""
    if verdict is None:
        return "no verdict", "nothing is proved for this task"
    if verdict.decision != "move" or verdict.student is None:
        return "stays", verdict.reason
    if rung is None or rung.get("student") != verdict.student.sha256:
        return "not served", "certified, and not served since"
    if rung.get("event") != "opened":
        return "closed", str(rung.get("why", ""))
    watched = _watched(seen, rung)
    if watched is None:
        return "unmonitored", "nothing here says that home answers are asked upstream too"
    if not watched:
        return "unmonitored", "home answers are not asked upstream too, so nobody would see the promise fail"
    return "open", ""


def _watched(seen: TaskTally, rung: Mapping[str, Any]) -> bool | None:
    """Whether home answers are asked upstream too, as serve's last start or the newest home answer says."""
    share = rung.get("watched")
    if isinstance(share, int | float) and (seen.watched is None or rung["time"] > seen.watched_at):
        return share > 0
    return seen.watched


def _traffic(tally: Tally) -> dict[str, list[int]]:
    """Calls an hour over the last week, with the empty hours in between."""
    if not tally.hours:
        return {"hours": [], "home": [], "up": []}
    last = max(tally.hours)
    first = max(min(tally.hours), last - (SHOWN - 1) * HOUR)
    hours = list(range(first, last + 1, HOUR))
    found = [tally.hours.get(h) for h in hours]
    return {
        "hours": hours,
        "home": [h.home if h else 0 for h in found],
        "up": [h.up if h else 0 for h in found],
    }
