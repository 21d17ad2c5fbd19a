"""Published figures of other models than the fit's; fitted on them: how much servers lose that nobody tunes.

Tokens read and written a second, all devices (GPUStack's performance lab, Apache-2.0, docs/performance-lab, 2026-08-21,
ShareGPT; the geometric middle where it gives a range), or written (johnmusgrave.com; MLPerf v5.1, Mixtral, Server).
Not published: how many calls were in at once and how long they were. 256 at once, and as many tokens written as read,
are assumed for GPUStack, 2,048 a device and 294 for MLPerf, 512 tokens of context for the single streams.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import speed_error as main

from freehold.fit import Architecture, cache_bytes, weight_bytes
from freehold.plan.speed import Step, step

Row = dict[str, Any]


class Figure(NamedTuple):
    name: str
    config: str
    card: str
    form: str
    gpus: int
    rate: float
    streams: int = 256
    asked: int = 294
    written: int = 294
    tuned: bool = False
    bits: float = 16.0


def middle(low: float, high: float) -> float:
    return math.sqrt(low * high)


MIXTRAL = "mistralai--Mixtral-8x7B-v0.1"
FIGURES = (
    Figure("Llama-3.1-8B, A100-40, 1 stream", "meta-llama--Meta-Llama-3.1-8B", "a100-40", "BF16", 1, 75, 1, 0, 512),
    Figure("Llama-3.1-8B, A100-40, 8 streams", "meta-llama--Meta-Llama-3.1-8B", "a100-40", "BF16", 1, 495, 8, 0, 512),
    Figure("Qwen3-32B, H100", "Qwen--Qwen3-32B", "h100-sxm", "BF16", 1, middle(2400, 4300)),
    Figure("Qwen3-32B, A100", "Qwen--Qwen3-32B", "a100-sxm", "BF16", 1, middle(1700, 2100)),
    Figure("gpt-oss-20b, H100", "openai--gpt-oss-20b", "h100-sxm", "MXFP4", 1, middle(16700, 19100)),
    Figure("gpt-oss-20b, A100", "openai--gpt-oss-20b", "a100-sxm", "MXFP4", 1, middle(9700, 10900)),
    Figure("gpt-oss-120b, H100", "openai--gpt-oss-120b", "h100-sxm", "MXFP4", 1, 6095),
    Figure("gpt-oss-120b, 2 H100", "openai--gpt-oss-120b", "h100-sxm", "MXFP4", 2, 16042),
    Figure("gpt-oss-120b, 2 A100", "openai--gpt-oss-120b", "a100-sxm", "MXFP4", 2, 5100),
    Figure("Qwen3-235B-A22B-FP8, 8 H100", "Qwen--Qwen3-235B-A22B-FP8", "h100-sxm", "FP8", 8, 15600),
    Figure("DeepSeek-V3.2, 8 H200", "deepseek-ai--DeepSeek-V3.2", "h200-sxm", "FP8", 8, 9000),
    Figure("Mixtral, MI300X", MIXTRAL, "mi300x", "FP8", 1, 2 * 47804 / 8, 2048, tuned=True, bits=8),
    Figure("Mixtral, MI325X", MIXTRAL, "mi325x", "FP8", 1, 2 * 1.87 * 32027.6 / 8, 2048, tuned=True, bits=8),
)  # fmt: skip
START = {"crowd": (0.0, 0.7), "half": (math.log(40), 1.0), "grouped": (math.log(0.4), 0.7)}
NOISE = 0.3


@cache
def architecture(name: str) -> Architecture:
    path = main.ROOT / "aiconfigurator" / "model_configs" / f"{name}_config.json"
    return Architecture.of(json.loads(path.read_text()), name)


def rate(f: Figure, theta: Mapping[str, float], values: Mapping[str, float], calibrated: Callable[..., Any]) -> float:
    """Tokens a second as the figure counts them."""
    from dataclasses import replace

    a, hardware = architecture(f.config), main.card(f.card)
    has = hardware.values["flops"]
    kind = "fp8" if f.form == "FP8" and "fp8" in has else "bf16"
    setting = main.Setting(((f.card, 1),), "vllm", kind, 8.0, "Offline")
    named = main.Setting(((f.card, 1),), "vllm", "fp8", 8.0, "Offline").name
    by = calibrated(hardware, setting, {**theta, setting.name: theta[named]})
    loose = {} if f.tuned else {"crowd": math.exp(values["crowd"]), "half": math.exp(values["half"])}
    by = replace(by, bits=f.bits, grouped=math.exp(values["grouped"]), **loose)
    room = 0.9 * hardware.values["memory"] * f.gpus - weight_bytes(a, f.form) - 2e9 * f.gpus
    context = f.asked + f.written // 2
    streams = max(1.0, min(f.streams, room / cache_bytes(a, f.asked + f.written // 2, bits=f.bits)))
    found: Step = step(a, hardware, f.form, gpus=f.gpus, streams=streams, context=context,
                       prefill_tokens=streams * f.asked / f.written, by=by)  # fmt: skip
    return streams / found.seconds * (1 + f.asked / f.written)


def elsewhere(theta: Mapping[str, float], calibrated: Callable[..., Any], per_watt: float) -> Row:
    """crowd, half and grouped, and the log residuals of each figure, from a fit without it."""
    del per_watt
    from scipy.optimize import least_squares
    from scipy.stats import t

    names = list(START)
    centre, width = (np.array(x) for x in zip(*START.values(), strict=True))

    def solve(figures: tuple[Figure, ...]) -> dict[str, float]:
        def residuals(p: Any) -> Any:
            values = dict(zip(names, map(float, p), strict=True))
            logs = [math.log(rate(f, theta, values, calibrated) / f.rate) / NOISE for f in figures]
            return np.concatenate([logs, (p - centre) / width])

        return dict(zip(names, map(float, least_squares(residuals, centre).x), strict=True))

    def off(f: Figure, values: Mapping[str, float]) -> float:
        return math.log(f.rate / rate(f, theta, values, calibrated))

    found = solve(FIGURES)
    logs = np.array([off(f, solve(tuple(g for g in FIGURES if g is not f))) for f in FIGURES])
    halves = [span(np.delete(logs, i), t) for i in range(len(logs))]
    half = span(logs, t)
    return {key: math.exp(value) for key, value in found.items()} | {
        "median_error": round(float(np.median(np.abs(np.exp(-logs) - 1))), 4),
        "covered": round(float(np.mean(np.abs(logs) <= halves)), 4),
        "rows": {f.name: round(math.exp(x), 3) for f, x in zip(FIGURES, logs, strict=True)},
        "spread": (-half, half),
    }


def span(logs: Any, t: Any) -> float:
    """Half of a 90 % interval for one more figure, Student's t about nought."""
    return float(t.ppf(0.95, len(logs)) * math.sqrt(np.mean(logs**2) * (1 + 1 / len(logs))))
