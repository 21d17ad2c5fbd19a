"""What leaves the house holds no private data that the rules find, wherever in the request it stood."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.hosts.fleet import Fleet
from freehold.engines.hosts.host import Host, Policy
from freehold.engines.upstream import HttpUpstream, UpstreamFailed
from freehold.errors import BadSetting, SecretExposed
from freehold.project import Project
from freehold.serve.away.leaving import Leaving, leaving_key

from .conftest import QUICK, StandIn, Start, client, until

KEY = b"0123456789abcdef0123456789abcdef"
LEAVING = Leaving(KEY)
PLANTED = [
    "ana.lopez@firm.example", "o'brien+tag@sub.firm.co.uk", "4111 1111 1111 1111", "5500-0000-0000-0004",
    "DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "sk-proj-abcdefghij0123456789KLMN", "AKIAIOSFODNN7EXAMPLE",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345", "123.45.67.89", "078-05-1120", "201-948-1927", "+49 30 901820",
]  # fmt: skip
TEXTS = st.text(alphabet='abc xyz éß\n\t"\\/{}[]:,', max_size=30)
Path_ = tuple[Any, ...]


def body(**more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}], "temperature": 0} | more


def full() -> dict[str, Any]:
    """A request with a text in every place that OpenAI's API has one."""
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {
        "type": "object", "properties": {"mail": {"type": "string", "description": "d", "enum": ["e"]}},
        "required": ["mail"]}}}  # fmt: skip
    called = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return body(
        messages=[
            {"role": "system", "content": "s", "name": "n"},
            {"role": "user", "content": [{"type": "text", "text": "t"},
                                         {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]},
            {"role": "assistant", "content": None, "tool_calls": [called], "refusal": "r"},
            {"role": "tool", "tool_call_id": "call_1", "content": "c"},
        ],
        tools=[tool], stop=["s"], user="u", metadata={"k": "v"}, prediction={"type": "content", "content": "p"},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"description": "d"}}},
    )  # fmt: skip


def places(value: Any, at: Path_ = ()) -> list[Path_]:
    """Where a text stands."""
    if isinstance(value, str):
        return [at]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in places(item, (*at, key))]


def put(value: Any, at: Path_, new: Any) -> Any:
    if not at:
        return new
    copy = value.copy()
    copy[at[0]] = put(value[at[0]], at[1:], new)
    return copy


def all_texts(value: Any) -> str:
    """Every text and key, those of JSON in a text too."""
    if isinstance(value, str):
        said = value
        if value[:1] in ("{", "["):
            with suppress(ValueError):
                said += "\n" + all_texts(json.loads(value))
        return said
    if isinstance(value, dict):
        return "\n".join(f"{key}\n{all_texts(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(map(all_texts, value))
    return str(value)


@pytest.mark.parametrize("planted", PLANTED)
def test_nothing_planted_leaves_from_any_place(planted: str) -> None:
    whole = full()
    for at in places(whole):
        left = LEAVING.clean(json.dumps(put(whole, at, f"see {planted} there")).encode())
        assert planted not in all_texts(json.loads(left.body)), at
        assert left.changed == (at[0] not in ("user", "metadata")), at


@given(st.data())
def test_nor_from_any_two_places_in_any_writing(data: st.DataObject) -> None:
    whole = full()
    planted = data.draw(st.lists(st.sampled_from(PLANTED), min_size=1, max_size=3))
    for one in planted:
        before, after = data.draw(TEXTS), data.draw(TEXTS)
        text = f"{before} {one} {after}"
        form = data.draw(st.sampled_from(["plain", "json", "json in json"]))
        if form != "plain":
            text = json.dumps({"note": text}, ensure_ascii=data.draw(st.booleans()))
        if form == "json in json":
            text = json.dumps([text])
        whole = put(whole, data.draw(st.sampled_from(places(whole))), text)
    sent = json.dumps(
        whole, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1]))
    ).encode()
    said = all_texts(json.loads(LEAVING.clean(sent).body))
    still = all_texts(whole)
    for one in planted:
        if one in still:  # a later text may have taken its place
            assert one not in said


