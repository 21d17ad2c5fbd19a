"""An extraction student on a small world: a tiny BERT, a few hundred bookings in words, and answers that are copied."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold.engines.encoder import Encoder, _data
from freehold.engines.extract.student import FILES, ExtractStudent
from freehold.engines.label import check, read_checks
from freehold.errors import ArtifactDamaged, NothingToLearn, TooLittleMemory, TrainingFailed
from freehold.traffic.groups import near_duplicates
from freehold.tune.extract import Fitted, NotExtractable, fit
from freehold.tune.extract import train as training
from freehold.tune.extract.start import graph_weights, start_of

CITIES = ["Oslo", "Rome", "Malmö", "New York", "São Paulo", "Accra", "Łódź", "Lima"]
MONTHS = ["January", "May", "August"]


def booking(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """One row: a date to be normalised, a number, a list, a field left out, a constant, a flag."""
    kind, cities = rng.choice(["book", "cancel"]), rng.sample(CITIES, rng.choice([1, 1, 2]))
    day, month, year = rng.randint(1, 28), rng.choice([0, 1, 2]), rng.randint(2024, 2027)
    seats, how_many = rng.choice([("2", 2), ("three", 3), ("1,200", 1200)])
    text = f"Please {kind} {' then '.join(cities)} on {MONTHS[month]} {day}, {year} for {seats} people"
    answer: dict[str, Any] = {
        "action": {"book": "CREATE", "cancel": "DELETE"}[kind],
        "trip": {"cities": cities, "date": f"{year}-{[1, 5, 8][month]:02}-{day:02}"},
        "people": how_many,
        "note": None,
        "urgent": False,
    }
    if rng.random() < 0.3:
        text, answer["urgent"] = f"{text}, urgent", True
    if rng.random() < 0.5:
        ref = f"{rng.choice('ABC')}-{rng.randint(100, 999)}"
        text, answer["ref"] = f"{text} (ref {ref})", ref
    return text, answer


def world(rows: int, seed: int) -> tuple[list[str], list[dict[str, Any]]]:
    rng = random.Random(seed)
    made = [booking(rng) for _ in range(rows)]
    return [text for text, _ in made], [answer for _, answer in made]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with random weights, and the bundled tokeniser."""
    from safetensors.numpy import save_file

    folder, rng, wide = tmp_path_factory.mktemp("tiny"), np.random.default_rng(0), 64
    sizes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (30522, wide),
        "embeddings.position_embeddings.weight": (128, wide),
        "embeddings.token_type_embeddings.weight": (2, wide),
        "embeddings.LayerNorm.weight": (wide,),
        "embeddings.LayerNorm.bias": (wide,),
    }
    for i in range(2):
        at = f"encoder.layer.{i}"
        maps = {f"attention.self.{part}": (wide, wide) for part in ("query", "key", "value")}
        maps |= {"attention.output.dense": (wide, wide), "intermediate.dense": (128, wide), "output.dense": (wide, 128)}
        for name, size in maps.items():
            sizes |= {f"{at}.{name}.weight": size, f"{at}.{name}.bias": size[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            sizes |= {f"{at}.{name}.weight": (wide,), f"{at}.{name}.bias": (wide,)}
    weights = {name: rng.normal(0, 0.05, size).astype(np.float32) for name, size in sizes.items()}
    weights |= {name: np.ones(size, np.float32) for name, size in sizes.items() if name.endswith("LayerNorm.weight")}
    save_file(weights, folder / "model.safetensors")
    config = {"model_type": "bert", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": wide}
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 128}))
    (folder / "tokenizer.json").write_bytes(_data().joinpath("all-minilm-l6-v2", "tokenizer.json").read_bytes())
    return folder


def fitted_on(texts: list[str], answers: list[Any], base: Path, **options: Any) -> Fitted:
    said = [a if isinstance(a, str) else json.dumps(a, ensure_ascii=False) for a in answers]
    return fit(texts, said, groups=near_duplicates(texts), base=base, **options)


