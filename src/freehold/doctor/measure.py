"""What this machine gives: memory read by all cores at once, and the embedded engine with one base.

bandwidth   every core reads two arrays that no cache holds (a dot product, as STREAM's kernels read memory);
            the median of the rounds, with the least and the most
engine      questions of 512 tokens, one token of answer: what is read a second
            answers of 64 tokens after 16, less one of 1: what is written a second, one stream
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.errors import BadSetting
from freehold.nouns import Measure
from freehold.nouns.machine import EngineSpeed
from freehold.tell import Tell, quiet

if TYPE_CHECKING:
    from freehold.engines.llama.engine import Engine

__all__ = ["bandwidth", "engine", "read_speed", "write_speed"]

EACH = 64 << 20  # bytes of one of a core's two arrays: more than any cache keeps
PROMPT, ANSWER, STREAMS = 512, 64, 4
TEXT = "The committee met on Tuesday to discuss the budget for the new library, and the members asked about costs. "


def bandwidth(seconds: float = 10.0, *, cores: int | None = None, each: int = EACH) -> Measure:
    """Bytes of memory that are read a second, all cores together."""
    import numpy as np
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    from freehold.doctor.look import look

    cores = cores or look().cores
    pairs = [(np.ones(each // 4, np.float32), np.ones(each // 4, np.float32)) for _ in range(cores)]

    def round_() -> float:
        start = time.perf_counter()
        list(pool.map(lambda pair: float(np.dot(*pair)), pairs))
        return 2 * each * cores / (time.perf_counter() - start)

    with threadpool_limits(1), ThreadPoolExecutor(cores) as pool:
        round_()
        rates = _repeat(round_, seconds)
    return _measure(rates, "bytes/s", f"{cores} cores read {2 * each * cores >> 20} MiB a round")


def engine(base: str | Path | None, seconds: float = 40.0, tell: Tell = quiet) -> EngineSpeed:
    """The embedded engine with one base. Raises BaseUnusable, MissingExtra, EngineFailed, and BadSetting where the base
    is no GGUF file."""
    from freehold.engines.bases import find
    from freehold.engines.gguf.read import check
    from freehold.engines.llama.engine import Engine

    found = find(base)
    if found.form != "gguf":
        raise BadSetting(f"{found.path} is no GGUF file.", "Give one with --base FILE.gguf.")
    file = check(found.path)
    size = sum(tensor.bytes for tensor in file.tensors.values())
    parameters = sum(_product(tensor.shape) for tensor in file.tensors.values())
    with Engine.start(found.path, context=PROMPT + ANSWER) as running:
        tell("the engine reads")
        prefill = read_speed(running, PROMPT, seconds / 3)
        tell("the engine writes")
        decode = write_speed(running, 16, ANSWER, seconds / 3)
        threads = running.settings.threads
    tell(f"the engine writes {STREAMS} answers at once")
    with Engine.start(found.path, context=PROMPT + ANSWER, slots=STREAMS, threads=threads) as running:
        many = write_speed(running, 16, ANSWER, seconds / 3, STREAMS)
    assert prefill.value is not None
    assert decode.value is not None
    return EngineSpeed(
        base=found.name, sha256=found.sha256, format=file.quantisation, parameters=parameters, bytes=size,
        threads=threads, prompt=PROMPT, prefill=prefill, decode=decode, streams=STREAMS, many=many,
        flops=2.0 * parameters * prefill.value, bandwidth=size * decode.value,
    )  # fmt: skip


def read_speed(running: Engine, prompt: int, seconds: float) -> Measure:
    """Tokens of a question that the engine reads a second."""
    rates = _repeat(lambda: prompt / _seconds(running, prompt, 1, 1)[0], seconds)
    return _measure(rates, "tokens/s", f"questions of {prompt} tokens")


def write_speed(running: Engine, prompt: int, answer: int, seconds: float, streams: int = 1) -> Measure:
    """Tokens that the engine writes a second after `prompt` tokens, all streams together, their reading taken off."""
    first = statistics.median(_seconds(running, prompt, 1, streams)[0] for _ in range(3))

    def rate() -> float:
        took, tokens = _seconds(running, prompt, answer, streams)
        return (tokens - streams) / max(took - first, 1e-9)

    told = f"answers of up to {answer} tokens after {prompt}, {streams} at once"
    return _measure(_repeat(rate, seconds), "tokens/s", told)


def _seconds(running: Engine, prompt: int, answer: int, streams: int) -> tuple[float, int]:
    """Of `streams` answers at once, and the tokens written in all (an end may come before `answer` is reached). Each
    question begins otherwise, so that nothing is kept of another."""
    from freehold.engines.llama.completion import Request

    ids = running.tokenize(TEXT)
    asked = [
        Request(prompt_ids=(ids[i + 1 :] + ids * (prompt // len(ids) + 1))[:prompt], max_tokens=answer, logprobs=None)
        for i in range(streams)
    ]
    start = time.perf_counter()
    found = running.complete_all(asked)
    return time.perf_counter() - start, sum(len(one.tokens) for one in found)


def _repeat(once: Callable[[], float], seconds: float) -> list[float]:
    """For about `seconds`, three times at least."""
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while len(rates) < 3 or time.perf_counter() < end:
        rates.append(once())
    return rates


def _measure(rates: Sequence[float], unit: str, method: str) -> Measure:
    """The median with the 5th and the 95th hundredth."""
    ordered = sorted(rates)
    low, high = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
    return Measure(statistics.median(ordered), low, high, len(ordered), unit, f"{method}; median, 5 % and 95 %")


def _product(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
