"""freehold.toml's tables for the server: what can't be meant is one sentence, and names the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.errors import BadSetting
from freehold.project.settings import read_settings

WHOLE = """
successor = "gpt-5.6-luna"
[upstreams.local]
url = "http://127.0.0.1:8000/v1"
open = true
model = "qwen3-32b"
key_file = "keys/local"
budget_day = 25.0
[tasks.cards]
leaves = false
unsure = "answer"
[rollout]
steps = [0.1, 0.5]
by = "conversation"
[private]
leaves = "redacted"
[ledger]
durability = "safe"
content = "off"
failure = "refuse"
keep_days = 30
[cache]
keys = ["batch"]
[limits]
body_mib = 1.5
"""


def test_every_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "freehold.toml"
    path.write_text(WHOLE)
    found = read_settings(path)
    local = found.upstreams["local"]
    assert (local.open, local.model, local.budget_day, local.private) == (True, "qwen3-32b", 25.0, "")
    assert found.rollout.steps == (0.1, 0.5)
    assert found.ledger.keep_days == 30
    assert found.limits.body_mib == 1.5
    assert found.limits.depth == 64
    assert not found.tasks["cards"].leaves


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[rollout]\nstart = "now"', "[rollout]: start is 'now'. Known: shadow, full."),
        ("[rollout]\nsteps = [0.5, 0.1]", "steps are 0.5, 0.1"),
        ("[rollout]\nsteps = [0.5, 1.0]", "steps are 0.5, 1"),
        ('[ledger]\ncontents = "on"', "'contents' under [ledger]"),
        ('[ledger]\ncontent = "some"', "content is 'some'"),
        ("[ledger]\nkeep_days = -1", "keep_days is -1"),
        ("[limits]\nbody_mib = 0", "body_mib is 0"),
        ("[limits]\nbody = 3", "'body' under [limits]"),
        ('[upstreams.local]\nopen = true', "url"),
        ('[upstreams.local]\nurl = "https://me:secret@host/v1"', "without a key"),
        ('[upstreams.local]\nurl = "ftp://host"', "no http or https URL"),
        ('[upstreams."../x"]\nurl = "http://host"', "is no name"),
        ('[upstreams.a]\nurl = "http://h"\nkey_env = "A"\nkey_file = "b"', "both key_env and key_file"),
        ("[tasks.a]\nhome = false\nleaves = false", "nobody may answer"),
        ('[tasks.a]\nunsure = "maybe"', "unsure is 'maybe'"),
        ('[private]\nleaves = "all"', "leaves is 'all'"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "freehold.toml"
    path.write_text(text)
    with pytest.raises(BadSetting) as raised:
        read_settings(path)
    assert says in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[cache]\nkeys = "batch"', "[cache] keys is 'batch', which is not a list."),
        ("[cache]\nkeys = [3]", "[cache] keys holds 3, which is not a text in quotes."),
        ('port = "x"', "port is 'x', which is not a whole number."),
        ('[tasks.a]\nrule = "sql"\n[tasks.b]\nhome = "no"', "[tasks.b] home is 'no', which is not true or false."),
        ("[tasks]\na = 3", "[tasks.a] is 3, which is not a table."),
        ("[upstreams.local]\nopen = true", "[upstreams.local] has no url, and needs one."),
        ('[prices.m]\ninput = "x"\noutput = 1', "[prices.m] input is 'x', which is not a number."),
        ("[ledger]\ncontent = true", "[ledger] content is true, which is not a text in quotes."),
        ('[tasks.a]\nunsure = "answer"', "unsure is 'answer', which means nothing without leaves = false"),
    ],
)
def test_a_value_of_the_wrong_type_is_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "freehold.toml"
    path.write_text(text)
    with pytest.raises(BadSetting) as raised:
        read_settings(path)
    assert says in str(raised.value)
    assert "$." not in str(raised.value)
