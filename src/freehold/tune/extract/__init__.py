"""The extraction student's fit: for JSON answers whose values are copied from the input.

fit(texts, answers, groups=...) -> Fitted        NotExtractable where the answers are not copied
"""

from __future__ import annotations

from freehold.tune.extract.fit import Fitted, NotExtractable, fit, recipe_of

__all__ = ["Fitted", "NotExtractable", "fit", "recipe_of"]
