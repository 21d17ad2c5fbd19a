"""Repeats: as found in memory, by hand, however the log is cut; equal numbers exactly where answers agree."""

from __future__ import annotations

import random
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold import wire
from freehold.agree import agree
from freehold.audit.tallies import near
from freehold.audit.tallies.eyes import names_of
from freehold.audit.tallies.near import NearTally
from freehold.audit.tallies.repeats import Repeated, RepeatTally
from freehold.audit.tallies.same import answer_number, number
from freehold.audit.tallies.tally import Seen
from freehold.measure import share
from freehold.nouns import Call, Repeats
from freehold.traffic import near_duplicates, normalise, read

from .cuts import call, check_cuts, counted, seen, sent

LOG = Path(__file__).resolve().parents[3] / "examples" / "support-desk" / "calls.jsonl.gz"


def find_repeats(calls: Sequence[Call]) -> Repeats:
    """What the tally must say, by comparing answers in memory: of equal requests the first two of each."""
    groups = [answers for answers in _answers(calls, lambda one: names_of(one)[1]) if len(answers) > 1]
    agreeing = sum(_alike(answers[0], answers[1]) for answers in groups)
    return Repeats(len(groups), sum(map(len, groups)), share(agreeing, len(groups)))


def count_conflicts(calls: Sequence[Call]) -> int:
    """How many texts (equal messages, whatever the settings) were answered in more than one way."""
    return sum(
        any(not _alike(answers[0], answer) for answer in answers[1:])
        for answers in _answers(calls, lambda one: names_of(one)[0])
    )


def _alike(one: str, other: str) -> bool:
    """The same text, or the same JSON: of that, only the values count."""
    return agree(one, other) or (one.lstrip().startswith(("{", "[")) and agree(one, other, "json"))


def _answers(calls: Sequence[Call], key: Callable[[Call], int]) -> Iterator[list[str]]:
    """The closed model's answers to requests with the same key, in the log's order."""
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for one in calls:
        if one.answered_by == "upstream" and one.answer is not None:
            groups[key(one)].append(one.answer)
    yield from groups.values()


def tallied(calls: list[Seen]) -> RepeatTally:
    tally = RepeatTally()
    tally.add(calls)
    return tally


def found(*calls: Seen) -> Repeated:
    return tallied(list(calls)).found()


# what two answers that agree look like

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(), st.floats(allow_nan=False), st.text(max_size=3)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab0", max_size=2), inner, max_size=3)
)


@st.composite
def written(draw: st.DrawFn) -> str:
    """A JSON value, or something near one, as different writers put it."""
    text = wire.dumps(draw(values)).decode()
    for old, new in draw(st.lists(st.sampled_from(REWRITES), max_size=4)):
        text = text.replace(old, new, draw(st.integers(1, 3)))
    return draw(st.sampled_from(["", " ", "\n", "\u00a0", "\ufeff"])) + text + draw(st.sampled_from(["", " ", "\n"]))


REWRITES = [
    ("1", "1.0"), ("1", "1e0"), ("1", "10E-1"), ("0", "-0"), ("0", "0.0"), (",", " , "), (":", ": "), ("true", "1"),
    ("1", '"1"'), ("a", "\\u0061"), ("b", "a"), ("[", "[["), ("{", "{{"), ("null", "NaN"), ("null", "{}"), ("{}", "[]"),
    ("1", "1e999999999"),
    ("[", "[" * 103), ("2", "0.1"), ("2", "0.10000000000000000001"), ("3", "3" * 40), ("3", "\\ud83d"),
]  # fmt: skip
answers = st.one_of(written(), st.sampled_from(["", "x", " x", "X", "{", "[]", "{}", "```json\n{}\n```", "5", "5.0"]))


@given(one=answers, other=answers)
def test_equal_numbers_exactly_where_answers_agree(one: str, other: str) -> None:
    assert (answer_number(one) == answer_number(other)) == _alike(one, other)


@given(one=written(), seed=st.integers(0, 99))
def test_an_answer_written_anew_agrees_as_its_number_says(one: str, seed: int) -> None:
    draw = random.Random(seed)
    other = one
    for old, new in draw.sample(REWRITES, 2):
        other = other.replace(old, new)
    assert (answer_number(one) == answer_number(other)) == _alike(one, other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": 2}', '{"b":2.0,"a":1e0}', True),
        ('{"a": 100000000000000000001}', '{"a": 100000000000000000001.0}', True),
        ('{"a": 100000000000000000001}', '{"a": 100000000000000000000}', False),
        ('{"a": 0}', '{"a": -0.0}', True),
        ('{"a": true}', '{"a": 1}', False),
        ('["0"]', '{"0": "0"}', False),
        ('{"a": {}}', '{"a": []}', False),
        ('{"a": 1, "a": 1}', '{"a": 1}', False),
        ('{"a": "\\ud800"}', '{ "a": "\\ud800" }', True),
        ('{"a\\n": 1}', '{"a": 1}', False),
        ("5", "5.0", False),
        (" x\n", "x", True),
        ("[" * 103 + "]" * 103, " " + "[" * 103 + "]" * 103, True),
        ("[" * 103 + "]" * 103, "[ " + "[" * 102 + "]" * 103, False),
    ],
)
def test_pairs_by_hand(one: str, other: str, same: bool) -> None:
    assert _alike(one, other) == same
    assert (answer_number(one) == answer_number(other)) == same


