"""Each format's documented rows are recognised as that format and as no other, also where some of them are broken.

The rows are those of each reader's own test, where their addresses stand; the few here are as their APIs document them.
"""

from __future__ import annotations

import copy
import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold import wire
from freehold.traffic import read
from freehold.traffic.formats import FORMATS, recognise

from . import (
    test_columns,
    test_helicone,
    test_langfuse,
    test_litellm_payload,
    test_openai_chat,
    test_openai_completions,
    test_openai_embeddings,
    test_openai_responses,
    test_openinference,
    test_otel_genai,
)

ASKED = [{"role": "user", "content": "Hello, world"}]
# platform.openai.com/docs/guides/batch, "5. Retrieve the results"
BATCH: dict[str, Any] = {
    "id": "batch_req_123",
    "custom_id": "request-2",
    "response": {"status_code": 200, "request_id": "req_123", "body": test_openai_chat.RESPONSE},
    "error": None,
}
# platform.openai.com/docs/api-reference/chat/get
STORED = test_openai_chat.RESPONSE | {"object": "chat.completion", "metadata": {}, "messages": ASKED}
# platform.openai.com/docs/guides/fine-tuning
TUNING = {"messages": [*ASKED, {"role": "assistant", "content": "hi"}]}
# learn.microsoft.com/azure/azure-monitor/reference/tables/azurediagnostics, category RequestResponse
AZURE: dict[str, Any] = {
    "time": "2024-05-24T12:23:02.4350000Z",
    "category": "RequestResponse",
    "operationName": "ChatCompletions_Create",
    "durationMs": 1021,
    "resultSignature": "200",
    "resourceId": "/SUBSCRIPTIONS/1/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/DESK",
    "properties": '{"modelDeploymentName": "gpt-chat-pilot", "modelName": "gpt-4o", "streamType": "Non-Streaming"}',
}
# docs.claude.com/en/api/messages
CLAUDE: dict[str, Any] = {
    "timestamp": "2025-03-10T01:25:52Z",
    "request": {"model": "claude-3-7-sonnet-20250219", "max_tokens": 1024, "messages": ASKED},
    "response": {
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF", "type": "message", "role": "assistant",
        "content": [{"type": "text", "text": "Hi!"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 2095, "output_tokens": 503},
    },
}  # fmt: skip
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "litellm": test_litellm_payload.ROWS,
    "langfuse": test_langfuse.ROWS,
    "helicone": test_helicone.ROWS,
    "openinference": test_openinference.ROWS,
    "otel-genai": test_otel_genai.ROWS,
    "columns": test_columns.ROWS,
    "openai": [test_openai_chat.ROW],
    "openai-completions": [test_openai_completions.ROW],
    "openai-embeddings": [test_openai_embeddings.ROW],
    "openai-responses": [test_openai_responses.TEXT],
    "openai-batch": [BATCH],
    "openai-stored": [STORED],
    "openai-fine-tuning": [TUNING],
    "azure-diagnostics": [AZURE],
    "anthropic": [CLAUDE],
}
CASES = [pytest.param(name, row, id=f"{name}-{i}") for name, rows in EXAMPLES.items() for i, row in enumerate(rows)]


def named(records: list[Any]) -> str:
    format = recognise(records)
    return format.NAME if format is not None else ""


def test_there_is_an_example_of_each_format() -> None:
    assert {format.NAME for format in FORMATS} == EXAMPLES.keys()
    assert len({format.NAME for format in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize(("name", "row"), CASES)
def test_a_documented_row_is_of_its_format(name: str, row: dict[str, Any]) -> None:
    assert named([row]) == name


def taken_apart(row: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A row without half of its fields, whichever."""
    return {key: value for key, value in row.items() if draw.random() < 0.5}


def wrong_types(row: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    return {key: draw.choice([None, 7, "x", [], {}]) if draw.random() < 0.5 else value for key, value in row.items()}


BROKEN: list[Callable[[dict[str, Any], random.Random], Any]] = [
    taken_apart, wrong_types, lambda row, draw: {}, lambda row, draw: [row], lambda row, draw: None,
]  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_two_broken_rows_of_ten_don_t_change_that(name: str) -> None:
    draw = random.Random(name)
    for spoil in BROKEN * 4:
        rows = [copy.deepcopy(draw.choice(EXAMPLES[name])) for _ in range(10)]
        rows[draw.randrange(5)] = spoil(rows[0], draw)
        rows[5 + draw.randrange(5)] = spoil(rows[9], draw)
        assert named(rows) == name


@pytest.mark.parametrize("record", [{}, [], None, 3, "text", {"colour": "red"}, {"id": 1, "time": "now"}, {"data": []}])
def test_what_is_none_of_them(record: Any) -> None:
    assert recognise([record]) is None


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"prompt": "hi", "completion": "ho"}, "openai-fine-tuning"),
        ({"prompt": "hi", "completion": "ho", "timestamp": "2026-10-01T09:12:44Z"}, "columns"),
        ({"prompt": "hi", "completion": "ho", "prompt_tokens": 7, "completion_tokens": 2}, "columns"),
        ({"messages": '[{"role": "user", "content": "hi"}]', "response": "ho", "created_at": "2026-10-01"}, "columns"),
        ({"messages": ASKED, "answer": "ho"}, "columns"),
        ({"messages": ASKED, "response": "ho", "input_tokens": 7, "output_tokens": 2}, "columns"),
        ({"messages": ASKED, "response": test_openai_chat.RESPONSE}, "openai"),
        ({"input": "hi", "output": "ho", "model": "m"}, "columns"),
        ({"model": "m", "question": "hi"}, "columns"),
    ],
)
def test_tables_and_bodies_are_told_apart(row: dict[str, Any], name: str) -> None:
    assert named([row]) == name


@pytest.mark.parametrize("name", ["litellm", "langfuse", "helicone", "openinference", "otel-genai", "columns"])
def test_a_file_of_each_is_read_by_its_format(name: str, tmp_path: Path) -> None:
    """From the file to the calls: the format is found, and no row is bad."""
    path = tmp_path / "calls.jsonl"
    path.write_bytes(b"\n".join(wire.dumps(row) for row in EXAMPLES[name]))
    traffic = read([path])
    assert list(traffic.log.formats) == [name]
    assert (traffic.bad_rows, len(traffic.calls) > 1) == (0, True)


def test_langfuses_csv(tmp_path: Path) -> None:
    path = tmp_path / "observations.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(test_langfuse.CSV))
        table.writeheader()
        table.writerows([test_langfuse.CSV] * 3)
    traffic = read([path])
    assert traffic.log.formats == {"langfuse": 3}
    assert [call.answer for call in traffic.calls] == ["Within three days."] * 3
