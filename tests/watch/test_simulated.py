"""The figures on the page are those of the table in docs/rollout.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.watch.simulated import FALLS, Fall, line

DOC = Path(__file__).resolve().parents[2] / "docs" / "rollout.md"


@pytest.mark.parametrize("fall", FALLS, ids=lambda fall: str(fall.bar))
def test_as_in_the_document(fall: Fall) -> None:
    [row] = [one for one in DOC.read_text().splitlines() if one.startswith(f"| {fall.bar} | {fall.what} |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert float(cells[2]) == fall.after
    found = [cell.split(";")[0] for cell in cells[3:]]
    assert found == [f"{half:,} / {most:,}" for half, most in fall.kept.values()]
    assert list(fall.kept) == [0.01, 0.02, 0.05, 0.1]


@pytest.mark.parametrize(
    ("bar", "share", "kept"), [(0.95, 0.02, "2,685"), (0.95, 0.04, "2,685"), (0.9, 1.0, "732"), (0.99, 0.001, "9,199")]
)
def test_the_nearest_from_below(bar: float, share: float, kept: str) -> None:
    assert f"within {kept} kept calls" in line(bar, share)
