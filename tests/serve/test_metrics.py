"""What Prometheus reads: every call once, over all workers, also of those that were killed; labels hold nothing odd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from freehold.ledger.entry import Entry
from freehold.nouns import Call
from freehold.serve.numbers import metrics as metrics_module
from freehold.serve.numbers.counts import BOUNDS, FIRST, OWN, WHOLE
from freehold.serve.numbers.metrics import Host, Metrics, RungState, State

MODEL = "gpt-4o-mini"


def parsed(metrics: Metrics) -> dict[str, Metric]:
    kind, text = metrics.render()
    assert kind.startswith("text/plain; version=0.0.4")
    found = list(text_string_to_metric_families(text.decode()))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    """The one sample of that name whose labels include these."""
    found = [s for f in families.values() for s in f.samples if s.name == sample and labels.items() <= s.labels.items()]
    assert len(found) == 1, (sample, labels, found)
    return found[0].value


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ended(metrics: Metrics, clock: Clock, seconds: float, first: float, **said: object) -> None:
    began = metrics.began()
    clock.now += seconds
    facts: dict[str, object] = {
        "task": "intents", "answered_by": "student", "why": "home", "status": "complete", "http": 200, "model": MODEL,
    }  # fmt: skip
    metrics.ended(began, first=began + first, **(facts | said))  # type: ignore[arg-type]


def test_calls_tokens_money_and_seconds() -> None:
    clock = Clock()
    metrics = Metrics(["intents"], [MODEL], clock=clock)
    ended(metrics, clock, 0.004, 0.003, prompt=40, completion=2, saved=0.5)
    ended(metrics, clock, 1.6, 0.3, prompt=10, completion=20, saved=-0.25, finished="length")
    ended(metrics, clock, 3.0, 2.0, answered_by="upstream", why="escalated", http=502, status="failed", waited=0.2)
    ended(metrics, clock, 3.0, 2.0, task="", answered_by="upstream", why="unmatched", model="what a user typed")
    metrics.refused("rate_limited", 429)
    assert metrics.began() == clock.now
    found = parsed(metrics)
    assert value(found, "freehold_calls_total", task="intents", why="home", status="complete") == 2
    assert value(found, "freehold_calls_total", why="escalated", status="failed") == 1
    assert value(found, "freehold_tokens_total", answered_by="student", kind="prompt") == 50
    assert value(found, "freehold_home_share") == 0.5
    assert value(found, "freehold_saved_usd", task="intents") == 0.25
    assert value(found, "freehold_responses_total", code="200") == 3
    assert value(found, "freehold_responses_total", code="429") == 1
    assert value(found, "freehold_refused_total", code="rate_limited") == 1
    assert value(found, "freehold_running") == 1
    assert value(found, "freehold_call_seconds_bucket", answered_by="student", le="0.005") == 1
    assert value(found, "freehold_call_seconds_bucket", answered_by="student", le="2.5") == 2
    assert abs(value(found, "freehold_call_seconds_sum", answered_by="student") - 1.604) < 1e-9
    assert value(found, "freehold_queue_seconds_count", answered_by="upstream") == 1
    assert "user typed" not in metrics.render()[1].decode()


def test_the_same_calls_under_vllms_names_with_vllms_buckets() -> None:
    clock = Clock()
    metrics = Metrics(["intents"], [MODEL], clock=clock, state=lambda: State(waiting=3))
    ended(metrics, clock, 0.4, 0.05, prompt=40, completion=2)
    ended(metrics, clock, 9000.0, 0.7, prompt=1, completion=5, finished="length")
    metrics.began()
    found = parsed(metrics)
    one = {"model_name": MODEL, "engine": "0"}
    assert value(found, "vllm:num_requests_running") == 1
    assert value(found, "vllm:num_requests_waiting") == 3
    assert value(found, "vllm:prompt_tokens_total", **one) == 41
    assert value(found, "vllm:generation_tokens_total", **one) == 7
    assert value(found, "vllm:request_success_total", finished_reason="length", **one) == 1
    for name, bounds in (("time_to_first_token_seconds", FIRST), ("e2e_request_latency_seconds", WHOLE)):
        buckets = [s.labels["le"] for s in found[f"vllm:{name}"].samples if s.name.endswith("_bucket")]
        assert [float(bound) for bound in buckets] == [*bounds, float("inf")]
    assert value(found, "vllm:e2e_request_latency_seconds_bucket", le="7680.0", **one) == 1
    assert value(found, "vllm:e2e_request_latency_seconds_bucket", le="+Inf", **one) == 2
    assert value(found, "vllm:time_to_first_token_seconds_bucket", le="0.75", **one) == 2


def test_every_bound_is_one_of_the_shared_list() -> None:
    assert {*OWN, *FIRST, *WHOLE} == set(BOUNDS)
    assert list(BOUNDS) == sorted(BOUNDS)


@settings(max_examples=40)
@given(st.lists(st.floats(0.0, 20_000.0), min_size=1, max_size=40))
def test_each_bucket_holds_exactly_the_calls_up_to_its_bound(seconds: list[float]) -> None:
    clock = Clock()
    metrics = Metrics(clock=clock)
    took = []
    for one in seconds:
        start = clock.now
        ended(metrics, clock, one, one)
        took.append(clock.now - start)
    for family, bounds in (("freehold_call_seconds", OWN), ("vllm:e2e_request_latency_seconds", WHOLE)):
        found = parsed(metrics)
        for bound in bounds:
            counted = value(found, f"{family}_bucket", le=str(bound))
            assert counted == sum(one <= bound for one in took)


def entry(**said: object) -> Entry:
    """A row as serve writes it."""
    made = Entry(Call(()), {"model": MODEL})  # type: ignore[arg-type]
    made.task, made.why, made.answered_by = "intents", "escalated", "upstream"
    made.ends(200, "complete", {"model": "gpt-4o-mini-2024-07-18", **said})
    return made


def test_a_row_tells_its_facts() -> None:
    home = "freehold/intents@9f86d081"
    metrics = Metrics(["intents"], [MODEL, home])
    cut = [{"finish_reason": "length"}]
    metrics.told(metrics.began(), entry(usage={"prompt_tokens": 40, "completion_tokens": 2}, choices=cut))
    own = entry(model=home, usage={"prompt_tokens": 5, "completion_tokens": 1})
    own.answered_by, own.why, own.saved = "student", "home", None
    metrics.told(metrics.began(), own)
    gone = entry()
    gone.status = "partial"
    metrics.told(metrics.began(), gone)
    metrics.refused("upstream_timeout")  # its row has the status
    found = parsed(metrics)
    assert value(found, "vllm:prompt_tokens_total", model_name=MODEL) == 40
    assert value(found, "vllm:generation_tokens_total", model_name=home) == 1
    assert value(found, "vllm:request_success_total", model_name=MODEL, finished_reason="length") == 1
    assert value(found, "vllm:request_success_total", model_name=home, finished_reason="stop") == 1
    assert value(found, "freehold_calls_total", status="partial") == 1
    assert value(found, "freehold_responses_total") == 3
    assert value(found, "freehold_running") == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(max_examples=40)
@given(JSON, JSON, JSON, JSON)
def test_an_upstream_that_sends_nonsense_counts_as_a_call_and_nothing_else(
    usage: object, tokens: object, choices: object, model: object
) -> None:
    metrics = Metrics(["intents"], [MODEL])
    metrics.told(metrics.began(), entry(usage=usage, choices=choices, model=model))
    metrics.told(
        metrics.began(), entry(usage={"prompt_tokens": tokens, "completion_tokens": tokens}, choices=[choices])
    )
    found = parsed(metrics)
    assert value(found, "freehold_calls_total") == 2
    assert value(found, "freehold_running") == 0
    assert 0 <= value(found, "vllm:prompt_tokens_total") < 2**31


# labels


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(), max_size=200), min_size=1, max_size=5, unique=True))
def test_any_task_name_is_a_label_that_can_be_read_again(names: list[str]) -> None:
    """Also with quotes, backslashes, line ends, lone surrogates: as many calls come out as went in."""
    clock = Clock()
    metrics = Metrics(names, names, clock=clock)
    for name in names:
        ended(metrics, clock, 0.1, 0.1, task=name, model=name)
    found = parsed(metrics)
    calls = [s for s in found["freehold_calls"].samples if s.name == "freehold_calls_total"]
    assert sum(s.value for s in calls) == len(names)
    for name in names:
        if name.isprintable() and len(name) <= 120:
            assert any(s.labels["task"] == (name or "none") for s in calls)
    assert all(s.labels["task"].isprintable() for s in calls)


@settings(max_examples=40)
@given(st.lists(st.text(max_size=30), max_size=300))
def test_what_callers_send_never_makes_more_series(words: list[str]) -> None:
    clock = Clock()
    metrics = Metrics(["intents"], [MODEL], clock=clock)
    for word in words:
        ended(metrics, clock, 0.1, 0.1, task=word, model=word)
        metrics.refused(word, 400)
    found = parsed(metrics)
    tasks = {s.labels["task"] for s in found["freehold_calls"].samples}
    assert tasks <= {"intents", "other", "none"}
    codes = {s.labels["code"] for s in found["freehold_refused"].samples}
    assert len(codes) <= 129
    assert all(code == "other" or metrics_module.WORD.fullmatch(code) for code in codes)


def test_a_task_that_was_proved_since_has_its_own_label() -> None:
    clock = Clock()
    metrics = Metrics(["intents"], clock=clock)
    ended(metrics, clock, 0.1, 0.1, task="later")
    metrics.know(["later"], [])
    ended(metrics, clock, 0.1, 0.1, task="later")
    found = parsed(metrics)
    assert value(found, "freehold_calls_total", task="other") == 1
    assert value(found, "freehold_calls_total", task="later") == 1


# several workers


def rung(**more: object) -> RungState:
    return RungState("intents", **({"open": True, "stage": "canary", "share": 0.25} | more))  # type: ignore[arg-type]


def test_a_scrape_of_any_worker_tells_the_sum(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    states = [
        State(2, (rung(evidence=3.0),), (Host("openai", 1, 2),), 5, 1, 0, True, 0, 4),
        State(1, (rung(open=False, evidence=1.0),), (Host("openai", 10, 0, True),), 6, 0, 2, False, 3, 0),
    ]
    clock = Clock()
    workers = [
        Metrics(["intents"], [MODEL], state=lambda s=state: s, folder=folder, worker=i, clock=clock)  # type: ignore[misc]
        for i, state in enumerate(states)
    ]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    ended(workers[0], clock, 0.4, 0.05)
    ended(workers[1], clock, 0.4, 0.05)
    ended(workers[1], clock, 0.4, 0.05)
    workers[1]._siblings.write(workers[1].counts())  # type: ignore[union-attr]
    found = parsed(workers[0])
    assert value(found, "freehold_calls_total") == 3
    assert value(found, "freehold_workers") == 2
    assert value(found, "freehold_waiting") == 3
    assert value(found, "freehold_rung_open", task="intents") == 0
    assert value(found, "freehold_rung_evidence", task="intents") == 3.0
    assert value(found, "freehold_rung_stage", task="intents", stage="canary") == 1
    assert value(found, "freehold_ledger_writable") == 0
    assert value(found, "freehold_ledger_rows_lost_total") == 3
    assert value(found, "freehold_upstream_failures_total", host="openai") == 11
    assert value(found, "freehold_upstream_breaker_open", host="openai") == 1
    assert value(found, "freehold_pairs_asked_total") == 11
    assert value(found, "freehold_budget_refused_total") == 4
    for worker in workers:
        worker.close()


WORKER = """
    import asyncio, sys
    from pathlib import Path
    from freehold.serve.numbers.metrics import Metrics, State

    async def main():
        lost = State(ledger_lost=1)
        metrics = Metrics(["intents"], folder=Path(sys.argv[1]), worker=int(sys.argv[2]), state=lambda: lost)
        for _ in range(int(sys.argv[3])):
            metrics.ended(metrics.began(), "intents", "student", "home", "complete", 200)
        metrics.began()
        metrics._siblings.write(metrics.counts())
        print("counted", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    asyncio.run(main())
"""


@contextlib.contextmanager
def other(folder: Path, worker: int, calls: int) -> Iterable[subprocess.Popen[str]]:  # type: ignore[misc]
    """A worker in a process of its own that has written its snapshot."""
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(folder), str(worker), str(calls)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "counted\n"
        yield child
        child.kill()


def test_what_a_killed_worker_counted_stays_counted(tmp_path: Path) -> None:
    """Its calls stay in the sum, for this worker and for one that starts later; what was under way in it does not."""
    here = Metrics(["intents"], folder=tmp_path, worker=0)
    with other(tmp_path, 1, 7) as child:
        assert value(parsed(here), "freehold_calls_total") == 7
        assert value(parsed(here), "freehold_running") == 1
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    found = parsed(here)
    assert value(found, "freehold_calls_total") == 7
    assert value(found, "freehold_running") == 0
    assert value(found, "freehold_workers") == 1
    with other(tmp_path, 1, 5):  # folds the dead one's file
        assert sorted(p.name for p in tmp_path.glob("1-*.json")) != []
        assert len(list(tmp_path.glob("1-*.json"))) == 1
        found = parsed(here)
        assert value(found, "freehold_calls_total") == 12
        assert value(found, "freehold_ledger_rows_lost_total") == 2
    with other(tmp_path, 1, 1):
        assert value(parsed(here), "freehold_calls_total") == 13
    assert value(parsed(here), "freehold_calls_total") == 13
    here.close()


def test_a_crash_while_files_are_added_up_counts_none_twice(tmp_path: Path) -> None:
    with other(tmp_path, 1, 7):
        pass
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("1-*")}
    Metrics(folder=tmp_path).close()
    gone = tmp_path / "gone.json"
    assert gone.exists()
    # as it stood after the sum was written, and before the files were removed
    names = [name for name in kept if name.endswith(".json")]
    for name, data in kept.items():
        (tmp_path / name).write_bytes(data)
    gone.write_text(gone.read_text().replace('"files":[]', f'"files":["{names[0]}"]'))
    for _ in range(2):
        again = Metrics(folder=tmp_path)
        assert value(parsed(again), "freehold_calls_total") == 7
        again.close()


async def test_each_second_the_snapshot_and_the_lag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "TICK", 0.01)
    metrics = Metrics(["intents"], folder=tmp_path, worker=3)
    metrics.ended(metrics.began(), "intents", "student", "home", "complete", 200)
    path = tmp_path / f"3-{os.getpid()}.json"
    task = asyncio.create_task(metrics.keep())
    for _ in range(2000):
        await asyncio.sleep(0.01)
        if path.exists():
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert b'"intents"' in path.read_bytes()
    assert value(parsed(metrics), "freehold_loop_lag_seconds") >= 0
    kind, text = await metrics.scrape()
    assert kind == metrics.render()[0]
    assert b'freehold_calls_total{answered_by="student"' in text
    metrics.close()


def test_below_the_bar_nothing_is_saved_and_no_task_is_none() -> None:
    metrics = Metrics(["intents"], [MODEL])
    below, home, unmatched = entry(), entry(), entry()
    below.why, home.why, unmatched.task = "below_bar", "home", ""
    below.saved = home.saved = 0.5
    for one in (below, home, unmatched):
        metrics.told(metrics.began(), one)
    found = parsed(metrics)
    assert value(found, "freehold_saved_usd", task="intents") == 0.5
    assert value(found, "freehold_calls_total", task="none") == 1
