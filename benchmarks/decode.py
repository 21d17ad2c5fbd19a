"""How fast the embedded engine writes one extraction: tokens/s and p50 at 1, 4, 16 streams; with a schema; speculation.

    python benchmarks/decode.py [--full] [--model FILE.gguf] [--threads 1]

    ours          Engine (a child process); one stream as a student asks: a kept prefix, the same bits each time
    bare          xllamacpp's Server, called in a process of its own, with its defaults
    transformers  generate on the same weights in float32, as many prompts a batch as there are streams

    plain   no log-probabilities on either side        scored  each token's, on both: what a student needs
    schema  scored, and held to a JSON schema

Same file, prompts, context, threads and number of streams; the sides take turns (A B A B ...), a round's ratio compares
neighbours, and the median over rounds is the figure, with the least and the most. The goal is for tokens per CPU
second, of all processes of a side, which a busy machine doesn't spoil; the ratio by the clock is printed beside it.
The prompts are calls of examples/extraction; --full leaves them their system prompt of some 400 tokens, the short form
gives them one of 30.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import _run

ENV = _run.one_thread()  # before numpy comes in

LOG = _run.ROOT / "examples" / "extraction" / "calls.jsonl.gz"
CONTEXT = 1024
SYSTEM = 'Read what the person said and answer with JSON only: {"intent": "...", "slots": {"name": "value"}}'
GOAL = 0.95
SCHEMA = {"type": "object", "properties": {"intent": {"type": "string"}, "slots": {"type": "object"}},
          "required": ["intent", "slots"], "additionalProperties": False}  # fmt: skip
HF = (["torch==2.13.0"], ["transformers==5.23.0", "accelerate==1.15.0", "gguf==0.19.0"])
Row = dict[str, Any]


def messages(count: int, system: str = "") -> list[list[Row]]:
    """The messages of the log's first calls, under another system message where one is given."""
    with gzip.open(LOG, "rt", encoding="utf-8") as file:
        found = [json.loads(line)["request"]["messages"] for line, _ in zip(file, range(count), strict=False)]
    return [[{"role": "system", "content": system}, *one[1:]] if system else one for one in found]


class Side:
    """A peer's process: asked for one round at a time."""

    def __init__(self, python: str | Path, script: str, settings: Row) -> None:
        argv = [str(python), str(_run.PEERS / script)]
        log = (_run.CACHE / f"{script}.log").open("wb")
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=ENV
        )
        log.close()
        self.ask(settings)

    def ask(self, said: Row) -> Row:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(said) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended with {self.process.wait()}; see {_run.CACHE.name}/")
        found: Row = json.loads(line)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Ours:
    """freehold's engine, asked as a student (one stream) or for throughput (several)."""

    def __init__(self, model: Path, slots: int, threads: int) -> None:
        from freehold.engines.llama.engine import Engine

        self.engine = Engine.start(model, context=CONTEXT, slots=slots, threads=threads)
        self.slots = slots

    def ask(self, said: Row) -> Row:
        from freehold.engines.llama.completion import Request

        prompts = said["prompts"]
        kept = _shared(prompts)
        how: Row = {"max_tokens": said["max_tokens"], "schema": said["schema"], "prefix": kept}
        asked = [Request(prompt_ids=p, logprobs=0 if said["scored"] else None, **how) for p in prompts]
        child = _child_cpu(self.engine.pid)
        start, used = time.perf_counter(), time.process_time()
        found = self.engine.complete_all(asked)
        wall, cpu = time.perf_counter() - start, time.process_time() - used + _child_cpu(self.engine.pid) - child
        tokens = sum(len(one.tokens) for one in found)
        return {"wall": wall, "cpu": cpu, "tokens": tokens, "each": [one.seconds for one in found]}

    def close(self) -> None:
        self.engine.close()


def _shared(prompts: Sequence[Sequence[int]]) -> int:
    """How many leading ids all prompts share."""
    one, other = min(prompts), max(prompts)
    return next(i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y)


def _child_cpu(pid: int | None) -> float:
    """CPU seconds of another process, to a hundredth."""
    text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(text[11]) + int(text[12])) / 100


@contextlib.contextmanager
def sides(model: Path, slots: int, threads: int) -> Iterator[tuple[Ours, Side]]:
    ours = Ours(model, slots, threads)
    bare = Side(
        sys.executable, "llama_bare.py",
        {"model": str(model), "context": CONTEXT, "slots": slots, "threads": threads},
    )  # fmt: skip
    try:
        yield ours, bare
    finally:
        ours.close()
        bare.close()


def compare(model: Path, prompts: list[list[int]], streams: int, rounds: int, args: argparse.Namespace) -> Row:
    """Each way of asking, `rounds` of as many prompts as give each stream its share."""
    ways = ("plain", "scored", "schema") if args.full else ("scored", "schema") if streams == 1 else ("plain", "scored")
    found: dict[str, list[tuple[Row, Row]]] = {way: [] for way in ways}
    size = max(args.prompts, streams)
    with sides(model, streams, args.threads) as both:
        for at in range(-1, rounds):
            for way in ways if at >= 0 else ways[-1:]:  # the first round loads pages, and computes the prefix
                turn = max(at, 0) * len(ways) + ways.index(way)  # other prompts each time: none is in a cache
                start = turn * size % (len(prompts) - size + 1)
                said = {"prompts": prompts[start : start + size], "max_tokens": args.tokens, "scored": way != "plain"}
                said["schema"] = SCHEMA if way == "schema" else None
                first = at % 2
                rows = {side: both[side].ask(said) for side in (first, 1 - first)}
                if at >= 0:
                    found[way].append((rows[0], rows[1]))
    return {way: ratios(pairs) for way, pairs in found.items()}


