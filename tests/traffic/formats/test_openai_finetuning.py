"""Fine-tuning rows in their three forms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.traffic.formats import openai_chat, openai_finetuning, recognise
from freehold.wire import RowError, call_from_row

from .mutate import mutated, only_refuses

# https://platform.openai.com/docs/guides/supervised-fine-tuning: the chat format
CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Marv is a factual chatbot that is also sarcastic."},
        {"role": "user", "content": "What's the capital of France?"},
        {"role": "assistant", "content": "Paris, as if everyone doesn't know that already."},
    ]
}
# https://platform.openai.com/docs/guides/legacy-fine-tuning
LEGACY: dict[str, Any] = {"prompt": "<prompt text>", "completion": "<ideal generated text>"}
# https://developers.openai.com/api/docs/guides/direct-preference-optimization
PREFERRED: dict[str, Any] = {
    "input": {
        "messages": [{"role": "user", "content": "Hello, can you tell me how cold San Francisco is today?"}],
        "tools": [],
        "parallel_tool_calls": True,
    },
    "preferred_output": [{"role": "assistant", "content": "Today in San Francisco, it is not quite cold as expected."}],
    "non_preferred_output": [{"role": "assistant", "content": "It is not particularly cold in San Francisco today."}],
}


@pytest.mark.parametrize(
    ("record", "roles", "answer"),
    [
        (CHAT, ["system", "user"], "Paris, as if everyone doesn't know that already."),
        (LEGACY, ["user"], "<ideal generated text>"),
        (PREFERRED, ["user"], "Today in San Francisco, it is not quite cold as expected."),
    ],
)
def test_the_documented_rows(record: dict[str, Any], roles: list[str], answer: str) -> None:
    assert openai_finetuning.fits(record)
    (row,) = openai_chat.rows(record)
    call = call_from_row(row)
    assert ([m["role"] for m in call.messages], call.answer) == (roles, answer)
    assert (call.at, call.tokens, call.model) == (None, None, "")
    found = recognise([record])
    assert found is not None
    assert found.NAME == "openai-fine-tuning"


def test_tools_stay_with_the_call() -> None:
    (row,) = openai_finetuning.rows(PREFERRED)
    assert call_from_row(row).params == {"tools": []}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"preferred_output": []}, "the input of a preference row has no messages"),
        (PREFERRED | {"preferred_output": []}, "preferred_output is not a list"),
        ({"messages": CHAT["messages"][:2]}, "the last of the messages is not the assistant's answer"),
        ({"prompt": "a"}, "expected fine-tuning rows"),
    ],
)
def test_what_is_no_example_says_why(record: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        [call_from_row(row) for row in openai_finetuning.rows(record)]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    record = data.draw(mutated([CHAT, LEGACY, PREFERRED]))
    only_refuses(openai_finetuning, record)
    only_refuses(openai_chat, record)
