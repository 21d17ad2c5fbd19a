"""The promise is about what is served: every call counts that the server would meet, and none that it would refuse."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from freehold.audit import audit
from freehold.errors import ArtifactDamaged
from freehold.measure import Certificate, certify, grid
from freehold.nouns import Measure, Verdict
from freehold.prove import prove, without_student
from freehold.prove.decide import decide
from freehold.prove.describe import clustered
from freehold.traffic import evidence, read, split
from freehold.tune.rows import rows_of

from .conftest import artefact

World = Any
Row = dict[str, Any]
Make = Callable[..., World]
TOOL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
WITHOUT_TEXT = [
    {"role": "assistant", "content": None, "refusal": "I can't help with that."},
    {"role": "assistant", "content": "", "refusal": "I can't help with that."},
    {"role": "assistant", "content": None, "tool_calls": [TOOL]},
    {"role": "assistant", "content": "one moment", "function_call": {"name": "look_up", "arguments": "{}"}},
]


def answered(rows: list[Row], each: int, message: Row | None, finish: str = "stop") -> list[Row]:
    """The rows, every `each`-th with another answer."""
    found = copy.deepcopy(rows)
    for row in found[::each]:
        choice = row["response"]["choices"][0]
        choice["finish_reason"] = finish
        choice["message"] = message or choice["message"]
    return found


def asking(rows: list[Row], each: int = 1, **more: Any) -> list[Row]:
    """The rows, every `each`-th with further fields in its request."""
    found = copy.deepcopy(rows)
    for row in found[::each]:
        row["request"] |= more
    return found


def found(verdict: Verdict) -> Any:
    assert verdict.evidence is not None
    return verdict.evidence


def test_the_task_as_proved_stands_in_the_verdict(world: Make) -> None:
    w = world()
    verdict = prove(*w.proof, bar=0.9)
    assert verdict.asked == w.task
    assert w.project.verdicts()[0].asked == w.task


def test_another_allow_list_is_another_verdict_but_no_opening(world: Make) -> None:
    w = world()
    prove(*w.proof, bar=0.9)
    wider = replace(w.task, models=(*w.task.models, "gpt-5"))
    verdict = prove(wider, w.student, w.artifact, w.traffic, w.project, bar=0.9)
    assert verdict.asked == wider
    assert len(w.project.rows("openings.jsonl")) == 1


@pytest.mark.parametrize("message", WITHOUT_TEXT)
def test_every_third_answer_without_text_disagrees(world: Make, rows: list[Row], message: Row) -> None:
    """The student is never wrong where there is a text; a third of what it would keep was answered otherwise."""
    w = world(answered(rows[:2400], 3, message), worst=0.0)
    verdict = prove(*w.proof, bar=0.9)
    assert (verdict.decision, verdict.threshold) == ("stay", None)
    assert verdict.agreement.value == pytest.approx(2 / 3, abs=0.06)
    assert found(verdict).no_text > 100
    assert any("refused, or answered in another kind" in note for note in verdict.notes)
    assert not any(call.answer in ("", "one moment") for call in evidence(w.task, w.traffic))


def test_what_tune_fits_stays_what_it_was(world: Make, rows: list[Row]) -> None:
    """Calls without text never move a call between the sides."""
    w = world(answered(rows[:2400], 3, WITHOUT_TEXT[0]))
    calls = evidence(w.task, w.traffic)
    texts = [w.task.template.text(c.messages) or "" for c in calls]
    assert rows_of(w.task, w.traffic).texts == [texts[i] for i in split(texts).fit]
    prove(*w.proof, bar=0.9)
    assert not w.fit & set(w.student.asked)


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_cut_answers_lower_the_share_and_nothing_else(world: Make, rows: list[Row], finish: str) -> None:
    w = world(answered(rows[:2400], 3, None, finish), worst=0.0)
    verdict = prove(*w.proof, bar=0.9)
    assert verdict.decision == "move"
    assert verdict.agreement.value == 1.0
    assert verdict.kept_home.value == pytest.approx(2 / 3, abs=0.06)
    assert verdict.kept_home.n == found(verdict).cal_groups + found(verdict).failed
    assert any("have no whole answer" in note for note in verdict.notes)


def test_a_failure_is_no_evidence(world: Make, rows: list[Row]) -> None:
    failed = copy.deepcopy(rows[:2400])
    for row in failed[::3]:
        row["response"] = {"error": {"message": "overloaded"}}
    for row in failed[1::3]:
        row["freehold"] = {"answered_by": "upstream", "why": "closed", "status": "partial"}
    verdict = prove(*world(failed, worst=0.0).proof, bar=0.9)
    assert found(verdict).no_text == 0
    assert verdict.kept_home.value == pytest.approx(1 / 3, abs=0.06)


def test_what_the_server_sends_up_is_not_kept(world: Make, rows: list[Row]) -> None:
    verdict = prove(*world(asking(rows[:2400], 2, stop=["\n"]), worst=0.0).proof, bar=0.9)
    assert verdict.decision == "move"
    assert verdict.kept_home.value == pytest.approx(1 / 2, abs=0.06)
    assert verdict.kept_home.n == found(verdict).cal_groups + found(verdict).not_honoured
    assert f"{found(verdict).not_honoured:,} of {verdict.kept_home.n:,} requests set stop: the server" in str(
        verdict.notes
    )


def test_every_request_sets_stop(world: Make, rows: list[Row]) -> None:
    w = world(asking(rows[:2400], stop=["\n"]), worst=0.0)
    verdict = prove(*w.proof, bar=0.9)
    assert (verdict.decision, verdict.kept_home.value) == ("stay", 0.0)
    assert "every request sets stop: the server sends them up" in verdict.reason
    assert w.student.asked == []
    assert w.project.verdicts() == (verdict,)


def test_a_share_is_useful_of_all_calls(world: Make, rows: list[Row]) -> None:
    """All of the 4 % that the server honours certify, and that is no move."""
    scores, ok = [0.9] * 160, [True] * 160
    g = grid(scores, ok, n=160, bar=0.95)
    c = certify(g, scores, ok)
    assert decide(g, c, 640, 160).decision == "move"
    said = decide(g, c, 16000, 4000, "3,840 of 4,000 requests set stop: the server sends them up")
    assert said.decision == "stay"
    assert "4.0 % of the calls only" in said.reason
    assert "set stop" in said.reason


def repeated(world: Make, rows: list[Row], times: int = 400) -> tuple[World, str]:
    """One held text asked `times` more, and the student wrong and sure of it."""
    plain = world(rows[:2400], worst=0.0, name="plain")
    calls = evidence(plain.task, plain.traffic)
    texts = [plain.task.template.text(c.messages) or "" for c in calls]
    at = int(split(texts).cal[0])
    w = world([*rows[:2400], *[rows[at]] * times], worst=0.0)
    w.student.script[texts[at]] = ("wrong", 1.0)
    return w, texts[at]


def test_repeats_that_the_student_loses_are_said_first(world: Make, rows: list[Row]) -> None:
    w, _ = repeated(world, rows)
    verdict = prove(*w.proof, bar=0.9)
    assert verdict.decision == "move"
    per_call = found(verdict).per_call
    assert per_call.value == pytest.approx(1 - 401 / per_call.n)
    assert per_call.value < 0.9 < (verdict.agreement.value or 0)
    assert verdict.notes[0].startswith("WARNING: per call, counting repeats, agreement is ")
    assert "below the bar: the promise is per distinct request" in verdict.notes[0]
    assert found(verdict).kept_per_call.n == per_call.n  # every call is kept


def test_per_call_is_the_same_without_repeats(world: Make) -> None:
    verdict = prove(*world().proof, bar=0.9)
    assert found(verdict).per_call.value == pytest.approx(verdict.agreement.value, abs=0.03)
    assert found(verdict).kept_per_call.value == pytest.approx(verdict.kept_home.value, abs=0.03)
    assert any(note.startswith("Per call, counting repeats: agreement ") for note in verdict.notes)


def test_an_interval_of_calls_that_hang_together() -> None:
    import numpy as np

    ok = np.tile([True, False], 100)
    once = clustered(np.arange(200), ok, 0.95, "calls")
    four = clustered(np.repeat(np.arange(200), 4), np.repeat(ok, 4), 0.95, "calls")
    assert (once.value, four.value, four.n) == (0.5, 0.5, 800)
    assert (four.low, four.high) == (pytest.approx(once.low, abs=1e-3), pytest.approx(once.high, abs=1e-3))
    sure = clustered(np.repeat(np.arange(50), 10), np.ones(500, bool), 0.95, "calls")
    assert sure.low == pytest.approx(0.025 ** (1 / 50))  # of 50 groups, not 500 calls


def test_no_pace_in_the_audit_is_no_money(world: Make) -> None:
    w = world()
    none = replace(audit(w.traffic), per_month=Measure(None, unit="USD/month"))
    assert prove(*w.proof, bar=0.9, audit=none).money["saved"].value is None


def test_an_hour_of_log_has_no_pace(world: Make, rows: list[Row]) -> None:
    hour = [copy.deepcopy(row) | {"timestamp": 1790845964 + i} for i, row in enumerate(rows[:2400])]
    assert {m.value for m in prove(*world(hour).proof, bar=0.9).money.values()} == {None}


def test_a_known_answer_reports_the_looks_of_today(world: Make) -> None:
    """Student A, then B, then A again."""
    a, b = world(), world(worst=0.1)
    prove(*a.proof, bar=0.9)
    prove(*b.proof, bar=0.9)
    again = prove(*a.proof, bar=0.9)
    assert (found(again).opening, found(again).joint_confidence) == (2, 0.9)
    assert "Opening 2 of these certification calls: joint confidence >= 0.9." in again.notes
    assert len(a.project.rows("openings.jsonl")) == 2


def test_a_saved_verdict_is_refreshed(world: Make) -> None:
    w = world()
    first = prove(*w.proof, bar=0.9)
    prove(*w.proof, bar=0.8)
    w.project.save(first)  # as another copy of the folder would have it
    asked = len(w.student.asked)
    again = prove(*w.proof, bar=0.9)
    assert len(w.student.asked) == asked
    assert (found(again).opening, found(again).joint_confidence) == (2, 0.9)
    assert w.project.verdicts() == (again,)
    assert sum(note.startswith("Opening ") for note in again.notes) == 1
    assert prove(*w.proof, bar=0.9) == again


@pytest.mark.parametrize(
    "line", ['{"question": "x"', "[]", '{"question": "x", "confidence": 0.95}', '{"other": 1}', "\udcff",
             '{"question": "x", "confidence": 7, "calls": []}'],
)  # fmt: skip
def test_a_damaged_row_of_openings(world: Make, line: str) -> None:
    w = world()
    prove(*w.proof, bar=0.9)
    with (w.project.path / "openings.jsonl").open("a", errors="surrogateescape") as file:
        file.write(line + "\n")
    with pytest.raises(ArtifactDamaged, match=r"openings.jsonl, line 2, is no row of openings"):
        prove(*w.proof, bar=0.8)


def test_a_bar_below_the_plan_s(world: Make) -> None:
    from freehold.plan import plan

    w = world()
    few = replace(w.task, calls=100)
    (step,) = plan(replace(audit(w.traffic), tasks=(few,))).tasks
    assert step.go == "too_few"
    verdict = without_student(few, step, bar=0.8, confidence=0.95)
    assert (verdict.decision, verdict.needed) == ("stay", None)
    assert "A proof at bar 0.8 asks for at least 56 calls" in verdict.reason
    assert "0.9" not in verdict.reason
    surer = without_student(few, step, bar=0.8, confidence=0.9999)
    assert (surer.decision, surer.needed) == ("need_more", 4 * 42 - 100)


def test_at_best_tells_of_how_many() -> None:
    scores, ok = [0.9, *[0.1] * 16], [True, *[False] * 16]
    g = grid(scores, ok, n=17, bar=0.95)
    c = certify(g, scores, ok)
    assert isinstance(c, Certificate)
    assert "at best 1 of 1 kept calls agree, of 17 in all" in decide(g, c, 68, 17).reason


def test_a_refused_near_duplicate_of_a_fitted_text_stays_out(world: Make, rows: list[Row]) -> None:
    """Where the answered near-duplicates went, there goes the refused one: the draw of sides is of groups."""
    w = world(rows[:1200])
    fitted = [row for row in rows[:1200] if row["request"]["messages"][1]["content"] in w.fit][:50]
    refused = answered(fitted, 1, WITHOUT_TEXT[0])
    log = w.project.path.parent / "with-refusals.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in [*rows[:1200], *refused]))
    traffic = read([log])
    (task,) = audit(traffic).tasks
    artifact = artefact(w.project, task, traffic, [*rows_of(task, traffic).texts], w.student.script)
    verdict = prove(task, w.student, artifact, traffic, w.project, bar=0.9)
    assert found(verdict).no_text == 0
    assert not w.fit & set(w.student.asked)
