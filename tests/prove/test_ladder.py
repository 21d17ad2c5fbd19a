"""A ladder: an open model at a true host, tuned and proved on what the first student leaves of a real log."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.hosting import OpenHost, hosting
from tests.prove.conftest import Row, World, luck

from freehold.agree import judge
from freehold.audit import audit
from freehold.engines.hosted import HostedStudent, reach
from freehold.errors import BadSetting, NothingToLearn, TermsBlocked, UpstreamMissing
from freehold.nouns import Artifact, Verdict
from freehold.plan import plan
from freehold.project import Project
from freehold.prove import Before, command, prove
from freehold.prove.calls import held_out, score
from freehold.tell import quiet
from freehold.totals import by_task, kept_home, saved
from freehold.traffic import put_upstream
from freehold.tune import command as tuning
from freehold.tune import hosted as tuning_hosted
from freehold.tune.hosted import hosted

Make = Callable[..., World]


@pytest.fixture
def host(world: Make, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[World, OpenHost]]:
    """A world whose student is often wrong, and a host that seldom is: it answers as the log does, but for 1 in 50,
    of which it is less sure."""
    monkeypatch.setattr(tuning_hosted, "ASKED", 80)
    w = world(rows[:1500], worst=0.9)
    gold = {w.task.text(call): (call.answer or "").strip() for call in put_upstream(w.task, w.traffic)}

    def said(body: dict[str, Any]) -> tuple[str, list[float]]:
        text = w.task.template.text(body["messages"])
        assert text is not None
        wrong = luck(text, "host") < 0.02
        return (w.task.labels[0] if wrong else gold[text]), [-0.05 - luck(text, "sure") - wrong]

    with hosting(said) as one:
        yield with_host(w, one.url), one


def with_host(w: World, url: str, more: str = "") -> World:
    path = w.project.path / "freehold.toml"
    table = f'\n[upstreams.local]\nurl = "{url}"\nopen = true\nmodel = "qwen3-32b"\n'
    price = '[prices."qwen3-32b"]\ninput = 0.1\noutput = 0.4\n'
    path.write_text(path.read_text().partition("\n[upstreams.local]\n")[0] + table + price + more)
    return replace(w, project=Project.open(w.project.path))


def student(w: World) -> HostedStudent:
    (made,) = [a for a in w.project.artifacts() if a.kind == "hosted"]
    return HostedStudent.open(
        w.project.artifact_path(made.sha256), lambda name: reach(w.project.settings, w.project.path, name, {}, list)
    )


def second(w: World, made: Artifact, first: Verdict | None, **more: Any) -> Verdict:
    before = None if first is None else Before(w.student, first)
    with student(w) as own:
        return prove(w.task, own, made, w.traffic, w.project, before=before, audit=audit(w.traffic), **more)


def test_the_second_rung_is_proved_on_what_the_first_leaves(host: tuple[World, OpenHost]) -> None:
    w, one = host
    first = prove(*w.proof, audit=audit(w.traffic))
    assert first.decision == "move"
    made = hosted(w.task, w.traffic, w.project, "local")
    assert (made.kind, made.base, made.licence) == ("hosted", "qwen3-32b", "Apache-2.0")
    verdict = second(w, made, first)
    assert first.student is not None
    assert verdict.student is not None
    assert verdict.evidence is not None
    assert (verdict.decision, verdict.after) == ("move", first.student.sha256)
    assert verdict.student.host == "local"
    assert (verdict.evidence.opening, verdict.evidence.joint_confidence) == (2, 0.9)
    assert any("Opening 2 of these certification calls: joint confidence >= 0.9" in note for note in verdict.notes)

    # its certification calls are those of all that the first one leaves, and no other
    held = held_out(w.task, w.traffic)
    scored = score(w.task, w.student, held, judge(w.task), quiet)
    assert first.threshold is not None
    assert verdict.threshold is not None
    below = scored.scores[held.cal] < first.threshold
    assert verdict.evidence.cal_groups == int(below.sum()) > 60
    with student(w) as own:
        answers = own.answers([held.texts[i] for i in held.cal[below]])
    kept = sum(a.able and a.score >= verdict.threshold for a in answers)
    assert verdict.kept_home.value == pytest.approx(kept / held.drawn)

    # what both keep adds up, and the log's calls count once
    both = kept_home([first, verdict])
    assert both.value == pytest.approx((first.kept_home.value or 0) + (verdict.kept_home.value or 0))
    assert both.n == held.drawn
    assert [v.after for v in w.project.verdicts()] == ["", verdict.after]
    assert by_task(w.project.verdicts()) == {w.task.name: first}
    check_money(w, first, verdict)
    check_rows(w, first, made, one)

    # the same question asks the host nothing
    asked = len(one.seen)
    assert hosted(w.task, w.traffic, w.project, "local") == made
    assert prove(*w.proof).evidence.opening == 2  # type: ignore[union-attr]
    assert second(w, made, first).threshold == verdict.threshold
    assert len(one.seen) == asked
    assert len(w.project.verdicts()) == 2

    w.project.drop_verdicts(keep=[w.task.name])
    assert len(w.project.verdicts()) == 2

    # another threshold before it is another ladder
    other = prove(*w.proof, bar=0.9)
    assert other.threshold != first.threshold
    assert w.project.verdicts() == (other,)


def check_money(w: World, first: Verdict, verdict: Verdict) -> None:
    """What the host bills for the calls that it is asked is the cost at home."""
    bill, home, left = (verdict.money[name] for name in ("bill", "home", "saved"))
    assert bill.value
    assert home.value
    assert left.value is not None
    asked = verdict.evidence.cal_groups / verdict.kept_home.n  # type: ignore[union-attr]
    each = (100 * 0.1 + 4 * 0.4) / 1e6
    assert verdict.money["call"].value == pytest.approx(each)
    assert home.value / bill.value == pytest.approx(w.task.calls * asked * each / (w.task.money.value or 0.0))
    assert left.value == pytest.approx((verdict.kept_home.value or 0) * bill.value - home.value)
    assert "100 tokens read and 4.0 written a call at local, $0.1 read and $0.4 written" in home.method
    one, two = (saved(v, replace(w.task.money, value=0.0)) for v in ([first], [first, verdict]))
    assert (two.value or 0) - (one.value or 0) == pytest.approx(left.value)


def check_rows(w: World, first: Verdict, made: Artifact, one: OpenHost) -> None:
    """Rows that the certified label student leaves were asked to plan the proof, and no certification call."""
    assert first.student is not None
    assert first.threshold is not None
    prior = load_file(w.project.artifact_path(first.student.sha256) / "prior.safetensors")
    mine = load_file(w.project.artifact_path(made.sha256) / "prior.safetensors")
    assert len(mine["score"]) == 80 < int((prior["score"] < first.threshold).sum())
    assert 0.9 < float(np.mean(mine["ok"])) <= 1.0
    asked = {w.task.template.text(body["messages"]) for body in one.seen[:81]}
    assert asked <= w.fit
    assert all(luck(text or "") < first.threshold for text in asked)


def test_where_the_first_moves_nothing_the_host_is_proved_on_all_calls(host: tuple[World, OpenHost]) -> None:
    w, _ = host
    first = prove(*w.proof, bar=0.99)
    assert first.decision != "move"
    made = hosted(w.task, w.traffic, w.project, "local")
    verdict = second(w, made, None, bar=0.9)
    assert (verdict.decision, verdict.after) == ("move", "")
    assert verdict.evidence.cal_groups == verdict.kept_home.n  # type: ignore[union-attr]
    assert [v.student.host for v in w.project.verdicts() if v.student] == ["", "local"]
    assert by_task(w.project.verdicts())[w.task.name] == verdict
    prove(*w.proof, bar=0.9)  # now it moves: what it keeps may not count twice
    assert [v.student.host for v in w.project.verdicts() if v.student] == [""]


def test_a_host_that_fails_ends_the_proof_and_the_fit(host: tuple[World, OpenHost]) -> None:
    w, one = host
    made = hosted(w.task, w.traffic, w.project, "local")
    one.fails = [401] * 1000
    with pytest.raises(UpstreamMissing, match="answered 401"):
        second(w, made, None)
    with pytest.raises(UpstreamMissing, match="answered 401"):
        hosted(w.task, w.traffic, with_host(w, one.url.replace("127.0.0.1", "localhost")).project, "local")


def test_what_may_not_be_asked_is_not(host: tuple[World, OpenHost]) -> None:
    w, one = host
    never = f"[tasks.{w.task.name}]\nleaves = false\n"
    with pytest.raises(BadSetting, match="never to leave the house"):
        hosted(w.task, w.traffic, with_host(w, "https://api.example.com/v1", never).project, "local")
    barred = '[company]\ncountry = "US"\ndeny_origin = ["CN"]\n'
    with pytest.raises(TermsBlocked, match="deny_origin"):
        hosted(w.task, w.traffic, with_host(w, one.url, barred).project, "local")
    assert not one.seen
    assert hosted(w.task, w.traffic, with_host(w, one.url, never).project, "local").kind == "hosted"  # in the house


def test_a_host_that_answers_nothing_usable_is_no_student(host: tuple[World, OpenHost]) -> None:
    w, one = host
    one.said = lambda body: ("I think that this is a transfer.", [-0.1])
    with pytest.raises(NothingToLearn, match="no usable answer"):
        hosted(w.task, w.traffic, w.project, "local")


def test_both_commands(host: tuple[World, OpenHost], capsys: pytest.CaptureFixture[str]) -> None:
    """Without log-probabilities there is no score: all answers are kept, or none."""
    w, one = host
    told = one.said
    one.said = lambda body: (told(body)[0], None)
    found = audit(w.traffic)
    w.project.save(found)
    w.project.save(plan(found))
    w.project.choose(w.task.name, "")

    def run(verb: Any, *more: str) -> Any:
        parser = argparse.ArgumentParser()
        verb.flags(parser)
        assert verb.run(parser.parse_args(["--project", str(w.project.path), "--json", *more])) == 0
        return json.loads(capsys.readouterr().out)

    (made,) = run(tuning, "--hosted", "local")
    assert made["recipe"]["host"] == "local"
    first, verdict = run(command, "--bar", "0.9")
    assert (first["decision"], verdict["decision"]) == ("stay", "move")
    assert verdict["student"]["sha256"] == made["sha256"]
    assert (verdict["threshold"], verdict["kept_home"]["value"]) == (0.0, 1.0)
    assert any("all its answers are kept, or none" in note for note in verdict["notes"])
    with pytest.raises(BadSetting, match="Both --hosted and --encoder"):
        run(tuning, "--hosted", "local", "--encoder", "bge-small-en")
