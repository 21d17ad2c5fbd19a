"""Every published count and printed size, as benchmarks/fit_error.py compares them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fit_error(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import fit_error

    return fit_error


def test_published_counts_are_met_or_the_difference_is_named(fit_error: ModuleType, shared: Path) -> None:
    said = json.loads((ROOT / "benchmarks" / "published_sizes.json").read_text("utf-8"))
    found = fit_error.architectures(shared / "data")
    rows = [fit_error.compare(row, found[row["from"]]) for row in said["parameters"]]
    assert not [row for row in rows if row["verdict"] == "off"]
    assert sum(row["verdict"] == "exact" for row in rows) >= 140
    assert {name for name in found if name.startswith("aic:")} == {r["from"] for r in rows if r["from"][:4] == "aic:"}
    assert all(found[f"aic:{name}"].known for name in (r["from"][4:] for r in rows if r["from"][:4] == "aic:"))
    for row in said["gguf"]:
        assert fit_error.gib(row, found[row["from"]]) == pytest.approx(row["gib"], rel=0.03), row
    assert "fit_error" in sys.modules
