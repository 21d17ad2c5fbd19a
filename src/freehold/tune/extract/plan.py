"""One dial, minutes of CPU time; what follows from it, with its reasons.

plan(minutes=12, tokens=161,000, rows=12,780, weights a token=10.6 M) → Plan(rows, epochs=7, rate=3e-4, why)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["BATCH", "BATCH_TOKENS", "CLIP", "DECAY", "DROP", "HEAD", "MINUTES", "WARM", "Plan", "plan"]

MINUTES = 12.0
BATCH = 32
BATCH_TOKENS = 4096
DROP = 0.1
CLIP = 5.0  # the gradient's largest norm
DECAY = 0.01
WARM = 0.1  # share of the steps
HEAD = 5  # times the encoder's rate, for the heads
RATE, WIDTH = 3e-4, 384  # the rate at this width; Adam's goes with 1 / width
EPOCHS = (2, 20)
LEAST = 200  # rows that are used whatever the minutes
SEEN = 90_000  # rows seen in all beyond which a small log gains nothing more
SPEED = {True: 1.1e11, False: 4.0e10}  # floating-point operations a second of a core in bf16 and in float32, nominal
TRAINING = 0.9  # of the minutes; the rest is for reading, exporting and the held-back rows


@dataclass(frozen=True, slots=True)
class Plan:
    """`rows` of those given are used, drawn at random where that is fewer."""

    rows: int
    epochs: int
    rate: float
    why: str


def plan(minutes: float, *, rows: int, tokens: int, per_token: int, width: int, bf16: bool) -> Plan:
    """Epochs from the minutes and a nominal speed, never from a clock: the same rows always get the same training."""
    cost = 6.0 * per_token * tokens / SPEED[bf16]  # a forward and a backward pass are 6 operations a weight
    affordable = minutes * 60 * TRAINING / max(cost, 1e-9)
    used = rows if affordable >= EPOCHS[0] else max(min(rows, LEAST), int(rows * affordable / EPOCHS[0]))
    epochs = int(np.clip(min(round(affordable), round(SEEN / max(1, rows))), *EPOCHS))
    rate = RATE * WIDTH / width
    fewer = (
        "" if used == rows else f"{used:,} of {rows:,} rows, drawn at random, so that each is seen {EPOCHS[0]} times; "
    )
    why = (
        f"{fewer}{epochs} epochs: {minutes:g} minutes pay for {affordable:.1f} of about {cost:.0f} CPU-seconds, and no "
        f"more than {SEEN:,} rows are seen (each {EPOCHS[0]} to {EPOCHS[1]} times); rate {rate:.2g} = {RATE:g} x "
        f"{WIDTH} / {width} (Adam's goes with 1 / width), heads {HEAD} times that"
    )
    return Plan(used, epochs, rate, why)