LEAVES = st.none() | st.booleans() | st.integers(-999_999, 999_999) | TEXTS


@given(st.recursive(LEAVES, lambda of: st.lists(of) | st.dictionaries(TEXTS, of), max_leaves=20), st.booleans())
def test_what_holds_nothing_is_not_touched(value: Any, ascii: bool) -> None:
    sent = json.dumps(body(extra=value), ensure_ascii=ascii).encode()
    left = LEAVING.clean(sent)
    assert left.body == sent
    assert not left.changed


@pytest.mark.parametrize("planted", PLANTED)
def test_in_a_key_and_behind_escapes(planted: str) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in planted)
    sent = f'{{"model":"m","metadata":{{"{escaped}":"x"}},"messages":[{{"role":"user","content":"a {escaped} b"}}]}}'
    left = LEAVING.clean(sent.encode())
    assert planted not in all_texts(json.loads(left.body))


def test_all_else_stays_byte_for_byte() -> None:
    sent = b'{ "model":"gpt-4o-mini-2024-07-18",\n "seed": 1234567890, "top_p":1e-1, "big":1.0E400,'
    sent += b'"logit_bias":{"100257":-100}, "messages":[ {"role":"user","content":"\\u00e9 caf\xc3\xa9 at %s,'
    sent += b' \\u003cb\\u003e"} , {"role":"user","content":"a\\/b"}]}'
    new = LEAVING.clean(sent % b"ana@firm.com").body
    before, _, after = new.partition(b'"content":"')
    assert before == sent.partition(b'"content":"')[0]
    assert after.partition(b"} , ")[2] == b'{"role":"user","content":"a\\/b"}]}'
    assert "ana@firm.com" not in new.decode()


def test_the_same_value_gets_the_same_pseudonym_everywhere() -> None:
    sent = full() | {"user": "ana@firm.com"}
    sent["messages"][0]["content"] = "I am ana@firm.com, card 4111 1111 1111 1111"
    sent["messages"][3]["content"] = '{"to": "ana@firm.com", "card": "4111 1111 1111 1111"}'
    new = json.loads(LEAVING.clean(json.dumps(sent).encode()).body)
    mail, card = new["messages"][0]["content"].removeprefix("I am ").split(", card ")
    assert json.loads(new["messages"][3]["content"]) == {"to": mail, "card": card}
    assert mail != "ana@firm.com"
    assert LEAVING.clean(json.dumps(sent).encode()).body == LEAVING.clean(json.dumps(sent).encode()).body
    other = Leaving(b"another key of at least 16").clean(json.dumps(sent).encode()).body
    assert mail not in other.decode()


def test_a_pseudonym_of_an_earlier_turn_stays() -> None:
    first = json.loads(
        LEAVING.clean(json.dumps(body(messages=[{"role": "user", "content": "ana@firm.com"}])).encode()).body
    )
    mail = first["messages"][0]["content"]
    turns = [{"role": "user", "content": "ana@firm.com"}, {"role": "assistant", "content": f"Noted: {mail}"},
             {"role": "user", "content": "which?"}]  # fmt: skip
    second = json.loads(LEAVING.clean(json.dumps(body(messages=turns)).encode()).body)
    assert [m["content"] for m in second["messages"]] == [mail, f"Noted: {mail}", "which?"]


def test_who_asks_leaves_as_somebody_else_and_changes_no_answer() -> None:
    sent = body(user="u-4711", safety_identifier="hash-9", metadata={"mail": "ana@firm.com"})
    left = LEAVING.clean(json.dumps(sent).encode())
    new = json.loads(left.body)
    assert not left.changed, "the model reads neither"
    assert new["user"] not in ("u-4711", "")
    assert new["safety_identifier"] != "hash-9"
    assert new["metadata"]["mail"] != "ana@firm.com"
    assert new["messages"] == sent["messages"]


