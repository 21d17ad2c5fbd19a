"""How two answers of a task are compared: what the team says in freehold.toml, else what the log's answers allow.

labels → exact   json → json   tools → tools   sql → sql (on the database, where one is given)   text → text, or none
"""

from __future__ import annotations

from dataclasses import replace

from freehold.agree import pick_rule
from freehold.nouns import Task
from freehold.project import Settings
from freehold.traffic import Traffic, evidence

__all__ = ["ruled"]


def ruled(task: Task, traffic: Traffic, settings: Settings | None) -> Task:
    """The task with its rule, the reason for it, and its database. Raises BadSetting."""
    said = settings.tasks.get(task.name) if settings else None
    database = said.database if said else ""
    if said and said.rule:
        return replace(task, rule=said.rule, why="as freehold.toml says", database=database)
    calls = evidence(task, traffic)
    rule, why = pick_rule(task.kind, [call.answer or "" for call in calls], [task.text(call) or "" for call in calls])
    return replace(task, rule=rule, why=why, database=database)