def ratios(pairs: Sequence[tuple[Row, Row]]) -> Row:
    out: Row = {}
    for clock in ("cpu", "wall"):
        mine, theirs = ([side[i]["tokens"] / side[i][clock] for side in pairs] for i in (0, 1))
        each = [a / b for a, b in zip(mine, theirs, strict=True)]
        out[f"tokens_per_{clock}_second"] = round(statistics.median(mine), 1)
        out[f"bare_per_{clock}_second"] = round(statistics.median(theirs), 1)
        out[f"{clock}_ratio"] = round(statistics.median(each), 3)
        out[f"{clock}_ratio_range"] = [round(min(each), 3), round(max(each), 3)]
    for name, i in (("p50_ms", 0), ("bare_p50_ms", 1)):
        out[name] = round(1000 * statistics.median(s for pair in pairs for s in pair[i]["each"]), 1)
    return out


def with_transformers(model: Path, prompts: list[list[int]], streams: Sequence[int], args: argparse.Namespace) -> Row:
    here = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "gguf"))
    side = Side(
        sys.executable if here else _run.venv("decode", *HF), "hf_generate.py",
        {"model": str(model), "threads": args.threads},
    )  # fmt: skip
    out: Row = {}
    for batch in streams:
        count = max(2, batch)
        row = side.ask({"prompts": prompts[:count], "max_tokens": args.tokens, "batch": batch})
        speed = {f"tokens_per_{clock}_second": round(row["tokens"] / row[clock], 1) for clock in ("cpu", "wall")}
        out[f"streams_{batch}"] = speed | {"p50_ms": round(1000 * statistics.median(row["each"]), 1)}
    side.close()
    return out


def with_speculation(model: Path, prompts: list[list[int]], args: argparse.Namespace) -> Row:
    from freehold.engines.llama.completion import Request
    from freehold.engines.llama.process import Settings
    from freehold.engines.llama.speculate import speculate

    kept = _shared(prompts)
    tokens = args.tokens if args.full else args.tokens // 2
    asked = [Request(prompt_ids=p, max_tokens=tokens, prefix=kept) for p in prompts]
    found = speculate(Settings(model.resolve(), context=CONTEXT, threads=args.threads), asked)
    _run.say(found.why)
    tried = [{"setting": dict(s), "ratio": round(r.value or 0.0, 3)} for s, r in found.tried]
    return {
        "on": found.on, "why": found.why, "setting": dict(found.setting), "acceptance": found.acceptance.value,
        "drafted": found.acceptance.n, "ratio": [found.ratio.value, found.ratio.low, found.ratio.high],
        "same_answers": found.same, "n": found.n, "tried": tried,
    }  # fmt: skip


def prompts_of(model: Path, count: int, full: bool) -> list[list[int]]:
    from freehold.engines.llama.engine import Engine

    with Engine.start(model, context=CONTEXT, threads=1) as engine:
        return [engine.ids(one) for one in messages(count, "" if full else SYSTEM)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="5 rounds, 8 prompts a round, answers of up to 48 tokens")
    parser.add_argument("--model", type=Path, help="a GGUF file; without it the base smollm2")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    rounds, args.prompts, args.tokens = (5, 8, 48) if args.full else (3, 2, 16)
    if args.model is None:
        from freehold.engines import bases

        args.model = bases.find("smollm2").path
    _run.CACHE.mkdir(exist_ok=True)
    prompts = prompts_of(args.model, 160 if args.full else 80, args.full)
    streams = (1, 4, 16)
    result: Row = {}
    for n in streams:
        result[f"streams_{n}"] = compare(args.model, prompts, n, rounds if n == 1 else max(2, rounds // 3), args)
        _run.say(f"{n} streams: {result[f'streams_{n}']}")
    result["speculation"] = with_speculation(args.model, prompts[: 100 if args.full else 16], args)
    result["transformers"] = with_transformers(args.model, prompts, streams if args.full else (1,), args)
    _run.say(f"transformers: {result['transformers']}")
    goals = [
        _run.goal(f"tokens per CPU second beside xllamacpp called bare, {n} streams, {name}", f">= {GOAL}x",
                  result[f"streams_{n}"][name]["cpu_ratio"], result[f"streams_{n}"][name]["cpu_ratio"] >= GOAL)
        for n in streams for name in result[f"streams_{n}"]
    ]  # fmt: skip
    spec = result["speculation"]
    goals.append(_run.goal("speculation is on only where it wins", ">= 1.1x or off", spec["why"],
                           not spec["on"] or spec["ratio"][0] >= 1.1))  # fmt: skip
    notes = [
        f"{args.threads} thread(s) a side, answers of up to {args.tokens} tokens, {len(prompts[0])} tokens a prompt"
    ]
    names = ("freehold", "xllamacpp", "torch", "transformers", "gguf")
    return _run.emit(
        "decode", full=args.full, n=rounds, goals=goals, result=result | {"model": args.model.name},
        peers={"xllamacpp": "called bare", "transformers": "generate, float32"}, notes=notes,
        versions=_run.versions(names),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
