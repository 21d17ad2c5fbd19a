"""Who may teach: an open model whose licence lets anybody learn from what it writes.

    bases.find("smollm2") → Base(licence "Apache-2.0") ─facts→ licences/apache-2.0: out "free", outcome ALLOW   yes
    .../Meta-Llama-3-8B-Instruct.gguf ─its name, and what its file says it is→ licences/llama-3: BLOCK          no

Its licence as stated, the licence's text beside it, its own name and the names inside its file are all looked up: the
strictest holds. A name can forbid and not allow: where neither word nor text is on file, the licence is not known, and
that is refused (T10). A closed model's name is refused by its vendor's terms.

    http://127.0.0.1:8000/v1#Qwen/Qwen3-32B ─its name, or --teacher-licence→ qwen-apache: ALLOW                  yes

Of a model at a host (host.py) nothing but its name is seen: there a name may allow as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.engines import bases
from freehold.engines.bases import Base
from freehold.engines.hosted import Reach
from freehold.errors import TermsBlocked
from freehold.facts import Facts, facts, licence_of, rule_text, terms, vendor_of
from freehold.nouns import Fact, Kind, Task
from freehold.project import Project, Settings
from freehold.tell import Tell
from freehold.tune.synthetic import host
from freehold.tune.synthetic.made import Given
from freehold.tune.synthetic.voice import CONTEXT, Local, Speaks

__all__ = ["Teacher", "find", "may_teach", "refuse_closed", "running"]

NAMES = ("general.name", "general.basename", "general.base_model.0.name", "general.finetune")
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt")
STRICT = ("ALLOW", "ALLOW_WITH_NOTE", "WARN_COUNSEL", "BLOCK", "QUARANTINE")
SAFE = "Take a teacher under Apache-2.0, MIT or OpenMDW-1.0, such as smollm2."


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model on this machine (`base`), or one that a host serves (`at`), whose weights nobody here has seen."""

    name: str
    sha256: str
    licence: Fact
    base: Base | None = None
    at: Reach | None = None

    @property
    def said(self) -> dict[str, Any]:
        """What each row keeps of it."""
        row = self.licence
        where = {} if self.at is None else {"host": self.at.url}
        return {
            "name": self.name,
            "sha256": self.sha256,
            "licence": str(row.values.get("spdx") or row.values.get("licence") or row.id),
            "terms": {"fact": row.ref, "source": row.source, "as_of": row.as_of},
            **where,
        }


def find(given: Given, project: Project, task: Task) -> Teacher:
    """The model that is named, in a folder or a file, or at a host. Raises TermsBlocked, BaseUnusable, BadSetting."""
    named, settings = given.teacher, project.settings
    known = facts(settings.facts)
    if named is not None and host.is_host(named, settings):
        at = host.reach_of(named, project, task)
        refuse_closed(at.model, settings, task.kind)
        return Teacher(at.model, "", _may(at.model, given.licence, [at.model], known, by_name=True), at=at)
    if named is not None and not Path(named).expanduser().exists() and named not in bases.known():
        refuse_closed(named, settings, task.kind)
    base = bases.find(named)
    return Teacher(base.name, base.sha256, may_teach(base, known, given.licence), base)


def refuse_closed(named: str, settings: Settings, kind: Kind) -> None:
    """Of a closed model, by the terms of whoever sells it. Raises TermsBlocked."""
    vendor = vendor_of(named)
    if vendor is None or licence_of(named) is not None:
        return
    notice = terms(vendor, kind, settings.use, "decoder")
    clause = f' "{notice.clause}"' if notice.clause else ""
    raise TermsBlocked(
        f"{named} may not teach: it is {vendor}'s, rule {notice.rule} ({notice.outcome}), as of {notice.as_of}: "
        f"{notice.text}{clause} ({notice.source}).",
        SAFE,
    )


def may_teach(base: Base, known: Facts, said: str | None = None) -> Fact:
    """The licence that allows it. `said`: what a person says that it is under, which stands beside what the model says
    of itself. Raises TermsBlocked with the clause, its source and date."""
    own = base.licence if base.licence != "unknown" else ""
    words = " AND ".join(filter(None, (own, said)))
    return _may(base.name, words or base.licence, _names(base), known, text=_by_text(base, known))


