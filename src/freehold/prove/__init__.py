"""prove: may this student answer this task, and above which score?

    evidence ─split→ certification calls ─student→ scores ┐
    artefact's out-of-fold pairs ─grid→ thresholds, levels ┴─certify→ Certificate ─decide→ Verdict

The promise: P(agreement on kept calls < bar) <= 1 - confidence, for any student, any score and any traffic whose
calls are independent draws. The calls that certify are seen by neither the fit nor the choice of thresholds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from freehold.agree import judge
from freehold.errors import ProjectMissing
from freehold.measure import Certificate, certify, grid
from freehold.nouns import Artifact, Audit, Evidence, Student, Task, TaskPlan, TaskStudent, Verdict
from freehold.project import Project, check_bar
from freehold.prove.calls import Held, Scored, held_out, score
from freehold.prove.decide import agreement, bare, decide, kept_home, too_few
from freehold.prove.describe import design_effect, field_rows, label_rows, latency, noise_floor, out_of_time, per_call
from freehold.prove.ladder import Before, hosted_notes, left
from freehold.prove.money import Cost, cost_of, monthly, notices, priced_at
from freehold.prove.notes import barred, notes, reopened
from freehold.prove.openings import Opening, open_calls
from freehold.tell import Tell, quiet
from freehold.traffic import Traffic, evidence, unseen

__all__ = ["Before", "prove", "without_student"]

HOSTED_TIMED = 20  # calls of one at a host, which are billed
METHOD = "exact binomial, fallback procedure, one random call of each group of near-duplicates"


def prove(
    task: Task,
    student: Student,
    artifact: Artifact,
    traffic: Traffic,
    project: Project,
    *,
    bar: float = 0.95,
    confidence: float = 0.95,
    audit: Audit | None = None,
    before: Before | None = None,
    tell: Tell = quiet,
) -> Verdict:
    """Certify `student` on the task's held-out calls and save the verdict in the project.

    The same question to the same calls returns the saved verdict. `audit` gives the months that the log spans. With
    `before`, it is certified as the rung after that one, on the calls that it leaves.
    Raises BadSetting for a bar or confidence outside (0, 1) and for a database that can't be read, ProjectMissing for a
    student of another state of the log, StudentUnusable for one that was merged from what learned from a call that
    certifies, ArtifactDamaged, StorageFailed; UpstreamMissing for a host that fails.
    """
    bar, confidence = check_bar(bar), check_bar(confidence, "confidence")
    tell("choose the certification calls", 0.0)
    held = held_out(task, traffic)
    if artifact.data_sha256 != held.fit_sha256:  # a call of its fit may be on the certifying side by now
        message = f"The log has changed since the student of {task.name} was fitted."
        hosted = f" --hosted {artifact.recipe['host']}" if artifact.kind == "hosted" else ""
        raise ProjectMissing(message, f"Run: freehold tune{hosted} --project {project.path}")
    unseen(task, artifact, project, lambda: (audit or project.load(Audit)).tasks, traffic)
    project.check_base(artifact)
    ruling = judge(task)
    if before is not None:
        held = left(task, before, held, ruling, tell)
    after = "" if before is None else before.sha256
    thresholds = grid(*_prior(project, artifact), n=len(held.cal), bar=bar, confidence=confidence)
    data = ruling.database.sha256 if ruling.database else ""
    opening = open_calls(task, artifact, held, project, traffic.log.identity, bar=bar, confidence=confidence, data=data)
    cost = cost_of(project.settings, artifact)
    saved = _same(task, artifact, held, project, bar, confidence, after, cost)
    if saved is not None and saved.evidence is not None and saved.evidence.method == _method(data):
        return _today(saved, opening, project)
    scored = score(task, student, held, ruling, tell)
    certificate = certify(thresholds, scored.scores[held.cal], scored.ok[held.cal])
    decided = decide(thresholds, certificate, held.calls, held.drawn, barred(held))
    moves = decided.decision == "move"
    kept = kept_home(certificate, moves, held.drawn)
    timed = [held.texts[i] for i in held.cal]
    took, cpu_seconds = latency(student, timed if artifact.kind != "hosted" else timed[:HOSTED_TIMED], tell)
    answered, each = evidence(task, traffic), cost.each(cpu_seconds, student)
    noise = noise_floor(task, answered, confidence)
    shown = (certificate.threshold or 0.0) if moves else 0.0
    found = replace(_evidence(held, scored, certificate, opening, shown, moves), method=_method(data))
    verdict = replace(
        bare(task, decided, bar, confidence),
        kept_home=kept,
        agreement=agreement(certificate, moves),
        threshold=certificate.threshold if moves else None,
        student=TaskStudent(artifact.sha256, artifact.base, artifact.licence, cost.host),
        evidence=found,
        curve=certificate.curve(),
        labels=label_rows(held, scored, shown) if task.kind == "labels" else field_rows(held, scored, shown, ruling),
        noise=noise,
        latency=took,
        money=monthly(task, answered, kept, each, _asked(held), audit) | ({"call": each} if cost.host else {}),
        terms=notices(task, project.settings, artifact),
        notes=(*notes(held, scored, found, noise, moves, bar), *hosted_notes(artifact, before, held, _scored(scored))),
        after=after,
    )
    project.save(verdict)
    return verdict


def _asked(held: Held) -> float:
    """The share of calls that the student is asked: what the server sends up before, or another rung keeps, is not."""
    return len(held.cal) / held.drawn if held.drawn else 0.0


def _scored(scored: Scored) -> bool:
    """Whether the student's answers differ in their scores."""
    able = scored.scores[scored.scores >= 0.0]
    return bool(len(able)) and bool((able < 1.0).any())


