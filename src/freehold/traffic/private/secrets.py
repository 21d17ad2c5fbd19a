"""Keys and passwords: what opens a door for whoever reads the log.

secret  keys with their vendor's prefix (OpenAI and others sk-, AWS AKIA, GitHub ghp_, GitLab, Slack, Google, Stripe,
        Hugging Face, npm, PyPI, SendGrid, Groq), JSON web tokens (RFC 7519), private keys in PEM (RFC 7468), bearers
login   user:password in a URL (RFC 3986, 3.2.1)

The prefixes are those that the vendors and the rules of gitleaks (MIT) document. A key without a prefix or a word
beside it can't be told from any other random text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from freehold.traffic.private.look import Look

__all__ = ["logins", "secrets"]

_P = [
    ("sk-", r"sk-(?=[\w-]*\d)[\w-]{20,220}"),
    ("AKIA", r"AKIA[A-Z0-9]{16}"),
    ("ASIA", r"ASIA[A-Z0-9]{16}"),
    *((f"gh{letter}_", rf"gh{letter}_[A-Za-z0-9]{{36,251}}") for letter in "posur"),
    ("github_pat_", r"github_pat_\w{22,244}"),
    ("glpat-", r"glpat-[\w-]{20,60}"),
    ("xox", r"xox[abeprs]-[\w-]{10,250}"),
    ("AIza", r"AIza[\w-]{35}"),
    ("k_live_", r"[prs]k_live_[A-Za-z0-9]{16,200}"),
    ("k_test_", r"[prs]k_test_[A-Za-z0-9]{16,200}"),
    ("hf_", r"hf_[A-Za-z0-9]{34,40}"),
    ("gsk_", r"gsk_[A-Za-z0-9]{40,60}"),
    ("npm_", r"npm_[A-Za-z0-9]{36}"),
    ("pypi-AgEI", r"pypi-AgEI[\w-]{50,250}"),
    ("SG.", r"SG\.[\w-]{16,32}\.[\w-]{16,64}"),
    ("eyJ", r"eyJ[\w-]{8,4000}\.eyJ[\w-]{4,20000}\.[\w-]{10,4000}"),
    ("-----BEGIN", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[^-]{16,20000}-----END [A-Z0-9 ]{0,50}-----"),
]
PREFIXES = tuple((prefix, 1 if prefix.startswith("k_") else 0, re.compile(pattern, re.ASCII)) for prefix, pattern in _P)
BEARER = re.compile(r"earer ((?=[\w.~+/-]*\d)[\w.~+/-]{20,2000}={0,2})", re.ASCII)
LOGIN = re.compile(r"://([^\s/@:?#\"'<>\\]{0,64}:[^\s/@\"'<>\\]{1,128})@[\w\[]")


def secrets(text: str, look: Look) -> Iterator[tuple[int, int]]:
    end = 0
    for start, stop in sorted(_all(text), key=lambda span: (span[0], -span[1])):
        if start >= end:
            yield start, stop
            end = stop


def _all(text: str) -> Iterator[tuple[int, int]]:
    for prefix, before, pattern in PREFIXES:
        if prefix not in text:
            continue
        at = text.find(prefix)
        while at >= 0:
            start = at - before
            match = pattern.match(text, start) if start >= 0 else None
            if match and not (start and (text[start - 1].isalnum() or text[start - 1] in "_-")):
                yield match.span()
                at = match.end()
            else:
                at += len(prefix)
            at = text.find(prefix, at)
    if "earer " in text:
        yield from (match.span(1) for match in BEARER.finditer(text))


def logins(text: str, look: Look) -> Iterator[tuple[int, int]]:
    return (match.span(1) for match in LOGIN.finditer(text)) if "://" in text else iter(())
