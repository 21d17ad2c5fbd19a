"""How a training is spread over devices: what each of them holds and how long a step takes, for every launch target.

    options = launches(a, Devices(8, memory=80e9, flops=4e14, link=300e9), ids=1 << 20, context=4096, width=2)
    choose(options, 80e9) -> (Launch("fsdp", ...), "fsdp: 31.2 GiB a device, 2.9 s a step ...")

              weights  gradients  Adam   activations    sent by a device in a step (n devices, P parameters)
    none         1         1        1      its ids      -
    ddp          1        1 + 1     1      its ids      2 (n-1)/n of the gradients      ring all-reduce
    zero1        1         1       1/n     its ids      the same                        ZeRO, arXiv 1910.02054
    zero2        1        1/n      1/n     its ids      the same
    zero3 fsdp  1/n       1/n      1/n     its ids      1.5 times that                  and a layer gathered
    tp         layers 1/n, ends 1          all, in part 4 all-reduces a layer           Megatron, arXiv 1909.08053
    megatron   layers and ends 1/tp        its ids      those of tp, and ddp's over n/tp; arXiv 2205.05198

DDP keeps a second copy of the gradients in its buckets. With `recompute` a layer keeps its input alone, and a third
more is computed (Korthikanti et al., arXiv 2205.05198). No talk is thought to hide behind work, so seconds are a most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from freehold.errors import TooLittleMemory
from freehold.fit.architecture import Layer, Stack
from freehold.fit.count import active, parameters
from freehold.fit.memory import GIB, RESERVE, Need, total
from freehold.fit.process import Held, at_most
from freehold.fit.train import PROGRAM, SLACK

__all__ = ["TARGETS", "Devices", "Launch", "choose", "launches"]

TARGETS = ("none", "ddp", "fsdp", "zero1", "zero2", "zero3", "tp", "megatron")
"""The simplest first."""
CLOSE = 1.1  # times the fastest: below, the simpler one is taken
BOTH = (False, True)
MOST_TP = 8  # devices that share a layer: those of one machine


@dataclass(frozen=True, slots=True)
class Devices:
    """`count` alike: bytes of memory and FLOP/s reached of each, and bytes/s that each can send to the next."""

    count: int
    memory: float
    flops: float
    link: float


@dataclass(frozen=True, slots=True)
class Launch:
    """One way: bytes on each device; seconds of a step, computing and talking. `tp`: devices that share each layer."""

    name: str
    recompute: bool
    tp: int
    need: Need
    computing: float
    talking: float

    @property
    def seconds(self) -> float:
        return self.computing + self.talking

    @property
    def words(self) -> str:
        tp = f" {self.tp} x" if self.name == "megatron" else ""
        return f"{self.name}{tp}{' with recomputing' if self.recompute else ''}"


class Bytes(NamedTuple):
    """Of a parameter: (4, 4, 8) in float32; (2, 2, 12) in bfloat16 with Adam's copy in float32."""

    weights: int
    gradients: int
    adam: int


class Work(NamedTuple):
    """`ids` of a step, in rows of `context`; a device holds at most `at_once` of them at once. `cpu`: by freehold's own
    loop, which looks at `held_out` ids too."""

    ids: int
    context: int
    width: int
    at_once: int
    fused: bool
    cpu: bool
    held_out: int | None
    mixed: bool


def launches(
    a: Stack,
    devices: Devices,
    *,
    ids: int,
    context: int,
    width: int = 4,
    at_once: int = 16_384,
    fused: bool = False,
    cpu: bool = False,
    held_out: int | None = None,
    mixed: bool = False,
    program: int | None = None,
) -> tuple[Launch, ...]:
    """Every way, with and without recomputing, the simplest first. `width`: bytes a number of the activations (4 in
    float32, 2 in bfloat16); `fused`: attention that keeps no scores.

    `cpu`: processes of freehold's own loop on CPUs, counted as fit.process does; it neither recomputes nor is Megatron.
    `held_out`: ids of that text (None: as many as are looked at together); `mixed`: bfloat16 by autocast; `program`:
    bytes that a process takes before it learns, where that was measured.
    """
    work = Work(ids, context, width, at_once, fused, cpu, held_out, mixed)
    ways = [way for way in _ways(a, devices.count) if not (cpu and way[0] == "megatron")]
    found = (
        _launch(a, devices, work, name, tp, recompute) for recompute in ((False,) if cpu else BOTH) for name, tp in ways
    )
    return tuple(one if program is None else replace(one, need=one.need | {"program": program}) for one in found)


def _ways(a: Stack, count: int) -> Iterator[tuple[str, int]]:
    """(name, devices that share a layer)."""
    if count == 1:
        yield "none", 1
        return
    heads = min((layer.heads for _, layer in a.layers if layer.heads), default=1)
    for name in ("ddp", "fsdp", "zero1", "zero2", "zero3"):
        yield name, 1
    if heads % count == 0:
        yield "tp", count
    for tp in range(2, min(count, MOST_TP) + 1):
        if count % tp == 0 and heads % tp == 0:
            yield "megatron", tp


def _launch(a: Stack, devices: Devices, work: Work, name: str, tp: int, recompute: bool) -> Launch:
    work_done = (8 if recompute else 6) * active(a) * work.ids / devices.count
    return Launch(
        name,
        recompute,
        tp,
        _need(a, devices.count, work, name, tp, recompute),
        work_done / devices.flops,
        _sent(a, devices.count, work, name, tp, recompute) / devices.link,
    )