def test_numbers_that_are_somebodys() -> None:
    left = LEAVING.clean(b'{"model":"m","metadata":{"card":4111111111111111,"n":1234567},"seed":4111111111111111}')
    new = json.loads(left.body)
    assert new["metadata"]["card"] != 4111111111111111
    assert (new["metadata"]["n"], new["seed"]) == (1234567, 4111111111111111)


@pytest.mark.parametrize(
    "written",
    ["4111111111111111", "4111111111111111.0", "4.111111111111111e15", "4111111111111111E0", "41111111111111110e-1"],
)
@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("key", ["x", "seed", "timestamp", "created", "max_tokens"])
def test_a_number_in_any_writing_under_any_key(written: str, sign: str, key: str) -> None:
    sent = f'{{"model":"m","seed":7,"max_tokens":20,"tools":[{{"a":[0,{{"{key}":{sign}{written}}},1.5]}}]}}'
    left = LEAVING.clean(sent.encode())
    new = json.loads(left.body)
    number = new["tools"][0]["a"][1][key]
    assert left.changed
    assert abs(number) != 4111111111111111
    assert (number < 0, len(str(abs(int(number)))), type(number)) == (sign == "-", 16, type(json.loads(written)))
    assert (new["seed"], new["max_tokens"], new["tools"][0]["a"][2]) == (7, 20, 1.5)
    text = f'{{"model":"m","messages":[{{"role":"user","content":{json.dumps(sent)}}}]}}'
    assert b"4111111111111111" not in LEAVING.clean(text.encode()).body.replace(b".", b"")


@pytest.mark.parametrize(
    "number", ["4111111111111111.5", "1e400", "1.0E+400", "1234567e-9", "12345678.0", "1e6", "-7e-8"]
)
def test_other_numbers_stay_as_they_are_written(number: str) -> None:
    sent = f'{{"model":"m","metadata":{{"x":{number}}},"seed":4111111111111111}}'.encode()
    assert LEAVING.clean(sent).body == sent


@pytest.mark.parametrize(
    "sent",
    [
        b"not json", b"[1]", b'"text"', b'{"messages": [}', b'{"a": "\xff"}', b"--boundary\r\nContent-Disposition: x",
        b'{"input": [1, 2, 3]}', b'{"input": [[1, 2], [3]]}', b'{"prompt": [50256]}', b'{"a": ' * 3000,
        b'{"input": "\\ud800 9"}', json.dumps({"input": " ".join(f"a{n}@firm.com" for n in range(2001))}).encode(),
        b'{"messages":[{"content":[{"image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}]}',
        b'{"messages":[{"content":[{"input_audio":{"data":"' + b"UklGR1QA" * 200 + b'","format":"wav"}}]}]}',
    ],
)  # fmt: skip
def test_what_can_not_be_read_does_not_leave(sent: bytes) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        LEAVING.clean(sent)
    assert (caught.value.http, caught.value.code) == (422, "private_unread")


def test_urls_and_headers() -> None:
    headers = {"user-agent": "OpenAI/Python 3.57.0", "x-client-request-id": "for ana@firm.com", "accept": "*/*"}
    left = LEAVING("/v1/chat/completions", headers, json.dumps(body()).encode())
    assert left.headers["user-agent"] == headers["user-agent"]
    assert "ana@firm.com" not in left.headers["x-client-request-id"]
    assert not left.changed
    assert LEAVING("/v1/models", {}, b"").body == b""
    for path in ("/v1/files?user=ana@firm.com", "/v1/files?user=ana%40firm.com"):
        with pytest.raises(UpstreamFailed):
            LEAVING(path, {}, b"")


def test_a_key_that_stands_twice_hides_nothing() -> None:
    sent = b'{"messages":[{"role":"user","content":"ana@firm.com"}],"messages":[],"model":"m"}'
    left = LEAVING.clean(sent)
    assert b"ana@firm.com" not in left.body


def test_a_model_named_like_a_card_is_no_way_out() -> None:
    for planted in ("DE89370400440532013000", "ana@firm.com", "4111111111111111"):
        left = LEAVING.clean(json.dumps(body(model=planted, metadata={"model": planted})).encode())
        assert planted.encode() not in left.body


