"""The circuit breaker against what it says of itself: when it opens, for how long, and one probe a window."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.hosts.breaker import BASE, MOST, Breaker

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ok", "ok", "bad", "bad", "4xx", "left", "429", "429?"]),
        st.sampled_from([0.0, 0.3, 1.0, 4.0, 31.0, 400.0]),
    ),
    max_size=120,
)


def test_five_in_a_row_open_it_for_thirty_seconds_then_sixty() -> None:
    breaker, now = Breaker(), 100.0
    for _ in range(4):
        breaker.failed(breaker.ask(now), now)
    assert breaker.closed
    breaker.failed(breaker.ask(now), now)
    assert breaker.state(now) == "open"
    assert breaker.rests(now) == BASE
    assert breaker.ask(now + BASE - 0.01) == 0
    probe = breaker.ask(now + BASE)
    assert probe
    assert breaker.ask(now + BASE) == 0
    breaker.failed(probe, now + BASE)
    assert breaker.rests(now + BASE) == 2 * BASE


def test_waits_grow_to_five_minutes_and_a_good_answer_forgets_them() -> None:
    breaker, now, waits = Breaker(), 0.0, []
    for _ in range(5):
        breaker.failed(breaker.ask(now), now)
    for _ in range(14):
        waits.append(breaker.rests(now))
        now += breaker.rests(now)
        breaker.failed(breaker.ask(now), now)
    assert waits == [min(BASE * n, MOST) for n in range(1, 15)]
    now += breaker.rests(now)
    breaker.succeeded(breaker.ask(now), now)
    assert breaker.closed
    for _ in range(5):
        breaker.failed(breaker.ask(now), now)
    assert breaker.rests(now) == BASE


def test_more_than_half_of_twenty_open_it() -> None:
    def after(failures: int, calls: int) -> Breaker:
        breaker = Breaker()
        bad = 0
        for i in range(calls):  # spread out, so that no five stand in a row
            said = breaker.ask(1.0)
            if (i + 1) * failures // calls > bad:
                bad += 1
                breaker.failed(said, 1.0)
            else:
                breaker.succeeded(said, 1.0)
        return breaker

    assert after(10, 20).closed
    assert not after(11, 20).closed
    assert after(10, 19).closed


def test_what_was_ten_seconds_ago_is_forgotten() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(breaker.ask(0.0), 0.0)
        breaker.succeeded(breaker.ask(0.0), 0.0)
    for _ in range(9):
        breaker.failed(breaker.ask(11.0), 11.0)
        breaker.succeeded(breaker.ask(11.0), 11.0)
    breaker.failed(breaker.ask(11.0), 11.0)
    assert breaker.closed, "10 of 19 in this window"


@pytest.mark.parametrize(("asked", "rests"), [(7.0, 7.0), (0.5, 0.5), (86_400.0, MOST)])
def test_retry_after_opens_it_for_exactly_that_time(asked: float, rests: float) -> None:
    breaker = Breaker()
    breaker.limited(breaker.ask(50.0), 50.0, asked)
    assert breaker.rests(50.0) == rests
    assert breaker.by_limit
    assert breaker.ask(50.0 + rests)


def test_the_longest_of_several_asked_for_times_holds() -> None:
    breaker = Breaker()
    first, second, third = breaker.ask(0.0), breaker.ask(0.0), breaker.ask(0.0)
    breaker.limited(first, 0.0, 5.0)
    breaker.limited(second, 1.0, 9.0)
    breaker.limited(third, 1.0, 1.0)
    assert breaker.rests(1.0) == 9.0


def test_a_call_from_before_changes_nothing() -> None:
    breaker = Breaker()
    old = [breaker.ask(0.0) for _ in range(10)]
    for said in old[:5]:
        breaker.failed(said, 0.0)
    breaker.failed(old[5], 1.0)
    breaker.succeeded(old[6], 1.0)
    breaker.answered(old[7])
    assert breaker.rests(0.0) == BASE


def test_a_probe_that_takes_longer_than_its_window_still_closes_it() -> None:
    breaker = Breaker()
    breaker.limited(breaker.ask(0.0), 0.0, 1.0)
    probe, other = breaker.ask(1.0), breaker.ask(2.5)
    assert probe
    assert other
    breaker.succeeded(probe, 3.0)
    assert breaker.closed


@given(STEPS)
def test_it_does_what_the_rule_says(steps: list[tuple[str, float]]) -> None:
    """Against the rule written out plainly, call by call."""
    breaker, now = Breaker(), 1000.0
    seen: deque[tuple[int, bool]] = deque()
    row = n = 0
    until: float | None = None  # open until then
    wait = 0.0
    for what, passed in steps:
        now += passed
        said = breaker.ask(now)
        assert bool(said) == (until is None or now >= until), (what, now, until)
        if not said:
            continue
        if until is not None:
            until = now + wait
            assert breaker.ask(now) == 0, "one probe a window"
        opens = 0.0
        match what:
            case "ok" | "4xx" if until is not None:
                until, row, n = None, 0, 0
                seen.clear()
                breaker.succeeded(said, now) if what == "ok" else breaker.answered(said)
            case "ok":
                row = 0
                seen.append((int(now), True))
                breaker.succeeded(said, now)
            case "4xx":
                breaker.answered(said)
            case "429":
                opens = 17.0
                breaker.limited(said, now, opens)
            case "bad" | "429?":
                row += 1
                seen.append((int(now), False))
                last = [ok for at, ok in seen if at > int(now) - 10]
                many = len(last) >= 20 and last.count(False) * 2 > len(last)
                if until is not None or row >= 5 or many:
                    n += 1
                    opens = min(30.0 * n, 300.0)
                breaker.failed(said, now) if what == "bad" else breaker.limited(said, now, None)
        if opens:
            until, wait, row = now + opens, opens, 0
            seen.clear()
        assert breaker.closed == (until is None)


@given(st.lists(st.tuples(st.floats(0, 40), st.booleans()), max_size=200))
def test_never_more_than_one_probe_a_window(steps: list[tuple[float, bool]]) -> None:
    """Of a host that never answers well, whatever becomes of its probes."""
    breaker, now = Breaker(), 0.0
    for _ in range(5):
        breaker.failed(breaker.ask(now), now)
    ends = breaker.rests(now)
    for passed, reported in steps:
        now += passed
        said = breaker.ask(now)
        if said:
            assert now >= ends
            if reported:
                breaker.failed(said, now)
            ends = now + breaker.rests(now)
            assert ends >= now + BASE
