"""Three logs for the text benchmarks, made from the shared data: JSON extraction, SQL, tool calls.

    snips()      utterance -> {"intent", "slots"}       examples/extraction; the 700 validation rows check
    geography()  question  -> SQL over seven tables     877 questions, the file's own question split; a SQLite file
    calls()      question + its tools -> tool calls     BFCL simple_python, multiple and parallel; split by a keyed hash

A Log holds rows in OpenAI's request and response shape, as a team would export them: `rows` to learn and certify from,
`test` that no student and no certificate sees. write() makes the JSONL file that freehold.traffic.read takes.

    {"timestamp": "2026-10-05T00:15:00.000Z", "seconds": 0.9, "request": {...}, "response": {...}, "accepted": [...]}

Answers are people's and stand in for a closed model's. Times, seconds and token counts are constructed. The geography
data is shared with its authors' permission and so never copied into the repository: it is read where it lies.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import runpy
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import _run

EXAMPLE = _run.ROOT / "examples" / "extraction"
START = datetime(2026, 10, 5, tzinfo=UTC)
WEEKS = 6
KEY = b"freehold text_tasks 1"
TEST_SHARE = 0.25
BFCL = ("simple_python", "multiple", "parallel")
JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Log:
    """A task's rows, and the further rows that check what was learnt from them."""

    name: str
    rows: list[Row]
    test: list[Row]
    database: Path | None = None


def shared() -> Path:
    """The folder of the shared tasks."""
    folder = Path(os.environ.get("FREEHOLD_SHARED", _run.ROOT.parent / "shared")) / "data" / "tasks"
    if not folder.is_dir():
        raise SystemExit(
            f"needs the shared data: {folder} is absent; set FREEHOLD_SHARED to the folder that holds data/"
        )
    return folder


def write(log: Log, path: Path) -> Path:
    """The rows of `log` as a JSONL file."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in log.rows), encoding="utf-8")
    return path


def question(row: Row) -> str:
    """What the user asked."""
    return str(row["request"]["messages"][-1]["content"])


# SNIPS


def snips() -> Log:
    """The example log without the 11 rows whose utterance also stands among the 700 of the test."""
    make = runpy.run_path(str(EXAMPLE / "make.py"))
    rows = [json.loads(line) for line in make["first"](10**6).splitlines()]
    (system,) = {row["request"]["messages"][0]["content"] for row in rows}
    check = make["utterances"](shared() / "snips", "validate", ".json")
    test = [_row(system, text, {"content": make["compact"](said)}, i, JSON) for i, (text, said) in enumerate(check)]
    held = {_plain(question(row)) for row in test}
    return Log("snips", [row for row in rows if _plain(question(row)) not in held], test)


JSON = {"response_format": {"type": "json_object"}}


# geography


def geography() -> Log:
    """Questions and their SQL, names filled in; the test is the file's own half of the question split."""
    folder = shared() / "text2sql-geography"
    database = folder / "geography-db.added-in-2020.sqlite"
    system = (
        "You write SQLite queries about the geography of the United States. Answer the question with one query and "
        "nothing else.\nTables:\n" + _tables(database)
    )
    sides: dict[str, list[Row]] = {"train": [], "dev": [], "test": []}
    asked = json.loads((folder / "geography.json").read_bytes())
    found = [(s, entry["sql"][0]) for entry in asked for s in entry["sentences"]]
    found.sort(
        key=lambda pair: _hashed(f"{pair[0]['text']} {pair[0]['variables']}")
    )  # a log is not in order of queries
    for i, (sentence, sql) in enumerate(found):
        names = sentence["variables"]
        row = _row(system, _filled(sentence["text"], names), {"content": _filled(sql, names)}, i, {})
        sides[sentence["question-split"]].append(row)
    return Log("sql", _in_time(sides["train"] + sides["dev"]), sides["test"], database)


def _filled(text: str, names: dict[str, str]) -> str:
    return re.sub("|".join(map(re.escape, names)), lambda m: names[m.group()], text) if names else text


