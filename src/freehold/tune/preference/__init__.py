"""Preferences: an adapter that was tuned already learns which of two answers people would rather have, by DPO.

pairs.jsonl, or the log itself ─pairs.py, logged.py→ Pair(text, preferred, rejected)
     ─the task's form; the terms' gate; near to what certifies or is held back: left out, counted→ sift.py, allowed.py
     ─a tenth held back→ own   ─the rest→ dial.py ─decoder's loop, another loss (loss.py)→ adapter
     own: the share of pairs whose preferred answer the model finds the likelier one, before and after: it becomes the
     task's student only where the interval of that change lies above 0
                              └ Artifact(kind adapter), parents: the base, the adapter it started from

Shrunk and proved like any other adapter (docs/preference.md).
"""

from freehold.tune.preference.prefer import prefer

__all__ = ["prefer"]
