"""Counts as the text that Prometheus reads: freehold's own metrics, and the same calls under vLLM's names.

    exposition([this worker, the others that live], [those that have ended]) ─→ (content type, bytes)

Counters are the sum over all workers that ever were, gauges over those that live: added up where they count things
(running, waiting), else the worst of them (lag, evidence, a rung that one of them has closed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import exposition as prometheus
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from freehold import __version__
from freehold.serve.numbers.counts import BOUNDS, FIRST, HEAD, OWN, SIZE, WHOLE, Counts, Key, RungState, merged

__all__ = ["exposition"]

LONGEST = 120  # characters of a label
ENGINE = "0"  # vLLM's second label: there is one of us
SECONDS, EARLY, WAITED = 0, 1, 2
Row = list[float]
Pick = Callable[[Key], tuple[str, ...] | None]


def exposition(living: Sequence[Counts], ended: Sequence[Counts]) -> tuple[str, bytes]:
    """The content type and the text. Raises nothing: every label is made one that can be said."""
    collector = _Now(living, merged([*living, *ended]))
    return prometheus.CONTENT_TYPE_PLAIN_0_0_4, prometheus.generate_latest(collector)


class _Now(Collector):
    """One scrape."""

    def __init__(self, living: Sequence[Counts], total: Counts) -> None:
        self.living = living
        self.total = total

    def collect(self) -> Iterator[Metric]:
        yield from self._calls()
        yield from self._seconds()
        yield from self._limits()
        yield from self._rungs()
        yield from self._upstream()
        yield from self._vllm()

    def _calls(self) -> Iterator[Metric]:
        yield _gauge("freehold_info", "The version that runs.", [(("version",), (__version__,), 1)])
        labels = ("task", "answered_by", "why", "status")
        calls = self._sums(0, lambda key: key[:4])
        yield _counter("freehold_calls", "Chat calls that ended, with a row in the ledger.", labels, calls)
        tokens = self._sums(1, lambda key: (*key[:2], "prompt")) | self._sums(2, lambda key: (*key[:2], "completion"))
        yield _counter("freehold_tokens", "Tokens of these calls.", ("task", "answered_by", "kind"), tokens)
        whole, home = self._sums(0, lambda key: ()), self._sums(0, lambda key: () if key[2] == "home" else None)
        share = home.get((), 0.0) / whole[()] if whole.get(()) else 0.0
        yield _gauge("freehold_home_share", "Share of all calls that were answered at home.", [((), (), share)])
        saved = self._sums(3, lambda key: key[:1])
        rows = [(("task",), key, value) for key, value in saved.items()]
        yield _gauge("freehold_saved_usd", "USD saved, less the machine's time. It may fall.", rows, ("task",))
        codes = {(str(code or "other"),): count for code, count in self.total.http.items()}
        yield _counter("freehold_responses", "Answers by HTTP status, refusals too.", ("code",), codes)

    def _seconds(self) -> Iterator[Metric]:
        pick: Pick = lambda key: key[1:2]  # noqa: E731 (one label, said once)
        for name, about, which in (
            ("freehold_call_seconds", "Seconds from a call's arrival to its last byte.", SECONDS),
            ("freehold_first_byte_seconds", "Seconds from a call's arrival to its first byte.", EARLY),
            ("freehold_queue_seconds", "Seconds that calls waited to be admitted, of those that did.", WAITED),
        ):  # fmt: skip
            yield self._histogram(name, about, ("answered_by",), pick, which, OWN)
        running = sum(one.running for one in self.living)
        yield _gauge("freehold_running", "Calls under way.", [((), (), running)])
        waiting = sum(one.state.waiting for one in self.living)
        yield _gauge("freehold_waiting", "Calls that wait to be admitted.", [((), (), waiting)])
        lag = max(one.lag for one in self.living)
        yield _gauge("freehold_loop_lag_seconds", "The latest the loop came in a minute.", [((), (), lag)])
        yield _gauge("freehold_workers", "Processes that serve.", [((), (), len(self.living))])

    def _limits(self) -> Iterator[Metric]:
        refused = {(code,): count for code, count in self.total.refused.items()}
        yield _counter("freehold_refused", "Requests turned away, by error code.", ("code",), refused)
        state = self.total.state
        yield _counter("freehold_budget_refused", "Calls refused for a spent budget.", (), {(): state.budget_refused})
        yield _counter("freehold_ledger_rows_lost", "Rows that could not be written.", (), {(): state.ledger_lost})
        writable = min(one.state.ledger_writable for one in self.living)
        yield _gauge("freehold_ledger_writable", "1 while rows can be written.", [((), (), writable)])

    def _rungs(self) -> Iterator[Metric]:
        rungs: dict[str, list[RungState]] = {}
        for one in self.living:
            for rung in one.state.rungs:
                rungs.setdefault(rung.task, []).append(rung)
        task = ("task",)
        worst: dict[str, Callable[[list[RungState]], float]] = {
            "open": lambda found: min(rung.open for rung in found),
            "share": lambda found: min(rung.share for rung in found),
            "evidence": lambda found: max(rung.evidence for rung in found),
        }
        for name, about in (
            ("open", "1 while the student may answer."),
            ("share", "Share of its sure answers that a student may give."),
            ("evidence", "The monitor's bet against the promise; it closes the rung."),
        ):
            rows = [(task, (of,), worst[name](found)) for of, found in rungs.items()]
            yield _gauge(f"freehold_rung_{name}", about, rows, task)
        stages = dict.fromkeys((name, rung.stage) for name, found in rungs.items() for rung in found if rung.stage)
        at = [(("task", "stage"), key, 1.0) for key in stages]
        yield _gauge("freehold_rung_stage", "1 for the stage that a rung is at.", at, ("task", "stage"))
        for name, about in (("pairs", "Pairs that the monitor has seen."), ("differ", "Those that did not agree.")):
            rows = [(task, (t,), max(getattr(x, name) for x in found)) for t, found in rungs.items()]
            yield _gauge(f"freehold_monitor_{name}", about, rows, task)

    def _upstream(self) -> Iterator[Metric]:
        state = self.total.state
        yield _counter(
            "freehold_pairs_asked", "Home answers that were asked upstream too.", (), {(): state.pairs_asked}
        )
        yield _counter("freehold_pairs_lost", "Pairs that were not asked or not heard.", (), {(): state.pairs_lost})
        waiting = sum(one.state.pairs_waiting for one in self.living)
        yield _gauge("freehold_pairs_waiting", "Pairs in the queue.", [((), (), waiting)])
        host = ("host",)
        failures = {(one.name,): one.failures for one in state.hosts}
        yield _counter("freehold_upstream_failures", "Requests that a host did not answer.", host, failures)
        retries = {(one.name,): one.retries for one in state.hosts}
        yield _counter("freehold_upstream_retries", "Requests that were asked once more.", host, retries)
        shut: dict[str, bool] = {}
        for one in self.living:
            for found in one.state.hosts:
                shut[found.name] = shut.get(found.name, False) or found.open
        rows = [(host, (name,), value) for name, value in shut.items()]
        yield _gauge("freehold_upstream_breaker_open", "1 while a host is not asked.", rows, host)

    def _vllm(self) -> Iterator[Metric]:
        labels = ("model_name", "engine")
        pick: Pick = lambda key: (key[4], ENGINE)  # noqa: E731
        calls = self._sums(0, pick)
        for name, about, value in (
            ("running", "Number of requests under way.", sum(one.running for one in self.living)),
            ("waiting", "Number of requests waiting.", sum(one.state.waiting for one in self.living)),
        ):
            rows = [(labels, ("all", ENGINE), value)]
            yield _gauge(f"vllm:num_requests_{name}", about, rows, labels)
        yield _counter("vllm:prompt_tokens", "Prompt tokens.", labels, self._sums(1, pick, calls))
        yield _counter("vllm:generation_tokens", "Tokens generated.", labels, self._sums(2, pick, calls))
        done = self._sums(0, lambda key: (key[4], ENGINE, key[5]) if key[3] == "complete" else None)
        yield _counter("vllm:request_success", "Requests answered.", (*labels, "finished_reason"), done)
        for name, which, bounds in (
            ("time_to_first_token_seconds", EARLY, FIRST),
            ("e2e_request_latency_seconds", SECONDS, WHOLE),
            ("request_queue_time_seconds", WAITED, WHOLE),
        ):
            yield self._histogram(f"vllm:{name}", f"Histogram of {name}.", labels, pick, which, bounds)

    def _sums(self, at: int, pick: Pick, known: Iterable[tuple[str, ...]] = ()) -> dict[tuple[str, ...], float]:
        """The numbers at one place of each series, added up by the labels that `pick` gives."""
        found: dict[tuple[str, ...], float] = dict.fromkeys(known, 0.0)
        for key, row in self.total.series:
            labels = pick(key)
            if labels is not None:
                found[labels] = found.get(labels, 0.0) + row[at]
        return found

    def _histogram(
        self, name: str, about: str, labels: Sequence[str], pick: Pick, which: int, bounds: Sequence[float]
    ) -> Metric:
        """Each bucket is exact, since its bound is one of BOUNDS."""
        rows: dict[tuple[str, ...], Row] = {}
        start = HEAD + which * SIZE
        for key, row in self.total.series:
            values = pick(key)
            if values is None:
                continue
            have = rows.setdefault(values, [0.0] * (SIZE + 1))
            for i, count in enumerate(row[start : start + SIZE]):
                have[i] += count
            have[SIZE] += row[4 + which]
        family = HistogramMetricFamily(name, about, labels=labels)
        for values, row in rows.items():
            upto = list(accumulate(row[:SIZE]))
            buckets = [(str(b), upto[BOUNDS.index(b)]) for b in bounds]
            family.add_metric(_said(values), [*buckets, ("+Inf", upto[-1])], row[SIZE])
        return family


def _counter(name: str, about: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(name, about, labels=labels)
    for key, value in _joined(values.items()).items():
        family.add_metric(key, value)
    return family


def _gauge(
    name: str,
    about: str,
    rows: Iterable[tuple[tuple[str, ...], tuple[str, ...], float]],
    labels: Sequence[str] | None = None,
) -> Metric:
    rows = list(rows)
    family = GaugeMetricFamily(name, about, labels=labels if labels is not None else rows[0][0])
    for key, value in _joined((row[1], float(row[2])) for row in rows).items():
        family.add_metric(key, value)
    return family


def _joined(rows: Iterable[tuple[tuple[str, ...], float]]) -> dict[tuple[str, ...], float]:
    """By labels as they are said; two names that are said alike are one, since a series may stand there once only."""
    found: dict[tuple[str, ...], float] = {}
    for key, value in rows:
        said = _said(key)
        found[said] = found.get(said, 0.0) + value
    return found


def _said(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels that are UTF-8, one line and not long; the library escapes quotes and backslashes."""
    return tuple("".join(c if c.isprintable() else "?" for c in label[:LONGEST]) for label in labels)
