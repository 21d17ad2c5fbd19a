"""What a call may cost and did: put aside before it goes up, settled after, over 200 calls at the last cent (G29)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.facts import price_book
from freehold.keys import Key, Keys, Wanted, add
from freehold.keys.spent import Spent
from freehold.nouns import Tokens
from freehold.project import OwnPrice, Project, Settings
from freehold.serve.entry.policy import Denied
from freehold.serve.entry.spend import ANSWER, IMAGE, Most, Prices, Spend, most

MINI = "gpt-4o-mini"
AT = 1_790_000_000.0
SETTINGS = Settings(prices={MINI: OwnPrice(input="0.15", output="0.60"), "local": OwnPrice(input="0", output="0")})  # type: ignore[arg-type]


def prices() -> Prices:
    settings = msgspec.convert(msgspec.to_builtins(SETTINGS), Settings)
    return Prices(price_book(settings), lambda: AT)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "project")


@pytest.fixture
def spent(project: Project) -> Iterator[Spent]:
    found = Spent(project.path / "keys.spent")
    yield found
    found.close()


def made(project: Project, spent: Spent, **fields: Any) -> tuple[Spend, Key]:
    key, _ = add(project, Wanted(name="web", **fields), by="os:test")
    return Spend(spent, prices(), Keys.open(project)), key


def test_the_most_of_a_request() -> None:
    body = {"messages": [{"role": "user", "content": "x" * 300}]}
    assert most(body, 360) == Most(121, ANSWER)
    assert most(body | {"max_tokens": 20}, 360).answer == 20
    assert most(body | {"max_tokens": 20, "max_completion_tokens": 30}, 360).answer == 30
    assert most(body | {"max_tokens": 20, "n": 3}, 360).answer == 60
    assert most(body | {"max_tokens": 5000, "max_completion_tokens": 1}, 360).answer == 5000


def test_the_route_says_what_a_field_means() -> None:
    embeddings, completions = "/v1/embeddings", "/v1/completions"
    assert most({"input": "text", "max_tokens": 9}, 60, embeddings) == Most(21, 0)
    assert most({"prompt": "a", "input": "", "max_tokens": 4000}, 60, completions) == Most(21, 4000)
    body = {"prompt": ["a"] * 100, "max_tokens": 40}
    assert most(body, 60, completions).answer == 4000
    assert most(body | {"n": 3}, 60, completions).answer == 12_000
    assert most(body | {"n": 3, "best_of": 5}, 60, completions).answer == 20_000
    assert most({"prompt": [1, 2, 3], "max_tokens": 40}, 60, completions).answer == 40
    assert most({"prompt": [[1, 2], [3]], "max_tokens": 40}, 60, completions).answer == 80
    assert most({"prompt": [], "messages": [7], "max_tokens": 40}, 60, completions) == Most(21, 40)
    assert most({"messages": [], "input": "", "prompt": ["a"] * 9, "max_tokens": 40}, 60).answer == 40


def test_a_picture_counts_as_one_and_not_by_its_bytes() -> None:
    url = "data:image/png;base64," + "A" * 3_000_000
    parts = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    parts += [{"type": "input_audio", "input_audio": {"data": "B" * 900_000, "format": "wav"}}]
    body = {"messages": [{"role": "user", "content": parts}]}
    found = most(body, len(msgspec.json.encode(body)))
    assert 2 * IMAGE < found.prompt < 2 * IMAGE + 200


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PART = st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "file", 3])}, optional={"image_url": JSON})
MESSAGE = st.fixed_dictionaries({"role": st.just("user")}, optional={"content": JSON | st.lists(PART, max_size=3)})


@given(
    body=st.fixed_dictionaries(
        {"messages": st.lists(MESSAGE, max_size=3)},
        optional={"n": JSON, "max_tokens": JSON, "input": JSON, "prompt": JSON, "best_of": JSON},
    ),
    size=st.integers(0, 1 << 22),
    route=st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]),
)
def test_odd_requests_have_a_price_too(body: dict[str, Any], size: int, route: str) -> None:
    """What the door lets through never fails here, whatever stands where a count should."""
    found = most(body, size, route)
    assert 0 < found.prompt <= 10**9
    assert 0 <= found.answer <= 10**9
    usd = prices().most([MINI], found)
    assert usd is not None
    assert 0 < usd < 1e6


def test_the_price_is_that_of_the_dearest_model_asked() -> None:
    assert prices().most([MINI], Most(1_000_000, 0)) == pytest.approx(0.15)
    assert prices().most([MINI, "local"], Most(1_000_000, 1_000_000)) == pytest.approx(0.75)
    assert prices().most(["local"], Most(10, 10)) == 0.0
    assert prices().most([MINI, "no-such-model"], Most(1_000_000, 0)) == pytest.approx(0.15)
    assert prices().most(["no-such-model"], Most(10, 10)) is None
    assert prices().most([], Most(10, 10)) == 0.0


def test_what_is_left_is_asked_before_the_call_goes_up(project: Project, spent: Spent) -> None:
    spend, key = made(project, spent, budget_day=0.10)
    held = spend.reserve(key, [MINI], Most(100_000, 100_000))  # $0.075
    assert held.usd == pytest.approx(0.075)
    with pytest.raises(Denied) as caught:
        spend.reserve(key, [MINI], Most(100_000, 100_000))
    assert (caught.value.http, caught.value.code) == (429, "budget_exceeded")
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 86_400
    assert caught.value.headers["X-Should-Retry"] == "false"
    assert "max_tokens" in caught.value.message
    assert spend.refused == 1
    assert spend.settle(held, MINI, Tokens(prompt=1000, completion=10)) == pytest.approx(0.000156)
    spend.reserve(key, [MINI], Most(100_000, 100_000)).cancel()
    assert spent.read("web")[0] == pytest.approx(0.000156)


def test_usage_that_never_came_costs_all_that_was_put_aside(project: Project, spent: Spent) -> None:
    spend, key = made(project, spent, budget_day=1.0)
    for tokens in (None, Tokens(prompt=-5), Tokens(prompt=10**12)):
        held = spend.reserve(key, [MINI], Most(1_000_000, 0))
        assert spend.settle(held, MINI, tokens) is None
    assert spent.read("web")[0] == pytest.approx(0.45)


def test_a_try_that_was_billed_counts(project: Project, spent: Spent) -> None:
    spend, key = made(project, spent, budget_day=1.0)
    held = spend.reserve(key, [MINI], Most(1_000_000, 0))
    held.charge(0.15)
    held.settle(0.15)
    assert spent.read("web")[0] == pytest.approx(0.30)


def test_a_model_without_a_price_is_for_keys_without_a_budget(project: Project, spent: Spent) -> None:
    spend, key = made(project, spent, budget_month=5.0)
    with pytest.raises(Denied) as caught:
        spend.reserve(key, ["no-such-model"], Most(10, 10))
    assert (caught.value.http, caught.value.code) == (403, "unpriced_model")
    assert '[prices."no-such-model"]' in caught.value.message
    spend.reserve(key, ["no-such-model", MINI], Most(10, 10)).cancel()  # a host to fail over to keeps nobody out
    free, _ = add(project, Wanted(name="free"), by="os:test")
    spend = Spend(spent, prices(), Keys.open(project))
    spend.reserve(free, ["no-such-model"], Most(10, 10)).settle(0.5)
    assert spent.read("free")[0] == 0.5
    spend.reserve(None, ["no-such-model"], Most(10, 10)).settle(0.5)


def test_a_child_spends_its_parents_budget_too(project: Project, spent: Spent) -> None:
    """So that many children are no way around one budget."""
    add(project, Wanted(name="boss", role="admin", budget_day=0.10), by="os:test")
    children = [add(project, Wanted(name=f"child{n}"), parent="boss", by="os:test")[0] for n in range(5)]
    spend = Spend(spent, prices(), Keys.open(project))
    got = 0
    for child in children:
        try:
            spend.reserve(child, [MINI], Most(200_000, 0)).settle()  # $0.03
        except Denied:
            continue
        got += 1
    assert got == 3
    assert spent.read("boss")[0] == pytest.approx(0.09)


async def test_two_hundred_calls_at_the_last_cent_with_fail_over(project: Project, spent: Spent) -> None:
    """$0.01 is left, each call may cost $0.003: three go up, fail once, and are answered by the second upstream. What
    the failed try was billed is counted. Overspent by at most one reservation, and then nothing more goes up."""
    spend, key = made(project, spent, budget_day=1.0)
    spent.charge(["web"], 0.99)
    most_ = Most(20_000, 0)  # $0.003
    sent = 0

    async def call() -> int:
        nonlocal sent
        try:
            held = spend.reserve(key, [MINI, "local"], most_)
        except Denied as refusal:
            return refusal.http
        try:
            sent += 1
            await asyncio.sleep(0)
            held.charge(0.0005)  # the first upstream broke off
            await asyncio.sleep(0)
            spend.settle(held, MINI, Tokens(prompt=18_000))
        finally:
            held.cancel()
        return 200

    answers = await asyncio.gather(*(call() for _ in range(200)))
    today, _, waiting = spent.read("web")
    assert sent == answers.count(200) == 3
    assert answers.count(429) == 197
    assert waiting == 0.0
    assert today <= 1.0 + 0.003
    again = await asyncio.gather(*(call() for _ in range(200)))
    assert again.count(200) <= 1
    assert (await asyncio.gather(*(call() for _ in range(200)))).count(200) == 0
    assert spent.read("web")[0] <= 1.0 + 0.003
