"""Where a model could run: for each device the fewest of them that hold it, in the best format in which so few do.

    llama-3.3-70b, 8k context ── mi300x   ──→ 1 x MI300X, BF16
                              ├─ h200-sxm ──→ 1 x H200, FP8
                              ├─ l40s     ──→ 2 x L40S, FP8
                              └─ apple-m4 ──→ too small: at most .47 bits a weight

One device is tried in each format, from the one that loses least to the one that loses most, then two, four and eight:
16 bits, 8 bits where the device computes in them, then 4 bits. What 8 and 4 bits cost in answers is for
`freehold prove` to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from freehold.facts import Facts
from freehold.fit import FORMS, Architecture, most_context, most_streams, parameters, serving, total
from freehold.nouns import Fact, Fit, Speed
from freehold.plan.speed import speed
from freehold.plan.speed.calibrate import is_gguf

__all__ = ["Place", "engine_of", "fit_on", "formats_of", "places", "room"]

USED = 0.9  # of a device's memory: vLLM's default; the rest is the driver's and the graphs'
STREAMS = 128  # at once, at most, where the speed is read off: half of vLLM's default
LEAST_STREAMS = 4  # a replica that holds fewer calls at once is no server
HALF = ("BF16", "F16", "F32")  # what other formats are made from
GGUF = ("Q8_0", "Q4_K_M")
MOST = 8  # devices a replica


@dataclass(frozen=True, slots=True)
class Place:
    """One model on one kind of device: what it takes there, and how fast it is."""

    hardware: Fact
    gpus: int
    fit: Fit
    speed: Speed

    @property
    def engine(self) -> str:
        return engine_of(self.hardware, self.fit.format)


def engine_of(hardware: Fact, form: str) -> str:
    """GGUF formats are llama.cpp's, the others vLLM's."""
    return "llama.cpp" if is_gguf(form) or not _accelerator(hardware) else "vLLM"


def formats_of(hardware: Fact, model: Fact) -> tuple[str, ...]:
    """The formats worth trying on a device, the one that loses least first. A model whose own weights are in few bits
    is served in those."""
    native = str(model.values.get("native") or "").upper()
    if "stored" in model.values and native in FORMS and native not in HALF:
        return (native,)  # a file in few bits is served as it is
    if not _accelerator(hardware):
        return (f"{native}_MOE",) if f"{native}_MOE" in FORMS else ("BF16", *GGUF)
    if native in FORMS and native not in HALF:
        return (native,)
    flops = hardware.values.get("flops") or {}
    return ("BF16", *(("FP8",) if "fp8" in flops else ("INT8",) if "int8" in flops else ()), "AWQ")


def room(hardware: Fact, gpus: int) -> int:
    """Bytes that weights, cache and buffers may take on `gpus` devices."""
    return int(USED * gpus * hardware.values["memory"])


def fit_on(
    model: Fact, a: Architecture, hardware: Fact, gpus: int, form: str, *, context: int, streams: int = 1
) -> Fit:
    """Does it fit, with `streams` calls of `context` tokens at once? With the figures either way."""
    stored = model.values.get("stored") if form == model.values.get("native") else None
    need = serving(a, form, context=context, slots=streams, weights=stored)
    capacity = room(hardware, gpus)
    weights = need["weights"]
    left = capacity - need["buffers"]
    bits = 8 * weights / parameters(a)
    why = ""
    if total(need) > capacity:
        most = 8 * max(0, left - need["cache"]) / parameters(a)
        why = (
            f"{model.id} in {form} needs {total(need) / 1e9:.1f} GB with {streams} x {context:,} tokens, "
            f"and {gpus} x {hardware.id} {'has' if gpus == 1 else 'have'} {capacity / 1e9:.1f} GB to give: "
            f"at most {most:.2f} bits a weight"
        )
    return Fit(
        model=model.id, hardware=hardware.id, gpus=gpus, format=form, bits=bits, weights=weights, cache=need["cache"],
        buffers=need["buffers"], capacity=capacity, context=context, streams=streams,
        most_context=most_context(a, weights, room=left),
        most_streams=most_streams(a, weights, room=left, context=context),
        fits=not why, why=why, uses=(model.ref, hardware.ref),
    )  # fmt: skip


def places(
    model: Fact, a: Architecture, hardware: Iterable[Fact], facts: Facts, *, longest: int, mean: int, prompt: int,
    forms: Sequence[str] = (),
) -> tuple[list[Place], list[Fit]]:  # fmt: skip
    """(where it fits, one a device; the nearest miss of each device where it doesn't). It fits where a few calls of the
    `longest` context do; the speed is that of as many as fit at the `mean` one, with questions of `prompt` tokens."""
    found: list[Place] = []
    missed: list[Fit] = []
    for device in hardware:
        if not device.values.get("memory"):
            continue
        tried: list[Fit] = []
        for gpus, form in product(_counts(device), forms or formats_of(device, model)):
            tried.append(fit_on(model, a, device, gpus, form, context=longest, streams=LEAST_STREAMS))
            if tried[-1].fits:
                break
        good = tried[-1]
        if not good.fits:
            missed.append(max(tried, key=lambda fit: fit.capacity / (fit.weights + fit.cache + fit.buffers)))
            continue
        left = good.capacity - good.buffers
        streams = min(most_streams(a, good.weights, room=left, context=mean), STREAMS)
        fast = speed(
            model.id, a, device, good.format, gpus=good.gpus, streams=streams, context=mean, prompt=prompt, facts=facts
        )
        found.append(Place(device, good.gpus, good, fast))
    return found, missed


def _counts(device: Fact) -> tuple[int, ...]:
    """1, 2, 4, 8 devices, as many as a machine holds and can speak to each other."""
    most = min(MOST, int(device.values.get("per_node") or 1)) if device.values.get("link") else 1
    return tuple(n for n in (1, 2, 4, 8) if n <= most)


def _accelerator(hardware: Fact) -> bool:
    return hardware.values.get("kind") in ("datacentre", "consumer", "workstation")