@pytest.fixture(scope="module")
def fitted(tiny: Path) -> Fitted:
    return fitted_on(*world(400, 1), tiny, minutes=3)


@pytest.fixture(scope="module")
def folder(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extract")
    for name, data in fitted.files.items():
        (folder / name).write_bytes(data)
    return folder


def test_it_learns_what_is_copied_and_what_is_chosen(fitted: Fitted) -> None:
    form = fitted.student.form
    assert {(s.path, s.rule, s.many) for s in form.spans} == {
        (("trip", "cities"), "exact", "always"),
        (("trip", "date"), "date:%Y-%m-%d:n", "never"),
        (("people",), "number", "never"),
        (("ref",), "exact", "never"),
    }
    assert {(label.path, frozenset(label.values)) for label in form.labels} == {
        (("action",), frozenset({'"CREATE"', '"DELETE"'})),
        (("note",), frozenset({"null"})),
        (("urgent",), frozenset({"true", "false"})),
    }
    texts, answers = world(200, 2)
    found = fitted.student.answers(texts)
    right = [json.loads(a.text) == wanted for a, wanted in zip(found, answers, strict=True)]
    assert np.mean(right) >= 0.9
    to_the_letter = [a.text == json.dumps(w, ensure_ascii=False) for a, w in zip(found, answers, strict=True)]
    assert np.mean(to_the_letter) >= 0.9
    assert all(0 < a.score <= 1 for a in found)


def test_the_same_alone_and_among_others(fitted: Fitted) -> None:
    texts = [*world(150, 3)[0], "", "Oslo", "x\ud83d", "\x00\u202e Rome \U0001f680", "Oslo " * 300]
    together = fitted.student.answers(texts)
    assert [fitted.student.answers([text])[0] for text in texts] == together
    assert fitted.student.answers(texts[::-1]) == together[::-1]


def test_what_is_too_long_goes_up(fitted: Fitted) -> None:
    long, longer, fits = fitted.student.answers(["Oslo " * 127, "a" * 100_000, "Oslo " * 126])
    assert (long.text, long.score, long.able) == (longer.text, longer.score, longer.able) == ("", 0.0, False)
    assert not fits.able, "it is read whole, and holds no date"
    assert fitted.student.look(["Oslo " * 126])[0] is not None


def test_opened_again_it_is_the_same(fitted: Fitted, folder: Path) -> None:
    student = ExtractStudent.open(folder)
    texts = world(40, 4)[0]
    assert student.answers(texts) == fitted.student.answers(texts)
    checks = read_checks(folder)
    assert 0 < len(checks) <= 64
    assert check(student, checks) == 0.0


def test_the_prior_is_of_rows_it_never_saw(fitted: Fitted) -> None:
    assert len(fitted.prior_scores) == len(fitted.prior_ok) == fitted.recipe["held_back"]
    assert fitted.recipe["rows"] + fitted.recipe["held_back"] == 400
    assert ((fitted.prior_scores > 0) & (fitted.prior_scores < 1)).all()


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_damage(folder: Path, tmp_path: Path, name: str) -> None:
    for other in FILES:
        data = (folder / other).read_bytes()
        (tmp_path / other).write_bytes(data[: len(data) // 2] if other == name else data)
    with pytest.raises(ArtifactDamaged):
        ExtractStudent.open(tmp_path)


def test_a_missing_file_is_damage(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactDamaged, match=r"student\.json"):
        ExtractStudent.open(tmp_path)


def test_the_same_rows_make_the_same_bytes(tiny: Path) -> None:
    first, second = (fitted_on(*world(120, 5), tiny, minutes=0.0005) for _ in range(2))
    assert first.files == second.files
    assert fitted_on(*world(120, 5), tiny, minutes=0.0005, seed=1).files["model.onnx"] != first.files["model.onnx"]


def test_tool_calls(tiny: Path) -> None:
    rng = random.Random(6)
    texts, answers = [], []
    for i in range(300):
        city, word = rng.choice(CITIES), f"w{rng.randint(10, 99)}"
        weather = rng.random() < 0.5
        texts.append(f"{i % 9} weather in {city}" if weather else f"{i % 9} look up {word}")
        call = ("weather", {"place": city}) if weather else ("search", {"query": word})
        answers.append(json.dumps([{"name": call[0], "arguments": call[1]}], separators=(",", ":"), ensure_ascii=False))
    made = fitted_on(texts, answers, tiny)
    found = made.student.answers(texts)
    assert np.mean([a.text == wanted for a, wanted in zip(found, answers, strict=True)]) >= 0.95


def prose(rng: random.Random, words: int) -> str:
    return " ".join("".join(rng.choices("abcdefghij", k=5)) for _ in range(words))


def test_answers_that_are_written_are_refused(tiny: Path) -> None:
    rng = random.Random(7)
    texts = [prose(rng, 6) for _ in range(100)]
    with pytest.raises(NotExtractable, match=r"The field reply is not extractable: in 100\.0% of the 100 answers"):
        fitted_on(texts, [{"id": t.split()[0], "reply": prose(rng, 3)} for t in texts], tiny)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda t: t, "100 of 100 answers .* no JSON object"),
        (lambda t: "[1, 2]" if t < "c" else '{"a": NaN}', "no JSON object"),
        (lambda t: json.dumps({t: 1}), "can't be put together|different keys"),
        (lambda t: "[" * 5000 + "]" * 5000, "no JSON object"),
        (lambda t: '{"a": 1e999}' if t < "c" else r'{"a": "\ud800"}', "no JSON object"),
    ],
)
def test_other_shapes_are_refused(tiny: Path, answer: Any, said: str) -> None:
    rng = random.Random(8)
    texts = [prose(rng, 6) for _ in range(100)]
    with pytest.raises(NothingToLearn, match=said):
        fitted_on(texts, [answer(t) for t in texts], tiny)


