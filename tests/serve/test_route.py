"""The route is pure: every field decides alone, and what is not understood goes up."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold import wire
from freehold.honour import LONGEST_TEXT
from freehold.nouns import Answer, Slot, Task, Template
from freehold.serve.ladder.route import Rung, route, rung, settle, without

SYSTEM = "Name the intent."
TASK = Task(
    "intents",
    Template((Slot("system", SYSTEM), Slot("user", "Message: ", "\nIntent:", variable=True))),
    "labels",
    10,
    1.0,
    labels=("transfer", "naïve"),
    models=("gpt-4o-mini",),
    params={"temperature": [0, 0.5], "seed": [7], "top_p": [1], "response_format": [{"type": "text"}]},
)
OPEN = rung(TASK, "ab" * 32, 0.9, open=True)


def call(text: str = "move money", **fields: Any) -> Any:
    content = f"Message: {text}\nIntent:"
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
    return wire.call_from_request({"model": "gpt-4o-mini", "messages": messages} | fields)


HONOURED: list[dict[str, Any]] = [
    {},
    {"stream": True, "stream_options": {"include_usage": True}},
    {"stream": False, "user": "u-1", "metadata": {"a": "b"}, "store": True},
    {"temperature": 0, "seed": 7, "top_p": 1},
    {"temperature": 0.5},
    {"temperature": 0.0, "top_p": 1.0},
    {"temperature": None, "n": None, "max_tokens": None},
    {"n": 1},
    {"max_tokens": 8, "max_completion_tokens": 100},
    {"response_format": {"type": "text"}},
]
REFUSED: list[dict[str, Any]] = [
    {"model": "gpt-5"},
    {"model": ""},
    {"temperature": 0.7},
    {"temperature": False},
    {"temperature": "0"},
    {"seed": 8},
    {"n": 2},
    {"n": True},
    {"n": "1"},
    {"max_tokens": 5},
    {"max_tokens": 7.0},
    {"max_completion_tokens": 0},
    {"response_format": {"type": "json_object"}},
    {"stream": "yes"},
    {"stream_options": {"include_usage": True, "more": 1}},
    {"stream_options": []},
    {"stream": True, "stream_options": {"include_usage": "yes"}},
    {"stream": True, "stream_options": {"include_usage": 1}},
    {"stream": True, "stream_options": {"include_usage": None}},
    {"tools": []},
    {"tools": None},
    {"logprobs": True},
    {"stop": ["x"]},
    {"frequency_penalty": 0},
    {"something_new": 1},
]


@pytest.mark.parametrize("fields", HONOURED, ids=str)
def test_home_when_every_field_is_honoured(fields: dict[str, Any]) -> None:
    decision = route(call(**fields), [OPEN])
    assert (decision.where, decision.why, decision.task, decision.text) == ("student", "home", "intents", "move money")


@pytest.mark.parametrize("fields", REFUSED, ids=str)
def test_up_when_any_field_is_not(fields: dict[str, Any]) -> None:
    decision = route(call(**fields), [OPEN])
    assert (decision.where, decision.why, decision.task) == ("upstream", "refused", "intents")
    assert decision.reason
    assert decision.text is None


@given(st.text(min_size=1, max_size=20), st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)))
def test_an_unknown_field_always_goes_up(field: str, value: Any) -> None:
    known = {"model", "messages", *(f for fields in HONOURED for f in fields)}
    if field not in known:
        assert route(call(**{field: value}), [OPEN]).where == "upstream"


def test_the_longest_label_is_what_the_log_says_or_its_bytes() -> None:
    logged = rung(replace(TASK, answer_tokens=3), "ab" * 32, 0.9, open=True)
    assert route(call(max_tokens=3), [logged]).where == "student"
    assert route(call(max_tokens=2), [logged]).where == "upstream"
    assert OPEN.longest == len("transfer") > len("naïve".encode())


def test_a_log_that_names_no_model_asks_for_none() -> None:
    assert route(call(model="anything"), [rung(replace(TASK, models=()), "ab" * 32, 0.9, open=True)]).where == "student"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Message: x\nIntent:"}],
        [{"role": "system", "content": "Name the intent"}, {"role": "user", "content": "Message: x\nIntent:"}],
        [{"role": "developer", "content": SYSTEM}, {"role": "user", "content": "Message: x\nIntent:"}],
        [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Message: x"}],
        [{"role": "system", "content": SYSTEM}, {"role": "user", "content": [{"type": "text", "text": "Message: x"}]}],
        [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Message: x\nIntent:", "name": "bo"}],
        [{"role": "system", "content": SYSTEM}, {"role": "user", "content": None}],
        [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Message: x\nIntent:"}] * 2,
    ],
    ids=str,
)
def test_another_form_is_unmatched(messages: list[dict[str, Any]]) -> None:
    decision = route(call(messages=messages), [OPEN])
    assert (decision.where, decision.why, decision.task) == ("upstream", "unmatched", "")


def test_a_text_longer_than_any_certificate_goes_up() -> None:
    assert route(call("x" * LONGEST_TEXT), [OPEN]).where == "student"
    assert route(call("x" * (LONGEST_TEXT + 1)), [OPEN]).why == "refused"


def test_what_is_longer_than_the_context_or_was_not_finished_goes_up_even_at_a_threshold_of_0() -> None:
    one = replace(OPEN, threshold=0.0, context=512)
    decision = route(call(), [one])
    long = settle(decision, one, Answer("", 0.0, able=False), call())
    assert (long.where, long.reason) == ("upstream", "longer than the student's context: 512 tokens")
    cut = settle(decision, one, Answer('{"a', 0.0, able=False), call())
    assert (cut.where, cut.reason) == ("upstream", "the student's answer was not finished")


def test_a_closed_rung_says_why_and_still_asks_for_the_record() -> None:
    decision = route(call(), [replace(OPEN, open=False, why="the promise fails")])
    assert (decision.where, decision.why, decision.reason) == ("upstream", "closed", "the promise fails")
    assert decision.text == "move money"


def test_a_task_that_stays_is_named() -> None:
    decision = route(call(), [rung(TASK, why="this task stays upstream (need_more)")])
    assert (decision.where, decision.why, decision.task) == ("upstream", "unmatched", "intents")
    assert "need_more" in decision.reason


def test_the_heaviest_template_is_the_task() -> None:
    wide = replace(TASK, name="wide", template=Template((Slot("system", SYSTEM), Slot("user", "", "", variable=True))))
    rungs = sorted([rung(wide, "cd" * 32, 0.9, open=True), OPEN], key=lambda r: r.weight, reverse=True)
    assert route(call(), rungs).task == "intents"


@pytest.mark.parametrize(
    ("score", "where"), [(0.9, "student"), (1.0, "student"), (0.8999, "upstream"), (0.0, "upstream")]
)
def test_the_threshold_is_kept(score: float, where: str) -> None:
    decision = settle(route(call(), [OPEN]), OPEN, Answer("transfer", score), call())
    assert decision.where == where
    assert decision.why == ("home" if where == "student" else "escalated")


def test_a_threshold_of_zero_answers_everything() -> None:
    zero = replace(OPEN, threshold=0.0)
    assert settle(route(call(), [zero]), zero, Answer("transfer", 0.0), call()).where == "student"


def test_a_rung_that_closes_while_the_student_speaks_keeps_nothing_home() -> None:
    decision = settle(
        route(call(), [OPEN]), replace(OPEN, open=False, why="the promise fails"), Answer("transfer", 1.0), call()
    )
    assert (decision.where, decision.why, decision.reason) == ("upstream", "closed", "the promise fails")


@pytest.mark.parametrize(("context", "said"), [(0, ""), (2048, ": 2,048 tokens")])
def test_what_the_student_can_t_read_goes_up_whatever_the_threshold(context: int, said: str) -> None:
    zero = replace(OPEN, threshold=0.0, context=context)
    decision = settle(route(call(), [zero]), zero, Answer("", 0.0, able=False), call())
    assert (decision.where, decision.why) == ("upstream", "refused")
    assert decision.reason == f"longer than the student's context{said}"


def test_a_home_answer_names_its_student() -> None:
    assert OPEN.model == "freehold/intents@abababab"


def test_it_takes_microseconds() -> None:
    asked = call(temperature=0, stream=True, user="u-1", max_tokens=16)
    rungs = [rung(replace(TASK, name=f"t{i}", template=Template((Slot("user", f"{i}"),)))) for i in range(20)] + [OPEN]
    start = time.perf_counter()
    for _ in range(1000):
        route(asked, rungs)
    assert time.perf_counter() - start < 0.2  # 200 microseconds each, ten times what it takes


# a ladder, and what a person declared

SECOND = replace(rung(TASK, "cd" * 32, 0.5, open=True), after=OPEN.student)


def test_what_the_first_is_not_sure_of_goes_to_the_one_proved_on_that() -> None:
    ladder = [OPEN, SECOND]
    first = route(call(), ladder)
    assert first.student == OPEN.student
    assert settle(first, OPEN, Answer("transfer", 0.95), call(), ladder).student == OPEN.student
    for unsure in (Answer("transfer", 0.2), Answer("", 0.0, able=False)):
        further = settle(first, OPEN, unsure, call(), ladder)
        assert (further.where, further.student, further.text) == ("student", SECOND.student, "move money")
        assert settle(further, SECOND, Answer("transfer", 0.6), call(), ladder).why == "home"
        up = settle(further, SECOND, Answer("transfer", 0.4), call(), ladder)
        assert (up.where, up.why, up.reason) == ("upstream", "escalated", "score 0.4000 is below 0.5000")


@pytest.mark.parametrize(
    "first", [replace(OPEN, open=False, why="closed by the monitor"), None], ids=["closed", "gone"]
)
def test_without_the_first_nobody_knows_what_it_leaves(first: Rung | None) -> None:
    decision = route(call(), [SECOND] if first is None else [first, SECOND])
    assert (decision.where, decision.why) == ("upstream", "closed")


def test_a_second_rung_that_is_closed_or_of_another_ladder_is_not_asked() -> None:
    first = route(call(), [OPEN])
    for other in (replace(SECOND, open=False), replace(SECOND, after="ef" * 32), replace(SECOND, after="")):
        assert settle(first, OPEN, Answer("transfer", 0.2), call(), [OPEN, other]).where == "upstream"


def test_never_at_home() -> None:
    decision = route(call(), [replace(OPEN, home=False)])
    assert (decision.where, decision.why, decision.text) == ("upstream", "declared", None)


def test_below_the_bar_only_where_that_is_declared_and_the_answer_is_whole() -> None:
    kept, said = replace(OPEN, leaves=False), replace(OPEN, leaves=False, unsure="answer")
    unsure, cut = Answer("transfer", 0.2), Answer("tran", 0.0, able=False)
    refused = settle(route(call(), [kept]), kept, unsure, call())
    assert (refused.where, refused.why, refused.text) == ("refused", "never_leaves", None)
    assert refused.reason == "score 0.2000 is below 0.9000"
    below = settle(route(call(), [said]), said, unsure, call())
    assert (below.where, below.why, below.reason) == ("student", "below_bar", "score 0.2000 is below 0.9000")
    assert settle(route(call(), [said]), said, cut, call()).where == "refused"
    shut = replace(said, open=False, why="closed by the monitor")
    assert settle(route(call(), [shut]), shut, Answer("transfer", 0.99), call()).why == "below_bar"
    assert route(call(n=2), [said]).where == "refused"  # nothing that was asked is ignored
    assert without(route(call(), [said]), said, "the student is busy").where == "refused"


def test_a_host_outside_the_house_is_not_asked_what_never_leaves_it() -> None:
    first, second = replace(OPEN, leaves=False), replace(SECOND, leaves=False, outside=True)
    assert route(call(), [replace(first, outside=True)]).where == "refused"
    assert settle(route(call(), [first]), first, Answer("x", 0.2), call(), [first, second]).where == "refused"


RUNGS = st.builds(
    replace,
    st.sampled_from([OPEN, SECOND, rung(TASK, why="need_more"), rung(replace(TASK, kind="json"), "ee" * 32, 0.3)]),
    open=st.booleans(),
    home=st.booleans(),
    outside=st.booleans(),
    unsure=st.sampled_from(["refuse", "answer"]),
    threshold=st.sampled_from([0.0, 0.5, 1.0]),
    after=st.sampled_from(["", OPEN.student, SECOND.student]),
)
ANSWERS = st.builds(Answer, st.sampled_from(["transfer", '{"a": 1}', ""]), st.floats(0, 1), st.booleans())
FIELDS = st.sampled_from([*HONOURED, *REFUSED])


LADDERS = st.lists(RUNGS, min_size=1, max_size=4, unique_by=lambda one: one.student)  # a student stands there once


@given(LADDERS, st.booleans(), st.lists(ANSWERS, min_size=1), FIELDS, st.booleans())
def test_every_call_is_answered_sent_or_refused_and_what_is_declared_is_kept(
    rungs: list[Rung], leaves: bool, answers: list[Answer], fields: dict[str, Any], query: bool
) -> None:
    """A task's settings are the same on all its rungs. A call is settled after as many questions as there are rungs."""
    home = rungs[0].home
    ladder = [replace(one, leaves=leaves, home=home, unsure=rungs[0].unsure) for one in rungs]
    asked = call(**fields)
    decision = route(asked, ladder, query=query)
    seen: list[str] = []
    while decision.where == "student":
        one = next(r for r in ladder if r.student == decision.student)
        assert not (one.outside and not leaves)
        if decision.student in seen:
            break
        seen.append(decision.student)
        decision = settle(decision, one, answers[len(seen) % len(answers)], asked, ladder)
    assert len(seen) <= len(ladder)
    assert decision.where in ("student", "upstream", "refused")
    if not leaves:
        assert decision.where != "upstream"
        assert decision.where != "refused" or (decision.why, decision.text) == ("never_leaves", None)
    else:
        assert decision.where != "refused"
        assert decision.why != "below_bar"
    if not home:
        assert not seen
        assert decision.text is None
    if query or any(fields is one for one in REFUSED):  # True equals 1, and only one of them is refused
        assert decision.where != "student"
