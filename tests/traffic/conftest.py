"""Small logs on disk, and the texts of a real one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

LOG = Path(__file__).resolve().parents[2] / "examples" / "support-desk" / "calls.jsonl.gz"
Pair = tuple[str, str]


def row(text: str, answer: Any, system: str | None = "Route the message.", **more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}] if system is not None else []
    message = answer if isinstance(answer, dict) else {"role": "assistant", "content": answer}
    response = {"model": "gpt-4o-mini-2024-07-18", "choices": [{"message": message, "finish_reason": "stop"}]}
    response["usage"] = {"prompt_tokens": 20, "completion_tokens": 2}
    request = {"model": "gpt-4o-mini", "temperature": 0, "messages": [*messages, {"role": "user", "content": text}]}
    return {"timestamp": 1790845964, "request": request, "response": response} | more


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write rows (or raw bytes) as a log, and return its path."""

    def write(rows: Sequence[dict[str, Any]] | bytes, name: str = "calls.jsonl") -> Path:
        data = rows if isinstance(rows, bytes) else "".join(json.dumps(r) + "\n" for r in rows).encode()
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
        return path

    return write


@pytest.fixture(scope="session")
def utterances() -> list[Pair]:
    """(text, label) of the bundled log's first 6,000 calls."""
    found: list[Pair] = []
    with gzip.open(LOG, "rt", encoding="utf-8") as file:
        for _, line in zip(range(6000), file, strict=False):
            read = json.loads(line)
            found.append(
                (read["request"]["messages"][1]["content"], read["response"]["choices"][0]["message"]["content"])
            )
    return found
