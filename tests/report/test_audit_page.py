"""The audit's page in the report: every part says what the noun says, an empty part is not there, text stays text."""

from __future__ import annotations

import dataclasses
import re
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from freehold.cli import main
from freehold.nouns import Audit, FirstMove, Health, Measure, Plan, Repeats, Spend, Surface, Tokens, Verdict
from freehold.nouns.shown import masked, shown
from freehold.project import Project
from freehold.report import report
from freehold.report.days import chart, nice

from ..audit.rich_audit import DAYS, EVIL, MODELS, RICH, TASKS, hostile, rich
from .test_browser import look
from .test_report import LOADERS, Page

PARTS = (
    "tasks", "moves", "time", "models", "repeats", "users", "private", "health", "load", "surface", "read", "notes",
)  # fmt: skip
LOG = Path(__file__).resolve().parents[2] / "examples" / "support-desk" / "calls.jsonl.gz"


def ids(page: Page) -> set[str]:
    return {a["id"].removeprefix("audit-") for _, a in page.tags if a.get("id", "").startswith("audit-")} - {"title"}


def empty() -> Audit:
    """What a log without times, prices and anything else leaves."""
    unknown = Measure(None, unit="USD", method="no call has a price")
    return rich(
        tasks=(), bad=(), bad_rows=0, money=unknown, per_month=unknown, first=None, last=None, models=(), conflicts=0,
        repeats=Repeats(0, 0, Measure(None)), warnings=(), sampled=0, users=(), days=(), estimate=Measure(None),
        private=(), surface=Surface(), health=Health(), load=(), moves=(),
        log=dataclasses.replace(RICH.log, formats={}, skipped=0),
    )  # fmt: skip


def spend(at: date, calls: int = 10, money: float | None = 1.0) -> Spend:
    return Spend(at.isoformat(), calls, Tokens(), Measure(money, n=calls, unit="USD"), calls if money else 0)


def test_every_part_is_there_and_says_what_the_audit_says() -> None:
    page = Page(report(rich()))
    assert ids(page) == set(PARTS)
    assert {a["href"] for t, a in page.tags if t == "a" and a["href"].startswith("#audit-")} == {
        f"#audit-{part}" for part in PARTS
    }
    shown_words = [
        "$776.82 in this log, $563.20 a month at this pace",
        "20,000 calls drawn from them",
        "reply-draft $404.90 · 52.1 % est.",
        "in no task $2.11 · 0.3 %",  # 41,200 less the 39,600 calls of the tasks
        f"{RICH.estimate} of the money rests on them",
        "nine in ten of its values stand in the text",
        "70 to 88, n = 400",
        "1,196 ✓",  # 9,400 calls are enough at 0.99
        "3 days without a call",
        "gpt-4o-mini 14 Jan 2027 50 days left · 21,300 calls · $44.40 a month · ticket-router",
        "switched off 58 days ago",
        "36.6 %",
        str(RICH.repeats.saved),
        str(RICH.repeats.self_agreement),
        "95.8 % 92.1 % to 98.0 % 212",  # a task's noise floor, with interval and n
        "j…@example.com",
        "no user named $4.25",
        "xxxx.xxx@xxxxxxx.xxx",
        "check sum is right",
        "context_length_exceeded",
        "57 calls, 0.1 %",
        "61.20 times",
        "lookup_order",
        "Helicone",
        "712",
        "not JSON: truncated 2 17",  # twice among the bad rows, first at line 17
        *RICH.warnings,
    ]
    for words in shown_words:
        assert words in page.text, words
    for private in ("jane.doe", "0134", "abcdefgh", "how do i freeze my card"):
        assert private not in page.text, private


def test_an_empty_part_has_no_heading() -> None:
    page = Page(report(empty()))
    assert ids(page) == {"read"}
    assert "not known" in page.text
    parts = {
        "moves": rich(moves=()),
        "time": rich(days=()),
        "users": rich(users=()),
        "private": rich(private=()),
        "health": rich(health=Health()),
        "load": rich(load=()),
        "surface": rich(surface=Surface()),
        "notes": rich(warnings=()),
        "models": rich(models=()),
        "repeats": rich(repeats=Repeats(0, 0, Measure(None))),
    }
    for part, audit in parts.items():
        assert set(PARTS) - ids(Page(report(audit))) == {part}


def test_with_a_verdict_the_audit_is_a_part_of_its_own(audit: Audit, plan: Plan, verdict: Verdict) -> None:
    alone, both = Page(report(audit)), Page(report(audit, plan, [verdict]))
    links = [a["href"] for t, a in both.tags if t == "a" and a["href"].startswith("#")]
    assert links[:2] == ["#verdict", "#audit"]
    assert "#task-1" in links  # the bar of a task leads to its verdict
    assert "#task-1" not in [a.get("href") for _, a in alone.tags]
    assert "What its calls share" in alone.text
    assert "What its calls share" not in both.text
    assert [t for t, _ in both.tags].count("article") == [t for t, _ in alone.tags].count("article") == 1


