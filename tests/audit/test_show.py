"""The audit on a terminal: what matters first, 80 columns, and no text of a log that steers the terminal."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from freehold.audit.show import show
from freehold.nouns import Audit, FirstMove, Health, Measure, Repeats, Surface

from .rich_audit import DAYS, MODELS, RICH, TASKS, hostile, rich

LOG = Path(__file__).resolve().parents[2] / "examples" / "support-desk" / "calls.jsonl.gz"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COLUMNS", "80")

    def text(audit: Audit, project: str = "") -> str:
        show(audit, project)
        return capsys.readouterr().out

    return text


def test_the_few_lines_that_matter_come_first(said) -> None:  # type: ignore[no-untyped-def]
    lines = [line.rstrip() for line in said(rich(), "desk").splitlines() if line.strip()]
    assert lines[0] == "41,200 calls, 30 bad rows, 2026-09-21 to 2026-11-02"
    assert lines[1] == "bill       $776.82 (n = 40,300); $563.20 a month at this pace"
    heads = [line[:9].strip() for line in lines if line[:1] != " "]
    assert heads[:8] == ["41,200 ca", "bill", "estimate", "must move", "must move", "must move", "first", "Tasks"]
    assert [line for line in lines if line.startswith("must move")][1] == (
        "must move  gpt-4o-mini by 2027-01-14 (50 days): 21,300 calls, $44.40 a month"
    )
    assert heads[-2:] == ["note", "page"]
    assert lines[-1].endswith("freehold report --project desk")


def test_every_part_is_said_in_80_columns(said) -> None:  # type: ignore[no-untyped-def]
    out = said(rich())
    assert max(map(len, out.splitlines())) <= 80
    text = " ".join(out.split())
    for words in (
        "reply-draft text 3,900 9.5 % 1.599 M 89,700 $404.90 est.",
        "old-script text 900 2.2 % 369,000 20,700 not known",
        "acme-llm 900 not known no date known",
        "ticket-router 3 labels 21,300 51.7 %",
        "1 invoice-fields $154.00 80 % (70 to 88) 99 % agreement",
        "2 ticket-router $44.40 95 % 98 % agreement",  # 21,300 calls are fewer than the 24,784 of 99 %
        "$450.45 for 23,320 est.",  # of 23,960 calls
        "j…@example.com 4,500 1.8 M 90,000 $90.00",
        "no user named 410",
        "32 before 23,960",
        "2026-11-01 205",
        "email user 5,120, assistant 210, xxxx.xxx@xxxxxxx.xxx user id 6,800",
        "credit card (check sum right)",
        "1,204 requests asked again (3,310 calls); the model agrees with itself on 98.0 %",
        "36.6 % (36.2 to 37.1, n = 38,210) of prompt blocks",
        "$21.40 (n = 2,106) would have been saved by a cache, $9.90 of it at temperature 0",
        "344 failed (0.8 %); 57 refused (0.1 %); 130 cut short (0.3 %); 3 filtered (under 0.1 %)",
        "429 311, 500 24",
        "61.2 at 1 s, 18.4 at 10 s, 6.1 at 1 min, 3.3 at 5 min",
        "OpenAI chat 39,000, Helicone 2,230; 712 records without a call",
        "tasks found in 20,000 calls drawn from 41,200",
    ):
        assert words in text, words
    for private in ("jane.doe", "0134", "abcdefgh", "how do i freeze my card"):
        assert private not in out, private


def test_an_empty_part_is_not_named(said) -> None:  # type: ignore[no-untyped-def]
    unknown = Measure(None, unit="USD", method="no call has a price")
    bare = rich(
        tasks=(), bad=(), bad_rows=0, money=unknown, per_month=unknown, first=None, last=None, models=(), sampled=0,
        repeats=Repeats(0, 0, Measure(None)), warnings=(), users=(), days=(), estimate=Measure(None), private=(),
        surface=Surface(), health=Health(), load=(), moves=(), log=dataclasses.replace(RICH.log, formats={}),
    )  # fmt: skip
    lines = [line.rstrip() for line in said(bare).splitlines() if line.strip()]
    assert lines == [
        "41,200 calls",
        "bill       not known",
        "           no call has a price",
    ]


def test_what_a_log_cannot_say_is_not_said_as_0(said) -> None:  # type: ignore[no-untyped-def]
    """Times and token counts alone: no repeats, no cache, no answers; of two models one without a price."""
    usd = Measure(0.0, n=0, unit="USD")
    trace = rich(
        tasks=(), moves=(), days=DAYS[:1], first=1_700_158_620.0, last=1_700_162_040.0,
        repeats=Repeats(0, 0, Measure(None), saved=usd, safe=usd, prefix=Measure(0.366, n=288_500)),
        money=Measure(0.0004, n=700, unit="USD", method="700 of 41,200 calls have a price"), per_month=Measure(None),
    )  # fmt: skip
    text = " ".join(said(trace).split())
    for words in (
        "2023-11-16 18:17 to 19:14 UTC",
        "bill at least <$0.01 (n = 700)",
        "repeats 36.6 % (n = 288,500) of prompt blocks",
    ):
        assert words in text, words
    for words in ("asked again (0", "would have been saved", "answers", "a month at this pace"):
        assert words not in text, words
    assert "59 minutes of a clock that starts at 0" in said(rich(first=0.0, last=3537.0))
    few = dataclasses.replace(RICH.repeats, self_agreement=Measure(0.2, 0.005, 0.716, 5))
    assert "agrees with itself on 1 of 5" in " ".join(said(rich(repeats=few)).split())
    never = tuple(dataclasses.replace(m, portability=Measure(0.0), reason="No rule.") for m in RICH.moves)
    text = " ".join(said(rich(moves=never)).split())
    assert "first nothing yet: invoice-fields: No rule." in text
    assert "0 % nothing" in text
    short = FirstMove("old-script", "text", Measure(None), Measure(0.1), "r", {"0.9": 1_000, "0.95": 2_000})
    text = " ".join(said(rich(moves=(short,))).split())
    assert "10 % 100 more for 90 %" in text
    assert "a proof takes 1,000 calls at 90 %, 2,000 at 95 %" in text


def test_hostile_text_steers_nothing(said) -> None:  # type: ignore[no-untyped-def]
    out = said(hostile())
    assert not [c for c in out if not c.isprintable() and c != "\n"]
    assert "[red]" in out  # shown, not read as markup
    assert max(map(len, out.splitlines())) <= 80


def test_many_are_cut_and_counted(said) -> None:  # type: ignore[no-untyped-def]
    tasks = tuple(dataclasses.replace(TASKS[0], name=f"task-{k:02}", money=Measure(None)) for k in range(40))
    out = said(rich(tasks=tasks, models=MODELS * 20))
    assert "task-29" in out
    assert "task-30" not in out
    assert "and 10 more" in out
    assert "and 55 more models with a date, below" in out


def test_one_day_and_a_log_of_one_call(said) -> None:  # type: ignore[no-untyped-def]
    out = said(rich(calls=1, days=DAYS[:1], first=RICH.first, last=RICH.first))
    assert "1 call, 30 bad rows, 2026-09-21\n" in out
    assert "before" not in out.replace("asked before", "")


def test_the_bundled_log(said) -> None:  # type: ignore[no-untyped-def]
    from freehold.audit import audit
    from freehold.traffic import read

    out = said(audit(read([LOG])))
    for words in ("23,700 calls", "support-desk-router", "gpt-4o-mini", "2027-01-14", "requests asked again"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 80
