"""What of an answer has come, however its bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold import wire
from freehold.engines.hosts.content import Scan, whole

from .conftest import DONE, event, role, said

CREATED = b'event: response.created\ndata: {"type": "response.created", "response": {"error": null}}\n\n'
DELTA = b'event: response.output_text.delta\ndata: {"type": "response.output_text.delta", "delta": "x"}\n\n'
NOTHING = {
    "a role": role("a"), "a role alone": event("a", {"role": "assistant"}), "a comment": b": PROCESSING\n\n",
    "nulls": event("a", {"role": "assistant", "content": None, "tool_calls": None, "refusal": None}),
    "a filter's word": b'data: {"choices": [], "prompt_filter_results": [{}]}\n\n', "created": CREATED,
    "retry": b"retry: 3000\n\n", "an id": b"id: 7\n\n", "an empty text": b'data: {"choices": [{"text": ""}]}\n\n',
    "half an event": said("a", "x")[:-1], "no events at all": b"data: {",
}  # fmt: skip
CONTENT = {
    "a text": said("a", "x"), "a blank": said("a", " "), "a reason to end": event("a", {}, "stop"), "the end": DONE,
    "a tool": event("a", {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}),
    "a thought": event("a", {"reasoning_content": "hm"}), "a refusal": event("a", {"refusal": "no"}),
    "a completion's text": b'data: {"choices": [{"index": 0, "text": "x"}]}\n\n', "a delta": DELTA,
    "windows lines": said("a", "x").replace(b"\n", b"\r\n"), "no blank": said("a", "x").replace(b"data: ", b"data:"),
    "old lines": said("a", "x").replace(b"\n", b"\r"),
}  # fmt: skip
ERRORS = {
    "an error": b"data: " + wire.error("overloaded") + b"\n\n", "a word": b'data: {"error": "no"}\n\n',
    "by its event": b'event: error\ndata: {"message": "no"}\n\n', "a bare event": b"event: error\n\n",
    "by its type": b'data: {"type": "error", "message": "no"}\n\n',
    "failed": b'event: response.failed\ndata: {"type": "response.failed", "response": {}}\n\n',
}  # fmt: skip
NONSENSE = {"html": b"data: <html>\n\n", "cut": b'data: {"choices": [\n\n', "a list": b"data: [1]\n\n"}
ALL = [("", NOTHING), ("content", CONTENT), ("error", ERRORS), ("nonsense", NONSENSE)]


@pytest.mark.parametrize(("seen", "data"), [(s, d) for s, named in ALL for d in named.values()])
@given(cuts=st.lists(st.integers(1, 400), max_size=6, unique=True).map(sorted), before=st.booleans())
def test_however_it_is_cut(seen: str, data: bytes, cuts: list[int], before: bool) -> None:
    data = (role("a") + b": ping\n\n" if before else b"") + data
    scan, found, at = Scan(), "", 0
    for cut in [*cuts, len(data)]:
        if not found and data[at:cut]:
            found = scan.feed(data[at:cut])
            at = max(at, cut)
    assert found == seen
    assert data.startswith(scan.held)


def test_the_last_event_may_lack_its_empty_line() -> None:
    for data, seen in ((said("a", "x")[:-1], "content"), (b"data: [DONE]", "content"), (b"<html>", ""), (b"", "")):
        scan = Scan()
        assert scan.feed(data) == ""
        assert scan.end() == seen


def test_many_events_without_content_are_read_once_each() -> None:
    scan = Scan()
    for n in range(2000):
        assert scan.feed(b": still here\n\n") == ""
        assert scan.events == n + 1


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b'{"choices": []}', "content"), (b'{"object": "list", "data": []}', "content"),
        (b'{"error": null}', "content"),
        (b'{"error": {"message": "x"}}', "error"), (b'{"error": "x"}', "error"), (b"", "nonsense"), (b"[]", "nonsense"),
        (b"<html>", "nonsense"), (b'{"choices": [', "nonsense"), (b"null", "nonsense"), (b'{"a":' * 9000, "nonsense"),
        (b'{"choices": [{"message": {}}], "error": {"message": "late"}}', "content"),
    ],
)  # fmt: skip
def test_whole_answers(body: bytes, seen: str) -> None:
    assert whole(body) == seen
