"""Devices of the table hardware as grounds of a training: what they reach of their data sheet, and what they cost.

    ground(row, 8, facts)                    Ground("h100-sxm", 8, flops=(2.7e14, 6.5e13, 4.3e14), price=...)
    ground(row, 1, facts, "tuning-qlora")    the same with the share that such a tuning reaches
    market(facts)                            the devices that a market price is on file for

calibration/training, tuning-lora, tuning-qlora: shares of the 16-bit peak that were published. calibration/link: of a
link's line rate. A CPU does what llama.cpp was measured to do on it. Across machines the network is the link.
"""

from __future__ import annotations

from freehold.facts.rents import rent
from freehold.facts.tables import Facts
from freehold.facts.values import number
from freehold.fit.ways import Ground, Span
from freehold.nouns import Fact

__all__ = ["counts", "ground", "market", "reached"]

CARDS = ("datacentre", "consumer")
CUDA = ("NVIDIA", "AMD")  # torch's CUDA, or ROCm under its name
SMALLER = 0.1  # of the smallest model of which figures were published: below, none is said
UNTIMED = {
    "apple": "freehold trains on a CPU or a CUDA card, and what this CPU reaches alone is not on file",
    "board": "what it reaches while training is not on file",
}


def market(facts: Facts) -> list[Fact]:
    """The devices that a market price on demand is on file for, the rows in order of the table of rents."""
    rented = [
        str(row.values["hardware"]) for row in facts.rows("rents")
        if row.values.get("way") == "rent" and row.values.get("provider") == "market"
    ]  # fmt: skip
    return [facts.get("hardware", name) for name in dict.fromkeys(rented)]


def counts(row: Fact) -> tuple[int, ...]:
    """How many of them are looked at: one, and all of a machine."""
    per = int(number(row, "per_node")) if "per_node" in row.values and row.values.get("kind") in CARDS else 1
    return (1,) if per == 1 else (1, per)


def ground(row: Fact, count: int, facts: Facts, share: str = "training", size: float = 0.0) -> Ground:
    """`share`: the row of calibration that says what is reached. `size`: parameters of what is trained (0: any), since
    nobody published what a card reaches with small models."""
    kind, card = row.values.get("kind"), row.values.get("kind") in CARDS
    per = int(number(row, "per_node")) if "per_node" in row.values else count
    flops, method, uses = reached(row, facts, share, size)
    price = rent(row.id, facts) if card else None
    return Ground(
        row.id, count, number(row, "memory"), flops, _link(row, count, per, facts), price[0] if price else None,
        per=per, card=card, out=_out(row) if kind not in ("cpu", "machine", *UNTIMED) else "", method=method,
        uses=(row.ref, *uses, *(price[3] if price else ()), *(("calibration/link",) if count > 1 else ())),
    )  # fmt: skip


def _out(row: Fact) -> str:
    """Why nothing can be trained there; "" where it can."""
    if row.values.get("kind") in CARDS and row.values.get("vendor") in CUDA:
        return ""
    return f"{row.values.get('name', row.id)} is no card that torch knows as CUDA"


def reached(row: Fact, facts: Facts, share: str, size: float = 0.0) -> tuple[Span | None, str, tuple[str, ...]]:
    """(FLOP/s of one device, how that is known, the facts it rests on)."""
    kind = str(row.values.get("kind"))
    if kind in CARDS:
        peak = row.values.get("flops", {}).get("bf16")
        if not peak:
            return None, f"{row.ref} has no FLOP/s in 16 bits", ()
        part = facts.get("calibration", share)
        if 0 < size < SMALLER * number(part, "parameters"):
            return None, "nothing is published of what a card reaches with so small a model", (part.ref,)
        middle, low, high = (float(peak) * number(part, end) for end in ("share", "low", "high"))
        said = (
            f"{number(part, 'share'):.0%} of the 16-bit peak ({number(part, 'low'):.0%} to {number(part, 'high'):.0%}, "
            f"{number(part, 'n'):.0f} published figures of other programs; freehold's loop was never timed on a card)"
        )
        return (middle, low, high), said, (part.ref,)
    if kind in UNTIMED or "prefill_flops" not in row.values:
        return None, UNTIMED.get(kind, "how fast it computes was not measured"), ()
    if share != "training" and "threads" not in row.values:
        return None, "tune works in one thread, and what one reaches on it is not on file", ()
    spread = facts.get("calibration", "spread-machine")
    flops = number(row, "prefill_flops")
    said = "as fast as llama.cpp reads on it, from half of that to twice; freehold train TEXT --plan measures its own"
    if share != "training":
        flops /= max(1.0, number(row, "threads"))
        said = (
            "one thread, as fast as llama.cpp reads with each of its own, from half of that to twice; tune measures it"
        )
    return (flops, number(spread, "low") * flops, number(spread, "high") * flops), said, (spread.ref,)


def _link(row: Fact, count: int, per: int, facts: Facts) -> Span:
    """Bytes/s that each device sends: over the machine's own links, or over the network where there are several."""
    if count == 1:
        return 1.0, 1.0, 1.0
    part = facts.get("calibration", "link")
    inside = number(row, "link")
    line = min(inside, number(row, "network") if "network" in row.values else inside) if count > per else inside
    middle, low, high = (line * number(part, end) for end in ("share", "low", "high"))
    return middle, low, high
