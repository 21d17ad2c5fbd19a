"""Does fine-tuning make you the provider of a general-purpose model under the EU AI Act? Compute against a third.

    6 · N · T  (FLOP; N parameters, T tokens of training)   against   a third of what the original's training took
                                                                      not known: a third of 1e23, or of 1e25 (systemic)

The thresholds are rows of facts/laws.json (eu-2-gpai, eu-3-fine-tuner, eu-5-systemic). Not legal advice.
"""

from __future__ import annotations

from dataclasses import dataclass

from freehold.facts.tables import Facts
from freehold.facts.values import number
from freehold.nouns import Measure

__all__ = ["Role", "act_role", "training_flop"]

SYSTEM = "provider or deployer of an AI system, not of a general-purpose model"
MODEL = "provider of a general-purpose model, for what the fine-tuning changed"
OUTSIDE = "outside the EU: the AI Act reaches you where your system's output is used in the EU"


@dataclass(frozen=True, slots=True)
class Role:
    """`text` says the role and why in a sentence; `provider` whether the third is crossed (None: not known)."""

    text: str
    flop: Measure
    third: Measure
    provider: bool | None


def training_flop(parameters: float | None, tokens: float | None) -> Measure:
    """Training compute, FLOP: 6·N·T (Kaplan et al., arXiv 2001.08361). Low: 4·N·T, the base frozen and nothing
    recomputed; high: 8·N·T, all activations recomputed. `parameters` are those that a token passes through."""
    if parameters is None or tokens is None:
        return Measure(None, unit="FLOP")
    flop = parameters * tokens
    return Measure(6 * flop, 4 * flop, 8 * flop, int(tokens), "FLOP", "6·N·T; 4·N·T frozen base, 8·N·T recomputed")


def act_role(
    facts: Facts,
    *,
    eu: bool,
    parameters: float | None,
    tokens: float | None,
    original_flop: float | None = None,
    systemic: bool = False,
) -> Role:
    """The role of somebody who fine-tunes `parameters` on `tokens`.

    `original_flop` is the training compute of the model that is tuned; without it a third of the presumption for
    general-purpose models holds, or for systemic risk where the model is one with it (`systemic`).
    """
    flop, third = training_flop(parameters, tokens), _third(facts, original_flop, systemic)
    assert third.value is not None
    if flop.value is None:
        return Role(f"{SYSTEM}, unless the training, whose size is not known, is above the third", flop, third, None)
    if flop.value == 0:
        return Role(f"{SYSTEM}: no training is planned", flop, third, False)
    crossed = flop.value > third.value
    share = f"{flop.value:.2g} FLOP of training against {third.value:.2g} ({third.method})"
    where = "" if eu else f" ({OUTSIDE})"
    near = "" if crossed or flop.high is None or flop.high <= third.value else "; close to it: measure, and ask counsel"
    return Role(f"{MODEL if crossed else SYSTEM}: {share}{near}{where}", flop, third, crossed)


def _third(facts: Facts, original: float | None, systemic: bool) -> Measure:
    divisor = number(facts.get("laws", "eu-3-fine-tuner"), "divisor")
    if original is not None:
        return Measure(original / divisor, unit="FLOP", method="a third of the original's training compute")
    row = facts.get("laws", "eu-5-systemic" if systemic else "eu-2-gpai")
    presumed = number(row, "threshold")
    return Measure(
        presumed / divisor, unit="FLOP", method=f"a third of {presumed:.0e}: the original's compute is not known"
    )
