"""What the server counts, for Prometheus: plain integers on the way of a call, families only when somebody asks.

    began() ─→ a call is under way        ended(...) ─→ one line of numbers per (task, by, why, status, model, finish)
    refused(code, http)                   a call that was turned away at the door, by its error code
    told(began, entry)                    the same from a row of the ledger
    keep()                                each second: loop lag, and with several workers this one's snapshot
    scrape() ─→ (content type, bytes)     the sum over all workers, also of those that are gone

Labels are bounded: tasks and models are those that the project knows, words are the server's own; all else is "other",
and a call without a task has "none".
No user, key or text is ever one.
"""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from freehold.serve.numbers.counts import BOUNDS, HEAD, SIZE, Counts, Host, Key, RungState, State
from freehold.serve.numbers.siblings import Siblings

__all__ = ["Host", "Metrics", "RungState", "State"]

WORDS = 64  # different words that one label may take; further ones are "other"
CODES = 128  # different error codes
ROWS = 4096  # keys that are looked up at once; one more is put in its place anew each time
OTHER = "other"
NONE = "none"  # the task of a call that has none
MOST_TOKENS = 1 << 31  # of one call
WORD = re.compile(r"[a-z][a-z0-9_]{0,31}")
TICK = 1.0  # seconds
LAGS = 60  # ticks whose largest lag is told


class Told(Protocol):
    """What of a row of the ledger is counted."""

    task: str
    answered_by: str
    why: str
    status: str
    http: int
    saved: float | None
    body: dict[str, Any]
    response: dict[str, Any]


