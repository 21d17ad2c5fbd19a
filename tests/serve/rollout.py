"""Rungs opened as serve opens them, and an upstream in this process; for the tests of how a student takes over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from freehold import wire
from freehold.engines.upstream import Reply
from freehold.ledger import Entry, Ledger
from freehold.nouns import Audit, Tokens
from freehold.project import Project
from freehold.project.gateway import RolloutSettings
from freehold.serve.ladder.runglog import RungLog
from freehold.serve.ladder.rungs import close, open_rungs, went_up
from freehold.serve.ladder.step import Step
from freehold.serve.pairing.pairlog import PairLog
from freehold.serve.pairing.pairs import Pairs
from freehold.serve.seats.students import Students

from .conftest import request, scripted

SHADOW = RolloutSettings()
HOME = "what do i have"  # the student says balance, and is sure


@dataclass
class Says:
    """An upstream that always says the same."""

    answer: str = "balance"
    kind: str = "upstream"

    @asynccontextmanager
    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, whole: bool = False
    ) -> AsyncIterator[Reply]:
        left = [wire.dumps(completion(self.answer))]

        async def read() -> bytes:
            return left.pop() if left else b""

        yield Reply(200, [("content-type", "application/json")], read)

    async def close(self) -> None:
        pass


def completion(answer: str | None, **message: Any) -> dict[str, Any]:
    said: dict[str, Any] = wire.completion("gpt-4o-mini", answer or "", Tokens(4, 2), "chatcmpl-up", 1_790_000_001)
    if message:
        said["choices"][0]["message"] |= {"content": answer} | message
    return said


@dataclass
class Rungs:
    """One process's rungs, and what it told."""

    project: Project
    log: RungLog
    pair_log: PairLog
    steps: list[Step]
    said: list[str]

    @property
    def step(self) -> Step:
        return next(step for step in self.steps if step.rung.task.name == "intents")

    def pairs(self, share: float = 0.5, answer: str = "balance", **options: Any) -> Pairs:
        def closing(step: Step, why: str) -> None:
            close(self.log, step, why)

        def rising(step: Step, why: str) -> None:
            went_up(self.log, step, why)

        options = {"draw": lambda: 0.0, "log": self.pair_log, "rising": rising} | options
        return Pairs(Says(answer), Ledger(self.project), share, closing, **options)  # type: ignore[arg-type]


@contextmanager
def opened(project: Project, process: int = 1, kept: Sequence[Step] = (), **options: Any) -> Iterator[Rungs]:
    said: list[str] = []

    def tell(what: str, done: float | None = None, /) -> None:
        said.append(what)

    students, log, pair_log = Students(), RungLog(project, tell), PairLog(project, tell, process=process)
    given: dict[str, Any] = {"pairs": 0.02, "rollout": SHADOW, "opener": scripted} | options
    steps = open_rungs(
        project, project.load(Audit), log, students=students, kept=kept, pair_log=pair_log, tell=tell, **given
    )
    try:
        yield Rungs(project, log, pair_log, steps, said)
    finally:
        students.close()


def answered(text: str = HOME, answer: str | None = "balance", **fields: Any) -> Entry:
    """A call that went up, as relay leaves it."""
    body = request(text)
    entry = Entry(wire.call_from_request(body), body, task="intents", why="shadow")
    message = fields.pop("message", {})
    entry.ends(200, "complete", completion(answer, **message))
    for name, value in fields.items():
        setattr(entry, name, value)
    return entry


def events(project: Project, word: str) -> list[dict[str, Any]]:
    return [row for row in project.rows("rungs.jsonl") if row["event"] == word]
