"""The team's own rows, [facts.TABLE."ID"] in freehold.toml, checked at the door against the rows that are shipped.

    bandwith = 3.0e12    hardware/h100-sxm has no field 'bandwith'. Near: bandwidth.
    memory = 80          hardware/h100-sxm: memory is 80. It is a number from 8e+06 to ... (bytes, not gigabytes)
    aliases = "mine"     hardware/mine: aliases is 'mine'. It is a list of words.

A column holds what its shipped rows hold: words, numbers or true and false, alone, in a list or by name. A number is 0
or more; of what can be measured it is above 0 and within a thousand times what any shipped row says, so that a slip of
the unit is caught.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from freehold.errors import BadSetting
from freehold.nouns import Fact

__all__ = ["ABOUT", "READ", "own_row"]

ABOUT = ("id", "source", "as_of", "status")
READ: dict[str, tuple[str, ...]] = {
    "models": ("kind", "licence"),
    "hardware": ("memory", "bandwidth"),
    "rents": ("hardware", "way", "price"),
    "hosted": ("model", "input", "output"),
    "formats": (),
    "licences": (),
    "openness": ("models",),
    "laws": ("what",),
    "quality": ("arena", "low"),
    "carbon": ("grams_per_kwh",),
    "assumptions": ("value", "low", "high"),
    "calibration": ("engine", "precision", "maker", "compute", "devices"),
    "loads": (),
}
"""The tables in which a team's rows are read, and what a new row must say."""
ASKED = ("assumptions",)
"""Tables whose rows are asked for by name alone: a row under another name would be read by nobody."""
MORE = {"hardware": {"disk": 1e9}, "formats": {"bits": 4.0}}
"""Fields that no shipped row has, each with such a value: bytes a second, bits a weight."""
MEASURED = ("hardware", "calibration", "loads")
NONE = ("crowd", "latency", "layer")
"""What may be 0 among what is measured: times on top."""
FAR = 1000.0


def own_row(table: str, name: str, own: Mapping[str, Any], rows: Mapping[str, Fact]) -> Fact:
    """A row of the team's own, or the shipped row of that name with the team's fields over it. Raises BadSetting for a
    table or a field that is not one, for what a new row lacks, and for a value of another kind."""
    ref, row, own = f"{table}/{name}", rows.get(name), {field: _plain(value) for field, value in own.items()}
    if table not in READ:
        raise BadSetting(
            f"{ref}: the rows of {table} are not taken from freehold.toml.",
            f"These are: {', '.join(READ)}; prices of your own go under [prices.MODEL].",
        )
    if row is None and table in ASKED:
        raise BadSetting(f"{table} has no {name!r}.", _near(name, rows))
    columns = _columns(table, rows.values())
    values = {field: value for field, value in own.items() if field not in ABOUT}
    for field, value in values.items():
        if field not in columns:
            raise BadSetting(f"{ref} has no field {field!r}.", _near(field, columns))
        columns[field].check(ref, field, value)
    missing = [field for field in READ[table] if row is None and field not in values]
    if missing:
        raise BadSetting(f"{ref} lacks {', '.join(missing)}.", "A row of your own says at least that.")
    if "aliases" in values:
        values["aliases"] = [word.lower() for word in values["aliases"]]
    source, as_of = str(own.get("source", "freehold.toml")), str(own.get("as_of", row.as_of if row else ""))
    return Fact(table, name, (row.values if row else {}) | values, source, _day(ref, as_of), "given")


@dataclass(frozen=True, slots=True)
class _Column:
    """What the shipped rows hold in one field: in what, of what kinds, and between which numbers."""

    boxes: frozenset[str]
    kinds: frozenset[str]
    least: float
    most: float

    def check(self, ref: str, field: str, value: Any) -> None:
        good = _box(value) in self.boxes and all(
            _kind(leaf) in self.kinds and (_kind(leaf) != "a number" or self._within(leaf)) for leaf in _leaves(value)
        )
        if not good:
            raise BadSetting(f"{ref}: {field} is {str(value)[:60] if _box(value) else repr(value)[:60]}.", self._hint())

    def _within(self, number: float) -> bool:
        return math.isfinite(number) and self.least <= number <= self.most

    def _hint(self) -> str:
        top = f"from {self.least:.3g} to {self.most:.3g}" if self.most < math.inf else "0 or more"
        said = [f"{kind}, {top}" if kind == "a number" else kind for kind in sorted(self.kinds)]
        box = " or ".join(sorted(self.boxes)).strip()
        return f"It is {box + ' of ' if box else ''}{' or '.join(said)}."


def _columns(table: str, rows: Iterable[Fact]) -> dict[str, _Column]:
    seen: dict[str, list[Any]] = {field: [value] for field, value in MORE.get(table, {}).items()}
    for row in rows:
        for field, value in row.values.items():
            seen.setdefault(field, []).append(value)
    return {field: _column(values, table in MEASURED and field not in NONE) for field, values in seen.items()}


def _column(values: list[Any], measured: bool) -> _Column:
    leaves = [leaf for value in values for leaf in _leaves(value)]
    numbers = [leaf for leaf in leaves if _kind(leaf) == "a number"]
    least, most = min(numbers, default=0.0), max(numbers, default=0.0)
    kinds = frozenset(map(_kind, leaves)) or frozenset({"words"})
    boxes = frozenset(map(_box, values))
    return _Column(boxes, kinds, *((least / FAR, most * FAR) if measured else (min(0.0, least), math.inf)))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def _box(value: Any) -> str:
    return "a table" if isinstance(value, Mapping) else "a list" if isinstance(value, list | tuple) else ""


def _kind(leaf: Any) -> str:
    if isinstance(leaf, bool):
        return "true or false"
    return "a number" if isinstance(leaf, int | float) else "words" if isinstance(leaf, str) else "nothing"


def _plain(value: Any) -> Any:
    """TOML's dates as everything else writes them."""
    return value.isoformat() if isinstance(value, date) else value


def _day(ref: str, said: str) -> str:
    try:
        return date.fromisoformat(said).isoformat() if said else ""
    except ValueError:
        raise BadSetting(f"{ref}: as_of is {said!r}.", "It is a date, such as 2027-01-14.") from None


def _near(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(word.lower(), names, 3, 0.5)
    return f"Near: {', '.join(near)}." if near else f"Known: {', '.join(names)}."
