"""The loop, part by part: which rows, which rate, which loss; and that places of several processes learn the same."""

from __future__ import annotations

import dataclasses
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.train.small import CONTEXT, VOCABULARY, Killed, corpus, job, killing, plan, ranks

from freehold.errors import ArtifactDamaged, BadSetting, BaseUnusable, CorpusUnusable
from freehold.train.job import JOB, ids_at_once, read_job, write_job
from freehold.train.loop import run
from freehold.train.loop.alone import Alone
from freehold.train.loop.checkpoint import read
from freehold.train.loop.evaluate import asked_at, measure, sizes
from freehold.train.loop.place import open_place
from freehold.train.loop.rows import Rows, held_out, open_ids, pieces
from freehold.train.loop.schedule import share
from freehold.train.nouns import Trained

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
SAME = 2e-6  # nats: what sums in another order may differ by


# rows


def rows_of(folder: Path, ids: int, *, rows: int = 3, context: int = 5, seed: int = 0) -> Rows:
    np.save(folder / "train.npy", np.arange(ids, dtype=np.uint16))
    return Rows(folder / "train.npy", rows=rows, context=context, seed=seed)


def test_rows_are_windows_that_an_epoch_sees_once(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 65)  # 12 windows of 5, however the first lies
    first, second = ([rows.of(step) for step in steps] for steps in (range(4), range(4, 8)))
    for epoch in (first, second):
        found = sorted(int(i) for step in epoch for row in step for i in row[:-1])
        assert found == list(range(found[0], found[0] + 60)), "each id once"
    for row in chain.from_iterable(first):
        assert row.tolist() == list(range(row[0], row[0] + 6)), "and one more, the last one's target"
    assert [r.tolist() for r in first] != [r.tolist() for r in second]


def test_rows_follow_from_seed_and_step_alone(tmp_path: Path) -> None:
    one, other = rows_of(tmp_path, 200), rows_of(tmp_path, 200)
    expected = [one.of(step).tolist() for step in range(30)]
    assert [other.of(step).tolist() for step in reversed(range(30))] == expected[::-1]
    assert rows_of(tmp_path, 200, seed=1).of(0).tolist() != expected[0]


@pytest.mark.parametrize("ids", [6, 7, 9, 10, 11])
def test_text_of_hardly_one_row(tmp_path: Path, ids: int) -> None:
    for step in range(5):
        assert rows_of(tmp_path, ids).of(step).max() < ids


def test_text_of_less_than_a_row_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusUnusable, match="5 tokens to learn from, and a row takes 6"):
        rows_of(tmp_path, 5)
    (tmp_path / "train.npy").write_bytes(b"no ids")
    with pytest.raises(CorpusUnusable, match=r"train\.npy can't be read"):
        open_ids(tmp_path / "train.npy")
    np.save(tmp_path / "train.npy", np.zeros((2, 2)))
    with pytest.raises(CorpusUnusable, match="float64 of 2 dimensions"):
        open_ids(tmp_path / "train.npy")


@given(rows=st.integers(1, 40), shares=st.integers(1, 9), most=st.integers(0, 12))
def test_processes_share_a_step_without_a_rest(rows: int, shares: int, most: int) -> None:
    cut = [pieces(rows, share, shares, most) for share in range(shares)]
    assert [row for own in cut for piece in own for row in piece] == list(range(rows))
    assert len({len(own) for own in cut}) == 1, "all make the same number of passes"
    assert max(len(piece) for own in cut for piece in own) <= max(1, most)


@given(ids=st.integers(0, 300), context=st.integers(1, 40), most=st.integers(1, 50))
def test_held_out_windows_lie_in_the_text(ids: int, context: int, most: int) -> None:
    starts, length = held_out(np.zeros(ids, np.uint16), context, most)
    assert (not starts) == (ids < 2)
    assert len(starts) <= most
    assert all(a + length <= b for a, b in pairwise(starts))
    assert all(at >= 0 and at + length + 1 <= ids for at in starts)


# the rate


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_rises_and_falls(schedule: Any) -> None:
    said = plan(20, warm=4, schedule=schedule, least=0.1)
    rates = [share(said, step) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[-1] == pytest.approx(1.0 if schedule == "constant" else 0.1)
    assert all(a >= b for a, b in pairwise(rates[4:]))
    assert share(plan(1, warm=0), 0) > 0


# the loss


def test_the_balancing_loss_is_transformers_own() -> None:
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    from freehold.train.loop.loss import uneven

    torch.manual_seed(0)
    logits = tuple(torch.randn(24, 4, requires_grad=True) for _ in range(3))
    theirs = load_balancing_loss_func(logits, 4, 2)
    ours = uneven(logits, 2, True, Alone().add_up)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-6)
    for a, b in zip(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits), strict=True):
        assert torch.allclose(a, b, atol=1e-7)
    assert float(uneven(logits, 2, False, lambda values: [*values[:-1], 72.0]).detach()) == 0.0, "rows that don't count"


