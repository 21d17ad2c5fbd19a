"""freehold plan: what to do about the bill, and for each task what may be tried."""

from __future__ import annotations

import argparse
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freehold.nouns import Audit, Demand
    from freehold.plan.decide import Wish
    from freehold.plan.load.arrivals import Arrivals
    from freehold.project import Project, Settings

__all__ = ["HELP", "flags", "run"]

HELP = "Stay or move, to what, what it costs, saves and risks; and per task, what students may be tried on."
GATE = {"STAY": 3, "BLOCKED": 4, "NEEDS PROOF": 5}
SAID = ("tokens", "calls", "ratio", "from_", "model", "hardware", "format", "proved", "train", "privacy", "residency",
        "continuity", "first_token", "between", "country", "machine_cost", "confidence", "on", "seed")  # fmt: skip


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    asked = parser.add_argument_group("what is asked for, where no log says it")
    asked.add_argument("--tokens", metavar="AMOUNT", help="tokens in and out, such as 10M/month or 1.2B/year")
    asked.add_argument("--from", dest="from_", metavar="MODEL", help="the closed model that answers now")
    asked.add_argument(
        "--calls", metavar="AMOUNT", help="calls, such as 500k/month (default: as long as a public log's)"
    )
    asked.add_argument("--ratio", metavar="IN:OUT", help="input to output tokens (default 3:1)")
    wish = parser.add_argument_group("what to plan with")
    wish.add_argument(
        "--model", metavar="OPEN", help="an open model by name, or its folder or GGUF file (default: the plan picks)"
    )
    wish.add_argument("--hardware", metavar="NAME", help="a device of `freehold facts list hardware`, or this-machine")
    wish.add_argument("--format", metavar="NAME", help="weight format, such as BF16, FP8, AWQ, Q4_K_M")
    wish.add_argument(
        "--proved", action="store_true", help="plan as if a proof had said that the open model is no worse"
    )
    wish.add_argument(
        "--train", metavar="AMOUNT", help="also where to train every weight of it, on so many tokens, such as 2B"
    )
    keep = parser.add_argument_group("what must be kept, whatever it costs (before freehold.toml)")
    keep.add_argument("--privacy", choices=("house", "own"), help="data stays in the house, or on machines you rule")
    keep.add_argument("--residency", choices=("own",), help="data stays where your own machines are")
    keep.add_argument("--continuity", choices=("owned", "open"), help="weights of your own, or that others host too")
    keep.add_argument("--first-token", metavar="S", help="seconds to the first token, for 95 %% of calls (default 2)")
    keep.add_argument("--between", metavar="S", help="seconds between tokens, for 95 %% of calls (default 0.1)")
    keep.add_argument("--country", metavar="CODE", help="the company's country, such as DE")
    parser.add_argument("--machine-cost", metavar="USD", help="$/h of the machine that serves students at home")
    parser.add_argument("--confidence", help="how sure a proof must be, per task (default 0.95)")
    parser.add_argument("--on", metavar="DATE", help="plan as of this day (default: today), such as 2026-12-01")
    parser.add_argument("--seed", default="0", help="of the draws (default 0)")
    parser.add_argument("--verify", action="store_true", help="compute the saved plan again, and say what has changed")
    parser.add_argument("--gate", action="store_true", help="exit with 3 for STAY, 4 for BLOCKED, 5 for NEEDS PROOF")
    parser.add_argument("--json", action="store_true", help="the plan as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.plan import plan
    from freehold.plan.show import show
    from freehold.project import check_bar
    from freehold.wire import dumps

    project = _project(args)
    if args.verify:
        return _verify(args, project)
    settings = _settings(project.settings, args)
    sure = check_bar(settings.confidence if args.confidence is None else args.confidence, "confidence")
    today = _day(args.on)
    demand = _demand(args, today)
    with project.lock():
        audit, arrivals = _held(project, args.tokens is None)
        made = plan(
            audit, demand=demand, settings=settings, machine_cost=_cost(args.machine_cost),
            arrivals=None if args.tokens else arrivals, wish=_wish(args, project), given=_given(args),
            confidence=sure, today=today, seed=_seed(args.seed),
        )  # fmt: skip
        project.save(made)
    if args.json:
        print(dumps(made).decode())
    else:
        show(made, str(project.path))
    return GATE.get(made.advice.word, 0) if args.gate and made.advice else 0


def _project(args: argparse.Namespace) -> Project:
    """The project folder; made where amounts are typed and there is none yet."""
    from pathlib import Path

    from freehold.project import Project

    return Project.create(Path(args.project)) if args.tokens else Project.open(args.project)


def _held(project: Project, needed: bool) -> tuple[Audit | None, Arrivals | None]:
    """The audit and the log's busiest hour. Raises ProjectMissing where an audit is `needed` and there is none."""
    from freehold.nouns import Audit
    from freehold.project.arrivals import NAME, read_arrivals

    audit = project.load(Audit) if needed or project.has(Audit) else None
    path = project.path / NAME
    return audit, read_arrivals(path) if audit is not None and path.is_file() else None


def _demand(args: argparse.Namespace, today: date) -> Demand | None:
    from freehold.errors import BadSetting
    from freehold.plan.amounts import monthly, ratio
    from freehold.plan.demand import by_hand

    if args.tokens is None:
        for name, flag in (("from_", "--from"), ("calls", "--calls"), ("ratio", "--ratio")):
            if getattr(args, name) is not None:
                raise BadSetting(f"{flag} needs --tokens.", "freehold plan --tokens 10M/month --from gpt-4-turbo")
        return None
    if not args.from_:
        raise BadSetting(
            "--tokens does not say which model answers now.", "Name it: --tokens 10M/month --from gpt-4-turbo."
        )
    share = ratio(args.ratio or "3:1", "--ratio")
    calls = monthly(args.calls, "--calls", "calls") if args.calls else None
    tokens = monthly(args.tokens, "--tokens", "tokens")
    split = "given" if args.ratio else "assumed 3:1"
    return by_hand(tokens, args.from_, share=share, calls=calls, today=today, split=split)


def _settings(settings: Settings, args: argparse.Namespace) -> Settings:
    """freehold.toml with the flags over it."""
    from dataclasses import replace

    from freehold.plan.amounts import number
    from freehold.project.settings import KEEPS, check_declared

    words: dict[str, Any] = {name: value for name in KEEPS if (value := getattr(args, name))}
    seconds: dict[str, Any] = {
        name: number(value, f"--{name.replace('_', '-')}", least=1e-4, most=1e5, unit="seconds")
        for name in ("first_token", "between")
        if (value := getattr(args, name)) is not None
    }
    declared = replace(settings.declared, **words, **seconds)
    check_declared(declared, "the command line")
    company = replace(settings.company, country=args.country) if args.country else settings.company
    return replace(settings, declared=declared, company=company)


def _wish(args: argparse.Namespace, project: Project) -> Wish:
    from freehold.plan.amounts import plain
    from freehold.plan.decide import Wish
    from freehold.plan.speed.machine import this_machine

    machine = this_machine(project.path)
    train = plain(args.train, "--train") if args.train else 0.0
    proved = args.proved or _proved(project)
    return Wish(args.model or "", args.hardware or "", args.format or "", proved, machine, train)


def _proved(project: Project) -> bool:
    """Every task that has a verdict moves: the proof is there."""
    from freehold.totals import by_task

    verdicts = by_task(project.verdicts()).values()
    return bool(verdicts) and all(verdict.decision == "move" for verdict in verdicts)


def _given(args: argparse.Namespace) -> dict[str, str]:
    """The flags as they were typed, so that the plan can be computed again."""
    said = {name: getattr(args, name) for name in SAID}
    unsaid = {"seed": "0"}
    return {name: str(value) for name, value in said.items() if value not in (None, False, unsaid.get(name))}


def _verify(args: argparse.Namespace, project: Project) -> int:
    from dataclasses import asdict

    from freehold.nouns import Plan
    from freehold.plan.show import show_verified
    from freehold.plan.verify import verify
    from freehold.project import check_bar
    from freehold.wire import dumps

    saved = project.load(Plan)
    for name, value in saved.given.items():
        setattr(args, name, True if value == "True" else value)
    audit, arrivals = _held(project, args.tokens is None)
    settings = _settings(project.settings, args)
    found = verify(
        saved, settings=settings, audit=audit, arrivals=None if args.tokens else arrivals,
        wish=_wish(args, project), today=_day(None), machine_cost=_cost(args.machine_cost),
        confidence=check_bar(settings.confidence if args.confidence is None else args.confidence, "confidence"),
    )  # fmt: skip
    if args.json:
        print(dumps(asdict(found)).decode())
    else:
        show_verified(saved, found)
    return 0 if found.intact and found.same and not found.since else 1


def _day(text: str | None) -> date:
    from datetime import UTC, datetime

    from freehold.errors import BadSetting

    if text is None:
        return datetime.now(UTC).date()
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise BadSetting(f"--on is {text!r}, which is not a day.", "Write it as 2026-12-01.") from None
    if not 2020 <= found.year <= 2100:
        raise BadSetting(f"--on is {text}, of which no price is known.", "Give a day from 2020 to 2100.")
    return found


def _seed(text: str) -> int:
    from freehold.errors import BadSetting

    if not text.isdecimal() or len(text) > 9:
        raise BadSetting(f"--seed is {text!r}.", "Give a whole number, 0 or more.")
    return int(text)


def _cost(text: str | None) -> float | None:
    from freehold.plan.amounts import number

    return None if text is None else number(text, "--machine-cost", least=0, most=1e6, unit="$/h, such as 0.10,")
