"""A small true world for the ledger: a project, and calls of two people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.ledger import Entry
from freehold.nouns import Answer, Call
from freehold.project import Project

ANSWER = {"index": 0, "message": {"role": "assistant", "content": "secret answer"}, "finish_reason": "stop"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "project")


def entry(text: str = "move 50 to savings", user: str = "ana@example.org", **more: Any) -> Entry:
    """A home answer, as the server makes it."""
    messages = [{"role": "system", "content": "secret system"}, {"role": "user", "content": text}]
    body = {"model": "gpt-4o-mini", "temperature": 0, "user": user, "messages": messages}
    usage = {"prompt_tokens": 12, "completion_tokens": 1}
    response = {"id": "chatcmpl-x", "model": "gpt-4o-mini", "choices": [ANSWER], "usage": usage}
    said: dict[str, Any] = {"task": "intents", "answered_by": "student", "why": "home", "pairs": 0.02}
    made = Entry(Call(()), body, **(said | more))
    made.says("ab" * 32, 0.9, Answer("secret answer", 0.99))
    made.ends(200, "complete", response)
    return made


def files(project: Project) -> list[Path]:
    return sorted((project.path / "ledger").glob("*.jsonl"))


def lines(project: Project) -> list[bytes]:
    return [line for path in files(project) for line in path.read_bytes().split(b"\n")[:-1]]


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so; fails where it never gets so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to that"
        await asyncio.sleep(0.02)
