"""What a person asks of a training: all that decides it beside the text itself.

Asked(minutes=10, moe=True, overrides={"layers": 4, "rate": "1e-3"})
    .key(corpus, start)   of the model that comes of it
    .run(corpus, start)   of the folder under work/: a run may go on with another rate
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec

from freehold.errors import BadSetting
from freehold.launch.job import PARALLEL, Parallel

__all__ = ["Asked"]

MINUTES = 10.0
MOST_TOKENS = 10**14  # more than any model that is known has read
MOST_THREADS = 1024
ELSEWHERE = ("parallel", "processes", "threads", "licences", "sources")  # a run may go on with more processes
CHANGED = ("rate", "warm", "schedule", "least", "decay", "betas", "clip", "dtype")


@dataclass(frozen=True, slots=True)
class Asked:
    """`minutes` on the clock of this machine, or `tokens` to learn from. `tokenizer`: bpe, characters, or a folder.
    `base`: a model that is trained on. `licences` and `sources`: of the parts, by path as given. `overrides`: of the
    fields of Shape and Plan, by name. `threads`: of each process (0: one, or more where they pay)."""

    minutes: float | None = None
    tokens: int | None = None
    moe: bool = False
    tokenizer: str = "bpe"
    vocabulary: int | None = None
    base: str | None = None
    text_field: str = "text"
    licences: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    parallel: Parallel = "none"
    processes: int = 1
    threads: int = 0
    seed: int = 0

    def checked(self) -> Asked:
        """Itself. Raises BadSetting for what can't be meant."""
        if self.minutes is not None and self.tokens is not None:
            raise BadSetting("Both minutes and tokens are given.", "Give one: the other follows.")
        if self.minutes is not None and not 0 < self.minutes < 1e6:
            raise BadSetting(f"minutes is {self.minutes:g}.", "Give minutes above 0.")
        if self.tokens is not None and not 1 <= self.tokens <= MOST_TOKENS:
            raise BadSetting(f"tokens is {self.tokens:,}.", f"Give 1 to {MOST_TOKENS:,}, such as 20M.")
        if not 0 <= self.seed < 1 << 63:
            raise BadSetting(f"seed is {self.seed}.", "Give 0 or more, below 2 to the power of 63.")
        if not 0 <= self.threads <= MOST_THREADS:
            raise BadSetting(f"threads is {self.threads}.", f"Give 1 to {MOST_THREADS}, or 0 for what is faster.")
        if self.parallel not in PARALLEL:
            raise BadSetting(f"launch is {self.parallel!r}.", f"Known: {', '.join(PARALLEL)}.")
        if self.processes < 1 or (self.parallel == "none") != (self.processes == 1):
            raise BadSetting(
                f"processes is {self.processes}, and the launch is {self.parallel!r}.",
                "One process is launched here; with --processes 2 or more, name a --launch.",
            )
        if self.base is not None and self.moe:
            raise BadSetting("Both --base and --moe are given.", "A model that is trained on keeps its shape.")
        if self.base is not None and (self.tokenizer != "bpe" or self.vocabulary is not None):
            raise BadSetting("--base brings its own tokenizer.", "Leave --tokenizer and --vocabulary out.")
        return self

    @property
    def dial(self) -> tuple[float | None, int | None]:
        """(minutes, tokens), one of them given: ten minutes where neither was."""
        return (MINUTES, None) if self.minutes is None and self.tokens is None else (self.minutes, self.tokens)

    def key(self, corpus: str, start: str) -> str:
        """The same text, options and start have the same one. Where it runs is not part of it."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ELSEWHERE}
        said = msgspec.json.encode([told, corpus, start], order="deterministic")
        return hashlib.sha256(said).hexdigest()

    def run(self, corpus: str, start: str) -> str:
        """The same for all that may be taken up where it was: after a loss that was no number, with another rate."""
        kept = {name: value for name, value in self.overrides.items() if name not in CHANGED}
        return replace(self, overrides=kept).key(corpus, start)

    @property
    def changed(self) -> dict[str, Any]:
        """The overrides that may be said of a run that is under way."""
        return {name: value for name, value in self.overrides.items() if name in CHANGED}
