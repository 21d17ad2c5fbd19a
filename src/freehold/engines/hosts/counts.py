"""What is known of a host since the start, for /health."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Counts"]


@dataclass(slots=True)
class Counts:
    """`calls` are tries that went out; of them `failures` by the host (`why` says of which kind), `retries` on the same
    host after a failure and `fail_overs` from another one. `interrupted` broke off after content, `left` were
    left by the client or its deadline."""

    calls: int = 0
    failures: int = 0
    retries: int = 0
    fail_overs: int = 0
    interrupted: int = 0
    left: int = 0
    why: dict[str, int] = field(default_factory=dict)

    def failed(self, why: str) -> None:
        self.failures += 1
        self.why[why] = self.why.get(why, 0) + 1
