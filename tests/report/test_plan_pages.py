"""The plan's three pages say what the plan says, ask nothing of anybody, and read well with parts gone.

plan_move.json   1 billion tokens a month on a model that is switched off in 50 days: every part is there
plan_stay.json   10 million tokens a month typed by hand: no log, no law, no replay; staying is cheapest
"""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.nouns import Audit, Measure, Plan, Verdict
from freehold.project import Project
from freehold.report import report
from freehold.report.plan import plan_page
from freehold.report.plan_cto import cto
from freehold.report.plan_engineer import engineer
from freehold.report.plan_lawyer import lawyer

HERE = Path(__file__).parent
EVIL = "</script><img src=x onerror=alert(1)>{{7*7}}\"'&"
VOID = {"meta", "link", "br", "hr", "img", "input", "rect", "line", "circle"}
LOADERS = {"src", "srcset", "data", "poster", "action", "background", "formaction", "ping"}


class Page(HTMLParser):
    """Tags in order, text by the id of the article it stands in; an element closed out of turn fails."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.articles: dict[str, list[str]] = {}
        self.at = ""
        self.feed(html)
        self.close()
        assert not self.open, self.open
        self.text = _plain(" ".join(self.words))

    def of(self, anchor: str) -> str:
        return _plain(" ".join(self.articles[anchor]))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "article":
            self.at = dict(attrs)["id"] or ""
            self.articles[self.at] = []

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> out of turn"
        if tag == "article":
            self.at = ""

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)
            if self.at:
                self.articles[self.at].append(data)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\u00a0", " "))


def read(name: str) -> Plan:
    return msgspec.json.decode((HERE / f"plan_{name}.json").read_bytes(), type=Plan)


@pytest.fixture
def move() -> Plan:
    return read("move")


@pytest.fixture
def stay() -> Plan:
    return read("stay")


def page_of(plan: Plan) -> Page:
    return Page(report(None, plan, name="desk", made="2026-11-25T10:00:00+00:00"))


def test_the_cto_reads_the_advice_first(move: Plan) -> None:
    page = page_of(move)
    assert move.advice
    assert page.text.index("Must move by 14 Jan 2027.") < page.text.index("For the CTO")
    said = page.of("plan-cto")
    shown = [
        "$4,175 a month P10 to P90: $3,620 to $4,820, 4,000 draws",
        "50 days left: gpt-4o, gpt-4o-mini",
        "costs once $3,200 P10 to P90: $1,500 to $6,900",
        "cheapest of your own $148 a month",
    ]
    shown += ["Plan again when the volume rises to 31.4 billion tokens a month (now 1 billion)"]
    shown += [option.name for option in move.options]
    shown += [f"Not taken: {why}" for name, why in move.advice.rejected.items() if "multimodal" not in why and name]
    shown += ["Out: No rights in multimodal models"]
    shown += [
        "Machines of your own if rent of an H100 is at or below $0.41 an hour (7.2 times less) you: $2.95 an hour"
    ]
    shown += ["privacy = own", "$6,280", "Never counted as a saving"]
    shown += ["1.48 billion tokens a month 31 % mean load", "1,124 kWh and 388 kg CO₂ a month"]
    for text in shown:
        assert text in said, text


def test_the_nearest_flip_comes_first_and_what_never_flips_is_robust(move: Plan) -> None:
    page = cto(move)
    assert page
    assert [t.flip.assumption for t in page.turns] == ["rent of an H100", "price of gpt-6-luna", "volume"]
    assert [f.assumption for f in page.robust] == ["share that falls back to the closed API", "electricity", "people"]
    volume = page.turns[-1]
    assert volume.now == 50.0  # 1e9 between 1e7 and 1e11, by factors
    assert volume.at == pytest.approx(87.42, abs=0.01)


def test_stay_is_as_well_made(stay: Plan) -> None:
    page = page_of(stay)
    said = page.of("plan-cto")
    assert "Stay." not in said  # the report's heading says it, once
    assert "costs now $150 a month P10 to P90: $104 to $290" in said
    assert "cheapest of your own $3,020 a month llama-3-70b on 2 rented L40S; 20 times what is paid now" in said
    assert "Do this instead" in said
    assert "Record proved answers now" in said
    assert "Plan again when the volume rises to 200 million tokens a month (now 10 million)" in said
    assert "plan-lawyer" not in page.articles
    assert "typed by hand tokens 10M/month; from gpt-4-turbo; model llama-3-70b" in said


def test_the_engineer_sees_what_fits_and_what_is_not_known(move: Plan) -> None:
    said = page_of(move).of("plan-engineer")
    shown = [
        "This is the nearest plan that would",
        "llama-3.3-70b , fp8, on 2 × h100-sxm planned 29.3 GB free",
        "weights alone are more than the memory: 2.66 bits a weight would fit",
        "1 replica: the goals are not met; 95 in 100 first tokens come within 2.9 s",
        "first token after 420 ms 2.9 s",
        "cold start 2.5 min 96 s to 4.3 min",
        "out: Nobody has read this licence",
        "class I OSAID: yes",
        "1,240 tokens a second (940 to 1,560, n = 36) are predicted at 31 calls at once",
        "236 calls for a proof at 0.95",
        "Reasoning tokens: the log doesn't say",
        "Unverified facts: licences/kimi-k3, laws/us-1",
        "over 90 days old",
    ]
    for text in shown:
        assert text in said, text


def test_memory_is_drawn_to_scale(move: Plan) -> None:
    page = engineer(move)
    assert page
    planned, *_, small = page.memory
    assert planned.chosen
    assert planned.mark == 100
    assert planned.weights == pytest.approx(100 * 71.1e9 / 171_798_691_840, abs=0.01)
    assert planned.weights + planned.cache + planned.buffers < 100
    crowded = next(m for m in page.memory if m.fit.hardware == "rtx-4090")
    assert crowded.weights + crowded.cache + crowded.buffers == pytest.approx(100, abs=0.02)
    assert crowded.mark == pytest.approx(100 * 25_769_803_776 / 45.7e9, abs=0.01)
    assert small.free < 0


def test_the_lawyer_sees_what_nobody_read(move: Plan) -> None:
    said = page_of(move).of("plan-lawyer")
    shown = [
        "Nothing forbids it outright; 2 points need counsel first. Nothing may be learnt from the answers of kimi-k3.",
        "Not legal advice",
        "3 rules were not read in their own text and are marked unverified",
        "1 part in 500,000 of the third",
        "4.2 × 10¹⁸ FLOP",
        "Text to show or keep Built with Llama",
        "99,660 ask counsel",
        "“except for a Permitted Exception",
        "us-1: EO 14110 was revoked",
        "llama-3.3/policy: Keep to the policy on use",
        move.sha256,
        "freehold plan --verify",
    ]
    for text in shown:
        assert text in said, text


def test_what_is_blocked_stands_first(move: Plan) -> None:
    assert move.law
    law = dataclasses.replace(move.law, blocked=("llama-4-maverick: no rights in the EU",))
    page = lawyer(dataclasses.replace(move, law=law))
    assert page
    assert page.verdict == "Blocked: what stands below forbids it."
    said = page_of(dataclasses.replace(move, law=law)).of("plan-lawyer")
    assert said.index("no rights in the EU") < said.index("Role under the EU AI Act")


def test_each_page_is_signed_with_the_plans_hash(move: Plan) -> None:
    page = page_of(move)
    for who, anchor in (("CTO", "plan-cto"), ("engineer", "plan-engineer"), ("lawyer", "plan-lawyer")):
        said = page.of(anchor)
        assert f"Signed by the {who}" in said
        assert move.sha256 in said
    unsigned = page_of(dataclasses.replace(move, sha256=""))
    assert "so it can't be signed" in unsigned.of("plan-cto")


PARTS: list[dict[str, Any]] = [
    {name: empty}
    for name, empty in (
        ("advice", None), ("demand", None), ("options", ()), ("flips", ()), ("rests_on", ()), ("candidates", ()),
        ("fits", ()), ("speeds", ()), ("replay", None), ("law", None), ("used", ()), ("given", {}), ("today", ""),
        ("tasks", ()),
    )
]  # fmt: skip


@pytest.mark.parametrize("gone", PARTS, ids=lambda gone: next(iter(gone)))
def test_any_part_may_be_absent(move: Plan, gone: dict[str, Any]) -> None:
    text = page_of(dataclasses.replace(move, **gone)).text
    assert "None" not in text
    assert "nan" not in text.split()


@pytest.mark.parametrize("kept", ["advice", "demand", "options", "law", "replay", "fits", "candidates"])
def test_any_part_alone_is_a_page(move: Plan, kept: str) -> None:
    bare = Plan((), Measure(None), Measure(None), today="2026-11-25")
    page = page_of(dataclasses.replace(bare, **{kept: getattr(move, kept)}))
    assert page.articles
    assert "None" not in page.text


def test_unknown_figures_are_said_in_words(move: Plan) -> None:
    none = Measure(None, unit="USD/month")
    bare = dataclasses.replace(move.options[1], month=none, saves=none, chance=Measure(None), once=none, months=())
    said = page_of(dataclasses.replace(move, options=(bare,))).of("plan-cto")
    assert "not known" in said
    assert "What the ways cost is not known." in said


def test_a_plan_of_tasks_alone_has_no_pages(audit: Audit, plan: Plan) -> None:
    assert plan_page(plan) is None
    assert "plan-cto" not in report(audit, plan)


def test_beside_an_audit_the_advice_heads_the_report(audit: Audit, move: Plan) -> None:
    page = Page(report(audit, move))
    assert list(page.articles) == ["plan-cto", "plan-engineer", "plan-lawyer", "audit"]
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a" and attrs["href"].startswith("#plan-")]
    assert links[:3] == ["#plan-cto", "#plan-engineer", "#plan-lawyer"]
    assert page.text.index("Must move by 14 Jan 2027.") < page.text.index("For the CTO")


def test_a_verdict_comes_before_the_plan(audit: Audit, move: Plan, verdict: Verdict) -> None:
    page = Page(report(audit, move, [verdict]))
    assert page.text.index("of calls can stay home") < page.text.index("For the CTO")
    assert "Must move by 14 Jan 2027." in page.of("plan-cto")


def test_names_of_others_never_become_markup(move: Plan) -> None:
    raw = msgspec.json.encode(move).decode()
    for name in ("gpt-6-luna at OpenAI", "llama-3.3-70b", "Show these words", "rent of an H100", "litellm 1.109.1"):
        raw = raw.replace(name, (name + EVIL).replace("\\", "\\\\").replace('"', '\\"'))
    page = Page(report(None, msgspec.json.decode(raw, type=Plan)))
    assert not [attrs for tag, attrs in page.tags if tag == "img"]
    assert "{{7*7}}" in page.text
    for tag, attrs in page.tags:
        assert not {k for k in attrs if k.startswith("on")}, (tag, attrs)


def test_it_asks_nothing_of_anybody(move: Plan) -> None:
    page = page_of(move)
    for tag, attrs in page.tags:
        assert not LOADERS & set(attrs), (tag, attrs)
        if "href" in attrs:
            assert attrs["href"].startswith(("#", "https://", "data:,")), attrs
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_every_label_and_anchor_is_there_once(move: Plan) -> None:
    tags = page_of(move).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"][1:] for _, attrs in tags if attrs.get("href", "").startswith("#")} <= set(ids)


def test_a_project_with_a_plan_and_no_log_has_a_report(tmp_path: Path, stay: Plan) -> None:
    from freehold.report.gather import write_report

    project = Project.create(tmp_path / "desk")
    project.save(stay)
    assert "Do this instead" in write_report(project).read_text()


def test_a_way_that_would_flatten_the_plot_is_named_instead(stay: Plan) -> None:
    page = cto(stay)
    assert page
    assert page.money
    assert [line["name"] for line in page.money["lines"]] == ["gpt-4-turbo at OpenAI, as it is now"]
    assert "Not drawn: llama-3-70b on 2 rented L40S ($3,020)." in page_of(stay).of("plan-cto")


def test_a_model_that_nothing_proves_is_not_sold_as_proved(move: Plan) -> None:
    """The CTO's first figures say so, not only a note in a table."""
    option = next(o for o in move.options if o.way == "cheaper" and not o.out)
    said = "no published figure of quality on file for it: a proof on your own calls must say"
    taken = dataclasses.replace(option, notes=(said,))
    assert move.advice is not None
    advice = dataclasses.replace(move.advice, word="STAY CHEAPER", way="cheaper", figure=taken.saves, rejected={})
    options = (*(o for o in move.options if o.way != "cheaper"), taken)
    plan = dataclasses.replace(move, advice=advice, options=options)
    page = Page(report(None, plan))
    assert f"not proved {said}" in page.of("plan-cto").split("A month, each way")[0]
    assert said in page.of("plan-cto").split("What to watch")[1]
    assert "The advice takes no open model." in page.of("plan-lawyer")