def learned(folder: Path, said: Any, **other: Any) -> Trained:
    return run(job(folder, said, **other))


@pytest.mark.parametrize("moe", [False, True], ids=["dense", "moe"])
def test_it_learns_as_a_bare_loop_does(tmp_path: Path, moe: bool) -> None:
    """Trainer's loop against one written out here: the same losses, the same weights."""
    from transformers import AutoModelForCausalLM

    from freehold.train.model import config_of, fresh

    said = plan(8, moe=moe)
    found = learned(tmp_path / "job", said)
    model = fresh(config_of(said.shape, 0), 0).train()
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": said.decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=said.rate, betas=said.betas, fused=True)
    rows = Rows(tmp_path / "corpus" / "train.npy", rows=said.rows, context=CONTEXT, seed=0)
    losses = []
    for step in range(8):
        for group in optimizer.param_groups:
            group["lr"] = said.rate * share(said, step)
        ids = torch.from_numpy(rows.of(step))
        out = model(input_ids=ids[:, :-1], **({"output_router_logits": True} if moe else {}))
        loss = torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), ids[:, 1:].flatten())
        (loss + said.balance * (out.aux_loss if moe else 0)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), said.clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert np.abs(np.array(found.losses) - losses).max() < SAME
    made = AutoModelForCausalLM.from_pretrained(tmp_path / "job" / "result", trust_remote_code=False)
    assert type(made).__name__ == ("MixtralForCausalLM" if moe else "LlamaForCausalLM")
    for (name, ours), (_, theirs) in zip(made.named_parameters(), model.named_parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5), name
    assert (found.steps, found.tokens) == (8, 8 * 4 * CONTEXT)
    assert found.losses[-1] < found.losses[0] < np.log(VOCABULARY) + 0.1


def test_a_step_in_pieces_is_the_step(tmp_path: Path) -> None:
    whole = learned(tmp_path / "whole", plan(6, rows=5))
    parts = learned(tmp_path / "parts", plan(6, rows=5), at_once=2 * CONTEXT)
    assert np.abs(np.array(whole.losses) - parts.losses).max() < SAME
    assert whole.evals[-1].loss == pytest.approx(parts.evals[-1].loss, abs=SAME)


def test_bfloat16_learns_too(tmp_path: Path) -> None:
    whole, half = (learned(tmp_path / name, plan(6, dtype=name)) for name in ("float32", "bfloat16"))
    assert whole.losses != half.losses
    assert np.abs(np.array(whole.losses) - half.losses).max() < 0.05


# held-out text


def test_held_out_loss_is_over_every_window(tmp_path: Path) -> None:
    said = plan(4)
    found = learned(tmp_path / "job", said)
    assert [e.step for e in found.evals] == [2, 4]
    assert all(e.bits_per_byte == pytest.approx(e.loss / np.log(2) / 2) for e in found.evals)
    model = Alone().load(tmp_path / "job" / "result", {"dtype": "float32"})
    ids = open_ids(tmp_path / "corpus" / "held_out.npy")
    total, seen = 0.0, 0
    with torch.no_grad():
        for at in range(0, len(ids) - CONTEXT, CONTEXT):
            row = torch.from_numpy(ids[at : at + CONTEXT + 1].astype(np.int64))[None]
            logits = model(input_ids=row[:, :-1]).logits
            total += float(torch.nn.functional.cross_entropy(logits[0], row[0, 1:], reduction="sum"))
            seen += CONTEXT
    assert found.evals[-1].loss == pytest.approx(total / seen, abs=1e-5)
    told = measure(model, ids, Alone(), context=CONTEXT, most=7, batch=3, device="cpu")
    assert told[1:] == (7, (len(ids) - 1) // CONTEXT)


def test_looking_at_held_out_text_costs_a_share_of_the_training() -> None:
    said = plan(10_000, rows=32, evals=10)
    during, last = sizes(said)
    assert 10 * during / 3 <= 0.051 * 32 * 10_000
    assert last * CONTEXT >= 1 << 20
    assert asked_at(said) == {1000 * i for i in range(1, 11)}
    assert asked_at(plan(3, evals=10)) == {1, 2, 3}
    assert asked_at(plan(3, evals=0)) == set()


def test_no_held_out_text_is_no_failure(tmp_path: Path) -> None:
    folder = job(tmp_path / "job", plan(2))
    np.save(tmp_path / "corpus" / "held_out.npy", np.zeros(1, np.uint16))
    assert run(folder).evals == ()


# several processes


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Trained]:
    """Dense and with experts, in one process."""
    folder = tmp_path_factory.mktemp("alone")
    return {moe: learned(folder / str(moe), plan(6, moe=moe, rows=3)) for moe in (False, True)}


