"""Tasks are found without tags, and every call goes to one of them at most."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.nouns import Call
from freehold.traffic import calls_of, evidence, find_tasks, read, task_of
from freehold.traffic.templates import Index

from .conftest import LOG, Pair, row

Write = Callable[..., Path]


def test_the_bundled_log_is_one_task_of_151_labels() -> None:
    traffic = read([LOG])
    (task,) = find_tasks(traffic)
    assert (task.name, task.kind, task.calls, task.share, len(task.labels)) == (
        "support-desk-router",
        "labels",
        23700,
        1.0,
        151,
    )
    assert task.labels[0] == "out_of_scope"
    assert task.params == {"temperature": [0]}
    assert [slot.variable for slot in task.template.slots] == [False, True]
    assert task.models == ("gpt-4o-mini",)
    assert task.answer_tokens is not None
    assert len(evidence(task, traffic)) == 23700


def test_without_a_system_message_plain_questions_stay_one_task(write: Write, utterances: list[Pair]) -> None:
    (task,) = find_tasks(read([write([row(text, label, system=None) for text, label in utterances])]))
    assert (task.name, task.kind, task.calls) == ("chat", "labels", 6000)
    assert task.template.slots[0].before == ""


def test_fixed_text_around_the_callers_own_is_cut_off(write: Write, utterances: list[Pair]) -> None:
    rows = [row(f"Classify this ticket: {text}\nLabel:", label, system=None) for text, label in utterances[:300]]
    rows += [row(f"Translate to French:\n\n{text}", text, system=None) for text, _ in utterances[300:500]]
    traffic = read([write(rows)])
    tickets, french = find_tasks(traffic)
    assert (tickets.name, tickets.calls, tickets.kind) == ("classify-ticket", 300, "labels")
    assert (french.name, french.calls, french.kind) == ("translate-french", 200, "text")
    assert tickets.template.text(traffic.calls[0].messages) == utterances[0][0]
    assert (tickets.template.slots[0].before, tickets.template.slots[0].after) == ("Classify this ticket: ", "\nLabel:")


def test_a_shared_ending_alone_makes_a_task(write: Write, utterances: list[Pair]) -> None:
    rows = [row(f"{text}\nThink step by step, then answer.", text, system=None) for text, _ in utterances[:200]]
    rows += [row(text, label, system=None) for text, label in utterances[200:600]]
    plain, steps = find_tasks(read([write(rows)]))
    assert (plain.calls, steps.calls) == (400, 200)
    assert steps.template.slots[0].after == "\nThink step by step, then answer."


def test_one_general_system_prompt_over_two_jobs(write: Write, utterances: list[Pair]) -> None:
    general = "You are a helpful assistant."
    rows = [row(f"Classify this ticket: {text}", label, system=general) for text, label in utterances[:200]]
    rows += [
        row(f"Name the mood of: {text}", "calm" if i % 2 else "angry", system=general)
        for i, (text, _) in enumerate(utterances[200:400])
    ]
    assert {task.name for task in find_tasks(read([write(rows)]))} == {"classify-ticket", "name-mood"}


def test_a_system_prompt_with_a_date_in_it_is_one_task(write: Write, utterances: list[Pair]) -> None:
    rows = [
        row(text, label, system=f"You route tickets for a bank. Today is day {i}.\nOne label only.")
        for i, (text, label) in enumerate(utterances[:200])
    ]
    (task,) = find_tasks(read([write(rows)]))
    assert task.calls == 200
    assert task.template.slots[0].before.startswith("You route tickets for a bank. ")
    assert task.template.slots[0].after == "\nOne label only."


def test_worked_examples_before_the_question_are_fixed(write: Write, utterances: list[Pair]) -> None:
    rows = []
    for text, label in utterances[:50]:
        made = row(text, label)
        made["request"]["messages"][1:1] = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "greeting"},
        ]
        rows.append(made)
    (task,) = find_tasks(read([write(rows)]))
    assert [slot.variable for slot in task.template.slots] == [False, False, False, True]


def test_messages_that_are_not_plain_text_belong_to_no_task(write: Write) -> None:
    rows = [row(f"text {i}", "a") for i in range(20)]
    rows[3]["request"]["messages"][1]["content"] = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    rows[4]["request"]["messages"][1]["name"] = "bob"
    traffic = read([write(rows)])
    (task,) = find_tasks(traffic)
    assert (task.calls, task.share) == (18, 0.9)
    assert [c.line for c in calls_of(task, traffic)] == [i for i in range(1, 21) if i not in (4, 5)]


def test_a_request_goes_to_the_task_with_the_most_fixed_text(write: Write, utterances: list[Pair]) -> None:
    rows = [row(f"Classify this ticket: {text}", label, system=None) for text, label in utterances[:100]]
    rows += [row(text, label, system=None) for text, label in utterances[100:300]]
    traffic = read([write(rows)])
    tasks = find_tasks(traffic)
    for messages, name in [("Classify this ticket: lost card", "classify-ticket"), ("lost card", "chat")]:
        found = task_of(tasks, [{"role": "user", "content": messages}])
        assert found is not None
        assert found.name == name
    assert task_of(tasks, [{"role": "system", "content": "?"}, {"role": "user", "content": "lost card"}]) is None
    for task in tasks:
        assert all(task_of(tasks, call.messages) is task for call in calls_of(task, traffic))
    index = Index([task.template for task in tasks])
    for call in traffic.calls:
        place, own = index.match(call.messages)
        assert own == tasks[place].template.variables(call.messages)
        assert tasks[place].with_fields("\n".join(own), call) == tasks[place].text(call)
    assert index.match([{"role": "user", "content": None}]) == (-1, ())


def test_names_stay_as_the_log_grows(write: Write, utterances: list[Pair]) -> None:
    def asked(system: str, part: list[Pair]) -> list[dict[str, object]]:
        return [row(text, label, system=system) for text, label in part]

    rows = asked("Route the ticket. Be brief.", utterances[:50]) + asked(
        "Route the ticket. Be kind.", utterances[50:90]
    )
    before = {t.template: t.name for t in find_tasks(read([write(rows)]))}
    rows += asked("Route the ticket. Be kind.", utterances[90:300]) + asked(
        "Route the ticket. Be quick.", utterances[300:350]
    )
    after = {t.template: t.name for t in find_tasks(read([write(rows)]))}
    assert sorted(after.values()) == ["route-ticket", "route-ticket-2", "route-ticket-3"]
    assert before == {template: after[template] for template in before}


def test_an_older_template_still_finds_its_calls(write: Write) -> None:
    traffic = read([write([row(f"text {i}", "a") for i in range(10)])])
    (task,) = find_tasks(traffic)
    grown = read([write([row(f"text {i}", "a", system="Other rule.") for i in range(10)])])
    assert len(calls_of(task, traffic)) == 10
    assert calls_of(task, grown) == []


def test_only_whole_answers_of_the_closed_model_are_evidence(write: Write) -> None:
    rows = [row(f"text {i}", "a" if i % 2 else "b") for i in range(10)]
    rows[0]["freehold"] = {"answered_by": "student"}
    rows[1]["freehold"] = {"answered_by": "replay"}
    rows[2]["freehold"] = {"answered_by": "upstream", "why": "pair", "probability": 0.02}
    rows[3]["response"]["choices"][0]["finish_reason"] = "length"
    traffic = read([write(rows)])
    (task,) = find_tasks(traffic)
    assert [c.line for c in evidence(task, traffic)] == [3, 5, 6, 7, 8, 9, 10]
    assert task.calls == 9  # a pair asks again about a call that is already counted
    assert task.share == 1.0


def test_a_mixed_log_of_25_tasks(shared: Path) -> None:
    from sklearn.metrics import adjusted_rand_score

    traffic = read([shared / "data" / "mixed" / "calls.jsonl.gz"])
    with gzip.open(shared / "data" / "mixed" / "truth.csv.gz", "rt") as file:
        truth = {int(r["line"]): r["task"] for r in csv.DictReader(file)}
    found: list[tuple[Call, str]] = [(c, t.name) for t in find_tasks(traffic) for c in calls_of(t, traffic)]
    assert len(found) == len(traffic.calls)
    score = adjusted_rand_score([truth[c.line] for c, _ in found], [name for _, name in found])
    assert score > 0.98
    mixed = {name: Counter[str]() for _, name in found}
    for call, name in found:
        mixed[name][truth[call.line]] += 1
    purity = sum(max(counts.values()) for counts in mixed.values())
    assert purity == len(found)  # one task may be found in parts; two are never one


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_handful_of_calls_is_a_task_with_everything_variable(write: Write, n: int) -> None:
    (task,) = find_tasks(read([write([row("the same text", "a", system=None) for _ in range(n)])]))
    assert (task.calls, task.example) == (n, "the same text")
    assert task.template.slots[0].variable