def test_hostile_text_stays_text() -> None:
    plain, html = Page(report(rich())), report(hostile(), name=EVIL)
    page = Page(html)
    assert {t for t, _ in page.tags} <= {t for t, _ in plain.tags}  # no img
    assert len(page.scripts) == len(plain.scripts)
    assert page.text.count(shown(EVIL, 400)) > 12
    assert "x" * 121 not in page.text.replace("x" * 300, "")  # names are cut; a reason or a note is said in full
    assert "\x1b" not in html[html.index("<main") :]
    assert "\u202e" not in html[html.index("<main") :]
    for tag, attributes in page.tags:
        assert not LOADERS & attributes.keys(), (tag, attributes)
        assert not [a for a in attributes if a.startswith("on") or a == "style"], (tag, attributes)


def test_a_gap_is_a_gap_and_money_without_a_price_is_none() -> None:
    others = [Spend(name, 5, Tokens(), Measure(None)) for name in ("before 2024-01-01", "")]
    drawn = chart([*DAYS, *others])
    assert drawn
    assert (drawn.unit, len(drawn.columns), drawn.empty) == ("day", 39, 3)
    lefts = [c.x for c in drawn.columns]
    steps = [b - a for a, b in pairwise(lefts)]
    assert max(steps) == pytest.approx(4 * min(steps), abs=0.01)  # three days are missing once
    assert all(c.x >= 0 and c.x + c.width <= 100 for c in drawn.columns)
    most = max(drawn.columns, key=lambda c: c.calls.height)
    assert most.calls.height <= 94
    assert most.said.startswith("24 Sep 2026: 1,150 calls, $21.62")
    unpaid = chart([spend(date(2026, 1, 1), money=None), spend(date(2026, 1, 2))])
    assert unpaid
    assert [c.money is None for c in unpaid.columns] == [True, False]
    assert "no price" in unpaid.columns[0].said
    unpriced = report(rich(days=tuple(spend(date(2026, 1, k), money=None) for k in (1, 2, 3))))
    assert "calls a day" in unpriced
    assert "money a day" not in unpriced


