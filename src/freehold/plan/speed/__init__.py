"""How fast a model answers on given hardware: a roofline with what a device really gives (calibrate.py).

    one step of a continuous batch: B streams write one token each, P tokens of new questions are read

    products   max(2 N_active (B + P) / FLOP/s,  bytes of the weights that are touched / bandwidth)
    attention  max(its own products / FLOP/s,    the streams' cache / bandwidth)
    talk       two all-reduces a layer where more than one device shares the weights
    layers     a fixed time each

    step = (products + attention + talk + layers) x crowd(B);   decode = B / step;   prefill = P / step

Products and attention are kernels of their own, one after the other, so each has its own roofline (Williams et al.
2009) and the sum is the step's. Experts touched: E (1 - (1 - k/E)^B) a layer (fit.read_bytes). An all-reduce moves
2 (n-1)/n of what it sums (ring). Products of experts reach a share `grouped` of what large ones do. 2 N a token:
Kaplan et al., arXiv 2001.08361.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from freehold.errors import BadSetting
from freehold.facts.tables import Facts
from freehold.fit import Architecture, active, cache_bytes, flop, read_bytes
from freehold.nouns import Fact, Measure, Speed
from freehold.plan.speed.calibrate import Calibration, calibration

__all__ = ["Step", "speed", "step"]


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of one step, by what they go to. `bound`: bandwidth or compute, whichever the most time goes to."""

    products: float
    weights: float
    attention: float
    cache: float
    talk: float
    layers: float
    crowd: float = 1.0

    @property
    def seconds(self) -> float:
        took = max(self.products, self.weights) + max(self.attention, self.cache) + self.talk + self.layers
        return took * self.crowd

    @property
    def bound(self) -> str:
        products = ("bandwidth", self.weights) if self.weights > self.products else ("compute", self.products)
        attention = ("bandwidth", self.cache) if self.cache > self.attention else ("compute", self.attention)
        return max(products, attention, key=lambda part: part[1])[0]


def step(
    a: Architecture,
    hardware: Fact,
    form: str,
    *,
    gpus: int,
    streams: float,
    context: int,
    prefill_tokens: float = 0,
    by: Calibration | None = None,
) -> Step:
    """One step on one replica of `gpus` devices: `streams` write a token each with `context` tokens before it, and
    `prefill_tokens` of new questions are read. Raises BadSetting where the hardware's facts lack what this needs."""
    by = by or calibration(hardware, form)
    tokens = streams + prefill_tokens
    if gpus < 1 or tokens <= 0 or streams < 0 or prefill_tokens < 0:
        raise BadSetting(
            f"A step needs a device and a token: gpus is {gpus}, streams {streams}, prefill_tokens {prefill_tokens}."
        )
    if by.flops is None and prefill_tokens:
        raise BadSetting(
            f"{hardware.ref} has no FLOP/s, so how fast it reads questions is not known.",
            "Give flops in freehold.toml, or measure the machine: freehold doctor --measure.",
        )
    flops, bandwidth = (by.flops or float("inf")) * gpus, by.bandwidth * gpus
    experts = _experts(a)
    weighed = active(a) - experts + experts / by.grouped
    look = flop(a, 1, context) - flop(a, 1)  # 4 H h a token of context: each number in the cache, by each head
    looked = streams * look + prefill_tokens * (flop(a, 1, context // 2) - flop(a, 1))
    cache = look / 2 * by.bits / 8 if by.apart else cache_bytes(a, context, bits=by.bits)
    return Step(
        products=2 * weighed * tokens / flops,
        weights=_read(a, form, max(1, round(tokens))) / bandwidth,
        attention=looked / flops,
        cache=streams * cache / bandwidth,
        talk=_talk(a, hardware, gpus, tokens),
        layers=by.layer * a.depth,
        crowd=by.crowded(streams),
    )


@lru_cache(maxsize=4096)
def _read(a: Architecture, form: str, tokens: int) -> int:
    return read_bytes(a, form, tokens)


@lru_cache(maxsize=256)
def _experts(a: Architecture) -> int:
    """Parameters of the experts that a token is multiplied with."""
    return sum(times * layer.chosen * layer.each for times, layer in a.layers)


def _talk(a: Architecture, hardware: Fact, gpus: int, tokens: float) -> float:
    """Two all-reduces a layer of the tokens' states in 16 bits."""
    if gpus == 1:
        return 0.0
    link = hardware.values.get("link")
    if not link:
        raise BadSetting(f"{hardware.ref} has no link between devices.", "Take one device, or give link a value.")
    if gpus > hardware.values.get("per_node", gpus):
        link = min(link, hardware.values.get("network", link))
    moved = 2 * (gpus - 1) / gpus * tokens * a.hidden * 2
    return float(2 * a.depth * (moved / link + hardware.values.get("latency", 0.0)))


def speed(
    model_id: str,
    a: Architecture,
    hardware: Fact,
    form: str,
    *,
    gpus: int,
    streams: int,
    context: int,
    prompt: int,
    engine: str = "",
    facts: Facts | None = None,
) -> Speed:
    """Tokens a second of one replica: reading questions of `prompt` tokens, and writing with `streams` at once at
    `context`. The interval is what the calibration covered nine times in ten."""
    by = calibration(hardware, form, engine=engine, facts=facts)
    writing = step(a, hardware, form, gpus=gpus, streams=streams, context=context, by=by)
    reading = None
    if by.flops is not None:
        reading = step(a, hardware, form, gpus=gpus, streams=0, context=prompt, prefill_tokens=prompt, by=by).seconds
    return Speed(
        model=model_id, hardware=hardware.id, gpus=gpus, format=form, streams=streams, context=context,
        prefill=_rate(prompt / reading if reading else None, by),
        decode=_rate(streams / writing.seconds, by),
        stream=_rate(1 / writing.seconds, by),
        bound=writing.bound,
        uses=(hardware.ref, *by.uses),
    )  # fmt: skip


def _rate(value: float | None, by: Calibration) -> Measure:
    if value is None:
        return Measure(None, unit="tokens/s", method="the hardware's FLOP/s are not known")
    return Measure(value, by.low * value, by.high * value, unit="tokens/s", method=by.method)
