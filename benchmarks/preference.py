"""What learning a preference does, on answers that models gave and that were found right or wrong.

    python benchmarks/preference.py [--full] [--minutes N]        --full: 3 seeds instead of one

    GSM8K (MIT)  train ─short problems, people's worked answers→ the log ─tune→ the adapter it starts from
                 test  ─four models' sampled solutions→ pairs: one that was found right, one that was found wrong
    tune --pairs ─→ held-back pairs ranked right before and after, by how much they moved, the logged rows' loss

Right and wrong are by the final number, from the data. Nobody was asked which solution they would rather have: it is a
preference for right answers, not one by people. Where the two solutions differ in length, the longer one alone is
already a guess: how often that is the right one stands beside. The log names an open model, so that the terms let
its rows teach; its answers are GSM8K's own.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import _run

_run.one_thread()  # before numpy comes in

import numpy as np  # noqa: E402

GSM8K = Path(os.environ.get("FREEHOLD_SHARED", _run.ROOT.parent / "shared")) / "data" / "answers" / "gsm8k"
SYSTEM = "Solve the problem in short steps. The last line is A: and the number."
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
LOGGED, PAIRS = 160, 600
TUNED, MINUTES = 0.8, 6.0  # CPU minutes of the tuning, and of learning the preference where none are given
ROWS = _run.CACHE / "preference.jsonl"
SAME = (("175b_finetuning", "175b_verification"), ("6b_finetuning", "6b_verification"))


def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(GSM8K / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def messages(question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def log(path: Path, seed: int) -> None:
    """The shortest worked answers, drawn by the seed out of twice as many."""
    short = sorted(rows("train"), key=lambda row: len(row["question"]) + len(row["answer"]))[: 2 * LOGGED]
    with path.open("w", encoding="utf-8") as file:
        for i in sorted(np.random.default_rng(seed).permutation(len(short))[:LOGGED].tolist()):
            said = {"role": "assistant", "content": short[i]["answer"].replace("####", "A:")}
            response = {"choices": [{"message": said, "finish_reason": "stop"}]}
            request = {"model": MODEL, "messages": messages(short[i]["question"])}
            file.write(json.dumps({"request": request, "response": response}) + "\n")


def pairs() -> list[tuple[str, str, str]]:
    """(question, right, wrong) of the shortest problems that have both; of models of one size where it can be."""
    found = []
    for row in rows("example_model_solutions"):
        said = {name: row[name] for two in SAME for name in two}
        two = next((two for two in SAME if said[two[0]]["is_correct"] != said[two[1]]["is_correct"]), None)
        if two is not None:
            good, bad = sorted((said[name] for name in two), key=lambda one: not one["is_correct"])
            found.append((row["question"], good["solution"], bad["solution"]))
    return sorted(found, key=lambda one: sum(map(len, one)))[:PAIRS]


def one(seed: int, minutes: float) -> dict[str, Any]:
    from freehold.project import Project
    from freehold.traffic import find_tasks, read
    from freehold.tune import tune

    chosen = pairs()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log(folder / "calls.jsonl", seed)
        with (folder / "pairs.jsonl").open("w", encoding="utf-8") as file:
            for question, good, bad in chosen:
                outputs = [[{"role": "assistant", "content": text}] for text in (good, bad)]
                both = dict(zip(("preferred_output", "non_preferred_output"), outputs, strict=True))
                file.write(json.dumps({"input": {"messages": messages(question)}, **both}) + "\n")
        traffic, project = read([folder / "calls.jsonl"]), Project.create(folder / "project")
        (task,) = find_tasks(traffic)
        first = tune(task, traffic, project, kind="decoder", minutes=TUNED, private="keep", tell=_tell)
        if first.kind != "adapter":
            return {"seed": seed, "refused": "the untuned base with examples answered better: no adapter to start from"}
        made = tune(task, traffic, project, pairs=str(folder / "pairs.jsonl"), minutes=minutes, private="keep",
                    tell=_tell)  # fmt: skip
    said = made.recipe["preference"]
    longer = sum(len(good) > len(bad) for _, good, bad in chosen)
    kept = ("before", "after", "change", "moved_towards", "preferred_log_p", "logged", "learned", "words")
    return {
        "seed": seed, "minutes": minutes, "pairs": len(chosen), "left_out": made.recipe["left_out"],
        "longer_is_right": longer,
        "steps": made.recipe["plan"]["steps"], "epochs": made.recipe["plan"]["epochs"],
        "rate": made.recipe["plan"]["rate"], "cpu_seconds": made.recipe["cpu_seconds"],
        **{name: said[name] for name in kept},
    }  # fmt: skip


def _tell(words: str, done: float | None = None) -> None:
    if done is None:
        _run.say(words)


def goals(found: list[dict[str, Any]], whole: bool) -> list[dict[str, Any]]:
    """Decided where every seed's change lies above 0."""
    lows = [one["change"]["low"] for one in found if "change" in one]
    met = bool(lows) and min(lows) > 0 if whole else None
    return [_run.goal("held-back pairs ranked right: change", "above 0 in each seed", lows, met)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="CPU minutes of learning the preference")
    args = parser.parse_args()
    if not GSM8K.is_dir():
        raise SystemExit(f"there is no {GSM8K}; FREEHOLD_SHARED names the folder with data/answers/gsm8k")
    key, before = _run.fingerprint(Path(__file__), str(args.minutes)), sum(os.times()[:4])
    made = {row["seed"]: row for row in _run.read_rows(ROWS) if row["key"] == key}
    seeds = range(3 if args.full else 1)
    for seed in seeds:
        if seed not in made:
            made[seed] = {"key": key} | one(seed, args.minutes)
            _run.add_row(ROWS, made[seed])
            _run.say(json.dumps(made[seed]))
    found = [made[seed] for seed in seeds]
    cpu = round(sum(os.times()[:4]) - before, 1)
    return _run.emit("preference", full=args.full, n=len(found), goals=goals(found, args.full), result=found, cpu=cpu,
                     notes=[])  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
