"""A model of one's own as setups: on rented machines, on bought ones, or on the machine at hand.

rents.json: the market's row, else the median of what providers ask ──→ USD for a device and hour, with its range
            bought: a node's price, else a card's (a server comes on top: assumption "servers")
"""

from __future__ import annotations

from collections.abc import Sequence

from freehold.facts.rents import rent, spanned
from freehold.facts.tables import Facts
from freehold.facts.values import number
from freehold.nouns import Fact, Measure
from freehold.plan.money.setups import Setup, Span

__all__ = ["own_setups"]

HERE = "this-machine"


def own_setups(
    model: str,
    hardware: Fact,
    *,
    facts: Facts,
    gpus: int,
    replicas: int = 1,
    rate: Measure | None = None,
    load: float | None = None,
    format: str = "",
    engine: str = "",
    hourly: Span | None = None,
    out: Sequence[str] = (),
    notes: Sequence[str] = (),
    uses: Sequence[str] = (),
) -> tuple[Setup, ...]:
    """The ways in which this hardware can be had: none where no price is on file and it isn't the machine at hand.

    `rate`: tokens in and out a second of one replica at full load, at the demand's own mix; `load`: the replicas, a
    fraction of one included, that the peak asks for; `hourly`: what a device costs an hour, where the team knows.
    """
    watts = number(hardware, "watts") if "watts" in hardware.values else None
    devices = f"{gpus * replicas:,} " if gpus * replicas > 1 else "a "
    label = str(hardware.values.get("name", hardware.id))

    def setup(way: str, phrase: str, **money: object) -> Setup:
        return Setup(
            way, phrase, model, hardware=hardware.id, gpus=gpus, replicas=replicas, load=load, rate=rate,  # type: ignore[arg-type]
            format=format, engine=engine, watts=watts, people="people", days="days-own", out=tuple(out),
            **money,  # type: ignore[arg-type]
        )  # fmt: skip

    if hardware.id == HERE:
        unknown = ("what this machine and its power cost isn't known, so it isn't in the bill",)
        left: tuple[str, ...] = unknown if hourly is None and watts is None else ()
        return (setup("here", f"{model} on this machine", hourly=hourly, notes=(*notes, *left), uses=tuple(uses)),)
    found = []
    hired = (hourly, "given", "", (), ()) if hourly is not None else rent(hardware.id, facts)
    if hired is not None:
        price, source, as_of, refs, said = hired
        found.append(setup(
            "rent", f"{model} on {devices}rented {label}", hourly=price, hourly_source=source, hourly_as_of=as_of,
            notes=(*notes, *said), uses=(*uses, *refs),
        ))  # fmt: skip
    bought = _bought(hardware.id, gpus * replicas, facts)
    if bought is not None:
        row, price = bought
        facts.get("rents", row.id)
        card = _devices(row) == 1 and hardware.values.get("kind") == "datacentre"
        said = (f"the price of {row.id} is unverified",) if row.status == "unverified" else ()
        found.append(setup(
            "buy", f"{model} on {devices}bought {label}", capital=price, card=card, notes=(*notes, *said),
            uses=(*uses, row.ref),
        ))  # fmt: skip
    return tuple(found)


def _devices(row: Fact) -> int:
    return int(number(row, "devices")) or 1 if "devices" in row.values else 1


def _bought(hardware: str, devices: int, facts: Facts) -> tuple[Fact, Span] | None:
    """USD a device: a whole node's where the devices fill it, else a single one's."""
    rows = [
        row for row in facts.rows("rents") if row.values.get("hardware") == hardware and row.values.get("way") == "buy"
    ]  # fmt: skip
    fitting = [row for row in rows if devices % _devices(row) == 0]
    if not fitting:
        return None
    row = max(fitting, key=lambda row: _devices(row))
    each = float(_devices(row))
    value, low, high = spanned(row)
    return row, (value / each, low / each, high / each)
