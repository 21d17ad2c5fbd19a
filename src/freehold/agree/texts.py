"""Free text: equal after normalising, and whether such a rule means anything for a log.

    " “Paris.” "  →  paris          "½ cup" stays "½ cup": folding it would make 10² equal 102

Normalised: Unicode NFKC (but superscripts, subscripts and fractions stay as they are), case folded, white space runs to
one space, a pair of quotes or of * around all of it and . , ; : ! at the end off. The usual normaliser for short
answers (Rajpurkar et al. 2016, SQuAD, evaluate-v1.1) also drops a/an/the and all punctuation inside; that makes
"vitamin a" a vitamin and 1.5 equal 15, so it is not done here.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

__all__ = ["agree", "normalise", "text_rule"]

PAIRS = ('""', "''", "``", "“”", "„“", "‘’", "«»", "»«", "**")
END = ".,;:! "
KEPT = ("<super>", "<sub>", "<fraction>")

SHORT = 80  # characters: an answer up to here is a name, a number or one sentence
MOST = 0.9  # of the answers must be short
VARIED = 0.5  # share of different answers from which on long ones say each thing in their own way
ASKED_TWICE = 20  # texts asked again, from which on the log says how steady the closed model is
STEADY = 0.8  # of those must be answered alike


def normalise(text: str) -> str:
    folded = "".join(
        c if c.isascii() or unicodedata.decomposition(c).startswith(KEPT) else unicodedata.normalize("NFKC", c)
        for c in unicodedata.normalize("NFC", text)
    )
    bare = " ".join(unicodedata.normalize("NFC", folded).casefold().split())
    while (less := _unquoted(bare.rstrip(END))) != bare:
        bare = less
    return bare


def _unquoted(text: str) -> str:
    quoted = len(text) > 2 and text[0] + text[-1] in PAIRS
    return text[1:-1].strip() if quoted else text


def agree(ours: str, theirs: str) -> bool:
    """Equal after normalising; where nothing is left of an answer, equal as it stands."""
    left, right = normalise(ours), normalise(theirs)
    return left == right if left and right else ours.strip() == theirs.strip()


def text_rule(answers: Sequence[str], texts: Sequence[str] = ()) -> tuple[str, str]:
    """exact, text (normalised) or none for a log's free answers, and the reason as a sentence.

    `texts` are what was asked, one an answer: texts asked again show how often the closed model agrees with itself.
    """
    if not answers:
        return "none", "No answer was logged as text, so there is nothing to compare with."
    plain = [normalise(answer) for answer in answers]
    pairs = _asked_again(plain, texts)
    alike = sum(first == second for first, second in pairs)
    if len(pairs) >= ASKED_TWICE and alike < STEADY * len(pairs):
        return "none", (
            f"The closed model words its answers anew: asked the same again, it gave the same text in {alike:,} of "
            f"{len(pairs):,} cases, so equal text says nothing about a right answer."
        )
    short = sum(len(answer) <= SHORT for answer in plain)
    different = len(set(plain)) / len(plain)
    if short < MOST * len(plain) and different > VARIED:
        return "none", (
            f"The answers are long (half have more than {sorted(map(len, plain))[len(plain) // 2]:,} characters) and "
            f"varied ({different:.0%} differ), so no comparison of texts says whether an answer is right."
        )
    why = (
        f"{short / len(plain):.0%} of the answers are short" if short >= MOST * len(plain) else "the answers come again"
    )
    if len(set(plain)) == len({answer.strip() for answer in answers}):
        return "exact", f"Equal text: {why}, and the log never writes one answer in two ways."
    return "text", f"Equal text but for case, white space and outer punctuation: {why}, and the log varies in those."


def _asked_again(answers: Sequence[str], texts: Sequence[str]) -> list[tuple[str, str]]:
    """The first two answers to each text asked at least twice."""
    said: defaultdict[str, list[str]] = defaultdict(list)
    for text, answer in zip(texts, answers, strict=False):
        said[text].append(answer)
    return [(found[0], found[1]) for found in said.values() if len(found) > 1]
