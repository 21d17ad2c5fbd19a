"""Langfuse's observations: its blob storage export (JSON lines, CSV, Parquet), its API's pages, its traces.

{"id": "obs-1", "trace_id": "t-1", "type": "GENERATION", "start_time": "2024-05-29 13:46:19.963000", "end_time": ...,
 "provided_model_name": "gpt-4o", "model_parameters": "{\\"temperature\\": 0}", "input": "[{\\"role\\": ...}]",
 "output": "...", "usage_details": {"input": 41, "output": 18, "total": 59}, "level": "DEFAULT", "user_id": ""}
Fields: langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields; the API writes them in camelCase.
Only generations and embeddings are calls of a model; spans, tools, agents and the like are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from freehold import wire
from freehold.traffic.formats import shape

__all__ = ["NAME", "SAYS", "fits", "rows"]

NAME = "langfuse"
SAYS = "Langfuse's observations"
CALLS = {"GENERATION": "chat", "EMBEDDING": "embeddings"}
TYPES = {*CALLS, "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "GUARDRAIL"}
ASKED = ("input", "promptTokens", "inputTokens", "inputUsage")
SAID = ("output", "completionTokens", "outputTokens", "outputUsage")
READ = ("input_cached_tokens", "input_cache_read", "cache_read_input_tokens", "input_cached")
WRITTEN = ("input_cache_creation", "cache_creation_input_tokens", "input_cache_write")
THOUGHT = ("output_reasoning_tokens", "output_reasoning", "reasoning_tokens")


def fits(record: Any) -> bool:
    return any(_is_observation(one) for one in _observations(record)[:8])


def _observations(record: Any) -> list[Any]:
    """The observations of a trace, of a page of the API, or the one that the record is."""
    for key in ("observations", "data"):
        if isinstance(record, dict) and isinstance(record.get(key), list):
            return shape.listed(record[key])
    return [record]


def _is_observation(one: Any) -> bool:
    if not isinstance(one, dict) or shape.text(one.get("type")) not in TYPES:
        return False
    return ("traceId" in one or "trace_id" in one) and ("startTime" in one or "start_time" in one)


def rows(record: Any) -> Iterable[dict[str, Any]]:
    if not isinstance(record, dict):
        raise wire.ShapeError(f"{wire.shape_of(record)}; expected {SAYS}")
    user = record.get("userId") if isinstance(record.get("observations"), list) else None
    return [_row(one, user) for one in _observations(record) if shape.text(shape.obj(one).get("type")) in CALLS]


def _get(one: dict[str, Any], *names: str) -> Any:
    """The first of these fields that says something."""
    return next((one[name] for name in names if one.get(name) not in (None, "")), None)


def _row(one: dict[str, Any], user: Any) -> dict[str, Any]:
    messages, further = shape.asked(one.get("input"))
    params = shape.obj(shape.decoded(_get(one, "modelParameters", "model_parameters")))
    endpoint = CALLS[one["type"]]
    message, why = shape.said(None if endpoint == "embeddings" else one.get("output"))
    model = _get(one, "providedModelName", "provided_model_name", "model", "internalModel")
    start, end = _get(one, "startTime", "start_time"), _get(one, "endTime", "end_time")
    wrong = one.get("level") == "ERROR"
    return shape.row(
        {"model": model, "messages": messages} | {k: v for k, v in (further | params).items() if k != "model"},
        shape.failed("error", _get(one, "statusMessage", "status_message")) if wrong else None,
        message=message,
        why=why,
        usage=_usage(one, endpoint),
        timestamp=start,
        seconds=shape.seconds(start, end) if end else shape.number(one.get("latency")),
        endpoint=endpoint,
        user=shape.text(_get(one, "userId", "user_id") or user),
    )


def _usage(one: dict[str, Any], endpoint: str) -> dict[str, Any] | None:
    details = shape.obj(shape.decoded(_get(one, "usageDetails", "usage_details")))
    counts = {key: n for key, value in details.items() if (n := shape.count(value)) is not None}
    if counts:
        return _from_details(counts, endpoint)
    older = shape.obj(shape.decoded(one.get("usage")))
    if older.get("unit") not in (None, "TOKENS"):
        return None
    older = {name: one.get(name) for name in (*ASKED, *SAID) if name not in ("input", "output")} | older
    asked, said = _get(older, *ASKED), _get(older, *SAID)
    return shape.usage(asked, 0 if said is None and endpoint == "embeddings" else said)


def _from_details(counts: dict[str, int], endpoint: str) -> dict[str, Any] | None:
    """Langfuse adds up every key with "input" in it (docs/observability/features/token-and-cost-tracking): its own
    integrations take the cached tokens out of "input". Where "total" says that they are still in it, they stay."""
    asked = sum(n for key, n in counts.items() if "input" in key)
    said = sum(n for key, n in counts.items() if "output" in key)
    bare = counts.get("input", asked), counts.get("output", said)
    if sum(bare) == counts.get("total"):
        asked, said = bare
    if not asked and not said and "total" in counts:
        asked = counts["total"] if endpoint == "embeddings" else 0
    return shape.usage(
        asked,
        said,
        cached=sum(counts.get(key, 0) for key in READ),
        write=sum(n for key, n in counts.items() if key.startswith(WRITTEN)),
        reasoning=sum(counts.get(key, 0) for key in THOUGHT),
        audio_in=counts.get("input_audio_tokens", counts.get("input_audio")),
        audio_out=counts.get("output_audio_tokens", counts.get("output_audio")),
    )
