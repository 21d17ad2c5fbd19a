"""Which method, which weights: decided here, each with its reason; done in adapters.py and whole.py.

            adapters                          whole models
default     linear                            slerp for two; ties with --base; else linear
linear      exact, the ranks add up           the mean of the tensors
slerp       -                                 two
ties, dare  on what each adds, ranks add up   needs --base
svd         the largest rank                  -
"""

from __future__ import annotations

from collections.abc import Sequence

from freehold.engines import bases
from freehold.errors import BadSetting
from freehold.merge.nouns import METHODS, Asked, How, Part

__all__ = ["choose"]

AGAINST = ("ties", "dare_ties", "dare_linear", "task_arithmetic")
"""Those that look at what a model adds to its base."""
KEEPS = ("ties", "dare_ties", "dare_linear")
DENSITY = 0.5


def choose(parts: Sequence[Part], asked: Asked) -> How:
    """All that decides the numbers. Raises BadSetting for what doesn't go together, BaseUnusable."""
    adapters = all(part.base is None for part in parts)
    why: list[str] = []
    method = asked.method or _default(len(parts), adapters, asked.base, why)
    _fits(method, len(parts), adapters, asked)
    density = asked.density
    if density is None and method in KEEPS:
        density = DENSITY
        why.append(f"density {DENSITY}: half of what each adds is kept, mergekit's usual")
    weights = _weights(method, parts, why)
    return How(method, weights, density, asked.seed, bases.find(asked.base) if asked.base else None, tuple(why))


def _default(n: int, adapters: bool, base: str | None, why: list[str]) -> str:
    if adapters:
        why.append("linear: the exact mean of what the adapters add to the base")
        return "linear"
    if base is not None:
        why.append("ties: the models have a common base, so what each adds to it can be told apart")
        return "ties"
    if n == 2:
        why.append("slerp: two models; the arc between them keeps the length of each tensor")
        return "slerp"
    why.append(f"linear: {n} models and no common base was given (--base)")
    return "linear"


def _fits(method: str, n: int, adapters: bool, asked: Asked) -> None:
    if adapters and method == "slerp":
        raise BadSetting("slerp is for whole models.", f"For adapters: {_others('slerp')}.")
    if adapters and asked.base is not None:
        raise BadSetting("--base is given, and adapters know their base.", "Leave --base out.")
    if not adapters and method == "svd":
        raise BadSetting("svd is for adapters.", f"For whole models: {_others('svd')}.")
    if not adapters and asked.task is not None:
        raise BadSetting("--task is given, and whole models answer none.", "Leave --task out.")
    if method == "slerp" and n != 2:
        raise BadSetting(f"slerp is between two models, and {n} are given.", f"Others: {_others('slerp', 'svd')}.")
    if not adapters and method in AGAINST and asked.base is None:
        raise BadSetting(f"{method} compares each model with the one they come from.", "Give it with --base.")
    if not adapters and method not in AGAINST and asked.base is not None:
        raise BadSetting(f"{method} does not look at a base.", f"With --base: {', '.join(AGAINST)}.")
    if asked.density is not None and method not in KEEPS:
        raise BadSetting(f"{method} keeps everything.", f"--density is for {', '.join(KEEPS)}.")


def _weights(method: str, parts: Sequence[Part], why: list[str]) -> tuple[float, ...]:
    """As they were given, 1 where none was; those of a mean add up to 1. Raises BadSetting."""
    if all(part.weight is None for part in parts):
        why.append("weights: all the same, for none was given")
    given = [1.0 if part.weight is None else part.weight for part in parts]
    if method == "task_arithmetic":
        return tuple(given)
    below = next((part for part in parts if (part.weight or 1.0) < 0), None)
    if below is not None:
        raise BadSetting(f"The weight of {below.said} is below 0.", "Only task_arithmetic takes away.")
    return tuple(weight / sum(given) for weight in given)


def _others(*without: str) -> str:
    return ", ".join(name for name in METHODS if name not in without)
