"""What an audit says of a log: money, models, repeats, private data, health, load, and what can move first."""

from __future__ import annotations

from dataclasses import dataclass, field

from freehold.nouns.calls import BadRow, LogFile, Measure, Task, Tokens

__all__ = ["Audit", "FirstMove", "Health", "Load", "ModelUse", "Private", "Repeats", "Spend", "Surface"]


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A closed model in the log. `priced` counts the calls that have a price; `retires` is an ISO date."""

    model: str
    vendor: str | None
    calls: int
    tokens: Tokens
    money: Measure
    priced: int
    retires: str | None = None
    days_left: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Spend:
    """What a user, a day or a model used. `estimated` counts the calls whose tokens are an estimate."""

    name: str
    calls: int
    tokens: Tokens
    money: Measure
    priced: int = 0
    estimated: int = 0


@dataclass(frozen=True, slots=True)
class Repeats:
    """Requests asked again: `texts` asked at least twice, `calls` that ask them, how often the first two answers agree.

    `exact` is the share of calls that repeat an earlier request to the letter, `near` the share whose text nearly
    repeats an earlier one of its task (word-set Jaccard >= 0.9). `saved` is the money of the exact repeats, which a
    cache would have saved; `safe` the part of it asked at temperature 0. `prefix` is the share of prompt blocks that
    an endless prefix cache would have held.
    """

    texts: int
    calls: int
    self_agreement: Measure
    exact: Measure = field(default_factory=lambda: Measure(None))
    near: Measure = field(default_factory=lambda: Measure(None))
    saved: Measure = field(default_factory=lambda: Measure(None, unit="USD"))
    safe: Measure = field(default_factory=lambda: Measure(None, unit="USD"))
    prefix: Measure = field(default_factory=lambda: Measure(None))


@dataclass(frozen=True, slots=True)
class Private:
    """One type of private data in one field (system, user, assistant, tool, user id): `calls` that hold it, `pieces`
    found, an example with all but its shape masked. `checked` says that the type has a check sum, and it was right."""

    kind: str
    field: str
    calls: int
    pieces: int
    example: str = ""
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Surface:
    """What of the API the traffic uses: calls per endpoint, per request field, per tool and per answer format."""

    endpoints: dict[str, int] = field(default_factory=dict)
    params: dict[str, int] = field(default_factory=dict)
    tools: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """How calls ended. `errors` counts by code, `retries` equal requests within a minute after one that failed.
    `seconds` is how long an answer took: p50 with the 95th percentile in `slow`."""

    errors: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    cut: int = 0
    filtered: int = 0
    retries: int = 0
    seconds: Measure = field(default_factory=lambda: Measure(None, unit="s"))
    slow: Measure = field(default_factory=lambda: Measure(None, unit="s"))


@dataclass(frozen=True, slots=True)
class Load:
    """The busiest window of `window` seconds over the mean one, in calls and in tokens; `at` is when it began."""

    window: int
    calls: Measure
    tokens: Measure
    at: float | None = None


@dataclass(frozen=True, slots=True)
class FirstMove:
    """A task's place in the queue to move: `portability` in [0, 1] (how well such answers move, with the reason),
    `money` a month that could move, and the calls that its proof needs at each bar."""

    task: str
    kind: str
    money: Measure
    portability: Measure
    reason: str
    needed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Audit:
    """What a log holds. `conflicts` counts texts with more than one answer; `per_month` is the bill at this pace.

    `sampled` is how many calls the tasks were found in (all of a log that isn't large). `moves` ranks the tasks, first
    what can move first. `users` and `days` are the bill by who asked and when.
    """

    log: LogFile
    calls: int
    bad_rows: int
    bad: tuple[BadRow, ...]
    tasks: tuple[Task, ...]
    tokens: Tokens
    money: Measure
    per_month: Measure
    first: float | None
    last: float | None
    models: tuple[ModelUse, ...]
    repeats: Repeats
    conflicts: int = 0
    warnings: tuple[str, ...] = ()
    made: str = ""
    sampled: int = 0
    users: tuple[Spend, ...] = ()
    days: tuple[Spend, ...] = ()
    estimate: Measure = field(default_factory=lambda: Measure(None))
    private: tuple[Private, ...] = ()
    surface: Surface = field(default_factory=Surface)
    health: Health = field(default_factory=Health)
    load: tuple[Load, ...] = ()
    moves: tuple[FirstMove, ...] = ()
