"""What a person decides instead of the dial, by the names of Shape's and Plan's fields.

read({"layers": "4", "betas": "0.9,0.99", "schedule": "linear"}) -> {"layers": 4, "betas": (0.9, 0.99), ...}

Text is read as what the field holds. A name that isn't known, and a value that can't be meant, is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import msgspec

from freehold.errors import BadSetting
from freehold.train.nouns import Plan, Shape

__all__ = ["KNOWN", "SHAPE", "read"]

ELSEWHERE = {
    "vocabulary": "It follows from the tokenizer: say --vocabulary, or --tokenizer.",
    "seed": "Say --seed.",
    "start": "Say --base.",
    "threads": "Say --threads.",
    "tokens": "Say --tokens.",
    "minutes": "Say --minutes.",
}
SHAPE = tuple(f.name for f in fields(Shape) if f.name not in ELSEWHERE)
KNOWN = (*SHAPE, *(f.name for f in fields(Plan) if f.name not in (*ELSEWHERE, "shape", "why")))
TYPES = get_type_hints(Shape) | get_type_hints(Plan)
LEAST = {
    "rate": 0.0,
    "steps": 1,
    "rows": 1,
    "warm": 0,
    "decay": 0.0,
    "clip": 0.0,
    "balance": 0.0,
    "least": 0.0,
    "evals": 1,
}
MOST = {"rate": 10.0, "least": 1.0, "decay": 10.0, "balance": 10.0, "rows": 1 << 20, "evals": 10_000}


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Raises BadSetting."""
    return {name: _value(name, said) for name, said in given.items()}


def _value(name: str, said: Any) -> Any:
    if name in ELSEWHERE:
        raise BadSetting(f"{name} can't be set.", ELSEWHERE[name])
    if name not in KNOWN:
        raise BadSetting(f"{name} is nothing that a training has.", f"Known: {', '.join(KNOWN)}.")
    if isinstance(said, str) and name == "betas":
        said = said.split(",")
    try:
        value = msgspec.convert(said, TYPES[name], strict=False)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{name} is {said!r}.", _wanted(name)) from error
    _check(name, value)
    return value


def _wanted(name: str) -> str:
    choices = get_args(TYPES[name])
    if choices and all(isinstance(choice, str) for choice in choices):
        return f"Known: {', '.join(choices)}."
    if name == "betas":
        return "Give two numbers, such as 0.9,0.95."
    return {int: "Give a whole number.", bool: "Give true or false."}.get(TYPES[name], "Give a number.")


def _check(name: str, value: Any) -> None:
    if name == "betas":
        if not all(0 <= beta < 1 for beta in value):
            raise BadSetting(f"betas are {value[0]:g} and {value[1]:g}.", "Give two numbers from 0 to below 1.")
        return
    if isinstance(value, str | bool):
        return
    least, most = LEAST.get(name, 0), MOST.get(name, math.inf)
    if not least <= value <= most or (name == "rate" and value == 0):
        below = f" to {most:,g}" if most < math.inf else " or more"
        raise BadSetting(f"{name} is {value:g}.", f"Give {'more than ' if name == 'rate' else ''}{least:g}{below}.")
