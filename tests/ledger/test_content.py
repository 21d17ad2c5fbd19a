"""What is kept of a call: all, no private data, no text. The monitor, the page and the audit go on with each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from freehold import wire
from freehold.ledger import Ledger, past
from freehold.project import Project
from freehold.project.gateway import LedgerSettings
from freehold.traffic import read
from freehold.watch.tally import Tally

from .conftest import entry, lines


def redact(value: Any) -> Any:
    """A stand-in for the rules: every "Ana" becomes "Eve", wherever it stands."""
    if isinstance(value, str):
        return value.replace("Ana", "Eve").replace("ana@", "eve@")
    if isinstance(value, dict):
        return {name: redact(inside) for name, inside in value.items()}
    return [redact(inside) for inside in value] if isinstance(value, list) else value


def written(project: Project, content: str, **more: Any) -> dict[str, Any]:
    file = Ledger(project, LedgerSettings(content=content), ballast=0, redact=redact)
    row = entry("Ana owes 50", **more)
    row.response["choices"][0]["message"] = {"role": "assistant", "content": "Ana"}
    row.student = {**(row.student or {}), "answer": "Ana"}
    assert file.write(row)
    pair = entry("Ana owes 50", why="pair", answered_by="upstream", agrees=False, probability=0.02)
    assert file.write(pair)
    file.close()
    found: dict[str, Any] = json.loads(lines(project)[0])
    return found


@pytest.mark.parametrize("content", ["on", "redacted", "off"])
def test_the_monitor_and_the_page_count_the_same_in_each_mode(project: Project, content: str) -> None:
    written(project, content)
    home, pair = past(project, 0.0)
    assert (home.freehold.why, home.freehold.pairs, home.freehold.task) == ("home", 0.02, "intents")
    assert home.freehold.student is not None
    assert home.freehold.student.sha256 == "ab" * 32
    assert (pair.freehold.why, pair.freehold.agrees, pair.freehold.probability) == ("pair", False, 0.02)
    tally = Tally()
    for line in lines(project):
        tally.add(line)
    assert (tally.calls, tally.home, tally.unreadable) == (1, 1, 0)
    assert tally.tasks["intents"].students["ab" * 32].pairs.own.seen == 1
    found = read([project.path / "ledger"])
    assert found.bad_rows == 0
    assert [call.tokens.prompt if call.tokens else 0 for call in found.calls] == [12, 12]


def test_redacted_holds_no_private_data(project: Project) -> None:
    row = written(project, "redacted")
    assert b"Ana" not in b"".join(lines(project))
    assert b"ana@" not in b"".join(lines(project))
    assert row["request"]["messages"][1]["content"] == "Eve owes 50"
    assert row["freehold"]["student"]["answer"] == "Eve"
    assert row["freehold"]["content"] == "redacted"


def test_off_holds_no_text_of_anybody(project: Project) -> None:
    more = {"reason": "the value of temperature is not one that the student honours"}
    row = written(project, "off", **more)
    text = b"".join(lines(project))
    for said in (b"Ana", b"ana@", b"secret", b"owes"):
        assert said not in text
    assert row["request"] == {
        "model": "gpt-4o-mini",
        "temperature": 0,
        "messages": [{"role": "system", "content": None}, {"role": "user", "content": None}],
    }
    assert row["response"]["usage"] == {"prompt_tokens": 12, "completion_tokens": 1}
    assert row["freehold"]["reason"] == more["reason"]
    assert all(wire.unseen(call) for call in read([project.path / "ledger"]).calls)


@pytest.mark.parametrize(
    "messages",
    [
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "secret"}, {"type": "image_url", "image_url": "secret"}],
            }
        ],
        [{"role": "system", "content": "secret"}, {"role": "secret", "content": "x"}],
        [
            {"role": "user", "content": "x", "name": "secret"},
            {"role": "tool", "tool_call_id": "secret", "content": "y"},
        ],
    ],
)
def test_off_drops_what_else_may_hold_text(project: Project, messages: list[dict[str, Any]]) -> None:
    file = Ledger(project, LedgerSettings(content="off"), ballast=0)
    row = entry("x", user="secret")
    row.body |= {"messages": messages, "tools": [{"function": {"name": "secret"}}], "stop": ["secret"]}
    row.body |= {"metadata": {"user_id": "secret"}, "response_format": {"type": "json_schema", "schema": "secret"}}
    row.body |= {
        "seed": "secret",
        "stream_options": {"secret": "secret"},
        "secret": 1,
        "prediction": {"content": "secret"},
        "tool_choice": {"function": {"name": "secret"}},
    }
    row.response = {"error": {"message": "secret", "code": "c", "type": "t"}, "body": "secret"}
    assert file.write(row)
    file.close()
    assert b"secret" not in b"".join(lines(project))
    assert wire.unseen(wire.call_from_row(json.loads(lines(project)[0])))
    assert json.loads(lines(project)[0])["response"]["error"]["code"] == "c"


def test_a_row_that_cannot_be_redacted_or_written_is_kept_without_its_texts(project: Project) -> None:
    def broken(value: Any) -> Any:
        raise ValueError("rules")

    file = Ledger(project, LedgerSettings(content="redacted"), ballast=0, redact=broken)
    assert file.write(entry("Ana"))
    plain = Ledger(project, ballast=0, name="plain")
    odd = entry("x")
    odd.body["messages"] = [{"role": "user", "content": "\ud800 secret"}]
    assert plain.write(odd)
    file.close()
    plain.close()
    text = b"".join(lines(project))
    assert b"Ana" not in text
    assert text.count(b'"unkept":"the texts could not be written: ') == 2
