"""Estimated tokens beside real counts, and how far the estimate says that it may be off."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.audit.tallies.estimate import FEATURES, Estimator, Ratio, calibrate, features
from freehold.facts import load
from freehold.nouns import Call, Tokens
from freehold.traffic.formats import shape

TEXTS = {
    "prose": "To Sherlock Holmes she is always the woman. I have seldom heard him mention her under any other name. In "
    "his eyes she eclipses and predominates the whole of her sex. It was not that he felt any emotion akin to love for "
    "Irene Adler. All emotions, and that one particularly, were abhorrent to his cold, precise but admirably balanced "
    "mind.",
    "json": '{"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string", '
    '"description": "The city to look up"}, "days": {"type": "integer", "minimum": 1}}, "required": ["city"]}}',
    "sql": "SELECT city.city_name, city.population FROM city WHERE city.state_name = 'texas' AND city.population > "
    "150000 ORDER BY city.population DESC LIMIT 10;",
    "code": "def price(self, model: str, tokens: Tokens) -> Decimal | None:\n    rates = self.rates(model)\n"
    "    if rates is None:\n        return None\n    return rates.cost(tokens)\n",
    "cyrillic": "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему. Все "
    "смешалось в доме Облонских.",
    "cjk": "机器学习是人工智能的一个分支。它使计算机能够从数据中学习,并在没有明确编程的情况下做出预测。",
}
COUNTED = {
    "gpt-4o": {"prose": 73, "json": 60, "sql": 34, "code": 41, "cyrillic": 34, "cjk": 32},  # o200k_base
    "gpt-4": {"prose": 74, "json": 60, "sql": 34, "code": 41, "cyrillic": 67, "cjk": 51},  # cl100k_base
}
"""Counts by those vocabularies (benchmarks/token_estimate.py has the way)."""


def call(text: Any = "hello", answer: str | None = "", **own: Any) -> Call:
    return Call(**({"messages": ({"role": "user", "content": text},), "model": "gpt-4o", "answer": answer} | own))


def estimate(*args: Any, **own: Any) -> Tokens | None:
    return Estimator().tokens(call(*args, **own))


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("model", COUNTED)
def test_beside_real_counts(model: str, kind: str) -> None:
    found = estimate("x", TEXTS[kind], model=model)
    assert found is not None
    assert found.completion == pytest.approx(COUNTED[model][kind], rel=0.20)


def test_all_of_them_together_are_nearer() -> None:
    for model, counts in COUNTED.items():
        found = sum(t.completion for text in TEXTS.values() if (t := estimate("x", text, model=model)))
        assert found == pytest.approx(sum(counts.values()), rel=0.05)


def test_a_chat_adds_three_a_message_one_for_the_role_and_three_a_call() -> None:
    one, two = estimate("hello"), Estimator().tokens(call(messages=({"role": "user", "content": "hello"},) * 2))
    assert one is not None
    assert two is not None
    assert two.prompt - one.prompt in (5, 6)  # hello and four more
    bare = estimate("hello", endpoint="embeddings", answer=None)
    assert bare is not None
    assert (one.prompt - bare.prompt, bare.completion) == (7, 0)


def test_what_is_sent_beside_the_messages_is_read_too() -> None:
    plain, tools = estimate(), estimate(params={"tools": [{"type": "function", "function": {"name": "f" * 400}}]})
    assert plain is not None
    assert tools is not None
    assert tools.prompt > plain.prompt + 40


def test_an_answer_by_tool_call_counts() -> None:
    tool = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    choice = {"message": {"role": "assistant", "content": None, "tool_calls": [tool]}, "finish_reason": "tool_calls"}
    found = estimate(answer=None, row={"response": {"choices": [choice]}})
    assert found is not None
    assert 8 < found.completion < 40


@pytest.mark.parametrize(
    "own",
    [
        {"answer": None},  # nothing came back
        {"error": "429"},
        {"messages": ()},
        {"text": [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "x"}}]},
        {"text": 7},
        {"text": None, "answer": "It is 12."},  # what was asked is not logged
        {"messages": (shape.unlogged({"id": "resp_1"}, "id"),), "answer": "It is 12."},
    ],
)
def test_what_cannot_be_estimated_is_not(own: dict[str, Any]) -> None:
    assert Estimator().tokens(call(**own)) is None


def test_parts_of_text_are_text() -> None:
    parts = [{"type": "text", "text": "hello"}, {"type": "input_text", "text": "there"}]
    assert estimate(parts) == estimate("hello\nthere")


@given(st.text(max_size=300))
def test_any_text_has_an_estimate_and_longer_ones_more(text: str) -> None:
    found, longer = estimate("x", text), estimate("x", f"{text} and more")
    assert found is not None
    assert longer is not None
    assert 0 <= found.completion <= longer.completion


def test_half_a_surrogate_stops_nothing() -> None:
    assert estimate("\ud800 half", "\udfff") is not None


@given(st.text(max_size=200))
def test_classes_cover_every_byte_once(text: str) -> None:
    counts = dict(zip(FEATURES, features(text), strict=True))
    further = sum(0x80 <= byte < 0xC0 for byte in text.encode())
    assert sum(counts.values()) + counts["indent"] + further == len(text.encode())


def counted(n: int, seed: int, ratio: float = 1.3) -> list[Call]:
    """Calls counted by a vocabulary that needs `ratio` times as many tokens, give or take a fifth a call."""
    draw = random.Random(seed)
    calls = []
    for _ in range(n):
        text = " ".join(draw.choices(TEXTS["prose"].split(), k=draw.randrange(20, 300)))
        raw = estimate(text, text)
        assert raw is not None
        prompt, written = (round(x * ratio * draw.gauss(1, 0.2)) for x in (raw.prompt, raw.completion))
        calls.append(call(text, text, tokens=Tokens(max(0, prompt), max(0, written))))
    return calls


def test_the_logs_own_counts_set_the_ratio_and_its_interval_holds() -> None:
    """Of 60 logs the 95 % interval of the whole may miss some: at most 8 (p = 0.002)."""
    misses = 0
    for seed in range(60):
        calls = counted(200, seed)
        made = calibrate(calls[:100])
        said = sum(t.prompt for c in calls[100:] if (t := made.tokens(c)))
        true = sum(c.tokens.prompt for c in calls[100:] if c.tokens)
        misses += abs(said / true - 1) > made.off(["gpt-4o"], 100)
        assert made.ratios["gpt-4o"].prompt == pytest.approx(1.3, rel=0.15)
    assert misses <= 8


def test_too_few_counts_set_no_ratio() -> None:
    assert calibrate(counted(29, 1)).ratios == {}
    assert calibrate([]).ratios == {}


def test_home_answers_and_failures_set_no_ratio() -> None:
    calls = [call(tokens=Tokens(9, 9), answered_by="student"), call(tokens=Tokens(9, 9), error="500")] * 40
    assert calibrate(calls).ratios == {}


def test_counts_without_their_text_set_no_ratio() -> None:
    assert calibrate([call(None, "It is 12.", tokens=Tokens(5000, 9))] * 40).ratios == {}


def test_answers_that_were_never_counted_as_any_are_estimated_as_none() -> None:
    made = calibrate([call(answer="yes", tokens=Tokens(20, 0))] * 40)
    found = made.tokens(call(answer="yes"))
    assert found is not None
    assert found.completion == 0


def test_more_calls_are_surer_down_to_what_is_measured() -> None:
    made = Estimator()
    (own,) = [row["error"] for row in load("token_weights.json") if row["family"] == "o200k"]
    assert made.off(["gpt-4o"], 1) > made.off(["gpt-4o"], 100) > made.off(["gpt-4o"], 10**9) >= own
    assert made.off(["gpt-4o", "house-model"], 10**9) > made.off(["gpt-4o"], 10**9)
    assert made.off([], 10) == 0.0


def test_an_estimator_travels() -> None:
    made = Estimator({"gpt-4o": Ratio(1.1, 0.9, 40, 0.02, 0.3)})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Estimator) == made


def test_weights_are_measured_on_every_kind_of_text() -> None:
    rows = load("token_weights.json")
    assert rows[-1]["models"] == ""  # whatever is left
    for row in rows:
        assert set(row["weights"]) == set(FEATURES)
        assert {"prose", "json", "sql", "code", "chat"} <= set(row["kinds"])
        assert max(map(abs, row["kinds"].values())) <= 0.7
        assert 0.2 < row["error"] < 0.5
