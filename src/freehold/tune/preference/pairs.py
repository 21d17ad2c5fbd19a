"""Pairs from a file, a line each: in OpenAI's format for preferences, in TRL's, or an answer that a person edited.

{"input": {"messages": [...], "tools": []}, "preferred_output": [{"role": "assistant", "content": "..."}],
 "non_preferred_output": [{"role": "assistant", "content": "..."}]}
{"messages": [..., {"role": "assistant", "content": "what the model said"}], "edited": "what it should have said"}
{"prompt": "..." or [messages], "chosen": "..." or [message], "rejected": "..." or [message]}

Each may say "model": who answered. A line that is none of them is counted.

Described: https://developers.openai.com/api/docs/guides/direct-preference-optimization,
https://huggingface.co/docs/trl/dataset_formats (preference, with an explicit prompt)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold import wire
from freehold.errors import BadSetting
from freehold.nouns import Call
from freehold.traffic.formats import openai_finetuning

__all__ = ["Said", "from_file", "from_row", "is_pair"]

KEYS = ("input", "preferred_output", "non_preferred_output")
EDIT = ("messages", "edited")
TRL = ("prompt", "chosen", "rejected")
FORMS = (KEYS, TRL, EDIT)
LARGEST = 1 << 30  # bytes of a file with pairs


@dataclass(frozen=True, slots=True)
class Said:
    """One request, answered twice. `where` is the line that it stands in."""

    preferred: Call
    rejected: Call
    where: str


def from_file(path: Path) -> tuple[list[Said], int]:
    """The pairs, and how many lines are none. Raises BadSetting where it can't be read, or holds no pair."""
    try:
        if path.stat().st_size > LARGEST:
            raise BadSetting(f"{path} has more than {LARGEST >> 30} GiB.", "Give the pairs of one task.")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadSetting(f"--pairs: can't read {path}: {error.strerror}.", "Give the file with the pairs.") from None
    found: list[Said] = []
    bad: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(from_row(wire.loads(line), f"{path.name}:{number}"))
            except wire.RowError as error:
                bad.append(f"line {number} of {path} is no pair: {error}")
    if not found:
        said = bad[0] if bad else f"{path} is empty"
        raise BadSetting(
            f"--pairs: {said}.",
            'Each line is {"input": {"messages": [...]}, "preferred_output": [...], "non_preferred_output": [...]}, '
            'as OpenAI\'s DPO takes it, {"prompt", "chosen", "rejected"} as TRL does, or '
            '{"messages": [...], "edited": "..."}.',
        )
    return found, len(bad)


def is_pair(row: Any) -> bool:
    return isinstance(row, dict) and any(all(key in row for key in keys) for keys in FORMS)


def from_row(row: Any, where: str) -> Said:
    """Raises wire.RowError."""
    if not is_pair(row):
        raise wire.RowError(f"it is {wire.shape_of(row)}, without {', or '.join(', '.join(keys) for keys in FORMS)}")
    if all(key in row for key in TRL):
        row = {name: value for name, value in row.items() if name not in TRL} | _of_trl(row)
    if "edited" in row:
        row = row | _as_outputs(row)
    preferred, rejected = (_call(row, row[key]) for key in KEYS[1:])
    return Said(preferred, rejected, where)


def _of_trl(row: Mapping[str, Any]) -> dict[str, Any]:
    """TRL's form in OpenAI's: a text is one message."""
    given = _messages(row["prompt"], "user")
    if not isinstance(given, list):
        raise wire.RowError(f"prompt is {wire.shape_of(given)}, not a text or messages")
    answers = (_messages(row[key], "assistant") for key in TRL[1:])
    return dict(zip(KEYS, ({"messages": given}, *answers), strict=True))


def _messages(said: Any, role: str) -> Any:
    return [{"role": role, "content": said}] if isinstance(said, str) else said


def _as_outputs(row: Mapping[str, Any]) -> dict[str, Any]:
    """An edit in the other format: what a person wrote is preferred to what the model said."""
    said, edited = row["messages"], row["edited"]
    if not isinstance(edited, str):
        raise wire.RowError(f"edited is {wire.shape_of(edited)}, not a text")
    last = said[-1] if isinstance(said, list) and said else None
    if not isinstance(last, dict) or last.get("role") != "assistant":
        raise wire.RowError("its messages don't end with the answer that was edited")
    given = {name: value for name, value in row.items() if name not in EDIT} | {"messages": said[:-1]}
    return dict(zip(KEYS, (given, [{"role": "assistant", "content": edited}], [last]), strict=True))


def _call(row: Mapping[str, Any], answer: Any) -> Call:
    """The request with one of its answers, by the reader of the log's own format."""
    (found,) = openai_finetuning.rows({"input": row["input"], "preferred_output": answer})
    model = row.get("model") or (row["input"].get("model") if isinstance(row["input"], dict) else "")
    call = wire.call_from_row(found)
    if isinstance(answer, list) and len(answer) > 1:
        raise wire.RowError(f"an answer of {len(answer)} messages; one is taken")
    return Call(call.messages, model if isinstance(model, str) else "", call.params, call.answer, row=call.row)
