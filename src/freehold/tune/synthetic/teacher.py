"""Who may teach: an open model whose licence lets anybody learn from what it writes.

    bases.find("smollm2") → Base(licence "Apache-2.0") ─facts→ licences/apache-2.0: out "free", outcome ALLOW   yes
    .../Meta-Llama-3-8B-Instruct.gguf ─its name, and what its file says it is→ licences/llama-3: BLOCK          no

Its licence as stated, the licence's text beside it, its own name and the names inside its file are all looked up: the
strictest holds. A name can forbid and not allow: where neither word nor text is on file, the licence is not known, and
that is refused (T10). A closed model's name is refused by its vendor's terms.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.engines import bases
from freehold.engines.bases import Base
from freehold.engines.llama.completion import Answers
from freehold.errors import BadSetting, TermsBlocked
from freehold.facts import Facts, facts, licence_of, rule_text, terms, vendor_of
from freehold.nouns import Fact, Kind
from freehold.project import Project, Settings
from freehold.tell import Tell

__all__ = ["Teacher", "find", "may_teach", "running"]

NAMES = ("general.name", "general.basename", "general.base_model.0.name", "general.finetune")
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt")
STRICT = ("ALLOW", "ALLOW_WITH_NOTE", "WARN_COUNSEL", "BLOCK", "QUARANTINE")
SAFE = "Take a teacher under Apache-2.0, MIT or OpenMDW-1.0, such as smollm2."


@dataclass(frozen=True, slots=True)
class Teacher:
    base: Base
    licence: Fact

    @property
    def said(self) -> dict[str, Any]:
        """What each row keeps of it."""
        row = self.licence
        return {
            "name": self.base.name,
            "sha256": self.base.sha256,
            "licence": str(row.values.get("spdx") or row.values.get("licence") or row.id),
            "terms": {"fact": row.ref, "source": row.source, "as_of": row.as_of},
        }


def find(named: str | None, settings: Settings, kind: Kind = "text") -> Teacher:
    """The model of this name, or in this folder or file. Raises TermsBlocked, BaseUnusable; BadSetting for a host."""
    if named is not None and named in settings.upstreams:
        raise BadSetting(
            f"--teacher is {named!r}, which is a host in freehold.toml.",
            "A teacher is a model on this machine: a base's name, a folder or a GGUF file.",
        )
    if named is not None and not Path(named).expanduser().exists() and named not in bases.known():
        _refuse_vendor(named, settings, kind)
    base = bases.find(named)
    return Teacher(base, may_teach(base, facts(settings.facts)))


def _refuse_vendor(named: str, settings: Settings, kind: Kind) -> None:
    """Of a closed model, the terms of whoever sells it."""
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


def may_teach(base: Base, known: Facts) -> Fact:
    """The licence that allows it. Raises TermsBlocked with the clause, its source and date."""
    found = _stated(base, known)
    if not found:
        raise _unknown(base)
    named = (known.find("licences", str(row["id"])) for row in map(licence_of, _names(base)) if row is not None)
    found += [row for row in named if row is not None]
    row = max(found, key=lambda one: STRICT.index(str(one.values.get("outcome", "QUARANTINE"))))
    if row.values.get("outcome") == "ALLOW" and row.values.get("out") == "free":
        return row
    clause = f' "{row.values["clause"]}"' if row.values.get("clause") else ""
    raise TermsBlocked(
        f"{base.name} may not teach: {row.values.get('licence', row.id)} ({row.values.get('outcome', 'unread')}, "
        f"as of {row.as_of}): {row.values.get('text', 'it has not been read.')}{clause} ({row.source}).",
        SAFE,
    )


def _stated(base: Base, known: Facts) -> list[Fact]:
    """The licences that the model says it is under, all of them on file; else the one whose text lies beside it."""
    rows = [known.find("licences", word.strip().lower()) for word in base.licence.split(" AND ")]
    if None in rows and len(rows) == 1:
        rows = [_by_text(base, known)]
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


def _unknown(base: Base) -> TermsBlocked:
    rule = rule_text("T10")
    return TermsBlocked(
        f"{base.name} may not teach: its licence is {base.licence!r}, and what it says of learning from the output is "
        f"not on file (rule {rule['rule']}, {rule['outcome']}, as of {rule['as_of']}; {rule['source']}).",
        f"{SAFE} Or, having read it, write it down under [facts.licences] in freehold.toml.",
    )


@contextmanager
def running(teacher: Teacher, project: Project, work: Path, context: int, tell: Tell) -> Iterator[Answers]:
    """The teacher in an engine of one slot, so that the same seed writes the same words."""
    from freehold.engines.llama.engine import Engine
    from freehold.tune.decoder.base import stored

    path = teacher.base.path
    if teacher.base.form == "hf":
        path = project.artifact_path(stored(teacher.base, project, work, tell).sha256) / "model.gguf"
    with Engine.start(path, context=context) as engine:
        yield engine
