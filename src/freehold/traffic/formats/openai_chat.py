"""OpenAI bodies as they were sent and received, and freehold's own ledger.

{"timestamp": "2026-10-01T09:12:44Z", "seconds": 0.61, "request": {"model": ..., "messages": [...]}, "response": {}}
{"messages": [..., {"role": "assistant", "content": "transfer"}]}            a fine-tuning row: no time, no money
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from freehold import wire

__all__ = ["NAME", "SAYS", "fits", "rows"]

NAME = "openai"
SAYS = wire.EXPECTED


def fits(record: Any) -> bool:
    return isinstance(record, dict) and ("request" in record or "messages" in record)


def rows(record: Any) -> Iterable[dict[str, Any]]:
    return (record,)
