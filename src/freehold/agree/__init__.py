"""What agreement means, per kind of task: does our answer agree with the closed model's?

    Task(rule, database, params) ─judge→ Judge ─.agree(ours, theirs)→ bool   ─.fields(ours, theirs)→ {path: bool}

exact             labels: the same text after stripping white space at both ends
json              json_rule.py: equal as JSON values; a field is a path
sql               sql_rule.py: the same result on the task's database, else sql_tree.py: the same syntax tree
tools             tools_rule.py: the same names and arguments, in order; tools-any-order: in any order
text              texts.py: equal but for case, white space and outer punctuation
none              nothing agrees: no rule fits, so the task stays with the closed model

pick_rule says which one a log allows; freehold.toml may name another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.agree import json_rule, texts, tools_rule
from freehold.agree.pick import RULES, pick_rule
from freehold.agree.texts import text_rule
from freehold.agree.tools_rule import accepts
from freehold.errors import BadSetting
from freehold.nouns import Task

if TYPE_CHECKING:
    from freehold.agree.sql_rule import Database

__all__ = ["RULES", "Judge", "accepts", "agree", "judge", "pick_rule", "text_rule"]

ANY_ORDER = "tools-any-order"


@dataclass(frozen=True, slots=True)
class Judge:
    """Compares answers by one rule. Any thread may ask; the same two answers get the same ruling.

    `why` is the reason for the rule, as the audit gave it. `database` is where queries run. `defaults` are what
    tools take for arguments that are left out; none where the tools differ from call to call, as another call's schema
    may say otherwise.
    """

    rule: str = "exact"
    why: str = ""
    database: Database | None = None
    defaults: Mapping[tuple[str, str], Any] = field(default_factory=dict)

    def agree(self, ours: str, theirs: str) -> bool:
        """Does our answer agree with theirs?"""
        if self.rule == "exact":
            return ours.strip() == theirs.strip()
        if self.rule == "json":
            return json_rule.agree(ours, theirs)
        if self.rule == "sql":
            from freehold.agree import sql_rule

            return sql_rule.agree(ours, theirs, self.database)
        if self.rule in ("tools", ANY_ORDER):
            return tools_rule.agree(ours, theirs, self.defaults, any_order=self.rule == ANY_ORDER)
        return self.rule == "text" and texts.agree(ours, theirs)

    def fields(self, ours: str, theirs: str) -> dict[str, bool]:
        """Which parts agree: per path of a JSON answer or of a tool call; for any other rule the whole answer ("")."""
        if self.rule == "json":
            return json_rule.fields(ours, theirs)
        if self.rule in ("tools", ANY_ORDER):
            return tools_rule.fields(ours, theirs, self.defaults, any_order=self.rule == ANY_ORDER)
        return {"": self.agree(ours, theirs)}


def judge(task: Task, *, rule: str | None = None, database: Path | str | None = None) -> Judge:
    """The judge of a task, by its own rule and database unless others are given.

    Raises BadSetting for a rule that is not known, or a database that is absent or no SQLite file.
    """
    rule, file = rule or task.rule, str(database or task.database)
    if rule not in RULES:
        raise BadSetting(f"The rule of {task.name} is {rule!r}.", f"Known: {', '.join(RULES)}.")
    return Judge(
        rule=rule,
        why=task.why,
        database=_database(file) if rule == "sql" and file else None,
        defaults={} if "tools" in task.reads else tools_rule.defaults(task.params.get("tools", [])),
    )


def _database(file: str) -> Database:
    from freehold.agree.sql_rule import Database

    return Database(Path(file))


def agree(ours: str, theirs: str, rule: str = "exact") -> bool:
    """Does our answer agree with the closed model's, by a rule that needs nothing but the two?"""
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}; known: {', '.join(RULES)}")
    return Judge(rule).agree(ours, theirs)