def without_student(task: Task, step: TaskPlan, *, bar: float, confidence: float) -> Verdict:
    """The verdict on a task that the plan gave no student: need_more or stay, with the plan's reason. Not saved."""
    return bare(task, too_few(step, bar, confidence), bar, confidence)


def _same(
    task: Task, artifact: Artifact, held: Held, project: Project, bar: float, confidence: float, after: str, cost: Cost
) -> Verdict | None:
    """The saved verdict, where nothing that it rests on has changed."""
    for found in project.verdicts():
        if (found.asked, found.bar, found.confidence) != (task, bar, confidence) or found.kept_home.n != held.drawn:
            continue
        if found.student is None or found.student.sha256 != artifact.sha256 or found.evidence is None:
            continue
        if found.after != after:
            continue
        facts = found.terms == notices(task, project.settings, artifact) and priced_at(found.money, cost)
        if found.evidence.cal_sha256 == held.sha256 and facts:
            return found
    return None


def _method(data: str) -> str:
    """How it was certified; `data` is the sha256 of the database that queries were run on."""
    return f"{METHOD}; queries run on the database with sha256 {data[:16]}" if data else METHOD


def _prior(project: Project, artifact: Artifact) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Out-of-fold scores and agreement of the fit part, [fit] each."""
    from safetensors.numpy import load_file

    found = load_file(project.artifact_path(artifact.sha256) / "prior.safetensors")
    return found["score"].astype(np.float64), found["ok"].astype(bool)


def _today(saved: Verdict, opening: Opening, project: Project) -> Verdict:
    """A known verdict with the openings of today: each look at its calls since then weakens what all say together."""
    before = saved.evidence
    assert before is not None, "a verdict with a student rests on evidence"
    after = replace(before, opening=opening.number, joint_confidence=opening.joint_confidence)
    if after == before:
        return saved
    verdict = replace(saved, evidence=after, notes=reopened(saved.notes, before, after))
    project.save(verdict)
    return verdict


def _evidence(
    held: Held, scored: Scored, certificate: Certificate, opening: Opening, threshold: float, moves: bool
) -> Evidence:
    agreed, kept = per_call(held, scored, threshold, certificate.confidence)
    return Evidence(
        fit_calls=held.fit,
        cal_calls=len(held.texts),
        cal_groups=len(held.cal),
        cal_sha256=held.sha256,
        opening=opening.number,
        joint_confidence=opening.joint_confidence,
        design_effect=design_effect(held.groups, scored.ok),
        level=certificate.level,
        lower_after_selection=certificate.lower,
        newest=held.newest,
        out_of_time=out_of_time(held, scored, threshold, certificate.confidence),
        method=METHOD,
        not_honoured=held.obstacles.total(),
        failed=held.failed,
        no_text=sum(held.truths[i] is None for i in held.cal),
        per_call=agreed,
        kept_per_call=kept if moves else kept_home(certificate, False, len(held.pool)),
    )
