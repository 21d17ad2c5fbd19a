"""The report in headless Chromium, as people see it: phone and desk, light and dark, and without scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from freehold.nouns import Artifact, Audit, Plan, Verdict
from freehold.report import report

LOOK = Path(__file__).resolve().parents[2] / "scripts" / "look"
PAPER = "getComputedStyle(document.body).backgroundColor"


def look(page: Path, *options: str) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, LOOK, page, *options], capture_output=True, text=True, timeout=120)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def page(tmp_path: Path, audit: Audit, plan: Plan, verdict: Verdict, artifact: Artifact) -> Path:
    path = tmp_path / "report.html"
    path.write_text(report(audit, plan, [verdict], artifacts=[artifact], notices=["Times are constructed."]))
    return path


def test_it_fits_and_draws_everywhere(page: Path) -> None:
    views = look(page, "--eval", PAPER)
    assert [(v["width"], v["scheme"]) for v in views] == [(w, s) for w in (360, 1280) for s in ("light", "dark")]
    for view in views:
        assert view["errors"] == []
        assert view["overflow"] == 0
        assert view["requests"] == [page.as_uri()]
        [(width, height, inked)] = view["canvases"]
        assert width > 300
        assert height > 200
        assert inked > 2000
    assert views[0]["value"] == views[2]["value"] != views[1]["value"] == views[3]["value"]


def test_the_pointer_reads_a_point(page: Path) -> None:
    move = "new MouseEvent('mousemove', {clientX: r.left + r.width * 0.5, clientY: r.top + 50, bubbles: true})"
    expression = f"""new Promise(done => {{
      const over = document.querySelector('.u-over'), r = over.getBoundingClientRect();
      over.dispatchEvent(new MouseEvent('mouseenter')); over.dispatchEvent({move});
      setTimeout(() => done(document.querySelector('.readout').textContent), 200); }})"""
    [view] = look(page, "--widths", "1280", "--schemes", "light", "--eval", expression)
    assert view["value"].startswith("keeps 50.0 %, agrees on 99.59 % of them (99.")
    assert view["errors"] == []


def test_without_scripts_the_table_is_there(page: Path) -> None:
    [view] = look(page, "--no-js", "--widths", "360", "--schemes", "light", "--eval", "document.body.innerText")
    assert view["canvases"] == []
    assert view["errors"] == []
    assert "every point of it is in the table below" in view["value"]
