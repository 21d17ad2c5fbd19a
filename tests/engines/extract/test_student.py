"""The parts of the extraction student that serve: rules, form, reading, decoding."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from freehold.engines.encoder import _data
from freehold.engines.extract.decode import Decoder
from freehold.engines.extract.form import Form, Label, Node, SpanField, Style, Writer
from freehold.engines.extract.read import Reader, shape_of
from freehold.engines.extract.rules import value
from freehold.errors import ArtifactDamaged

TOKENIZER = _data().joinpath("all-minilm-l6-v2", "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("rule", "span", "wanted"),
    [
        ("exact", "New  York", "New  York"),
        ("spaces", "New \n York", "New York"),
        ("lower", "New York", "new york"),
        ("upper", "eur", "EUR"),
        ("digits", "(555) 01-99", "5550199"),
        ("digits", "room 5", None),
        ("number", "1,200", 1200),
        ("number", "1,20", None),
        ("number", "-3.50", -3.5),
        ("number", "forty-two", 42),
        ("number", "forty twelve", None),
        ("number", "٣", None),
        ("float", "3", 3.0),
        ("plain", "1,200", "1200"),
        ("date:%Y-%m-%d:m", "March 3rd, 2026", "2026-03-03"),
        ("date:%Y-%m-%d:m", "03/04/2026", "2026-03-04"),
        ("date:%Y-%m-%d:d", "03/04/2026", "2026-04-03"),
        ("date:%d.%m.%Y:d", "3 Sept 2026", "03.09.2026"),
        ("date:%Y-%m-%d:d", "31 February 2026", None),
        ("date:%Y-%m-%d:d", "7 of 2026", None),
        ("date:%Y-%m-%d:n", "May 4, 2026", "2026-05-04"),
        ("date:%Y-%m-%d:n", "3/4/2026", None),
        ("date:%Y-%m-%d:n", "4/4/2026", "2026-04-04"),
        ("date:%Y-%m-%d:n", "13/4/2026", "2026-04-13"),
        ("date:%Y-%m-%d:n", "4/13/2026", "2026-04-13"),
    ],
)
def test_a_rule_writes_the_value_or_nothing(rule: str, span: str, wanted: object) -> None:
    made = value(rule, span)
    assert (made, type(made)) == (wanted, type(wanted))


def form(**changes: object) -> Form:
    made = {
        "root": "object",
        "labels": (Label(("intent",), ('"book"', '"rate"')), Label(("slots", "vip"), ("", "true"))),
        "spans": (
            SpanField(("slots", "city"), "exact", "sometimes", ("", "null")),
            SpanField(("slots", "seats"), "number", "never", ('"unknown"', "")),
        ),
        "nodes": (Node((), ("", ""), ("intent", "slots")), Node(("slots",), ("{}", ""), None)),
        "governor": 0,
        "allowed": ((0, 1), (0,)),
        "choices": (((0,), (0, 1)), ((1,), (0,))),
        "style": Style(),
    }
    return Form(**{**made, **changes})  # type: ignore[arg-type]


TEXT = "four seats, Rome to Oslo"


@pytest.mark.parametrize(
    ("labels", "spans", "wanted"),
    [
        ((0, 0), [(1, 0, 4), (0, 12, 16)], '{"intent": "book", "slots": {"seats": 4, "city": "Rome"}}'),
        (
            (0, 1),
            [(0, 12, 16), (0, 20, 24)],
            '{"intent": "book", "slots": {"vip": true, "seats": "unknown", "city": ["Rome", "Oslo"]}}',
        ),
        ((1, 0), [], '{"intent": "rate", "slots": {"city": null}}'),
    ],
)
def test_an_answer_is_written_as_the_log_writes_it(
    labels: tuple[int, ...], spans: list[tuple[int, int, int]], wanted: str
) -> None:
    assert Writer(form()).write(labels, spans, TEXT) == wanted


def test_what_no_rule_can_write_is_no_answer() -> None:
    assert Writer(form()).write((0, 0), [(1, 12, 16)], TEXT) is None


def test_a_field_that_every_logged_answer_has_is_needed() -> None:
    without = Writer(form()).write((0, 0), [], TEXT)
    assert without is not None
    assert Writer(form(needed=((0,), ()))).write((0, 0), [], TEXT) is None
    assert Writer(form(needed=((), (0,)))).write((0, 0), [], TEXT) == without


def test_tool_calls_and_styles() -> None:
    tools = form(
        root="list",
        labels=(Label((0, "name"), ('"look"',)),),
        spans=(SpanField((0, "arguments", "city"), "exact", "never", ("",)),),
        nodes=(
            Node((), ("",), (0,)),
            Node((0,), ("",), ("name", "arguments")),
            Node((0, "arguments"), ("{}",), ("city",)),
        ),
        governor=-1,
        allowed=((0,),),
        choices=(((0,),),),
        style=Style(",", ":", ascii=True, before="```json\n", after="\n```"),
    )  # fmt: skip
    assert (
        Writer(tools).write((0,), [(0, 0, 5)], "Malmö")
        == '```json\n[{"name":"look","arguments":{"city":"Malm\\u00f6"}}]\n```'
    )
    assert json.loads(Writer(tools).write((0,), [], "")[8:-4]) == [{"name": "look", "arguments": {}}]  # type: ignore[index]


def test_reading_keeps_the_places_of_words() -> None:
    read = Reader(TOKENIZER, most=64).read("Play Björk at 7pm, été")
    assert read is not None
    assert [read.text[a:b] for a, b in read.places] == ["Play", "Björk", "at", "7pm", ",", "été"]
    assert [read.shapes[t] for t in read.first] == [5, 5, 3, 3, 2, 3]
    pieces = Reader(TOKENIZER, most=64, pieces=True).read("at 7pm")
    assert pieces is not None
    assert [pieces.text[a:b] for a, b in pieces.places] == ["at", "7", "##pm"[2:]]


@pytest.mark.parametrize(
    ("word", "shape"), [("7", 1), ("-", 2), ("at", 3), ("USA", 4), ("Oslo", 5), ("iPad", 6), ("A", 7), ("東", 6)]
)
def test_a_words_writing(word: str, shape: int) -> None:
    assert shape_of(word) == shape


@pytest.mark.parametrize(
    "text",
    ["", "   ", "\x00\x01", "a\ud83db", "\ud83d\ude00 x", "\u202eabc\u0300", "é" * 300, "\U0001f469\u200d\U0001f680 a"],
)
def test_odd_texts_are_read(text: str) -> None:
    read = Reader(TOKENIZER, most=64).read(text)
    assert read is not None
    assert (len(read.first), len(read.ids)) == (len(read.places), len(read.shapes))
    assert all(0 <= a < b <= len(read.text) for a, b in read.places)


def test_a_text_too_long_is_not_cut() -> None:
    reader = Reader(TOKENIZER, most=16)
    assert reader.read("a " * 14) is not None
    assert reader.read("a " * 15) is None
    assert reader.read("x" * 10_000) is None


def test_no_tokeniser_is_damage() -> None:
    with pytest.raises(ArtifactDamaged, match=r"tokenizer\.json"):
        Reader(TOKENIZER[:1000], most=16)


def legal(path: tuple[int, ...], once: set[int]) -> bool:
    follows = all(t % 2 or t == 0 or (i > 0 and path[i - 1] in (t, t - 1)) for i, t in enumerate(path))
    return follows and all(path.count(2 * k + 1) <= 1 for k in once)


@pytest.mark.parametrize("seed", range(20))
def test_decoding_finds_the_best_of_all_answers(seed: int) -> None:
    """Against all labels and tags of four words, tried one by one."""
    rng = np.random.default_rng(seed)
    words = 4
    tags = rng.normal(0, 2, (words, 5))
    tags -= np.logaddexp.reduce(tags, axis=1, keepdims=True)
    labels = [x - np.logaddexp.reduce(x) for x in rng.normal(0, 1, (2, 2))]
    made = form()
    best, total = (-np.inf, (), ()), []
    for g, vip in itertools.product(range(2), range(2)):
        if vip not in made.choices[g][1]:
            continue
        allowed = {0, *(t for k in made.allowed[g] for t in (2 * k + 1, 2 * k + 2))}
        for path in itertools.product(range(5), repeat=words):
            if set(path) <= allowed and legal(path, set()):
                score = labels[0][g] + labels[1][vip] + sum(tags[i, t] for i, t in enumerate(path))
                total.append(score)
                if legal(path, {1}):
                    best = max(best, (score, (g, vip), path))  # type: ignore[assignment,type-var]
    found = Decoder(made).best([tags], labels, 0.0)
    assert found.labels == best[1]
    path = [0] * words
    for f, a, b in found.spans:
        path[a:b] = [2 * f + 1] + [2 * f + 2] * (b - a - 1)
    assert tuple(path) == best[2]
    share = np.exp(best[0] - np.logaddexp.reduce(total))
    assert found.features[0] == pytest.approx(np.log(share / (1 - share)), rel=1e-6)


def test_serving_needs_no_torch() -> None:
    heavy = ("torch", "transformers", "onnx", "sklearn")
    code = "import sys, freehold.engines.extract.student, freehold.engines.open\n"
    code += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
