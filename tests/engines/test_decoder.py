"""Students that write: what they ask, how they score, what they refuse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from freehold.engines.decoder import DecoderStudent, Examples, Prompt, Recipe, as_logged, check_schema, score
from freehold.engines.encoder import bundled_names
from freehold.engines.llama.completion import Completion
from freehold.engines.scripted import END, ScriptedEngine
from freehold.errors import ArtifactDamaged, BadSetting, SchemaUnmet
from freehold.nouns import Answer, Artifact, Slot, Student, Template

PROMPT = Prompt(system="Turn each request into JSON.", before="Request: ", after="\nJSON:")
RECIPE = Recipe(mode="merged", prompt=PROMPT, context=256, max_tokens=40)
SCRIPT = {"play jazz": ('{"genre": "jazz"}', 0.9), "a long one": ("x" * 60, 0.8)}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def scripted(**more: Any) -> ScriptedEngine:
    return ScriptedEngine(SCRIPT, otherwise=("{}", 0.25), context=256, **more)


def artifact(kind: str = "decoder", parents: tuple[str, ...] = ()) -> Artifact:
    return Artifact("0" * 64, kind, "t", "smollm2", "Apache-2.0", parents, {}, "", {})


# the prompt


def test_the_prompt_of_a_task_says_what_its_log_said() -> None:
    slots = (Slot("system", "Turn each request into JSON."), Slot("user", "Request: ", "\nJSON:", variable=True))
    assert Prompt.of(Template(slots)) == PROMPT
    assert PROMPT.messages("play jazz", [("old", "{}")]) == [
        {"role": "system", "content": "Turn each request into JSON."},
        {"role": "user", "content": "Request: old\nJSON:"},
        {"role": "assistant", "content": "{}"},
        {"role": "user", "content": "Request: play jazz\nJSON:"},
    ]


def test_where_several_messages_vary_their_texts_stand_alone() -> None:
    slots = (Slot("system", "Be brief."), Slot("user", "a: ", variable=True), Slot("user", "b: ", variable=True))
    assert Prompt.of(Template(slots)) == Prompt("Be brief.")
    assert Prompt().messages("x\ny") == [{"role": "user", "content": "x\ny"}]


# answers and scores


def test_it_answers_with_the_mean_logprob_as_score() -> None:
    student: Student = DecoderStudent(RECIPE, scripted())
    jazz, other = student.answers(["play jazz", "anything else"])
    assert (jazz.text, other.text) == ('{"genre": "jazz"}', "{}")
    assert [jazz.score, other.score] == pytest.approx([0.9, 0.25])


def test_an_answer_that_is_not_finished_scores_nothing_and_is_never_kept() -> None:
    answer = DecoderStudent(RECIPE, scripted()).answers(["a long one"])[0]
    assert (answer.text, answer.score, answer.able) == ("x" * 40, 0.0, False)  # a threshold may be 0


def test_a_text_longer_than_the_context_goes_up_and_is_never_asked() -> None:
    engine = scripted()
    assert DecoderStudent(RECIPE, engine).answers(["y" * 300]) == [Answer("", 0.0, able=False)]
    assert engine.asked == []


def test_the_last_text_that_fits_is_asked() -> None:
    engine = scripted()
    student = DecoderStudent(RECIPE, engine)
    spare = 256 - len(engine.ids(PROMPT.messages("")))
    assert [a.able for a in student.answers(["y" * (spare - 3), "y" * spare])] == [True, False]
    cut = student.answers(["y" * (spare - 1)])[0]  # one token is left, and "{}" with its end is three
    assert (cut.text, cut.score, cut.able) == ("{", 0.0, False)


def test_a_long_shared_prompt_is_kept_and_a_short_one_is_not() -> None:
    request = DecoderStudent(RECIPE, scripted()).ask("play jazz")
    assert request is not None
    assert bytes((request.prompt_ids or [])[1 : request.prefix]).endswith(b"Request: ")
    short = DecoderStudent(msgspec.structs.replace(RECIPE, prompt=Prompt()), scripted()).ask("play jazz")
    assert short is not None
    assert short.prefix == 0


def test_the_score_is_the_formula() -> None:
    said = Completion("ab", tokens=[1, 2, 3], logprobs=[math.log(0.5), math.nan, math.log(0.8)], top=[{}, {}, {}])
    assert score(said) == pytest.approx(math.sqrt(0.5 * 0.8))
    assert score(replace(said, stopped="length")) == 0.0
    assert score(Completion("")) == 0.0


def test_under_a_schema_the_models_own_end_token_counts() -> None:
    forced = Completion("a", tokens=[1, 9], logprobs=[-0.5, -8.0], top=[{1: -0.5}, {END: -0.1, 5: -2.0}])
    assert score(forced, END) == pytest.approx(math.exp(-0.3))
    assert score(forced, 77) == score(forced) == pytest.approx(math.exp(-4.25))


# the modes


def test_an_adapter_is_named_in_each_request() -> None:
    engine = scripted(adapters=[Path("other.gguf"), Path("adapter.gguf")])
    DecoderStudent(msgspec.structs.replace(RECIPE, mode="adapter"), engine, adapter=1).answers(["play jazz"])
    assert [request.adapter for request in engine.asked] == [1]


def test_what_belongs_to_another_mode_is_refused() -> None:
    with pytest.raises(BadSetting, match="merged"):
        DecoderStudent(RECIPE, scripted(), adapter=0)


@pytest.fixture(scope="module")
def shelf() -> Examples:
    pairs = [("play some jazz music", "A"), ("book a table for two", "B"), ("play jazz", "C"), ("will it rain", "D")]
    return Examples.of(pairs, bundled_names()[0])


def test_the_nearest_examples_are_shown_the_nearest_last_and_never_the_text_itself(shelf: Examples) -> None:
    assert [answer for _, answer in shelf.near("play jazz", 2)][-1] == "A"
    assert {answer for _, answer in shelf.near("play jazz", 9)} == {"A", "B", "D"}


def test_as_many_examples_as_fit(shelf: Examples) -> None:
    recipe = msgspec.structs.replace(RECIPE, mode="fewshot", k=3, encoder=shelf.encoder.name)
    one = recipe.prompt.messages("play jazz", shelf.near("play jazz", 1))
    wide, tight, none = ScriptedEngine(SCRIPT), ScriptedEngine(SCRIPT), ScriptedEngine(SCRIPT)
    size = len(wide.ids(one)) + recipe.max_tokens

    def shown(engine: ScriptedEngine, context: int) -> int:
        student = DecoderStudent(msgspec.structs.replace(recipe, context=context), engine, examples=shelf)
        assert student.answers(["play jazz"])[0].able
        return bytes(i for i in engine.asked[0].prompt_ids or [] if i < 256).count(b"<assistant>") - 1

    assert [shown(wide, 2000), shown(tight, size), shown(none, size - 1)] == [3, 1, 0]


def test_examples_come_back_from_their_files(shelf: Examples, tmp_path: Path) -> None:
    for name, data in shelf.files().items():
        (tmp_path / name).write_bytes(data)
    again = Examples.read(tmp_path, shelf.encoder.name)
    assert again.pairs == shelf.pairs
    np.testing.assert_array_equal(again.vectors, shelf.vectors)
    (tmp_path / "examples.json").write_text('[["a", "b"]]')
    with pytest.raises(ArtifactDamaged, match="1 examples and 4 vectors"):
        Examples.read(tmp_path, shelf.encoder.name)


# the recipe


def test_the_recipe_comes_back_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "decoder.json"
    path.write_bytes(RECIPE.encode())
    assert Recipe.read(tmp_path) == RECIPE
    for old, new, words in (
        ('"quant"', '"quantum"', "quantum"),
        ('"version": 1', '"version": 2', "written by version 2"),
        ('"merged"', '"melted"', "melted"),
        ("{", "[", "Expected `object`"),
    ):
        path.write_text(RECIPE.encode().decode().replace(old, new, 1))
        with pytest.raises(ArtifactDamaged, match=words):
            Recipe.read(tmp_path)
    path.unlink()
    with pytest.raises(ArtifactDamaged, match="can't be read"):
        Recipe.read(tmp_path)


def test_a_student_whose_base_is_gone_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "decoder.json").write_bytes(msgspec.structs.replace(RECIPE, mode="adapter").encode())
    with pytest.raises(ArtifactDamaged, match="names no base"):
        DecoderStudent.open(folder, artifact())
    with pytest.raises(ArtifactDamaged, match="missing"):
        DecoderStudent.open(folder, artifact(parents=("b" * 64,)))


# schemas


@pytest.mark.parametrize("kind", ["scripted", "real"])
@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (['{"city": "Paris"}', '{"city": "Rome"}'], ""),
        (["no JSON", '{"city": "Rome"}'], ""),
        (['{"town": "Paris"}', "[]"], "None of 2 (different )?logged answers"),
        (["no JSON at all"], "None of 1 (different )?logged answers"),
    ],
)
def test_a_schema_is_held_against_the_log(
    kind: str, answers: Sequence[str], words: str, request: pytest.FixtureRequest
) -> None:
    engine: Any = scripted() if kind == "scripted" else request.getfixturevalue("opened").engine
    if not words:
        check_schema(engine, CITY, answers)
        return
    with pytest.raises(SchemaUnmet, match=words):
        check_schema(engine, CITY, answers)


def test_a_schema_takes_the_blanks_of_the_log() -> None:
    def form(*answers: str) -> Any:
        return as_logged(CITY, answers).get("x-guidance")

    assert form('{"a":[1,2]}', '{"b":"x, y: z"}')["item_separator"] == ","
    assert form('{"a": [1, 2]}', '{"b": "x"}', "no JSON")["key_separator"] == ": "
    assert form('{"a": 1}', '{"a":1}') is None
    assert form('{\n "a": 1}') is None
    assert form() is None
    assert as_logged(CITY | {"x-guidance": {}}, ['{"a": 1}'])["x-guidance"] == {}


# the real engine


@pytest.fixture(scope="module")
def opened(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("xllamacpp")
    folder = tmp_path_factory.mktemp("students") / "merged"
    folder.mkdir()
    (folder / "model.gguf").symlink_to(smollm2)
    prompt = Prompt(system="Answer each question of the user with one word alone, and never with a sentence.")
    schema = CITY | {"additionalProperties": False, "x-guidance": {"whitespace_flexible": False}}
    (folder / "decoder.json").write_bytes(
        msgspec.structs.replace(RECIPE, prompt=prompt, schema=schema, max_tokens=24).encode()
    )
    with DecoderStudent.open(folder, artifact()) as student:
        yield student


def test_it_starts_at_the_first_question_and_is_shared(opened: DecoderStudent, smollm2: Path) -> None:
    folder = smollm2.parent
    engine: Any = opened.engine
    other = DecoderStudent.open(_folder_of(engine), artifact())
    assert other.engine is engine
    first = opened.answers(["What is the capital of France?"])[0]
    assert msgspec.json.decode(first.text).keys() == {"city"}
    assert 0.0 < first.score < 1.0
    other.close()
    assert engine.pid is not None  # one student of it is still open
    assert opened.answers(["Where is Rome?", "What is the capital of France?"])[1] == first
    assert folder.is_dir()


def test_an_engine_ends_with_its_last_student(opened: DecoderStudent, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "model.gguf").symlink_to(_folder_of(opened.engine) / "model.gguf")
    (folder / "decoder.json").write_bytes(msgspec.structs.replace(RECIPE, context=128, max_tokens=2).encode())
    one, two = (DecoderStudent.open(folder, artifact()) for _ in range(2))
    engine: Any = one.engine
    assert engine.pid is None  # not before the first question
    assert one.answers(["hi"])[0].score == 0.0  # two tokens are no whole answer
    assert engine.pid is not None
    one.close()
    one.close()  # once more: not the other's share of it
    assert engine.pid is not None
    assert two.answers(["hi"])[0].text
    two.close()
    assert engine.pid is None


def test_a_student_that_does_not_open_gives_its_engine_back(tmp_path: Path) -> None:
    from freehold.engines import decoder

    before = dict(decoder._held)
    base, folder = tmp_path / "base", tmp_path / "student"
    base.mkdir()
    folder.mkdir()
    (base / "model.gguf").write_bytes(b"GGUF")
    recipe = msgspec.structs.replace(RECIPE, mode="fewshot", k=2, encoder=bundled_names()[0])
    (folder / "decoder.json").write_bytes(recipe.encode())
    with pytest.raises(ArtifactDamaged, match="examples"):
        DecoderStudent.open(folder, artifact(parents=("base",)))
    assert decoder._held == before


def _folder_of(engine: Any) -> Path:
    folder: Path = engine.settings.model.parent
    return folder
