"""Reading what came back: whole, broken, nonsense; and nothing that is not whole can be taken as evidence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold import stream, wire
from freehold.engines.record import read_reply
from freehold.nouns import Tokens

WHOLE = wire.completion("m", "transfer", Tokens(40, 2), "id-1", 1)
EVENTS = b"".join(wire.chunks("m", "transfer", Tokens(40, 2), "id-1", 1, usage=True))
SSE = "text/event-stream; charset=utf-8"
CODE = [
    {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a"'}},
    {"index": 0, "function": {"arguments": ": 1}"}},
    {"index": 1, "id": "c2", "type": "function", "function": {"name": "end", "arguments": ""}},
]


def answer(response: dict[str, Any]) -> str | None:
    return wire.call_from_row({"request": {"messages": [{"role": "user"}]}, "response": response}).answer


def test_one_piece() -> None:
    found = read_reply(200, "application/json", wire.dumps(WHOLE))
    assert (found.response, found.status, found.reason) == (WHOLE, "complete", "")


def test_a_stream_becomes_one_piece() -> None:
    found = read_reply(200, SSE, EVENTS)
    assert found.status == "complete"
    assert answer(found.response) == "transfer"
    assert found.response["usage"] == WHOLE["usage"]
    assert {k: found.response[k] for k in ("id", "model", "object")} == {k: WHOLE[k] for k in ("id", "model", "object")}


@given(st.integers(0, len(EVENTS) - 1))
def test_a_stream_cut_anywhere_is_evidence_only_when_it_was_finished(at: int) -> None:
    found = read_reply(200, SSE, EVENTS[:at], why="upstream_interrupted")
    assert found.status in ("partial", "failed")
    assert answer(found.response) is None


def test_a_stream_without_done_counts_when_every_choice_ended() -> None:
    cut = EVENTS.replace(b"data: [DONE]\n\n", b"")
    assert read_reply(200, SSE, cut).status == "complete"
    assert read_reply(200, SSE, cut.replace(b'"finish_reason":"stop"', b'"finish_reason":null')).status == "partial"


def test_tool_calls_are_put_together() -> None:
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [part]}, "finish_reason": None}]} for part in CODE]
    merged = stream.merge([*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}])
    calls = merged["choices"][0]["message"]["tool_calls"]
    assert [c["function"] for c in calls] == [
        {"name": "look", "arguments": '{"a": 1}'},
        {"name": "end", "arguments": ""},
    ]
    assert [c["id"] for c in calls] == ["c1", "c2"]
    assert CODE[0]["function"]["arguments"] == '{"a"'  # the chunks are as they were


def test_several_choices() -> None:
    chunks = [{"choices": [{"index": i, "delta": {"content": text}}]} for i, text in [(1, "b"), (0, "a"), (1, "c")]]
    assert [c["message"]["content"] for c in stream.merge(chunks)["choices"]] == ["a", "bc"]


KEYS = st.sampled_from(
    ["choices", "delta", "index", "content", "tool_calls", "function", "error", "finish_reason", "x"]
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(KEYS, JSON_VALUES, max_size=4), max_size=4), st.sampled_from([200, 400, 500]))
def test_no_nonsense_breaks_the_reader(chunks: list[dict[str, Any]], http: int) -> None:
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    for kind, data in ((SSE, body), ("application/json", body[6:]), ("text/html", b"\xff" + body)):
        found = read_reply(http, kind, data)
        row = {"request": {"messages": [{"role": "user"}]}, "response": found.response}
        assert wire.call_from_row(row).answer is None or found.status == "complete"


@pytest.mark.parametrize("http", [200, 500])
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"choices": []}', b"<html>", b'{"choices": [{}]}'])
def test_what_is_no_completion_failed(http: int, body: bytes) -> None:
    found = read_reply(http, "application/json", body)
    assert found.status == "failed"
    assert found.response["error"]["code"] == "upstream_nonsense"
    assert str(http) in found.reason


def test_comments_and_windows_lines() -> None:
    odd = b": ping\r\n\r\n" + EVENTS.replace(b"\n", b"\r\n").replace(b"data: ", b"data:")
    assert answer(read_reply(200, SSE, odd).response) == "transfer"


PIECES = st.sampled_from(["a", " b", 'x"y', "\\", "é", "\n", "content", "", "m", "?", "}]}"])
DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, PIECES),
    st.builds(lambda text: {"content": text, "role": "assistant"}, PIECES),
    st.sampled_from([{}, {"content": None}, {"role": "assistant", "content": ""}]),
)


@given(st.lists(st.tuples(DELTAS, st.sampled_from(["c", "c", "content"]), st.booleans()), max_size=12))
def test_events_that_look_alike_are_read_like_any_other(events: list[tuple[dict[str, Any], str, bool]]) -> None:
    """Those of which only the text is taken come to the same as all of them read one by one."""
    chunks = [{"id": id, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta, id, _ in events]
    lines = [json.dumps(chunk, ensure_ascii=plain) for chunk, (_, _, plain) in zip(chunks, events, strict=True)]
    body = "".join(f"data: {line}\n\n" for line in lines) + "data: [DONE]\n\n"
    found = read_reply(200, SSE, body.encode()).response
    whole = stream.merge(json.loads(line) for line in lines)
    assert found["choices"] == whole["choices"]
    assert found.get("id") == whole.get("id")
