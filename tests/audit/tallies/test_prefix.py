"""Prefix blocks: a trace whose figure is known, prompts by hand, a sample beside the truth, every cut."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from freehold import wire
from freehold.audit.tallies import prefix
from freehold.audit.tallies.eyes import names_of
from freehold.audit.tallies.prefix import PrefixTally
from freehold.audit.tallies.tally import Seen
from freehold.nouns import Call, Tokens
from freehold.traffic.formats import columns

from .cuts import check_cuts, counted


def asked(*texts: str, model: str = "m", **params: object) -> list[Seen]:
    calls = [Call(({"role": "user", "content": text},), model, dict(params)) for text in texts]
    return [Seen(call, (0, n)) for n, call in enumerate(calls)]


def share(seen: list[Seen]) -> float | None:
    tally = PrefixTally()
    tally.add(seen)
    return tally.share().value


def test_the_mooncake_trace(shared: Path) -> None:
    path = shared / "data" / "traces" / "mooncake-conversation" / "conversation_trace.jsonl.gz"
    with gzip.open(path) as file:
        rows = [row for line in file for row in columns.rows(json.loads(line))]
    seen = [Seen(call, (0, n), tokens=call.tokens) for n, call in enumerate(map(wire.call_from_row, rows))]
    found = counted(PrefixTally, seen[5000:], seen[:5000]).share()
    assert round(100 * (found.value or 0), 2) == 36.64
    assert (found.n, found.low) == (288_500, None)
    assert "as the log numbers them" in found.method


def test_by_hand() -> None:
    head = "h" * 250  # with "user\n" before it and one more letter: a block of 256 characters
    one, other = head + "a" + "x" * 256, head + "a" + "y" * 256
    assert share(asked(one, other)) == 1 / 4  # the first block of the second prompt
    assert share(asked(one, one)) == 2 / 4
    assert share(asked("q" + one[1:], one)) == 0  # an equal block after a different one is not held
    assert share([*asked(one), *asked(one, model="n")]) == 0
    assert share([*asked(one), *asked(one, tools=[{"type": "function"}])]) == 0
    assert share(asked("")) == 0  # "user" alone is a prompt, if a short one
    assert share([Seen(Call(({"role": "user", "content": None},)), (0, 0))]) is None


def test_text_beyond_ascii_is_cut_alike() -> None:
    assert share(asked("é" * 500, "é" * 500)) == 0.5
    assert share(asked("é" * 251 + "a", "é" * 251 + "b")) == 1 / 4
    assert share(asked("\ud800" * 300, "\ud800" * 300)) == 0.5


def test_what_is_remembered_of_a_request_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "REMEMBERED", 3)
    monkeypatch.setattr(prefix, "LONGEST", 8)
    texts = ["a" * (100 + 600 * (i % 7)) for i in range(40)]
    unnamed = [*asked(*texts), *asked(*texts, model="n"), *asked(*texts, hash_ids=[1, 2])]
    named = [Seen(one.call, one.order, key=names_of(one.call)[1]) for one in unnamed]
    assert counted(PrefixTally, named, named) == counted(PrefixTally, unnamed, unnamed)


def test_what_the_vendors_rule_would_have_held() -> None:
    long = "z" * (8 * 512 + 3 * 512)  # 1,408 tokens of 4 characters with its role: 1,024 and three steps of 128
    tally = PrefixTally()
    tally.add(asked(long, long, "short", "short"))
    tokens = 2 * (len("user\n" + long) // 4) + 2 * (len("user\nshort") // 4)
    assert tally.cacheable().value == pytest.approx((1024 + 3 * 128) / tokens)
    assert "OpenAI's rule" in tally.share().method
    logged = [Seen(Call(({"role": "user", "content": "a"},)), (0, 0), tokens=Tokens(100, 1, cached=25))]
    tally.add(logged)
    assert tally.logged().value == 0.25
    assert "25.0% were logged as cached" in tally.share().method


def test_every_cut_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(3)
    heads = ["".join(draw.choices("abc", k=300)) for _ in range(6)]
    seen = asked(*(draw.choice(heads) + draw.choice("xyz") * draw.randint(0, 700) for _ in range(80)))
    assert 0.2 < (check_cuts(PrefixTally, seen, PrefixTally.share).value or 0) < 0.9
    monkeypatch.setattr(prefix, "MOST", 20)
    sampled = check_cuts(PrefixTally, seen, lambda tally: (tally.share(), tally.cacheable(), tally.held))
    assert sampled[0].low is not None
    assert len(sampled[2]) <= 20


def test_a_sample_of_blocks_says_the_share_within_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "MOST", 100)
    inside = 0
    for turn in range(40):
        draw = random.Random(turn)
        seen = asked(*(f"{turn} {min(int(draw.paretovariate(0.7)), 10**6)} " + "t" * 600 for _ in range(900)))
        different = len({one.call.messages[0]["content"] for one in seen})
        tally = PrefixTally()
        tally.add(seen)
        found = tally.share()
        assert found.low is not None
        assert found.high is not None
        assert found.low <= (found.value or 0) <= found.high
        inside += found.low <= 1 - different / len(seen) <= found.high
    assert inside >= 34  # of 40, at 95 %: fewer has a chance of 1 in 1,000
