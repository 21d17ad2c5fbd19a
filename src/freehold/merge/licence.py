"""What the parts' licences ask together (facts.union); a conflict is refused by name."""

from __future__ import annotations

from collections.abc import Sequence

from freehold.errors import LicenceConflict
from freehold.facts import Union, facts, union
from freehold.merge.nouns import Part
from freehold.project import Project
from freehold.tell import Tell

__all__ = ["owed"]


def owed(parts: Sequence[Part], project: Project, *, tell: Tell, commercial: bool = False, base: str = "") -> Union:
    """The duties of all parts, of the bases that adapters go into, and of the one that they are compared with, by the
    facts of the team. Raises LicenceConflict."""
    below = [part.base.licence for part in parts if part.adapter is not None and part.base is not None]
    names = [*(part.licence for part in parts), *below, *([base] if base else [])]
    found = union(names, commercial=commercial, facts=facts(project.settings.facts))
    if found.conflicts:
        raise LicenceConflict(found.conflicts[0], "Leave one of the two out.")
    for why in found.private:
        tell(f"keep the merged one in the house: {why}")
    return found
