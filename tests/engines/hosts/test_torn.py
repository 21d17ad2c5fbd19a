"""Ten ways in which a host breaks off (TRUST, G26), streamed and whole, with another host at hand and without.

What the caller may see: the answer of one host, whole; or a part of one host's answer and then the failure; or the
failure. Never a piece of one and a piece of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from freehold import wire
from freehold.engines.hosts.fleet import Fleet
from freehold.engines.hosts.host import Host
from freehold.engines.upstream import HttpUpstream, Timeouts, UpstreamFailed

from .conftest import (
    ABORT,
    DONE,
    HANG,
    LAST,
    OK_STREAM,
    Clock,
    Hosts,
    Piece,
    answer,
    asked,
    call,
    chunk,
    event,
    good,
    role,
    said,
    whole,
)

TOLD = "müde von alldem"
TOOL = {"tool_calls": [{"index": 0, "id": "c-1", "type": "function", "function": {"name": "f", "arguments": '{"ci'}}]}
WHOLE = answer("a", TOLD)
HELD = 32 << 10  # bytes that a fleet here keeps before content
SENT = 64  # pieces of 64 KiB of an endless line


def mid(data: bytes, mark: bytes) -> bytes:
    """Up to the middle of `mark`."""
    return data[: data.index(mark) + len(mark) // 2]


def endless(begin: bytes) -> Iterator[Piece]:
    yield begin
    for _ in range(SENT):
        yield chunk(b"x" * (64 << 10)) if begin.startswith(OK_STREAM) else b"x" * (64 << 10)
    yield ABORT


JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
LONG = JSON % (1 << 31)
BEGUN = OK_STREAM + chunk(role("a")) + chunk(said("a", "so "))
TOOLS = wire.dumps({"id": "chatcmpl-a", "choices": [{"index": 0, "message": TOOL, "finish_reason": "tool_calls"}]})

# mode: what a stream sends, whether content had come; what a whole answer sends, whether it is whole
MODES: dict[str, tuple[Any, bool, Any, bool]] = {
    "before the header": ([ABORT], False, [ABORT], False),
    "after the role": ([OK_STREAM, chunk(role("a")), ABORT], False, [JSON % len(WHOLE), ABORT], False),
    "mid-word": (
        [BEGUN, chunk(mid(said("a", TOLD), b"alldem")), ABORT], True,
        [JSON % len(WHOLE) + mid(WHOLE, b"alldem"), ABORT], False,
    ),
    "mid-utf-8": (
        [BEGUN, chunk(mid(said("a", TOLD), "ü".encode())), ABORT], True,
        [JSON % len(WHOLE) + mid(WHOLE, "ü".encode()), ABORT], False,
    ),
    "mid-tool-call": (
        [OK_STREAM, chunk(role("a") + event("a", TOOL)), chunk(event("a", TOOL)[:90]), ABORT], True,
        [JSON % len(TOOLS) + mid(TOOLS, b"arguments"), ABORT], False,
    ),
    "after [DONE]": (
        [BEGUN, chunk(event("a", {}, "stop") + DONE), ABORT], True,
        [JSON % len(WHOLE) + WHOLE, ABORT], True,
    ),
    "silent stall": ([OK_STREAM, chunk(role("a")), HANG], False, [JSON % len(WHOLE) + WHOLE[:20], HANG], False),
    "200 and an error": (
        [OK_STREAM, chunk(b"data: " + wire.error("overloaded") + b"\n\n"), LAST], False,
        whole(wire.error("overloaded")), False,
    ),
    "garbage": ([OK_STREAM, chunk(b"data: \xff\xfe<html>\n\n"), LAST], False, whole(b"\x00\xff<html>"), False),
    "an endless line": (OK_STREAM + chunk(b"data: "), False, LONG + b'{"id":"', False),
}  # fmt: skip


@pytest.mark.parametrize("other", [True, False], ids=["with another host", "alone"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("mode", MODES)
async def test_torn(hosts: Hosts, mode: str, stream: bool, other: bool) -> None:
    streaming, content, plain, complete = MODES[mode]
    pieces = streaming if stream else plain

    def play(path: str, headers: dict[str, str], body: bytes) -> Sequence[Piece]:
        return endless(pieces) if isinstance(pieces, bytes) else pieces  # type: ignore[return-value]

    raws = await hosts(a=play, **({"b": good("b")} if other else {}))
    clock = Clock()
    policy = clock.policy(held=HELD, longest=HELD)
    timeouts = Timeouts(1.0, 0.25, 0.25, 2.0)
    both = Fleet([Host(raw.name, HttpUpstream(raw.url, timeouts=timeouts)) for raw in raws], policy)
    got = await call(both, asked(stream))
    await both.close()
    a_counts = both.hosts[0].counts

    from_a, from_b = b"chatcmpl-a" in got.body, b"chatcmpl-b" in got.body
    assert not (from_a and from_b), "blended"
    if content and stream:
        assert got.host == "a"
        assert from_a
        assert len(raws) == 1 or not raws[1].seen, "nobody else is asked once content has come"
        assert mode == "after [DONE]" or got.error == "upstream_interrupted"
        if mode == "after [DONE]":
            assert got.body.endswith(DONE)
            assert a_counts.failures == 0
        else:
            assert DONE not in got.body
            assert (a_counts.failures, a_counts.interrupted) == (1, 1)
    elif complete and not stream:
        assert (got.host, got.body, got.error, a_counts.failures) == ("a", WHOLE, "", 0)
    elif other:
        assert (got.status, got.host, got.tries, got.error) == (200, "b", 2, "")
        assert from_b
        assert not from_a
        assert a_counts.failures == 1
    else:
        assert a_counts.failures == len(raws[0].seen) == (1 if mode in ("silent stall", "an endless line") else 2)
        if mode in ("200 and an error", "garbage"):
            assert (got.status, got.error) == (200, ""), "a host's own words come back as they came"
            assert got.body in b"".join(pieces)
        else:
            assert got.error
            assert got.http == (504 if mode == "silent stall" else 502)
            assert got.body == b""


@pytest.mark.parametrize("began", ["content", "role", "nothing"])
async def test_an_endless_line_is_never_kept(hosts: Hosts, began: str) -> None:
    """Before content it fails at the limit; after content it passes on in the pieces that it came in."""
    sent: list[int] = []
    starts = {"content": BEGUN, "role": OK_STREAM + chunk(role("a")), "nothing": OK_STREAM}

    def play(path: str, headers: dict[str, str], body: bytes) -> Any:
        for piece in endless(starts[began] + chunk(b"data: ")):
            sent.append(len(piece))
            yield piece

    raws = await hosts(a=play)
    alone = Fleet([Host("a", HttpUpstream(raws[0].url))], Clock().policy(held=HELD))
    largest = 0
    try:
        async with alone.send("POST", "/v1/chat/completions", {}, asked(True)) as reply:
            while data := await reply.read():
                largest = max(largest, len(data))
    except UpstreamFailed as error:
        assert error.code == ("upstream_interrupted" if began == "content" else "upstream_too_long")  # noqa: PT017 (a stream)
    await alone.close()
    assert largest <= 1 << 20
    assert len(sent) == SENT + 2 if began == "content" else len(sent) < SENT


async def test_endless_comments_are_passed_on_rather_than_kept(hosts: Hosts) -> None:
    tick = chunk(b": still here\n\n" * 1000)
    raws = await hosts(a=lambda path, headers, body: [OK_STREAM, *[tick] * 20, chunk(said("a", "x") + DONE), LAST])
    alone = Fleet([Host("a", HttpUpstream(raws[0].url))], Clock().policy(held=HELD))
    pieces = []
    async with alone.send("POST", "/v1/chat/completions", {}, asked(True)) as reply:
        while data := await reply.read():
            pieces.append(data)
    await alone.close()
    assert len(pieces[0]) < 200_000
    assert len(b"".join(pieces)) == 20 * 14_000 + len(said("a", "x") + DONE)
