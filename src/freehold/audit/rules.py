"""How two answers of a task are compared: what the team says in freehold.toml, else what the log's answers allow.

labels → exact   json → json   tools → tools   sql → sql (on the database, where one is given)   text → text, or none

Only the answers that students are fitted on are looked at: a rule that hung on the certifying ones would be chosen by
what it is to judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from freehold.agree import pick_rule
from freehold.nouns import Call, Task
from freehold.project import Settings
from freehold.traffic import Traffic, evidence, split

__all__ = ["ruled", "unused"]


def ruled(task: Task, traffic: Traffic, settings: Settings | None) -> Task:
    """The task with its rule, the reason for it, and its database. Raises BadSetting."""
    said = settings.tasks.get(task.name) if settings else None
    database = said.database if said else ""
    if said and said.rule:
        return replace(task, rule=said.rule, why="as freehold.toml says", database=database)
    calls = _fit_side(task, traffic)
    rule, why = pick_rule(task.kind, [call.answer or "" for call in calls], [task.text(call) or "" for call in calls])
    return replace(task, rule=rule, why=why, database=database if rule == "sql" else "")


def _fit_side(task: Task, traffic: Traffic) -> list[Call]:
    """The calls that tune fits on; all where none would."""
    calls = evidence(task, traffic)
    if task.kind not in ("tools", "text"):  # of the other kinds the rule hangs on the kind alone
        return calls
    return [calls[i] for i in split([task.template.text(call.messages) or "" for call in calls]).fit] or calls


def unused(tasks: Sequence[Task], settings: Settings | None) -> Iterator[str]:
    """What freehold.toml says of tasks that goes unheard, a sentence each."""
    for name, said in settings.tasks.items() if settings else ():
        task = next((one for one in tasks if one.name == name), None)
        if task is None:
            known = ", ".join(one.name for one in tasks) or "none"
            yield f"freehold.toml has settings for {name!r}, which is no task of this log; its tasks: {known}."
        elif said.database and not task.database:
            yield f"{name} has a database in freehold.toml that goes unused: its answers are compared by {task.rule}."
