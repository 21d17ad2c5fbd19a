"""Is it worth letting a small model guess ahead: speculative decoding's gain, and when the answer is don't.

    expected(0.8, 4)                     3.36 tokens a step
    gain(0.8, 4, 0.05)                   2.80 times as fast; gain(0.5, 2, 0.2) = 1.25, at 4 guesses 1.08
    best(0.8, guess=0.05, check=...)     Guessing(ahead=6, gain=2.9, worth=True, why="...")

S = (1 - a^(g+1)) / ((1 - a) (g c + t)), a the share of guesses that are accepted, g guesses a step, c a guess's cost
in steps of the large model, t what checking g+1 tokens costs in such steps (Leviathan et al., arXiv 2211.17192, where
t = 1). With many streams the check is t(B (g+1)) / t(B), which a mixture of experts pays more for: it touches more of
them. Below 1.1 the answer is don't.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from freehold.errors import BadSetting
from freehold.fit import Architecture
from freehold.nouns import Fact
from freehold.plan.speed import step
from freehold.plan.speed.calibrate import Calibration, calibration

__all__ = ["DRAFT", "LEAST", "Guessing", "asked", "best", "checking", "expected", "gain", "needed"]

LEAST = 1.1
MOST = 8
DRAFT = 0.05  # of a large model's step: a guess of a small one, as in the paper's examples


@dataclass(frozen=True, slots=True)
class Guessing:
    """`ahead`: guesses a step at which the gain is largest. `worth`: it is at least LEAST."""

    ahead: int
    gain: float
    worth: bool
    why: str


def expected(accepted: float, ahead: int) -> float:
    """Tokens a step: (1 - a^(g+1)) / (1 - a). Raises BadSetting for an acceptance that isn't within 0 and 1."""
    if not 0 <= accepted <= 1 or ahead < 1:
        raise BadSetting(f"Acceptance is {accepted} and guesses {ahead}.", "Give a share from 0 to 1, and 1 or more.")
    return ahead + 1.0 if accepted == 1 else (1 - accepted ** (ahead + 1)) / (1 - accepted)


def gain(accepted: float, ahead: int, guess: float, check: float = 1.0) -> float:
    """How many times as fast; `guess` and `check` in steps of the large model."""
    return expected(accepted, ahead) / (ahead * guess + check)


def best(accepted: float, *, guess: float, check: Callable[[int], float] = lambda ahead: 1.0) -> Guessing:
    """The number of guesses that gains most, and whether to guess at all."""
    ahead, most = max(
        ((n, gain(accepted, n, guess, check(n))) for n in range(1, MOST + 1)), key=lambda found: (found[1], -found[0])
    )
    said = f"{accepted:.0%} of guesses accepted, {ahead} a step: {most:.2f} times as fast"
    worth = most >= LEAST
    return Guessing(ahead, most, worth, said if worth else f"don't: {said}, and under {LEAST} it isn't worth it")


def needed(*, guess: float, check: Callable[[int], float]) -> float | None:
    """The least share of guesses accepted, in steps of 1 %, from which guessing is worth it; None where none is."""
    costs = {ahead: check(ahead) for ahead in range(1, MOST + 1)}
    shares = (share / 100 for share in range(1, 100))
    return next((share for share in shares if best(share, guess=guess, check=costs.__getitem__).worth), None)


def asked(a: Architecture, hardware: Fact, form: str, *, gpus: int, streams: int, context: int, by: Calibration) -> str:
    """What guessing ahead asks for with one call at a time and with `streams`, as a sentence."""

    def said(many: int) -> str:
        check = checking(a, hardware, form, gpus=gpus, streams=many, context=context, by=by)
        least = needed(guess=DRAFT, check=check)
        return "never" if least is None else f"from {least:.0%} of its guesses accepted"

    calls = f", with {streams:,} at once {said(streams)}" if streams > 1 else ""
    return f"A draft model that costs {DRAFT:.0%} of a step is worth it with one call at a time {said(1)}{calls}."


def checking(
    a: Architecture,
    hardware: Fact,
    form: str,
    *,
    gpus: int,
    streams: int,
    context: int,
    by: Calibration | None = None,
) -> Callable[[int], float]:
    """What checking costs on given hardware at `streams`: t(B (g+1)) / t(B) for g guesses."""
    by = by or calibration(hardware, form)

    def seconds(tokens: int) -> float:
        return step(a, hardware, form, gpus=gpus, streams=tokens, context=context, by=by).seconds

    return lambda ahead: seconds(streams * (ahead + 1)) / seconds(streams)
