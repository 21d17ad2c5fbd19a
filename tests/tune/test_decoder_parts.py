"""What decides a tuning, without a model: rows, the dial, fidelity, the comparison with examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from freehold.errors import BaseUnusable
from freehold.nouns import Answer, Message, Slot, Task, Template
from freehold.tune.decoder.data import OWN_MOST, Example, Examples, hold_back, run
from freehold.tune.decoder.fewshot import Measured, compare
from freehold.tune.decoder.fidelity import PROMPTS, check_ids, prompts
from freehold.tune.decoder.plan import BATCH, EPOCHS, RATE, plan, shares
from freehold.tune.decoder.recipe import AFFORDABLE, recipe_of, room, room_of, schema_of

BF16 = ("bfloat16", "bfloat16: measured, 2.0 times as fast")


def examples(n: int, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    rows = tuple(Example((1,) * int(k), (2, 3)) for k in rng.integers(3, 90, n))
    return Examples((7, 8), rows, tuple(range(n)), {})


@pytest.mark.parametrize("n", [30, 400, 9000])
def test_held_back_groups_are_whole_and_bounded(n: int) -> None:
    groups = np.random.default_rng(n).integers(0, n // 2, n)
    learn, own = hold_back(groups, 0)
    assert sorted(learn + own) == list(range(n))
    assert not set(groups[learn]) & set(groups[own])
    assert 0.5 * min(OWN_MOST, n / 10) <= len(own) <= min(OWN_MOST, round(n / 10))
    assert hold_back(groups, 0) == (learn, own)
    assert hold_back(groups, 1) != (learn, own)


def test_one_huge_group_is_not_held_back() -> None:
    groups = np.array([0] * 90 + list(range(1, 11)))
    _, own = hold_back(groups, 0)
    assert own
    assert 0 not in groups[own]


def test_each_epoch_sees_each_row_once_with_its_like() -> None:
    have = examples(500)
    steps = run(have, rows=500, epochs=2, batch=8, seed=3)
    half = len(steps) // 2
    for part in (steps[:half], steps[half:]):
        assert sorted(i for step in part for i in step) == list(range(500))
    assert steps[:half] != steps[half:]
    lengths = [[have.rows[i].length for i in step] for step in steps]
    padding = sum(max(step) * len(step) - sum(step) for step in lengths) / sum(map(sum, lengths))
    assert padding < 0.05, "rows of a step are of like length"
    assert run(have, rows=500, epochs=2, batch=8, seed=3) == steps
    assert len({i for step in run(have, rows=40, epochs=3, batch=8, seed=3) for i in step}) == 40


def test_the_dial_buys_rows_first_and_epochs_then() -> None:
    def at(minutes: float, rows: int = 2000) -> Any:
        return plan(rows=rows, seconds_row=0.5, seconds=shares(minutes)[0], width=576, dtype=BF16)

    few, most, again, much = at(2), at(20), at(100), at(1000)
    assert (few.rows, few.epochs) == (int(shares(2)[0] / 0.5), 1)
    assert most.rows < 2000
    assert most.epochs == 1
    assert (again.rows, again.epochs) == (2000, 4)
    assert much.epochs == EPOCHS
    assert (few.rank, most.rank, again.rank) == (8, 16, 16)
    assert at(1000, rows=9000).rank == 32
    assert again.steps == 2000 // BATCH * 4
    assert "paid" not in " ".join(few.why)
    assert few.why[0] == BF16[1]
    assert "168 of 2,000 rows" in few.why[1]


def test_the_rate_goes_with_the_width_up_and_down() -> None:
    narrow = plan(rows=800, seconds_row=0.1, seconds=80, width=64, dtype=BF16)
    wide = plan(rows=800, seconds_row=0.1, seconds=80, width=1152, dtype=BF16)
    given = plan(rows=800, seconds_row=0.1, seconds=80, width=1152, dtype=BF16, rate=5e-5)
    assert (narrow.rate, wide.rate, given.rate) == (RATE, RATE / 2, 5e-5)
    assert "as given" in given.why[3]
    rates = [wide.rate_at(i) for i in range(wide.steps)]
    assert max(rates) == wide.rate == rates[4]
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 0.02 * wide.rate
    one = replace(wide, steps=1)
    assert one.rate_at(0) == wide.rate


class Letters:
    """A tokenizer of one id a letter, and a server that reads one letter otherwise."""

    def __init__(self, other: str = "", end: int = 0) -> None:
        self.other, self._end = other, end

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        return [ord(c) for m in messages for c in m["content"]]

    def ids(self, messages: Sequence[Message], /) -> list[int]:
        return [63 if chr(i) == self.other else i for i in self.prompt(messages)]

    def tokenize(self, text: str, /) -> list[int]:
        return [ord(c) for c in text]

    def words(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))

    def end(self) -> int:
        return self._end


class Trained(Letters):
    end = 0


def asked(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def test_ids_that_differ_stop_the_run_and_are_shown() -> None:
    texts = [f"turn on lamp {i}" for i in range(200)] + ["turn the café off"]
    tokens: Any = Trained()
    assert check_ids(tokens, Letters(), asked, texts) == PROMPTS
    with pytest.raises(BaseUnusable, match=r"position 12, after 'he caf', 233 .'é'. here and 63 .'\?'. there"):
        check_ids(tokens, Letters("é"), asked, texts)
    with pytest.raises(BaseUnusable, match="closes answers with id 0"):
        check_ids(tokens, Letters(end=7), asked, texts)


def test_the_prompts_compared_hold_the_odd_ones() -> None:
    texts = [f"row {i} " + "x" * (i % 60) for i in range(3000)] + ["日本", "tab\there"]
    chosen = prompts(texts)
    assert len(chosen) == len(set(chosen)) == PROMPTS
    assert {"日本", "tab\there"} <= set(chosen)
    assert max(map(len, chosen)) >= 60
    assert prompts(texts[:10]) == texts[:10]


def measured(ok: Sequence[bool], seconds: float = 1.0) -> Measured:
    return Measured([Answer("", 0.5)] * len(ok), list(ok), seconds)


def test_the_tuned_one_wins_unless_chance_does_not_explain_the_rivals_lead() -> None:
    said = compare(measured([True, True, False, False]), measured([True, False, True, True, True]))
    assert (said["rows"], said["only_tuned"], said["only_fewshot"]) == (4, 1, 2)
    assert (said["p"], said["wins"]) == (0.5, "tuned"), "two of three coins show heads half of the time"
    assert said["tuned"]["value"] == 0.5
    assert said["fewshot"]["low"] < 0.75 < said["fewshot"]["high"]
    assert compare(measured([True, False]), measured([False, True]))["wins"] == "tuned"
    assert compare(measured([]), measured([]))["wins"] == "tuned"
    for mine, theirs, wins in ((0, 2, "tuned"), (0, 3, "fewshot"), (10, 14, "tuned"), (10, 16, "fewshot")):
        tuned = measured([True] * mine + [False] * theirs)
        said = compare(tuned, measured([not ok for ok in tuned.ok]))
        tail = binomtest(theirs, mine + theirs, alternative="greater").pvalue
        assert (said["p"], said["wins"]) == (pytest.approx(tail, abs=1e-4), wins)


def test_room_grows_with_the_longest_call_and_ends_at_the_bases() -> None:
    size = room_of(300, 40, 8192)
    assert size.context % 64 == size.answer % 64 == 0
    assert size.answer >= 60
    assert size.context >= 450 + size.answer
    assert room_of(300, 40, 256).context == 256


def test_examples_are_as_many_as_a_call_can_pay_for() -> None:
    """Long examples are fewer, one at least, and the context ends at what is affordable unless the text itself is
    longer."""
    task = Task("t", Template((Slot("user", "", variable=True),)), "tools", 10, 1.0)
    for length, shown in ((20, 8), (300, 3), (1400, 1), (4000, 1)):
        size = room(Letters(), task, ["q" * length] * 9, ["a" * 60] * 9, 8, 8192)
        assert size.shown == shown
        assert size.context - size.answer <= max(AFFORDABLE, 1.5 * length) + 64
        assert size.context - size.answer >= 1.5 * length


def test_a_schema_takes_the_blanks_of_the_log() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    template = Template((Slot("user", "", variable=True),))
    task = Task("t", template, "json", 10, 1.0, params={"response_format": [form]})
    close = recipe_of(task, room_of(9, 9, 512), answers=['{"a":"b"}'] * 9, quant="Q8_0").schema
    assert close == {
        **schema,
        "x-guidance": {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"},
    }
    assert recipe_of(task, room_of(9, 9, 512), answers=["no JSON"], quant="Q8_0").schema == schema


def test_a_schema_is_taken_where_all_calls_ask_for_the_same() -> None:
    template = Template((Slot("user", "", variable=True),))
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    task = Task("t", template, "json", 10, 1.0, params={"response_format": [form]})
    assert schema_of(task) == schema
    for other in (
        [],
        [form, {"type": "text"}],
        [{"type": "json_object"}],
        [{"type": "json_schema", "json_schema": None}],
    ):
        assert schema_of(replace(task, params={"response_format": other})) is None
