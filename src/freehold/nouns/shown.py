"""A log's text as it may be shown: hostile or private until it went through here.

"ok\x1b[31m\u202egnp.exe" → "ok[31mgnp.exe"      one line, nothing that steers a terminal or turns the text around
"jane.doe@example.com"   → "j…@example.com"      a name that says who it is says only its shape
"""

from __future__ import annotations

import re

__all__ = ["masked", "shown"]

ADDRESS = re.compile(r"([^@\s])[^@\s]*@(\S+)")
KEY = re.compile(r"\b((?:sk|pk|rk|key|ghp|xox\w)[-_])\S{8,}", re.IGNORECASE)
NUMBER = re.compile(r"\+?\d[\d ().-]{5,}\d")


def shown(text: str, most: int = 120) -> str:
    """One printable line of at most `most` characters, cut in the middle. It still has to be escaped."""
    line = "".join(c for c in " ".join(text.split()) if c.isprintable())
    if len(line) <= most:
        return line
    head = (most - 1) * 2 // 3
    return f"{line[:head]}…{line[len(line) - (most - 1 - head) :]}"


def masked(name: str, most: int = 120) -> str:
    """A user's name: of an address only the domain is shown, of a long number its last two digits, and
    of what looks like a key only its beginning."""
    line = KEY.sub(r"\1…", ADDRESS.sub(r"\1…@\2", shown(name, most)))
    return NUMBER.sub(lambda found: "…" + found[0][-2:], line)
