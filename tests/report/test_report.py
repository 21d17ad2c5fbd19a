"""The report is one file that says what the nouns say, loads nothing, and lets no text become markup."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from freehold.nouns import Artifact, Audit, BadRow, LabelRow, Measure, Plan, Point, TermsNotice, Verdict
from freehold.report import report
from freehold.report.curve import plot, rows
from freehold.report.words import dollars

LOADERS = {"src", "srcset", "data", "poster", "action", "background", "formaction", "ping"}
VOID = {"meta", "link", "br", "hr", "img", "input", "rect"}
EVIL = "</script><img src=x onerror=alert(1)>{{7*7}}\"'&"


class Page(HTMLParser):
    """A page's tags, its visible text and its scripts; an element left open or closed out of turn fails."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, self.open
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> out of turn"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.words.append(data)


def test_everything_that_is_there_is_shown(audit: Audit, plan: Plan, verdict: Verdict, artifact: Artifact) -> None:
    page = Page(report(audit, plan, [verdict], artifacts=[artifact], notices=["Bodies are constructed."], name="desk"))
    evidence = verdict.evidence
    assert evidence
    assert verdict.student
    shown = [
        "69.0 % of calls can stay home.",
        str(verdict.kept_home),
        str(verdict.agreement),
        str(verdict.threshold),
        f"{evidence.fit_calls:,}",
        f"{evidence.cal_calls:,}",
        f"{evidence.cal_groups:,}",
        str(evidence.out_of_time),
        "99.12 %",  # lower limit after selection
        evidence.method,
        str(verdict.noise),
        str(verdict.latency),
        verdict.reason,
        verdict.student.sha256,
        "bge-small-en, int8",
        "MIT",
        "members",
        "0.41",
        *[dollars(m.value) for m in verdict.money.values()],
        *plan.assumptions,
        "(assumed)",
        plan.machine_cost.method,
        f"{audit.tokens.prompt:,}",
        f"{audit.tokens.completion:,}",
        "21 Sep 2026 to 2 Nov 2026",
        "14 Jan 2027",
        "51",
        "212 texts asked 431 times",
        str(audit.repeats.self_agreement),
        "not JSON: truncated",
        "a message has no role",
        *audit.warnings,
        "Services Agreement 3.3(e)",
        "not legal advice",
        "https://openai.com/policies/services-agreement",
        "1 Jan 2026",
        "Bodies are constructed.",
        "1,196",
        *[row.label for row in verdict.labels],
    ]
    for words in shown:
        assert words in page.text, words
    assert "logs/" not in page.text  # file names only: a report is passed on


def test_every_point_of_the_curve_is_in_the_table(audit: Audit, verdict: Verdict) -> None:
    page = Page(report(audit, None, [verdict]))
    for point in verdict.curve:
        row = f"{point.threshold} {point.kept:,} {100 * point.kept / 5900:.1f} % {point.errors:,}"
        assert row in page.text, row
    assert len(rows(verdict)) == len({p.kept for p in verdict.curve})


def test_the_plot_is_the_curve(verdict: Verdict) -> None:
    drawn = plot(verdict)
    assert drawn
    x, low, high, bar, away, home, certified = drawn["columns"]
    assert len({len(c) for c in (*drawn["columns"], drawn["agreement"], drawn["thresholds"])}) == 1
    assert x == sorted(x)
    assert (x[0], x[-1]) == (0.0, 100.0)
    assert set(bar) == {99.0}
    assert [a for a in certified if a is not None] == [pytest.approx(100 * (1 - 27 / 4072), abs=1e-3)]
    at = next(i for i, a in enumerate(certified) if a is not None)
    assert x[at] == pytest.approx(100 * 4072 / 5900, abs=1e-3)
    assert home[at] == away[at]  # the two lines meet there
    assert all(a is None for a in home[at + 1 :])
    assert all(a is None for a in away[:at])
    for lo, mid, hi in zip(low[1:], drawn["agreement"][1:], high[1:], strict=True):
        assert lo <= mid <= hi
    assert low[-1] == pytest.approx(92.35, abs=0.05)  # 5,489 of 5,900: Clopper-Pearson 95 %
    assert drawn["floor"] <= 92


def test_a_curve_without_a_certified_point(verdict: Verdict) -> None:
    drawn = plot(dataclasses.replace(verdict, threshold=None, decision="stay"))
    assert drawn
    assert set(drawn["columns"][5]) == set(drawn["columns"][6]) == {None}
    assert None not in drawn["columns"][4][1:]
    assert plot(dataclasses.replace(verdict, curve=verdict.curve[:1])) is None
    assert plot(dataclasses.replace(verdict, curve=())) is None


def test_it_loads_nothing(audit: Audit, plan: Plan, verdict: Verdict, artifact: Artifact) -> None:
    html = report(audit, plan, [verdict], artifacts=[artifact])
    page = Page(html)
    for tag, attributes in page.tags:
        assert not LOADERS & attributes.keys(), (tag, attributes)
        assert not [a for a in attributes if a.startswith("on") or a == "style"], (tag, attributes)
        if tag == "link":
            assert attributes["href"] == "data:,"
        if tag == "a":
            assert attributes["href"].startswith(("https://", "#"))
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "Permission is hereby granted" in page.scripts[-2]  # the library's licence goes with it


