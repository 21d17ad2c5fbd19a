"""Azure's rows: what has no text makes no task, what has no counts no price; the gateway's bodies are whole calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.nouns import Call, Tokens
from freehold.traffic import find_tasks, read
from freehold.traffic.formats import azure_diagnostics, recognise
from freehold.wire import RowError, call_from_row, unseen

from .mutate import mutated, only_refuses

# github.com/elastic/integrations packages/azure_openai/data_stream/logs/_dev/test/pipeline/
# test-open-ai-request-response.log: rows as the event hub gets them
NATIVE: dict[str, Any] = {
    "Tenant": "eastus",
    "callerIpAddress": "81.2.69.***",
    "category": "RequestResponse",
    "correlationId": "d427a391-2bc7-4f38-9cbc-6560600e0981",
    "durationMs": 1021,
    "event": "ShoeboxCallResult",
    "location": "eastus",
    "operationName": "ChatCompletions_Create",
    "properties": {
        "apiName": "Azure OpenAI API version 2023-07-01-preview",
        "requestTime": 638515262815394150,
        "requestLength": 128,
        "responseTime": 638515262825606520,
        "responseLength": 1411,
        "objectId": "",
        "streamType": "Non-Streaming",
        "modelDeploymentName": "gpt-chat-pilot",
        "modelName": "gpt-35-turbo",
        "modelVersion": "0301",
    },
    "resourceId": "/SUBSCRIPTIONS/12CABCB4/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/OBS-OPENAI-TEST-01",
    "resultSignature": "200",
    "time": "2024-05-24T12:23:02.4350000Z",
}
THREAD = NATIVE | {
    "operationName": "Create_Thread",
    "properties": '{"apiName":"Azure OpenAI API version 2024-02-15-preview","requestLength":2,"objectId":""}',
}
ASKED = {"model": "gpt-chat-pilot", "messages": [{"role": "user", "content": "capital of tamilnadu?"}]}
ANSWERED = {
    "choices": [
        {
            "finish_reason": "stop",
            "index": 0,
            "logprobs": None,
            "message": {"content": "The capital of Tamil Nadu is Chennai.", "role": "assistant"},
        }
    ],
    "created": 1719901891,
    "id": "chatcmpl-9gRL14hGa8nQstOJKvLjh7EyulsnT",
    "model": "gpt-35-turbo",
    "object": "chat.completion",
    "usage": {"completion_tokens": 8, "prompt_tokens": 14, "total_tokens": 22},
}
PATH = "/deployments/gpt-chat-pilot/chat/completions?api-version=2024-02-15-preview"
# the same folder, test-open-ai-gateway.log
GATEWAY: dict[str, Any] = {
    "DeploymentVersion": "0.44.18652.0",
    "category": "GatewayLogs",
    "correlationId": "99789635-18d0-480f-8182-a3a3c477a6a4",
    "durationMs": 176,
    "isRequestSuccess": True,
    "operationName": "Microsoft.ApiManagement/GatewayLogs",
    "properties": {
        "apiId": "azure-openai-service-api",
        "backendMethod": "POST",
        "backendRequestBody": json.dumps(ASKED),
        "backendResponseBody": json.dumps(ANSWERED) + "\n",
        "backendResponseCode": 200,
        "backendTime": 176,
        "backendUrl": f"https://obs-openai-test-01.openai.azure.com/openai{PATH}",
        "method": "POST",
        "operationId": "ChatCompletions_Create",
        "responseCode": 200,
        "url": f"https://azure-openai-apm.azure-api.net{PATH}",
    },
    "resourceId": "/SUBSCRIPTIONS/12CABCB4/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/AZURE-OPENAI-APM",
    "resultType": "Succeeded",
    "time": "2024-07-02T06:31:31.4465902Z",
    "truncated": 0,
}
# https://learn.microsoft.com/azure/azure-monitor/reference/tables/apimanagementgatewayllmlog: the table's columns
COUNTED: dict[str, Any] = {
    "TimeGenerated": "2025-06-01T10:00:00Z",
    "OperationName": "Microsoft.ApiManagement/GatewayLlmLogs",
    "CorrelationId": "c-1",
    "Region": "East US",
    "RequestId": "chatcmpl-1",
    "DeploymentName": "gpt-4o-mini",
    "ModelName": "gpt-4o-mini-2024-07-18",
    "PromptTokens": 14,
    "CompletionTokens": 8,
    "TotalTokens": 22,
    "IsStreamCompletion": False,
    "SequenceNumber": 0,
    "Type": "ApiManagementGatewayLlmLog",
}


def call(record: dict[str, Any]) -> Call:
    (row,) = azure_diagnostics.rows(record)
    return call_from_row(row)


def gateway(**more: Any) -> dict[str, Any]:
    return GATEWAY | {"properties": GATEWAY["properties"] | more}


@pytest.mark.parametrize("properties", [NATIVE["properties"], json.dumps(NATIVE["properties"])])
def test_a_native_row_says_model_time_and_status(properties: Any) -> None:
    read = call(NATIVE | {"properties": properties})
    assert (read.model, read.seconds, read.endpoint) == ("gpt-35-turbo-0301", 1.021, "chat")
    assert (read.at, read.error, read.user) == (1716553382.435, "", None)
    assert (read.tokens, read.answer, unseen(read)) == (None, None, True)


def test_a_native_row_of_the_log_analytics_table() -> None:
    # https://learn.microsoft.com/azure/azure-monitor/reference/tables/azurediagnostics
    table = {
        "TimeGenerated": "2024-05-24T12:23:02.435Z", "Category": "RequestResponse",
        "OperationName": "Embeddings_Create",
        "DurationMs": "20", "ResultSignature": "429", "CorrelationId": "c-2", "Type": "AzureDiagnostics",
        "properties_s": json.dumps(NATIVE["properties"] | {"modelName": "text-embedding-3-small", "modelVersion": "1"}),
    }  # fmt: skip
    read = call(table)
    assert (read.model, read.endpoint, read.error) == ("text-embedding-3-small-1", "embeddings", "429")
    assert (read.seconds, read.at) == (0.02, 1716553382.435)


def test_what_is_no_call_of_a_model_is_passed_over() -> None:
    assert list(azure_diagnostics.rows(THREAD)) == []
    assert list(azure_diagnostics.rows(NATIVE | {"category": "Audit", "operationName": "ListKey"})) == []
    other = {"backendRequestBody": '{"name": "x"}', "operationId": "GetPets", "backendUrl": "https://x/pets", "url": ""}
    assert list(azure_diagnostics.rows(gateway(**other))) == []


def test_native_rows_make_no_task(tmp_path: Path) -> None:
    path = tmp_path / "PT1H.jsonl"
    path.write_text("".join(json.dumps(NATIVE | {"correlationId": f"c-{i}"}) + "\n" for i in range(20)))
    traffic = read([path])
    assert (len(traffic.calls), traffic.bad_rows, find_tasks(traffic)) == (20, 0, ())
    assert len({json.dumps(call.messages) for call in traffic.calls}) == 20


def test_a_gateway_row_with_bodies_is_a_whole_call() -> None:
    read = call(GATEWAY)
    assert read.messages == ({"role": "user", "content": "capital of tamilnadu?"},)
    assert (read.model, read.answer) == ("gpt-35-turbo", "The capital of Tamil Nadu is Chennai.")
    assert (read.tokens, read.seconds, round(read.at or 0, 3)) == (Tokens(14, 8), 0.176, 1719901891.447)


def test_a_gateway_row_that_failed() -> None:
    said = {"error": {"message": "filtered", "type": None, "param": "prompt", "code": "content_filter", "status": 400}}
    read = call(gateway(backendResponseBody=json.dumps(said), backendResponseCode=400))
    assert (read.error, read.answer, read.model) == ("content_filter", None, "gpt-chat-pilot")
    assert call(gateway(backendResponseBody="", backendResponseCode=503)).error == "503"


def test_a_body_that_was_cut_loses_its_text_alone() -> None:
    cut = call(gateway(backendRequestBody=json.dumps(ASKED)[:40]))
    assert (unseen(cut), cut.tokens, cut.model) == (True, Tokens(14, 8), "gpt-chat-pilot")
    silent = call(gateway(backendResponseBody=None))
    assert (unseen(silent), silent.answer, silent.tokens, silent.finish) == (False, None, None, "")


def test_a_language_model_row_has_counts_once() -> None:
    read = call(COUNTED)
    assert (read.model, read.tokens, read.at) == ("gpt-4o-mini-2024-07-18", Tokens(14, 8), 1748772000.0)
    assert list(azure_diagnostics.rows(COUNTED | {"SequenceNumber": 1, "PromptTokens": 0, "CompletionTokens": 0})) == []


def test_it_is_told_from_other_formats() -> None:
    assert recognise([NATIVE, THREAD, GATEWAY, COUNTED]) is azure_diagnostics
    with pytest.raises(RowError, match="expected Azure Monitor rows"):
        call({"category": "RequestResponse"})


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_broken_row_is_refused_and_no_more(data: st.DataObject) -> None:
    only_refuses(azure_diagnostics, data.draw(mutated([NATIVE, THREAD, GATEWAY, COUNTED])))
