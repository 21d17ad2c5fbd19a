"""Rows are read as they are meant, and written again as they were."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold import wire
from freehold.nouns import Call, Tokens

numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def row(**more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "One label."}, {"role": "user", "content": "where is my card"}]
    choice = {"index": 0, "message": {"role": "assistant", "content": "card_arrival"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 20, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
    return {
        "timestamp": "2026-10-01T09:12:44Z",
        "seconds": 0.61,
        "request": {"model": "gpt-4o-mini", "temperature": 0, "messages": messages},
        "response": {"id": "x", "created": 1790845964, "model": "m-1", "choices": [choice], "usage": usage},
    } | more


def test_a_log_row_says_everything() -> None:
    call = wire.call_from_row(row(), 7)
    assert (call.model, call.answer, call.at, call.line) == ("gpt-4o-mini", "card_arrival", 1790845964.0, 7)
    assert call.tokens == Tokens(20, 3, 8, 0)
    assert call.params == {"temperature": 0}
    assert (call.seconds, call.answered_by, call.why, call.probability) == (0.61, "upstream", "", 1.0)


@given(st.dictionaries(texts, values, max_size=4), st.dictionaries(texts, values, max_size=3))
def test_a_row_comes_back_with_every_further_key(top: dict[str, Any], inside: dict[str, Any]) -> None:
    given_row = {**top, **row()}
    given_row["request"] = {**inside, **given_row["request"]}
    given_row["response"] = {**inside, **given_row["response"]}
    line = json.dumps(given_row).encode()
    again = wire.dumps(wire.row_from_call(wire.call_from_row(wire.loads(line))))
    assert json.loads(again) == given_row


@given(values)
def test_any_json_is_read_or_refused_with_a_reason(value: Any) -> None:
    for candidate in (
        value,
        {"request": value},
        row(response=value),
        row(timestamp=value, seconds=value),
        {"messages": value},
    ):
        with contextlib.suppress(wire.RowError):
            assert wire.call_from_row(candidate).messages


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2026-10-01T09:12:44", 1790845964.0),
        ("2026-10-01T09:12:44+00:00", 1790845964.0),
        ("2026-10-01T11:12:44.5+02:00", 1790845964.5),
        ("1790845964", 1790845964.0),
        (1790845964, 1790845964.0),
        (1790845964500, 1790845964.5),
        (None, None),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(said: Any, at: float | None) -> None:
    assert wire.timestamp(said) == at


@pytest.mark.parametrize("said", ["yesterday", True, [1], float("nan"), float("inf"), -1, 10**400, "1e999", 1e15])
def test_what_is_no_time_is_refused(said: Any) -> None:
    with pytest.raises(wire.RowError, match="time"):
        wire.timestamp(said)


def test_without_a_timestamp_the_response_says_when() -> None:
    for given_row in (row(timestamp=None), {k: v for k, v in row().items() if k != "timestamp"}):
        assert wire.call_from_row(given_row).at == 1790845964.0


def test_a_fine_tuning_row_has_an_answer_and_no_time() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "greeting"}]
    call = wire.call_from_row({"messages": messages, "weight": 1})
    assert (call.answer, call.at, call.tokens, call.model) == ("greeting", None, None, "")
    assert wire.row_from_call(call) == {"messages": messages, "weight": 1}


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_cut_short_is_no_answer(reason: str) -> None:
    given_row = row()
    given_row["response"]["choices"][0]["finish_reason"] = reason
    assert wire.call_from_row(given_row).answer is None


def test_an_error_is_a_call_without_an_answer() -> None:
    assert wire.call_from_row(row(response={"error": {"message": "overloaded"}})).answer is None


@pytest.mark.parametrize("status", ["partial", "failed"])
def test_a_ledger_row_that_did_not_end_well_holds_no_evidence(status: str) -> None:
    own = {"answered_by": "upstream", "why": "escalated", "probability": 1.0, "status": status}
    assert wire.call_from_row(row(freehold=own)).answer is None
    whole = wire.call_from_row(row(freehold=own | {"status": "complete", "probability": 0.02}))
    assert (whole.answer, whole.why, whole.probability) == ("card_arrival", "escalated", 0.02)


@pytest.mark.parametrize(
    "said",
    [
        {"tool_calls": [{"type": "function", "function": None}]},
        {"tool_calls": [{"type": "custom", "custom": {"name": "x", "input": "y"}}]},
        {"tool_calls": [{"function": ["find"]}]},
        {"tool_calls": ["find"]},
        {"tool_calls": [None]},
        {"tool_calls": {"function": {"name": "find"}}},
        {"tool_calls": [{"function": {"arguments": "{}"}}]},
        {"tool_calls": [{"function": {"name": "find", "arguments": '{"a":'}}]},
        {"tool_calls": [{"function": {"name": "find", "arguments": "[1]"}}]},
        {"tool_calls": [{"function": {"name": "find", "arguments": 5}}]},
        {"function_call": "find"},
        {"function_call": [1]},
    ],
)
def test_a_tool_call_of_an_odd_shape_is_no_answer(said: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": None} | said
    call = wire.call_from_row(row(response={"choices": [{"message": message, "finish_reason": "tool_calls"}]}))
    assert wire.answer(call, "tools") is None
    assert wire.finished(call)


@pytest.mark.parametrize("arguments", ["", None, "{}", {}, " {} "])
def test_a_tool_call_without_arguments_has_none(arguments: Any) -> None:
    message = {"role": "assistant", "content": "", "function_call": {"name": "find", "arguments": arguments}}
    call = wire.call_from_row(row(response={"choices": [{"message": message, "finish_reason": "function_call"}]}))
    assert wire.answer(call, "tools") == '[{"name":"find","arguments":{}}]'


def test_a_tool_call_is_no_text_answer() -> None:
    given_row = row()
    given_row["response"]["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    call = wire.call_from_row(given_row)
    assert call.answer is None
    assert wire.calls_tools(call)
    assert not wire.calls_tools(wire.call_from_row(row()))


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (
            {"prompt_tokens": 5, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 1}},
            Tokens(5, 1, 0, 1),
        ),
        ({"prompt_tokens": 5}, None),
        ({"prompt_tokens": -5, "completion_tokens": 1}, None),
        ({"prompt_tokens": 5.5, "completion_tokens": 1}, None),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": [1]}, None),
        (None, None),
    ],
)
def test_token_counts_are_as_logged_or_unknown(usage: Any, tokens: Tokens | None) -> None:
    given_row = row()
    given_row["response"]["usage"] = usage
    assert wire.call_from_row(given_row).tokens == tokens


@pytest.mark.parametrize("line", [b'{"a": "\xff"}', b"\xff\xfe", b"{", b"", b"NaN", b'{"a": "\\ud800"}', b"[" * 5000])
def test_what_is_not_json_is_refused(line: bytes) -> None:
    with pytest.raises(wire.ShapeError, match="not JSON"):
        wire.loads(line)


def test_a_call_that_was_never_a_row_is_written_as_one() -> None:
    call = Call(
        ({"role": "user", "content": "hi"},), "gpt-4o-mini", {"temperature": 0}, "greeting", 1790845964.0, Tokens(9, 2)
    )
    again = wire.call_from_row(wire.loads(wire.dumps(wire.row_from_call(call))))
    assert (again.messages, again.model, again.params) == (call.messages, call.model, call.params)
    assert (again.answer, again.at, again.tokens) == (call.answer, call.at, call.tokens)


def test_a_stream_holds_the_same_answer() -> None:
    events = list(wire.chunks("m", "card_arrival", Tokens(9, 2), "id-1", 5, usage=True))
    assert events[-1] == b"data: [DONE]\n\n"
    bodies = [msgspec.json.decode(event.removeprefix(b"data: ")) for event in events[:-1]]
    assert "".join(c["delta"].get("content", "") for b in bodies for c in b["choices"]) == "card_arrival"
    assert bodies[-1]["usage"] == {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    assert all(
        "usage" not in b
        for b in map(
            msgspec.json.decode, (e[6:] for e in list(wire.chunks("m", "x", Tokens(), "i", 5, usage=False))[:-1])
        )
    )


@pytest.mark.parametrize(
    "said", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"]
)
def test_a_time_before_1970_or_without_end_is_a_bad_row(said: str) -> None:
    with pytest.raises(wire.RowError, match="not a time"):
        wire.timestamp(said)


def test_a_model_that_is_null_is_no_model_named_none() -> None:
    given = row()
    given["request"].pop("model", None)
    given["response"]["model"] = None
    assert wire.call_from_row(given).model == ""
