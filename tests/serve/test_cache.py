"""The exact cache: what may be answered again, to whom, and how much of it is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold import stream, wire
from freehold.nouns import Tokens
from freehold.serve.entry.cache import Cache, again, events, key

BODY: dict[str, Any] = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
ANSWER = wire.completion("m", "hello", Tokens(3, 1), "chatcmpl-1", 1)


def changed(**choice: Any) -> dict[str, Any]:
    said = json.loads(json.dumps(ANSWER))
    said["choices"][0] |= choice
    return said  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "aside", [{"user": "u"}, {"metadata": {"a": "b"}}, {"stream": True}, {"n": 1}, {"temperature": 0.0}], ids=str
)
def test_who_asks_and_how_it_is_sent_make_no_other_question(aside: dict[str, Any]) -> None:
    assert key("batch", BODY, "p") == key("batch", BODY | aside, "p") != ""


@pytest.mark.parametrize(
    "fields",
    [{"seed": 1}, {"model": "m2"}, {"max_tokens": 5}, {"tools": []}, {"messages": [{"role": "user", "content": "Hi"}]}],
    ids=str,
)
def test_anything_else_does(fields: dict[str, Any]) -> None:
    assert key("batch", BODY | fields, "p") not in ("", key("batch", BODY, "p"))


def test_another_client_key_or_policy_is_another_question() -> None:
    assert len({key("a", BODY, "p"), key("b", BODY, "p"), key("a", BODY, "q"), key("a\0", BODY, "p")}) == 4


@pytest.mark.parametrize(
    "fields",
    [{"temperature": 0.1}, {"temperature": None}, {"temperature": False}, {"temperature": "0"}, {"n": 2}, {"n": True},
     {"store": True}, {"user": "\ud800", "messages": ["\ud800"]}],
    ids=ascii,
)  # fmt: skip
def test_what_is_never_answered_again(fields: dict[str, Any]) -> None:
    assert key("batch", BODY | fields, "p") == ""
    assert key("batch", {"model": "m", "messages": []}, "p") == ""
    assert key("", BODY, "p") == ""


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, ANSWER),
        (200, {"error": {"message": "x"}}),
        (200, ANSWER | {"error": "x"}),
        (200, ANSWER | {"choices": []}),
        (200, ANSWER | {"choices": ANSWER["choices"] * 2}),
        (200, changed(finish_reason="length")),
        (200, changed(finish_reason="content_filter")),
        (200, changed(message={"role": "assistant", "content": None, "refusal": "no"})),
        (200, None),
    ],
)
def test_only_whole_answers_are_kept(status: int, answer: Any) -> None:
    cache = Cache(60.0)
    assert not cache.put("k", status, answer)
    assert cache.get("k") is None
    assert not cache.put("", 200, ANSWER)


def test_an_answer_lives_for_its_seconds_and_the_least_used_goes_first() -> None:
    now = [0.0]
    cache = Cache(60.0, entries=2, clock=lambda: now[0])
    for name in ("a", "b"):
        assert cache.put(name, 200, ANSWER)
    assert cache.get("a") == ANSWER
    cache.put("c", 200, ANSWER)
    assert [cache.get(name) is not None for name in ("a", "b", "c")] == [True, False, True]
    now[0] = 60.0
    assert cache.get("a") is None
    assert (cache.hits, cache.misses, len(cache)) == (3, 2, 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3000))))
def test_it_never_holds_more_than_it_may(puts: list[tuple[int, int]]) -> None:
    cache = Cache(60.0, entries=4, size=4000)
    for name, length in puts:
        answer = changed(message={"role": "assistant", "content": "x" * length})
        assert cache.put(str(name), 200, answer) == (len(wire.dumps(answer)) + 200 <= 4000)
        assert len(cache) <= 4
        assert cache.bytes <= 4000
    cache.clear()
    assert (cache.bytes, len(cache)) == (0, 0)


def test_it_comes_again_under_a_name_of_its_own_and_as_a_stream() -> None:
    found = again(ANSWER, "chatcmpl-2", 7)
    assert (found["id"], found["created"], found["choices"]) == ("chatcmpl-2", 7, ANSWER["choices"])
    body = events(found, usage=True)
    assert body is not None
    merged = stream.merge(wire.loads(data) for data in stream.events(body) if data.strip() != stream.DONE)
    assert merged["choices"][0]["message"]["content"] == "hello"
    assert merged["id"] == "chatcmpl-2"
    assert merged["usage"]["total_tokens"] == 4


def test_tool_calls_as_a_stream_and_what_can_t_be_one() -> None:
    calls = wire.completion("m", '[{"name": "f", "arguments": {"a": 1}}]', Tokens(1, 1), "chatcmpl-1", 1, kind="tools")
    body = events(calls, usage=False)
    assert body is not None
    merged = stream.merge(wire.loads(data) for data in stream.events(body) if data.strip() != stream.DONE)
    assert merged["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert events(changed(logprobs={"content": []}), usage=False) is None
    assert events(changed(message={"content": None, "audio": {"id": "a"}}), usage=False) is None
