"""Merged adapters: the numbers against a few lines of their own, and what is refused because it could not be proved."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from freehold.engines.gguf.weights import open_weights
from freehold.errors import AdapterMismatch, BadSetting, LicenceConflict, MissingExtra, ProjectMissing, StudentUnusable
from freehold.merge import Asked, merge
from freehold.merge.lora import added
from freehold.merge.nouns import How
from freehold.project import Project
from freehold.prove.calls import held_out
from freehold.shrink.source import Source
from freehold.traffic.seen import Sides, apart, learned
from freehold.tune.rows import rows_of

from .conftest import World, deltas, lora, tensors

torch = pytest.importorskip("torch")
pytest.importorskip("peft")


def of(method: str, *weights: float, density: float | None = None, seed: int = 0) -> How:
    return How(method, weights, density, seed)


def merged(how: How, *seeds: int) -> dict[str, object]:
    found, rank = added([(lora(seed), 8.0) for seed in seeds], how)
    return deltas(found, rank)


def near(one: dict, other: dict, least: float = 1e-4) -> None:  # type: ignore[type-arg]
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name], other[name], atol=least), name


def test_linear_is_the_weighted_mean_of_what_each_adds() -> None:
    a, b = deltas(lora(1), 8.0), deltas(lora(2), 8.0)
    near(merged(of("linear", 0.25, 0.75), 1, 2), {name: 0.25 * a[name] + 0.75 * b[name] for name in a})


def test_a_without_b_with_b_is_a() -> None:
    first, rank = added([(lora(1), 8.0), (lora(2), 8.0)], of("task_arithmetic", 1.0, -1.0))
    again, wider = added([(first, rank), (lora(2), 8.0)], of("task_arithmetic", 1.0, 1.0))
    assert (rank, wider) == (8, 12)
    near(deltas(again, wider), deltas(lora(1), 8.0))


def test_svd_is_the_nearest_of_the_largest_rank() -> None:
    a, b = deltas(lora(1), 8.0), deltas(lora(2), 8.0)
    found, rank = added([(lora(1), 8.0), (lora(2), 8.0)], of("svd", 0.5, 0.5))
    assert rank == 4
    for name, delta in deltas(found, rank).items():
        u, s, v = torch.linalg.svd(0.5 * a[name] + 0.5 * b[name], full_matrices=False)
        assert torch.allclose(delta, u[:, :4] @ torch.diag(s[:4]) @ v[:4], atol=1e-3)


def test_ties_keeps_the_largest_where_the_signs_agree() -> None:
    a, b = deltas(lora(1, 16), 8.0), deltas(lora(2, 16), 8.0)
    found, rank = added([(lora(1, 16), 8.0), (lora(2, 16), 8.0)], of("ties", 0.5, 0.5, density=0.5))
    assert rank == 32
    for name, delta in deltas(found, rank).items():
        both = []
        for one in (a[name], b[name]):
            least = one.abs().flatten().sort(descending=True).values[one.numel() // 2 - 1]
            both.append(torch.where(one.abs() >= least, one, 0))
        sign = torch.where(both[0] + both[1] >= 0, 1, -1)
        agree = [one * (one.sign() == sign) for one in both]
        wanted = (agree[0] + agree[1]) / torch.stack([one != 0 for one in agree]).sum(0).clamp(min=1)
        assert torch.allclose(delta, wanted, atol=1e-3), name  # 32 x 32 and 32 x 64: rank 32 is all of it


def test_dare_drops_by_its_seed() -> None:
    how = of("dare_linear", 0.5, 0.5, density=0.5)
    near(merged(how, 1, 2), merged(how, 1, 2), 0.0)
    other = merged(of("dare_linear", 0.5, 0.5, density=0.5, seed=1), 1, 2)
    assert any(not torch.equal(delta, other[name]) for name, delta in merged(how, 1, 2).items())
    a, b = deltas(lora(1), 8.0), deltas(lora(2), 8.0)
    near(merged(of("dare_linear", 0.5, 0.5, density=1.0), 1, 2), {n: (a[n] + b[n]) / 2 for n in a}, 1e-3)


def test_a_merged_adapter_stands_where_a_tuned_one_does(world: Callable[..., World]) -> None:
    here = world()
    task = sorted(here.tasks)[0]
    one, two = here.add(task, 1), here.add(task, 2, own=20)
    before = {path: path.read_bytes() for path in here.project.path.glob("artifacts/*/*")}
    told: list[str] = []
    made = merge([f"{one.sha256[:8]}:3", two.sha256[:8]], here.project, tell=lambda what, done=None: told.append(what))
    assert any(line.startswith("linear: the exact mean") for line in told)
    assert (made.kind, made.task, made.base, made.licence) == ("adapter", task, one.base, "MIT")
    assert made.parents == (one.sha256, two.sha256)
    assert made.data_sha256 == one.data_sha256 == learned([made])[0].data_sha256
    assert made.recipe["merged"]["parts"][0] == {"sha256": one.sha256, "of": task, "weight": 0.75}
    assert here.project.tuned()[task] == made.sha256
    assert {path: path.read_bytes() for path in before} == before
    folder = here.project.artifact_path(made.sha256)
    assert len(msgspec.json.decode((folder / "own.json").read_bytes())["texts"]) == 20
    source = Source.open(made, here.project)  # as freehold shrink opens it
    assert source.lora.scale == 1.0
    a, b = deltas(lora(1), 8.0), deltas(lora(2), 8.0)
    name = "model.layers.1.mlp.down_proj"
    up, down = source.lora.pairs["blk.1.ffn_down.weight"][::-1]
    assert torch.allclose(torch.from_numpy(up @ down), 0.75 * a[name] + 0.25 * b[name], atol=1e-4)
    assert open_weights(here.base).shape == source.weights.shape
    assert merge([f"{one.sha256[:8]}:3", two.sha256[:8]], here.project) == made


def test_an_adapter_for_another_base_is_refused_with_both_names(
    world: Callable[..., World], made: Callable[..., Path]
) -> None:
    here = world()
    task = sorted(here.tasks)[0]
    other = made(seed=5)
    one, two = here.add(task, 1), here.add(task, 2, base=other)
    with pytest.raises(AdapterMismatch, match=rf"{here.base.name} \(.*{other.name} \("):
        merge([one.sha256, two.sha256], here.project)
    assert here.project.tuned()[task] == two.sha256


def test_what_earns_no_money_is_refused_where_money_is_earned(
    world: Callable[..., World], made: Callable[..., Path]
) -> None:
    here = world()
    task, unpaid = sorted(here.tasks)[0], made(seed=6, licence="cc-by-nc-4.0")
    two = [here.add(task, seed, base=unpaid).sha256 for seed in (1, 2)]
    with pytest.raises(LicenceConflict, match=r"CC-BY-NC-4\.0 and commercial use"):
        merge(two, here.project, Asked(commercial=True))
    assert merge(two, here.project).licence == "CC-BY-NC-4.0"


def test_two_tasks_with_other_texts_go_together(world: Callable[..., World]) -> None:
    here = world()
    first, second = sorted(here.tasks)
    one, two = here.add(first, 1), here.add(second, 2)
    with pytest.raises(BadSetting, match="are of the tasks"):
        merge([first, second], here.project)
    with pytest.raises(BadSetting, match="None of the adapters was tuned for the task third"):
        merge([first, second], here.project, Asked(task="third"))
    made = merge([first, second], here.project, Asked(task=second))
    assert (made.task, made.data_sha256) == (second, two.data_sha256)
    assert {row.task for row in learned([made])} == {first, second}
    assert here.project.tuned() == {first: one.sha256, second: made.sha256}
    again = merge([made.sha256, f"{one.sha256}:-1"], here.project, Asked(task=second, method="task_arithmetic"))
    assert {row.task for row in learned([again])} == {first, second}
    third = merge([made.sha256, one.sha256], here.project, Asked(task=first, method="task_arithmetic"))
    own = msgspec.json.decode((here.project.artifact_path(third.sha256) / "own.json").read_bytes())
    held = msgspec.json.decode((here.project.artifact_path(one.sha256) / "own.json").read_bytes())
    assert own == held  # the one adapter of the first task in it, twice
    shutil.rmtree(here.project.artifact_path(one.sha256))
    fourth = here.add(first, 4)
    with pytest.raises(StudentUnusable, match="Only 0 rows were held back"):  # nobody knows what the lost one held back
        merge([made.sha256, fourth.sha256], here.project, Asked(task=first))


def test_what_learned_from_a_certifying_call_is_refused(world: Callable[..., World]) -> None:
    """The second task is asked the same, so its sides are the same. A call of the one side among the texts of the other
    is told, also where it differs by a word; and a row held back by one part that the other learned from is none."""
    here = world("shared")
    first, second = sorted(here.tasks)
    one = here.add(first, 1)
    assert merge([one.sha256, here.add(second, 2).sha256], here.project, Asked(task=first)).task == first
    with pytest.raises(StudentUnusable, match="Only 6 rows were held back by all"):
        merge([one.sha256, here.add(second, 2, own=6).sha256], here.project, Asked(task=first))
    sides = Sides(here.tasks[first], here.traffic)
    assert set(sides.fit.values()).isdisjoint(sides.certifies)
    assert apart(sides, second, list(sides.fit.values())) == list(sides.fit.values())
    for stolen in (sides.certifies[0], sides.certifies[0].upper() + "!"):
        with pytest.raises(StudentUnusable, match=rf"1 of the \d+ calls that certify {first} .* of {second}"):
            apart(sides, second, [*sides.fit.values(), stolen])


def test_the_certifying_side_is_that_of_the_proof(world: Callable[..., World]) -> None:
    here = world()
    for task in here.tasks.values():
        sides, held, rows = Sides(task, here.traffic), held_out(task, here.traffic), rows_of(task, here.traffic)
        assert sides.sha256 == held.fit_sha256 == rows.sha256
        assert list(sides.fit) == rows.texts
        assert {task.template.text(call.messages) for call in held.calls_held} == set(sides.certifies)


def test_rows_that_the_log_does_not_hold_are_refused(world: Callable[..., World]) -> None:
    here = world()
    first, second = sorted(here.tasks)
    one = here.add(first, 1)
    gone = here.add(second, 2, learned=[{"task": second, "data_sha256": "0" * 64}])
    with pytest.raises(StudentUnusable, match="that this log doesn't hold"):
        merge([first, gone.sha256], here.project, Asked(task=first))
    with pytest.raises(ProjectMissing, match="The log has changed"):
        merge([one.sha256, here.add(first, 3, learned=[{"task": first, "data_sha256": "0" * 64}]).sha256], here.project)


def test_too_few_rows_that_nobody_learned_from(world: Callable[..., World]) -> None:
    here = world()
    task = sorted(here.tasks)[0]
    one, two = here.add(task, 1), here.add(task, 2, own=9)
    with pytest.raises(StudentUnusable, match="Only 9 rows were held back by all"):
        merge([one.sha256, two.sha256], here.project)


def test_adapters_of_other_layers_are_refused() -> None:
    short = {name: tensor for name, tensor in lora(1).items() if "layers.1" not in name}
    with pytest.raises(
        AdapterMismatch, match=r"model\.layers\.1\.mlp\.down_proj is nothing in one adapter and 32 x 64"
    ):
        added([(short, 8.0), (lora(2), 8.0)], of("linear", 0.5, 0.5))
    with pytest.raises(AdapterMismatch, match="which is no LoRA"):
        added([({"lm_head.weight": torch.zeros(2, 2)}, 8.0), (lora(2), 8.0)], of("linear", 0.5, 0.5))
    half = {name: tensor for name, tensor in lora(1).items() if not name.endswith("0.mlp.down_proj.lora_B.weight")}
    with pytest.raises(AdapterMismatch, match="one half of"):
        added([(half, 8.0)], of("linear", 1.0))


def test_numbers_that_are_none_are_refused(world: Callable[..., World]) -> None:
    from safetensors.torch import save_file

    here = world()
    task = sorted(here.tasks)[0]
    one, two = here.add(task, 1), here.add(task, 2)
    spoilt = lora(3)
    next(iter(spoilt.values()))[0, 0] = float("nan")
    aside = here.project.path.parent / "spoilt.safetensors"
    save_file(spoilt, aside)
    folder = here.project.artifact_path(two.sha256)
    files = {path.name: path for path in folder.iterdir() if path.name != "manifest.json"}
    three = here.project.write_artifact(
        files | {"adapter.safetensors": aside}, kind="adapter", task=task, base=two.base, licence=two.licence,
        recipe=two.recipe, data_sha256=two.data_sha256,
    )  # fmt: skip
    with pytest.raises(
        AdapterMismatch, match=rf"layers\.0\..* in the adapter {three.sha256[:8]} holds numbers that are"
    ):
        merge([one.sha256, three.sha256], here.project, Asked(method="svd"))


def test_two_ranks_add_up() -> None:
    found, rank = added([(lora(1, 4), 8.0), (lora(2, 2), 8.0)], of("linear", 0.5, 0.5))
    assert rank == 6
    a, b = deltas(lora(1, 4), 8.0), deltas(lora(2, 2), 8.0)
    near(deltas(found, rank), {name: (a[name] + b[name]) / 2 for name in a})


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_saved_as_peft_names_it(world: Callable[..., World], tmp_path: Path) -> None:
    here = world()
    task = sorted(here.tasks)[0]
    made = merge([here.add(task, 1).sha256, here.add(task, 2).sha256], here.project)
    folder = here.project.artifact_path(made.sha256)
    assert set(tensors(folder / "adapter.safetensors")) == set(lora(1))
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(here.base), folder_for_peft(folder, tmp_path)
    )
    layer = model.base_model.model.model.layers[0].mlp.down_proj
    wanted = (
        deltas(lora(1), 8.0)["model.layers.0.mlp.down_proj"] + deltas(lora(2), 8.0)["model.layers.0.mlp.down_proj"]
    ) / 2
    assert torch.allclose(layer.get_delta_weight("default"), wanted, atol=1e-4)


def folder_for_peft(folder: Path, tmp_path: Path) -> Path:
    """PEFT wants the tensors under its own file's name, and only those layers that there are."""
    import json
    import shutil

    aside = tmp_path / "peft"
    aside.mkdir()
    shutil.copy(folder / "adapter.safetensors", aside / "adapter_model.safetensors")
    said = json.loads((folder / "adapter_config.json").read_bytes())
    (aside / "adapter_config.json").write_text(json.dumps(said | {"target_modules": ["q_proj", "down_proj"]}))
    return aside


def test_what_is_no_adapter_and_what_is_missing(world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    here = world()
    task = sorted(here.tasks)[0]
    one, two = here.add(task, 1), here.add(task, 2)
    with pytest.raises(BadSetting, match="is given twice"):
        merge([one.sha256, one.sha256[:10]], here.project)
    with pytest.raises(BadSetting, match="1 model is given"):
        merge(["nothing"], here.project)
    with pytest.raises(BadSetting, match=r"There is no model 'nothing'") as error:
        merge([one.sha256, "nothing"], here.project)
    assert f"{two.sha256[:8]} ({task})" in error.value.hint
    with pytest.raises(BadSetting, match="slerp is for whole models"):
        merge([one.sha256, two.sha256], here.project, Asked(method="slerp"))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match="needs the package peft"):
        merge([one.sha256, two.sha256], here.project)
    assert isinstance(here.project, Project)
