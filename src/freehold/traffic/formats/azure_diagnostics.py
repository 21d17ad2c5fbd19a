"""Azure's diagnostic rows, as Azure Monitor writes them to storage, an event hub or a Log Analytics export.

RequestResponse   of the Azure OpenAI resource: model, time, duration, status, user; no text and no token counts
GatewayLogs       of an API Management gateway before it: the bodies too, where the gateway logs them
GatewayLlmLogs    of its language model log: token counts

{"time": "2024-05-24T12:23:02.4350000Z", "category": "RequestResponse", "operationName": "ChatCompletions_Create",
 "durationMs": 1021, "resultSignature": "200", "properties": "{\\"modelDeploymentName\\": \\"gpt-chat-pilot\\", ...}"}

What a row doesn't say is left out: a call without text has no task, and one without token counts no price.

Described: https://learn.microsoft.com/azure/azure-monitor/reference/supported-logs/microsoft-cognitiveservices-accounts-logs
(its tables too: azurediagnostics, apimanagementgatewaylogs, apimanagementgatewayllmlog); rows as they arrive:
github.com/elastic/integrations packages/azure_openai/data_stream/logs/_dev/test/pipeline
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from freehold import wire
from freehold.traffic.formats import openai_chat, shape
from freehold.traffic.formats.exchange import decode

__all__ = ["NAME", "SAYS", "fits", "rows"]

NAME = "azure-diagnostics"
SAYS = "Azure Monitor rows of the categories RequestResponse (Azure OpenAI), GatewayLogs or GatewayLlmLogs"
CATEGORIES = ("requestresponse", "gatewaylogs", "gatewayllmlogs", "audit", "trace", "azureopenairequestusage")
TABLES = {"apimanagementgatewaylogs": "gatewaylogs", "apimanagementgatewayllmlog": "gatewayllmlogs"}
CALLS = (
    ("chatcompletion", "chat"), ("chat/completions", "chat"), ("chat_completions", "chat"), ("embedding", "embeddings"),
    ("completions", "completions"), ("responses", "responses"),
)  # fmt: skip
"""What an operation or a path says of the API that was called; the first that fits. Others are no calls of a model."""
PARTS = ("properties", "properties_s", "properties_d")
DEPLOYMENT = re.compile(r"/deployments/([^/?]{1,200})")
Body = dict[str, Any]


def fits(record: Any) -> bool:
    return isinstance(record, dict) and bool(_category(record))


def rows(record: Any) -> Iterable[Body]:
    """None for what is no call of a model: threads, keys, images, another API behind the same gateway."""
    category = _category(record) if isinstance(record, dict) else ""
    if not category:
        raise wire.ShapeError(f"{wire.shape_of(record)}; expected {SAYS}")
    said = _Said(record)
    if category == "requestresponse":
        return _native(said)
    if category == "gatewaylogs":
        return _gateway(said)
    return _counted(said) if category == "gatewayllmlogs" else ()


def _category(record: Body) -> str:
    """The log category, or the table of a row that was exported from one."""
    named = next((record[name] for name in ("category", "Category") if isinstance(record.get(name), str)), "")
    table = next((record[name] for name in ("Type", "TableName") if isinstance(record.get(name), str)), "")
    found = TABLES.get(table.lower(), named.lower())
    azure = any(name.lower() in ("resourceid", "_resourceid", "operationname") for name in record)
    return found if found in CATEGORIES and azure else ""


class _Said:
    """A row's fields by name, whatever their case, its properties among them; "_s", "_d" mark a column's type."""

    def __init__(self, record: Body) -> None:
        self.record = record
        self._fields: Body = {}
        for part in (*(decode(record.get(name)) for name in PARTS), record):
            if isinstance(part, dict):
                self._fields |= {re.sub(r"_[sdbg]$", "", name).lower(): value for name, value in part.items()}

    def any(self, *names: str) -> Any:
        return next((self._fields[n] for n in map(str.lower, names) if self._fields.get(n) not in (None, "")), None)

    def text(self, *names: str) -> str:
        found = self.any(*names)
        return found if isinstance(found, str) else ""

    @property
    def api(self) -> str:
        """The API that was called; "" for none of a model's."""
        for name in ("operationName", "operationId", "backendUrl", "url"):
            said = self.text(name).split("?")[0].lower()
            for mark, endpoint in CALLS:
                if mark in said:
                    return endpoint
        return ""

    @property
    def status(self) -> int:
        return shape.count(self.any("resultSignature", "backendResponseCode", "responseCode", "httpStatusCode")) or 0

    @property
    def model(self) -> str:
        """The model with its version, as OpenAI names it; the deployment's own name where only that is said."""
        name, version = self.text("modelName"), self.text("modelVersion")
        if name and version and not name.endswith(version):
            return f"{name}-{version}"
        found = DEPLOYMENT.search(self.text("backendUrl") or self.text("url"))
        return name or self.text("modelDeploymentName", "deploymentName") or (found[1] if found else "")

    def row(self, request: Body, response: Body) -> Body:
        seconds = shape.number(self.any("durationMs", "totalTime"))
        further = {
            "timestamp": self.any("time", "timeGenerated", "timeGenerated [UTC]"),
            "seconds": None if seconds is None else seconds / 1000,
            "endpoint": self.api or "chat",
            "user": self.text("objectId") or self.text("apimSubscriptionId"),
        }
        kept = {name: value for name, value in further.items() if value not in (None, "")}
        return kept | {"request": request, "response": response}

    def unseen(self) -> Body:
        """The request of which the log says no more than the model."""
        return {"model": self.model, "messages": [shape.unlogged(self.record)]}

    def silent(self, usage: Body | None = None) -> Body:
        """The response of which the log says no more than whether it failed, and what it counted."""
        if self.status >= 400:
            return shape.failed(self.status)
        choice = {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": None}
        return {"choices": [choice]} | ({"usage": usage} if usage else {})


def _native(said: _Said) -> Iterable[Body]:
    return (said.row(said.unseen(), said.silent()),) if said.api else ()


def _counted(said: _Said) -> Iterable[Body]:
    """One row of a call has the counts; those that carry further pieces of its text are not calls."""
    usage = shape.usage(said.any("promptTokens"), said.any("completionTokens"))
    if usage is None or not (usage["prompt_tokens"] or usage["completion_tokens"]):
        return ()
    return (said.row(said.unseen(), said.silent(usage)),)


def _gateway(said: _Said) -> Iterable[Body]:
    """Bodies are cut at 8,192 bytes: of a cut one the text is lost, and the call counts all the same."""
    request = _whole(said.any("backendRequestBody", "requestBody"))
    response = _whole(said.any("backendResponseBody", "responseBody"))
    if not isinstance(request, dict) or not request.keys() & {"messages", "prompt", "input"}:
        return (said.row(said.unseen(), said.silent(_usage(response))),) if said.api else ()
    if said.status >= 400 and not (isinstance(response, dict) and response.get("error")):
        response = shape.failed(said.status)
    if response is None and "messages" not in request:
        return (said.row(said.unseen(), said.silent()),)
    served = response.get("model") if isinstance(response, dict) else None
    request = request | {"model": served if isinstance(served, str) else request.get("model") or said.model}
    return openai_chat.rows(said.row(request, response or said.silent()))


def _whole(body: Any) -> Any:
    """A body's JSON or events; None where it isn't there, or cut."""
    try:
        found = decode(body)
    except wire.RowError:
        return None
    return found if isinstance(found, dict | list) else None


def _usage(response: Any) -> Body | None:
    found = response.get("usage") if isinstance(response, dict) else None
    return found if isinstance(found, dict) else None