def test_a_key_that_a_user_wrote_is_not_told(tiny: Path) -> None:
    """A key that few answers have, and one that is an address, are not named in the sentence."""
    rng = random.Random(12)
    texts = [prose(rng, 6) for _ in range(300)]
    for many, key in ((20, "ada lovelace"), (300, "ada@firm.example")):
        answers = [{"n": 1, **({key: prose(rng, 3)} if i < many else {})} for i in range(300)]
        with pytest.raises(NotExtractable) as found:
            fitted_on(texts, answers, tiny)
        assert "ada" not in str(found.value)
        assert "A field is not extractable: in 100.0% of the" in str(found.value)


def test_texts_that_are_mostly_too_long_are_a_decoders(tiny: Path) -> None:
    texts, answers = world(100, 13)
    texts = [text + " and so on" * 60 if i % 3 else text for i, text in enumerate(texts)]
    with pytest.raises(NotExtractable, match=r"66 of 100 texts \(66.0%\) are longer than the 128 tokens"):
        fitted_on(texts, answers, tiny)


@pytest.mark.parametrize("text", ["", " \n", "\x00", "Please book on May 4, 2026 for 2 people", "Please cancel Oslo"])
def test_an_answer_such_as_no_logged_one_is_not_believed(fitted: Fitted, text: str) -> None:
    """Without a word to read, or without a field that every logged answer has: no answer, whatever the score."""
    (answer,) = fitted.student.answers([text])
    assert not answer.able or ('"cities"' in answer.text and '"date"' in answer.text and '"people"' in answer.text)
    if not text.strip("\x00 \n"):
        assert (answer.text, answer.score, answer.able) == ("", 0.0, False)


def test_what_no_rule_can_write_goes_up_at_any_threshold(fitted: Fitted) -> None:
    """The words of a date in a log that has not shown whether the day or the month comes first."""
    student, text = fitted.student, "Please book Oslo on 3/4/2026 for 2 people"
    ((read, found),) = [f for f in student.look([text]) if f]
    field = next(i for i, span in enumerate(student.form.spans) if span.rule.startswith("date"))
    at = [read.text[a:b] for a, b in read.places].index("3")
    spans = (*(s for s in found.spans if s[0] != field), (field, at, at + 5))
    answer = student._answer(read, replace(found, spans=spans))
    assert (answer.text, answer.score, answer.able) == ("", 0.0, False)


