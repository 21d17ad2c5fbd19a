"""A redacted log: nobody in it is real, it counts as before, and only the key file leads back."""

from __future__ import annotations

import gzip
import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from freehold.audit import audit
from freehold.audit.redact import Redacted, redact_log, unredact_log
from freehold.errors import BadSetting
from freehold.traffic import open_log, read
from freehold.traffic.private import find
from freehold.traffic.private.names import NUMBER_KIND, USER_KIND, Names
from freehold.wire import timestamp

ROUTE = "Route the message of Hill Bank (help: 201-948-1927, help@hill.example) to one of: card, cash, other."
PEOPLE = ["ana@firm.com", "bo.li@firm.com", "+44 20 7946 0958", "4111 1111 1111 1111", "GB82 WEST 1234 5698 7654 32"]


def row(i: int, text: str, answer: Any = "card", **more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": ROUTE}, {"role": "user", "content": text}]
    message = answer if isinstance(answer, dict) else {"role": "assistant", "content": answer}
    response = {"id": f"chatcmpl-{i}", "model": "gpt-4o-mini-2024-07-18", "created": 1790845964 + i}
    response |= {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    response["usage"] = {"prompt_tokens": 40 + i % 7, "completion_tokens": 2}
    request = {"model": "gpt-4o-mini", "messages": messages, "user": f"u{i % 5}"} | more
    return {"timestamp": f"2026-10-01 09:{i % 60:02d}:44+00:00", "request": request, "response": response}


def tool(arguments: str) -> dict[str, Any]:
    call = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def world() -> list[dict[str, Any]]:
    texts = [f"Please help me, {PEOPLE[i % 5]} asks about {['card', 'cash'][i % 2]} number {i}" for i in range(60)]
    rows = [row(i, text) for i, text in enumerate(texts)] + [row(i, texts[i]) for i in range(0, 60, 2)]
    rows.append(row(90, "my phone is 467 3395, zip: 3520", '{"phone": "467 3395", "zip": "3520"}'))
    rows.append(row(91, "the number 467 3395 stands here without a word, and so does 3520"))
    rows.append(row(92, "mail it", tool('{"to": "ana@firm.com", "text": "Hi,\\nana@firm.com\\tis \\"here\\""}')))
    rows.append(row(93, "ANA@FIRM.COM wrote", metadata={"userId": "ana@firm.com", "ana@firm.com": "yes", "n": 3520}))
    rows.append(row(94, "who is user u3? born on 2/8/1935", user="customer-40117"))
    rows.append(row(95, "as customer-40117 said", user="ana@firm.com"))
    return rows


def write(path: Path, rows: list[dict[str, Any]] | bytes) -> Path:
    data = rows if isinstance(rows, bytes) else "".join(json.dumps(r) + "\n" for r in rows).encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def load(path: Path) -> list[dict[str, Any]]:
    data = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    return [json.loads(line) for line in data.splitlines()]


@pytest.fixture
def done(tmp_path: Path) -> tuple[Path, Path, Path, Redacted]:
    log = write(tmp_path / "calls.jsonl", world())
    out, key = tmp_path / "safe.jsonl", tmp_path / "key"
    return log, out, key, redact_log(open_log([log]), out, key)


def test_nobody_is_left(done: tuple[Path, Path, Path, Redacted]) -> None:
    _, out, _, said = done
    text = out.read_text()
    others = ("ANA@FIRM.COM", "467 3395", "201-948-1927", "help@hill.example", "2/8/1935", "customer-40117")
    for value in (*PEOPLE, *others):
        assert value not in text, value
    assert json.dumps(load(out)).count("3520") == 1, "only the number, which is no text"
    assert (said.records, said.left_out) == (96, 0)
    assert said.values == {"birth": 1, "card": 1, "email": 4, "iban": 1, "phone": 3, "postcode": 1, "user id": 6}


def test_the_same_person_has_one_pseudonym(done: tuple[Path, Path, Path, Redacted]) -> None:
    _, out, _, _ = done
    rows = load(out)
    name = rows[0]["request"]["messages"][1]["content"].split()[3]
    assert name.endswith(("@example.com", "@example.org", "@example.net"))
    assert rows[95]["request"]["user"] == rows[93]["request"]["metadata"]["userId"] == name
    assert name in rows[93]["request"]["metadata"]
    assert rows[93]["request"]["messages"][1]["content"].split()[0].lower().startswith(name.split("@")[0])
    said = json.loads(rows[92]["response"]["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])
    assert said == {"to": name, "text": f'Hi,\n{name}\tis "here"'}
    text, again = (rows[i]["request"]["messages"][1]["content"] for i in (90, 91))
    phone = json.loads(rows[90]["response"]["choices"][0]["message"]["content"])["phone"]
    assert phone in text
    assert phone in again
    assert rows[94]["request"]["user"] in rows[95]["request"]["messages"][1]["content"]
    assert "u3" in rows[94]["request"]["messages"][1]["content"], "a short id is replaced only where it says who asked"
    assert len({row["request"]["user"] for row in rows[:60]}) == 5
    assert not {row["request"]["user"] for row in rows[:60]} & {f"u{i}" for i in range(5)}


def test_what_is_found_in_it_is_what_was_found_before(done: tuple[Path, Path, Path, Redacted]) -> None:
    log, out, _, _ = done
    for old, new in zip(load(log), load(out), strict=True):
        for a, b in zip(old["request"]["messages"], new["request"]["messages"], strict=True):
            before, after = find(a["content"]), find(b["content"])
            assert [f.kind for f in before] == [f.kind for f in after]
            gone = {a["content"][f.start : f.end] for f in before}
            assert not gone & {b["content"][f.start : f.end] for f in after}


def test_it_counts_as_before(done: tuple[Path, Path, Path, Redacted]) -> None:
    log, out, _, _ = done
    old, new = (audit(open_log([path]), today=date(2026, 11, 25)) for path in (log, out))
    for name in ("calls", "bad_rows", "money", "tokens", "models", "repeats", "conflicts", "days", "health", "surface"):
        a, b = getattr(old, name), getattr(new, name)
        if name == "repeats":  # a pseudonym's words may be alike by chance
            a, b = replace(a, near=None), replace(b, near=None)
        assert a == b, name
    assert old.repeats.exact.value, "some requests come again"
    for figures in (
        lambda a: [(t.kind, t.calls, len(t.labels), t.money, t.tokens, t.noise) for t in a.tasks],
        lambda a: sorted((u.calls, u.tokens.prompt, u.money.value) for u in a.users),
        lambda a: [(p.kind, p.field, p.calls, p.pieces) for p in a.private],
    ):
        assert figures(old) == figures(new) != []


def test_the_key_file_leads_back(done: tuple[Path, Path, Path, Redacted], tmp_path: Path) -> None:
    log, out, key, _ = done
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    unredact_log(open_log([out]), tmp_path / "back.jsonl", key)
    assert load(tmp_path / "back.jsonl") == load(log)


def test_one_key_gives_one_pseudonym_in_every_log(done: tuple[Path, Path, Path, Redacted], tmp_path: Path) -> None:
    _, out, key, _ = done
    other = write(tmp_path / "other.jsonl.gz", [row(1, "new@firm.com and ana@firm.com and 467 3395")])
    redact_log(open_log([other]), tmp_path / "safe2.jsonl.gz", key)
    text = load(tmp_path / "safe2.jsonl.gz")[0]["request"]["messages"][1]["content"]
    assert load(out)[0]["request"]["messages"][1]["content"].split()[3] in text
    assert "467 3395" not in text, "known from the log before"
    for log, redacted in ((other, tmp_path / "safe2.jsonl.gz"), (done[0], out)):
        unredact_log(open_log([redacted]), tmp_path / f"{redacted.name}.back.jsonl", key)
        assert load(tmp_path / f"{redacted.name}.back.jsonl") == load(log)
    redact_log(open_log([other]), tmp_path / "safe3.jsonl", None)
    assert load(tmp_path / "safe3.jsonl") != load(tmp_path / "safe2.jsonl.gz"), "another key, other names"


def test_a_pseudonym_that_stands_in_the_log_as_itself(tmp_path: Path) -> None:
    """Every number of four digits stands somewhere: no pseudonym of a postcode is free at first."""
    numbers = [row(i, " ".join(f"n {n}" for n in range(i * 100, i * 100 + 100))) for i in range(100)]
    log = write(tmp_path / "calls.jsonl", [row(0, "ZIP: 3520 or ZIP: 8592"), *numbers])
    out, key, back = tmp_path / "safe.jsonl", tmp_path / "key", tmp_path / "back.jsonl"
    redact_log(open_log([log]), out, key)
    assert "3520" not in load(out)[0]["request"]["messages"][1]["content"]
    unredact_log(open_log([out]), back, key)
    assert load(back) == load(log)


def test_bad_rows_stay_bad_and_lose_their_values(tmp_path: Path) -> None:
    rows = world()
    lines = [json.dumps(r).encode() for r in rows]
    lines[3] = b'{"request": "cut, ana@firm.com'
    lines[4] = b"\xff\xfe bo.li@firm.com"
    log = write(tmp_path / "calls.jsonl", b"\n".join(lines) + b"\n")
    redact_log(open_log([log]), tmp_path / "safe.jsonl", tmp_path / "key")
    old, new = read([log]), read([tmp_path / "safe.jsonl"])
    assert (old.bad_rows, len(old.calls)) == (new.bad_rows, len(new.calls)) == (2, 94)
    assert b"ana@firm.com" not in (tmp_path / "safe.jsonl").read_bytes()
    unredact_log(open_log([tmp_path / "safe.jsonl"]), tmp_path / "back.jsonl", tmp_path / "key")
    assert (tmp_path / "back.jsonl").read_bytes().splitlines()[3:5] == lines[3:5]


def test_the_end_of_a_cut_file_is_left_out_and_counted(tmp_path: Path) -> None:
    packed = gzip.compress("".join(json.dumps(r) + "\n" for r in world()).encode())
    (tmp_path / "calls.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    assert redact_log(open_log([tmp_path / "calls.jsonl.gz"]), tmp_path / "safe.jsonl").left_out == 1


def test_attributes_numbers_and_tables(tmp_path: Path) -> None:
    attribute = {"key": "user.id", "value": {"stringValue": "u-4711"}}
    rows = [row(i, "hi", attributes=[attribute], user_id=70 + i) for i in range(9)]
    log = write(tmp_path / "calls.jsonl", rows)
    redact_log(open_log([log]), tmp_path / "safe.jsonl", tmp_path / "key")
    said = load(tmp_path / "safe.jsonl")
    assert "u-4711" not in (tmp_path / "safe.jsonl").read_text()
    numbers = [r["request"]["user_id"] for r in said]
    assert all(isinstance(n, int) for n in numbers)
    assert len(set(numbers)) == 9
    unredact_log(open_log([tmp_path / "safe.jsonl"]), tmp_path / "back.jsonl", tmp_path / "key")
    assert load(tmp_path / "back.jsonl") == rows
    table = "model,user,assistant,created_at\n" + "gpt-4o,I am ana@firm.com,hello,2026-10-01 09:12:44\n" * 3
    (tmp_path / "calls.csv").write_text(table)
    redact_log(open_log([tmp_path / "calls.csv"]), tmp_path / "csv.jsonl")
    (call, *_) = read([tmp_path / "csv.jsonl"]).calls
    assert call.messages[-1]["content"].startswith("I am ")
    assert "ana@firm.com" not in call.messages[-1]["content"]
    assert call.at == timestamp("2026-10-01 09:12:44")


def test_odd_ids_of_users(tmp_path: Path) -> None:
    ids = ["***", "?", "0", "é", "a b", "ab-", "ÅSA", "😀", "x" * 300, "7", "10", "_", "\\n", '"', "1234567"]
    rows = [row(i, "hi", user=name, end_user=name, user_id=i) for i, name in enumerate(ids)]
    log = write(tmp_path / "calls.jsonl", rows)
    redact_log(open_log([log]), tmp_path / "safe.jsonl", tmp_path / "key")
    said = [r["request"]["end_user"] for r in load(tmp_path / "safe.jsonl")]
    assert len(set(said)) == len(ids)
    assert not set(said) & set(ids)
    unredact_log(open_log([tmp_path / "safe.jsonl"]), tmp_path / "back.jsonl", tmp_path / "key")
    assert load(tmp_path / "back.jsonl") == rows


@pytest.mark.parametrize("kind", [USER_KIND, NUMBER_KIND])
def test_an_id_may_stand_as_a_number_and_as_text(kind: str) -> None:
    names = Names(bytes(32))
    for number in range(-50, 500):
        names.add(str(number), kind)
    names.draw()
    assert all(str(int(name)) == name for name in names.of.values())
    assert len(set(names.of.values()) - names.of.keys()) == 550


def test_a_key_in_json_text_with_line_ends_comes_back(tmp_path: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIBVgIBADANBgkqhkiG9w0BAQEFAASCAUAw\n" * 3 + "-----END PRIVATE KEY-----"
    rows = [row(1, f"use {key}", tool(json.dumps({"key": key})))]
    log = write(tmp_path / "calls.jsonl", rows)
    redact_log(open_log([log]), tmp_path / "safe.jsonl", tmp_path / "key")
    assert "MIIBVg" not in (tmp_path / "safe.jsonl").read_text()
    said = load(tmp_path / "safe.jsonl")[0]["response"]["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(said["arguments"])["key"].startswith("-----BEGIN PRIVATE KEY-----\n")
    unredact_log(open_log([tmp_path / "safe.jsonl"]), tmp_path / "back.jsonl", tmp_path / "key")
    assert load(tmp_path / "back.jsonl") == rows


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    log = write(tmp_path / "calls.jsonl", world())
    notes = tmp_path / "notes"
    notes.write_text("my notes")
    before = log.read_bytes()
    with pytest.raises(BadSetting, match="there already"):
        redact_log(open_log([log]), log)
    with pytest.raises(BadSetting, match="no key file") as error:
        redact_log(open_log([log]), tmp_path / "safe.jsonl", notes)
    assert "my notes" not in str(error.value)
    with pytest.raises(BadSetting, match="one name"):
        redact_log(open_log([log]), tmp_path / "x", tmp_path / "x")
    with pytest.raises(BadSetting, match="JSON lines"):
        redact_log(open_log([log]), tmp_path / "x.csv")
    assert (log.read_bytes(), notes.read_text()) == (before, "my notes")
    assert sorted(os.listdir(tmp_path)) == ["calls.jsonl", "notes"]


def test_a_killed_run_leaves_no_log(tmp_path: Path) -> None:
    log = write(tmp_path / "calls.jsonl", world() * 80)
    code = (
        "import sys\nfrom pathlib import Path\nfrom freehold.audit.redact import redact_log\n"
        "from freehold.traffic import open_log\n"
        "def tell(what, done=None):\n    'write' in what and done > 0.3 and print('now', flush=True)\n"
        "redact_log(open_log([sys.argv[1]]), Path(sys.argv[2]), tell=tell)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(log), str(tmp_path / "safe.jsonl")], stdout=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stdout.readline() == b"now\n"
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    assert not (tmp_path / "safe.jsonl").exists()
