"""Near-duplicates against every pair compared."""

from __future__ import annotations

import random
import time
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.traffic import near_duplicates, normalise

from .conftest import Pair


def brute(texts: list[str]) -> list[int]:
    """Single linkage over all pairs with Jaccard >= 9/10, numbered by first appearance."""
    sets = [set(normalise(text).split(" ")) for text in texts]
    group = list(range(len(sets)))
    for i in range(len(sets)):
        for j in range(i):
            if Fraction(len(sets[i] & sets[j]), len(sets[i] | sets[j])) >= Fraction(9, 10):
                old, new = group[i], group[j]
                group = [new if g == old else g for g in group]
    seen: dict[int, int] = {}
    return [seen.setdefault(g, len(seen)) for g in group]


few_words = st.lists(st.sampled_from("abcdefghijklmn"), max_size=16).map(" ".join)


@given(st.lists(few_words, max_size=25))
@settings(max_examples=200)
def test_the_same_groups_as_all_pairs(texts: list[str]) -> None:
    assert near_duplicates(texts).tolist() == brute(texts)


def test_the_same_groups_as_all_pairs_on_long_texts() -> None:
    chance = random.Random(1)
    words = [f"w{i}" for i in range(60)]
    base = [chance.sample(words, k=size) for size in (10, 19, 20, 40, 50) for _ in range(6)]
    texts = []
    for words_of in base:
        for changes in (0, 1, 2, 4):
            edited = [w for i, w in enumerate(words_of) if i >= changes] + [
                f"x{chance.random()}" for _ in range(changes // 2)
            ]
            texts.append(" ".join(edited))
    chance.shuffle(texts)
    found = near_duplicates(texts)
    assert found.tolist() == brute(texts)
    assert 20 < len(set(found.tolist())) < len(texts)


def test_case_punctuation_order_and_spacing_do_not_matter() -> None:
    texts = ["Where is my card?", "where is  MY card", "my card, where is", "what is my card", "", "  ", "???", "!!!"]
    assert near_duplicates(texts).tolist() == [0, 0, 0, 1, 2, 2, 3, 4]


def test_nine_of_ten_words_is_the_limit() -> None:
    ten = "one two three four five six seven eight nine ten"
    assert near_duplicates([ten, ten.removesuffix(" ten")]).tolist() == [0, 0]  # 9 / 10
    assert near_duplicates([ten, ten.replace("ten", "eleven")]).tolist() == [0, 1]  # 9 / 11


def test_no_texts() -> None:
    assert near_duplicates([]).shape == (0,)


def test_a_real_log_in_seconds(utterances: list[Pair]) -> None:
    texts = [text for text, _ in utterances]
    started = time.process_time()
    groups = near_duplicates(texts)
    assert time.process_time() - started < 3.0
    assert 5800 < len(np.unique(groups)) < 6000
    assert near_duplicates(texts[:400]).tolist() == brute(texts[:400])


def test_worst_cases_stay_bounded() -> None:
    chance = random.Random(2)
    started = time.process_time()
    assert len(np.unique(near_duplicates(["the same text"] * 50_000))) == 1
    assert len(np.unique(near_duplicates(["one " * 200_000, "two " * 200_000, "one"]))) == 2
    small = [f"w{i}" for i in range(20)]
    near_duplicates([" ".join(chance.sample(small, 10)) for _ in range(10_000)])  # nearly all pairs share rare words
    letter = " ".join(f"fixed{i}" for i in range(40))
    assert len(np.unique(near_duplicates([f"{letter} a{i} b{i}" for i in range(5000)]))) == 1  # all pairs qualify
    long = [f"w{i}" for i in range(20_000)]
    near_duplicates([" ".join(chance.sample(long, 5000)) for _ in range(30)])
    assert time.process_time() - started < 15.0