def test_the_lawyer_is_told_whose_licence_is_missing(move: Plan) -> None:
    option = next(o for o in move.options if o.way != "closed")
    hosted = dataclasses.replace(option, way="hosted", name="other-9b at Somebody", model="other-9b", out=())
    assert move.advice is not None
    advice = dataclasses.replace(move.advice, word="HOSTED OPEN", way="hosted", figure=hosted.saves, name=hosted.name)
    plan = dataclasses.replace(move, advice=advice, options=(move.options[0], hosted))
    said = Page(report(None, plan)).of("plan-lawyer")
    assert "The advice takes other-9b at Somebody, whose licence isn't in this plan" in said


def test_of_many_candidates_the_best_stand_first_and_the_rest_are_folded(move: Plan) -> None:
    one = dataclasses.replace(move.candidates[0], chosen=False, out=())
    many = [dataclasses.replace(one, model=f"m{i}", quality={"arena-elo": 1000.0 + i}) for i in range(40)]
    page = engineer(dataclasses.replace(move, candidates=tuple(many)))
    assert page is not None
    assert [c.model for c in page.candidates[:2]] == ["m39", "m38"]
    html = report(None, dataclasses.replace(move, candidates=tuple(many)))
    assert "30 other models, 30 of them possible" in Page(html).of("plan-engineer")


