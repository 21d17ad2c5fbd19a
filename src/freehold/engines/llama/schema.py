"""A JSON schema held against a log: can the engine keep to it, does a logged answer satisfy it, and with which blanks.

The engine's own grammar decides all of it, so that what passes here is what can be written: a value satisfies a schema
where the schema together with `{"const": value}` still compiles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from freehold.engines.llama.completion import Answers
from freehold.errors import SchemaUnmet

__all__ = ["as_logged", "check_schema", "satisfies"]

TRIED = 20  # logged answers held against a schema
MANY = 1000  # logged answers whose blanks are looked at
NO_JSON = object()


def check_schema(engine: Answers, schema: Mapping[str, Any], answers: Sequence[str]) -> None:
    """Raises SchemaUnmet where the engine can't compile the schema, or none of the logged answers (20 are tried)
    satisfies it."""
    engine.obeys(schema)
    tried = list(dict.fromkeys(answers))[:TRIED]
    if tried and not any(satisfies(engine, schema, answer) for answer in tried):
        raise SchemaUnmet(
            f"None of {len(tried)} different logged answers satisfies the JSON schema that the calls ask for.",
            "Correct the schema in the calls, or leave it out.",
        )


def as_logged(schema: Mapping[str, Any], answers: Sequence[str]) -> dict[str, Any]:
    """The schema with the blanks that the log's answers have between their parts, where 9 of 10 have the same (", " and
    ": ", or none). Else, and where it says its own (x-guidance), as it is: llama.cpp then allows any blanks anywhere,
    which an answer may be lost in."""
    if "x-guidance" in schema:
        return dict(schema)
    values = [(answer, value) for answer in answers[:MANY] if (value := _parsed(answer)) is not NO_JSON]
    for item, key in ((",", ":"), (", ", ": ")):
        alike = sum(answer == json.dumps(value, separators=(item, key), ensure_ascii=False) for answer, value in values)
        if values and alike >= 0.9 * len(values):
            form = {"whitespace_flexible": False, "item_separator": item, "key_separator": key}
            return {**schema, "x-guidance": form}
    return dict(schema)


def _parsed(answer: str) -> Any:
    try:
        return msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return NO_JSON


def satisfies(engine: Answers, schema: Mapping[str, Any], answer: str) -> bool:
    value = _parsed(answer)
    if value is NO_JSON:
        return False
    shared = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    return engine.compiles({"allOf": [dict(schema), {"const": value}], **shared})