class Metrics:
    """Counts calls. `tasks` and `models` are the names that may be labels; `state` is asked at a scrape; `folder` is
    where the workers of one server keep their snapshots (None: there is one process), `worker` this one's number."""

    def __init__(
        self,
        tasks: Iterable[str] = (),
        models: Iterable[str] = (),
        *,
        state: Callable[[], State] = State,
        folder: Path | None = None,
        worker: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.running = 0
        self._clock = clock
        self._state = state
        self._series: dict[Key, list[float]] = {}
        self._rows: dict[Key, list[float]] = {}  # the same lists, by keys as calls give them
        self._http: dict[int, int] = {}
        self._refused: dict[str, int] = {}
        self._lags: deque[float] = deque([0.0], maxlen=LAGS)
        self._tasks: frozenset[str] = frozenset()
        self._models: frozenset[str] = frozenset()
        self._words: set[str] = set()
        self.know(tasks, models)
        self._siblings = None if folder is None else Siblings(folder, worker)

    def watch(self, state: Callable[[], State]) -> None:
        """Whom to ask at a scrape."""
        self._state = state

    def know(self, tasks: Iterable[str], models: Iterable[str]) -> None:
        """The names that may be labels from here on, beside those that were."""
        self._tasks |= set(tasks) - {""}
        self._models |= set(models) - {""}
        self._rows.clear()

    # on the way of a call

    def began(self) -> float:
        """A call is under way; its token, for `ended`."""
        self.running += 1
        return self._clock()

    def ended(
        self,
        began: float,
        task: str,
        answered_by: str,
        why: str,
        status: str,
        http: int,
        model: str = "",
        finished: str = "stop",
        prompt: int = 0,
        completion: int = 0,
        first: float = 0.0,
        waited: float = 0.0,
        saved: float = 0.0,
    ) -> None:
        """The call of `began` is over. `first` is the clock when its first byte went out (0: with the last), `waited`
        the seconds in the queue, `saved` USD. `finished` is OpenAI's finish reason, or `abort` or `error`."""
        now = self._clock()
        self.running -= 1
        key = (task, answered_by, why, status, model, finished)
        row = self._rows.get(key)
        if row is None:
            row = self._row(key)
        seconds = now - began
        early = (first or now) - began
        row[0] += 1
        row[1] += prompt
        row[2] += completion
        row[3] += saved
        row[4] += seconds
        row[5] += early
        row[6] += waited
        row[HEAD + bisect_left(BOUNDS, seconds)] += 1
        row[HEAD + SIZE + bisect_left(BOUNDS, early)] += 1
        if waited:
            row[HEAD + 2 * SIZE + bisect_left(BOUNDS, waited)] += 1
        if http in self._http:
            self._http[http] += 1
        else:
            self._status(http)

    def told(self, began: float, entry: Told, first: float = 0.0, waited: float = 0.0) -> None:
        """`ended`, with the facts of a row; its response may be anything that an upstream has sent."""
        response = entry.response
        usage = response.get("usage")
        prompt = completion = 0
        if isinstance(usage, dict):
            prompt, completion = _tokens(usage.get("prompt_tokens")), _tokens(usage.get("completion_tokens"))
        model = (response if entry.answered_by == "student" else entry.body).get("model")
        saved = 0.0 if entry.why == "below_bar" else entry.saved or 0.0  # below the bar nothing is saved
        self.ended(
            began, entry.task, entry.answered_by, entry.why, entry.status, entry.http,
            model if isinstance(model, str) else "", _finish(entry.status, response),
            prompt, completion, first, waited, saved,
        )  # fmt: skip

    def left(self) -> None:
        """The call of `began` is over without a row: it was refused (and `refused` says why)."""
        self.running -= 1

    def refused(self, code: str, http: int | None = None) -> None:
        """A request that was turned away, by its error code. `http` is None where its row has counted the status."""
        if code not in self._refused and (len(self._refused) >= CODES or not WORD.fullmatch(code)):
            code = OTHER
        self._refused[code] = self._refused.get(code, 0) + 1
        if http is not None:
            self._status(http)

    def _status(self, http: int) -> None:
        http = http if 100 <= http <= 599 else 0
        self._http[http] = self._http.get(http, 0) + 1

    def _row(self, key: Key) -> list[float]:
        """The numbers of a key that was not looked up before; what may not be a label counts as "other"."""
        task, by, why, status, model, finished = key
        task = NONE if not task else task if task in self._tasks else OTHER
        model = model if model in self._models else OTHER
        by, why, status, finished = (self._word(word) for word in (by, why, status, finished))
        row = self._series.setdefault((task, by, why, status, model, finished), [0] * (HEAD + 3 * SIZE))
        if len(self._rows) < ROWS:
            self._rows[key] = row
        return row

    def _word(self, word: str) -> str:
        if word in self._words:
            return word
        if len(self._words) >= WORDS or not WORD.fullmatch(word):
            return OTHER
        self._words.add(word)
        return word

    # beside the calls

    async def keep(self) -> None:
        """Until cancelled: each second the loop's lag, and this worker's snapshot."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self._lags.append(max(0.0, loop.time() - due))
            if self._siblings is not None:
                await asyncio.to_thread(self._siblings.write, self.counts())

    def counts(self) -> Counts:
        """All that this worker has counted."""
        series = [(key, list(row)) for key, row in self._series.items()]
        return Counts(series, dict(self._http), dict(self._refused), self.running, max(self._lags), self._state())

    def close(self) -> None:
        """The last snapshot, so that these counts stay in the sum."""
        if self._siblings is not None:
            self._siblings.write(self.counts())
            self._siblings.close()

    def render(self) -> tuple[str, bytes]:
        """The content type and the text that Prometheus reads."""
        return self._rendered(self.counts())

    async def scrape(self) -> tuple[str, bytes]:
        """The same beside the loop: 17 ms for 160 series are too long in it."""
        return await asyncio.to_thread(self._rendered, self.counts())

    def _rendered(self, own: Counts) -> tuple[str, bytes]:
        from freehold.serve.numbers.exposition import exposition

        others, gone = self._siblings.read() if self._siblings is not None else ([], [])
        return exposition([own, *others], gone)


def _tokens(count: Any) -> int:
    """A count that an upstream says, where it can be one."""
    return count if type(count) is int and 0 <= count < MOST_TOKENS else 0


def _finish(status: str, response: dict[str, Any]) -> str:
    """Why an answer ended, in vLLM's words where it has one."""
    if status == "partial":
        return "abort"
    if status != "complete":
        return "error"
    choices = response.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return "length" if isinstance(choice, dict) and choice.get("finish_reason") == "length" else "stop"
