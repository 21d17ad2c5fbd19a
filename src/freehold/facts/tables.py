"""Facts as rows that can be listed, found, overridden and cited: each with its source, its date and how sure it is.

    facts = Facts(settings.facts)
    facts.rows("hardware")                 every row, the team's own among them
    facts.get("hardware", "h100-sxm")      Fact(values={"bandwidth": 3.35e12, ...}, source, as_of, status="seen")
    facts.used                             every row that `get` gave out: what a plan rests on

    freehold.toml:  [facts.hardware."h100-sxm"]      one field of a row, or a row of one's own
                    bandwidth = 3.0e12

A table is a file of data/: rows with `id` (or the columns that name them), `source`, `as_of` and, where it isn't
"seen", `status`; what else a row holds are the fact's values.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from freehold.errors import BadSetting
from freehold.facts.catalogue import load
from freehold.facts.own import ABOUT, own_row
from freehold.nouns import Fact

__all__ = ["TABLES", "Facts", "Own"]

Own = Mapping[str, Mapping[str, Mapping[str, Any]]]
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "models": ("models.json", ()),
    "hardware": ("hardware.json", ()),
    "rents": ("rents.json", ()),
    "hosted": ("hosted.json", ()),
    "formats": ("formats.json", ()),
    "licences": ("licences.json", ()),
    "openness": ("openness.json", ()),
    "laws": ("laws.json", ()),
    "quality": ("quality.json", ()),
    "carbon": ("carbon.json", ()),
    "assumptions": ("assumptions.json", ()),
    "calibration": ("calibration.json", ()),
    "loads": ("loads.json", ()),
    "terms": ("terms.json", ("rule", "vendors", "kinds")),
    "prices": ("prices.csv", ("provider", "model", "from", "above")),
    "tiers": ("tiers.csv", ("provider", "tier", "models")),
    "retirements": ("retirements.csv", ("model",)),
    "vendors": ("vendors.json", ("vendor",)),
    "hosts": ("hosts.csv", ("host",)),
    "machines": ("machines.json", ("name",)),
    "bases": ("bases.json", ("name",)),
    "portability": ("portability.json", ("kind",)),
    "token_weights": ("token_weights.json", ("family",)),
}
"""Each table's file, and what a row is called by where it has no id."""


class Facts:
    """The tables with the team's own rows over them; it remembers what was asked for by name."""

    def __init__(self, own: Own | None = None) -> None:
        self._own = own or {}
        self._tables: dict[str, dict[str, Fact]] = {}
        self._used: dict[str, Fact] = {}
        for table in self._own:
            self._table(table)  # what can't be meant is said at once

    def rows(self, table: str) -> tuple[Fact, ...]:
        """Every row of a table. Raises BadSetting where there is no such table, with the near matches."""
        return tuple(self._table(table).values())

    def get(self, table: str, name: str) -> Fact:
        """One row, by its id or one of its `aliases`. Raises BadSetting with the near matches where there is none."""
        found = self.find(table, name)
        if found is None:
            raise BadSetting(f"{table} has no {name!r}.", self._near(table, name))
        self._used[found.ref] = found
        return found

    def add(self, fact: Fact) -> None:
        """A row that isn't on file, such as a model that somebody brings; it goes over one of the same id."""
        self._table(fact.table)
        self._tables[fact.table] = self._tables[fact.table] | {fact.id: fact}

    def find(self, table: str, name: str) -> Fact | None:
        """As `get`, without remembering it; None where there is no such row."""
        rows, wanted = self._table(table), name.strip().lower()
        if wanted in rows:
            return rows[wanted]
        return next((row for row in rows.values() if wanted in row.values.get("aliases", ())), None)

    @property
    def used(self) -> tuple[Fact, ...]:
        """What `get` gave out so far, by table and id."""
        return tuple(self._used[ref] for ref in sorted(self._used))

    def _near(self, table: str, name: str) -> str:
        known = [word for row in self._table(table).values() for word in (row.id, *row.values.get("aliases", ()))]
        near = difflib.get_close_matches(name.strip().lower(), known, 5, 0.5)
        near += [word for word in known if name.strip().lower() in word and word not in near]
        said = f"Near: {', '.join(near[:5])}." if near else f"There are {len(self._table(table))} rows."
        return f"{said} `freehold facts list {table}` shows all of them; a row of your own goes into freehold.toml."

    def _table(self, table: str) -> dict[str, Fact]:
        if table not in TABLES:
            near = difflib.get_close_matches(table, TABLES, 3, 0.4) or sorted(TABLES)
            hint = f"Near: {', '.join(near)}. `freehold facts` lists all of them."
            raise BadSetting(f"There is no table of facts {table!r}.", hint)
        if table not in self._tables:
            file, keys = TABLES[table]
            found = {fact.id: fact for row in load(file) for fact in [_fact(table, row, keys)]}
            own: dict[str, Fact] = {}
            for name, values in self._own.get(table, {}).items():
                own[name.lower()] = own_row(table, name.lower(), values, found)
            self._tables[table] = found | own
        return self._tables[table]


def _fact(table: str, row: Mapping[str, Any], keys: tuple[str, ...]) -> Fact:
    values = {name: value for name, value in row.items() if name not in ABOUT}
    name = row["id"] if "id" in row else "/".join(_word(row[key]) for key in keys if row[key])
    return Fact(table, name, values, row["source"], row["as_of"], row.get("status", "seen"))


def _word(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
