"""The plan's pages in headless Chromium: they fit a phone, a tablet and a desk, draw their plots, and print alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.nouns import Plan
from freehold.report import report

LOOK = Path(__file__).resolve().parents[2] / "scripts" / "look"
HOVER = """new Promise(done => {
  const over = document.querySelector('.u-over'), r = over.getBoundingClientRect();
  const at = {clientX: r.left + 2, clientY: r.top + 50, bubbles: true};
  over.dispatchEvent(new MouseEvent('mouseenter')); over.dispatchEvent(new MouseEvent('mousemove', at));
  setTimeout(() => done(document.querySelector('.readout').textContent), 200); })"""


def look(page: Path | str, *options: str) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, LOOK, page, *options], capture_output=True, text=True, timeout=120)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    plan = msgspec.json.decode((Path(__file__).parent / "plan_move.json").read_bytes(), type=Plan)
    path = tmp_path / "report.html"
    path.write_text(report(None, plan, name="desk"))
    return path


def test_it_fits_and_draws_everywhere(page: Path) -> None:
    views = look(page, "--widths", "360,768,1180", "--eval", HOVER)
    assert len(views) == 6
    for view in views:
        assert view["errors"] == []
        assert view["overflow"] == 0
        assert view["requests"] == [page.as_uri()]
        assert view["value"].startswith("Nov 2026: gpt-6-luna at OpenAI $200 (")
        assert len(view["canvases"]) == 2
        for width, height, inked in view["canvases"]:
            assert width > 300
            assert height > 200
            assert inked > 5000


def test_without_scripts_the_figures_are_there(page: Path) -> None:
    [view] = look(page, "--no-js", "--widths", "360", "--schemes", "light", "--eval", "document.body.innerText")
    assert view["canvases"] == []
    assert "every figure of it is in the table below" in view["value"]


def test_a_page_opened_by_its_link_prints_alone(page: Path, tmp_path: Path) -> None:
    shot = ("--widths", "1180", "--schemes", "light", "--height", "100", "--pdf", "--out", str(tmp_path))
    look(page, *shot, "--name", "all")
    look(page.as_uri() + "#plan-lawyer", *shot, "--name", "lawyer")
    whole, alone = (_pages(tmp_path / f"{name}-1180-light.pdf") for name in ("all", "lawyer"))
    assert 0 < alone < whole / 2


def _pages(path: Path) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))
