"""What a chat request may ask for at most, read before anything is done for it (Limits; TRUST 4.1).

n, best_of 8 · 1,048,576 tokens of an answer · stop 16 · logit_bias 1,024 · a schema of 64 KiB, 32 deep, arrays of
10,000 · whole numbers that are some
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from freehold import stream, wire
from freehold.project.gateway import Limits
from freehold.serve.entry.door import Refusal

__all__ = ["check_bounds"]

CHOICES = ("n", "best_of")
COUNTS = (*CHOICES, "max_tokens", "max_completion_tokens", "top_logprobs")
MOST = 1 << 20  # tokens of an answer, and more than any model writes
NUMBERS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
PLAIN = frozenset((*COUNTS, *NUMBERS))
BOUND = PLAIN | {"stop", "logit_bias", "tools", "functions", "response_format"}


def check_bounds(body: dict[str, Any], limits: Limits) -> None:
    """Raises Refusal (400) for the first field that is too much, or can't be meant."""
    said = BOUND.intersection(body)
    for name in said.intersection(COUNTS):
        value = body[name]
        if value is not None and (type(value) is not int or value < 0):
            raise _refused(name, "is no whole number from 0 on")
        if name in CHOICES and (value or 1) > limits.choices:
            raise _refused(name, f"is more than {limits.choices}")
        if (value or 0) > MOST:
            raise _refused(name, f"is more than {MOST:,}, which no model writes")
    for name in said.intersection(NUMBERS):
        value = body[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value)):
            raise _refused(name, "is no number")
    if said <= PLAIN:
        return
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > limits.stop:
        raise _refused("stop", f"has more than {limits.stop} entries")
    bias = body.get("logit_bias")
    if bias is not None and (not isinstance(bias, dict) or len(bias) > limits.logit_bias):
        raise _refused("logit_bias", f"is no object of at most {limits.logit_bias:,} entries")
    for name in ("tools", "functions"):
        if body.get(name) is not None and not isinstance(body[name], list):
            raise _refused(name, "is no list")
    for where, schema in _schemas(body):
        _check_schema(where, schema, limits)


def _schemas(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    form = body.get("response_format")
    if isinstance(form, dict) and isinstance(form.get("json_schema"), dict):
        yield "response_format", form["json_schema"].get("schema")
    for tool in body.get("tools") or ():
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict):
            yield "tools", tool["function"].get("parameters")


def _check_schema(where: str, schema: Any, limits: Limits) -> None:
    if not isinstance(schema, dict):
        return
    if stream.depth(schema, limits.schema_depth) > limits.schema_depth:
        raise _refused(where, f"has a schema nested deeper than {limits.schema_depth}")
    if len(wire.dumps(schema)) > limits.schema_kib << 10:
        raise _refused(where, f"has a schema of more than {limits.schema_kib} KiB")
    level: list[Any] = [schema]
    while level:
        for one in level:
            most = one.get("maxItems") if isinstance(one, dict) else None
            if isinstance(most, int) and most > limits.schema_items:
                raise _refused(where, f"has a schema with maxItems above {limits.schema_items:,}")
        level = [
            v for one in level for v in (one.values() if isinstance(one, dict) else one) if isinstance(v, dict | list)
        ]


def _refused(name: str, why: str) -> Refusal:
    return Refusal(400, f"The field {name} {why}.", "bad_field")
