"""The split: groups whole, proportions kept, and nobody moves as the log grows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from freehold.traffic import KEY, near_duplicates, split

from .conftest import Pair

texts_of_few_words = st.lists(st.lists(st.sampled_from("abcd"), max_size=4).map(" ".join), max_size=40)


@given(texts_of_few_words)
def test_groups_never_straddle_and_one_call_of_each_certifies(texts: list[str]) -> None:
    parted = split(texts)
    assert sorted([*parted.fit, *parted.cal_all]) == list(range(len(texts)))
    fit, cal = set(parted.groups[parted.fit]), parted.groups[parted.cal]
    assert fit.isdisjoint(parted.groups[parted.cal_all])
    assert sorted(cal) == sorted(set(parted.groups[parted.cal_all]))
    assert np.isin(parted.cal, parted.cal_all).all()


def test_three_quarters_fit(utterances: list[Pair]) -> None:
    texts = [text for text, _ in utterances]
    parted = split(texts)
    groups = len(np.unique(parted.groups))
    spread = 4 * (0.75 * 0.25 / groups) ** 0.5
    assert abs(len(np.unique(parted.groups[parted.fit])) / groups - 0.75) < spread
    half = split(texts, fit_share=0.5)
    assert abs(len(np.unique(half.groups[half.fit])) / groups - 0.5) < spread


def test_a_longer_log_moves_no_group_that_did_not_merge(utterances: list[Pair]) -> None:
    texts = [text for text, _ in utterances]
    before, after = split(texts[:3000]), split(texts)
    side_before, side_after = np.isin(np.arange(3000), before.fit), np.isin(np.arange(3000), after.fit)
    merged = {g for g in after.groups[:3000] if len(set(before.groups[after.groups[:3000] == g])) > 1}
    stayed = ~np.isin(after.groups[:3000], list(merged))
    assert stayed.mean() > 0.95
    assert (side_before == side_after)[stayed].all()


def test_order_of_other_calls_does_not_matter(utterances: list[Pair]) -> None:
    texts = sorted({text for text, _ in utterances[:1500]})
    groups = near_duplicates(texts)
    alone = [text for text, size in zip(texts, np.bincount(groups)[groups], strict=True) if size == 1]
    forward, backward = split(alone), split(alone[::-1])
    assert {alone[i] for i in forward.fit} == {alone[::-1][i] for i in backward.fit}


def test_the_key_is_fixed_and_another_key_draws_again(utterances: list[Pair]) -> None:
    texts = [text for text, _ in utterances[:1000]]
    assert split(texts).fit.tolist() == split(texts, key=KEY).fit.tolist()
    other = split(texts, key=b"another key")
    assert other.fit.tolist() != split(texts).fit.tolist()
    assert other.groups.tolist() == split(texts).groups.tolist()


def test_each_call_of_a_group_is_as_likely_to_certify() -> None:
    chosen = [split(["the same text"] * 4, key=f"key {i}".encode(), fit_share=0.0).cal[0] for i in range(2000)]
    counts = np.bincount(chosen, minlength=4)
    assert ((counts - 500) ** 2 / 500).sum() < 21.1  # chi-squared, 3 degrees of freedom, 0.0001


def test_no_texts() -> None:
    parted = split([])
    assert [len(x) for x in (parted.fit, parted.cal, parted.cal_all, parted.groups)] == [0, 0, 0, 0]