def test_too_few_calls(tiny: Path) -> None:
    with pytest.raises(NothingToLearn, match="20 calls have a JSON answer"):
        fitted_on(*world(20, 9), tiny)


def test_too_little_memory_is_told_before_the_training(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text
    small = "MemTotal: 2000 kB\nMemAvailable: 1000 kB\n"
    monkeypatch.setattr(Path, "read_text", lambda p, *a, **k: small if str(p) == "/proc/meminfo" else read(p, *a, **k))
    said: list[str] = []
    with pytest.raises(TooLittleMemory, match="Tuning the tagger needs about"):
        fitted_on(*world(100, 14), tiny, tell=lambda what, done=None: said.append(what))
    assert not any(what.startswith("train") for what in said)


def test_a_loss_that_is_no_number_stops_it(tiny: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(tiny / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][0] = np.nan
    save_file(weights, tmp_path / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((tiny / name).read_bytes())
    with pytest.raises(TrainingFailed, match="loss is nan at step 1"):
        fitted_on(*world(100, 10), tmp_path)


def test_bad_rows_are_left_out_and_counted(tiny: Path) -> None:
    texts, answers = world(300, 11)
    answers[5]["ref"], answers[6] = "not in the text", "no JSON"  # type: ignore[call-overload]
    texts[7] = "word " * 200
    recipe = fitted_on(texts, answers, tiny, minutes=0.0005).recipe
    assert (recipe["not_parsed"], recipe["too_long"], recipe["left_out"]) == (1, 1, 1)


@pytest.fixture
def float_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """int8 that may lose nothing at all, and less: so the float graph is what remains."""
    monkeypatch.setattr("freehold.tune.extract.export.DAMAGE", -1.1)


@pytest.mark.usefixtures("float_only")
def test_where_int8_loses_too_much_float_is_served(tiny: Path) -> None:
    made = fitted_on(*world(120, 12), tiny, minutes=0.0005)
    assert not made.student.about.int8
    assert "int8 loses too much" in made.recipe["export"]
    texts = world(60, 13)[0]
    assert [made.student.answers([t])[0] for t in texts] == made.student.answers(texts)


@pytest.mark.parametrize(("name", "near"), [("all-minilm-l6-v2", 0.9999), ("bge-small-en", 0.98)])
def test_a_bundled_encoder_is_what_training_starts_from(name: str, near: float) -> None:
    """Its weights as floats, put into a graph again, give the encoder's own vectors."""
    from freehold.engines.extract.graph import tagger_onnx
    from freehold.engines.extract.read import Reader

    start, encoder, text = start_of(name), Encoder.bundled(name), "I lost my card in São Paulo"
    read = Reader(start.tokenizer, most=start.most).read(text)
    assert read is not None
    shapes = np.zeros((8, start.width), np.float32)
    of = {"heads": start.shape.heads, "layers": start.shape.layers, "epsilon": start.shape.epsilon}
    import onnxruntime

    model = tagger_onnx(graph_weights(start, start.weights), shapes, int8=True, **of)  # type: ignore[arg-type]
    feeds = {"input_ids": np.array([read.ids]), "shape_ids": np.array([read.shapes])}
    hidden = onnxruntime.InferenceSession(model).run(["hidden"], feeds)[0][0]
    vector = hidden.mean(axis=0) / np.linalg.norm(hidden.mean(axis=0))
    assert vector @ encoder.embed([text], pooling="mean")[0] > near
    trained = training.Trained({**start.weights, "shapes": shapes}, {})
    ((_, torch_hidden),) = training.hidden_of(start, trained, [read])
    floats = onnxruntime.InferenceSession(tagger_onnx(graph_weights(start, start.weights), shapes, int8=False, **of))  # type: ignore[arg-type]
    assert np.abs(floats.run(["hidden"], feeds)[0][0] - torch_hidden).max() < 1e-4
