"""An audit with every part, made by hand: six weeks of a firm's calls, five tasks, four models.

from .rich_audit import rich        rich() → Audit, rich(calls=...) with parts replaced
"""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from typing import Any

from freehold.measure import share
from freehold.nouns import (
    Audit,
    BadRow,
    FirstMove,
    Health,
    Load,
    LogFile,
    Measure,
    ModelUse,
    Private,
    Repeats,
    Slot,
    Spend,
    Surface,
    Task,
    Template,
    Tokens,
)

PRICED = "price of each call's day and context tier (genai-prices 0.2.3)"
SOURCE = "https://developers.openai.com/api/docs/deprecations (as of 2026-11-23)"
EVIL = "</script><img src=x onerror=alert(1)>[red]{{7*7}}\"'&\x1b[31m\u202egnp"
BEGIN = date(2026, 9, 21)


def usd(value: float | None, n: int, unit: str = "USD") -> Measure:
    return Measure(value, n=n, unit=unit, method=PRICED if value is not None else "no call has a price")


def task(name: str, kind: Any, calls: int, money: float | None, model: str, **more: Any) -> Task:
    said = {"labels": "Answer with one label.", "json": "Answer with JSON.", "sql": "Write one SQLite query."}
    template = Template((Slot("system", said.get(kind, "Be brief.")), Slot("user", "", "", True)))
    return Task(
        name, template, kind, calls, calls / 41_200, models=(model,), money=usd(money, calls if money else 0),
        tokens=Tokens(calls * 410, calls * 23), example="how do i freeze my card", **more,
    )  # fmt: skip


TASKS = (
    task("ticket-router", "labels", 21_300, 61.24, "gpt-4o-mini", labels=("card", "loan", "other"),
         noise=share(203, 212)),
    task("invoice-fields", "json", 9_400, 212.5, "gpt-4.1", noise=share(40, 52), rule="json"),
    task("ask-the-warehouse", "sql", 4_100, 96.07, "gpt-4.1", rule="sql"),
    task("reply-draft", "text", 3_900, 404.9, "claude-sonnet-4-5", rule="none", why="free text", estimated=1_200),
    task("old-script", "text", 900, None, "acme-llm"),
)  # fmt: skip


def day(at: int) -> Spend:
    calls = 600 + 55 * (at * 7 % 11) - (450 if at % 7 > 4 else 0)
    return Spend(
        (BEGIN + timedelta(days=at)).isoformat(), calls, Tokens(calls * 410, calls * 23), usd(calls * 0.0188, calls),
        calls - 20, 40 if at > 30 else 0,
    )  # fmt: skip


DAYS = tuple(day(at) for at in range(42) if at not in (12, 13, 14))
NAMES = ("billing-bot", "jane.doe@example.com", "+1 415 555 0134", "sk-proj-abcdefgh12345678", "crm")


def user(name: str, calls: int, money: float) -> Spend:
    return Spend(name, calls, Tokens(calls * 400, calls * 20), usd(money, calls), calls)


