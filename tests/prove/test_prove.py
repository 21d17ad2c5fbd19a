"""The verb on a real log slice: the verdict, what it rests on, and that nothing else is looked at."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from freehold.audit import audit
from freehold.errors import BadSetting, ProjectMissing
from freehold.measure import certify, grid
from freehold.nouns import TaskPlan
from freehold.prove import prove, without_student
from freehold.prove.show import sentence, show
from freehold.traffic import evidence, split

World = Any
Make = Callable[..., World]


def test_a_good_student_moves(world: Make) -> None:
    w = world()
    verdict = prove(*w.proof, bar=0.9, audit=audit(w.traffic))
    assert verdict.decision == "move"
    assert verdict.needed is None
    assert verdict.threshold is not None
    assert verdict.agreement.low == 0.9
    assert "what is guaranteed is the bar" in verdict.agreement.method
    assert verdict.agreement.value is not None
    assert verdict.agreement.value > 0.9
    assert verdict.evidence is not None
    assert verdict.kept_home.n == verdict.evidence.cal_groups
    assert verdict.kept_home.value == pytest.approx(verdict.agreement.n / verdict.kept_home.n)
    assert verdict.evidence.lower_after_selection is not None
    assert verdict.evidence.lower_after_selection >= 0.9
    assert verdict.student is not None
    assert verdict.student.sha256 == w.artifact.sha256
    assert w.project.verdicts() == (verdict,)


def test_the_verdict_is_the_certificate_of_the_held_out_calls(world: Make) -> None:
    w = world()
    verdict = prove(*w.proof, bar=0.9)
    calls = evidence(w.task, w.traffic)
    texts = [w.task.template.text(c.messages) or "" for c in calls]
    parts = split(texts)
    said = w.student.script

    def pairs(at: Any) -> tuple[Any, Any]:
        return np.array([said[texts[i]][1] for i in at]), np.array([said[texts[i]][0] == calls[i].answer for i in at])

    expected = certify(grid(*pairs(parts.fit), n=len(parts.cal), bar=0.9), *pairs(parts.cal))
    assert verdict.threshold == expected.threshold
    assert verdict.curve == expected.curve()


def test_no_fit_call_is_ever_asked(world: Make) -> None:
    w = world()
    prove(*w.proof, bar=0.9)
    assert not w.fit & set(w.student.asked)


def test_a_student_of_another_state_of_the_log_is_refused(world: Make, rows: list[dict[str, Any]]) -> None:
    """New calls may join two groups, and a call that was fitted could then certify."""
    old, grown = world(rows[:1200]), world(rows[:1400])
    with pytest.raises(ProjectMissing, match="has changed since the student"):
        prove(grown.task, grown.student, old.artifact, grown.traffic, grown.project, bar=0.9)
    assert grown.project.rows("openings.jsonl") == []


def test_labels_add_up_worst_first(world: Make) -> None:
    verdict = prove(*world().proof, bar=0.9)
    assert verdict.evidence is not None
    assert sum(row.calls for row in verdict.labels) == verdict.evidence.cal_groups
    assert sum(row.kept for row in verdict.labels) == verdict.agreement.n
    at = next(p for p in verdict.curve if p.threshold == verdict.threshold)
    assert sum(row.wrong for row in verdict.labels) == at.errors
    wrong = [row.wrong for row in verdict.labels]
    assert wrong == sorted(wrong, reverse=True)
    assert verdict.labels[0].confused_with == "wrong"


def test_a_student_that_is_always_wrong_stays(world: Make) -> None:
    verdict = prove(*world(worst=1e9).proof, bar=0.9)
    assert (verdict.decision, verdict.threshold, verdict.needed) == ("stay", None, None)
    assert (verdict.kept_home.value, verdict.agreement.value) == (0.0, 0.0)
    assert "ten times the log would not do" in verdict.reason


def test_a_good_student_with_too_few_calls_needs_more(world: Make, rows: list[dict[str, Any]]) -> None:
    verdict = prove(*world(rows[:600], worst=0.02).proof, bar=0.99)
    assert verdict.decision == "need_more"
    assert verdict.needed is not None
    assert 100 < verdict.needed <= 6000
    assert verdict.threshold is None
    assert f"{verdict.needed:,} further calls" in verdict.reason
    assert f"{verdict.needed:,} more calls" in sentence(verdict)


def test_the_same_question_returns_the_saved_verdict(world: Make) -> None:
    w = world()
    first = prove(*w.proof, bar=0.9)
    asked = len(w.student.asked)
    assert prove(*w.proof, bar=0.9) == first
    assert len(w.student.asked) == asked
    assert len(w.project.rows("openings.jsonl")) == 1


def test_another_bar_is_another_opening(world: Make) -> None:
    w = world()
    assert prove(*w.proof, bar=0.9).evidence.opening == 1  # type: ignore[union-attr]
    second = prove(*w.proof, bar=0.8)
    assert second.evidence is not None
    assert (second.evidence.opening, second.evidence.joint_confidence) == (2, 0.9)
    assert "Opening 2 of these certification calls: joint confidence >= 0.9." in second.notes
    again = prove(*w.proof, bar=0.9)  # asked before: known, not opened, and one of two looks by now
    assert again.evidence is not None
    assert (again.evidence.opening, again.evidence.joint_confidence) == (2, 0.9)
    assert len(w.project.rows("openings.jsonl")) == 2


def test_another_student_on_the_same_calls_is_another_opening(world: Make) -> None:
    prove(*world().proof, bar=0.9)
    verdict = prove(*world(worst=0.1).proof, bar=0.9)
    assert verdict.evidence is not None
    assert verdict.evidence.opening == 2


def test_fresh_calls_start_again(world: Make, rows: list[dict[str, Any]]) -> None:
    prove(*world(rows[:1200]).proof, bar=0.9)
    grown = prove(*world(rows[:1600]).proof, bar=0.9)
    fresh = prove(*world(rows[2000:3600]).proof, bar=0.9)
    assert grown.evidence is not None
    assert fresh.evidence is not None
    assert (grown.evidence.opening, fresh.evidence.opening) == (2, 1)


def test_a_killed_run_opens_once(world: Make) -> None:
    """The look is on disk before the first call is scored, and counts once however often it is begun."""
    w = world()

    class Killed(Exception):
        pass

    class Dies:
        def answers(self, texts: Any, /) -> Any:
            raise Killed

    with pytest.raises(Killed):
        prove(w.task, Dies(), w.artifact, w.traffic, w.project, bar=0.9)
    assert len(w.project.rows("openings.jsonl")) == 1
    verdict = prove(*w.proof, bar=0.9)
    assert verdict.evidence is not None
    assert verdict.evidence.opening == 1


def test_openings_tell_no_text(world: Make) -> None:
    w = world()
    prove(*w.proof, bar=0.9)
    written = (w.project.path / "openings.jsonl").read_text()
    assert not [text for text in w.student.asked if len(text) > 8 and text in written]


def test_calls_sent_up_for_being_hard_never_certify(world: Make, rows: list[dict[str, Any]]) -> None:
    """A third of the log comes back as a ledger: its rows may fit, and none of them certifies."""

    def ledger(row: dict[str, Any], why: str) -> dict[str, Any]:
        own = {"answered_by": "upstream", "why": why, "probability": 1.0}
        return copy.deepcopy(row) | {"freehold": own}

    plain = rows[:1600]
    hard = [ledger(row, "escalated") for row in rows[1600:2200]] + [ledger(row, "pair") for row in rows[2200:2400]]
    closed = [ledger(row, "closed") for row in rows[2400:2600]]
    w = world([*plain, *hard, *closed])
    verdict = prove(*w.proof, bar=0.9)
    picked = {row["request"]["messages"][1]["content"] for row in hard}
    others = {row["request"]["messages"][1]["content"] for row in [*plain, *closed]}
    assert not (picked - others) & set(w.student.asked)
    assert {row["request"]["messages"][1]["content"] for row in closed} & set(w.student.asked)
    assert any("they don't certify" in note for note in verdict.notes)


def test_home_and_replay_answers_are_no_evidence(world: Make, rows: list[dict[str, Any]]) -> None:
    own = [copy.deepcopy(r) | {"freehold": {"answered_by": "student", "why": "home"}} for r in rows[1200:1800]]
    both, alone = world([*rows[:1200], *own]), world(rows[:1200], name="other")
    one, other = prove(*both.proof, bar=0.9), prove(*alone.proof, bar=0.9)
    assert one.evidence is not None
    assert other.evidence is not None
    assert one.evidence.cal_sha256 == other.evidence.cal_sha256
    assert one.threshold == other.threshold


def test_money_follows_the_kept_share(world: Make) -> None:
    w = world()
    found = audit(w.traffic)
    verdict = prove(*w.proof, bar=0.9, audit=found)
    bill, home, saved = (verdict.money[key] for key in ("bill", "home", "saved"))
    assert bill.value is not None
    assert found.per_month.value is not None
    assert bill.value == pytest.approx(found.per_month.value)
    assert home.value is not None
    assert saved.value == pytest.approx((verdict.kept_home.value or 0) * bill.value - home.value)
    assert "a machine for this alone costs $" in home.method


def test_another_price_of_the_machine_is_another_verdict_but_no_opening(world: Make) -> None:
    w = world()
    first = prove(*w.proof, bar=0.9)
    w.project.settings = replace(w.project.settings, machine_cost=7.5)
    second = prove(*w.proof, bar=0.9)
    assert "$7.5/h" in second.money["home"].method
    assert "$7.5/h" not in first.money["home"].method
    assert len(w.project.rows("openings.jsonl")) == 1


@pytest.mark.parametrize("bar", [0.0, 1.0, 1.5, float("nan")])
def test_a_bar_outside_is_refused_before_anything_is_opened(world: Make, bar: float) -> None:
    w = world()
    with pytest.raises(BadSetting, match="bar is"):
        prove(*w.proof, bar=bar)
    assert w.project.rows("openings.jsonl") == []


def test_confidence_other_than_95(world: Make) -> None:
    verdict = prove(*world().proof, bar=0.9, confidence=0.99)
    assert verdict.evidence is not None
    assert verdict.evidence.level is not None
    assert verdict.evidence.level <= 0.01 + 1e-12
    assert verdict.evidence.joint_confidence == 0.99


def test_a_log_without_times(world: Make, rows: list[dict[str, Any]]) -> None:
    """Fine-tuning rows: money and drift can't be known, the certificate can."""
    bare = [{"messages": [*r["request"]["messages"], r["response"]["choices"][0]["message"]]} for r in rows[:2400]]
    verdict = prove(*world(bare).proof, bar=0.9)
    assert verdict.decision == "move"
    assert verdict.money["bill"].value is None
    assert verdict.evidence is not None
    assert (verdict.evidence.newest, verdict.evidence.out_of_time.value) == (None, None)


def test_without_a_student(world: Make) -> None:
    w = world()
    step = TaskPlan(w.task.name, "labels", 30, "too_few", "30 calls are too few.", {"0.95": 236})
    few = without_student(w.task, step, bar=0.95, confidence=0.95)
    assert (few.decision, few.needed, few.student) == ("need_more", 206, None)
    assert without_student(w.task, replace(step, calls=20), bar=0.95, confidence=0.95).decision == "stay"
    other = replace(step, go="not_yet", kind="json", reason="No student for json yet.")
    assert without_student(w.task, other, bar=0.95, confidence=0.95).reason == "No student for json yet."


def test_the_terminal_says_the_verdict_first(world: Make, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = prove(*world().proof, bar=0.9)
    show([verdict])
    said = capsys.readouterr().out
    assert said.strip().startswith(f"{verdict.task}: move.")
    assert "opening" in said
    assert json.dumps(verdict.labels[0].label).strip('"') in said
