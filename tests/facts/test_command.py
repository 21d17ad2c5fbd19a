"""`freehold facts` as people read it."""

from __future__ import annotations

import pytest

from freehold.cli import main
from freehold.facts import Facts


@pytest.mark.parametrize("table", ["hardware", "rents", "prices"])
def test_every_id_stands_in_full_to_be_typed_again(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In 80 columns too: what a row says gives way, its id, date and status don't."""
    assert main(["facts", "list", table]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["row", "as", "of", "status", "says"]
    for row, line in zip(Facts().rows(table), lines[1:], strict=True):
        assert line.split()[:3] == [row.ref, row.as_of, row.status]


def test_an_unknown_table_is_told_the_near_ones_and_where_all_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["facts", "list", "rent"]) == 2
    said = capsys.readouterr().err
    assert "Near: rents" in said
    assert "`freehold facts` lists all of them" in said
