"""The upstream client: which URL, which headers, and a key that shows nowhere."""

from __future__ import annotations

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


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no .netrc: the request goes to the host that was named, or nowhere."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    upstream = HttpUpstream("http://127.0.0.1:1")
    session = upstream._open()
    assert session.trust_env is False
    await upstream.close()
