"""The rate of each step, which follows from its number alone.

share(plan, 0) = 1 / warm ... share(plan, warm) = 1.0 ... share(plan, steps - 1) = least        times plan.rate
"""

from __future__ import annotations

import math

from freehold.train.nouns import Plan

__all__ = ["share"]


def share(plan: Plan, step: int) -> float:
    """Of the largest rate, at the step with this number (from 0)."""
    if step < plan.warm:
        return (step + 1) / plan.warm
    if plan.schedule == "constant":
        return 1.0
    gone = min(1.0, (step - plan.warm) / max(1, plan.steps - 1 - plan.warm))
    left = 0.5 * (1 + math.cos(math.pi * gone)) if plan.schedule == "cosine" else 1 - gone
    return plan.least + (1 - plan.least) * left
