"""Minutes, for pairs: how many are seen how often, and at which rate, each with its reason.

dial(pairs=400, seconds_pair=0.9, seconds=504, width=576, rank=16, alpha=32, ...) -> Plan(rows=400, epochs=1, ...)
"""

from __future__ import annotations

from freehold.tune.decoder.device import Device
from freehold.tune.decoder.memory import Size
from freehold.tune.decoder.plan import WARM, Plan

__all__ = ["ANCHOR", "BATCH", "BETA", "dial"]

BATCH = 8  # pairs
BETA = 0.1  # of DPO's authors (arXiv:2305.18290, appendix B)
ANCHOR = 1.0  # alpha of Pang et al. (arXiv:2404.19733)
EPOCHS = 3
RATE, WIDTH = 1e-4, 576  # measured at this width; at twice the rate logged answers became less likely
LEAST_RATE = 1e-5
REFERENCE = 1 / 3  # of a pair's step: one pass forward, before the first one


def dial(
    *,
    pairs: int,
    seconds_pair: float,
    seconds: float,
    width: int,
    rank: int,
    alpha: int,
    dtype: tuple[str, str],
    bits: int,
    rate: float | None,
    form: Size,
    device: Device,
    loose: str,
) -> Plan:
    """How `pairs` pairs are learned in `seconds`, where one takes `seconds_pair` (measured)."""
    afford = max(BATCH, int(seconds / seconds_pair))
    used = min(pairs, max(BATCH, int(afford / (1 + REFERENCE))))
    epochs = min(EPOCHS, max(1, round(afford / used - REFERENCE))) if used == pairs else 1
    steps = -(-used // BATCH) * epochs
    top = rate if rate is not None else max(LEAST_RATE, RATE * min(1.0, WIDTH / width))
    why = (
        dtype[1] if bits == 16 else "4 bits as asked: NF4 with double quantisation, the adapter in float32",
        f"{used:,} of {pairs:,} pairs, {epochs} times: {seconds:.0f} {device.seconds} pay for {afford:,} pairs at "
        f"{seconds_pair:.2g} s each (measured), and each is first looked at by the reference; none more than {EPOCHS} "
        "times",
        f"rank {rank}, alpha {alpha}: those of the adapter that it starts from",
        f"rate {top:.2g} as given"
        if rate is not None
        else f"rate {top:.2g} = {RATE:g} x {WIDTH} / {width} (Adam's goes with 1 / width), not above {RATE:g} nor "
        f"below {LEAST_RATE:g}",
        f"{steps:,} steps of {BATCH} pairs, the rate up for {WARM:.0%} of them and down to 0 after; beta {BETA:g}",
        f"the preferred answer's own loss besides, with the weight {ANCHOR:g}: DPO alone made it less likely as well",
        *filter(None, (form.why, loose)),
    )
    return Plan(
        dtype[0], bits, rank, alpha, top, BATCH, used, epochs, steps, why,
        device=device.name, piece=form.piece, recompute=form.recompute, loose=loose,
    )  # fmt: skip
