"""What agreement means, per kind of task.

exact    labels: the same text after stripping white space at both ends
"""

from __future__ import annotations

__all__ = ["agree"]


def agree(ours: str, theirs: str, rule: str = "exact") -> bool:
    """Does our answer agree with the closed model's, by the task's rule?"""
    if rule != "exact":
        raise ValueError(f"unknown rule {rule!r}; known: exact")
    return ours.strip() == theirs.strip()
