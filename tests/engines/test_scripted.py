"""The scripted student: what it answers, what it remembers, what it refuses."""

import pytest

from freehold.engines.scripted import ScriptedStudent
from freehold.nouns import Answer, Student


def test_it_answers_from_its_script_and_remembers() -> None:
    student: Student = ScriptedStudent({"a": ("x", 0.9)}, otherwise=("y", 0.0))
    assert student.answers(["a", "b"]) == [Answer("x", 0.9), Answer("y", 0.0)]
    assert isinstance(student, ScriptedStudent)
    assert student.asked == ["a", "b"]


def test_a_text_outside_the_script_is_an_error() -> None:
    with pytest.raises(KeyError):
        ScriptedStudent({"a": ("x", 0.9)}).answers(["b"])


def test_a_score_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        ScriptedStudent({"a": ("x", 1.5)})
