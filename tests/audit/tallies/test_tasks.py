"""Tasks counted over the whole log say what tasks found in it say, however it is cut."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.audit.tallies.names import Counts
from freehold.audit.tallies.tally import Seen
from freehold.audit.tallies.tasks import LABELS, LineTally, TaskTally, tasks_of, write_lines
from freehold.nouns import Call, Slot, Task, Template, Tokens
from freehold.traffic import count_calls, find_tasks, read
from freehold.traffic.templates import Index

from .cuts import check_cuts, counted, sent

EXAMPLE = Path(__file__).resolve().parents[3] / "examples"


def looked_at(calls: Sequence[Call], tasks: Sequence[Task]) -> list[Seen]:
    index = Index([task.template for task in tasks], [task.endpoint for task in tasks])
    seen = []
    for number, call in enumerate(calls):
        place = index.of(call.messages, call.endpoint)
        text = tasks[place].text(call) if place >= 0 else None
        seen.append(Seen(call, (number // 100, call.line), place, text, call.tokens))
    return seen


def asked(text: str, answer: str | None, **own: Any) -> Call:
    message = {"role": "assistant", "content": answer} | own.pop("message", {})
    row = {"response": {"choices": [{"message": message, "finish_reason": "stop"}]}}
    messages = ({"role": "system", "content": own.pop("system", "Route.")}, {"role": "user", "content": text})
    return Call(messages, answer=answer, row=row, **({"model": "gpt-4o-mini", "tokens": Tokens(10, 1)} | own))


def test_a_log_that_was_its_own_sample_gives_the_tasks_as_found(shared: Path) -> None:
    for log in (shared / "data" / "mixed" / "calls.jsonl.gz", EXAMPLE / "support-desk" / "calls.jsonl.gz"):
        traffic = read([log])
        tasks = find_tasks(traffic)
        seen = looked_at(traffic.calls, tasks)
        half = len(seen) // 2
        tally = counted(TaskTally, seen[:half], seen[half:])
        assert tasks_of(tasks, tally, count_calls(traffic.calls)) == tasks


def test_odd_calls_count_as_they_do_in_a_log_in_memory() -> None:
    tool = {"function": {"name": "f", "arguments": "{}"}}
    said = {8: "x" * 150, 9: ""}
    calls = [asked(f"text {i}", said.get(i, ("yes", "no", " yes\n")[i % 3]), line=i) for i in range(60)]
    calls[3] = replace(calls[3], answered_by="student", tokens=Tokens(1, 900))
    calls[4] = replace(calls[4], why="pair", params={"seed": 1, "user": "bob", "stop": ["\n"], "top_p": 1})
    odd = {"seed": True, "top_p": 1.0}
    calls[5] = replace(calls[5], params=odd, model="gpt-4o", tokens=Tokens(5, 7, 1, 2, 3, 4, 5))
    calls[6] = replace(calls[6], tokens=None, answer=None, error="500")
    calls += [
        asked(f"do {i}", None, system="Act.", message={"tool_calls": [tool]}, params={"tools": [i % 2]}, line=60 + i)
        for i in range(20)
    ]
    traffic = replace(read([EXAMPLE / "support-desk" / "calls.jsonl.gz"]), calls=tuple(calls))
    tasks = find_tasks(traffic)
    assert {task.kind for task in tasks} == {"labels", "tools"}
    total = count_calls(calls)
    seen = looked_at(calls, tasks)
    assert check_cuts(TaskTally, seen, lambda tally: tasks_of(tasks, tally, total)) == tasks


def test_the_whole_log_corrects_what_a_sample_said() -> None:
    calls = [asked(f"text {i}", f"label {i % 3}", line=i) for i in range(30)]
    calls += [asked(f"new {i}", "rare" if i == 7 else "label 2", line=30 + i, model="gpt-4o") for i in range(70)]
    (sample,) = find_tasks(replace(read([EXAMPLE / "support-desk" / "calls.jsonl.gz"]), calls=tuple(calls[:30])))
    assert (sample.calls, sample.labels, sample.models) == (30, ("label 0", "label 1", "label 2"), ("gpt-4o-mini",))
    (task,) = tasks_of([sample], counted(TaskTally, looked_at(calls, [sample])), 200)
    assert (task.calls, task.share, task.tokens) == (100, 0.5, Tokens(1000, 100))
    assert task.labels == ("label 2", "label 0", "label 1", "rare")
    assert task.models == ("gpt-4o", "gpt-4o-mini")
    assert (task.name, task.template, task.kind) == (sample.name, sample.template, sample.kind)


def test_what_has_no_end_is_a_sample_by_hash_that_no_cut_changes() -> None:
    def counts(texts: Sequence[int]) -> Counts:
        made = Counts(50)
        for n in texts:
            made.add(f"value {n % 300}")
        return made

    numbers = [n * n * n for n in range(2000)]
    whole = counts(numbers)
    assert 0 < len(whole.counts) <= 50
    assert whole.bits > 0
    true = {f"value {r}": sum(n % 300 == r for n in numbers) for r in range(300)}
    assert all(true[text] == n for text, n in whole.counts.items())
    for cut in (1, 77, 1000, 1999):
        one, other = counts(numbers[:cut]), sent(counts(numbers[cut:]))
        one.merge(other)
        assert (one.bits, list(one.counts.items())) == (whole.bits, list(whole.counts.items()))


def test_more_labels_than_are_counted_leave_those_of_the_sample() -> None:
    template = Template((Slot("system", "Route."), Slot("user", "", variable=True)))
    task = Task("t", template, "labels", 1, 1.0, labels=("a",))
    calls = [asked(f"text {i}", f"answer {i}", line=i) for i in range(LABELS + 1)]
    (found,) = tasks_of([task], counted(TaskTally, looked_at(calls, [task])), len(calls))
    assert (found.labels, found.calls) == (("a",), LABELS + 1)


def test_request_fields_without_end_are_not_kept_without_end() -> None:
    task = Task("t", Template((Slot("system", "Route."), Slot("user", "", variable=True))), "text", 1, 1.0)
    calls = [asked("text", "a", line=i, params={f"field {i}": i, "seed": i}) for i in range(3000)]
    tally = counted(TaskTally, looked_at(calls[:1500], [task]), looked_at(calls[1500:], [task]))
    (found,) = tasks_of([task], tally, len(calls))
    assert len(tally.tasks[0].values) <= 1000
    assert all(len(values) <= 32 for values in found.params.values())


@pytest.mark.parametrize("spilled", [False, True])
def test_every_call_has_its_line_in_the_log_s_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spilled: bool
) -> None:
    if spilled:
        monkeypatch.setattr("freehold.audit.tallies.tasks.AT_ONCE", 3)
    calls = [asked("x", "a", line=i) for i in range(1, 21)]
    seen = [Seen(call, (i // 10, call.line), i % 3 - 1) for i, call in enumerate(calls)]

    def rows(tally: LineTally) -> list[list[str]]:
        write_lines(tally, ["route", "=1+1"], ["a.jsonl", '-b,".jsonl'], tmp_path / "lines.csv")
        return list(csv.reader((tmp_path / "lines.csv").read_text().splitlines()))

    said = check_cuts(lambda: LineTally(str(tmp_path)), seen, rows)
    assert said[0] == ["file", "line", "task"]
    assert said[1:4] == [["a.jsonl", "1", ""], ["a.jsonl", "2", "route"], ["a.jsonl", "3", "'=1+1"]]
    assert said[-1] == ["'-b,\".jsonl", "20", "route"]
    assert [int(row[1]) for row in said[1:]] == list(range(1, 21))


def test_one_file_needs_no_column_for_it(tmp_path: Path) -> None:
    tally = LineTally()
    tally.add([Seen(asked("x", "a"), (part, part + 1), part - 1) for part in range(2)])
    write_lines(tally, ["route"], ["a.jsonl", "a.jsonl"], tmp_path / "lines.csv")
    assert (tmp_path / "lines.csv").read_text() == "line,task\n1,\n2,route\n"
