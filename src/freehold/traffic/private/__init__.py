"""Private data in a text, as far as rules can find it, and how to write something else in its place.

    "Call 201-948-1927 or write to ana@firm.example"  →  phone [5, 17), email [30, 46)
    redact:  "Call 538-207-4416 or write to qkd@example.org"

look   where could anything stand at all?        numbers, national, places, secrets   the rules
find   all kinds, in one order                   pseudonyms   another value of the same type and shape
recognise   the rules, or a model in a local folder that finds names too

Names, most addresses, ages and the like can't be found by rules; docs/audit.md has what was measured.
"""

from freehold.traffic.private.find import CHECKED, KINDS, Rules, find
from freehold.traffic.private.found import Found, Recogniser
from freehold.traffic.private.pseudonyms import pseudonym, redact, redact_together

__all__ = ["CHECKED", "KINDS", "Found", "Recogniser", "Rules", "find", "pseudonym", "redact", "redact_together"]
