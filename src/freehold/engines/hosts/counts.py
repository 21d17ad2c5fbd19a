"""What is known of a host since the start, for /health and metrics."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

__all__ = ["FIRST", "Counts"]

FIRST = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0)
"""Upper bounds, in seconds, of the buckets of `Counts.first`; one more bucket holds what took longer."""


@dataclass(slots=True)
class Counts:
    """`calls` are tries that went out; of them `failures` by the host (`why` says of which kind), `retries` on the same
    host after a failure and `fail_overs` from another one. `interrupted` broke off after content, `limited` were 429,
    `left` were left by the client or its deadline. `first` counts seconds to the first content by FIRST (a whole
    answer: all of it), with their sum."""

    calls: int = 0
    failures: int = 0
    retries: int = 0
    fail_overs: int = 0
    interrupted: int = 0
    limited: int = 0
    left: int = 0
    why: dict[str, int] = field(default_factory=dict)
    first: list[int] = field(default_factory=lambda: [0] * (len(FIRST) + 1))
    first_sum: float = 0.0

    def failed(self, why: str) -> None:
        self.failures += 1
        self.why[why] = self.why.get(why, 0) + 1

    def content(self, seconds: float) -> None:
        self.first[bisect_left(FIRST, seconds)] += 1
        self.first_sum += seconds
