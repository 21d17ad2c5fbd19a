"""The parity table of an exported student: what each format lost against the tuned model, as `shrink` measured it.

    parity.json  {"taken": "Q8_0", "rows": 100, "float32": {"same_ids": 100, "largest_logit_difference": 4e-4, ...},
                  "formats": [{"format": "Q4_K_M", "bytes": 135e6, "passed": false, "why": "mean KL ...", "kl": M,
                               "p99": 0.13, "top1": M, "equal": M, "agreement": M, "example": "..."}, ...],
                  "served": {"same_ids": 100, "equal": M, "agreement": M}}                       M: a Measure

    -> Parity(lines=(Line(format="Q4_K_M", bytes=135e6, outcome="refused", why="mean KL ...", kl=M, ...), ...),
              said=("The GGUF in float32 moves a logit by at most 4.0e-04 at 1,080 positions; ...", ...))

Figures only: an example that differs is a user's text, and stays in the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from freehold.nouns import Measure

__all__ = ["Line", "Parity", "parity"]

EXACT = "F32"


class Line(msgspec.Struct, frozen=True):
    """One format, as the file has it. `outcome` is told by the whole table: taken, passes, refused or reference."""

    format: str
    bytes: int
    passed: bool
    why: str
    kl: Measure
    p99: float
    top1: Measure
    equal: Measure
    agreement: Measure
    outcome: str = ""

    @property
    def megabytes(self) -> float:
        return self.bytes / 1e6


@dataclass(frozen=True, slots=True)
class Parity:
    lines: tuple[Line, ...]
    said: tuple[str, ...]

    @property
    def shares(self) -> tuple[tuple[str, int], ...]:
        """The columns that are shares, and of how many positions or rows."""
        top1, equal, agreement = (
            max((getattr(one, name).n for one in self.lines), default=0) for name in ("top1", "equal", "agreement")
        )
        return ("same top token", top1), ("same answers", equal), ("agreement", agreement)


class _Exact(msgspec.Struct):
    same_ids: int
    largest_logit_difference: float
    positions: int


class _Served(msgspec.Struct):
    equal: Measure
    agreement: Measure


class _File(msgspec.Struct):
    taken: str
    formats: list[Line]
    float32: _Exact
    served: _Served


def parity(data: bytes) -> Parity | None:
    """From the bytes of parity.json; None where they are no such table."""
    try:
        file = msgspec.json.decode(data, type=_File)
    except msgspec.MsgspecError:
        return None
    exact = (
        f"The GGUF in float32 moves a logit by at most {file.float32.largest_logit_difference:.1e} at "
        f"{file.float32.positions:,} positions; {file.float32.same_ids:,} texts give the same token ids."
    )
    served = f"As served, the same answers as measured: {file.served.equal}; agreement {file.served.agreement}."
    return Parity(tuple(_line(one, file.taken) for one in file.formats), (exact, served))


def _line(one: Line, taken: str) -> Line:
    passed = "reference" if one.format == EXACT else "passes"
    outcome = "taken" if one.format == taken else passed if one.passed else "refused"
    return msgspec.structs.replace(one, outcome=outcome)
