"""Which licences can't be kept together, by the fields of their rows (facts/licences.py).

under      two that want the whole under licences of their own, with none in common     CC-BY-SA-4.0, GPL-2.0-only
not_under  one that adds what another forbids to add                                    Apache-2.0, GPL-2.0-only
commercial one that forbids or limits what another leaves free                          CC-BY-NC-4.0, CC-BY-SA-4.0
prefix     two names to begin with                                                      (none on file)
out        a model that may improve no other kind                                       Llama 3, Gemma
carry      two model makers' agreements                                                 Llama 3.1, Gemma
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from freehold.facts.values import one_of, words
from freehold.nouns import Fact

__all__ = ["conflicts", "earns", "title", "under"]


def conflicts(rows: Sequence[Fact], *, commercial: bool) -> tuple[str, ...]:
    """A sentence for each two, for all where only all of them don't go together, and for what forbids earning money
    where that is meant."""
    found = [said for one, other in combinations(rows, 2) if (said := _conflict(one, other))]
    if under(rows) == () and not found:
        found.append(_no_common(rows))
    return (*found, *(_unpaid(row) for row in rows if commercial and earns(row) == "no"))


def under(rows: Sequence[Fact]) -> tuple[str, ...] | None:
    """The licences that every part takes for the whole, in the first's order; None where no part says anything."""
    said = [words(row, "under") for row in rows if words(row, "under")]
    if not said:
        return None
    barred = {name for row in rows for name in words(row, "not_under")}
    return tuple(name for name in said[0] if all(name in others for others in said) and name not in barred)


def earns(row: Fact) -> str:
    """Whether what is made under it may earn money: yes, limited, no, or unread."""
    return one_of(row, "commercial", ("yes", "limited", "no", "unread"), "unread")


def title(row: Fact) -> str:
    """As a sentence calls it: its SPDX id, or the title of an agreement."""
    return str(row.values.get("licence", row.id))


def _conflict(one: Fact, other: Fact) -> str:
    """A sentence that names both and what each asks; "" where both can be kept. The first reason that holds is said."""
    said = _alike(one, other) or _restricts(one, other) or _restricts(other, one) or _agreements(one, other)
    return f"{title(one)} and {title(other)}: {said}." if said else ""


def _alike(one: Fact, other: Fact) -> str:
    """Both want the whole under a licence, and there is none that both take."""
    its, others = words(one, "under"), words(other, "under")
    if not its or not others or set(its) & set(others):
        return ""
    return (
        f"what is made from the first is passed on under {' or '.join(its)}, what is made from the second under "
        f"{' or '.join(others)}, and one thing can't be both"
    )


def _restricts(one: Fact, other: Fact) -> str:
    """`other` wants the whole under its own terms with nothing added, and `one` adds something."""
    allowed = words(other, "under")
    if not allowed or words(one, "under"):
        return ""
    added = ""
    if set(allowed) <= set(words(one, "not_under")):
        added = str(one.values.get("not_under_why", ""))
    elif earns(one) in ("no", "limited") and earns(other) == "yes":
        added = "no commercial use" if earns(one) == "no" else "a limit to commercial use"
    elif _terms_of_its_own(one):
        added = "an agreement and a policy on use"
    return f"{title(other)} takes no further restriction, and {title(one)} adds one: {added}" if added else ""


def _agreements(one: Fact, other: Fact) -> str:
    """Two agreements of model makers, each of which follows what is made from the model."""
    if not (_terms_of_its_own(one) and _terms_of_its_own(other)) or one.values["family"] == other.values["family"]:
        return ""
    first, second = str(one.values.get("prefix", "")), str(other.values.get("prefix", ""))
    if first and second and not first.startswith(second) and not second.startswith(first):
        return f"the name has to begin with “{first}” and with “{second}”"
    for row in (one, other):
        if row.values.get("out") == "block":
            return f"the {title(row)} lets its model improve no model of another kind"
    return (
        "each follows what is made from its model with an agreement of its own, and neither says that it may stand "
        "beside another's"
    )


def _terms_of_its_own(row: Fact) -> bool:
    """A model maker's agreement, not one of the public licences."""
    bound = "agreement" in words(row, "carry") or row.values.get("out") in ("block", "research")
    return row.values.get("open") in ("no", "rail") and bound


def _no_common(rows: Sequence[Fact]) -> str:
    """Each two go together, and all of them don't."""
    names = [title(row) for row in rows if words(row, "under") or words(row, "not_under")]
    return f"{', '.join(names[:-1])} and {names[-1]}: there is no licence that all of them take for the whole."


def _unpaid(row: Fact) -> str:
    clause = str(row.values.get("clauses", {}).get("commercial", ""))
    return f"{title(row)} and commercial use: it is forbidden{f' (“{clause}”)' if clause else ''}."
