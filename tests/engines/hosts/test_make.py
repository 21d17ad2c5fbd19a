"""The fleet that freehold.toml describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.engines.hosts.fleet import Fleet
from freehold.engines.hosts.host import Policy
from freehold.engines.hosts.make import make_fleet
from freehold.engines.hosts.secret import Secret
from freehold.engines.replay import Replay
from freehold.engines.upstream import HttpUpstream, Upstream
from freehold.errors import BadSetting
from freehold.project.settings import read_settings
from freehold.serve.away.leaving import Leaving

TOML = """
upstream = "https://api.openai.com/v1"
successor = "gpt-5.6-luna"
[private]
leaves = "redacted"
[upstreams.local]
url = "http://127.0.0.1:8000/v1"
open = true
model = "qwen3-32b"
private = "as-is"
[upstreams.second]
url = "https://llm.example.org/v1"
key_env = "SECOND_KEY"
budget_day = 25.0
"""
POLICY = Policy(leaves=Leaving(b"0123456789abcdef"))


def made(tmp_path: Path, text: str = TOML, first: Upstream | None = None, **more: object) -> tuple[Fleet, list[object]]:
    path = tmp_path / "freehold.toml"
    path.write_text(text)
    seen: list[object] = []

    def connect(url: str, key: Secret, allowed: Callable[[str], bool]) -> Upstream:
        seen.append((url, key.reveal(), allowed("127.0.0.1"), allowed("8.8.8.8")))
        return HttpUpstream(url, key.reveal())

    if first is None:
        first = HttpUpstream("https://api.openai.com/v1", "sk-first-key")
    left = more.pop("left", lambda name, budget: lambda: budget)
    environ = {"SECOND_KEY": "sk-second-key"}
    return make_fleet(read_settings(path), tmp_path, environ, first, connect, policy=POLICY, left=left), seen  # type: ignore[arg-type]


def test_in_the_order_of_the_file(tmp_path: Path) -> None:
    fleet, seen = made(tmp_path)
    assert [host.name for host in fleet.all] == ["upstream", "local", "second"]
    assert [host.name for host in fleet.hosts] == ["upstream", "second"]
    assert [(host.model, host.private, host.open) for host in fleet.all] == [
        ("gpt-5.6-luna", True, False), ("qwen3-32b", False, True), ("gpt-5.6-luna", True, False),
    ]  # fmt: skip
    assert seen == [
        ("http://127.0.0.1:8000/v1", "", True, False), ("https://llm.example.org/v1", "sk-second-key", False, True),
    ]  # fmt: skip
    left = fleet.all[2].left
    assert left is not None
    assert left() == 25.0
    assert fleet.all[0].rename is not None
    assert fleet.all[0].rename(b'{"model":"gpt-4o"}') == b'{"model":"gpt-5.6-luna"}'
    assert "sk-" not in repr(fleet) + repr(fleet.all) + str(fleet.state())


def test_a_replay_is_asked_by_the_very_words(tmp_path: Path) -> None:
    fleet, _ = made(tmp_path, first=Replay([]))
    assert (fleet.kind, fleet.hosts[0].private) == ("replay", False)


def test_without_a_first_one_the_others_are_left(tmp_path: Path) -> None:
    path = tmp_path / "freehold.toml"
    path.write_text('[upstreams.local]\nurl = "http://127.0.0.1:8000"\nopen = true\n')
    settings = read_settings(path)
    fleet = make_fleet(settings, tmp_path, {}, None, lambda url, key, allowed: HttpUpstream(url))
    assert (fleet.hosts, len(fleet.all)) == ((), 1)
    settings = replace(settings, upstreams={"upstream": settings.upstreams["local"]})
    with pytest.raises(BadSetting, match="upstream"):
        make_fleet(settings, tmp_path, {}, None, lambda url, key, allowed: HttpUpstream(url))


def test_a_budget_that_nobody_counts_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="budget_day"):
        made(tmp_path, left=None)
