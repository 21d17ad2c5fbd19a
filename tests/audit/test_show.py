"""The audit on a terminal: what matters first, 80 columns, and no text of a log that steers the terminal."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from freehold.audit.show import show
from freehold.nouns import Audit, Health, Measure, Repeats, Surface

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
    assert heads[:8] == ["41,200 ca", "bill", "estimate", "must move", "must move", "must move", "first", "task"]
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
        "reply-draft text 3,900 9.5% 1.599 M 89,700 $404.90 est.",
        "old-script text 900 2.2% 369,000 20,700 not known",
        "acme-llm 900 not known no date known",
        "1 invoice-fields $154.00 80% (70% to 88%) 116 * 236 * 596 * 1,196 *",
        "$44.40 95% 464 * 944 * 2,384 * 24,784",  # no star: 21,300 calls are fewer
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
        "repeats    0 requests asked again (0 calls)",
    ]


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
