"""Makes calls.jsonl.gz, the bundled log: CLINC150's utterances as six weeks of calls of a support desk.

    python make.py data_full.json.gz

Real: the 23,700 utterances, and their labels, which people gave and which stand in for a closed model's answers.
Constructed: the system message, the order, times, seconds, ids, bodies and token counts (README.md says how).
The same input gives the same rows, byte for byte.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = 150
START = datetime(2026, 10, 5, tzinfo=UTC)  # a Monday; six weeks end before Monday 16 November 2026
WEEKS = 6
DAY = (2, 1, 1, 1, 1, 2, 5, 12, 26, 40, 46, 44, 38, 42, 45, 43, 38, 30, 22, 16, 12, 9, 6, 4)  # calls by hour, relative
WEEK = (1.15, 1.1, 1.05, 1.0, 0.95, 0.35, 0.25)  # Monday to Sunday, relative
RULE = "Support desk router. Read the customer's message and answer with exactly one of these labels, nothing else:\n"


def utterances(source: Path) -> list[tuple[str, str]]:
    """(text, label) of every part of the data set, shuffled once."""
    with gzip.open(source, "rt", encoding="utf-8") as file:
        parts = json.load(file)
    names = ("train", "val", "test", "oos_train", "oos_val", "oos_test")
    rows = [(text, "out_of_scope" if label == "oos" else label) for name in names for text, label in parts[name]]
    random.Random(SEED).shuffle(rows)
    return rows


def system_message(labels: set[str]) -> str:
    return RULE + "\n".join([*sorted(labels - {"out_of_scope"}), "out_of_scope"])


def times(count: int, chance: random.Random) -> list[datetime]:
    """Arrival times over the weeks, more by day than by night and fewer at the weekend, in order."""
    hours = range(WEEKS * 7 * 24)
    weights = [WEEK[hour // 24 % 7] * DAY[hour % 24] for hour in hours]
    drawn = chance.choices(hours, weights, k=count)
    return sorted(START + timedelta(hours=h, milliseconds=chance.randrange(3_600_000)) for h in drawn)


def tokens(text: str) -> int:
    """One token for each four bytes, rounded up: close to OpenAI's tokenisers on English, and not exact."""
    return math.ceil(len(text.encode()) / 4)


def row(text: str, label: str, system: str, at: datetime, chance: random.Random) -> dict[str, object]:
    prompt, completion = 3 + tokens(system) + 4 + tokens(text) + 4, tokens(label)
    name = hashlib.blake2b(f"{at.isoformat()} {text}".encode(), digest_size=8).hexdigest()
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    answer = {"role": "assistant", "content": label, "refusal": None}
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},  # prompts below 1,024 tokens are not cached
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    response = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": int(at.timestamp()),
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": answer, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
    }
    return {
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "seconds": round(0.25 + chance.lognormvariate(-1.1, 0.45), 3),
        "request": {"model": "gpt-4o-mini", "temperature": 0, "messages": messages},
        "response": response,
    }


def lines(source: Path) -> bytes:
    """All rows as JSON lines."""
    rows = utterances(source)
    system = system_message({label for _, label in rows})
    chance = random.Random(SEED + 1)
    found = [
        row(text, label, system, at, chance) for (text, label), at in zip(rows, times(len(rows), chance), strict=True)
    ]
    return "".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n" for r in found).encode()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {Path(sys.argv[0]).name} data_full.json.gz")
    made = lines(Path(sys.argv[1]))
    (HERE / "calls.jsonl.gz").write_bytes(gzip.compress(made, 9, mtime=0))
    print(f"{len(made.splitlines()):,} rows, sha256 of the rows {hashlib.sha256(made).hexdigest()}")
