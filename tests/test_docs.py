"""What we write stays true: the README's commands run, every verb and flag is documented, links lead somewhere."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from freehold.cli import VERBS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("examples/*/README.md"))]


def parser(verb: str) -> argparse.ArgumentParser:
    module = importlib.import_module("freehold.switch" if verb == "switch" else f"freehold.{verb}.command")
    found = argparse.ArgumentParser()
    module.flags(found)
    return found


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_and_flag_is_documented(verb: str) -> None:
    page = (ROOT / "docs" / f"{verb}.md").read_text(encoding="utf-8")
    assert f"freehold {verb}" in page
    for action in parser(verb)._actions:
        for flag in action.option_strings:
            if flag.startswith("--") and flag != "--help":
                assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", page), f"docs/{verb}.md lacks {flag}"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_no_page_names_a_flag_that_is_gone(verb: str) -> None:
    known = {flag for action in parser(verb)._actions for flag in action.option_strings}
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            for command in re.findall(rf"freehold {verb} [^`|#]*", line):
                for flag in re.findall(r"(?<![\w-])--[a-z-]+", command):
                    assert flag in known, f"{page.name}: {command.strip()}"


def test_the_two_commands_stand_in_the_first_hundred_words() -> None:
    start = " ".join(README.split()[:100])
    assert "scripts/demo" in start
    assert "scripts/test" in start


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_local_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def sessions() -> list[str]:
    """The README's console blocks, each as one script: its lines that start with `$ `."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.S)
    scripts = ["\n".join(line[2:] for line in block.splitlines() if line.startswith("$ ")) for block in blocks]
    return [script for script in scripts if not script.startswith(("scripts/", "git "))]


@pytest.mark.parametrize("script", sessions(), ids=lambda s: s.split("\n")[0][:50])
def test_the_readmes_commands_run(script: str, journey: Any, tmp_path: Path) -> None:
    """In a folder like the clone, with the journey's project already there, so that only what is new takes time."""
    if "--minutes" in script:
        pytest.importorskip("torch", reason="tuning a student that extracts or writes needs freehold[tune]")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    shutil.copytree(journey.project, tmp_path / "support-desk")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    whole = f"set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}\n"
    done = subprocess.run(
        ["bash", "-c", whole],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_spelling_is_licence() -> None:
    """`license` only in external formats: file names, package metadata, and other people's field names."""
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            text = re.sub(r"`[^`]*`|\([^)]*\)|LICENSE\S*|Licensed|licensed", "", line)
            assert not re.search(r"\blicense", text, re.I), f"{page.name}:{number}: {line}"