def variants(audit: Audit, plan: Plan, verdict: Verdict) -> dict[str, tuple[Any, ...]]:
    needs = dataclasses.replace(
        verdict, decision="need_more", threshold=None, needed=1200, reason="Too few calls.", evidence=None,
        student=None, curve=(), labels=(), money={}, kept_home=Measure(0.0), agreement=Measure(None), terms=(),
    )  # fmt: skip
    return {
        "$41.20 a month.": (audit, None, []),
        "Worth a try.": (audit, plan, []),
        "Not yet: 1,200 more calls could prove it.": (audit, plan, [needs]),
        "Not yet: the proof needs more calls.": (audit, None, [dataclasses.replace(needs, needed=None)]),
        "Stay with gpt-4o-mini.": (audit, plan, [dataclasses.replace(needs, decision="stay", needed=None)]),
        "69.0 % of calls can stay home.": (audit, plan, [verdict]),
    }


def test_the_headline_from_whatever_there_is(audit: Audit, plan: Plan, verdict: Verdict) -> None:
    for sentence, held in variants(audit, plan, verdict).items():
        page = Page(report(*held))
        assert sentence in page.text, sentence
        assert [t for t, _ in page.tags].count("h1") == 1
    second = dataclasses.replace(verdict, task="other", share=0.0, decision="stay", threshold=None)
    text = Page(report(audit, plan, [verdict, second])).text
    assert "proof 5,900 calls the student never saw" in text  # of the task that moves
    assert "in all, with one machine up all month" in text


def test_a_bare_log_without_times_or_prices(audit: Audit, plan: Plan, verdict: Verdict) -> None:
    unknown = Measure(None, unit="USD", method="no times")
    bare = dataclasses.replace(
        audit, first=None, last=None, per_month=unknown, money=unknown, models=(), bad=(), tasks=()
    )
    text = Page(report(bare)).text
    assert "What was read" in text
    assert "the rows carry no time" in text
    bill = dataclasses.replace(verdict, money={"bill": unknown})
    assert "money not known" in Page(report(bare, plan, [bill])).text
    assert "bill now not known" in text


def test_a_loss_is_called_a_loss(audit: Audit, plan: Plan, verdict: Verdict) -> None:
    dear = dataclasses.replace(plan, machine_cost=Measure(0.10, unit="USD/h", method="list price"))
    text = Page(report(audit, dear, [verdict])).text
    assert "costs $44.62 a month more" in text  # 730.5 h at $0.10, less 69.0169 % of $41.20
    assert "$73.05" in text
    assert "in all, with one machine up all month $41.20 $73.05 -$44.62" in text


def test_text_stays_text(audit: Audit, plan: Plan, verdict: Verdict, artifact: Artifact) -> None:
    assert verdict.evidence
    assert verdict.student
    assert plan.tasks
    task = dataclasses.replace(audit.tasks[0], name=EVIL, labels=(EVIL,), models=(EVIL,), rule=EVIL)
    model = dataclasses.replace(audit.models[0], model=EVIL, source="javascript:alert(1)")
    hostile = dataclasses.replace(
        verdict, task=EVIL, reason=EVIL, notes=(EVIL,), labels=(LabelRow(EVIL, 9, 5, 1, EVIL),),
        curve=(Point(0.5, 10, 1), Point(0.0, 20, 2)),
        evidence=dataclasses.replace(verdict.evidence, method=EVIL, cal_sha256=EVIL),
        student=dataclasses.replace(verdict.student, base=EVIL, licence=EVIL),
        terms=(TermsNotice(EVIL, EVIL, EVIL, EVIL, EVIL, 'https://x/"><script>alert(1)</script>', EVIL),),
    )  # fmt: skip
    log = dataclasses.replace(audit, tasks=(task,), models=(model,), bad=(BadRow(1, EVIL, EVIL),), warnings=(EVIL,))
    steps = dataclasses.replace(plan, tasks=(dataclasses.replace(plan.tasks[0], name=EVIL, reason=EVIL),))
    recipe = dataclasses.replace(artifact, recipe={EVIL: EVIL})
    plain = Page(report(audit, plan, [verdict], artifacts=[artifact], notices=["x"], name="x"))
    page = Page(report(log, steps, [hostile], artifacts=[recipe], notices=[EVIL], name=EVIL, made=EVIL))
    assert {t for t, _ in page.tags} == {t for t, _ in plain.tags}  # no img
    assert len(page.scripts) == len(plain.scripts) == 3
    assert page.scripts[1:] == plain.scripts[1:]
    json.loads(page.scripts[0])
    assert page.text.count(EVIL) > 20
    assert all(a["href"].startswith(("https://", "#")) for t, a in page.tags if t == "a")
    assert not [a for _, a in page.tags if "onerror" in a]
