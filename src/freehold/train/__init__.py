"""A language model from scratch, or one that is trained on: see nouns.py."""

from __future__ import annotations

__all__: list[str] = []
