"""Tables with named columns, as CSV and Parquet rows give them: texts, token counts, or times and counts alone.

    created_at,model,system_prompt,question,answer,input_tokens,output_tokens,latency_ms,user_id      texts
    TIMESTAMP,ContextTokens,GeneratedTokens                                                           a load trace
    {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}             Mooncake's trace
Names are compared without case and separators, against a table of synonyms. A number of seconds is meant unless the
name says ms. Values may be texts; JSON in a cell of messages, tools or parameters is read.
A row without texts is a call whose text is not known: it has a time and tokens, and belongs to no task.
Shapes: github.com/Azure/AzurePublicDataset (AzureLLMInferenceDataset2023.md), github.com/kvcache-ai/Mooncake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from freehold import wire
from freehold.traffic.formats import shape
from freehold.traffic.formats.exchange import RESPONSES

__all__ = ["NAME", "SAYS", "fits", "rows"]

NAME = "columns"
SAYS = "tables with named columns (model, prompt, completion, prompt_tokens, completion_tokens, timestamp)"
SYNONYMS = {
    "messages": "messages prompt_messages input_messages chat_messages conversation chat_history",
    "system": "system system_prompt system_message instructions",
    "prompt": "prompt input question query user_prompt user_message user_input input_text prompt_text request_text",
    "answer": "completion response output answer assistant generation generated_text output_text completion_text"
    " response_text reply assistant_message model_output model_response",
    "asked": "prompt_tokens input_tokens context_tokens request_tokens input_length prompt_length context_length"
    " tokens_in num_prompt_tokens num_input_tokens n_prompt_tokens n_input_tokens prompt_token_count"
    " input_token_count tokens_prompt tokens_input prompt_len input_len",
    "said": "completion_tokens output_tokens generated_tokens response_tokens output_length completion_length"
    " generation_length tokens_out num_completion_tokens num_output_tokens n_completion_tokens n_output_tokens"
    " completion_token_count output_token_count tokens_completion tokens_output output_len completion_len"
    " num_generated_tokens",
    "cached": "cached_tokens cache_read_tokens cached_input_tokens cached_prompt_tokens cache_read_input_tokens"
    " prompt_cached_tokens",
    "write": "cache_write_tokens cache_creation_tokens cache_creation_input_tokens",
    "reasoning": "reasoning_tokens thinking_tokens reasoning_output_tokens",
    "time": "timestamp time date datetime created_at created start_time started_at request_time requested_at"
    " request_timestamp event_time arrival_time arrived_at arrival_timestamp ts logged_at",
    "end": "end_time ended_at finished_at completed_at response_time_at",
    "seconds": "latency duration seconds elapsed latency_s duration_s latency_seconds duration_seconds latency_sec"
    " duration_sec response_time response_seconds elapsed_seconds elapsed_time",
    "ms": "latency_ms duration_ms elapsed_ms response_time_ms response_ms delay_ms total_time_ms",
    "model": "model model_name model_id engine deployment deployment_name request_model llm_model",
    "user": "user_id end_user end_user_id customer_id username user_name",
    "user or text": "user",
    "code": "error_code error_type error",
    "said wrong": "error_message status_message",
    "status": "status_code http_status response_status",
    "finish": "finish_reason stop_reason",
    "tier": "service_tier",
    "params": "parameters params model_parameters invocation_parameters",
}
KEPT = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop", "tools", "response_format")
"""Columns that are fields of a request of the same name."""
TEXTS = ("messages", "system", "prompt", "answer", "user or text")


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


ROLES = {_bare(name): role for role, names in SYNONYMS.items() for name in names.split()}
FIELDS = {_bare(name): name for name in KEPT}


@lru_cache(maxsize=256)
def _columns(names: tuple[str, ...]) -> dict[str, str]:
    """What each column is: role → its name, the first of those that say the same; fields of a request by their name."""
    found: dict[str, str] = {}
    for name in names:
        role = ROLES.get(_bare(name)) or FIELDS.get(_bare(name))
        if role is not None:
            found.setdefault(role, name)
    if (user := found.pop("user or text", None)) is not None:
        beside = "answer" in found and not found.keys() & {"prompt", "messages"}
        found.setdefault("prompt" if beside else "user", user)  # a column beside the system's and the assistant's
    return found


def fits(record: Any) -> bool:
    """Flat rows alone: bodies of an API, and two texts and nothing else, are for the formats that come after."""
    if not isinstance(record, dict) or "request" in record or record.keys() <= {"prompt", "completion"}:
        return False
    found = _columns(tuple(record))
    said = {role: record[found[role]] for role in ("messages", "prompt", "answer") if role in found}
    if any(isinstance(value, dict) for value in said.values()):
        return False
    if {"asked", "said"} <= found.keys():
        return True
    answered = isinstance(said.get("answer"), str)
    if isinstance(said.get("messages", said.get("prompt")), list):
        return answered and found["answer"] not in RESPONSES
    return bool(said.keys() & {"messages", "prompt"}) and (answered or ("model" in found and "answer" not in found))


def rows(record: Any) -> Iterable[dict[str, Any]]:
    if not isinstance(record, dict) or not _columns(tuple(record)).keys() & {"messages", "prompt", "answer", "asked"}:
        raise wire.ShapeError(f"{wire.shape_of(record)}; expected {SAYS}")
    cells = {role: record[name] for role, name in _columns(tuple(record)).items() if record[name] not in (None, "")}
    if not cells.keys() & {"prompt", "messages", "answer", "asked"}:
        raise wire.RowError("the row has neither a text nor a token count")
    messages, further = _asked(cells)
    message, why = shape.said(cells.get("answer"))
    start = _time(record, cells)
    passed = shape.number(cells.get("ms"))
    ended = shape.seconds(start, cells["end"]) if "end" in cells else None
    request = {"model": _name(cells.get("model")), "messages": messages} | further | _params(cells)
    return (
        shape.row(
            request | ({"hash_ids": record["hash_ids"]} if isinstance(record.get("hash_ids"), list) else {}),
            _failure(cells),
            message=message,
            why=why or shape.finish(cells.get("finish")),
            usage=_usage(cells),
            timestamp=start,
            seconds=ended if passed is None and "seconds" not in cells else _seconds(cells.get("seconds"), passed),
            tier=shape.text(cells.get("tier")),
            user=_name(cells.get("user")),
        ),
    )


def _name(value: Any) -> str | None:
    """A name, also where it is a number: 4711."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _asked(cells: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    if "messages" in cells:
        messages, further = shape.asked(cells["messages"])
    else:
        messages, further = _prompt(cells.get("prompt"))
    system = cells.get("system")
    head = [{"role": "system", "content": system}] if isinstance(system, str) else []
    return head + messages, further


