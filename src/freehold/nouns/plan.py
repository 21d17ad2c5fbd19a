"""What a plan says: what is asked for, what could answer it, what each way costs, what the law asks, what to do.

    Audit or three numbers ──→ Demand ─┐
    open models ──→ Candidate ─ Fit ─ Speed ─ Replay ──→ Option (one way to answer, and its money)
    Assumption (a number that may be otherwise) ─────────┤
                                                         └→ Advice, Flip (what would change it), Law ──→ Plan

A month is 730.5 hours (totals.HOURS). Money is USD. Of a Monte Carlo figure `low` and `high` are P10 and P90, `n` the
draws. Every figure names the facts that it rests on; `Plan.used` holds them as they were when the plan was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from freehold.nouns.calls import Kind, Measure
from freehold.nouns.proof import TermsNotice
from freehold.nouns.training import Training

__all__ = [
    "Advice", "Assumption", "Candidate", "Card", "Constraint", "Demand", "Duty", "Fact", "Fit", "Flip", "Law",
    "ModelDemand", "Option", "Outcome", "Plan", "Replay", "Speed", "TaskPlan", "Way", "Word",
]  # fmt: skip

Outcome = Literal["ALLOW", "ALLOW_WITH_NOTE", "WARN_COUNSEL", "BLOCK", "QUARANTINE"]
Way = Literal["closed", "cheaper", "hosted", "rent", "buy", "here"]
"""Stay as it is; a cheaper closed model; an open model that somebody else hosts; one of one's own on rented machines,
on bought ones, or on this machine."""
Word = Literal[
    "STAY", "STAY CHEAPER", "HOSTED OPEN", "OWN", "HYBRID", "MUST MOVE BY", "BLOCKED", "NEEDS PROOF"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of a table of facts. `status`: seen (in the source named), computed, unverified, or given (by the team,
    in freehold.toml). `as_of` is an ISO date."""

    table: str
    id: str
    values: dict[str, Any]
    source: str
    as_of: str
    status: Literal["seen", "computed", "unverified", "given"] = "seen"

    @property
    def ref(self) -> str:
        """How a figure names it: hardware/h100-sxm."""
        return f"{self.table}/{self.id}"


@dataclass(frozen=True, slots=True)
class Assumption:
    """A number that a plan rests on and that may be otherwise: `value`, within [low, high] nine times in ten.

    `status`: measured (on the log or this machine), catalogue (a dated fact), assumed (a default), given (by the team).
    `log`: it varies by factors rather than by differences (a price, a volume).
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    what: str
    source: str
    as_of: str = ""
    status: Literal["measured", "catalogue", "assumed", "given"] = "assumed"
    log: bool = True


@dataclass(frozen=True, slots=True)
class ModelDemand:
    """One closed model's part: tokens and calls a month, its bill, and when it is switched off."""

    model: str
    calls: float
    input: float
    cached: float
    output: float
    bill: Measure
    retires: str = ""
    days_left: int | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked for, a month: calls, and tokens as they are billed (`cached` is part of `input`, `reasoning` of
    `output`). `longest` is the context that all but 1 in 1,000 calls need, in tokens, question and answer together.

    `peaks` maps a window in seconds ("10") to the busiest one over the mean, in tokens. `given`: it was typed by hand.
    """

    calls: Measure
    input: Measure
    cached: Measure
    output: Measure
    reasoning: Measure
    bill: Measure
    models: tuple[ModelDemand, ...] = ()
    kinds: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    longest: Measure = field(default_factory=lambda: Measure(None, unit="tokens"))
    batch: Measure = field(default_factory=lambda: Measure(None))
    source: str = ""
    given: bool = False

    @property
    def tokens(self) -> float:
        """A month, in and out; what isn't known counts nothing."""
        return (self.input.value or 0.0) + (self.output.value or 0.0)