def _may(
    name: str, licence: str | None, names: Sequence[str], known: Facts, *, text: Fact | None = None,
    by_name: bool = False,
) -> Fact:  # fmt: skip
    """The strictest of the licences that are stated and those that the names stand for; a name allows only where
    `by_name` says so, and nothing was stated."""
    called = [_named(one, known) for one in names]
    found = _stated(licence, text, known) if licence is not None or not by_name else []
    if not found and not (by_name and licence is None and any(called)):
        raise _unknown(name, licence)
    row = max(
        [*found, *filter(None, called)], key=lambda one: STRICT.index(str(one.values.get("outcome", "QUARANTINE")))
    )
    if row.values.get("outcome") == "ALLOW" and row.values.get("out") == "free":
        return row
    clause = f' "{row.values["clause"]}"' if row.values.get("clause") else ""
    raise TermsBlocked(
        f"{name} may not teach: {row.values.get('licence', row.id)} ({row.values.get('outcome', 'unread')}, "
        f"as of {row.as_of}): {row.values.get('text', 'it has not been read.')}{clause} ({row.source}).",
        SAFE,
    )


def _named(name: str, known: Facts) -> Fact | None:
    """The licence that facts have for a model of this name."""
    if row := licence_of(name):
        return known.find("licences", str(row["id"]))
    model = known.find("models", name.lower()) or known.find("models", name.lower().rpartition("/")[2])
    return None if model is None else known.find("licences", str(model.values["licence"]))


def _stated(licence: str | None, text: Fact | None, known: Facts) -> list[Fact]:
    """The licences that the model is said to be under, all of them on file; else the one whose text lies beside it."""
    rows = [known.find("licences", word.strip().lower()) for word in (licence or "").split(" AND ")]
    if None in rows and len(rows) == 1:
        rows = [text]
    return [] if None in rows else [row for row in rows if row is not None]


def _by_text(base: Base, known: Facts) -> Fact | None:
    from freehold.facts.licences import licence_of_text

    folder = base.path if base.form == "hf" else base.path.parent
    path = next((folder / name for name in LICENCE_FILES if (folder / name).is_file()), None)
    return None if path is None else licence_of_text(path.read_text(encoding="utf-8", errors="replace"), known)


def _names(base: Base) -> list[str]:
    """What the model is called, by whoever brought it and by its own file, as facts write names."""
    found = [base.name, base.path.stem if base.form == "gguf" else base.path.name]
    if base.form == "gguf":
        from freehold.engines.gguf.read import check

        keys = check(base.path).keys
        found += [str(keys[key]) for key in NAMES if keys.get(key)]
    else:
        from freehold.engines.base_files import read_json

        found += [str(read_json(base.path / "config.json").get("_name_or_path") or "")]
    return [name.strip().replace(" ", "-").replace("_", "-") for name in found if name.strip()]


def _unknown(name: str, licence: str | None) -> TermsBlocked:
    rule = rule_text("T10")
    said = "its licence is not on file" if licence is None else f"its licence is {licence!r}"
    return TermsBlocked(
        f"{name} may not teach: {said}, and what it says of learning from the output is "
        f"not on file (rule {rule['rule']}, {rule['outcome']}, as of {rule['as_of']}; {rule['source']}).",
        f"{SAFE} Or, having read its licence, say which: --teacher-licence ID (freehold facts list licences), written "
        "down under [facts.licences] in freehold.toml where it is none of those.",
    )


@contextmanager
def running(teacher: Teacher, project: Project, work: Path, kind: Kind, tell: Tell) -> Iterator[Speaks]:
    """The teacher at work: in an engine of one slot, or at its host."""
    from freehold.engines.llama.engine import Engine
    from freehold.tune.decoder.base import stored

    if teacher.at is not None:
        with host.speaking(teacher.at, lambda name: refuse_closed(name, project.settings, kind)) as voice:
            yield voice
        return
    assert teacher.base is not None
    path = teacher.base.path
    if teacher.base.form == "hf":
        path = project.artifact_path(stored(teacher.base, project, work, tell).sha256) / "model.gguf"
    with Engine.start(path, context=CONTEXT) as engine:
        yield Local(engine)
