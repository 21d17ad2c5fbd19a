"""How open a model is: its class in the Model Openness Framework, and whether the Open Source AI Definition is met.

    III  Open Model      architecture, weights, model card, data card, evaluation results, a report or paper
    II   Open Tooling    and the code for training, inference and evaluation, and the evaluation data
    I    Open Science    and the data sets, the code that prepared them, checkpoints, a research paper
                         each published under an open licence

    grade(model, licence, facts) ─→ Grade("III", conditional=True, osaid=False, why="...")

The classes are those of MOF 1.0 (White et al., arXiv 2403.13784) as its own tool applies them: three of the 17
components are optional (metadata, libraries, sample outputs), a paper does for the report, and weights under an open
licence pass class III on condition, whatever else is missing. What a model publishes is a row of facts/openness.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from freehold.errors import BadSetting
from freehold.facts.tables import Facts
from freehold.facts.values import words
from freehold.nouns import Fact

__all__ = ["COMPONENTS", "Grade", "components_of", "grade"]

NEEDED: dict[str, tuple[str, ...]] = {
    "III": ("architecture", "parameters", "model-card", "data-card", "evaluation-results", "technical-report"),
    "II": ("training-code", "inference-code", "evaluation-code", "evaluation-data"),
    "I": ("datasets", "data-preprocessing-code", "checkpoints", "research-paper"),
}
"""What each class asks for beyond the one before it."""
COMPONENTS = (*NEEDED["III"], *NEEDED["II"], *NEEDED["I"], "metadata", "libraries", "sample-outputs")
OPEN = ("osi", "openmdw", "data")


@dataclass(frozen=True, slots=True)
class Grade:
    """`mof` is I, II, III or none; `conditional`: class III by its weights' licence alone. `osaid` None: not known.
    `missing` are the components that the next class up lacks; `known` of 17 were looked at."""

    mof: str
    osaid: bool | None
    why: str
    conditional: bool = False
    missing: tuple[str, ...] = ()
    known: int = 0
    uses: tuple[str, ...] = ()


def grade(model: Fact, licence: Fact, facts: Facts) -> Grade:
    """Grade a model by its weights' licence, and by what is known of the rest of it."""
    row = components_of(model.id, facts)
    uses = tuple(fact.ref for fact in (licence, row) if fact is not None)
    name, terms = str(licence.values.get("licence", licence.id)), licence.values.get("open", "unread")
    if terms == "unread":
        return Grade("none", None, f"Nobody has read the licence of its weights ({name}).", uses=uses)
    if terms not in OPEN:
        return Grade("none", False, f"Its weights are not under an open licence: {name}{_limits(licence)}.", uses=uses)
    published = _open_ones(row, facts) | {"parameters"}
    mof = _class(published)
    missing = tuple(part for part in _next(mof) if part not in published)
    osaid, reason = _osaid(row, licence, published)
    known = 1 if row is None else len({*_published(row), *words(row, "withheld"), "parameters"})
    why = f"{_said(mof, missing)} ({known} of {len(COMPONENTS)} components known). {reason}"
    why += " (unverified)" if row is not None and row.status == "unverified" else ""
    return Grade(mof or "III", osaid, why, not mof, missing, known, uses)


def _said(mof: str, missing: tuple[str, ...]) -> str:
    lacks = ", ".join(part.replace("-", " ") for part in missing)
    if not mof:
        return f"Class III on condition of its open weights; in full it asks for {lacks} under an open licence"
    return f"Class {mof}" + (f"; the next one asks for {lacks} under an open licence" if lacks else "")


def components_of(model: str, facts: Facts) -> Fact | None:
    """What is known of the components that a model publishes; None where nobody looked."""
    name = model.strip().lower().rpartition("/")[2]
    found = next((row for row in facts.rows("openness") if _pattern(row).match(name)), None)
    return None if found is None else facts.get("openness", found.id)


def _pattern(row: Fact) -> re.Pattern[str]:
    try:
        return re.compile(str(row.values["models"]))
    except re.error as error:
        raise BadSetting(f"{row.ref}: models is no regular expression: {error}.", "Mend it in freehold.toml.") from None


def _open_ones(row: Fact | None, facts: Facts) -> set[str]:
    return {part for part, licence in _published(row).items() if _is_open(licence, facts)}


def _published(row: Fact | None) -> Mapping[str, str]:
    found: Any = {} if row is None else row.values.get("published", {})
    if not isinstance(found, Mapping) or not set(found) <= set(COMPONENTS):
        ref = row.ref if row is not None else ""
        raise BadSetting(f"{ref}: published is {found!r}.", f"It maps components to licences: {', '.join(COMPONENTS)}.")
    return found


def _is_open(licence: str, facts: Facts) -> bool:
    found = facts.find("licences", licence)
    return found is not None and found.values.get("open") in OPEN


def _class(published: set[str]) -> str:
    """The class that is met in full; "" for none of them."""
    if "research-paper" in published:
        published = published | {"technical-report"}
    met = ""
    for name, needed in NEEDED.items():
        if not set(needed) <= published:
            return met
        met = name
    return met


def _next(mof: str) -> tuple[str, ...]:
    names = list(NEEDED)
    up = names.index(mof) + 1 if mof else 0
    return NEEDED[names[up]] if up < len(names) else ()


def _osaid(row: Fact | None, licence: Fact, published: set[str]) -> tuple[bool | None, str]:
    """Open Source AI Definition 1.0: information on the data, the code for training and running, the weights."""
    if row is not None and "osaid" in row.values:
        return bool(row.values["osaid"]), str(row.values.get("note", ""))
    withheld = set() if row is None else set(words(row, "withheld"))
    for part, what in (("datasets", "its training data"), ("training-code", "its training code")):
        if part in withheld:
            return False, f"The Open Source AI Definition is not met: {what} is not public."
    if licence.values.get("data") == "no" and "data-card" not in published:
        return False, "The Open Source AI Definition is not met: its training data is not described."
    if {"datasets", "training-code", "inference-code"} <= published:
        return True, "Data, code and weights are public under open terms."
    return None, "Whether the Open Source AI Definition is met is not known."


def _limits(licence: Fact) -> str:
    values = licence.values
    said = ["use restrictions"] if values.get("policy") else []
    said += ["limits by size"] if values.get("mau") or values.get("revenue_year") else []
    said += ["an exclusion of the EU"] if values.get("eu") == "multimodal" else []
    return f" ({', '.join(said)})" if said else ""
