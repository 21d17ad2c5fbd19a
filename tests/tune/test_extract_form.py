"""What a log's answers are made of, found out without training anything."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from freehold.engines.encoder import _data
from freehold.engines.extract.form import Writer
from freehold.engines.extract.read import Reader
from freehold.tune.extract.answers import parse_all, style_of
from freehold.tune.extract.fields import NotExtractable
from freehold.tune.extract.plan import plan
from freehold.tune.extract.understand import Understood, understand

READER, PIECES = (
    Reader(_data().joinpath("all-minilm-l6-v2", "tokenizer.json").read_bytes(), most=256, pieces=pieces)
    for pieces in (False, True)
)
CITIES = ["Oslo", "Rome", "Lima", "Cairo", "Quito", "Delhi", "Accra", "New York"]
Row = tuple[str, Any]


def understood(
    row: Callable[[random.Random], Row], rows: int = 200, *, pieces: bool = False, few: bool = False
) -> tuple[Understood, list[Row]]:
    rng = random.Random(0)
    made = [row(rng) for _ in range(rows)]
    answers = [a if isinstance(a, str) else json.dumps(a, ensure_ascii=False) for _, a in made]
    reads = (PIECES if pieces else READER).read_all([t for t, _ in made])
    parsed = parse_all(answers)
    some = understand(
        [r for r in reads if r], [p for p in parsed if p], style_of(answers, parsed), pieces=pieces, few=few
    )
    return some, made


def words(found: Understood, made: list[Row], at: int) -> dict[str, list[str]]:
    """The words that each span field got in a row."""
    read, row = READER.read(made[at][0]), found.rows[at]
    assert read is not None
    assert row is not None
    got: dict[str, list[str]] = {}
    for f, a, b in row.spans:
        got.setdefault(str(found.form.spans[f].path[-1]), []).append(
            read.text[read.places[a][0] : read.places[b - 1][1]]
        )
    return got


def test_a_value_that_stands_twice_is_placed_by_its_surroundings() -> None:
    def row(rng: random.Random) -> Row:
        a, b = rng.choice(CITIES), rng.choice(CITIES)
        first, second = f"from {a}", f"to {b}"
        text = f"{first} {second}" if rng.random() < 0.5 else f"{second} {first}"
        return text, {"to": b, "from": a}

    found, made = understood(row, 400)
    assert found.left_out == 0
    twice = [i for i, (_, answer) in enumerate(made) if answer["to"] == answer["from"]]
    assert len(twice) > 20
    for i in twice:
        text, read, got = made[i][0], READER.read(made[i][0]), found.rows[i]
        assert read is not None
        assert got is not None
        for f, a, _ in got.spans:
            name = found.form.spans[f].path[-1]
            before = read.text[: read.places[a][0]].split()[-1]
            assert before == name, text


def test_lists_keep_their_order_and_other_orders_are_left_out() -> None:
    def row(rng: random.Random) -> Row:
        some = rng.sample(CITIES, 2)
        return " and ".join(some), {"cities": some}

    found, _ = understood(row)
    assert found.left_out == 0
    assert found.form.spans[0].many == "always"

    def backwards(rng: random.Random) -> Row:
        text, answer = row(rng)
        return text, {"cities": answer["cities"][::-1]}

    with pytest.raises(NotExtractable):
        understood(backwards)


@pytest.mark.parametrize("nothing", [None, "", [], "unknown", "__left out__"])
def test_what_is_not_there_is_written_as_the_log_writes_it(nothing: Any) -> None:
    def row(rng: random.Random) -> Row:
        city = rng.choice(CITIES)
        if rng.random() < 0.5:
            return f"fly to {city}", {"go": True, "city": city}
        return "fly away", {"go": True} if nothing == "__left out__" else {"go": True, "city": nothing}

    found, made = understood(row)
    assert found.left_out == 0
    answer = Writer(found.form).write((0,), [], "fly away")
    assert answer is not None
    assert json.loads(answer) == next(a for t, a in made if t == "fly away")


def test_nothing_may_depend_on_the_governor() -> None:
    def row(rng: random.Random) -> Row:
        kind, city = rng.choice(["a", "b"]), rng.choice(CITIES)
        named = rng.random() < 0.5
        answer = {"kind": kind.upper(), "city": city if named else None}
        if kind == "b":
            answer = {"kind": "B", "city": city} if named else {"kind": "B"}
        return f"{kind} {city if named else ''}", answer

    copied, _ = understood(row)
    assert copied.left_out > 20
    found, _ = understood(row, few=True)
    assert found.left_out == 0
    assert [label.path for label in found.form.labels] == [("kind",)]


def test_values_that_share_words_are_tagged_in_layers() -> None:
    def row(rng: random.Random) -> Row:
        first, last = rng.choice(["Ann", "Bo", "Cy"]), rng.choice(["Lee", "Ray", "Kim"])
        return f"call {first} {last} now", {"name": f"{first} {last}", "first": first, "last": last}

    found, made = understood(row)
    assert found.left_out == 0
    assert [s.layer for s in found.form.spans] == [0, 1, 1]
    assert words(found, made, 0)["name"] == [made[0][1]["name"]]


def test_values_inside_words_need_pieces() -> None:
    def row(rng: random.Random) -> Row:
        weight = rng.randint(1, 400)
        return f"send {weight}kg", {"weight": str(weight)}

    with pytest.raises(NotExtractable, match="weight"):
        understood(row)
    found, _ = understood(row, pieces=True)
    assert found.left_out == 0


def test_lists_of_objects() -> None:
    def row(rng: random.Random) -> Row:
        some = [
            (rng.choice(["one", "two", "ten"]), rng.choice(["tea", "soup", "rice"])) for _ in range(rng.randint(1, 3))
        ]
        numbers = {"one": 1, "two": 2, "ten": 10}
        items = [{"n": numbers[n], "what": what} for n, what in some]
        return ", ".join(f"{n} {what}" for n, what in some), {"items": items}

    found, _ = understood(row, 600)
    assert found.left_out == 0
    assert {s.path for s in found.form.spans} == {("items", i, key) for i in range(3) for key in ("n", "what")}


def test_a_list_of_more_than_ten_objects_keeps_its_order() -> None:
    def row(rng: random.Random) -> Row:
        names = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(12)]
        return f"add {', '.join(names)}", {"items": [{"name": name} for name in names]}

    found, _ = understood(row, 60)
    assert found.left_out == 0


@pytest.mark.parametrize(("ambiguous", "rule"), [(False, "n"), (True, "m")])
def test_a_log_without_ambiguous_dates_does_not_say_which_comes_first(ambiguous: bool, rule: str) -> None:
    def row(rng: random.Random) -> Row:
        month, day = rng.randint(1, 12), rng.randint(1 if ambiguous else 13, 28)
        return f"on {month}/{day}/2026", {"date": f"2026-{month:02}-{day:02}"}

    found, _ = understood(row)
    assert found.left_out == 0
    assert [s.rule for s in found.form.spans] == [f"date:%Y-%m-%d:{rule}"]


def test_the_order_of_keys_and_the_separators_are_the_logs() -> None:
    def row(rng: random.Random) -> Row:
        a, b = rng.choice(CITIES), rng.choice(["tea", "soup"])
        text = f"{a} {b}" if rng.random() < 0.5 else f"{b} {a}"
        order = {"city": a, "dish": b} if text.startswith(a) else {"dish": b, "city": a}
        return text, json.dumps(order, indent=2)

    found, made = understood(row)
    writer = Writer(found.form)
    for i, (text, answer) in enumerate(made):
        read, got = READER.read(text), found.rows[i]
        assert read is not None
        assert got is not None
        spans = [(f, read.places[a][0], read.places[b - 1][1]) for f, a, b in got.spans]
        assert writer.write(got.labels, spans, read.text) == answer


def test_a_fence_around_the_answers() -> None:
    found, _ = understood(lambda rng: ("go", '```json\n{"a": ' + rng.choice("12") + "}\n```"))
    assert Writer(found.form).write((0,), [], "go") in ('```json\n{"a": 1}\n```', '```json\n{"a": 2}\n```')


def test_numbers_keep_their_kind() -> None:
    def row(rng: random.Random) -> Row:
        n = rng.randint(1, 99)
        return f"{n} of {n + 100}", {"as_number": n, "as_float": float(n + 100), "as_text": str(n)}

    found, _ = understood(row)
    assert found.left_out == 0
    assert {s.path[0]: s.rule for s in found.form.spans} == {
        "as_number": "number",
        "as_float": "float",
        "as_text": "exact",
    }


def test_a_date_with_no_single_rule_is_not_extractable() -> None:
    def row(rng: random.Random) -> Row:
        return f"on day {rng.randint(1, 28)} please", {"date": f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"}

    with pytest.raises(NotExtractable, match="date"):
        understood(row, 400)


def test_text_that_was_latin_1_and_text_beyond_it() -> None:
    names = ["Sigur Rós", "Björk", "Mötley Crüe", "Beyoncé", "宇多田", "\U0001f3b5 mix", "e\u0301te\u0301"]

    def row(rng: random.Random) -> Row:
        name = rng.choice(names)
        return f"play {name}!", {"artist": name}

    found, made = understood(row)
    assert found.left_out == 0
    assert words(found, made, 0)["artist"] == [made[0][1]["artist"]]


@pytest.mark.parametrize(
    ("rows", "minutes", "epochs", "used"),
    [(300, 12, 20, 300), (12_800, 12, 7, 12_800), (12_800, 4, 2, 12_800), (500_000, 12, 2, 47_436), (99, 1e-4, 2, 99)],
)
def test_what_follows_from_the_minutes(rows: int, minutes: float, epochs: int, used: int) -> None:
    made = plan(minutes, rows=rows, tokens=rows * 12, per_token=10_600_000, width=384, bf16=True)
    assert (made.epochs, made.rows) == (epochs, pytest.approx(used, rel=0.05))
    assert f"{minutes:g} minutes" in made.why
    assert plan(minutes, rows=rows, tokens=rows * 12, per_token=10_600_000, width=768, bf16=False).rate == made.rate / 2
