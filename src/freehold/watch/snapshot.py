"""What the page shows at one moment, as plain values for /data.json: every figure with its interval and n.

    {"project": "desk", "calls": 1240, "home": M, "saved": {...}, "agreement": {"home": M, "free": M},
     "tasks": [{"name", "state", "calls", "home", "rungs": [{"state", "stage", "timeline", "pairs", ...}]}],
     "traffic": {"hours": [...], "home": [...], "up": [...], "other": [...]}, "ups": [{"at", "task", "why", ...}], ...}
with M = {"value", "low", "high", "n", "unit", "method"}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from freehold.engines.title import title
from freehold.errors import BadSetting
from freehold.measure import share
from freehold.nouns import Audit, Verdict
from freehold.project import Project, now
from freehold.project.settings import Settings, read_settings
from freehold.totals import HOURS, by_task
from freehold.watch import rungs, simulated
from freehold.watch.pairs import Agreement, FreePairs, Pairs
from freehold.watch.tail import Tail
from freehold.watch.tally import HOUR, StudentTally, Tally, TaskTally, Up

__all__ = ["Watcher", "mask"]

BUDGET = 128 << 20  # bytes of ledger read for one answer: a second or two
SHOWN = 7 * 24  # hours of traffic
MOST_TASKS = 100
MOST_NAMES = 20  # hosts, keys
WORD = 12
PAIRS = Settings().pairs  # the share asked again where no home answer says it yet
SERVED = ("open", "unmonitored", "frozen", "closed")


def mask(text: str) -> str:
    """At most two words, never more than half of the text, and how long it is."""
    start = " ".join(word[:WORD] for word in text[:200].split()[:2])[: len(text) // 2]
    return f"{start} … ({len(text):,} characters)"


class Watcher:
    """Reads the project's files, each row once, and says what they show. Not for two threads at a time."""

    def __init__(self, project: Project, *, show_prompts: bool = False) -> None:
        self.project = project
        self.show_prompts = show_prompts
        self._forget()

    def _forget(self) -> None:
        self.tail, self.tally = Tail(self.project.path / "ledger"), Tally()
        self.pair_tail, self.free = Tail(self.project.path / "pairs"), FreePairs()

    def snapshot(self, budget: int = BUDGET) -> dict[str, Any]:
        """Raises FreeholdError where a file of the project can't be read."""
        if self.tail.rewritten() or self.pair_tail.rewritten():
            self._forget()
        for line in self.tail.rows(budget):
            self.tally.add(line)
        for line in self.pair_tail.rows(budget):
            self.free.add(line)
        audit = self.project.load(Audit) if self.project.has(Audit) else None
        verdicts = self.project.verdicts()
        tally = self.tally
        tasks = self._tasks(audit, verdicts)
        home = [one.pairs.own for task in tally.tasks.values() for one in task.students.values()]
        free = [one.own for one in self.free.found.values()]
        counts = ("replayed", "failed", "unpriced", "below_bar", "cached", "nobody", "redacted")
        unreadable = {"unreadable": tally.unreadable, "unreadable_pairs": self.free.unreadable}
        return {
            "project": self.project.path.resolve().name,
            "at": now(),
            "behind": self.tail.behind + self.pair_tail.behind,
            "calls": tally.calls,
            "home": share(tally.home, tally.calls),
            "counts": {k: getattr(tally, k) for k in counts} | unreadable,
            "why": tally.why.most_common(),
            "hosts": tally.hosts.most_common(MOST_NAMES),
            "keys": tally.keys.most_common(MOST_NAMES),
            "saved": _saved(tally),
            "agreement": {"home": _agreement(home), "free": _agreement(free)},
            "lost": sum(p.lost for p in home),
            "tasks": tasks,
            "simulated": _simulated(tasks),
            "traffic": _traffic(tally),
            "ups": [self._up(up, by_task(verdicts)) for up in sorted(tally.ups, reverse=True)],
            "prompts": "shown" if self.show_prompts else "masked",
        }

    def _tasks(self, audit: Audit | None, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
        """Every task of a verdict, the audit or the ledger; the busiest first."""
        seen, titles = self.tally.tasks, self._titles()
        events, settings = rungs.events(self.project.path / "rungs.jsonl"), self._settings()
        logged = {task.name: task.calls for task in audit.tasks} if audit else {}
        names = {name for name in (*(v.task for v in verdicts), *logged, *seen) if name}
        busiest = sorted(names, key=lambda n: (-seen.get(n, TaskTally()).calls, -logged.get(n, 0), n))
        found = []
        for name in busiest[:MOST_TASKS]:
            task = seen.get(name, TaskTally())
            ladder = [v for v in verdicts if v.task == name]
            moves = [v for v in ladder if v.decision == "move"]
            shown = sorted(moves, key=lambda v: bool(v.after)) or ladder[:1]
            steps = [self._rung(v, task, events, settings, titles) for v in shown]
            first = (
                steps[0] if steps else {"state": "no verdict", "why": "nothing is proved for this task", "since": ""}
            )
            head = {key: first[key] for key in ("state", "why", "since")}
            found.append(
                {"name": name, **head, "calls": task.calls, "home": share(task.home, task.calls), "rungs": steps}
            )
        return found

    def _rung(
        self, verdict: Verdict, task: TaskTally, events: list[rungs.Event], settings: Settings, titles: dict[str, str]
    ) -> dict[str, Any]:
        sha256 = verdict.student.sha256 if verdict.student else ""
        seen, moves = task.students.get(sha256, StudentTally()), verdict.decision == "move"
        here = rungs.of(events, verdict)
        turn = rungs.last(here, sha256) if moves else None
        is_open = turn is not None and turn["event"] == "opened"
        stage = rungs.stage(here, verdict, turn, seen.home_at) if turn and is_open else None
        frozen = rungs.frozen(here, verdict) if is_open and settings.successor else None
        state, why = _state(verdict, seen, turn, stage, frozen)
        free = self.free.found.get((verdict.task, sha256), Agreement())
        return {
            "state": state,
            "why": why,
            "since": turn["at"] if turn and state in SERVED else "",
            "kind": verdict.kind,
            "student": titles.get(sha256, ""),
            "after": verdict.after[:8],
            "bar": verdict.bar,
            "certified": verdict.kept_home if moves else None,
            "home": share(seen.home, task.calls),
            "asked": seen.share,
            "stage": stage,
            "frozen": frozen,
            "pairs": {"home": _agreement([seen.pairs.own]), "free": _agreement([free.own])},
            "beside": _beside(seen.pairs, free),
            "timeline": rungs.timeline(here, sha256) if moves else [],
        }

    def _settings(self) -> Settings:
        """freehold.toml as it is now; as it was when the page started where it can't be read."""
        path = self.project.path / "freehold.toml"
        try:
            return read_settings(path) if path.exists() else self.project.settings
        except BadSetting:
            return self.project.settings

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


def _saved(tally: Tally) -> dict[str, Any]:
    """What home answers would have cost upstream, less their machine time and the pairs; per month at this pace."""
    span = (tally.last - tally.first) / HOUR if tally.first is not None and tally.last is not None else 0.0
    per_month = tally.saved / span * HOURS if span >= 1.0 else None
    method = f"so far, over {span:.1f} hours, at that pace for {HOURS} hours; the machine's idle time is not in it"
    return {"value": tally.saved, "cost": tally.cost, "n": tally.home, "per_month": per_month, "method": method}


def _agreement(pairs: list[Pairs]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(share(sum(p.agree for p in pairs), sum(p.seen for p in pairs)))
    return found


def _beside(home: Agreement, free: Agreement) -> list[dict[str, Any]]:
    """Agreement with each successor, home pairs and free ones together."""
    models = sorted({*home.beside, *free.beside})
    both = {m: [one.beside[m] for one in (home, free) if m in one.beside] for m in models}
    return [{"model": model, **_agreement(pairs)} for model, pairs in both.items()]


def _state(
    verdict: Verdict,
    seen: StudentTally,
    turn: Mapping[str, Any] | None,
    stage: Mapping[str, Any] | None,
    frozen: Mapping[str, Any] | None,
) -> tuple[str, str]:
    """open, frozen, unmonitored, closed, not served or stays; and why."""
    if verdict.decision != "move" or verdict.student is None:
        return "stays", verdict.reason
    if turn is None:
        return "not served", "certified, and not served since"
    if stage is None:
        return "closed", str(turn.get("why") or "")
    if frozen is not None:
        return "frozen", f"{frozen['model']} answers now; the promise stands as it was"
    watched = _watched(seen, turn, stage)
    if watched is None:
        return "unmonitored", "nothing here says that home answers are asked upstream too"
    if not watched:
        return "unmonitored", "home answers are not asked upstream too, so nobody would see the promise fail"
    return "open", ""


def _watched(seen: StudentTally, turn: Mapping[str, Any], stage: Mapping[str, Any]) -> bool | None:
    """Whether pairs come in. A step is only asked for where they do; else the newest home answer says it."""
    if stage["stepped"] and (seen.share is None or stage["at"] >= seen.home_at):
        return True
    share = turn.get("watched")  # as an older serve wrote it
    if isinstance(share, int | float) and (seen.share is None or turn["time"] > seen.home_at):
        return share > 0
    return None if seen.share is None else seen.share > 0


def _simulated(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the monitor's own simulations say of the rungs that are watched now, each line once."""
    served = [rung for task in tasks for rung in task["rungs"] if rung["state"] == "open"]
    lines = [simulated.line(rung["bar"], rung["asked"] or PAIRS) for rung in served]
    return list(dict.fromkeys(lines))


def _traffic(tally: Tally) -> dict[str, list[int]]:
    """Calls an hour over the last week, with the empty hours in between."""
    if not tally.hours:
        return {"hours": [], "home": [], "up": [], "other": []}
    last = max(tally.hours)
    first = max(min(tally.hours), last - (SHOWN - 1) * HOUR)
    hours = list(range(first, last + 1, HOUR))
    found = [tally.hours.get(h) for h in hours]
    return {
        "hours": hours,
        "home": [h.home if h else 0 for h in found],
        "up": [h.up if h else 0 for h in found],
        "other": [h.other if h else 0 for h in found],
    }
