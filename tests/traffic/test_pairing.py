"""What was asked in a batch finds what came of it, whatever the order, and never another batch's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from freehold.traffic.files import parts_of
from freehold.traffic.formats import openai_batch
from freehold.traffic.pairing import Inputs, gather
from freehold.traffic.reader import open_log
from freehold.wire import call_from_row, unseen


def asked(i: int) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": f"text {i}"}]}
    return {"custom_id": f"request-{i}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def answered(i: int) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": f"answer {i}"}, "finish_reason": "stop"}
    body = {"model": "m", "choices": [choice], "usage": {"prompt_tokens": i, "completion_tokens": 1}}
    return {"id": f"b{i}", "custom_id": f"request-{i}", "response": {"status_code": 200, "body": body}, "error": None}


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def paired(log: Path, folder: Path) -> Inputs:
    folder.mkdir()
    assert gather(open_log([log], piece=200).parts, folder)
    return Inputs(folder)


def test_each_output_finds_its_input(tmp_path: Path) -> None:
    write(tmp_path / "log" / "in.jsonl", [asked(i) for i in range(300)])
    write(tmp_path / "log" / "out.jsonl", [answered(i) for i in range(299, -1, -1)])
    inputs = paired(tmp_path / "log", tmp_path / "spill")
    for i in (0, 7, 299):
        (row,) = openai_batch.rows(inputs.joined(answered(i)))
        call = call_from_row(row)
        assert (call.messages[0]["content"], call.answer, call.tier) == (f"text {i}", f"answer {i}", "batch")


def test_what_has_no_input_or_two_stays_alone(tmp_path: Path) -> None:
    write(tmp_path / "log" / "monday.jsonl", [asked(1), asked(2)])
    write(tmp_path / "log" / "tuesday.jsonl", [asked(2), asked(3), "torn", {"custom_id": 7, "body": {}}])
    inputs = paired(tmp_path / "log", tmp_path / "spill")
    alone = [unseen(call_from_row(row)) for i in range(5) for row in openai_batch.rows(inputs.joined(answered(i)))]
    assert alone == [True, False, True, False, True]
    for other in (asked(1), None, "x", {"custom_id": 1}, openai_batch.join(asked(9), answered(1))):
        assert inputs.joined(other) == other


def test_anthropics_batches_pair_too(tmp_path: Path) -> None:
    write(tmp_path / "log" / "in.jsonl", [{"custom_id": "a", "params": {"model": "c", "messages": []}}])
    result = {"custom_id": "a", "result": {"type": "expired"}}
    write(tmp_path / "log" / "out.jsonl", [result])
    assert paired(tmp_path / "log", tmp_path / "spill").joined(result)["params"] == {"model": "c", "messages": []}


def test_a_log_without_inputs_has_none(tmp_path: Path) -> None:
    write(tmp_path / "log" / "out.jsonl", [answered(1)])
    (tmp_path / "spill").mkdir()
    assert not gather(open_log([tmp_path / "log"]).parts, tmp_path / "spill")
    assert not gather(parts_of([tmp_path / "log"]), tmp_path / "spill")
    assert Inputs(tmp_path / "spill").joined(answered(1)) == answered(1)