def test_any_value_for_the_ledger() -> None:
    row = {"request": body(messages=[{"role": "user", "content": "ana@firm.com"}]), "response": {"n": 1, "x": None}}
    clean = LEAVING.value(row)
    sent = json.loads(LEAVING.clean(json.dumps(row["request"]).encode()).body)
    assert clean["request"]["messages"] == sent["messages"], "as it left"
    assert clean["response"] == row["response"]
    assert LEAVING.value(clean["response"]) is clean["response"]
    assert LEAVING.value("ana@firm.com") == sent["messages"][0]["content"]


def test_the_key_is_made_once_and_kept_to_us(tmp_path: Path) -> None:
    key = leaving_key(tmp_path)
    assert leaving_key(tmp_path) == key
    assert len(key) == 32
    path = tmp_path / "leaving.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert key.hex() not in repr(Leaving(key))
    path.chmod(0o644)
    with pytest.raises(SecretExposed):
        leaving_key(tmp_path)
    path.chmod(0o600)
    path.write_bytes(b"something else")
    with pytest.raises(BadSetting):
        leaving_key(tmp_path)


# what is large, in a process of its own


def large(text: str = "write to ana@firm.com, ", size: int = 100_000) -> bytes:
    return json.dumps(body(messages=[{"role": "user", "content": text * (size // len(text))}])).encode()


def children() -> set[int]:
    return {process.pid or 0 for process in multiprocessing.active_children()}


@pytest.fixture
async def leaving() -> AsyncIterator[Leaving]:
    before = children()
    one = Leaving(KEY)
    yield one
    await one.close()
    assert children() <= before, "its process is still there"


async def test_what_is_large_is_read_elsewhere_with_the_same_result(leaving: Leaving) -> None:
    before = children()
    small = large(size=1000)
    assert await leaving.take("/v1/chat/completions", {}, small) == leaving("/v1/chat/completions", {}, small)
    assert children() == before, "a small one is read at once"
    for sent in (large(), large("é4111 1111 1111 1111 "), large("nothing ")):
        headers = {"x-client-request-id": "ana@firm.com"}
        got = await leaving.take("/v1/chat/completions", headers, sent)
        assert got == leaving("/v1/chat/completions", headers, sent)
    assert len(children() - before) == 1
    with pytest.raises(UpstreamFailed) as caught:
        await leaving.take("/v1/embeddings", {}, b'{"input": [1], "x": "' + b"x" * 40_000 + b'"}')
    assert (caught.value.http, caught.value.code) == (422, "private_unread")
    assert "numbers of tokens" in caught.value.message


async def test_the_loop_goes_on_while_it_is_read(leaving: Leaving) -> None:
    sent = large("1234567 ", 1_000_000)  # of more than a second on one core
    task = asyncio.create_task(leaving.take("/v1/chat/completions", {}, sent))
    ticks = 0
    while not task.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert (await task).body == sent
    assert ticks > 20


async def test_what_is_longer_than_the_cap_is_not_read(leaving: Leaving) -> None:
    before = children()
    for way in (leaving.take, lambda *given: asyncio.to_thread(leaving, *given)):
        with pytest.raises(UpstreamFailed) as caught:
            await way("/v1/chat/completions", {}, large("1234567 ", 3_800_000))
        assert (caught.value.http, caught.value.code) == (422, "private_unread")
        assert "longer than 1,024 KiB is not read for private data" in caught.value.message
    assert children() == before


async def test_a_child_that_takes_too_long_or_dies_is_replaced(
    leaving: Leaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = children()
    await leaving.take("/v1/chat/completions", {}, large())
    (first,) = children() - before
    monkeypatch.setattr(leaving._apart, "_longest", 0.01)
    with pytest.raises(UpstreamFailed) as caught:
        await leaving.take("/v1/chat/completions", {}, large("1234567 ", 1_000_000))
    assert (caught.value.http, caught.value.code) == (422, "private_unread")
    monkeypatch.undo()
    assert (await leaving.take("/v1/chat/completions", {}, large())).changed
    (second,) = children() - before
    assert second != first
    os.kill(second, signal.SIGKILL)
    assert (await leaving.take("/v1/chat/completions", {}, large())).changed
    (third,) = children() - before
    assert third != second


async def test_where_no_turn_comes_the_client_is_told_to_come_back(
    leaving: Leaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    await leaving.take("/v1/chat/completions", {}, large())
    monkeypatch.setattr("freehold.serve.away.apart.LINE", 0.05)
    slow = asyncio.create_task(leaving.take("/v1/chat/completions", {}, large("1234567 ", 1_000_000)))
    await asyncio.sleep(0)
    with pytest.raises(UpstreamFailed) as caught:
        await leaving.take("/v1/chat/completions", {}, large())
    assert (caught.value.http, caught.value.code) == (503, "private_busy")
    assert not (await slow).changed


async def test_a_caller_that_leaves_takes_its_work_along(leaving: Leaving) -> None:
    await leaving.take("/v1/chat/completions", {}, large())
    slow = large("1234567 ", 1_000_000)
    tasks = [asyncio.create_task(leaving.take("/v1/chat/completions", {}, slow)) for _ in range(20)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(10):  # all of them would take twenty seconds and more
        assert (await leaving.take("/v1/chat/completions", {}, large())).changed


def test_the_child_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        line = (Path("/proc") / str(child) / "cmdline").read_bytes() if Path("/proc/self").exists() else b""
        assert KEY not in line
        assert KEY.hex().encode() not in line
        parent.kill()
    end = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < end
        time.sleep(0.02)


PARENT = """
import asyncio, multiprocessing, time
from freehold.serve.away.leaving import Leaving

async def main():
    await Leaving(b"0123456789abcdef0123456789abcdef").take("/v1/x", {}, b'{"x": "' + b"a" * 40_000 + b'"}')
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path("/proc") / str(pid) / "stat"  # one that nobody has waited for is dead all the same
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


# through the server


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_private_passes_the_server(
    project: Project, start: Start, upstream: StandIn, stream: bool
) -> None:
    """The client's question leaves without its private data, the ledger keeps the question, the answer comes back."""
    host = Host("upstream", HttpUpstream(upstream.url, timeouts=QUICK), private=True)
    asked: Any = [{"role": "user", "content": "Write to ana@firm.com about 4111 1111 1111 1111"}]
    data = {"url": "data:image/png;base64,iVBORw0KGgo="}
    picture: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": data}]}]
    async with start(Fleet([host], Policy(leaves=LEAVING))) as app, client(app) as asks:
        got: Any = await asks.chat.completions.create(model="gpt-4o-mini", messages=asked, stream=stream)
        if stream:
            said = [chunk.choices[0].delta.content async for chunk in got if chunk.choices]
            assert "".join(filter(None, said)) == "transfer"
        else:
            assert got.choices[0].message.content == "transfer"
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            await asks.chat.completions.create(model="gpt-4o-mini", messages=picture)
        assert caught.value.code == "private_unread"
        with pytest.raises(openai.UnprocessableEntityError):
            await asks.embeddings.create(model="e", input=[1, 2, 3])
    (_, headers, sent), *more = upstream.seen
    assert not more
    assert "ana@firm.com" not in sent.decode() + str(headers)
    assert "4111 1111 1111 1111" not in sent.decode()


async def test_a_client_that_goes_while_its_call_is_read_takes_the_work_along(
    project: Project, start: Start, upstream: StandIn
) -> None:
    host = Host("upstream", HttpUpstream(upstream.url, timeouts=QUICK), private=True)
    sent = large("1234567 ", 1_000_000)
    before, one = children(), Leaving(KEY)
    await one.take("/v1/chat/completions", {}, large())  # started before, so that only reading takes time
    (child,) = children() - before
    async with start(Fleet([host], Policy(leaves=one))) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:{app.port}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
        await writer.drain()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        writer.transport.abort()
        await until(lambda: child not in children())
    assert children() <= before
    assert upstream.seen == []
