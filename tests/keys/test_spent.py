"""keys.spent: money put aside and spent, by many workers at once, killed ones, and clocks that jump (G29, G35)."""

from __future__ import annotations

import fcntl
import math
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import ArtifactDamaged, StorageFailed
from freehold.keys.clock import HOUR
from freehold.keys.spent import SLOTS, Account, Rate, Spent, peek

DAY = 86_400.0
YEAR = 365.25 * DAY
NOON = 20_000 * DAY + DAY / 2  # 2024-10-04
WEB = Account("web", day=1.0)


@dataclass
class Clocks:
    at: float = NOON
    steady: float = 1000.0

    def passes(self, seconds: float) -> None:
        self.at += seconds
        self.steady += seconds

    def open(self, path: Path) -> Spent:
        return Spent(path, wall=lambda: self.at, steady=lambda: self.steady)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.spent"


def left(spent: Spent, account: Account = WEB) -> bool:
    """Whether a cent may still be put aside."""
    held = spent.reserve([account], 0.01)
    if held is not None:
        held.cancel()
    return held is not None


def test_what_is_put_aside_is_spent_or_free_again(path: Path) -> None:
    spent = Spent(path)
    held = spent.reserve([WEB], 0.6)
    assert held is not None
    assert spent.reserve([WEB], 0.6) is None
    held.settle(0.25)
    held.settle(0.25)
    held.cancel()
    assert spent.read("web") == (0.25, 0.25, 0.0)
    second = spent.reserve([WEB], 0.6)
    assert second is not None
    second.cancel()
    third = spent.reserve([WEB], 0.75)
    assert third is not None
    third.settle()
    assert spent.read("web") == (1.0, 1.0, 0.0)
    assert spent.reserve([WEB], 0.000001) is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_further_cost_counts_though_nothing_was_put_aside_for_it(path: Path) -> None:
    spent = Spent(path)
    held = spent.reserve([WEB], 0.5)
    assert held is not None
    held.charge(0.3)
    held.settle(0.2)
    spent.charge(["web"], 0.1)
    assert spent.read("web")[0] == pytest.approx(0.6)


def test_the_smallest_cost_is_not_lost_by_rounding(path: Path) -> None:
    spent = Spent(path)
    for _ in range(10):
        spent.charge(["web"], 4e-10)
    assert spent.read("web")[0] == 10e-9


def test_a_budget_above_holds_too_and_nothing_is_put_aside_by_halves(path: Path) -> None:
    spent = Spent(path)
    boss = Account("boss", day=1.5)
    first = spent.reserve([Account("a", day=1.0), boss], 1.0)
    assert first is not None
    assert spent.reserve([Account("b", day=1.0), boss], 1.0) is None
    assert spent.read("b") == (0.0, 0.0, 0.0)
    first.settle(0.4)
    assert spent.read("boss")[0] == pytest.approx(0.4)
    assert spent.reserve([Account("b", day=1.0), boss], 1.0) is not None


def test_a_restart_forgets_nothing_but_what_was_put_aside(path: Path) -> None:
    first = Spent(path)
    first.charge(["web"], 0.7)
    assert first.reserve([WEB], 0.2) is not None
    first.close()
    again = Spent(path)
    assert again.read("web") == (0.7, 0.7, 0.0)
    assert again.reserve([WEB], 0.4) is None


