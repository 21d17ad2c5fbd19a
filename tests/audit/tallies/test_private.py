"""The tally of private data: by kind and field, the same however the log is cut, with nothing real in an example."""

from __future__ import annotations

import gzip
import json
import string
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.audit.tallies import private
from freehold.audit.tallies.private import PrivateTally, masked
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Private
from freehold.wire import call_from_row

IBAN = "GB82WEST12345698765432"
KEY = "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1w"


def row(*messages: dict[str, Any], answer: Any = "ok", user: str | None = None) -> dict[str, Any]:
    message = answer if isinstance(answer, dict) else {"role": "assistant", "content": answer}
    request = {"model": "m", "messages": list(messages)} | ({"user": user} if user else {})
    return {"request": request, "response": {"choices": [{"message": message, "finish_reason": "stop"}]}}


def say(text: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": text}


CALL = {"function": {"name": "pay", "arguments": '{"card": "4111 1111 1111 1111", "to": "ana@firm.com\\nbo@firm.com"}'}}
ROWS = [
    row(say("Ask help@firm.com", "system"), say("I'm ana@firm.com and bo@firm.com"), answer="hello ana@firm.com"),
    row(say("Ask help@firm.com", "system"), say("nothing here"), user="carol@firm.com"),
    row(say("Ask help@firm.com", "developer"), say([{"type": "text", "text": f"my key {KEY}"}, {"type": "image_url"}])),
    row(say("pay"), answer={"role": "assistant", "content": None, "tool_calls": [CALL]}),
    row(
        say("pay"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        say("sent to GB82WEST12345698765432", "tool"),
    ),
]


def seen(rows: list[dict[str, Any]] = ROWS, part: int = 0) -> list[Seen]:
    return [Seen(call_from_row(r, i + 1), (part, i + 1)) for i, r in enumerate(rows)]


def test_by_kind_and_field() -> None:
    tally = PrivateTally()
    tally.add(seen())
    assert tally.found() == (
        Private("email", "system", 3, 3, "xxxx@xxxx.xxx"),
        Private("card", "tool arguments", 2, 2, "9999 9999 9999 9999", True),
        Private("email", "tool arguments", 2, 4, "xxx@xxxx.xxx"),
        Private("email", "assistant", 1, 1, "xxx@xxxx.xxx"),
        Private("email", "user", 1, 2, "xxx@xxxx.xxx"),
        Private("email", "user id", 1, 1, "xxxxx@xxxx.xxx"),
        Private("iban", "tool", 1, 1, "xx99xxxx99999999999999", True),
        Private("secret", "user", 1, 1, masked(KEY)),
    )


@pytest.mark.parametrize("cut", range(len(ROWS) + 1))
def test_two_parts_say_what_one_says(cut: int) -> None:
    calls = seen()
    whole, first, second = PrivateTally(), PrivateTally(), PrivateTally()
    whole.add(calls)
    first.add(calls[:cut])
    second.add(calls[cut:])
    kept = [msgspec.msgpack.decode(msgspec.msgpack.encode(t), type=PrivateTally) for t in (first, second)]
    kept[0].merge(kept[1])
    assert kept[0] == whole
    assert kept[0].found() == whole.found()
    assert kept[1] == second, "merging leaves what is merged as it was"


@given(st.text())
def test_an_example_shows_no_character(text: str) -> None:
    said = masked(text)
    assert set(said) <= set("x9?") | private.SEPARATORS
    assert len(said) <= private.LONGEST + 3


@given(st.text(alphabet=string.ascii_letters + string.digits + " -_.@"))
def test_an_example_shows_the_shape(text: str) -> None:
    assert masked(text) == "".join("9" if c.isdigit() else "x" if c.isalpha() else c for c in text)[:40] + (
        "..." if len(text) > 40 else ""
    )


def test_what_is_remembered_is_bounded_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "KEPT", 3)
    looked: list[str] = []

    def find(text: str) -> list[Any]:
        looked.append(text)
        return []

    memory = private.Remembered(find)
    for text in ("a", "b", "a", "c", "d", "a", "e", "f", "g", "h", "i", "j", "a"):
        assert memory.of(text) == ()
    assert looked.count("a") == 2, "asked again only after it was forgotten"
    assert len(memory._new) <= 3
    assert len(memory._old) <= 3


def test_a_real_log(shared: Path) -> None:
    """25 public data sets: the two pieces that stand in them, and nothing else."""
    with gzip.open(shared / "data" / "mixed" / "calls.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    tally = PrivateTally()
    tally.add(seen(rows))
    assert {(p.kind, p.field, p.calls) for p in tally.found()} == {
        ("birth", "user", 1),
        ("email", "user", 1),
        ("email", "tool arguments", 1),
    }
