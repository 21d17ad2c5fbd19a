"""xllamacpp called bare: a process that answers rounds of prompts with xllamacpp's own Server, nothing of freehold's.

stdin   {"model", "context", "slots", "threads"}, then a round a line:
        {"prompts": [[id, ...], ...], "max_tokens", "schema", "scored"}
stdout  a line a round: {"wall", "cpu", "tokens", "each": [seconds, ...]}
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import xllamacpp


def main() -> None:
    voice = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    said = json.loads(sys.stdin.readline())
    params = xllamacpp.CommonParams()
    params.model.path = said["model"]
    params.n_ctx = said["context"] * said["slots"]
    params.n_parallel = said["slots"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = said["threads"]
    params.verbosity = 1
    server = xllamacpp.Server(params)

    def one(prompt: list[int], asked: dict[str, object]) -> tuple[int, float]:
        body = {"prompt": prompt, "max_tokens": asked["max_tokens"], "temperature": 0}
        if asked["schema"]:
            body["json_schema"] = asked["schema"]
        if asked["scored"]:
            body["logprobs"] = 1
        start = time.perf_counter()
        answer = server.handle_completions(body)
        return answer["usage"]["completion_tokens"], time.perf_counter() - start

    with ThreadPoolExecutor(said["slots"]) as pool:
        print(json.dumps({"ready": True}), file=voice)
        for line in sys.stdin:
            asked = json.loads(line)
            start, used = time.perf_counter(), time.process_time()
            found = list(pool.map(lambda prompt: one(prompt, asked), asked["prompts"]))  # noqa: B023
            wall, cpu = time.perf_counter() - start, time.process_time() - used
            row = {"wall": wall, "cpu": cpu, "tokens": sum(n for n, _ in found), "each": [s for _, s in found]}
            print(json.dumps(row), file=voice)
    os._exit(0)


if __name__ == "__main__":
    main()
