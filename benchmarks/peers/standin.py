"""The upstream that every gateway is measured in front of: an OpenAI-compatible host that costs next to nothing.

    python standin.py PORT [--delay SECONDS] [--gap SECONDS]   -> says {"port": N} on stdout, then serves

An answer in one piece after `--delay`; a stream of 100 events, `--gap` seconds apart, as an asyncio protocol on
httptools and uvloop. A body with "fault": NAME in its `metadata` (a text) misbehaves:
    dies_before, dies_after_role, dies_mid_word, dies_mid_utf8, dies_mid_tool, dies_after_done, stalls, error200,
    garbage, endless_line, status500, status429; "long" streams 16 MiB that are as they should be
GET /seen says how many chat calls came and are under way, how many clients left before their answer, and how many
connections are open.
"""

# ruff: noqa: ASYNC110 (load is paced by the clock)
from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

import httptools

ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1790000000, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "transfer"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42},
}  # fmt: skip
BODY = json.dumps(ANSWER).encode()
CHUNKS = 100
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def whole(body: bytes, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    said = {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }  # fmt: skip
    return b"data: " + json.dumps(said, ensure_ascii=False).encode() + b"\n\n"


ROLE = event({"role": "assistant", "content": ""})
EVENTS = [ROLE, *(event({"content": f" word{i}"}) for i in range(CHUNKS - 2)), event({}, "stop")]
DONE = b"data: [DONE]\n\n"
TOOL = event({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "book", "arguments": '{"city": "Os'}}]})


class Host(asyncio.Protocol):
    delay = gap = 0.0
    calls = left = 0
    connections: set[Host] = set()  # noqa: RUF012 (one for all)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body, self.url = b"", b""
        self.task: asyncio.Task[None] | None = None
        Host.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        Host.connections.discard(self)
        if self.task is not None and not self.task.done():
            Host.left += 1
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        (body, self.body), (url, self.url) = (self.body, b""), (self.url, b"")
        if url == b"/seen":
            busy = sum(one.task is not None and not one.task.done() for one in Host.connections)
            seen = {"calls": Host.calls, "left": Host.left, "open": len(Host.connections), "busy": busy}
            self.transport.write(whole(json.dumps(seen).encode()))
            return
        Host.calls += 1
        stream = b'"stream":true' in body or b'"stream": true' in body
        if b'"fault"' in body:
            fault = json.loads(body)["metadata"]["fault"]
            self.task = asyncio.ensure_future(self.misbehave(fault, stream))
        elif stream:
            self.task = asyncio.ensure_future(self.stream())
        elif Host.delay:
            self.task = asyncio.ensure_future(self.later())
        else:
            self.transport.write(whole(BODY))

    async def later(self) -> None:
        await asyncio.sleep(Host.delay)
        self.transport.write(whole(BODY))

    async def stream(self) -> None:
        self.transport.write(STREAM)
        for one in EVENTS:
            self.transport.write(chunk(one))
            if Host.gap:
                await asyncio.sleep(Host.gap)
        self.transport.write(chunk(DONE) + b"0\r\n\r\n")

    async def misbehave(self, fault: str, stream: bool) -> None:
        write = self.transport.write
        if fault == "status500":
            write(whole(b'{"error": {"message": "we broke", "type": "server_error"}}', "500 Internal Server Error"))
            return
        if fault == "status429":
            busy = b'{"error": {"message": "too many", "type": "rate_limit"}}'
            write(whole(busy, "429 Too Many Requests", extra="Retry-After: 3\r\n"))
            return
        if fault == "dies_before":
            self.transport.abort()
            return
        if not stream:
            await self.misbehave_whole(fault)
            return
        write(STREAM)
        await asyncio.sleep(0.02)  # each piece travels alone
        if fault == "garbage":
            write(chunk(b"<html>\xff\xfe we are down</html>\n\n") + b"0\r\n\r\n")
            return
        if fault == "error200":
            write(chunk(b'data: {"error": {"message": "overloaded"}}\n\n') + b"0\r\n\r\n")
            return
        write(chunk(ROLE))
        if fault == "long":
            await self.long()
            return
        if fault != "dies_after_role":
            write(chunk(event({"content": "Hel"})))
        await asyncio.sleep(0.02)
        if fault == "endless_line":
            write(chunk(b"data: "))
            piece = chunk(b"x" * (1 << 20))
            for _ in range(2048):
                if self.transport.is_closing():
                    return
                write(piece)
                while self.transport.get_write_buffer_size() > 4 << 20 and not self.transport.is_closing():
                    await asyncio.sleep(0.005)
            return
        pieces = {
            "dies_mid_word": b'data: {"choices": [{"delta": {"content": "lo wor',
            "dies_mid_utf8": 'data: {"choices": [{"delta": {"content": "caf\u00e9'.encode()[:-1],
            "dies_mid_tool": TOOL,
            "dies_after_done": event({}, "stop") + DONE,
        }
        if fault in pieces:
            write(chunk(pieces[fault]))
        await asyncio.sleep(0.02)
        if fault == "stalls":
            await asyncio.sleep(3600)
        self.transport.close()

    async def long(self) -> None:
        piece = chunk(event({"content": "x" * 16000}))
        for _ in range(1024):
            if self.transport.is_closing():
                return
            self.transport.write(piece)
            await asyncio.sleep(0.05)  # 320 kB/s, above what a model writes
            while self.transport.get_write_buffer_size() > 1 << 16 and not self.transport.is_closing():
                await asyncio.sleep(0.05)
        self.transport.write(chunk(event({}, "stop")) + chunk(DONE) + b"0\r\n\r\n")

    async def misbehave_whole(self, fault: str) -> None:
        write = self.transport.write
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
        if fault == "error200":
            write(whole(b'{"error": {"message": "overloaded", "type": "server_error"}}'))
        elif fault == "garbage":
            write(whole(b"<html>\xff\xfe we are down</html>", kind="text/html"))
        elif fault == "stalls":
            write(head + BODY[:20])
            await asyncio.sleep(3600)
        elif fault == "endless_line":
            write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2147483648\r\n\r\n")
            for _ in range(2048):
                if self.transport.is_closing():
                    return
                write(b"x" * (1 << 20))
                while self.transport.get_write_buffer_size() > 4 << 20 and not self.transport.is_closing():
                    await asyncio.sleep(0.005)
        elif fault == "dies_after_done":
            write(whole(BODY))
            self.transport.close()
        else:
            cut = {"dies_after_role": 0, "dies_mid_word": len(BODY) // 2, "dies_mid_utf8": 60, "dies_mid_tool": 90}
            write(head + BODY[: cut[fault]])
            await asyncio.sleep(0.02)
            self.transport.close()


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Host, "127.0.0.1", port, backlog=2048)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--gap", type=float, default=0.002)
    args = parser.parse_args()
    Host.delay, Host.gap = args.delay, args.gap
    try:
        import uvloop

        uvloop.run(serve(args.port))
    except ImportError:
        asyncio.run(serve(args.port))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
