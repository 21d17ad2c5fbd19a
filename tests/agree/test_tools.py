"""Tool calls: names and arguments, defaults, order, and answers that a person accepts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.agree import Judge, accepts, judge, pick_rule
from freehold.nouns import Slot, Task, Template

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"default": "metric"}, "days": {"default": 1}},
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
J = Judge("tools")
ARGUMENTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2) | st.text("xy", max_size=2), max_size=3)
CALLS = st.lists(st.fixed_dictionaries({"name": st.sampled_from(["f", "g"]), "arguments": ARGUMENTS}), max_size=4)


def say(*calls: tuple[str, dict[str, Any]]) -> str:
    return json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])


def task(tools: list[Any]) -> Task:
    return Task(
        "t", Template((Slot("user", "", variable=True),)), "tools", 1, 1.0, rule="tools", params={"tools": tools}
    )


@given(CALLS, st.randoms(use_true_random=False))
def test_any_order_is_any_order(calls: list[Any], random: Any) -> None:
    moved = [*calls]
    random.shuffle(moved)
    loose = Judge("tools-any-order")
    assert loose.agree(json.dumps(moved), json.dumps(calls, indent=1))
    assert all(loose.fields(json.dumps(moved), json.dumps(calls)).values())
    assert J.agree(json.dumps(moved), json.dumps(calls)) == (moved == calls)


@given(CALLS, CALLS)
def test_agreement_is_symmetric_and_is_all_fields(left: list[Any], right: list[Any]) -> None:
    ours, theirs = json.dumps(left), json.dumps(right)
    for ruling in (J, Judge("tools-any-order")):
        assert ruling.agree(ours, theirs) == ruling.agree(theirs, ours)
        assert ruling.agree(ours, theirs) == all(ruling.fields(ours, theirs).values())
    assert J.agree(ours, theirs) == (left == right)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (say(("f", {"a": 5})), say(("f", {"a": 5.0})), True),
        (say(("f", {"a": 1})), say(("f", {"a": True})), False),
        (say(("f", {"a": 1})), say(("g", {"a": 1})), False),
        (say(("f", {"a": 1})), say(("f", {"a": 1, "b": None})), False),
        (say(("f", {"a": [1, 2]})), say(("f", {"a": [2, 1]})), False),
        (say(("f", {}), ("f", {})), say(("f", {})), False),
        ('[{"name": "f", "arguments": "{\\"a\\": 1}"}]', say(("f", {"a": 1})), True),
        ("Which city?", " Which city?", True),
        ("Which city?", "Which town?", False),
        ("Which city?", say(("f", {})), False),
        ("[]", "", False),
        ('[{"name": "f", "arguments": [1]}]', say(("f", {})), False),
    ],
)
def test_names_and_arguments(ours: str, theirs: str, said: bool) -> None:
    assert J.agree(ours, theirs) is J.agree(theirs, ours) is said


def test_a_default_may_be_said_or_left_out() -> None:
    known = judge(task([TOOLS]))
    full, short = say(("weather", {"city": "Oslo", "unit": "metric", "days": 1.0})), say(("weather", {"city": "Oslo"}))
    assert known.agree(full, short)
    assert known.agree(short, full)
    assert not known.agree(say(("weather", {"city": "Oslo", "unit": "imperial"})), short)
    other = [
        {"type": "function", "function": {"name": "weather", "parameters": {"properties": {"unit": {"default": "x"}}}}}
    ]
    both = judge(task([TOOLS, other]))
    assert not both.agree(say(("weather", {"city": "Oslo", "unit": "metric"})), short)
    assert both.agree(say(("weather", {"city": "Oslo", "days": 1})), short)
    assert (
        judge(task([None, "x", [3], [{"function": 3}], [{"function": {"name": "f", "parameters": []}}]])).defaults == {}
    )


def test_fields_name_the_argument() -> None:
    ours, theirs = say(("f", {"a": 1, "b": 2})), say(("f", {"a": 1, "b": 3}), ("g", {}))
    expected = {
        "[0].name": True,
        "[0].arguments.a": True,
        "[0].arguments.b": False,
        "[1].name": False,
        "[1].arguments": False,
    }
    assert J.fields(ours, theirs) == expected
    assert J.fields(ours, "I can't.") == {"": False}


def test_the_log_says_whether_order_counts() -> None:
    one, two = say(("f", {}), ("g", {})), say(("g", {"a": 1}), ("f", {}))
    assert pick_rule("tools", [one, two])[0] == "tools-any-order"
    assert pick_rule("tools", [one, one, "Which?", "[3]"])[0] == "tools"


ACCEPTED = [
    {
        "book": {
            "city": ["Oslo", "Oslo, NO"],
            "nights": [2],
            "smoking": ["", False],
            "span": [{"low": [1], "high": [2, ""]}],
        }
    }
]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"city": "oslo no", "nights": 2.0, "span": {"low": 1}}, True),
        ({"city": "Oslo", "nights": 2, "smoking": False, "span": {"low": 1, "high": 2}}, True),
        ({"city": "Oslo", "nights": 2, "smoking": 0, "span": {"low": 1}}, False),
        ({"city": "Bergen", "nights": 2, "span": {"low": 1}}, False),
        ({"city": "Oslo", "span": {"low": 1}}, False),
        ({"city": "Oslo", "nights": 2, "span": {"low": 1}, "more": 1}, False),
        ({"city": "Oslo", "nights": 2, "span": {"high": 2}}, False),
    ],
)
def test_accepted_alternatives(arguments: dict[str, Any], said: bool) -> None:
    assert accepts(say(("book", arguments)), ACCEPTED) is said
    assert accepts(say(("book", arguments)), json.dumps(ACCEPTED)) is said
    assert not accepts(say(("cook", arguments)), ACCEPTED)
    assert not accepts("I can't.", ACCEPTED)


def test_accepted_calls_come_in_any_order_and_each_is_used_once() -> None:
    wanted = [{"f": {"a": [1, 2]}}, {"f": {"a": [1]}}]
    assert accepts(say(("f", {"a": 1}), ("f", {"a": 2})), wanted)
    assert not accepts(say(("f", {"a": 2}), ("f", {"a": 2})), wanted)


def test_real_accepted_answers_accept_their_own_first_choice(shared: Path) -> None:
    folder = shared / "data" / "tasks" / "bfcl-tools" / "possible_answer"
    lines = [line for path in sorted(folder.glob("*.json")) for line in path.read_text().splitlines()]
    entries = [json.loads(line)["ground_truth"] for line in lines]
    assert len(entries) > 500

    def first(values: Any) -> Any:
        value = next(v for v in values if v != "")
        return (
            filled(value)
            if isinstance(value, dict)
            else [filled(v) if isinstance(v, dict) else v for v in value]
            if isinstance(value, list)
            else value
        )

    def filled(allowed: dict[str, Any]) -> dict[str, Any]:
        return {name: first(values) for name, values in allowed.items() if "" not in values}

    answers = [say(*((name, filled(args)) for one in entry for name, args in one.items())) for entry in entries]
    assert all(map(accepts, answers, entries))
    others = [*answers[1:], answers[0]]
    assert sum(map(accepts, others, entries)) == 0


def test_a_thousand_calls_in_any_order() -> None:
    loose = Judge("tools-any-order")
    same = say(*[("f", {"a": 1})] * 2000)
    assert loose.agree(same, same.replace("1", "1.0"))
    assert not loose.agree(same, say(*[("f", {"a": 1})] * 1999, ("f", {"a": 2})))


def test_where_the_tools_differ_from_call_to_call_nothing_is_filled_in() -> None:
    several = replace(task([TOOLS]), reads=("tools",))
    assert judge(task([TOOLS])).agree(say(("weather", {})), say(("weather", {"days": 1})))
    assert not judge(several).agree(say(("weather", {})), say(("weather", {"days": 1})))
