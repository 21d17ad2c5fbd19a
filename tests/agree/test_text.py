"""Labels and free text, and the rule that a log allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.agree import RULES, Judge, agree, pick_rule, text_rule
from freehold.agree.texts import normalise

T = Judge("text")
ESSAYS = [
    f"On the matter of {i}, much could be said, and in {i * 7} ways; what follows is one of them, {i}."
    for i in range(50)
]


@given(st.text())
def test_normalising_comes_to_rest(text: str) -> None:
    assert T.agree(text, text)
    assert T.agree(f"  {text.casefold()}\n", text)
    assert T.agree(f'"{text}".', text) or not normalise(text)
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(), st.text())
def test_agreement_is_symmetric(left: str, right: str) -> None:
    assert T.agree(left, right) == T.agree(right, left)
    assert agree(left, right) == (left.strip() == right.strip())


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ("Paris.", "paris", True),
        ("“Paris”", " PARIS ", True),
        ("the\n cat", "The cat", True),
        ("Ｐａｒｉｓ", "Paris", True),
        ("café", "cafe\u0301", True),
        ("**Yes**", "yes", True),
        ("vitamin a", "vitamin", False),
        ("1.5", "15", False),
        ("-5", "5", False),
        ("10²", "102", False),
        ("Is it?", "Is it", False),
        ("6'", "6", False),
        ("...", "!!!", False),
        ("", "", True),
    ],
)
def test_what_counts(left: str, right: str, said: bool) -> None:
    assert T.agree(left, right) is said


@pytest.mark.parametrize(
    ("answers", "texts", "rule", "why"),
    [
        ([], [], "none", "No answer"),
        (ESSAYS, [], "none", "long"),
        (["Paris", "Rome", "Oslo", "Paris"], [], "exact", "never writes"),
        (["Paris", "paris.", "Oslo"], [], "text", "varies"),
        (ESSAYS[:2] * 20, [], "exact", "come again"),
        (["a", "b"] * 30, [f"q{i // 2}" for i in range(60)], "none", "0 of 30"),
        (["a", "A"] * 30, [f"q{i // 2}" for i in range(60)], "text", "varies"),
    ],
)
def test_the_log_says_whether_text_can_be_compared(answers: list[str], texts: list[str], rule: str, why: str) -> None:
    assert (found := text_rule(answers, texts))[0] == rule
    assert why in found[1]
    assert pick_rule("text", answers, texts) == found


@pytest.mark.parametrize(("kind", "rule"), [("labels", "exact"), ("json", "json"), ("sql", "sql"), ("tools", "tools")])
def test_a_kind_has_its_rule(kind: str, rule: str) -> None:
    found, why = pick_rule(kind, ["{}", "x"])  # type: ignore[arg-type]
    assert found == rule
    assert ("1 of 2" in why) == (kind == "json")


def test_where_no_rule_fits_nothing_agrees() -> None:
    judge = Judge("none", "too long")
    assert not judge.agree("a", "a")
    assert judge.fields("a", "a") == {"": False}
    assert judge.why == "too long"


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "none"])
def test_every_rule_is_asked_by_name(rule: str) -> None:
    answers = {"json": ("[1]", "[ 1.0]"), "sql": ("select 1", "SELECT 1;")}
    assert agree(*answers.get(rule, ("a", "a ")), rule)
    with pytest.raises(ValueError, match="known: exact"):
        agree("a", "a", rule + "x")


def test_json_in_a_fence_is_json() -> None:
    fenced = [f'```json\n{{"id": {i}, "text": "{"long words " * 20}"}}\n```' for i in range(20)]
    assert pick_rule("text", fenced)[0] == "json"
    assert pick_rule("text", [*fenced, "I can't."])[0] == "json"
    assert pick_rule("text", [*fenced, *["I can't say " * 20] * 3])[0] == "none"
    assert pick_rule("text", [f"```\n{i}\n```" for i in range(20)])[0] != "json"