def test_two_hundred_calls_at_the_last_cent(path: Path) -> None:
    """With fail-over: each try costs as much as was put aside for the call. Two processes' views, eight threads."""
    views = [Spent(path), Spent(path)]
    views[0].charge(["web"], 0.99)
    through: list[float] = []
    barrier = threading.Barrier(8)

    def work(view: Spent) -> None:
        barrier.wait()
        for _ in range(25):
            held = view.reserve([WEB], 0.003)
            if held is not None:
                held.charge(0.001)  # the first upstream failed, and bills its prompt
                held.settle(0.002)
                through.append(0.003)

    threads = [threading.Thread(target=work, args=(views[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    today, _, waiting = views[0].read("web")
    assert waiting == 0.0
    assert len(through) == 3
    assert today == pytest.approx(0.99 + sum(through))
    assert today <= 1.0 + 0.003


MANY = """
import sys
from pathlib import Path
from freehold.keys.spent import Account, Spent
spent, through = Spent(Path(sys.argv[1])), 0
for _ in range(2000):
    held = spent.reserve([Account("web", day=1.0)], 0.001)
    if held is not None:
        held.settle(0.001)
        through += 1
print(through)
"""


def test_two_processes_share_one_budget_to_the_last_call(path: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", MANY, path], stdout=subprocess.PIPE) for _ in range(2)]
    through = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(through) == 1000
    assert Spent(path).read("web") == (1.0, 1.0, 0.0)


DYING = """
import os, signal, sys
from pathlib import Path
from freehold.keys.spent import Account, Spent
spent = Spent(Path(sys.argv[1]))
assert spent.reserve([Account("web", day=1.0)], 0.9)
spent.charge(["web"], 0.05)
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_worker_frees_what_it_had_put_aside_and_no_more(path: Path) -> None:
    """Seen by a worker that lives on, and by one that starts."""
    living = Spent(path)
    own = living.reserve([WEB], 0.04)
    assert own is not None
    killed = subprocess.run([sys.executable, "-c", DYING, path], capture_output=True, check=False, timeout=60)
    assert killed.stdout == b"ready\n"
    assert living.read("web")[2] == pytest.approx(0.94)
    assert living.reserve([WEB], 0.9) is not None
    assert living.read("web") == (0.05, 0.05, 0.94)


def test_what_a_living_worker_has_put_aside_is_never_freed(path: Path) -> None:
    clocks = Clocks()
    first, second = clocks.open(path), clocks.open(path)
    assert first.reserve([WEB], 0.9) is not None
    for _ in range(5):
        assert second.reserve([WEB], 0.2) is None
        clocks.passes(2.0)
    assert second.read("web")[2] == 0.9


def test_places_are_given_back_and_end(path: Path) -> None:
    many = [Spent(path) for _ in range(SLOTS)]
    with pytest.raises(StorageFailed, match="64 processes"):
        Spent(path)
    many[7].close()
    Spent(path)


def test_it_grows_and_other_workers_see_it(path: Path) -> None:
    first, second = Spent(path), Spent(path)
    for number in range(600):
        (first if number % 3 else second).charge([f"key-{number}"], number / 1000)
    for number in range(600):
        assert second.read(f"key-{number}")[0] == pytest.approx(number / 1000)
        assert first.read(f"key-{number}")[0] == pytest.approx(number / 1000)
    assert len(peek(path)) == 600


def test_a_new_day_has_a_new_budget_and_the_month_goes_on(path: Path) -> None:
    clocks = Clocks()
    spent = clocks.open(path)
    account = Account("web", day=1.0, month=1.5)
    spent.charge(["web"], 1.0)
    assert not left(spent, account)
    clocks.passes(DAY)
    assert left(spent, account)
    spent.charge(["web"], 0.5)
    assert spent.read("web")[:2] == (0.5, 1.5)
    assert not left(spent, account)
    clocks.passes(31 * DAY)
    assert spent.read("web") == (0.0, 0.0, 0.0)
    assert left(spent, account)


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR, -3600.0, 86_400.0, -86_400.0])
def test_a_jump_of_the_clock_gives_no_second_budget(path: Path, jump: float) -> None:
    clocks = Clocks()
    spent = clocks.open(path)
    spent.charge(["web"], 1.0)
    clocks.at += jump
    assert not left(spent)
    clocks.passes(HOUR / 2)
    assert not left(spent)
    assert not left(clocks.open(path)), "nor does a restart"
    clocks.at -= jump
    assert not left(spent)
    clocks.passes(DAY)
    assert left(spent), "and a day later there is a new one"


def test_a_small_step_back_over_midnight_gives_no_second_budget(path: Path) -> None:
    clocks = Clocks(at=20_001 * DAY + 60)
    spent = clocks.open(path)
    spent.charge(["web"], 1.0)
    clocks.at -= 180
    assert not left(spent)
    clocks.passes(240)
    assert not left(spent)


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR])
def test_a_clock_that_stays_wrong_takes_no_budget_away(path: Path, jump: float) -> None:
    """Every day has one budget, whatever its date is taken to be."""
    clocks = Clocks()
    spent = clocks.open(path)
    given = 0
    for hour in range(24 * 6):
        if hour == 30:
            clocks.at += jump
        clocks.passes(HOUR)
        if (held := spent.reserve([WEB], 1.0)) is not None:
            held.settle()
            given += 1
    clocks.at -= jump
    for _ in range(24 * 6):
        clocks.passes(HOUR)
        if (held := spent.reserve([WEB], 1.0)) is not None:
            held.settle()
            given += 1
    assert 12 <= given <= 14  # twelve days, the first not whole; a jump forward that lasts is a new day once


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["reserve", "settle", "cancel", "charge", "hour", "jump"]), st.integers(0, 400)),
        max_size=60,
    )
)
def test_no_day_is_overspent(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    """Whatever is done in whatever order, and whatever the clock says: money put aside is never more than what is left
    of the budget, and only charges pass it."""
    clocks = Clocks()
    spent = clocks.open(tmp_path_factory.mktemp("spent") / "keys.spent")
    held = []
    for what, number in steps:
        usd = number / 1000
        if what == "reserve":
            today, _, waiting = spent.read("web")
            one = spent.reserve([WEB], usd)
            assert (one is not None) == (today + waiting + usd <= 1.0 + 1e-12)
            held += [one] if one else []
        elif what == "settle" and held:
            one = held.pop(number % len(held))
            one.settle(min(usd, one.usd))
        elif what == "cancel" and held:
            held.pop(number % len(held)).cancel()
        elif what == "charge":
            spent.charge(["web"], usd)
        elif what == "hour":
            clocks.passes(HOUR)
        elif what == "jump":
            clocks.at += (number - 200) * DAY
        today, month, waiting = spent.read("web")
        assert waiting == pytest.approx(sum(one.usd for one in held), abs=1e-9)
        assert 0 <= today <= month + 1e-9


def test_a_rate_is_shared_by_workers_and_refills(path: Path) -> None:
    clocks = Clocks()
    views = [clocks.open(path), clocks.open(path)]
    took = [views[n % 2].take([Rate("web", calls=60)], 1, 0) for n in range(61)]
    assert took[:60] == [0.0] * 60
    assert took[60] == pytest.approx(1.0)
    clocks.passes(1.0)
    assert views[0].take([Rate("web", calls=60)], 1, 0) == 0.0
    assert views[1].take([Rate("web", calls=60)], 1, 0) > 0.0
    clocks.at -= 10 * YEAR
    assert views[1].take([Rate("web", calls=60)], 1, 0) > 0.0
    clocks.steady += 600
    assert sum(views[0].take([Rate("web", calls=60)], 1, 0) == 0.0 for _ in range(200)) == 60, (
        "a rest saves up no more than a minute"
    )


def test_tokens_that_were_not_used_go_back(path: Path) -> None:
    spent = Clocks().open(path)
    assert spent.take([Rate("web", tokens=1000)], 0, 900) == 0.0
    assert spent.take([Rate("web", tokens=1000)], 0, 900) == pytest.approx(48.0)
    spent.give_back([Rate("web", tokens=1000)], 850)
    assert spent.take([Rate("web", tokens=1000)], 0, 900) == 0.0
    assert spent.take([Rate("web", tokens=1000)], 0, 1001) == math.inf


@pytest.mark.parametrize("data", [b"nonsense", b"FHSPENT1", b"FHSPENT2" + b"\0" * 632, b"FHSPENT1" + b"\xff" * 1272])
def test_a_damaged_file_is_one_sentence(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ArtifactDamaged, match="damaged"):
        Spent(path)


def test_peek_says_what_the_workers_say(path: Path) -> None:
    assert peek(path) == {}
    clocks = Clocks()
    spent = clocks.open(path)
    spent.charge(["web"], 0.5)
    assert peek(path, lambda: clocks.at) == {"web": (0.5, 0.5)}
    assert peek(path, lambda: clocks.at + DAY) == {"web": (0.0, 0.5)}
    assert peek(path, lambda: clocks.at - YEAR) == {"web": (0.5, 0.5)}


def test_a_rate_of_several_keys_is_counted_in_all_or_in_none(path: Path) -> None:
    """A child's calls count against its parent: minting keys makes no further calls."""
    spent = Clocks().open(path)
    for child in ("a", "b"):
        assert spent.take([Rate(child, calls=2), Rate("boss", calls=2)], 1, 0) == 0.0
    assert spent.take([Rate("c", calls=2), Rate("boss", calls=2)], 1, 0) == pytest.approx(30.0)
    assert [spent.take([Rate("c", calls=2)], 1, 0) for _ in range(2)] == [0.0, 0.0], "what was refused counts nowhere"


def test_a_lock_that_is_held_keeps_nobody_long_and_what_was_spent_is_counted_later(path: Path) -> None:
    spent = Clocks().open(path)
    held = spent.reserve([Account("web", day=5.0)], 1.0)
    assert held is not None
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(StorageFailed, match="Another process holds"):
            spent.reserve([Account("web", day=5.0)], 1.0)
        held.settle(0.25)
        assert time.monotonic() - began < 0.9, "the event loop stands still meanwhile"
    spent.sync()
    assert spent.read("web") == (0.25, 0.25, 0.0)