# counting


def noisy(n: int, seed: int) -> list[Seen]:
    """Requests that come again, with every trap: settings, failures, pairs, home answers, tools, unknown prices."""
    draw = random.Random(seed)
    made = []
    for line in range(n):
        text = f"where is card {min(int(draw.paretovariate(0.8)), 50)}"
        answer = draw.choice(["x", " x", "y", '{"a": 1}', '{ "a": 1.0 }', None])
        own: dict[str, Any] = {
            "params": draw.choice([{}, {"temperature": 0}, {"temperature": 0.5, "user": f"u{line}"}])
        }
        own |= draw.choice([{}, {}, {}, {"answered_by": "student"}, {"why": "pair"}, {"error": "429"}])
        if own.get("error"):
            answer = None
        cost = draw.choice(["0.000000123456", "0.1", "3", None]) if "answered_by" not in own else None
        made.append(seen(call(text, answer, 1000.0 + 7 * line, **own), line, task=draw.choice([0, 1, -1]), cost=cost))
    return made


@pytest.mark.parametrize("seed", range(5))
def test_as_found_in_memory(seed: int) -> None:
    calls = noisy(400, seed)
    said = found(*calls)
    known = find_repeats([one.call for one in calls])
    assert (said.repeats.texts, said.repeats.calls) == (known.texts, known.calls)
    assert said.repeats.self_agreement == known.self_agreement
    assert said.conflicts == count_conflicts([one.call for one in calls])


def test_the_bundled_log_as_found_in_memory() -> None:
    calls = read([LOG]).calls[:6000]
    said = counted(RepeatTally, *([seen(one, one.line) for one in calls[i : i + 2000]] for i in range(0, 6000, 2000)))
    found, known = said.found(), find_repeats(calls)
    assert found.repeats.self_agreement == known.self_agreement
    assert (found.repeats.texts, found.repeats.calls) == (known.texts, known.calls)
    assert found.conflicts == count_conflicts(calls)
    groups = int(near_duplicates([str(one.messages[-1]["content"]) for one in calls]).max()) + 1
    assert found.repeats.near.value == pytest.approx(1 - groups / len(calls))


def test_every_cut_says_the_same(tmp_path: Path) -> None:
    calls = noisy(150, 9)

    def make() -> RepeatTally:
        tally = RepeatTally(str(tmp_path))
        tally.rows.most = 20
        return tally

    in_files = check_cuts(make, calls, RepeatTally.found, every=7)
    assert list(tmp_path.iterdir())
    assert in_files == check_cuts(RepeatTally, calls, RepeatTally.found, every=3)
    assert in_files.retries


def test_what_a_cache_would_have_saved() -> None:
    zero = {"params": {"temperature": 0}}
    said = found(
        seen(call("a", **zero), cost="0.1"), seen(call("a", **zero), cost="0.2"), seen(call("a", **zero), cost=None),
        seen(call("b"), cost="5"), seen(call("b"), cost="0.000000000001"),
        seen(call("c", None, error="500"), cost="7"), seen(call("c"), cost="7"), seen(call("c"), cost="1"),
        seen(call("d"), cost="9"), seen(call("d", why="pair"), cost="9"),
    ).repeats  # fmt: skip
    assert (said.saved.value, said.saved.n) == (1.200000000001, 3)  # the first call that was answered is no saving
    assert (said.safe.value, said.safe.n) == (0.2, 1)
    assert (said.exact.value, said.exact.n) == (5 / 9, 9)  # a pair is no call of a user


def test_money_adds_up_to_the_last_place() -> None:
    calls = [seen(call("a"), n, cost="0.100000000001") for n in range(10_001)]
    assert found(*calls).repeats.saved.value == 1000.00000001
    assert found(*[seen(call("a"), n, cost="9e9") for n in range(5)]).repeats.saved.n == 4  # no call costs that


def test_the_noise_of_each_task() -> None:
    tool = {"tool_calls": [{"function": {"name": "f", "arguments": '{"x": 1}'}}]}
    again = {"tool_calls": [{"function": {"name": "f", "arguments": '{ "x": 1.0 }'}}]}
    rows = [
        {"response": {"choices": [{"message": message, "finish_reason": "tool_calls"}]}} for message in (tool, again)
    ]
    said = found(
        *(seen(call(text, answer), task=0) for text, answer in ("ax", "ay", "az", "bx", "bx")),
        *(seen(call("t", None, row=row), task=1) for row in rows),
        *(seen(call("s", "x", answered_by="student"), task=2) for _ in range(2)),
    )
    assert {task: (one.value, one.n) for task, one in said.noise.items()} == {0: (0.5, 2), 1: (1.0, 1)}
    assert said.repeats.self_agreement.n == 2  # of text alone, as it was