@pytest.mark.parametrize(
    ("span", "unit", "most"),
    [(1, "day", 2), (109, "day", 110), (110, "week", 110), (700, "week", 110), (2_000, "month", 110),
     (12_000, "year", 110), (400_000, "10 years", 112)],
)  # fmt: skip
def test_a_long_log_is_drawn_in_longer_units(span: int, unit: str, most: int) -> None:
    first = date(1900, 1, 3)
    days = [spend(first + timedelta(days=k), k + 1) for k in range(0, span + 1, max(1, span // 3000))]
    drawn = chart(days)
    assert drawn
    assert drawn.unit == unit
    assert len(drawn.columns) + drawn.empty <= most
    assert drawn.ticks[0].text.endswith("1900") or len(drawn.columns) <= 4 or "year" in unit
    assert sum(int(re.search(r": ([\d,]+) call", c.said)[1].replace(",", "")) for c in drawn.columns) == sum(  # type: ignore[index]
        d.calls for d in days
    )


def test_what_a_log_cannot_say_is_not_said_as_0() -> None:
    """Times and token counts alone: no repeats, no cache, no answer formats, no days of a clock that starts at 0."""
    usd = Measure(0.0, n=0, unit="USD")
    bare = Repeats(0, 0, Measure(None), saved=usd, safe=usd, prefix=Measure(0.366, n=288_500))
    page = Page(report(rich(tasks=(), moves=(), repeats=bare, conflicts=0, models=(), first=0.0, last=3537.0)))
    for words in ("59 minutes of a clock that starts at 0", "whose model the log doesn't name", "36.6 %"):
        assert words in page.text, words
    for words in ("texts asked", "cache would have saved", "conflicting", "Answer formats", "1970", "0 tasks"):
        assert words not in page.text, words
    assert "time" not in ids(page)


def test_a_bill_with_calls_left_out_is_a_least_one_and_few_are_counted() -> None:
    money = Measure(0.0004, n=700, unit="USD", method="700 of 41,200 calls have a price")
    few = dataclasses.replace(
        RICH.repeats, self_agreement=Measure(0.2, 0.005, 0.716, 5), exact=Measure(0.0002, n=9_000)
    )
    noisy = dataclasses.replace(TASKS[0], noise=Measure(0.2, 0.005, 0.716, 5))
    audit = rich(money=money, per_month=Measure(None, unit="USD"), repeats=few, tasks=(noisy, *TASKS[1:]))
    text = Page(report(audit)).text
    for words in (
        "At least $0.0004 for 41,200 calls.",
        "$0.0004 (n = 700)",
        "1 of 5",
        "under 0.1 %",
        "for 1 task: of each",
    ):
        assert words in text, words
    assert "20.0 %" not in text
    never = tuple(dataclasses.replace(m, portability=Measure(0.0), reason="No rule.") for m in RICH.moves)
    assert f"nothing yet {never[0].task}: No rule." in Page(report(rich(moves=never))).text
    many = Page(report(rich(moves=RICH.moves * 9)))
    assert "The other 15 tasks" in many.text


def test_models_of_one_day_are_one_deadline() -> None:
    gone = [dataclasses.replace(MODELS[0], model=f"m{k}", calls=10) for k in range(4)]
    text = Page(report(rich(models=tuple(gone)))).text
    assert "m0, m1 and 2 more retire on 14 Jan 2027 50 days left for 40 calls" in text


def test_of_one_day_there_is_no_course() -> None:
    assert chart(DAYS[:1]) is None
    assert chart(()) is None
    page = Page(report(rich(days=DAYS[:1])))
    assert "21 Sep 2026: 600 calls, $11.28. All of one day" in page.text


def test_round_figures() -> None:
    assert [nice(v) for v in (0, 0.03, 1, 1.2, 7, 84, 1150, 99_999)] == [0, 0.03, 1, 1.5, 8, 100, 1500, 100_000]


@pytest.mark.parametrize(
    ("priced", "says"), [(0, "in no task no price"), (7, "7 of them have a price"), (1_600, "in no task $2.11 · 0.3 %")]
)
def test_calls_of_no_task_and_no_price_cost_not_nothing(priced: int, says: str) -> None:
    money = dataclasses.replace(RICH.money, n=sum(t.money.n for t in TASKS) + priced)
    text = Page(report(rich(money=money))).text
    assert says in text
    assert ("1,600 calls that share no task · " in text) == (priced == 7)


def test_many_are_cut_and_counted() -> None:
    tasks = tuple(dataclasses.replace(TASKS[0], name=f"task-{k:02}", calls=1_000) for k in range(40))
    page = Page(report(rich(tasks=tasks, models=tuple(dataclasses.replace(m) for m in MODELS * 40))))
    assert "The other 29 tasks" in page.text  # 40 and what is in no task, less the first 12
    assert "The first 100 of 200" in page.text
    assert "all others" in page.text
    assert page.text.count("seat-0") == 10 - 5


def test_names_are_shown_as_far_as_they_tell_nobody() -> None:
    assert shown("a\x00b\u202ec\n d\ud800") == "abc d"
    assert shown("x" * 300, 20) == "x" * 12 + "…" + "x" * 7
    assert [masked(n) for n in ("crm", "ana@firm.example", "+49 170 1234567", "sk-live-0123456789abcdef")] == [
        "crm", "a…@firm.example", "…67", "sk-…",
    ]  # fmt: skip


def test_the_report_of_the_bundled_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "desk"
    assert main(["audit", str(LOG), "--project", str(project)]) == 0
    assert f"freehold report --project {project}\n" in capsys.readouterr().out
    assert main(["report", "--project", str(project)]) == 0
    page = Page((project / "report.html").read_text())
    found = Project.open(project).load(Audit)
    assert {"tasks", "models", "repeats", "read"} <= ids(page)
    assert ("time" in ids(page)) == bool(found.days)
    for words in (
        "$1.40 a month.",
        "23,700 calls, 1 task, answered by gpt-4o-mini.",
        "support-desk-router",
        "14 Jan 2027",
        "No verdict yet",
    ):
        assert words in page.text
    assert str(tmp_path) not in page.text


def test_it_fits_and_says_what_overlaps(tmp_path: Path) -> None:
    """Nothing reaches over the window's edge, at any width and with any text, and no two labels of an axis touch."""
    touching = """[...document.querySelectorAll('.ticks, .axis')].flatMap(svg => {
      const boxes = [...svg.querySelectorAll('text')].map(t => t.getBoundingClientRect()).filter(b => b.width);
      return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b =>
        a.left < b.right + 4 && b.left < a.right + 4 && a.top < b.bottom && b.top < a.bottom)
        .map(() => svg.className.baseVal));
    })"""
    few = rich(days=DAYS[:4], moves=(FirstMove("t", "text", Measure(None), Measure(None), "r"),))
    for name, audit in (("rich", rich()), ("hostile", hostile()), ("few", few)):
        path = tmp_path / f"{name}.html"
        path.write_text(report(audit))
        for view in look(path, "--widths", "360,768,1180", "--schemes", "dark", "--eval", touching, "--wait", "0.1"):
            assert (view["errors"], view["overflow"], view["value"]) == ([], 0, []), view
            assert view["requests"] == [path.as_uri()]
