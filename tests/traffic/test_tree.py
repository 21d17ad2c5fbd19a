"""Rows parted by shared beginnings: templates are told from values, endings are the same walk backwards."""

from __future__ import annotations

from freehold.traffic.affixes import masked
from freehold.traffic.tree import Row, Tree

WORDS = [
    "plum", "river", "stone", "cloud", "amber", "lantern", "meadow", "harbour", "thistle", "copper", "willow", "ember",
    "falcon", "orchard", "pebble", "marble", "saffron", "walnut", "cedar", "velvet",
]  # fmt: skip


def said(before: str, answer: str, count: int = 40, after: str = "") -> list[Row]:
    own = (f"{WORDS[i % 20]} {WORDS[(7 * i + i // 20) % 20]}" for i in range(count))
    return [Row((f"{before}{text}{after}",), answer) for text in own]


def begun(rows: list[Row]) -> tuple[list[set[str | None]], int]:
    """The answers in each group, and how many rows are in none."""
    groups, rest = Tree(rows, lambda row: masked(row.texts[0])).parts()
    return [{row.answer for row in group.rows} for group in groups], len(rest)


def test_two_templates_are_two_groups_and_what_shares_nothing_is_left() -> None:
    rows = said("Sort this ticket by its queue: ", "cards") + said("Say how the writer feels: ", "glad")
    assert begun(rows + said("", "x", 4)) == ([{"glad"}, {"cards"}], 4)


def test_numbers_make_no_difference() -> None:
    rows = [row for i in range(20) for row in said(f"Ticket number {i}: ", "cards", 3)]
    assert begun(rows) == ([{"cards"}], 0)


def test_days_and_months_make_no_difference_where_they_are_a_date() -> None:
    dates = "Monday, 3 May 2026; Sept 9, Sep. 9, Jan 1. Augustus may march on Monday"
    assert masked(dates) == "0, 0 0 0; 0 0, 0. 0, 0 0. Augustus may march on Monday"


def test_values_of_one_field_are_no_templates() -> None:
    fields = (f"Answer by the passage: {a} {b} and so on it goes.\nQ: " for a in WORDS[:5] for b in WORDS[:4])
    rows = [row for i, field in enumerate(fields) for row in said(field, f"answer {i % 3}", 8)]
    (group,), rest = Tree(rows, lambda row: masked(row.texts[0])).parts()
    assert (len(group.rows), rest) == (160, [])
    assert group.begins


def test_endings_are_found_backwards() -> None:
    rows = said("", "yes", after="\n\nIs it true? Say yes or no.") + said("", "x", 4)
    groups, rest = Tree(rows, lambda row: masked(row.texts[0])[::-1], turned=True).parts()
    assert [len(group.rows) for group in groups] == [40]
    assert len(rest) == 4


def test_too_few_rows_are_not_parted() -> None:
    rows = said("Sort this ticket by its queue: ", "cards", 4)
    assert begun(rows) == ([], 4)
