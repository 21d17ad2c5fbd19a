"""freehold serve --check: which rung honours what the logged requests ask for, before the first of them is served.

    audit (each task's request fields and their values), verdicts, freehold.toml ─check→ rows
        task     asks                 answered by          otherwise
        intents  temperature 0        student 3f2a91c0     below its threshold: up
        intents  logprobs true        upstream             'logprobs' is not a field that the student honours
        orders   tool cancel_order    refused              ...; this task is declared never to leave the house

Pure: nothing is opened, nothing is asked. The same list (honour.py) and words (route.py) as in service. What is
shown of a value is its first characters; a schema, or tools, by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from freehold import wire
from freehold.engines.hosted_form import is_outside
from freehold.errors import BadSetting
from freehold.nouns import Audit, Call, Message, Task, Verdict
from freehold.project import Project, Settings
from freehold.project.settings import TaskSettings
from freehold.serve.ladder.route import Decision, Rung, route, rung

__all__ = ["Row", "check", "check_declared", "notes", "refused", "run", "show"]

WIDEST = 40  # characters of a value
LONGEST_LINE = 10_000  # characters
TOOL_FIELDS = ("tools", "functions")
Outside = Callable[[Verdict], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """`by`: student <sha8>, upstream or refused. `otherwise`: why it is not the student, or what becomes of a call that
    the student is not sure of. `calls` is None where the audit doesn't count such calls by task."""

    task: str
    asks: str
    value: str
    by: str
    otherwise: str
    calls: int | None = None


def check(
    audit: Audit, verdicts: Sequence[Verdict], settings: Settings, *, upstream: bool, outside: Outside | None = None
) -> list[Row]:
    """A row per request field and value that the audit saw, per tool, and for the calls without a task.

    `upstream` says whether a closed API is there to go up to; `outside` whether a verdict's student runs at a host
    outside the house.
    """
    rows: list[Row] = []
    placed = 0
    for task in audit.tasks:
        placed += task.calls
        rungs = _ladder(task, verdicts, settings, outside)
        for field, value, fields in _asks(task):
            decision = route(_call(task, fields), rungs)
            rows.append(_row(task, field, value, decision, rungs, upstream))
    if audit.calls > placed:
        by, why = ("upstream", "") if upstream else ("refused", "; there is no upstream")
        rows.append(Row("(no task)", "any", "", by, f"no task of the log has this form{why}", audit.calls - placed))
    return rows


def check_declared(project: Project, audit: Audit) -> None:
    """What is said of a task must be about one: else its calls would go elsewhere than was said. Raises BadSetting."""
    known = {task.name for task in audit.tasks}
    for name in project.settings.tasks:
        if name not in known:
            hint = f"Known: {', '.join(sorted(known)) or 'none'}."
            raise BadSetting(f"freehold.toml has [tasks.{name}], and the audit has no task of that name.", hint)


def refused(rows: Sequence[Row]) -> bool:
    """Whether any logged kind of request would get no answer at all: the exit code is 1 then."""
    return any(row.by == "refused" for row in rows)


def run(project: Project, *, upstream: bool, as_json: bool) -> int:
    """Print the rows of a project; the exit code. `upstream`: whether one is given for this start."""
    closed = upstream or any(not said.open for said in project.settings.upstreams.values())
    known = {artifact.sha256: artifact for artifact in project.artifacts()}

    def outside(verdict: Verdict) -> bool:
        made = known.get(verdict.student.sha256) if verdict.student is not None else None
        return made is not None and made.kind == "hosted" and is_outside(str(made.recipe["url"]))

    audit = project.load(Audit)
    check_declared(project, audit)
    found = check(audit, project.verdicts(), project.settings, upstream=closed, outside=outside)
    if as_json:
        print(wire.dumps(found).decode())
    else:
        show(found)
        for line in notes(project.settings):
            print(line)
    return 1 if refused(found) else 0


def notes(settings: Settings) -> list[str]:
    """What is declared of tasks, and how a new student begins."""
    lines = [f"{name} is declared never to be answered at home" for name, t in settings.tasks.items() if not t.home]
    for name, said in settings.tasks.items():
        if not said.leaves:
            lines.append(
                f"{name} is declared never to leave the house: unsure calls are {_unsure(False, said.unsure, True)}"
            )
    if settings.rollout.start == "shadow":
        steps = ", ".join(f"{share:.4g}" for share in settings.rollout.steps)
        lines.append(f"A new student starts in shadow, asked and not used; then it answers {steps} of users, then all.")
    return lines