@dataclass(frozen=True, slots=True)
class Fit:
    """Bytes on one replica of `gpus` devices: weights, cache of `streams` calls of `context` tokens, buffers; against
    what there is. `most_context` for one call, `most_streams` at `context`. `bits` a weight (effective)."""

    model: str
    hardware: str
    gpus: int
    format: str
    bits: float
    weights: int
    cache: int
    buffers: int
    capacity: int
    context: int
    streams: int
    most_context: int
    most_streams: int
    fits: bool
    why: str = ""
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second of one replica. `prefill` reads, `decode` writes (all streams together), `stream` is one
    stream's, at `streams` at once. `bound`: bandwidth or compute. The interval is what the calibration covers.
    `guessing` says what speculative decoding would ask for."""

    model: str
    hardware: str
    gpus: int
    format: str
    streams: int
    context: int
    prefill: Measure
    decode: Measure
    stream: Measure
    bound: str = ""
    uses: tuple[str, ...] = ()
    guessing: str = ""


@dataclass(frozen=True, slots=True)
class Replay:
    """The load played against `replicas`: seconds to the first token and between tokens (value the median, high the
    95th percentile), mean utilisation, cold start in seconds. `series` is (second, tokens asked, tokens that can be
    served), for the plot. `met` says whether the goals were."""

    replicas: int
    requests: int
    first_token: Measure
    between: Measure
    utilisation: Measure
    peak: Measure
    cold_start: Measure
    met: bool
    why: str = ""
    source: str = ""
    series: tuple[tuple[float, float, float], ...] = ()
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One way to answer the demand, and its money. `month` is what it costs in its first full month, `year` twelve of
    them with growth and the price changes that are announced, `once` what it costs to get there, `per_million` over
    all tokens in and out. `saves` is a month against staying as it is, `chance` the share of draws in which it saves.

    `break_even` is the tokens a month at which it costs what staying costs, `utilisation` the mean load at which it
    does (None: never); `payback` in months. `months` is the money of 12 months: (P10, P50, P90) each, all of it.
    `out`: why it is ruled out; empty where it could be taken.
    """

    way: Way
    name: str
    model: str
    month: Measure
    year: Measure
    once: Measure
    per_million: Measure
    saves: Measure
    chance: Measure
    break_even: Measure
    utilisation: Measure
    payback: Measure
    energy: Measure
    carbon: Measure
    provider: str = ""
    hardware: str = ""
    gpus: int = 0
    replicas: int = 0
    format: str = ""
    engine: str = ""
    months: tuple[tuple[float, float, float], ...] = ()
    parts: dict[str, float] = field(default_factory=dict)
    out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flip:
    """The value of one assumption at which the advice becomes `becomes`, nearest to what is assumed; None where no
    value between `least` and `most` changes it (robust)."""

    assumption: str
    unit: str
    now: float
    at: float | None
    becomes: str
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """An open model that was looked at. `openness` is its class in the Model Openness Framework (III, II, I, or none),
    `osaid` whether the Open Source AI Definition is met (None: not known); `why` says why. `quality` holds published
    figures by name. `out` says what rules it out; `chosen` where nothing does and it was taken."""

    model: str
    parameters: int
    active: int
    context: int
    licence: str
    released: str
    openness: str
    osaid: bool | None
    why: str
    quality: dict[str, float] = field(default_factory=dict)
    out: tuple[str, ...] = ()
    chosen: bool = False
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that a licence or a law asks: what to do, the words to show where some are prescribed, the clause it
    comes from, from when on. `verified` is False where the rule was not read in its own text."""

    rule: str
    what: str
    outcome: Outcome = "ALLOW_WITH_NOTE"
    text: str = ""
    clause: str = ""
    since: str = ""
    source: str = ""
    as_of: str = ""
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Card:
    """One artefact's licence. `part`: base, adapter, draft, encoder, dataset or teacher. `sha256` is of the licence's
    text where the file was read, else empty."""

    artefact: str
    part: str
    licence: str
    family: str
    commercial: str
    limits: str
    outcome: Outcome
    duties: tuple[Duty, ...] = ()
    sha256: str = ""
    source: str = ""
    as_of: str = ""
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Law:
    """What a lawyer signs: a card an artefact, the gate for learning from logged answers with its rows, the role under
    the EU AI Act with the training compute (FLOP) against the third that makes a provider, what else the law asks.
    Not legal advice."""

    cards: tuple[Card, ...]
    gate: tuple[TermsNotice, ...]
    role: str
    flop: Measure
    third: Measure
    duties: tuple[Duty, ...]
    blocked: tuple[str, ...] = ()
    unverified: int = 0
    as_of: str = ""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the team declared (privacy, residency, latency, continuity), and what it costs a month against the advice
    without it. Never mixed into savings."""

    name: str
    value: str
    changes: str
    costs: Measure


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do, in one sentence, with one figure and one date. `name` is the option's that is meant; `rule` how it
    was decided; `instead` what to do besides; `rejected` each other way with its reason."""

    word: Word
    sentence: str
    figure: Measure
    way: Way
    date: str = ""
    rule: str = ""
    instead: tuple[str, ...] = ()
    rejected: dict[str, str] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """`go` is try, too_few or not_yet (a kind this version has no student for).

    `needed` maps a bar ("0.95") to the calls in all that its proof asks for when no kept call is wrong.
    """

    name: str
    kind: Kind
    calls: int
    go: Literal["try", "too_few", "not_yet"]
    reason: str
    needed: dict[str, int]
    student: str = ""
    minutes: Measure = field(default_factory=lambda: Measure(None, unit="minutes"))


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision. `tasks` (none without a log) are what students may be tried on, `training` where each is trained;
    the rest is about the whole demand.

    `given` is what was typed, as it was typed; `used` each fact that a figure rests on, as it was; `sha256` is over the
    plan's canonical JSON without itself, and is what people sign.
    """

    tasks: tuple[TaskPlan, ...]
    machine_cost: Measure
    bill: Measure
    assumptions: tuple[str, ...] = ()
    made: str = ""
    advice: Advice | None = None
    demand: Demand | None = None
    options: tuple[Option, ...] = ()
    flips: tuple[Flip, ...] = ()
    rests_on: tuple[Assumption, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    fits: tuple[Fit, ...] = ()
    speeds: tuple[Speed, ...] = ()
    replay: Replay | None = None
    law: Law | None = None
    used: tuple[Fact, ...] = ()
    given: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    today: str = ""
    sha256: str = ""
    training: tuple[Training, ...] = ()

    @property
    def advised(self) -> Option | None:
        """The option that the advice is about; None where it is that something can't be taken."""
        if self.advice is None or self.advice.word == "BLOCKED":
            return None
        return next((option for option in self.options if option.name == self.advice.name), None)
