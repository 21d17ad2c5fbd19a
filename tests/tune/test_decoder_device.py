"""Where a decoder is tuned, and in which form a step fits: decided without a card; what is recomputed, on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import BadSetting, TooLittleMemory
from freehold.fit import GIB, Shape, total
from freehold.tune.decoder.data import Example, Examples
from freehold.tune.decoder.device import CPU, device
from freehold.tune.decoder.memory import Lengths, Size, lengths, needed, size
from freehold.tune.decoder.plan import PIECE

torch = pytest.importorskip("torch")

SEVEN = Shape(
    layers=32, hidden=4096, inner=11008, heads=32, kv_heads=32, head=128, vocabulary=32000, tied=False
)  # fmt: skip
STEP = Lengths(prefix=300, longest=1000, answer=200, rows=8)


def form(have: float, *, card: bool = True, bits: int = 4, step: Lengths = STEP) -> Size:
    return size(SEVEN, step, card=card, have=int(have * GIB), what="Tuning it", bits=bits, kind="bfloat16")


def test_a_card_is_asked_for_by_name_and_refused_where_there_is_none() -> None:
    assert device("cpu").name == "cpu"
    assert device("cpu").why == "cpu as asked"
    with pytest.raises(BadSetting, match=r"--device is 'gpu'.*Known: auto, cpu, cuda"):
        device("gpu")
    found = device()
    assert found.name == ("cuda" if torch.cuda.is_available() else "cpu")
    assert found.why.startswith(f"{found.name}: ")
    if not torch.cuda.is_available():
        with pytest.raises(BadSetting, match=r"--device is cuda, and torch .*CUDA"):
            device("cuda")


def test_the_cpus_clock_and_random_numbers_are_as_they_were() -> None:
    assert CPU.free() is None
    assert CPU.seconds == "CPU seconds"
    before, deterministic = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    with CPU.still(3):
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        first, kept = torch.rand(4), CPU.random()
        second = torch.rand(4)
        CPU.put_random(kept)
        assert torch.equal(torch.rand(4), second)
        assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(kept) == {"rng"}


def test_on_a_card_a_step_is_as_large_as_its_memory_takes() -> None:
    whole, cut, small = form(79), form(30), form(11)
    assert (whole.piece, whole.recompute, whole.why) == (8000, False, "")
    assert (cut.piece, cut.recompute) == (2000, False)
    assert f"in pieces of {cut.piece:,} ids" in cut.why
    assert (small.piece, small.recompute) == (PIECE, True)
    assert "gradient checkpointing" in small.why
    for chosen, have in ((whole, 79), (cut, 30), (small, 11)):
        assert total(needed(SEVEN, STEP, chosen, card=True, bits=4, kind="bfloat16")) <= 0.9 * have * GIB
    larger = replace(cut, piece=2 * cut.piece)
    assert total(needed(SEVEN, STEP, larger, card=True, bits=4, kind="bfloat16")) > 0.9 * 30 * GIB


def test_what_fits_in_no_form_is_refused_with_its_parts() -> None:
    with pytest.raises(
        TooLittleMemory, match=r"Tuning it needs about \d+\.\d GiB \(weights 3\.\d.*, and 3\.0 GiB"
    ) as e:
        form(3)
    assert "a card with more memory" in e.value.hint
    with pytest.raises(TooLittleMemory, match=r"weights 12\.\d") as e:
        form(8, bits=16)
    assert "--bits 4" in e.value.hint
    with pytest.raises(TooLittleMemory) as e:
        form(3, card=False)
    assert "a machine with more memory" in e.value.hint


def test_on_a_cpu_a_piece_stays_as_it_was_and_activations_are_made_again_where_they_must() -> None:
    assert form(79, card=False) == Size(PIECE, False, "")
    assert form(9, card=False).recompute
    assert lengths(None, 8) == Lengths(0, 8, 8, 1)
    rows = (Example((1,) * 30, (2,) * 4), Example((1,) * 9, (2,) * 7))
    assert lengths(Examples((5,) * 11, rows, (0, 1), {}), 8) == Lengths(11, 34, 7, 8)


@pytest.mark.parametrize(("kind", "bits"), [("float32", 16), ("bfloat16", 4)])
def test_activations_made_twice_give_the_same_loss_and_gradients(folder: Path, kind: str, bits: int) -> None:
    if bits == 4:
        pytest.importorskip("bitsandbytes")
    kept = gradients(folder, kind, bits, twice=False)
    again = gradients(folder, kind, bits, twice=True)
    close = 1e-5 if kind == "float32" else 2e-2
    assert again[0] == pytest.approx(kept[0], abs=close)
    for name, gradient in kept[1].items():
        assert torch.allclose(gradient, again[1][name], atol=10 * close, rtol=close), name
    assert again[2] < 0.5 * kept[2], "of what the backward pass needs, less than half is held"


def gradients(folder: Path, kind: str, bits: int, *, twice: bool) -> tuple[float, dict[str, Any], int]:
    """Loss, gradients, and the bytes that the forward pass keeps."""
    from tests.tune.tiny import examples

    from freehold.tune.decoder.model import attach, forget_activations, load, loss

    tokens, found = examples(folder, 16)
    kept: dict[int, int] = {}

    def hold(tensor: Any) -> Any:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with CPU.still(0):
        model = attach(load(folder, kind, bits=bits), rank=4, alpha=8, seed=0)
        if twice:
            forget_activations(model)
            found = found.whole()
        for name, p in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, 0, 0.1)
        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            said = loss(model, found.rows, found.prefix, tokens.pad)
        said.backward()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    held = sum(size for place, size in kept.items() if place not in weights)
    return float(said.detach()), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}, held
