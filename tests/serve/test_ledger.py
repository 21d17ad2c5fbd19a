"""The ledger: whole rows or none, a full disk stops home answers and nothing else, and it comes back by itself."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import openai
import pytest

from freehold.project import Project
from freehold.traffic import read

from .conftest import StandIn, Start, client, ledger, request


@contextmanager
def full_disk(spare: int, folder: Path) -> Iterator[None]:
    """No file of this process may grow past the largest ledger file by more than `spare` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max((path.stat().st_size for path in folder.glob("*.jsonl")), default=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_stops_home_answers_only(project: Project, start: Start, upstream: StandIn) -> None:
    home = request("move 50 to savings")
    async with start(upstream) as app, client(app) as api:
        assert (await api.chat.completions.create(**home)).model.startswith("freehold/")
        with full_disk(300, project.path / "ledger"):  # room for the beginning of a row
            for _ in range(3):
                assert (await api.chat.completions.create(**home)).model == "gpt-4o-mini-2024"
            health = app.health()
        assert health["status"] == "degraded"
        assert health["ledger"]["writable"] is False
        assert "disk is full" in health["ledger"]["why"] or "too large" in health["ledger"]["why"]
        assert health["ledger"]["rows_lost"] == 3
        assert (await api.chat.completions.create(**home)).model == "gpt-4o-mini-2024"  # finds that it works again
        assert (await api.chat.completions.create(**home)).model.startswith("freehold/")
        assert app.health()["status"] == "ok"
    rows = [r["freehold"] for r in ledger(project)]  # each line is whole
    assert [(own["answered_by"], own["why"]) for own in rows] == [
        ("student", "home"),
        ("upstream", "unwritten"),
        ("student", "home"),
    ]
    assert rows[1]["reason"] == "the ledger can't be written"
    assert read([project.path / "ledger"]).bad_rows == 0


async def test_a_full_disk_without_an_upstream(project: Project, start: Start) -> None:
    async with start(None) as app, client(app) as api:
        with full_disk(0, project.path / "ledger"):
            raw = await app_post(app.port, request("move 50 to savings"))
        assert raw == 503
        assert await app_post(app.port, request("move 50 to savings")) == 503
        assert (await api.chat.completions.create(**request("what do i have"))).model.startswith("freehold/")


async def app_post(port: int, body: dict[str, object]) -> int:
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return response.status


async def test_no_secret_and_no_header_in_any_file(
    project: Project, start: Start, upstream: StandIn, capfd: object
) -> None:
    """Neither the client's key nor ours, whatever happened."""
    said: list[str] = []
    async with start(upstream, pairs=1.0, tell=lambda what, done=None, /: said.append(what)) as app, client(app) as api:
        for mode in ("fine", "nonsense", "error200", "gzip"):
            upstream.mode = mode
            for text in ("move 50 to savings", "sing to me"):
                with suppress(openai.APIStatusError):  # an upstream that fails too often is left alone for a while
                    await api.chat.completions.with_raw_response.create(**request(text))
        assert "sk-" not in str(app.health()) + repr(app.parts.fleet)
    everything = b"".join(path.read_bytes() for path in project.path.rglob("*") if path.is_file())
    assert b"sk-ours" not in everything
    assert b"sk-client-secret" not in everything
    assert b"authorization" not in everything.lower()
    assert "sk-" not in "".join(said)


async def test_texts_that_try_to_break_a_line(project: Project, start: Start, upstream: StandIn) -> None:
    for text in ("a\nb", "a\u2028b", '"}\n{"x": 1}', "\x1b[31mred", "=HYPERLINK()"):
        async with start(upstream) as app, client(app) as api:
            await api.chat.completions.create(**request(text))
    rows = ledger(project)
    assert [r["request"]["messages"][1]["content"][9:] for r in rows][1] == "a\u2028b"
    assert len(rows) == 5
    assert read([project.path / "ledger"]).bad_rows == 0


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
async def test_a_file_that_is_taken_away_swallows_no_rows(project: Project, start: Start, how: str) -> None:
    home = request("move 50 to savings")
    async with start(None) as app, client(app) as api:
        await api.chat.completions.create(**home)
        (path,) = (project.path / "ledger").glob("*.jsonl")
        if how == "removed":
            path.unlink()
        else:
            path.rename(project.path / "old.jsonl")
        if how == "replaced":
            path.touch()
        for _ in range(2):
            assert (await api.chat.completions.create(**home)).model.startswith("freehold/")
    assert len(ledger(project)) == 2
