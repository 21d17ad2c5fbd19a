"""What the traffic uses, by hand and however it is cut; and names without end."""

from __future__ import annotations

import random
from typing import Any

import pytest

from freehold.audit.tallies import names
from freehold.audit.tallies.names import OTHERS, Counts
from freehold.audit.tallies.surface import SurfaceTally
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Call, Surface

from .cuts import check_cuts, sent

ROUTE = {"type": "function", "function": {"name": "route", "parameters": {}}}


def of(params: dict[str, Any], message: dict[str, Any] | None = None, content: Any = "hi", **own: Any) -> Seen:
    row = {"response": {"choices": [{"message": message or {"role": "assistant", "content": "x"}}]}}
    return Seen(Call(({"role": "user", "content": content},), params=params, row=row, **own), (0, 1))


CALLS = [
    of({"temperature": 0, "stream": True}),
    of({"temperature": 1, "user": None}),
    of({"tools": [ROUTE, {"type": "web_search"}]}, {"tool_calls": [{"function": {"name": "route"}}] * 2}),
    of({"functions": [{"name": "old"}]}, {"function_call": {"name": "old", "arguments": "{}"}}),
    of({"response_format": {"type": "json_schema", "json_schema": {}}}),
    of({"response_format": {"type": "json_object"}, "tools": [ROUTE]}),
    of({"text": {"format": {"type": "json_schema"}}}, endpoint="responses"),
    of({}, content=[{"type": "text"}, {"type": "image_url"}, {"type": "image_url"}, {"type": "input_audio"}]),
    of({"dimensions": 256}, endpoint="embeddings"),
    of({"hash_ids": [1]}, why="pair"),
]


def surface(seen: list[Seen]) -> Surface:
    tally = SurfaceTally()
    tally.add(seen)
    return tally.surface()


def test_by_hand() -> None:
    found = surface(CALLS)
    assert found.endpoints == {"chat": 7, "embeddings": 1, "responses": 1}
    assert found.params == {
        "response_format": 2, "temperature": 2, "tools": 2, "dimensions": 1, "functions": 1, "stream": 1, "text": 1
    }  # fmt: skip
    assert found.tools == {"old": 1, "route": 1, "web_search": 0}
    assert found.formats == {
        "text": 3, "json_schema": 2, "audio": 1, "embedding": 1, "function_call": 1, "images": 1, "json_object": 1,
        "streaming": 1, "tools": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "params",
    [{"tools": "x"}, {"tools": [None, 3, {"function": 4}]}, {"functions": {"name": 3}}, {"response_format": "json"},
     {"modalities": 3}, {"text": []}],
)  # fmt: skip
def test_odd_shapes_count_and_never_stop(params: dict[str, Any]) -> None:
    messages: list[Any] = [None, [], {"tool_calls": "x"}, {"tool_calls": [3, {}]}, {"function_call": 3}]
    calls = [of(params, message, content=[3, None, {"type": 4}]) for message in messages]
    assert sum(surface(calls).endpoints.values()) == 5
    assert surface([Seen(Call((), params=params, row={"messages": [3]}), (0, 1))]).endpoints == {"chat": 1}


def test_every_cut_says_the_same() -> None:
    assert check_cuts(SurfaceTally, CALLS, SurfaceTally.surface) == surface(CALLS)


def test_names_without_end_stay_bounded_and_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST", 32)
    draw = random.Random(4)
    drawn = [f"tool{min(int(draw.paretovariate(0.6)), 999)}" for _ in range(2000)]
    whole = Counts()
    whole.add_all(drawn)
    assert len(whole.counts) <= 32
    assert sum(whole.shown().values()) == 2000
    assert whole.shown(most=3)[OTHERS] + sum(list(whole.shown(most=3).values())[:3]) == 2000
    for cut in (0, 1, 500, 1999, 2000):
        one, other = Counts(), Counts()
        one.add_all(drawn[:cut])
        other.add_all(drawn[cut:])
        one = sent(one)
        one.merge(sent(other))
        assert one == whole


def test_a_long_name_is_cut() -> None:
    assert list(surface([of({"x" * 10_000: 1})]).params) == ["x" * 80]
