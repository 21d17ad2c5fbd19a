"""Tables: two public load traces as they are published, and texts in columns of many names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold import wire
from freehold.nouns import Call, Tokens
from freehold.traffic import find_tasks, read
from freehold.traffic.formats import columns
from freehold.traffic.templates import part
from freehold.wire import call_from_row, timestamp

from .mutate import mutated, only_refuses

# github.com/Azure/AzurePublicDataset data/AzureLLMInferenceTrace_conv.csv, its first row
AZURE = {"TIMESTAMP": "2023-11-16 18:15:46.6805900", "ContextTokens": "374", "GeneratedTokens": "44"}
# github.com/kvcache-ai/Mooncake FAST25-release/README.md, "Trace"
MOONCAKE: dict[str, Any] = {
    "timestamp": 27482,
    "input_length": 6955,
    "output_length": 52,
    "hash_ids": [46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 2353, 2354],
}
# github.com/HPMLL/BurstGPT data/BurstGPT_1.csv, its first row
BURST = {
    "Timestamp": "5", "Model": "ChatGPT", "Request tokens": "472", "Response tokens": "18", "Total tokens": "490",
    "Log Type": "Conversation log",
}  # fmt: skip
# a table of one's own, as pandas or a warehouse writes it
OWN = {
    "created_at": "2026-10-01T09:12:44Z", "model": "gpt-4o-mini", "system_prompt": "Classify.", "question": "my card?",
    "answer": "card_lost", "input_tokens": "712", "output_tokens": "2", "latency_ms": "610", "user_id": "u-1",
    "temperature": "0", "cached_tokens": "512",
}  # fmt: skip
ROWS = [AZURE, MOONCAKE, BURST, OWN]


def call(record: dict[str, Any]) -> Call:
    (found,) = columns.rows(record)
    return call_from_row(found)


def test_a_row_of_azures_trace_is_a_call_without_text() -> None:
    found = call(AZURE)
    assert (found.at, found.tokens) == (timestamp("2023-11-16T18:15:46.68059Z"), Tokens(374, 44))
    assert (found.messages, found.answer) == (({"role": "user", "content": None},), None)
    assert wire.finished(found)


def test_a_row_of_mooncakes_trace_is_in_milliseconds_and_keeps_its_blocks() -> None:
    found = call(MOONCAKE)
    assert (found.at, found.tokens) == (27.482, Tokens(6955, 52))
    assert found.params == {"hash_ids": MOONCAKE["hash_ids"]}


def test_a_row_of_another_trace() -> None:
    found = call(BURST)
    assert (found.at, found.model, found.tokens) == (5.0, "ChatGPT", Tokens(472, 18))


def test_calls_without_text_make_no_task() -> None:
    calls = [call(MOONCAKE | {"timestamp": i}) for i in range(50)]
    assert part(calls) == ()


def test_a_table_of_ones_own() -> None:
    found = call(OWN)
    said = [(message["role"], message["content"]) for message in found.messages]
    assert said == [("system", "Classify."), ("user", "my card?")]
    assert (found.model, found.answer, found.user) == ("gpt-4o-mini", "card_lost", "u-1")
    assert (found.seconds, found.params, found.tokens) == (0.61, {"temperature": 0}, Tokens(712, 2, cached=512))


@pytest.mark.parametrize("name", ["prompt_tokens", "promptTokens", "Prompt Tokens", "PROMPT-TOKENS", "tokens_in"])
def test_names_are_compared_without_case_and_separators(name: str) -> None:
    assert call({"ts": 1, name: 7, "Completion.Tokens": 2.0}).tokens == Tokens(7, 2)


def test_a_user_is_who_asks_or_what_is_asked() -> None:
    assert call({"prompt": "hi", "completion": "ho", "user": "u-1"}).user == "u-1"
    found = call({"system": "Be brief.", "user": "hi", "assistant": "ho"})
    assert [message["content"] for message in found.messages] == ["Be brief.", "hi"]
    assert (found.user, found.answer) == (None, "ho")


def test_cells_of_json() -> None:
    messages = '[{"role": "user", "content": [{"type": "text", "text": "hi"}]}]'
    response = '{"choices": [{"message": {"role": "assistant", "content": "ho"}, "finish_reason": "length"}]}'
    tools = '[{"type": "function"}]'
    found = call({"messages": messages, "response": response, "tools": tools, "parameters": '{"top_p": 0.5}'})
    assert (found.messages, found.finish) == (({"role": "user", "content": "hi"},), "length")
    assert found.params == {"tools": [{"type": "function"}], "top_p": 0.5}


@pytest.mark.parametrize("text", ['{"city": "Oslo"}', '["a", "b"]', "[1, 2]", '"quoted"', "12"])
def test_a_prompt_or_an_answer_that_is_json_itself_stays_text(text: str) -> None:
    found = call({"prompt": text, "completion": text if text != '"quoted"' else "x", "model": "m"})
    assert found.messages[0]["content"] == text
    assert found.answer in (text, "x")


def test_durations_say_their_unit() -> None:
    base = {"prompt": "hi", "completion": "ho"}
    assert call(base | {"latency": "0.8"}).seconds == 0.8
    assert call(base | {"Latency (ms)": 800}).seconds == 0.8
    assert call(base | {"start_time": "2026-10-01T00:00:00Z", "end_time": "2026-10-01T00:00:02Z"}).seconds == 2


def test_times_in_other_units() -> None:
    base = {"input_tokens": 1, "output_tokens": 1}
    for given_ in (1785000000, "1785000000", 1785000000000, 1785000000000000, "1785000000000000000"):
        assert call(base | {"time": given_}).at == 1785000000


def test_failures_stand_in_a_status_or_an_error() -> None:
    base = {"prompt": "hi", "response": "", "model": "m"}
    assert call(base | {"status_code": "429"}).error == "429"
    assert call(base | {"error": "rate_limit_exceeded", "error_message": "slow"}).error == "rate_limit_exceeded"
    assert not call(base | {"status_code": "200", "error": ""}).error


def test_two_texts_are_read_too_where_the_format_is_named() -> None:
    assert call({"prompt": "hi", "completion": "ho"}).answer == "ho"


def test_a_row_that_says_nothing_is_bad() -> None:
    with pytest.raises(wire.RowError, match="neither a text nor a token count"):
        call({"prompt": "", "completion": "", "time": "2026-10-01T00:00:00Z"})


@pytest.mark.parametrize(("which", "rows"), [("conv", 19366), ("code", 8819)])
def test_azures_whole_traces(shared: Path, which: str, rows: int) -> None:
    traffic = read([shared / "data" / "traces" / "azure-llm-2023" / "data" / f"AzureLLMInferenceTrace_{which}.csv"])
    assert (traffic.log.formats, traffic.bad_rows) == ({"columns": rows}, 0)
    assert all(call.tokens is not None and call.at is not None for call in traffic.calls)
    assert find_tasks(traffic) == ()


def test_mooncakes_whole_trace(shared: Path) -> None:
    traffic = read([shared / "data" / "traces" / "mooncake-conversation" / "conversation_trace.jsonl.gz"])
    assert traffic.log.formats == {"columns": 12031}
    assert max(call.at or 0 for call in traffic.calls) == 3536.999  # an hour, as its README says
    assert all(call.params["hash_ids"] for call in traffic.calls)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(columns, data.draw(mutated(ROWS)))
