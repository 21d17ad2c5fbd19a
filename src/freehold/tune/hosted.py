"""An open model at a host as a student: nothing is fitted; it is asked, and what it says is compared.

    freehold.toml [upstreams.NAME] open = true ─ may we? its licence, the task's own settings
        └→ rows of the fit side ─host→ answers, scores ─→ prior.safetensors, checks.json, hosted.json   kind hosted

Each row asked is billed by the host: ASKED of them, and as many certification calls as there are when it is proved.
Where a student before it is certified, rows that this one would leave are asked, since those are what it is for.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freehold.agree import judge
from freehold.engines.hosted import Form, HostedStudent, Reach, is_outside, reach
from freehold.engines.hosted_form import FILE
from freehold.engines.label import encode_checks, encode_prior
from freehold.errors import BadSetting, NothingToLearn, TermsBlocked
from freehold.facts import facts
from freehold.nouns import Answer, Artifact, Fact, Task
from freehold.project import Project, Settings
from freehold.tell import Tell, quiet
from freehold.traffic import Traffic
from freehold.traffic.private import redact_together
from freehold.tune.label import bounded
from freehold.tune.rows import Rows, rows_of

__all__ = ["SECOND", "hosted"]

SECOND = "~2"  # behind a task's name in tuned.json: the artefact of the next rung
ASKED = 400  # rows of the fit side
FEWEST = 20
CHECKS = 8
BATCH = 32
TRIES = 5


def hosted(task: Task, traffic: Traffic, project: Project, host: str, *, tell: Tell = quiet) -> Artifact:
    """The open model of [upstreams.HOST] as a student of the task, chosen for the rung after the task's own student.

    The same model and rows are asked once: the artefact made before is returned. Raises BadSetting, SecretExposed,
    TermsBlocked, NothingToLearn, UpstreamMissing, StorageFailed, ArtifactDamaged.
    """
    to = reach(project.settings, project.path, host, os.environ, redact_together, tries=TRIES, task=task.name)
    _may_leave(task, project.settings, to)
    licence = _licence(to.model, project.settings)
    rows = rows_of(task, traffic)
    form = Form.of(task, host, to.url, to.model, private=to.clean is not None)
    how: dict[str, Any] = {"student": "hosted 1", "host": host, "url": to.url, "model": to.model, "asked": ASKED}
    how |= {"private": form.private, "fields": form.fields, "max_tokens": form.max_tokens}
    for made in project.artifacts():
        if (made.kind, made.task, made.recipe, made.data_sha256) == ("hosted", task.name, how, rows.sha256):
            project.choose(task.name + SECOND, made.sha256)
            return project.read_artifact(made.sha256)
    which = _rows(task, rows, project)
    if len(which) < FEWEST:
        raise NothingToLearn(
            f"{task.name} has {len(which)} calls to ask {to.model} about; at least {FEWEST} are needed."
        )
    texts, labels = [rows.texts[i] for i in which], [rows.labels[i] for i in which]
    with HostedStudent(form, to) as first:
        form = _with_scores(form, first, texts[0], tell)
    with HostedStudent(form, to) as student:
        answers = _ask(student, texts, tell)
    ruling = judge(task)
    ok = np.array([a.able and ruling.agree(a.text, said) for a, said in zip(answers, labels, strict=True)])
    whole = [i for i, a in enumerate(answers) if a.able][:CHECKS]
    if not whole:
        raise NothingToLearn(f"{to.model} gave no usable answer to {len(texts)} calls of {task.name}.")
    artifact = project.write_artifact(
        {
            FILE: form.encode(),
            "prior.safetensors": encode_prior(np.array([a.score for a in answers]), ok),
            "checks.json": encode_checks([texts[i] for i in whole], [answers[i] for i in whole]),
        },
        kind="hosted",
        task=task.name,
        base=to.model,
        licence=licence,
        recipe=how,
        data_sha256=rows.sha256,
    )
    project.choose(task.name + SECOND, artifact.sha256)
    return artifact


def _may_leave(task: Task, settings: Settings, to: Reach) -> None:
    said = settings.tasks.get(task.name)
    if said is not None and not said.leaves and is_outside(to.url):
        raise BadSetting(
            f"{task.name} is declared never to leave the house, and [upstreams.{to.name}] is outside of it.",
            "Take a host with a local address, or remove leaves = false.",
        )


def _licence(model: str, settings: Settings) -> str:
    """The model's licence by facts, "unknown" where the model isn't on file. Raises TermsBlocked where this company
    can't use it: a host changes who distributes the model, not what it may be used for."""
    known = facts(settings.facts)
    name = model.strip().lower()
    row = known.find("models", name) or known.find("models", name.rpartition("/")[2])
    if row is None:
        return "unknown"
    found = known.find("licences", str(row.values["licence"]))
    if found is None:
        return str(row.values["licence"])
    why = _barred(found, row, settings)
    if why:
        raise TermsBlocked(f"{model} can't be used here: {why}", f"See: freehold facts show licences/{found.id}")
    return str(found.values.get("spdx") or found.values.get("licence") or found.id)


def _barred(licence: Fact, model: Fact, settings: Settings) -> str:
    company, row = settings.company, licence.values
    if row.get("commercial") in ("no", "unread"):
        said = "allows no commercial use" if row["commercial"] == "no" else "has not been read yet"
        return f"its licence ({licence.id}) {said}."
    most, users = row.get("mau"), company.users_month
    if row.get("mau_then") == "licence" and most is not None and users is not None and users > float(most):
        return f"{licence.id} asks for a licence of its own above {most:,.0f} users a month."
    origin = str(model.values.get("origin") or row.get("origin", ""))
    return f"its weights come from {origin} (deny_origin)." if origin in company.deny_origin else ""


def _rows(task: Task, rows: Rows, project: Project) -> list[int]:
    """Rows to ask about: those that a certified student before this one leaves, as far as its own fit told out of fold;
    else any. In the log's order."""
    left = np.arange(len(rows.texts))
    scores = _before(task, project)
    used = bounded(rows.groups, 0)
    if scores is not None and len(scores[0]) == len(used):
        below = used[scores[0] < scores[1]]
        left = below if len(below) >= FEWEST else left
    drawn = np.random.default_rng(0).permutation(left)[:ASKED]
    return sorted(drawn.tolist())


def _before(task: Task, project: Project) -> tuple[NDArray[np.float64], float] | None:
    """Out-of-fold scores of the task's certified label student, and its threshold."""
    from safetensors.numpy import load

    first = next((v for v in project.verdicts() if v.task == task.name and not v.after), None)
    if first is None or first.decision != "move" or first.student is None or first.threshold is None:
        return None
    path = project.artifact_path(first.student.sha256) / "prior.safetensors"
    if first.kind != "labels" or first.student.host or not path.is_file():
        return None
    return load(path.read_bytes())["score"].astype(np.float64), first.threshold


def _with_scores(form: Form, student: HostedStudent, text: str, tell: Tell) -> Form:
    """Whether the host tells how sure its model is."""
    import msgspec

    if student.gives_logprobs(text):
        return form
    tell(f"{form.host} gives no log-probabilities: all answers of {form.model} will be kept, or none")
    return msgspec.structs.replace(form, logprobs=False)


def _ask(student: HostedStudent, texts: list[str], tell: Tell) -> list[Answer]:
    found: list[Answer] = []
    for start in range(0, len(texts), BATCH):
        tell(f"ask {student.form.model} at {student.form.host}", start / len(texts))
        found += student.answers(texts[start : start + BATCH])
    return found