def _need(a: Stack, n: int, work: Work, name: str, tp: int, recompute: bool) -> Need:
    own = -(-work.ids // (n // tp))
    if work.cpu:
        return at_most(a, name, n, _held(work, own, n // tp))
    held = min(work.at_once, own)
    sequence = name == "megatron"
    activations = _activations(a, held, work, tp, sequence=sequence, recompute=recompute)
    return {
        "weights, gradients, Adam": int(_states(a, n, name, tp, work.width)),
        "activations": int(SLACK * activations),
        "logits": int(SLACK * 3 * 4 * held * a.vocabulary / (tp if sequence else 1)),
        "program": PROGRAM,
    }


def _held(work: Work, own: int, shares: int) -> Held:
    """Whole rows, as many at once as fit; a step of more is made in pieces that are all alike."""
    most = max(work.context, work.at_once // work.context * work.context)
    look = most if work.held_out is None else min(most, -(-work.held_out // shares))
    return Held(-(-own // -(-own // most)), look, work.mixed)


def _states(a: Stack, n: int, name: str, tp: int, width: int) -> float:
    """Bytes of weights, gradients and Adam's states on one device."""
    b = Bytes(4, 4, 8) if width == 4 else Bytes(2, 2, 12)
    all_of, layers = parameters(a), sum(times * _size(layer) for times, layer in a.layers)
    if name == "tp":
        return sum(b) * (layers / tp + all_of - layers)
    if name == "megatron":
        return sum(b) * all_of / tp + b.gradients * all_of / tp * (n > tp)
    weights = b.weights / n if name in ("zero3", "fsdp") else b.weights
    gradients = b.gradients / n if name in ("zero2", "zero3", "fsdp") else b.gradients
    adam = b.adam / n if name in ("zero1", "zero2", "zero3", "fsdp") else b.adam
    twice = b.gradients if name == "ddp" else 0
    gathered = b.weights * max(_size(layer) for _, layer in a.layers) if name in ("zero3", "fsdp") else 0
    return (weights + gradients + adam + twice) * all_of + 2 * gathered  # one in use, the next on its way


def _size(layer: Layer) -> int:
    return layer.always + layer.experts * layer.each


def _activations(a: Stack, ids: int, work: Work, tp: int, *, sequence: bool, recompute: bool) -> float:
    """Bytes kept for the backward pass of `ids`. `sequence`: what tensor parallelism leaves whole is divided too."""
    each = [(times, ids * _kept(layer, a.hidden, work, tp, sequence)) for times, layer in a.layers]
    if not recompute:
        return sum(times * kept for times, kept in each)
    return a.depth * ids * work.width * a.hidden / (tp if sequence else 1) + max(kept for _, kept in each)


def _kept(layer: Layer, hidden: int, work: Work, tp: int, sequence: bool) -> float:
    """The terms of fit.train, of which norms and what goes into a half stay whole on each of `tp` devices."""
    width = work.width
    inner = sum(m.outputs for m in layer.matrices if m.role == "up")
    inner += layer.chosen * sum(m.outputs for m in layer.expert if m.role == "up")
    scores = 0 if work.fused or not layer.kept else (4 + width) * layer.heads * work.context
    whole = (2 * (4 + width) + 2 * width) * hidden
    return whole / (tp if sequence else 1) + (4 * width * hidden + 4 * width * inner + scores) / tp


def _sent(a: Stack, n: int, work: Work, name: str, tp: int, recompute: bool) -> float:
    """Bytes that a device sends in a step."""
    gradients = (4 if work.width == 4 else 2) * parameters(a)
    copies = n // tp
    if name in ("zero3", "fsdp"):
        return 1.5 * _ring(n) * gradients
    halves = (6 if recompute else 4) * a.depth
    inside = halves * _ring(tp) * work.ids / copies * a.hidden * work.width if tp > 1 else 0.0
    return inside + _ring(copies) * gradients / (tp if name == "megatron" else 1)


def _ring(n: int) -> float:
    """Of what is summed over n devices, what each sends (Patarasuk and Yuan 2009)."""
    return 2 * (n - 1) / n


def choose(options: Sequence[Launch], memory: float) -> tuple[Launch, str]:
    """The fastest that fits, or a simpler one that is nearly as fast, and why. Raises TooLittleMemory with every way's
    need where none fits."""
    fits = [option for option in options if total(option.need) <= RESERVE * memory]
    if not fits:
        raise TooLittleMemory(
            f"No way to spread this training fits in {memory / GIB:.1f} GiB a device: {_table(options)}.",
            "Take more devices, a smaller model, fewer ids at once, or LoRA.",
        )
    fastest = min(fits, key=lambda option: option.seconds)
    best = min((o for o in fits if o.seconds <= CLOSE * fastest.seconds), key=_simple)
    also = f", of {len(fits)} that fit" if len(fits) > 1 else ", the only one that fits"
    why = f"{best.words}: {total(best.need) / GIB:.1f} GiB a device and {best.seconds:.3g} s a step{also}"
    if best is not fastest:
        why += f"; {fastest.words} would take {fastest.seconds:.3g} s, too little less to be worth it"
    tight = [o for o in options if o not in fits and not o.recompute]
    return best, why + (f"; not {_table(tight)}" if tight else "") + "."


def _simple(option: Launch) -> tuple[bool, int]:
    return option.recompute, TARGETS.index(option.name)


def _table(options: Sequence[Launch]) -> str:
    return ", ".join(f"{option.words} {total(option.need) / GIB:.1f} GiB" for option in options)
