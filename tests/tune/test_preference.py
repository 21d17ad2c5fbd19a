"""Learning a preference: which pairs may teach, DPO's loss, a killed run, the artefact, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.tune import tiny

from freehold.audit import audit
from freehold.cli import main
from freehold.engines import bases
from freehold.errors import AdapterMismatch, BadSetting, NothingToLearn, ProjectMissing, TermsBlocked
from freehold.nouns import Artifact, Task
from freehold.plan import plan
from freehold.project import Project
from freehold.tell import quiet
from freehold.traffic import Traffic, read
from freehold.tune import tune
from freehold.tune.decoder.checkpoint import Checkpoint
from freehold.tune.decoder.checkpoint import read as read_checkpoint
from freehold.tune.decoder.data import Examples
from freehold.tune.decoder.device import CPU
from freehold.tune.decoder.model import attach, load
from freehold.tune.decoder.train import Trained, train
from freehold.tune.preference import prefer
from freehold.tune.preference.allowed import FEWEST, allowed
from freehold.tune.preference.logged import from_log
from freehold.tune.preference.loss import Preference, Two, chances, referred
from freehold.tune.preference.pairs import from_row
from freehold.tune.preference.reference import put_reference, sides
from freehold.tune.preference.worth import helps, ranked
from freehold.tune.rows import held_texts, rows_of
from freehold.tune.text import How

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

MINUTES, RATE = 0.05, 4e-3
LOGGED = [*tiny.PAIRS, *((f"{text} now", answer) for text, answer in tiny.PAIRS[::2])]
ANSWERS = dict(LOGGED)
MODEL = "openai/gpt-oss-20b"  # under Apache-2.0: its answers may teach


@dataclass(frozen=True)
class World:
    """A task with a tuned adapter; the pairs want the same answers written the other way round."""

    log: Path
    task: Task
    traffic: Traffic
    project: Project
    reference: Artifact
    base: Path
    texts: list[str]  # of the fit side, none of them held back

    def pairs(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        return [pair(text, turned(ANSWERS[text]), ANSWERS[text]) for text in texts]

    def file(self, rows: Sequence[Any], name: str = "pairs.jsonl") -> Path:
        path = self.log.parent / name
        path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
        return path


def turned(answer: str) -> str:
    said = json.loads(answer)
    return f'{{"thing":"{said["thing"]}","verb":"{said["verb"]}"}}'


def pair(text: str, good: str, bad: str, **more: Any) -> dict[str, Any]:
    outputs = [[{"role": "assistant", "content": answer}] for answer in (good, bad)]
    given = {"messages": tiny.messages(text), "tools": [], "parallel_tool_calls": True}
    return {"input": given, "preferred_output": outputs[0], "non_preferred_output": outputs[1]} | more


def write_log(path: Path) -> Path:
    rows = []
    for text, answer in LOGGED:
        choice = {"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        request = {"model": MODEL, "messages": tiny.messages(text)}
        rows.append({"request": request, "response": {"choices": [choice]}})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def world(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    pytest.importorskip("xllamacpp")
    log = write_log(tmp_path_factory.mktemp("preference") / "calls.jsonl")
    project = Project.create(log.parent / "project")
    traffic = read([log])
    found = audit(traffic)
    project.save(found)
    project.save(plan(found))
    (task,) = found.tasks
    made = tune(task, traffic, project, kind="decoder", base=str(folder), minutes=0.05)
    assert made.kind == "adapter"
    own = json.loads((project.artifact_path(made.sha256) / "own.json").read_bytes())["texts"]
    texts = [text for text in rows_of(task, traffic).texts if text not in own]
    return World(log, task, traffic, project, made, folder, texts)


@pytest.fixture
def chosen(world: World) -> World:
    """The world, its student being the tuned adapter, whatever a test makes of it."""
    world.project.choose(world.task.name, world.reference.sha256)
    return world


def learn(world: World, path: Path, **more: Any) -> Artifact:
    how = How(minutes=MINUTES, **{name: more.pop(name) for name in ("base", "private", "permission") if name in more})
    return prefer(world.task, world.traffic, world.project, str(path), how, **{"rate": RATE} | more)


# the loss


def test_the_loss_and_its_gradient_are_those_of_the_paper(folder: Path) -> None:
    """DPO's equation 7 and the anchor: each answer by itself through transformers' own forward, against one batch."""
    tokens, found = tiny.examples(folder, 8)
    rows = tuple(Two(r.rest, r.answer, tuple(tokens.answer(turned(a)))) for r, (_, a) in both_of(found))
    with CPU.still(0):
        model = attach(load(folder, "float32"), rank=4, alpha=8, seed=0)
        for name, p in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, 0, 0.1)
        both = Examples(found.prefix, rows, found.kept, {})
        before = [(1.5 * i, 2.0) for i in range(len(rows))]
        ours = Preference(0.1, 0.5).loss(model, referred(both, before).rows, found.prefix, tokens.pad)
        ours.backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
        model.zero_grad()
        total = torch.zeros(())
        for row, (good, bad) in zip(rows, before, strict=True):
            ratio = [alone(model, found.prefix, row.rest, answer) for answer in (row.answer, row.rejected)]
            total = total - torch.log(torch.sigmoid(0.1 * ((ratio[0] - good) - (ratio[1] - bad))))
            total = total - 0.5 * ratio[0] / len(row.answer)
        theirs = total / len(rows)
        theirs.backward()
        said = chances(model, both, tokens.pad, tell=quiet, what="")
        third = alone(model, found.prefix, rows[3].rest, rows[3].answer).detach()
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-5)
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert torch.allclose(p.grad, gradients[name], atol=2e-5, rtol=1e-3), name
    assert said[3][0] == pytest.approx(float(third), abs=1e-3)


def alone(model: Any, prefix: Sequence[int], rest: Sequence[int], answer: Sequence[int]) -> Any:
    whole = [*prefix, *rest, *answer]
    scores = model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(scores[i - 1, whole[i]] for i in range(len(whole) - len(answer), len(whole)))


def test_where_the_model_is_the_reference_the_loss_is_log_2(folder: Path) -> None:
    tokens, found = tiny.examples(folder, 5)
    rows = tuple(Two(r.rest, r.answer, r.answer[::-1]) for r in found.rows)
    both = Examples(found.prefix, rows, found.kept, {})
    with CPU.still(0), torch.no_grad():
        model = attach(load(folder, "float32"), rank=4, alpha=8, seed=0)
        same = referred(both, chances(model, both, tokens.pad, tell=quiet, what=""))
        assert float(Preference(0.1, 0.0).loss(model, same.rows, found.prefix, tokens.pad)) == pytest.approx(
            math.log(2)
        )


def test_long_pairs_are_looked_at_one_by_one_and_say_the_same(folder: Path) -> None:
    """However many are in memory at a time."""
    tokens, found = tiny.examples(folder, 12)
    rows = [Two(row.rest, row.answer, row.answer[: 3 + i]) for i, row in enumerate(found.rows)]
    pairs = replace(found, rows=tuple(rows))
    model = attach(load(folder, "float32"), rank=4, alpha=8, seed=0)
    many, one = (chances(model, pairs, tokens.pad, ids=ids, tell=quiet, what="") for ids in (4096, 1))
    assert len(many) == 12
    assert [x for two in many for x in two] == pytest.approx([x for two in one for x in two], abs=1e-4)


def test_what_is_ranked_right_is_counted_before_and_after() -> None:
    before = [(-1.0, -2.0), (-3.0, -2.0), (-3.0, -2.0), (-1.0, -1.5)]
    after = [(-1.0, -4.0), (-2.0, -4.0), (-4.0, -2.0), (-2.0, -1.5)]
    said = ranked(before, after)
    assert (said["before"]["value"], said["after"]["value"]) == (0.5, 0.5)
    assert (said["only_before"], said["only_after"]) == (1, 1)
    assert said["moved_towards"]["value"] == 0.5
    assert said["before"]["low"] < 0.5 < said["before"]["high"]
    assert said["preferred_log_p"] == [-2.0, -2.25]


# from pairs to an adapter


def test_the_adapter_learns_which_way_round_is_preferred(chosen: World) -> None:
    told: list[str] = []
    held = held_texts(chosen.task, chosen.traffic)
    path = chosen.file(chosen.pairs([*chosen.texts, *held[:4]]), "all.jsonl")
    made = learn(chosen, path, tell=lambda what, done=None: told.append(what))
    said = made.recipe["preference"]
    assert (made.kind, made.task, made.licence) == ("adapter", chosen.task.name, "MIT")
    assert made.parents == (*chosen.reference.parents, chosen.reference.sha256)
    assert made.data_sha256 == chosen.reference.data_sha256
    assert said["before"]["value"] < 0.5 < said["after"]["value"], "it was tuned to write them the other way"
    assert said["after"]["low"] < said["after"]["value"] < said["after"]["high"] or said["after"]["value"] == 1.0
    assert said["before"]["n"] == said["after"]["n"] == max(10, round(0.1 * len(chosen.texts)))
    assert said["change"]["low"] > 0
    assert said["moved_towards"]["value"] > 0.9
    assert made.recipe["left_out"]["near to a call that certifies"] == 4
    assert made.recipe["loss"]["last"] < made.recipe["loss"]["first"]
    assert chosen.project.tuned()[chosen.task.name] == made.sha256
    home = chosen.project.artifact_path(made.sha256)
    assert set(made.files) == {"adapter.safetensors", "adapter_config.json", "decoder.json", "own.json"}
    before = chosen.project.artifact_path(chosen.reference.sha256)
    assert (home / "own.json").read_bytes() == (before / "own.json").read_bytes()
    assert any(what.startswith("preferred answers that are the likelier ones") for what in told)
    assert any("4 near to a call that certifies" in what for what in told)
    assert not list((chosen.project.path / "work").iterdir())
    assert learn(chosen, path) == made, "from the adapter before it, and nothing is learned twice"


def test_stopped_at_any_step_it_ends_with_the_same_bits(folder: Path, tmp_path: Path) -> None:
    tokens, found = tiny.examples(folder, 40)
    rows = tuple(Two(r.rest, r.answer, tuple(tokens.answer(turned(a))), 0.5) for r, (_, a) in both_of(found))
    pairs, plan = Examples(found.prefix, rows, found.kept, {}), replace(tiny.make_plan(10), rows=40, epochs=2)

    def run(work: Path, stop: int = 0) -> Trained:
        work.mkdir(exist_ok=True)

        def tell(what: str, done: float | None = None, /) -> None:
            if done is not None and round(done * plan.steps) == stop:
                raise KeyboardInterrupt

        with CPU.still(0):
            model = attach(load(folder, "float32"), rank=plan.rank, alpha=plan.alpha, seed=0)
            state = read_checkpoint(work, "key") or Checkpoint("key", plan, 0, [], 0.0, {})
            by = Preference(0.1, 1.0)
            return train(model, pairs, state, work, pad=tokens.pad, seed=0, tell=tell, every=0.0, by=by)

    whole = run(tmp_path / "whole")
    for stop in (3, 8):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", stop)
    again = run(tmp_path / "stopped")
    assert again.losses == whole.losses
    assert len(whole.losses) == 10
    assert whole.losses[-1] < whole.losses[0]
    for name, tensor in whole.tensors.items():
        assert tensor.numpy().tobytes() == again.tensors[name].numpy().tobytes(), name


def both_of(found: Examples) -> Iterator[tuple[Any, tuple[str, str]]]:
    return zip(found.rows, tiny.PAIRS, strict=False)


def test_a_run_that_is_taken_up_looks_at_the_same_pairs(chosen: World, tmp_path: Path) -> None:
    """Stopped in the middle; twice from there to the end: the reference, the plan and the rows are the same again."""
    path = chosen.file(chosen.pairs(chosen.texts[:40]))
    work = chosen.project.path / "work"

    def stop(what: str, done: float | None = None, /) -> None:
        if what.startswith("train:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(chosen, path, seed=5, tell=stop)
    (left,) = work.iterdir()
    shutil.copytree(left, tmp_path / "left")
    first = learn(chosen, path, seed=5)
    bits = (chosen.project.artifact_path(first.sha256) / "adapter.safetensors").read_bytes()
    shutil.rmtree(chosen.project.artifact_path(first.sha256))
    chosen.project.choose(chosen.task.name, chosen.reference.sha256)
    shutil.copytree(tmp_path / "left", left)
    second = learn(chosen, path, seed=5)
    assert (chosen.project.artifact_path(second.sha256) / "adapter.safetensors").read_bytes() == bits
    assert second.recipe["preference"] == first.recipe["preference"]
    assert not list(work.iterdir())


def test_where_no_help_is_seen_the_adapter_before_it_stays(chosen: World) -> None:
    """The pairs want what the adapter does already."""
    told: list[str] = []
    opposite = [pair(text, ANSWERS[text], turned(ANSWERS[text])) for text in chosen.texts]
    found = learn(chosen, chosen.file(opposite), tell=lambda what, done=None: told.append(what))
    assert found.recipe["preference"]["before"]["value"] > 0.9
    assert not helps(found.recipe["preference"])
    assert chosen.project.tuned()[chosen.task.name] == chosen.reference.sha256
    assert any("not above 0: the adapter before it stays the task's student" in what for what in told)
    assert any(what.startswith("loss of ") for what in told)
    assert not helps(ranked([(-1.0, -2.0)], [(-2.0, -1.0)]))
    assert helps(ranked([(-2.0, -1.0)] * 10, [(-1.0, -2.0)] * 10))


def test_it_is_shrunk_and_opened_as_any_other_adapter(chosen: World) -> None:
    from freehold.engines.decoder import DecoderStudent
    from freehold.shrink import shrink

    path = chosen.file(chosen.pairs(chosen.texts[:40]))
    made = learn(chosen, path, rate=1e-4)  # little: a random model writes near-ties, which no format may turn
    how: dict[str, Any] = {"formats": ("Q8_0", "BF16"), "threads": 1, "speculation": False}
    small = shrink(chosen.task, made, chosen.project, base=bases.find(chosen.base), **how)
    assert (small.kind, small.parents, small.data_sha256) == ("decoder", (made.sha256,), made.data_sha256)
    assert small.recipe["preference"] == made.recipe["preference"]
    with DecoderStudent.open(chosen.project.artifact_path(small.sha256), small) as student:
        assert len(student.answers(chosen.texts[:2])) == 2
    chosen.project.choose(chosen.task.name, small.sha256)
    assert learn(chosen, path, rate=1e-4) == made, "the adapter is found behind what was shrunk"


# which pairs may teach


def test_what_may_not_teach_is_left_out_and_counted(chosen: World) -> None:
    good = chosen.pairs(chosen.texts[:60])
    own = json.loads((chosen.project.artifact_path(chosen.reference.sha256) / "own.json").read_bytes())["texts"]
    held, one, two = held_texts(chosen.task, chosen.traffic), *chosen.texts[60:62]
    odd = [
        *chosen.pairs([held[0]]),
        pair(f"{held[1].upper()}!", "a", "b"),
        *chosen.pairs([own[0]]),
        good[0],
        pair(one, ANSWERS[one], ANSWERS[one] + " "),
        pair(two, "a", "b"),
        pair(two, "b", "a"),
        pair(one, "call me at +49 151 23456789", ANSWERS[one]),
        pair(one, ANSWERS[one], "write to anna.schmidt@posteo.de"),
        good[1] | {"input": {"messages": [{"role": "user", "content": "What is the weather?"}]}},
        good[2] | {"non_preferred_output": [{"role": "assistant", "content": ""}]},
        pair(chosen.texts[63], "x " * 400, "y"),
        pair(chosen.texts[64], "x", "y " * 400),
    ]
    del odd[1]["input"]["tools"]
    told: list[str] = []
    made = learn(chosen, chosen.file([*good, *odd]), tell=lambda what, done=None: told.append(what))
    assert made.recipe["left_out"] == {
        "near to a call that certifies": 2,
        "near to a row held back": 1,
        "given before": 1,
        "with equal answers": 1,
        "contradicted by another pair": 2,
        "kept out by the terms or with private data": 1,
        "with private data in the rejected answer": 1,
        "of another task": 1,
        "without a text": 1,
        "longer than the context": 2,
    }
    assert any(what.startswith("62 of 73 pairs; left out: ") for what in told)
    assert "2 pairs longer than the context: left out" in told
    assert made.recipe["preference"]["learned"] + made.recipe["preference"]["before"]["n"] <= 60


def test_private_data_is_redacted_in_all_three_texts(chosen: World) -> None:
    rows = [pair(t, f"{a['thing']} anna.schmidt@posteo.de", "bob.jones@posteo.de") for t, a in as_json(chosen)]
    said = _allowed(chosen, chosen.file(rows), private="redact")
    assert len(said.pairs) == len(rows)
    assert all("@posteo.de" not in p.preferred + p.rejected for p in said.pairs)
    with pytest.raises(TermsBlocked, match="hold private data"):
        _allowed(chosen, chosen.file(rows))


def as_json(world: World) -> list[tuple[str, dict[str, str]]]:
    return [(text, json.loads(answer)) for text, answer in LOGGED if text in world.texts[:30]]


def _allowed(world: World, path: Path, **how: Any) -> Any:
    return allowed(world.task, world.traffic, world.project, str(path), world.reference, How(**how), quiet)[0]


def test_the_terms_hold_for_the_model_that_a_pair_names(chosen: World, tmp_path: Path) -> None:
    """A closed model's answers may not teach a decoder that is sold; a pair without a name is the logged model's."""
    project = sold(chosen, tmp_path)
    rows = chosen.pairs(chosen.texts[:50])
    named = [row | {"model": "gpt-4o-mini"} for row in rows]
    with pytest.raises(TermsBlocked, match="T3"):
        prefer(chosen.task, chosen.traffic, project, str(chosen.file(named)), How(minutes=MINUTES))
    mixed = chosen.file([*named[:10], *rows[10:]])
    found = allowed(chosen.task, chosen.traffic, project, str(mixed), chosen.reference, How(), quiet)
    assert (len(found[0].pairs), found[0].left_out) == (40, {"kept out by the terms or with private data": 10})
    assert {(notice["rule"], notice["rows"]) for notice in found[1]} == {("T3", 10), ("T9", 40)}


def sold(world: World, where: Path) -> Project:
    shutil.copytree(world.project.path, where / "project")
    (where / "project" / "freehold.toml").write_text('use = "sold"\n')
    return Project.open(where / "project")


def test_an_edit_is_preferred_to_what_was_edited_and_lines_that_are_none_are_counted(chosen: World) -> None:
    rows: list[Any] = []
    for row in chosen.pairs(chosen.texts[:25]):
        (good,), (bad,) = row["preferred_output"], row["non_preferred_output"]
        rows.append({"messages": [*row["input"]["messages"], bad], "edited": good["content"], "model": MODEL})
    said = _allowed(chosen, chosen.file(["no JSON\n", *rows, {"prompt": "x"}]))
    want = _allowed(chosen, chosen.file(chosen.pairs(chosen.texts[:25])))
    assert [(p.text, p.preferred, p.rejected) for p in said.pairs] == [
        (p.text, p.preferred, p.rejected) for p in want.pairs
    ]
    assert said.left_out == {"unreadable": 2}


def test_trl_s_form_says_the_same(chosen: World) -> None:
    rows = chosen.pairs(chosen.texts[:25])
    theirs: list[Any] = []
    for row in rows:
        (good,), (bad,) = row["preferred_output"], row["non_preferred_output"]
        theirs.append(
            {"prompt": row["input"]["messages"], "chosen": [good], "rejected": bad["content"], "model": MODEL}
        )
    said, want = _allowed(chosen, chosen.file(theirs)), _allowed(chosen, chosen.file(rows))
    assert len(said.pairs) == len(want.pairs) > 0
    for a, b in zip(said.pairs, want.pairs, strict=True):
        assert (a.text, a.preferred, a.rejected) == (b.text, b.preferred, b.rejected)
    one = from_row({"prompt": "a", "chosen": "b", "rejected": "c", "model": "m"}, "here:1")
    assert [m["content"] for m in one.preferred.messages] == ["a"]
    assert (one.preferred.answer, one.rejected.answer, one.rejected.model) == ("b", "c", "m")


# pairs in the log


def test_pairs_are_found_in_the_logs_that_hold_them(tmp_path: Path) -> None:
    request = {"model": "gpt-4o", "messages": tiny.messages("play jazz")}

    def helicone(answer: str, rating: bool | None, text: str = "play jazz") -> dict[str, Any]:
        body = {"choices": [{"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}]}
        asked = request | {"messages": tiny.messages(text)}
        more = {} if rating is None else {"feedback_rating": rating}
        return {
            "request_id": "r", "request_created_at": "2026-05-29T13:46:19Z", "response_status": 200, "delay_ms": 8,
            "request_body": asked, "response_body": body, **more,
        }  # fmt: skip

    def observation(name: str, kind: str = "GENERATION") -> dict[str, Any]:
        return {
            "id": name, "traceId": "t", "type": kind, "startTime": "2026-05-29T13:46:19Z", "model": "gpt-4o",
            "input": json.dumps(tiny.messages("play jazz")), "output": f"said by {name}",
        }  # fmt: skip

    def corrected(about: str | None, text: str, kind: str = "CORRECTION") -> dict[str, Any]:
        return {"id": "s", "name": "output", "dataType": kind, "observationId": about, "stringValue": text}

    logs = {
        "helicone": [helicone("good", True), helicone("bad", False), helicone("worse", False), helicone("odd", None),
                     helicone("elsewhere", False, "stop jazz")],
        "langfuse": [
            {"id": "t", "observations": [observation("a"), observation("b")],
             "scores": [corrected("b", "by a person"), corrected("a", "yes", "CATEGORICAL"), corrected(None, "who?")]},
            {"id": "u", "observations": [observation("c"), observation("d", "SPAN")],
             "scores": [corrected(None, "it")]},
        ],
        "openai": [pair("play jazz", "this", "that"), {"messages": [*tiny.messages("go"), said("no")], "edited": "yes"},
                   {"messages": [*tiny.messages("stop"), said("alone")]}],
        "openai_chat": [{"request": request, "response": {"choices": [{"message": said("hi")}]}}],
    }  # fmt: skip
    for name, rows in logs.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = from_log([str(tmp_path)])
    assert [(s.preferred.answer, s.rejected.answer) for s in found] == [
        ("good", "bad"), ("good", "worse"), ("by a person", "said by b"), ("it", "said by c"), ("this", "that"),
        ("yes", "no"),
    ]  # fmt: skip
    assert all(s.preferred.messages == s.rejected.messages for s in found)
    assert [call.model for s in found[:4] for call in (s.preferred, s.rejected)] == ["gpt-4o"] * 8
    assert found[2].where.endswith("langfuse.jsonl:1")
    early = from_log([str(tmp_path)], until=1e9)
    assert early == []
    late = from_log([str(tmp_path)], until=4e9)
    assert len(late) == 4, "a fine-tuning row says no time"


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_a_log_that_prefers_nothing_says_which_do(chosen: World) -> None:
    with pytest.raises(NothingToLearn, match=r"The log says of no answer .* langfuse, helicone.*--pairs FILE"):
        prefer(chosen.task, chosen.traffic, chosen.project, "log", How(minutes=MINUTES))
    assert chosen.project.tuned()[chosen.task.name] == chosen.reference.sha256


# what is refused


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "is empty"),
        (["no JSON\n"], r"line 1 of .* is no pair: not JSON"),
        ([{"prompt": "a", "better": "b", "worse": "c"}], r"line 1 .* without input, preferred.*, or prompt, chosen"),
        ([{"prompt": 7, "chosen": "b", "rejected": "c"}], r"line 1 .* prompt is .*, not a text or messages"),
        ([{"messages": [said("b")], "edited": 3}], r"edited is .*, not a text"),
        (
            [{"messages": [{"role": "user", "content": "a"}], "edited": "b"}],
            "don't end with the answer that was edited",
        ),
        ([pair("a", "b", "c") | {"input": {}}], "line 1 .* has no messages"),
        ([pair("a", "b", "c") | {"preferred_output": []}], "not a list with at least one message"),
        ([pair("a", "b", "c") | {"preferred_output": [said("b"), said("d")]}], "an answer of 2 messages"),
    ],
    ids=[
        "empty",
        "no JSON",
        "other names",
        "no prompt",
        "no text",
        "nothing edited",
        "no messages",
        "no answer",
        "two answers",
    ],
)
def test_a_file_without_a_pair_names_its_first_line(chosen: World, rows: list[Any], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        learn(chosen, chosen.file(rows))


def test_pairs_that_teach_nothing_are_refused_in_a_sentence(chosen: World, tmp_path: Path) -> None:
    before = list((chosen.project.path / "work").iterdir())
    rows = chosen.pairs(chosen.texts[:30])
    other = [row | {"input": {"messages": [{"role": "user", "content": f"q {i}"}]}} for i, row in enumerate(rows)]
    with pytest.raises(BadSetting, match=r"None of the 30 pairs is of the task .*: their prompts have not its form"):
        learn(chosen, chosen.file(other))
    same = [row | {"non_preferred_output": row["preferred_output"]} for row in rows]
    with pytest.raises(NothingToLearn, match=r"has 0 pairs to learn from \(30 with equal answers left out\)"):
        learn(chosen, chosen.file(same))
    for few in (1, 19):
        with pytest.raises(NothingToLearn, match=rf"has {few} pairs to learn from; it takes {FEWEST}"):
            learn(chosen, chosen.file(rows[:few]))
    with pytest.raises(BadSetting, match=r"can't read .*gone.jsonl"):
        learn(chosen, tmp_path / "gone.jsonl")
    long = [pair(text, "x " * 400, "y") for text in chosen.texts[:30]]
    with pytest.raises(NothingToLearn, match=r"has 0 pairs with different prompts \(30 longer than the context\)"):
        learn(chosen, chosen.file(long))
    assert list((chosen.project.path / "work").iterdir()) == before
    assert chosen.project.tuned()[chosen.task.name] == chosen.reference.sha256


def test_an_adapter_for_another_base_is_refused(chosen: World, tmp_path: Path) -> None:
    other = tiny.save_base(tmp_path / "other", layers=1)
    path = chosen.file(chosen.pairs(chosen.texts[:30]))
    with pytest.raises(AdapterMismatch, match=r"was tuned on the base [0-9a-f]{12}…, and other is"):
        learn(chosen, path, base=str(other))
    reference = replace(chosen.reference, recipe=chosen.reference.recipe | {"base": {"name": "tiny"}})
    with CPU.still(0):
        model = attach(load(other, "float32"), rank=sides(reference)[0], alpha=8, seed=0)
    with pytest.raises(AdapterMismatch, match="has other layers than other"):
        put_reference(model, reference, chosen.project, "other")


def test_a_task_without_an_adapter_and_a_log_that_grew_say_what_to_do(chosen: World) -> None:
    path = chosen.file(chosen.pairs(chosen.texts[:30]))
    chosen.project.choose(chosen.task.name, "")
    with pytest.raises(ProjectMissing, match=r"has no tuned adapter .*: its student is missing\. Run: freehold tune"):
        learn(chosen, path)
    chosen.project.choose(chosen.task.name, chosen.reference.parents[0])
    with pytest.raises(ProjectMissing, match="its student is of the kind 'base'"):
        learn(chosen, path)
    chosen.project.choose(chosen.task.name, chosen.reference.sha256)
    fewer = replace(chosen.traffic, calls=chosen.traffic.calls[:-8])
    with pytest.raises(BadSetting, match=r"The log holds other calls of .* than when its adapter was tuned"):
        prefer(chosen.task, fewer, chosen.project, str(path), How(minutes=MINUTES))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--pairs", "x"], "--pairs is for one task"),
        (["--pairs", "x", "--task", "t", "--hosted", "h"], "Both --pairs and --hosted are given"),
        (["--pairs", "x", "--task", "t", "--synthetic", "9"], "Both --pairs and --synthetic are given"),
        (["--pairs", "x", "--task", "t", "--kind", "extract"], "Both --pairs and --kind extract are given"),
    ],
)
def test_flags_that_do_not_go_together(
    chosen: World, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "--project", str(chosen.project.path), *flags]) == 2
    assert said in capsys.readouterr().err


def test_the_command_learns_a_preference(chosen: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = chosen.file(chosen.pairs(chosen.texts[:40]))
    argv = ["tune", "--project", str(chosen.project.path), "--task", chosen.task.name, "--pairs", str(path)]
    assert main([*argv, "--minutes", "0.03"]) == 0
    out, _ = capsys.readouterr()
    assert "next: freehold shrink" in out
    assert "preferred answers that are the likelier ones" in out
