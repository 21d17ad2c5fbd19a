"""The watch page in headless Chromium: it draws, fits, stays silent, and lets no text become markup."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.project import Project

LOOK = Path(__file__).resolve().parents[2] / "scripts" / "look"
EVIL = "<img src=x onerror=alert(1)>"
Row = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


@pytest.fixture
def serving(project: Project) -> Iterator[str]:
    command = [sys.executable, "-m", "freehold", "watch", str(project.path), "--port", "0", "--show-prompts"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        stop = threading.Timer(100, process.kill)
        stop.start()
        address = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{address}data.json", timeout=60) as answer:  # the first one loads scipy
            answer.read()
        yield address
        stop.cancel()
        process.terminate()


def look(page: str, *options: str) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, LOOK, page, *options], capture_output=True, text=True, timeout=120)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_fits_draws_and_asks_only_itself(serving: str, project: Project, row: Row, write: Write) -> None:
    write(project, [row(5 * i, "escalated" if i % 4 == 3 else "home") for i in range(300)])
    views = look(serving, "--wait", "2", "--eval", "document.querySelector('h1').textContent")
    assert len(views) == 4
    for view in views:
        assert view["errors"] == []
        assert view["overflow"] == 0
        assert view["value"] == "75.0 % of calls stayed home."
        assert {url.startswith((serving, "data:")) for url in view["requests"]} == {True}
        [(width, height, inked)] = view["canvases"]
        assert width > 300
        assert height > 200
        assert inked > 5000


def test_text_stays_text(serving: str, project: Project, row: Row, write: Write) -> None:
    student = row(0)["freehold"]["student"] | {"answer": EVIL}
    write(project, [row(i, "escalated", task=EVIL, text=EVIL, reason=EVIL, student=student) for i in range(3)])
    count = "[document.images.length, document.body.innerText.split('<img src=x').length - 1, document.title]"
    [view] = look(serving, "--wait", "2", "--widths", "1280", "--schemes", "light", "--eval", count)
    images, texts, _ = view["value"]
    assert images == 0
    assert texts >= 13  # the task's row; and of three calls the task, the reason, the answer, the text
    assert view["errors"] == []


def test_no_calls_yet(serving: str) -> None:
    [view] = look(serving, "--wait", "2", "--widths", "360", "--schemes", "light", "--eval", "document.body.innerText")
    assert "No calls yet." in view["value"]
    assert view["errors"] == []
    assert view["overflow"] == 0
