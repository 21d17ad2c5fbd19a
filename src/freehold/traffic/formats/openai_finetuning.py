"""OpenAI's fine-tuning rows: what a closed model is to answer, without time and money.

{"messages": [..., {"role": "assistant", "content": "transfer"}], "tools": [...]}
{"prompt": "<prompt text>", "completion": "<ideal generated text>"}                          the legacy form
{"input": {"messages": [...], "tools": []}, "preferred_output": [{...}], "non_preferred_output": [{...}]}       DPO

Described: https://platform.openai.com/docs/guides/supervised-fine-tuning and, for preferences,
https://developers.openai.com/api/docs/guides/direct-preference-optimization
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from freehold import wire
from freehold.traffic.formats.exchange import RESPONSES, messages

__all__ = ["NAME", "SAYS", "fits", "rows"]

NAME = "openai-fine-tuning"
SAYS = 'fine-tuning rows {"messages"}, {"prompt", "completion"} or {"input", "preferred_output"}'
Body = dict[str, Any]


def fits(record: Any) -> bool:
    if not isinstance(record, dict) or "request" in record:
        return False
    texts = isinstance(record.get("prompt"), str) and isinstance(record.get("completion"), str)
    chat = "messages" in record and not any(record.get(name) is not None for name in (*RESPONSES, "choices"))
    return chat or "preferred_output" in record or (texts and not record.keys() & {"model", "usage", "choices"})


def rows(record: Any) -> Iterable[Body]:
    if not fits(record):
        raise wire.ShapeError(f"{wire.shape_of(record)}; expected {SAYS}")
    if "messages" in record:
        return (record | {"messages": messages(record["messages"])},)
    if "preferred_output" in record:
        return (_preferred(record),)
    said = [{"role": "user", "content": record["prompt"]}, {"role": "assistant", "content": record["completion"]}]
    return ({"messages": said},)


def _preferred(record: Body) -> Body:
    """The preferred answer of two, as what is to be answered."""
    given, preferred = record.get("input"), record["preferred_output"]
    if not isinstance(given, dict) or not isinstance(given.get("messages"), list):
        raise wire.RowError("the input of a preference row has no messages")
    if not isinstance(preferred, list) or not preferred:
        raise wire.RowError("preferred_output is not a list with at least one message")
    further = {name: value for name, value in given.items() if name != "messages"}
    return further | {"messages": messages([*given["messages"], *preferred])}
