"""Pairs that stand in the log itself, where its format says which of two answers somebody would rather have.

openai-fine-tuning   {"input", "preferred_output", "non_preferred_output"} or {"messages", "edited"}: the pair as it is
langfuse             a trace with its scores: one of the type CORRECTION is what a person wrote in an answer's place
                     (langfuse.com/docs/observability/features/corrections; the API's Score, name "output")
helicone             one request twice, with feedback_rating true and false (HeliconeRequest in packages/llm-mapper)

The readers of the log keep none of these: each record is read again here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from freehold import wire
from freehold.nouns import Call
from freehold.tell import Tell, quiet
from freehold.traffic import open_log
from freehold.traffic.files import records
from freehold.traffic.formats import helicone, langfuse, openai_finetuning, shape
from freehold.tune.preference.pairs import Said, from_row, is_pair

__all__ = ["FORMATS", "from_log"]

FORMATS = (openai_finetuning.NAME, langfuse.NAME, helicone.NAME)


def from_log(paths: Iterable[str], *, until: float | None = None, tell: Tell = quiet) -> list[Said]:
    """All pairs of a log, in its order. A record that can't be read was counted by the audit, and is passed over."""
    found: list[Said] = []
    rated = _Rated()
    source = open_log(list(paths))
    for number, part in enumerate(source.parts):
        tell("look for pairs in the log", number / len(source.parts))
        for record in records(part) if part.format in FORMATS else ():
            try:
                said = [] if record.torn else list(_in(wire.loads(record.data), part.format, rated))
            except wire.RowError:
                continue
            found += [replace(one, where=f"{part.path}:{part.line + record.number}") for one in said]
    tell("look for pairs in the log", 1.0)
    return [one for one in found if until is None or (one.rejected.at is not None and one.rejected.at < until)]


def _in(record: Any, format: str, rated: _Rated) -> Iterator[Said]:
    if format == openai_finetuning.NAME:
        if is_pair(record):
            yield from_row(record, "")
    elif format == langfuse.NAME:
        yield from _corrected(record)
    else:
        for one in shape.listed(shape.obj(record).get("data")) or [record]:
            if isinstance(shape.obj(one).get("feedback_rating"), bool):
                (row,) = helicone.rows(one)
                yield from rated.take(wire.call_from_row(row), one["feedback_rating"])


def _corrected(trace: Any) -> Iterator[Said]:
    """Each answer beside what a person put in its place; a correction of the whole trace where it has one call."""
    seen = [one for one in shape.listed(shape.obj(trace).get("observations")) if shape.obj(one).get("id")]
    calls = {one["id"]: one for one in seen if one.get("type") == "GENERATION"}
    for score in shape.listed(shape.obj(trace).get("scores")):
        said = shape.obj(score)
        text = said.get("stringValue") or said.get("string_value") or said.get("value")
        if (said.get("dataType") or said.get("data_type")) != "CORRECTION" or not isinstance(text, str):
            continue
        about = said.get("observationId") or said.get("observation_id")
        one = calls.get(about) if about else next(iter(calls.values())) if len(calls) == 1 else None
        if one is not None:
            (row,) = langfuse.rows(one)
            call = wire.call_from_row(row)
            yield Said(_answered(call, text), call, "")


def _answered(call: Call, text: str) -> Call:
    """The same request with another answer."""
    said = {"messages": [*call.messages, {"role": "assistant", "content": text}]}
    return replace(call, answer=text, row=said, finish="stop", error="")


class _Rated:
    """Answers to one request that somebody rated: each good one beside each bad one."""

    def __init__(self) -> None:
        self._by: dict[bytes, tuple[list[Call], list[Call]]] = {}

    def take(self, call: Call, good: bool) -> Iterator[Said]:
        mine = self._by.setdefault(wire.dumps([call.messages, call.params]), ([], []))
        mine[not good].append(call)
        for other in mine[good]:
            yield Said(call, other, "") if good else Said(other, call, "")