def test_retries() -> None:
    def at(time: float | None, text: str = "a", error: str = "") -> Seen:
        return seen(call(text, None if error else "x", time, error=error))

    assert found(at(0.0, "b", "429"), at(10.0, "b", "429"), at(69.0, "b"), at(70.5, "b")).retries == 2
    assert found(at(100.0, error="500"), at(161.5)).retries == 0
    assert found(at(130.0), at(100.0, error="500")).retries == 1  # rows need not be in order of time
    assert found(at(100.0), at(101.0), at(102.0, "c", "500"), at(None, "c")).retries == 0


def test_a_trace_without_prompts_repeats_nothing() -> None:
    said = found(*(Seen(Call(({"role": "user", "content": None},)), (0, n), key=b"0" * 16) for n in range(3)))
    assert (said.repeats.exact.value, said.repeats.texts, said.repeats.near.value) == (None, 0, None)
    assert "3 calls whose prompt was not logged" in said.repeats.exact.method


def test_an_empty_log() -> None:
    said = RepeatTally().found()
    assert (said.conflicts, said.retries, said.noise, said.repeats.saved.value) == (0, 0, {}, 0.0)


# near-duplicates


def test_near_duplicates_are_of_one_task() -> None:
    calls = [
        seen(call("x"), task=task, text=text)
        for task, text in ((0, "Where is it?"), (0, "where is it"), (1, "where is it"))
    ]
    near_share = found(*calls, seen(call("y"), task=-1)).repeats.near
    assert (near_share.value, near_share.n) == (pytest.approx(1 / 3), 3)


def texts(n: int, seed: int, again: float) -> list[tuple[int, int, str]]:
    """Texts of 12 to 30 words, of which a share nearly repeats an earlier one."""
    draw = random.Random(seed)
    words = [f"w{i}" for i in range(3000)]
    weights = [1 / (i + 1) for i in range(3000)]
    made: list[str] = []
    for _ in range(n):
        if made and draw.random() < again:
            old = draw.choice(made).split(" ")
            made.append(" ".join([*old[:-1], f"v{draw.randrange(10**6)}"]) if len(old) > 20 else " ".join(old[::-1]))
        else:
            made.append(" ".join(draw.choices(words, weights, k=draw.randint(12, 30))))
    return [(number(text.encode()), 0, text) for text in made]


@pytest.mark.parametrize("again", [0.0, 0.3, 0.7])
def test_a_sample_says_the_share_within_its_interval(monkeypatch: pytest.MonkeyPatch, again: float) -> None:
    drawn = texts(6000, int(10 * again), again)
    whole = NearTally()
    whole.add(drawn)
    truth = whole.share(0).value or 0.0
    monkeypatch.setattr(near, "MOST", 1500)
    sample = NearTally()
    sample.add(drawn)
    said = sample.share(len({one[0] for one in drawn}))
    assert len(sample.texts) <= 1500
    assert said.low is not None
    assert said.high is not None
    assert said.low <= truth <= said.high
    assert said.value == pytest.approx(truth, abs=0.06)
    assert "8 samples" in said.method


def test_every_cut_keeps_the_same_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "MOST", 40)
    drawn = texts(400, 5, 0.3)
    whole = NearTally()
    whole.add(drawn)
    assert 0 < len(whole.texts) <= 40
    for cut in (0, 1, 30, 200, 399, 400):
        one, other = NearTally(), NearTally()
        for i in range(0, cut, 64):
            one.add(drawn[i : min(cut, i + 64)])
        other.add(drawn[cut:])
        one = sent(one)
        one.merge(sent(other))
        assert (one.limit, one.texts, one.size, one.calls) == (whole.limit, whole.texts, whole.size, whole.calls)


def test_long_texts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "MOST_SIZE", 5000)
    tally = NearTally()
    tally.add([(n + 1, 0, f"{n} " + "x " * 200) for n in range(50)])
    tally.add([(99, 0, "y" * 200_000)])
    assert tally.size <= 5000
    assert (tally.calls, tally.long) == (50, 1)
    assert "1 calls of more than 100,000 characters left out" in tally.share(50).method


@given(st.lists(st.text(min_size=1) | st.text(" aB_.\n-é", min_size=1), min_size=1))
def test_every_word_of_a_text_has_its_check_sum(made: list[str]) -> None:
    hashed, starts = near._words(made)
    words = [{zlib.crc32(word.encode()) for word in normalise(text).split(" ")} for text in made]
    assert [set(some.tolist()) for some in np.split(hashed, starts[1:])] == words


def test_long_words_have_their_check_sum_too() -> None:
    text = " ".join("x" * n for n in (*range(1, 140), 9_999))
    hashed, _ = near._words([text])
    assert hashed.tolist() == [zlib.crc32(word.encode()) for word in text.split(" ")]