@pytest.mark.parametrize(("parallel", "moe"), [("ddp", True), ("fsdp", True), ("tp", True), ("tp", False)])
def test_one_process_and_two_learn_the_same(
    tmp_path: Path, alone: dict[bool, Trained], parallel: Any, moe: bool
) -> None:
    """Two steps in one process, two in two, two in one again, each from the other's checkpoint: as if in one."""
    folder, whole = job(tmp_path / "job", plan(6, moe=moe, rows=3), every=0.0), alone[moe]
    with pytest.raises(Killed):
        run(folder, tell=killing(3, 6))

    def between() -> None:
        with pytest.raises(Killed):
            run(folder, parallel, killing(5, 6))

    assert ranks(2, tmp_path, between)[0] == 0
    state = read(folder, read_job(folder).key)  # type: ignore[union-attr]
    assert state is not None
    assert state.about.step == 4
    found = run(folder)
    assert np.abs(np.array(whole.losses) - found.losses).max() < SAME
    for one, two in zip(whole.evals, found.evals, strict=True):
        assert one.loss == pytest.approx(two.loss, abs=SAME)


# what is given


def test_memory_decides_how_many_ids_are_worked_on_at_once() -> None:
    small, large = plan().shape, dataclasses.replace(plan().shape, layers=24, width=2048, inner=5632, context=2048)
    assert ids_at_once(small) == 16_384
    assert ids_at_once(large) == 2048, "one row"
    assert ids_at_once(large, room=64 << 30) > 7 * 2048
    assert ids_at_once(dataclasses.replace(small, vocabulary=128_000)) < 1000


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    text = corpus(tmp_path / "corpus")
    (tmp_path / "job").mkdir()
    assert read_job(tmp_path / "job") is None
    written = write_job(tmp_path / "job", plan(), text, tmp_path / "base", 2)
    assert read_job(tmp_path / "job") == written
    assert (written.start, written.corpus.folder, written.threads) == ("../base", "../corpus", 2)
    moved = tmp_path.rename(tmp_path.with_name("elsewhere"))
    found = read_job(moved / "job")
    assert found is not None
    assert (moved / "job" / found.corpus.folder).resolve() == moved / "corpus"


@pytest.mark.parametrize("more", ['"surprise": 1, ', '"freehold": 2, ', '"threads": "two", '])
def test_a_job_that_is_not_understood_is_refused(tmp_path: Path, more: str) -> None:
    path = job(tmp_path / "job") / JOB
    said = path.read_text().replace('"freehold": 1', '"every": 60.0') if "freehold" in more else path.read_text()
    path.write_text(said.replace("{", "{" + more, 1))
    with pytest.raises(ArtifactDamaged, match=r"job\.json"):
        run(tmp_path / "job")


def test_a_folder_without_a_job_and_a_base_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ArtifactDamaged, match=r"no job\.json"):
        run(tmp_path)
    (tmp_path / "base").mkdir()
    with pytest.raises(BaseUnusable, match="can't be loaded"):
        run(job(tmp_path / "job", start=tmp_path / "base"))
    with pytest.raises(BadSetting, match="no place called 'elsewhere'"):
        open_place("elsewhere")  # type: ignore[arg-type]


def test_a_model_is_trained_on(tmp_path: Path) -> None:
    first = learned(tmp_path / "first", plan(12))
    on = learned(tmp_path / "on", plan(4, start="f" * 64, rate=1e-3), start=tmp_path / "first" / "result")
    assert on.losses[0] < first.losses[0] - 0.3
    assert on.evals[-1].loss < first.evals[0].loss


def test_nothing_is_left_that_holds_code(tmp_path: Path) -> None:
    learned(tmp_path / "job", plan(2))
    left = {str(path.relative_to(tmp_path / "job")) for path in (tmp_path / "job").rglob("*") if path.is_file()}
    model = {"config.json", "generation_config.json", "model.safetensors"}
    assert left == {
        "job.json", "checkpoint.safetensors", "result/training.json",
        *(f"{folder}/{name}" for folder in ("start", "result") for name in model),
    }  # fmt: skip
