"""Embeddings: calls with text, tokens and money, and no answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.nouns import Call, Tokens
from freehold.traffic.formats import openai_chat, openai_embeddings, openai_responses
from freehold.wire import RowError, call_from_row

from .mutate import mutated, only_refuses

# https://platform.openai.com/docs/api-reference/embeddings/create: its example request and response (vector cut short)
ROW: dict[str, Any] = {
    "timestamp": "2025-03-10T01:25:52Z",
    "request": {
        "input": "The food was delicious and the waiter...",
        "model": "text-embedding-ada-002",
        "encoding_format": "float",
    },
    "response": {
        "object": "list",
        "data": [{"object": "embedding", "embedding": [0.0023064255, -0.009327292, -0.0028842222], "index": 0}],
        "model": "text-embedding-ada-002",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    },
}


def call(**request: Any) -> Call:
    record = ROW | {"request": ROW["request"] | request}
    (row,) = openai_embeddings.rows(record)
    assert list(openai_chat.rows(record)) == [row]
    return call_from_row(row)


def test_the_documented_row() -> None:
    read = call()
    assert openai_embeddings.fits(ROW)
    assert not openai_responses.fits(ROW)
    assert read.messages == ({"role": "user", "content": "The food was delicious and the waiter..."},)
    assert (read.model, read.endpoint, read.tokens) == ("text-embedding-ada-002", "embeddings", Tokens(8, 0))
    assert (read.answer, read.error, read.finish) == (None, "", "")
    assert (read.row["response"]["embeddings"], "data" in read.row["response"]) == (1, False)


def test_several_texts_are_one_call() -> None:
    assert call(input=["one", "two"]).messages == ({"role": "user", "content": "one\ntwo"},)
    assert call(input=[[5, 6], [7]]).messages[0]["content"] == [{"type": "token_ids", "count": 3}]


def test_a_failure_is_told_by_its_model() -> None:
    record = ROW | {"response": {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}}
    (row,) = openai_chat.rows(record)
    read = call_from_row(row)
    assert (read.endpoint, read.error, read.tokens) == ("embeddings", "rate_limit_exceeded", None)


def test_what_is_no_embedding_says_why() -> None:
    with pytest.raises(RowError, match="the input is null"):
        call(input=None)
    with pytest.raises(RowError, match="the response has no data"):
        list(openai_embeddings.rows(ROW | {"response": {"data": []}}))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    record = data.draw(mutated([ROW]))
    only_refuses(openai_embeddings, record)
    only_refuses(openai_chat, record)
