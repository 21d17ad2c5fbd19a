"""G13: parameter bombs against a running server: 400 or 422 and little work, never a 500; the next call is served."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Served
from .world import post, request


def raw(fields: str) -> bytes:
    """A body with fields as text: JSON that a writer of JSON would not write."""
    head = json.dumps(request())[:-1]
    return f"{head}, {fields}}}".encode()


def nested(depth: int, left: str = "[", right: str = "]") -> str:
    return left * depth + right * depth


MANY = [{"role": "user", "content": "x"}] * 1025
BOMBS: dict[str, bytes | dict[str, Any]] = {
    "depth_65": raw(f'"metadata": {nested(65)}'),
    "depth_100k": raw(f'"metadata": {nested(100_000)}'),
    "depth_of_objects": raw('"metadata": ' + '{"a":' * 10_000 + "1" + "}" * 10_000),
    "depth_never_closed": raw('"metadata": ' + "[" * 100_000),
    "values_1e5": raw('"metadata": [' + ",".join("1" * 100_001) + "]"),
    "messages_1025": request(messages=MANY),
    "messages_1e5": json.dumps(request(messages=[{"role": "user", "content": ""}] * 30_000)).encode(),
    "key_twice": raw('"model": "gpt-4o"'),
    "key_twice_inside": raw('"metadata": {"a": 1, "a": 2}'),
    "nan": raw('"temperature": NaN'),
    "infinity": raw('"temperature": -Infinity'),
    "number_1e400": raw('"temperature": 1e400'),
    "integer_of_5000_digits": raw(f'"seed": {"9" * 5000}'),
    "lone_surrogate": raw('"user": "\\ud800"'),
    "surrogates_reversed": raw('"user": "\\udc00\\ud800"'),
    "no_utf8": raw('"user": "') [:-1] + b'\xff\xfe"}',
    "overlong_utf8": raw('"user": "')[:-1] + b'\xc0\xaf"}',
    "utf16": json.dumps(request()).encode("utf-16"),
    "byte_order_mark": b"\xef\xbb\xbf" + json.dumps(request()).encode(),
    "nul_in_json": raw('"user": "')[:-1] + b'\x00"}',
    "two_documents": json.dumps(request()).encode() * 2,
    "a_comment": raw('/* */ "user": "x"'),
    "trailing_comma": json.dumps(request()).encode()[:-1] + b",}",
    "a_list": b"[]", "a_text": b'"x"', "nothing": b"", "a_number": b"1", "null": b"null",
    "messages_null": request(messages=None), "messages_text": request(messages="hello"),
    "messages_object": request(messages={"role": "user"}), "messages_numbers": request(messages=[1, 2]),
    "role_missing": request(messages=[{"content": "x"}]), "role_number": request(messages=[{"role": 1,
    "content": "x"}]),
    "model_number": request(model=1), "model_list": request(model=["gpt-4o-mini"]), "model_null": request(model=None),
}  # fmt: skip
LIMITED: dict[str, dict[str, Any]] = {
    "n_9": request(n=9), "n_huge": request(n=1 << 62), "n_negative": request(n=-1), "n_text": request(n="2"),
    "stop_17": request(stop=["x"] * 17), "logit_bias_1025": request(logit_bias={str(i): 1 for i in range(1025)}),
    "schema_deep": request(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": json.loads(
        '{"type":"array","items":' * 33 + "{}" + "}" * 33)}}),
    "schema_items": request(response_format={"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"type": "array", "items": {}, "maxItems": 1_000_000}}}),
    "schema_large": request(response_format={"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"type": "object", "description": "y" * 70_000}}}),
}  # fmt: skip
"""What TRUST 4.1 limits beyond the shape of the JSON: refused here, else the host would have to."""


def refused(served: Served, body: bytes | dict[str, Any]) -> dict[str, Any]:
    before, asked = served.cpu(), len(served.host.seen)
    status, said = post(served.port, body)
    assert status in (400, 422), (status, said[:300])
    assert served.cpu() - before < 1.0
    assert len(served.host.seen) == asked, "it went up"
    error: dict[str, Any] = json.loads(said)["error"]
    assert error["type"] == "invalid_request_error"
    return error


@pytest.mark.parametrize("name", BOMBS)
def test_it_is_refused(name: str, served: Served) -> None:
    error = refused(served, BOMBS[name])
    assert "Traceback" not in error["message"]
    assert len(error["message"]) < 600


@pytest.mark.parametrize("name", LIMITED)
def test_a_limit_holds(name: str, served: Served) -> None:
    refused(served, LIMITED[name])


def test_then_it_still_serves_and_has_not_grown(served: Served) -> None:
    for body in BOMBS.values():
        post(served.port, body)
    assert post(served.port, request())[0] == 200
    assert post(served.port, request("question 1"))[0] == 200
    assert served.peak() < 400
    assert "Traceback" not in served.log.read_text()
