"""How long a client waits, as its headers say, and when a host wants to be asked again.

openai's clients say their timeout in seconds: x-stainless-read-timeout (Python), x-stainless-timeout (JavaScript). Both
stop waiting for the next bytes after that time, so it is the most that a whole answer may take, and the most that a
stream may take to its first content; between pieces the client itself hangs up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

__all__ = ["TIMEOUT", "allowed", "come_back"]

TIMEOUT = "x-stainless-read-timeout"
HEADERS = (TIMEOUT, "x-stainless-timeout")
LEAST = 0.001


def allowed(headers: Mapping[str, str], most: float) -> float | None:
    """Seconds that the client allows, where it says so and it is less than `most`; what is no number says nothing."""
    found = None
    for name in HEADERS:
        said = headers.get(name)
        if said is not None:
            seconds = _seconds(said)
            if seconds is not None and LEAST <= seconds < most:
                most = found = seconds
    return found


def come_back(header: Mapping[str, str]) -> float | None:
    """Seconds to wait as an answer's headers (small letters) say: retry-after-ms, or Retry-After in seconds or as a
    date (RFC 9110, 10.2.3), which is read against the answer's own Date. None where they say nothing readable."""
    millis = _seconds(header.get("retry-after-ms", ""))
    if millis is not None:
        return millis / 1000
    said = header.get("retry-after", "")
    seconds = _seconds(said)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, (parsedate_to_datetime(said) - parsedate_to_datetime(header["date"])).total_seconds())
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _seconds(text: str) -> float | None:
    if len(text) > 32 or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