def test_how_to_verify_is_a_command_that_there_is(move: Plan) -> None:
    assert "freehold plan --verify --project" in Page(report(None, move)).of("plan-cto")


def test_what_is_declared_rules_out_in_the_bars_too(move: Plan) -> None:
    assert move.advice is not None
    taken = next(o for o in move.options if o.way == move.advice.way and not o.out)
    other = next(o for o in move.options if o is not taken and o.way != "closed" and not o.out)
    why = "privacy = 'house' is declared, and this way does not keep it"
    advice = dataclasses.replace(move.advice, rejected={**move.advice.rejected, other.name: why})
    page = cto(dataclasses.replace(move, advice=advice))
    assert page is not None
    assert [b.option.name for b in page.bars if b.out] == [other.name]
    assert "ruled out" in Page(report(None, dataclasses.replace(move, advice=advice))).of("plan-cto")


def test_a_link_ends_where_its_address_does(move: Plan) -> None:
    assert move.law is not None
    card = dataclasses.replace(move.law.cards[0], source="its text, https://example.org/licence; read there")
    law = dataclasses.replace(move.law, cards=(card,))
    links = [a["href"] for tag, a in Page(report(None, dataclasses.replace(move, law=law))).tags if tag == "a"]
    assert "https://example.org/licence" in links
    assert not any(link.endswith(";") for link in links)


def test_the_figure_of_what_is_blocked_says_whose_it_is(move: Plan) -> None:
    other = next(o for o in move.options if o.way == "cheaper")
    assert move.advice is not None
    advice = dataclasses.replace(move.advice, word="BLOCKED", way="cheaper", figure=other.saves)
    page = cto(dataclasses.replace(move, advice=advice))
    assert page is not None
    assert page.figure == f"saved by {other.name}"


def test_when_to_plan_again_is_said_once(move: Plan) -> None:
    assert move.advice
    said = "plan again when the volume rises to 31.4 billion tokens a month"
    advice = dataclasses.replace(move.advice, instead=(*move.advice.instead, said))
    page = page_of(dataclasses.replace(move, advice=advice))
    assert page.of("plan-cto").lower().count("plan again when the volume") == 1
