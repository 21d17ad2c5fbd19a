"""A team's own rows: what they may say, and what is said at once where it can't be meant."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.errors import BadSetting
from freehold.facts import Facts
from freehold.facts.own import MORE, READ
from freehold.facts.tables import TABLES
from freehold.nouns import Fact

NEW = {"memory": 80e9, "bandwidth": 2e12}


@pytest.mark.parametrize(
    ("table", "name", "own", "said"),
    [
        ("hardware", "h100-sxm", {"bandwith": 3e12}, "no field 'bandwith'. Near: bandwidth"),
        ("hardware", "h100-sxm", {"memory": 80}, "memory is 80. It is a number, from"),  # gigabytes
        ("hardware", "h100-sxm", {"bandwidth": 0}, "bandwidth is 0"),
        ("hardware", "h100-sxm", {"bandwidth": "fast"}, "bandwidth is 'fast'"),
        ("hardware", "h100-sxm", {"bandwidth": float("inf")}, "bandwidth is inf"),
        ("hardware", "h100-sxm", {"per_node": -1}, "per_node is -1"),
        ("hardware", "h100-sxm", {"flops": 989e12}, "It is a table of a number"),
        ("hardware", "h100-sxm", {"flops": {"bf16": "many"}}, "flops is {'bf16': 'many'}"),
        ("hardware", "mine", NEW | {"aliases": 5}, "aliases is 5. It is a list of words"),
        ("hardware", "mine", NEW | {"as_of": "yesterday"}, "as_of is 'yesterday'"),
        ("hardware", "mine", {"name": "Mine"}, "hardware/mine lacks memory, bandwidth"),
        ("models", "mine", {"kind": "decoder"}, "models/mine lacks licence"),
        ("rents", "mine", {"usd": 1.0}, "no field 'usd'"),
        ("quality", "mine", {"arena": 5.0}, "lacks low"),
        ("laws", "mine", {"what": "Do it.", "scope": 3}, "scope is 3"),
        ("loads", "busy-hour", {"value": "often"}, "value is 'often'"),
        ("calibration", "gpu", {"grouped": 0}, "grouped is 0"),
        ("assumptions", "groth", {"value": 2.0, "low": 1.0, "high": 3.0}, "no 'groth'. Near: growth"),
        ("assumptions", "growth", {"value": True}, "value is True"),
        ("retirements", "gpt-4o", {"date": "2027-01-01"}, "are not taken from freehold.toml"),
    ],
)  # fmt: skip
def test_a_row_that_cant_be_meant_is_said_at_once(table: str, name: str, own: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSetting) as error:
        Facts({table: {name: own}})
    assert said in str(error.value)


def test_every_shipped_row_could_be_a_teams_own() -> None:
    for table in READ:
        rows = Facts().rows(table)
        own = Facts({table: {row.id: row.values for row in rows}})
        assert {row.status for row in own.rows(table)} == {"given"}
        assert [row.values for row in own.rows(table)] == [_lowered(row) for row in rows]


def _lowered(row: Fact) -> dict[str, Any]:
    found = dict(row.values)
    return found | ({"aliases": [word.lower() for word in found["aliases"]]} if "aliases" in found else {})


def test_a_new_row_is_found_by_its_aliases_however_they_are_written() -> None:
    own = Facts({"hardware": {"Our-Card": NEW | {"aliases": ["OURS"], "as_of": "2026-01-01"}}})
    assert own.get("hardware", "ours").id == "our-card"
    assert own.get("hardware", "h100-sxm").status == "seen"


def test_what_is_read_is_a_table_and_what_no_row_says_may_be_given() -> None:
    assert set(READ) < set(TABLES)
    for table, fields in MORE.items():
        assert all(field not in row.values for row in Facts().rows(table) for field in fields)
    assert Facts({"hardware": {"h100-sxm": {"disk": 3e9}}}).get("hardware", "h100-sxm").values["disk"] == 3e9
