"""How much of its work a new student may do: shadow, canary, full. Pure.

    shadow ──→ canary 1 % ──→ 5 % ──→ 25 % ──→ full        each arrow a test of its own, on the pairs since the last one
       └──────────┴───────────┴────────┴────────┴──→ closed   by the monitor; only a later verdict opens again

A pair is the student's answer beside the upstream's, on a call that the student would have kept. At the share s of
users a student that agrees only in p of its answers gives s · (bar − p) more wrong ones than its promise allows. A step
to s must show that this is no more than a tenth of the promise's own wrong answers:

    s · (bar − p) <= (1 − bar) / 10,  that is  p > p0(s) = bar − (1 − bar) / (10 s)

by a bet against p <= p0: the mean of likelihood ratios (Waudby-Smith and Ramdas 2024) must reach 1 / level. The level
of .05 is shared by the steps, and holds whenever one looks. A student right at its bar gets through them all, in time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

__all__ = ["LEAST", "LEVEL", "Name", "Stage", "evidence", "who"]

Name = Literal["shadow", "canary", "full", "closed"]
LEVEL = 0.05  # of all steps together: the chance that a student goes up that should not
LEAST = 20  # pairs that a step takes at least: that the student answers real calls at all
TOLERANCE = 0.1  # of the wrong answers that the promise allows: what a step may add to them
GAPS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)  # (1 - p) / (1 - p0) of each bet
WORDS = 2**64


class Stage:
    """Where one rung stands. `share` is the share of users (or conversations) that it answers: 0 in shadow, 1 in full.

    `steps` are the shares between the two, rising. `salt` makes who is in differ from rung to rung: the student's
    sha256. `why` says in words how it came to be there.
    """

    def __init__(
        self, bar: float, steps: Sequence[float] = (), *, salt: str = "", share: float = 0.0, why: str = ""
    ) -> None:
        assert 0.0 < bar < 1.0, bar
        assert all(0.0 < step < 1.0 for step in steps), steps
        self.bar = bar
        self.steps = tuple(steps)
        self.salt = salt
        self.why = why
        self.agree = 0
        self.differ = 0
        self._closed = False
        below = [step for step in self.steps if step <= share]
        self._reached = 1.0 if share >= 1.0 else max(below, default=0.0)  # a step that is no more: the one below it

    @property
    def share(self) -> float:
        return 0.0 if self._closed else self._reached

    @property
    def name(self) -> Name:
        if self._closed:
            return "closed"
        return "full" if self._reached >= 1.0 else "canary" if self._reached else "shadow"

    def __str__(self) -> str:
        return f"canary at {self.share:.4g}" if self.name == "canary" else self.name

    @property
    def next(self) -> float:
        """The share of the next step."""
        return min((step for step in self.steps if step > self._reached), default=1.0)

    @property
    def least(self) -> float:
        """The agreement that the next step must be shown to exceed; 0 where it takes only that the student answers."""
        return max(0.0, self.bar - TOLERANCE * (1.0 - self.bar) / self.next)

    @property
    def level(self) -> float:
        """The level of one step."""
        return LEVEL / (len(self.steps) + 1)

    def at(self, who: str) -> bool:
        """Whether calls of `who` are answered by the student. Who is in at one share is in at every larger one."""
        share = self.share
        if share <= 0.0 or share >= 1.0:
            return share >= 1.0
        digest = hashlib.blake2b(f"{self.salt}\0{who}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") / WORDS < share

    def made(self, name: str, share: float | None) -> bool:
        """Whether a pair that was made at that stage was made at this very step. `share` is None where nobody wrote it
        down: then only a pair of the shadow can be told apart."""
        return name == self.name and (share == self.share or (share is None and name == "shadow"))

    def pair(self, agrees: bool) -> str | None:
        """One pair. Returns the reason of a step up, once it is taken; `share` is then the new one."""
        self.remember(agrees)
        if self.name in ("full", "closed") or not self._shown():
            return None
        why = f"{self.agree + self.differ:,} pairs, {self.differ:,} differ"
        if self.least:
            why += f": P(agreement > {self.least:.4g}) >= {1 - self.level:.4g}"
        self.move(self.next, why)
        return why

    def remember(self, agrees: bool) -> None:
        """A pair of an earlier run: it counts, and moves nothing by itself."""
        self.agree += agrees
        self.differ += not agrees

    def move(self, share: float, why: str) -> None:
        """Go to `share`, as another process did, or the evidence says. The pairs count from here on."""
        self._reached, self.why = share, why
        self.agree = self.differ = 0

    def close(self) -> None:
        self._closed = True

    def _shown(self) -> bool:
        if self.agree + self.differ < LEAST:
            return False
        return evidence(self.agree, self.differ, self.least) >= -math.log(self.level)


def evidence(agree: int, differ: int, least: float) -> float:
    """The logarithm of what a bet against "agreement is at most `least`" has made of 1: at any time, and however that
    is chosen, it exceeds log(1 / a) with a chance of at most a where agreement is at most `least` given the pairs
    before."""
    if least <= 0.0:
        return math.inf
    logs = [agree * up + differ * down for up, down in _odds(least)]
    most = max(logs)
    return most + math.log(sum(math.exp(log - most) for log in logs) / len(logs))


@lru_cache(64)
def _odds(least: float) -> tuple[tuple[float, float], ...]:
    """Of each bet: the logarithms of what it makes of 1 where the answers agree, and where they differ."""
    return tuple((math.log((1.0 - (1.0 - least) * gap) / least), math.log(gap)) for gap in GAPS)


def who(body: Mapping[str, Any], by: str = "user", key: str = "") -> str:
    """Whose call this is, for a share that sticks. By "user": the request's `user`, else the client key's name `key`,
    else the conversation; by "conversation": its messages up to the first of the user."""
    user = body.get("user")
    if by == "user" and isinstance(user, str) and user:
        return f"user {user}"
    if by == "user" and key:
        return f"key {key}"
    messages = body.get("messages")
    head: list[Any] = []
    for message in messages if isinstance(messages, list) else []:
        head.append(message)
        if isinstance(message, dict) and message.get("role") == "user":
            break
    return "conversation " + hashlib.blake2b(_plain(head), digest_size=16).hexdigest()


def _plain(messages: list[Any]) -> bytes:
    """The same bytes for the same messages, whatever the order of their fields."""
    return repr(_sorted(messages)).encode("utf-8", "surrogatepass")


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((str(key), _sorted(one)) for key, one in value.items())
    return [_sorted(one) for one in value] if isinstance(value, list) else value
