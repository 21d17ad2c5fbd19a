"""The upstream client: which URL, which headers, and a key that shows nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from freehold.engines.upstream import HttpUpstream, base_url
from freehold.errors import BadSetting


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://api.openai.com/", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        (" https://api.openai.com/v1/ ", "https://api.openai.com/v1"),
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1"),
        ("https://example.org/v1beta/openai", "https://example.org/v1beta/openai"),
    ],
)
def test_the_base_may_end_in_v1_or_not(given: str, base: str) -> None:
    assert base_url(given) == base


@pytest.mark.parametrize(
    "given",
    [
        "", "replay2", "api.openai.com", "ftp://example.org", "https://", "file:///etc/passwd", "https://u:p@example.org",
        "https://key@example.org", "https://example.org?key=1", "https://example.org/#x", "http://example.org:port",
        "https://[::1", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_anything_else_is_refused(given: str) -> None:
    with pytest.raises(BadSetting):
        base_url(given)


@pytest.mark.parametrize("key", ["sk secret", "sk-secret\r\nHost: evil", "sk-s\xe9cret"])
def test_a_key_that_can_not_be_sent_is_refused_unseen(key: str) -> None:
    with pytest.raises(BadSetting) as caught:
        HttpUpstream("https://example.org", key)
    assert "cret" not in str(caught.value)


def test_the_key_is_in_no_repr() -> None:
    upstream = HttpUpstream("https://example.org", "sk-secret")
    assert repr(upstream) == "HttpUpstream('https://example.org/v1', key=***)"
    assert not upstream.local
    assert HttpUpstream("http://localhost:1").local


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy and no .netrc: the request goes to the host that was named, with the key that was given."""
    asked: list[tuple[str, bytes]] = []

    def host(name: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append((name, await reader.readuntil(b"\r\n\r\n")))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            await writer.drain()
            writer.close()

        return answer

    proxy = await asyncio.start_server(host("proxy"), "127.0.0.1", 0)
    named = await asyncio.start_server(host("named"), "127.0.0.1", 0)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password sk-netrc\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    port = named.sockets[0].getsockname()[1]
    async with proxy, named:
        for key in ("", "sk-given"):
            upstream = HttpUpstream(f"http://127.0.0.1:{port}", key)
            async with upstream.send("GET", "/v1/files?a=b", {"Cookie": "a=b", "accept": "x/y"}, b"") as reply:
                assert (reply.status, await reply.read(), await reply.read()) == (200, b"ok", b"")
            await upstream.close()
    head = f"GET /v1/files?a=b HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: identity\r\n".encode()
    head += b"x-freehold-hop: 1\r\n"
    bearer = b"Authorization: Bearer sk-given\r\n"
    assert asked == [("named", head + said + b"accept: x/y\r\n\r\n") for said in (b"", bearer)]


@pytest.mark.parametrize(
    ("path", "headers"), [("/v1/x\r\nA: b", {}), ("/v1/x", {"accept": "a\nB: c"}), ("/v1/x", {"accept": "a\rb"})]
)
async def test_no_line_can_be_added(path: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="line break"):
        HttpUpstream("http://127.0.0.1:1").send("GET", path, headers, b"")
