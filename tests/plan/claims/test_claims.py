"""Each public claim, recomputed: the verdict and every figure are those that were worked out beforehand."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
CLAIMS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("claims.json").read_text(encoding="utf-8"))
BY_HAND = {"C01", "C02", "C03", "C05", "C06", "C07", "C08", "C11", "C22", "C23", "C24", "C29"}


@pytest.fixture(scope="module")
def run() -> Any:
    """Every claim with what was found, computed once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "plan"))
        from claims import check, page

        found = {claim["id"]: check.decide(claim) for claim in CLAIMS}
        yield found, check, page
    for name in [name for name in sys.modules if name == "claims" or name.startswith("claims.")]:
        del sys.modules[name]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_a_claim_gets_its_verdict_and_its_figures(claim: dict[str, Any], run: Any) -> None:
    found, check, _ = run
    made, differs = found[claim["id"]], claim.get("differs", {})
    assert made.verdict == claim["verdict"]
    assert set(claim.get("expected", {})) <= set(made.figures)
    for name, expected in claim.get("expected", {}).items():
        inside = check.within(made.figures[name].value, expected)
        assert inside != (name in differs), (name, made.figures[name].value, expected)


def test_the_page_is_what_this_run_says(run: Any) -> None:
    found, _, page = run
    made = page.page([(claim, found[claim["id"]]) for claim in CLAIMS])
    assert (ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == made, "stale: run scripts/claims"


def test_every_claim_says_where_it_is_from_and_how_sure_it_is() -> None:
    assert [claim["id"] for claim in CLAIMS] == [f"C{n:02}" for n in range(1, 47)]
    computed = {claim["id"] for claim in CLAIMS if claim["status"] == "computed"}
    assert computed >= BY_HAND
    for claim in CLAIMS:
        assert claim["status"] in ("computed", "seen", "unverified")
        assert bool(claim.get("formula")) == (claim["status"] == "computed")
        assert claim["sources"] or claim["status"] == "unverified"
        assert claim.get("formula") or claim["because"]
    assert all(claim["expected"] for claim in CLAIMS if claim["id"] in BY_HAND)


def test_the_quotes_are_verbatim(shared: Path) -> None:
    text = (shared / "FACTS.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (C\d\d) \| (.*?) \| ", text, re.M))
    assert {claim["id"]: rows[claim["id"]].strip('"') for claim in CLAIMS} == {
        claim["id"]: claim["quote"].strip('"') for claim in CLAIMS
    }


def test_a_changed_price_changes_the_verdict(run: Any) -> None:
    """The verdict hangs on the arithmetic: a claim of less than the bill is true."""
    _, check, _ = run
    first = CLAIMS[0]
    small = {**first, "inputs": {**first["inputs"], "claimed": 1000}}
    assert check.decide(small).verdict == "TRUE"
    groq = next(claim for claim in CLAIMS if claim["id"] == "C04")
    assert check.decide({**groq, "inputs": {**groq["inputs"], "claimed": [4, 8]}}).verdict == "FALSE"
