"""One dial, minutes (of CPU, or on the clock where a card tunes); the rest follows, each with its reason.

    plan(rows=9000, seconds_row=0.45, seconds=504, ..) -> Plan(rank=16, rate=2e-3, rows=1120, epochs=1, why=(...), ...)

Different rows teach more than the same rows again, so epochs grow only once every row is seen.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BATCH", "PIECE", "Plan", "plan", "shares"]

BATCH = 8
PIECE = 1024  # ids of a step in memory at once on a CPU, the shared prefix apart
EPOCHS = 5  # more would learn the rows by heart
RATE, WIDTH = 2e-3, 576  # a rate that was stable, and the width of the model that it was measured on
LEAST_RATE = 1e-4
WARM = 0.05  # share of the steps with a growing rate; after them it falls to 0 on a line
TRAIN, COMPARE = 0.70, 0.20  # shares of the minutes; the rest loads, measures and writes


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. `rows` of those there are, seen `epochs` times, in steps of `batch`; `piece` ids of a step are
    in memory at once. `recompute`: activations are made twice. `loose` names what keeps a card from the same bits."""

    dtype: str
    bits: int
    rank: int
    alpha: int
    rate: float
    batch: int
    rows: int
    epochs: int
    steps: int
    why: tuple[str, ...]
    device: str = "cpu"
    piece: int = PIECE
    recompute: bool = False
    loose: str = ""

    def rate_at(self, step: int) -> float:
        """The rate of a step, counted from 0: up on a line, then down to 0 on a line."""
        warm = max(1, round(WARM * self.steps))
        return self.rate * min((step + 1) / warm, (self.steps - step) / max(1, self.steps - warm))


def shares(minutes: float) -> tuple[float, float]:
    """Seconds for the training, and seconds for comparing it with its rival."""
    return 60 * minutes * TRAIN, 60 * minutes * COMPARE


def plan(
    *,
    rows: int,
    seconds_row: float,
    seconds: float,
    width: int,
    dtype: tuple[str, str],
    bits: int = 16,
    rate: float | None = None,
    unit: str = "CPU seconds",
    layers: str = "all linear layers but the head",
) -> Plan:
    """How `rows` rows are learned in `seconds` (`unit` says which), where one row takes `seconds_row` (measured)."""
    afford = max(BATCH, int(seconds / seconds_row))
    used = min(rows, afford)
    epochs = min(EPOCHS, max(1, round(afford / used))) if used == rows else 1
    steps = -(-used // BATCH) * epochs
    seen = used * epochs
    rank = 8 if seen < 500 else 16 if seen < 20_000 else 32
    top = rate if rate is not None else max(LEAST_RATE, RATE * min(1.0, WIDTH / width))
    why = (
        dtype[1] if bits == 16 else "4 bits as asked: NF4 with double quantisation, the adapter in float32",
        f"{used:,} of {rows:,} rows, {epochs} times: {seconds:.0f} {unit} pay for {afford:,} rows at "
        f"{seconds_row:.2g} s each (measured); all different rows before any twice, and none more than {EPOCHS} times",
        f"rank {rank} on {layers}: {seen:,} rows seen (8 below 500, 32 from 20,000); alpha twice the rank",
        f"rate {top:.2g} as given"
        if rate is not None
        else f"rate {top:.2g} = {RATE:g} x {WIDTH} / {width} (Adam's "
        f"goes with 1 / width; {RATE:g} was stable at {WIDTH}), not above {RATE:g} nor below {LEAST_RATE:g}",
        f"{steps:,} steps of {BATCH} rows, the rate up for {WARM:.0%} of them and down to 0 after",
    )
    return Plan(dtype[0], bits, rank, 2 * rank, top, BATCH, used, epochs, steps, why)