USERS = (
    *(user(name, 9_000 // i, 180 / i) for i, name in enumerate((*NAMES, *(f"seat-{k:03}" for k in range(45))), 1)),
    user("others", 300, 2.5),
    user("", 410, 4.25),
)


def model(name: str, vendor: str | None, calls: int, money: float | None, off: str = "", left: int = 0) -> ModelUse:
    priced = calls if money is not None else 0
    return ModelUse(name, vendor, calls, Tokens(calls * 410, calls * 23), usd(money, priced), priced, off or None,
                    left if off else None, SOURCE if off else "")  # fmt: skip


MODELS = (
    model("gpt-4o-mini", "openai", 21_300, 61.24, "2027-01-14", 50),
    model("gpt-4.1", "openai", 13_500, 308.57, "2027-04-14", 140),
    model("claude-sonnet-4-5", "anthropic", 3_900, 404.9),
    model("gpt-3.5-turbo-0613", "openai", 1_600, 2.11, "2026-09-28", -58),
    model("acme-llm", None, 900, None),
)
BARS = ("0.9", "0.95", "0.98", "0.99")


def move(name: str, kind: str, money: float, portability: Measure, reason: str, *needed: int) -> FirstMove:
    return FirstMove(name, kind, usd(money, 9_400, "USD/month"), portability, reason,
                     dict(zip(BARS, needed, strict=False)))  # fmt: skip


MOVES = (
    move("invoice-fields", "json", 154.0, Measure(0.8, 0.7, 0.88, 400, "share", "values that stand in the text"),
         "nine in ten of its values stand in the text: a tagger copies them", 116, 236, 596, 1196),
    move("ticket-router", "labels", 44.4, Measure(0.95, method="short answers of a closed set"),
         "three labels, and the same text gets the same label", 464, 944, 2384, 24_784),
    move("reply-draft", "text", 293.5, Measure(None), "free text: no rule says when two answers agree"),
)  # fmt: skip
PRIVATE = (
    Private("email", "user", 5_120, 6_033, "xxxx.xxx@xxxxxxx.xxx"),
    Private("email", "assistant", 210, 214, "xxxx@xxxx.xxx"),
    Private("phone", "user", 1_930, 2_004, "+9 999 999 9999"),
    Private("credit card", "user", 41, 41, "9999 9999 9999 9999", checked=True),
    Private("iban", "tool arguments", 12, 15, "xx99 9999 9999 9999", checked=True),
    Private("email", "user id", 6_800, 6_800, "xxx@xxxxxxx.xxx"),
)
HEALTH = Health(
    {"429": 311, "500": 24, "context_length_exceeded": 9}, 57, 130, 3, 288,
    Measure(0.84, 0.83, 0.86, 38_000, "s", "median of 38,000 calls"), Measure(4.1, n=38_000, unit="s"),
)  # fmt: skip


def peak(window: int, calls: float, tokens: float, n: int) -> Load:
    how = "the busiest window of those that tile the log"
    return Load(window, Measure(calls, n=n, unit="x", method=how), Measure(tokens, n=n, unit="x", method=how), 1.791e9)


LOAD = (peak(1, 61.2, 74.9, 3_600_000), peak(10, 18.4, 22.0, 360_000), peak(60, 6.1, 7.7, 60_000),
        peak(300, 3.3, 3.9, 12_000))  # fmt: skip
REPEATS = Repeats(
    1_204, 3_310, share(1_180, 1_204), share(2_106, 41_200), Measure(0.121, 0.116, 0.127, 20_000, method="a sample"),
    usd(21.4, 2_106), usd(9.9, 800), share(14_000, 38_210),
)  # fmt: skip
RICH = Audit(
    log=LogFile(("logs/2026.jsonl.zst", "logs/batch.csv"), "ab" * 32, "cd" * 32, 41_230, 90_000_000, None,
                {"OpenAI chat": 39_000, "Helicone": 2_230}, 712),
    calls=41_200,
    bad_rows=30,
    bad=(BadRow(17, "not JSON: truncated", "logs/2026.jsonl.zst"), BadRow(18, "not JSON: truncated"),
         BadRow(901, "a message has no role", "logs/batch.csv")),
    tasks=TASKS,
    tokens=Tokens(16_912_345, 971_234, 301_024, 12_000),
    money=usd(776.82, 40_300),
    per_month=Measure(563.2, n=40_300, unit="USD/month", method=f"{PRICED}; 42.0 days of log scaled to 30.44"),
    first=1_790_000_000.0,
    last=1_793_628_800.0,
    models=MODELS,
    repeats=REPEATS,
    conflicts=24,
    warnings=("acme-llm has no price on file: its 900 calls are not in the bill.",),
    made="2026-11-25T08:00:00+00:00",
    sampled=20_000,
    users=USERS,
    days=DAYS,
    estimate=Measure(121.5, 113.2, 129.8, 1_200, "USD",
                     "letters and digits counted; 1,200 calls, off by at most 6.8 % at 95 %"),
    private=PRIVATE,
    surface=Surface({"chat": 40_100, "embeddings": 1_100}, {"temperature": 40_000, "max_tokens": 22_000, "tools": 90},
                    {"lookup_order": 88, "send_mail": 4}, {"json_schema": 9_400}),
    health=HEALTH,
    load=LOAD,
    moves=MOVES,
)  # fmt: skip


def rich(**changes: Any) -> Audit:
    return dataclasses.replace(RICH, **changes)


def hostile() -> Audit:
    """Every text of it is markup, escape codes, a turn of the reading order, or 300 characters long."""
    long = "x" * 300
    row = BadRow(1, EVIL, EVIL)
    return rich(
        log=dataclasses.replace(RICH.log, paths=(EVIL,), formats={EVIL: 3, long: 1}),
        tasks=(
            dataclasses.replace(TASKS[0], name=EVIL, example=EVIL, why=EVIL),
            dataclasses.replace(TASKS[1], name=long),
        ),
        bad=(row, BadRow(2, long)),
        models=tuple(dataclasses.replace(m, model=EVIL + m.model) for m in MODELS),
        warnings=(EVIL, long),
        users=tuple(dataclasses.replace(u, name=n) for u, n in zip(USERS, (EVIL, long, "שלום עולם"), strict=False)),
        days=(*DAYS, dataclasses.replace(DAYS[0], name=EVIL)),
        private=(Private(EVIL, EVIL, 3, 4, EVIL), Private(long, "user", 3, 4, long)),
        surface=Surface({EVIL: 1}, {long: 2}, {EVIL: 3}, {EVIL: 4}),
        health=dataclasses.replace(HEALTH, errors={EVIL: 4, long: 1}),
        moves=tuple(dataclasses.replace(m, task=EVIL, reason=long, needed={EVIL[:9]: 3}) for m in MOVES),
    )
