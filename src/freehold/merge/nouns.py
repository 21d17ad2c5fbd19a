"""The words of this room: what is merged, what was asked, and how it is done.

Part(said="orders", weight=None, adapter=Artifact(...), base=None)     an adapter of the project
Part(said="../small", weight=0.7, adapter=None, base=Base(...))        a whole model
Part(said="orders", weight=None, adapter=Artifact(...), base=Base(...))     beside one: the base with the adapter in it
How(method="ties", weights=(1.0, 1.0), density=0.5, seed=0, why=("ties: ...", ...))
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from freehold.engines.bases import Base
from freehold.errors import BadSetting
from freehold.nouns import Artifact

__all__ = ["METHODS", "Asked", "How", "Part"]

METHODS = {
    "linear": "the weighted mean",
    "slerp": "along the arc between two whole models",
    "ties": "what each adds to the base, trimmed to its largest parts, where the signs agree (arXiv 2306.01708)",
    "dare_ties": "as ties, with parts dropped at random and the rest scaled up (arXiv 2311.03099)",
    "dare_linear": "the weighted mean of what each adds, parts dropped at random and the rest scaled up",
    "task_arithmetic": "the weighted sum of what each adds to the base; a weight below 0 takes away (arXiv 2212.04089)",
    "svd": "the weighted mean of adapters, as near as an adapter of the largest rank among them comes",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is merged, as it was `said`: an adapter, a whole model (`base`), or, with both, an adapter that
    is put into its base first."""

    said: str
    weight: float | None
    adapter: Artifact | None = None
    base: Base | None = None

    @property
    def sha256(self) -> str:
        """Of the artefact, or over the files that decide a token."""
        if self.adapter is not None:
            return self.adapter.sha256
        assert self.base is not None
        return self.base.sha256

    @property
    def licence(self) -> str:
        if self.adapter is not None:
            return self.adapter.licence
        assert self.base is not None
        return self.base.licence

    @property
    def name(self) -> str:
        """For people: of a whole model, the adapter in it too."""
        name = self.base.name if self.base is not None else self.said
        return f"{name} with {self.adapter.sha256[:8]}" if self.base is not None and self.adapter is not None else name


@dataclass(frozen=True, slots=True)
class Asked:
    """`method`: one of METHODS, or None for the one that follows. `base`: the model that whole models come from.
    `task`: which one a merged adapter answers. `density`: the share that ties and dare keep. `minutes`: the most that
    whole models may take. `commercial`: what is made is to earn money, which some licences forbid."""

    method: str | None = None
    base: str | None = None
    task: str | None = None
    density: float | None = None
    seed: int = 0
    minutes: float = 60.0
    commercial: bool = False

    def checked(self) -> Asked:
        """Itself. Raises BadSetting for what can't be meant."""
        if self.method is not None and self.method not in METHODS:
            raise BadSetting(f"The method {self.method!r} is not known.", f"Known: {', '.join(METHODS)}.")
        if self.density is not None and not 0 < self.density <= 1:
            raise BadSetting(f"The density is {self.density}.", "Give a share above 0, at most 1.")
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise BadSetting(f"The minutes are {self.minutes}.", "Give more than 0.")
        if not 0 <= self.seed < 2**32:
            raise BadSetting(f"The seed is {self.seed}.", "Give a whole number from 0 to 4,294,967,295.")
        return self


@dataclass(frozen=True, slots=True)
class How:
    """All that decides the numbers. `weights` are as the method takes them. `base`: of whole models that are compared
    with it. `why`: a sentence for each automatic choice."""

    method: str
    weights: tuple[float, ...]
    density: float | None
    seed: int
    base: Base | None = None
    why: tuple[str, ...] = ()
