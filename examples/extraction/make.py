"""Makes calls.jsonl.gz, the second bundled log: SNIPS' utterances as six weeks of calls that answer with JSON.

    python make.py FOLDER            write calls.jsonl.gz (FOLDER holds the data set's seven folders)
    python make.py FOLDER --check    compare with what stands here, write nothing
    python make.py --rows 800        the first 800 rows of what stands here, as JSON lines on stdout
    python make.py --intents 800     the same, asked for the intent alone: a task that a very small model can learn

Real: the 13,784 utterances of the full training files, their intents and slots, which people gave and which stand in
for a closed model's answers. Constructed: the system message, the form of the JSON, the order, times, seconds, ids,
bodies and token counts (README.md says how). The same input gives the same rows, byte for byte.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import random
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILE = HERE / "calls.jsonl.gz"
SEED = 2017
START = datetime(2026, 10, 5, tzinfo=UTC)  # a Monday; six weeks end before Monday 16 November 2026
WEEKS = 6
DAY = (6, 3, 2, 1, 1, 2, 6, 14, 18, 16, 15, 16, 19, 18, 16, 17, 21, 28, 36, 42, 44, 38, 26, 13)  # calls by hour
WEEK = (0.9, 0.9, 0.95, 1.0, 1.2, 1.35, 1.15)  # Monday to Sunday, relative
RULE = """You are the parser of a voice assistant. Read what the person said and answer with JSON only, on one line:
{"intent": "...", "slots": {"name": "value"}}
Copy each value from the text as it was said. Leave out a slot that was not said.
A slot that was said twice has a list of its values, in the order in which they were said.
Intents and their slots:
"""
ASKED = "Name the intent of the message, as JSON."
Answer = dict[str, object]


def plain(text: str) -> str:
    """A string whose bytes were read as latin-1, as it was meant: UTF-8 where its bytes are that, else latin-1.

    One training string holds an emoji as two surrogates, each written in UTF-8 by itself; the last step joins them.
    """
    try:
        return (
            text.encode("latin-1").decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16")
        )
    except UnicodeError:
        return text


def answer(intent: str, pieces: Iterable[tuple[str, str | None]]) -> Answer:
    """{"intent", "slots"}: each slot's text, trimmed, in the order of the utterance; a list where one comes again."""
    found: dict[str, list[str]] = {}
    for text, name in pieces:
        if name is not None:
            found.setdefault(name, []).append(text.strip())
    return {"intent": intent, "slots": {k: v[0] if len(v) == 1 else v for k, v in found.items()}}


def utterances(folder: Path, part: str = "train", ending: str = "_full.json.gz") -> list[tuple[str, Answer]]:
    """(utterance, answer) of every row, intent by intent. The 700 to check with: part="validate", ending=".json"."""
    rows = []
    for file in sorted(folder.glob(f"*/{part}_*{ending}")):
        data = file.read_bytes()
        whole = gzip.decompress(data) if ending.endswith(".gz") else data
        for intent, queries in json.loads(whole.decode("latin-1")).items():  # the files mix UTF-8 and latin-1
            for query in queries:
                pieces = [(plain(piece["text"]), piece.get("entity")) for piece in query["data"]]
                rows.append(("".join(text for text, _ in pieces), answer(intent, pieces)))
    return rows


def system_message(rows: Iterable[tuple[str, Answer]]) -> str:
    """The instruction, and each intent with the slots that it was ever given."""
    slots: dict[str, set[str]] = {}
    for _, said in rows:
        slots.setdefault(str(said["intent"]), set()).update(said["slots"])  # type: ignore[arg-type]
    return RULE + "\n".join(f"{intent}: {', '.join(sorted(names))}" for intent, names in sorted(slots.items()))


def times(count: int, chance: random.Random) -> list[datetime]:
    """Arrival times over the weeks, most in the evening and at the weekend, in order."""
    hours = range(WEEKS * 7 * 24)
    weights = [WEEK[hour // 24 % 7] * DAY[hour % 24] for hour in hours]
    drawn = chance.choices(hours, weights, k=count)
    return sorted(START + timedelta(hours=h, milliseconds=chance.randrange(3_600_000)) for h in drawn)


def tokens(text: str) -> int:
    """One token for each four bytes, rounded up: close to OpenAI's tokenisers on English, and not exact."""
    return math.ceil(len(text.encode()) / 4)


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def row(text: str, said: str, system: str, at: datetime, chance: random.Random) -> dict[str, object]:
    prompt, completion = 3 + tokens(system) + 4 + tokens(text) + 4, tokens(said)
    name = hashlib.blake2b(f"{at.isoformat()} {text}".encode(), digest_size=8).hexdigest()
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    request = {
        "model": "gpt-4o-mini",
        "temperature": 0,
        "response_format": {"type": "json_object"},
        "messages": messages,
    }
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},  # prompts below 1,024 tokens are not cached
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    message = {"role": "assistant", "content": said, "refusal": None}
    response = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": int(at.timestamp()),
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
    }
    return {
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "seconds": round(0.3 + chance.lognormvariate(-1.1, 0.45) + 0.012 * completion, 3),
        "request": request,
        "response": response,
    }


def lines(folder: Path) -> bytes:
    """All rows as JSON lines, shuffled once."""
    rows = utterances(folder)
    system = system_message(rows)
    random.Random(SEED).shuffle(rows)
    chance = random.Random(SEED + 1)
    found = [
        row(text, compact(said), system, at, chance)
        for (text, said), at in zip(rows, times(len(rows), chance), strict=True)
    ]
    return "".join(compact(r) + "\n" for r in found).encode()


def first(count: int) -> bytes:
    """The oldest rows of the log that stands here: a small log of the same task."""
    with gzip.open(FILE) as file:
        return b"".join(islice(file, count))


def intents(count: int) -> bytes:
    """Those rows with a shorter question and answer; the token counts are of the bytes again."""
    return b"".join(json.dumps(_intent(json.loads(line))).encode() + b"\n" for line in first(count).splitlines())


def _intent(row: dict) -> dict:
    (system, user), message = row["request"]["messages"], row["response"]["choices"][0]["message"]
    system["content"] = ASKED
    message["content"] = json.dumps({"intent": json.loads(message["content"])["intent"]}, separators=(",", ":"))
    prompt, said = 3 + tokens(ASKED) + 4 + tokens(user["content"]) + 4, tokens(message["content"])
    row["response"]["usage"] |= {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="the data set's folder")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--rows", type=int, metavar="N", help="the first N rows, on stdout")
    parser.add_argument("--intents", type=int, metavar="N", help="the same, asked for the intent alone")
    args = parser.parse_args()
    if args.intents is not None:
        sys.stdout.buffer.write(intents(args.intents))
        return
    if args.rows is not None:
        sys.stdout.buffer.write(first(args.rows))
        return
    if args.folder is None or not any(args.folder.glob("*/train_*_full.json.gz")):
        parser.error("give the folder that holds AddToPlaylist/train_AddToPlaylist_full.json.gz and six more like it")
    made = lines(args.folder)
    if args.check:
        sys.exit(
            None if gzip.decompress(FILE.read_bytes()) == made else f"{FILE.name} differs from what {args.folder} gives"
        )
    FILE.write_bytes(gzip.compress(made, 9, mtime=0))
    print(f"{len(made.splitlines()):,} rows, sha256 of the rows {hashlib.sha256(made).hexdigest()}")


if __name__ == "__main__":
    main()