def _ladder(task: Task, verdicts: Sequence[Verdict], settings: Settings, outside: Outside | None) -> list[Rung]:
    said = settings.tasks.get(task.name, TaskSettings())
    declared: dict[str, Any] = {"home": said.home, "leaves": said.leaves, "unsure": said.unsure}
    mine = [v for v in verdicts if v.task == task.name]
    found = [
        replace(
            rung(v.asked or task, v.student.sha256, v.threshold, open=True),
            after=v.after, outside=outside is not None and outside(v), **declared,
        )
        for v in mine
        if v.decision == "move" and v.student is not None and v.threshold is not None
    ]  # fmt: skip
    if found:
        return found
    why = f"this task stays upstream ({mine[0].decision if mine else 'no verdict'})"
    return [replace(rung(task, why=why), **declared)]


def _asks(task: Task) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(field, its value as shown, the request's fields) of each thing that a logged request asks."""
    base = {name: task.params[name][0] for name in (*TOOL_FIELDS, "tool_choice") if task.params.get(name)}
    yield "a plain request", "", dict(base)
    for field, values in task.params.items():
        for value in values:
            if value is None:
                continue
            fields = base | {field: value}
            if field in TOOL_FIELDS and isinstance(value, list):
                for name in _names(value):
                    yield "tool", name, fields
            else:
                yield field, _shown(field, value), fields


def _call(task: Task, fields: Mapping[str, Any]) -> Call:
    """A request of the task's form. Its text is a stand-in: the honours don't hang on it."""
    slots = task.template.slots
    messages: list[Message] = [
        {"role": s.role, "content": f"{s.before}{''.join(s.inside)}{s.after}" if s.variable else s.before}
        for s in slots
    ]
    return Call(tuple(messages), next(iter(task.models), ""), dict(fields), endpoint=task.endpoint)


def _row(task: Task, field: str, value: str, decision: Decision, rungs: Sequence[Rung], upstream: bool) -> Row:
    leaves = rungs[0].leaves
    if decision.where == "student":
        further = next((r for r in rungs if r.after == decision.student), None)
        unsure = f"student {further.student[:8]}, then " if further is not None else ""
        unsure += _unsure(leaves, rungs[0].unsure, upstream)
        return Row(task.name, field, value, f"student {decision.student[:8]}", f"below its threshold: {unsure}")
    if decision.where == "refused":
        never = "this task is declared never to leave the house"
        return Row(task.name, field, value, "refused", f"{decision.reason}; {never}")
    if not upstream:
        return Row(task.name, field, value, "refused", f"{decision.reason}; there is no upstream")
    return Row(task.name, field, value, "upstream", decision.reason)


def _unsure(leaves: bool, unsure: str, upstream: bool) -> str:
    if leaves:
        return "up" if upstream else "refused (no upstream)"
    return "answered, marked below the bar" if unsure == "answer" else "refused (never leaves)"


def _names(tools: Sequence[Any]) -> Iterator[str]:
    for tool in tools:
        said = tool.get("function", tool) if isinstance(tool, dict) else {}
        yield str(said.get("name") or said.get("type") or "?")[:WIDEST] if isinstance(said, dict) else "?"


def _shown(field: str, value: Any) -> str:
    if field == "response_format" and isinstance(value, dict):
        form = value.get("json_schema")
        name = form.get("name", "") if isinstance(form, dict) else ""
        return f"{value.get('type', '')} {name}".strip()[:WIDEST]
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def show(rows: Sequence[Row]) -> None:
    """Print the rows as a table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("task", "asks", "value", "answered by", "otherwise"):
        table.add_column(head)
    for row in rows:
        style = "red" if row.by == "refused" else ""
        table.add_row(*(Text(cell, style=style) for cell in (row.task, row.asks, row.value, row.by, row.otherwise)))
    console = Console(highlight=False)
    wide = console.options.update(max_width=LONGEST_LINE)
    if not console.is_terminal:  # in a file or a pipe nothing is cut: whoever reads it has the room
        console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)
