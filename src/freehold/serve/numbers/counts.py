"""What one worker has counted, as a noun that can be written to a file and added up.

Counts   series: (task, answered_by, why, status, model, finished) -> [calls, prompt tokens, completion tokens, saved
         USD, seconds, seconds to the first byte, seconds waited, then the buckets of these three]; and the rest
State    what other parts of the server count themselves
merged() snapshots of workers that are gone as one
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

__all__ = ["BOUNDS", "FIRST", "HEAD", "OWN", "SIZE", "WHOLE", "Counts", "Host", "Key", "RungState", "State", "merged"]

Key = tuple[str, str, str, str, str, str]  # task, answered_by, why, status, model, finished
OWN = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
FIRST = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
WHOLE = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
BOUNDS = tuple(sorted({*OWN, *FIRST, *WHOLE}))
"""Seconds, upper bounds: ours and vLLM's in one list, so that each histogram's own buckets are exact sums."""
SIZE = len(BOUNDS) + 1
HEAD = 7  # numbers of a series before its histograms: calls, prompt, completion, saved, seconds, first, waited


class RungState(msgspec.Struct, frozen=True):
    """One rung: its `stage` (shadow, canary, full), the `share` of its sure answers that go out, the evidence."""

    task: str
    open: bool
    stage: str = ""
    share: float = 1.0
    evidence: float = 0.0
    pairs: int = 0
    differ: int = 0


class Host(msgspec.Struct, frozen=True):
    """One upstream host, by its name in freehold.toml. `open`: its breaker lets nothing through."""

    name: str
    failures: int = 0
    retries: int = 0
    open: bool = False


class State(msgspec.Struct, frozen=True):
    """What other parts of the server count themselves, read when somebody asks."""

    waiting: int = 0
    rungs: tuple[RungState, ...] = ()
    hosts: tuple[Host, ...] = ()
    pairs_asked: int = 0
    pairs_lost: int = 0
    pairs_waiting: int = 0
    ledger_writable: bool = True
    ledger_lost: int = 0
    budget_refused: int = 0


class Counts(msgspec.Struct):
    """One worker's counts, as its snapshot holds them. `series`: key, then the numbers of a series."""

    series: list[tuple[Key, list[float]]] = []
    http: dict[int, int] = {}
    refused: dict[str, int] = {}
    running: int = 0
    lag: float = 0.0
    state: State = State()


def merged(many: Iterable[Counts]) -> Counts:
    """The sum of what they counted: of gauges (running, lag, how a rung stood) nothing is left."""
    total = Counts()
    series: dict[Key, list[float]] = {}
    hosts: dict[str, Host] = {}
    state = State()
    for one in many:
        for key, row in one.series:
            have = series.setdefault(key, [0] * len(row))
            for i, number in enumerate(row):
                have[i] += number
        for code, count in one.http.items():
            total.http[code] = total.http.get(code, 0) + count
        for word, count in one.refused.items():
            total.refused[word] = total.refused.get(word, 0) + count
        for host in one.state.hosts:
            had = hosts.get(host.name, Host(host.name))
            hosts[host.name] = Host(host.name, had.failures + host.failures, had.retries + host.retries)
        state = State(
            hosts=tuple(hosts.values()),
            pairs_asked=state.pairs_asked + one.state.pairs_asked,
            pairs_lost=state.pairs_lost + one.state.pairs_lost,
            ledger_lost=state.ledger_lost + one.state.ledger_lost,
            budget_refused=state.budget_refused + one.state.budget_refused,
        )
    total.series, total.state = list(series.items()), state
    return total