def _prompt(value: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A prompt is a text as it stands, unless it is the JSON of messages or of a request."""
    inner = shape.decoded(value)
    first = inner[0] if isinstance(inner, list) and inner else inner
    if not isinstance(value, str) or shape.has(first, "role") or shape.has(inner, "messages"):
        return shape.asked(value)
    return [{"role": "user", "content": value}], {}


def _params(cells: dict[str, Any]) -> dict[str, Any]:
    params = {key: value for key, value in shape.obj(shape.decoded(cells.get("params"))).items() if key not in cells}
    for name in KEPT:
        if name in cells:
            found = shape.number(cells[name]) if name not in ("stop", "tools", "response_format") else None
            whole = found is not None and found == int(found)
            params[name] = int(found) if found is not None and whole else found or shape.decoded(cells[name])
    return {key: value for key, value in params.items() if key not in ("model", "messages")}


def _usage(cells: dict[str, Any]) -> dict[str, Any] | None:
    parts = {name: cells.get(name) for name in ("cached", "write", "reasoning")}
    return shape.usage(cells.get("asked"), cells.get("said"), **parts)


def _seconds(seconds: Any, ms: float | None) -> float | None:
    return ms / 1000 if ms is not None else shape.number(seconds)


def _time(record: dict[str, Any], cells: dict[str, Any]) -> Any:
    """The row's time. Mooncake counts milliseconds from the trace's start; micro- and nanoseconds are told by size."""
    given = cells.get("time")
    found = shape.number(given) if not isinstance(given, str) or given.replace(".", "", 1).isdigit() else None
    if found is None:
        return given
    if "hash_ids" in record:
        return found / 1e3
    return found / 1e9 if found >= 1e17 else found / 1e6 if found >= 1e14 else found


def _failure(cells: dict[str, Any]) -> dict[str, Any] | None:
    status = shape.count(cells.get("status"))
    code = cells.get("code")
    wrong = isinstance(code, str) and code.lower() not in ("none", "null", "false", "0", "nan")
    if wrong or (status is not None and status >= 400):
        return shape.failed(code if wrong else status, cells.get("said wrong"))
    return None