def _tables(database: Path) -> str:
    """Each table with its columns, one a line."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        columns = {t: [row[1] for row in db.execute(f"PRAGMA table_info({t})")] for t in tables}
    return "\n".join(f"{table}({', '.join(columns[table])})" for table in tables)


# BFCL


def calls() -> Log:
    """Questions with their tools; the answer is the first accepted value of each argument, and `accepted` has all.

    Sides go by a keyed hash of the question's words, so a question that stands in several files is on one side only.
    """
    folder = shared() / "bfcl-tools"
    system = "You are an assistant that acts through tools. Call the tools that the request needs, with its values."
    found = []
    for name in BFCL:
        answers = {a["id"]: a["ground_truth"] for a in _lines(folder / "possible_answer" / f"BFCL_v4_{name}.json")}
        for asked in _lines(folder / f"BFCL_v4_{name}.json"):
            found.append((asked["question"][0][0]["content"], asked["function"], answers[asked["id"]]))
    found.sort(key=lambda one: (_hashed(one[0] + "."), json.dumps(one[1:])))
    rows, test = [], []
    for i, (text, functions, truth) in enumerate(found):
        tools = [{"type": "function", "function": _function(f)} for f in functions]
        accepted = [_accepted(call) for call in truth]
        row = _row(system, text, {"tool_calls": [_call(a, i, k) for k, a in enumerate(accepted)]}, i, {"tools": tools})
        (test if _hashed(_plain(text)) < TEST_SHARE else rows).append(row | {"accepted": accepted})
    return Log("calls", _in_time(rows), test)


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _name(name: str) -> str:
    """A function's name as OpenAI allows it."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _function(function: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": _name(function["name"]),
        "description": function["description"],
        "parameters": _schema(function["parameters"]),
    }


def _schema(given: dict[str, Any]) -> dict[str, Any]:
    """BFCL's parameters (Python's type names) as JSON Schema; `any` becomes no type, `optional` is not part of it."""
    schema = {k: v for k, v in given.items() if k != "optional" and (k, v) != ("type", "any")}
    if "type" in schema:
        schema["type"] = JSON_TYPES.get(schema["type"], schema["type"])
    if "properties" in schema:
        schema["properties"] = {name: _schema(s) for name, s in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        schema["items"] = _schema(schema["items"])
    return schema


def _accepted(call: dict[str, dict[str, list[Any]]]) -> dict[str, dict[str, list[Any]]]:
    """{name: {argument: [accepted values]}}, as freehold.agree.accepts reads it; "" means that it may be left out."""
    ((name, arguments),) = call.items()
    return {_name(name): arguments}


def _first(accepted: dict[str, list[Any]]) -> dict[str, Any]:
    """The first accepted value of each argument or member, without those that are left out there."""
    return {name: _value(values[0]) for name, values in accepted.items() if values and values[0] != ""}


def _value(value: Any) -> Any:
    """An object's members have accepted values of their own, in lists too."""
    if isinstance(value, dict):
        return _first(value)
    return [_value(v) for v in value] if isinstance(value, list) else value


def _call(accepted: dict[str, dict[str, list[Any]]], row: int, number: int) -> dict[str, Any]:
    ((name, arguments),) = accepted.items()
    function = {"name": name, "arguments": json.dumps(_first(arguments), ensure_ascii=False)}
    return {"id": f"call_{row:04}{number:02}", "type": "function", "function": function}


# rows


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _hashed(text: str) -> float:
    """A number in [0, 1) that looks random and depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), key=KEY, digest_size=8).digest(), "big") / 2.0**64


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode()) / 4)


def _row(system: str, text: str, said: dict[str, Any], number: int, params: dict[str, Any]) -> Row:
    """One call in OpenAI's shape; `said` is the assistant's content or tool_calls."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    prompt = 3 + sum(4 + _tokens(m["content"]) for m in messages) + (_tokens(json.dumps(params)) if params else 0)
    completion = _tokens(json.dumps(said, ensure_ascii=False)) if "tool_calls" in said else _tokens(said["content"])
    message = {"role": "assistant", "content": None, "refusal": None} | said
    why = "tool_calls" if "tool_calls" in said else "stop"
    response = {
        "id": f"chatcmpl-{number:06}",
        "object": "chat.completion",
        "created": int(START.timestamp()),
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": why}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }
    request = {"model": "gpt-4o-mini", "temperature": 0, **params, "messages": messages}
    return {"seconds": round(0.4 + 0.012 * completion, 3), "request": request, "response": response}


def _in_time(rows: Iterable[Row]) -> list[Row]:
    """The rows evenly over the weeks, in their order."""
    ordered = sorted(rows, key=lambda row: row["response"]["id"])
    step = timedelta(weeks=WEEKS) / max(1, len(ordered))
    timed = []
    for i, row in enumerate(ordered):
        at = START + i * step
        row["response"]["created"] = int(at.timestamp())
        timed.append({"timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **row})
    return timed
