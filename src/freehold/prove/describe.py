"""What stands beside the certificate: where the student loses, whether calls hang together, whether time matters,
and how sure the closed model is of itself. None of it changes the verdict."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freehold.agree import Judge, judge
from freehold.measure import middle, share
from freehold.nouns import Call, LabelRow, Measure, Student, Task
from freehold.prove.calls import Held, Scored
from freehold.tell import Tell

__all__ = [
    "design_effect", "field_rows", "label_rows", "latency", "noise_floor", "noise_note", "out_of_time", "per_call",
]  # fmt: skip

REPEATS = 100
"""Fewer repeated texts than this, and the noise floor is not measurable."""
TIMED = 200
TIMED_SECONDS = 60.0
"""Of timing at most: a language model takes as long for a hundred calls."""
WHOLE = "the whole answer"
FEW = "fields of few answers"
MOST_FIELDS = 100
LEAST_NAMED = 5
SHARE_NAMED = 0.02
"""Of the certification answers must have a field before it is shown by its name: a key may be what a user wrote."""


def label_rows(held: Held, scored: Scored, threshold: float) -> tuple[LabelRow, ...]:
    """Per label of the closed model, on the certification calls: most wrong among the kept first, then least kept."""
    rows: dict[str, list[int]] = {}
    for i in held.cal:
        rows.setdefault(held.label(int(i)), []).append(int(i))
    return tuple(sorted((_row(label, at, scored, threshold) for label, at in rows.items()), key=_badness))


def field_rows(held: Held, scored: Scored, threshold: float, ruling: Judge) -> tuple[LabelRow, ...]:
    """Per field of a JSON answer, per tool, or for the whole answer (an empty path): where kept certification calls
    disagree. Paths that few of the closed model's answers have are one row, without their names. `confused_with` stays
    empty: two answers may be anybody's."""
    rows: dict[str, list[int]] = {}
    named = _named(held, ruling)
    for i in held.cal.tolist():
        kept = scored.scores[i] >= threshold
        parts: dict[str, bool] = {}
        for path, same in ruling.fields(scored.answers[i], held.truths[i] or "").items():
            name = path if path in named else FEW if path else WHOLE
            parts[name] = parts.get(name, True) and same
        for name, same in parts.items():
            row = rows.setdefault(name, [0, 0, 0])
            row[0] += 1
            row[1] += int(kept)
            row[2] += int(kept and not same)
    return tuple(
        sorted((LabelRow(path, row[0], row[1], row[2]) for path, row in rows.items()), key=_badness)[:MOST_FIELDS]
    )


def _named(held: Held, ruling: Judge) -> set[str]:
    """The paths that enough answers of the closed model have."""
    truths = [truth for i in held.cal.tolist() if (truth := held.truths[i]) is not None]
    counts = Counter(path for truth in truths for path in ruling.fields(truth, truth) if path)
    return {path for path, n in counts.items() if n >= max(LEAST_NAMED, SHARE_NAMED * len(truths))}


def _row(label: str, at: list[int], scored: Scored, threshold: float) -> LabelRow:
    kept = [i for i in at if scored.scores[i] >= threshold]
    wrong = Counter(scored.answers[i].strip() for i in kept if not scored.ok[i])
    confused_with = min(wrong, key=lambda answer: (-wrong[answer], answer)) if wrong else ""
    return LabelRow(label, len(at), len(kept), sum(wrong.values()), confused_with)


def _badness(row: LabelRow) -> tuple[float, float, str]:
    return -row.wrong, row.kept / row.calls, row.label


def design_effect(groups: NDArray[np.int64], ok: NDArray[np.bool_]) -> float:
    """How much near-duplicates widen an interval: the clustered variance of the agreement over the independent one
    (Kish 1965; the between-cluster estimate of Liang and Zeger 1986). 1.0 where all agree or nothing repeats."""
    n, mean = len(ok), float(ok.mean()) if len(ok) else 0.0
    if n < 2 or mean in (0.0, 1.0):
        return 1.0
    _, cluster = np.unique(groups, return_inverse=True)
    sums = np.bincount(cluster, weights=ok - mean)
    count = len(sums)
    return float(count / max(count - 1, 1) * (sums**2).sum() / (n * mean * (1.0 - mean)))


def per_call(held: Held, scored: Scored, threshold: float, confidence: float) -> tuple[Measure, Measure]:
    """Agreement of the kept calls, and the share kept, over every held call, so that a text weighs as often as it was
    asked. The promise is of distinct requests; these two tell where the repeats are worse."""
    kept = scored.scores >= threshold
    stay = np.zeros(len(held.pool), bool)
    stay[np.flatnonzero(held.certifies)] = kept
    agreed = clustered(held.groups[kept], scored.ok[kept], confidence, "kept held calls, repeats counted")
    return agreed, clustered(held.pool, stay, confidence, "held calls, repeats counted")


def clustered(groups: NDArray[np.int64], hit: NDArray[np.bool_], confidence: float, what: str) -> Measure:
    """A share of calls that hang together in groups: Clopper-Pearson at the effective n, the calls over their design
    effect (Korn and Graubard 1998); the number of groups where all calls are alike."""
    from scipy.special import betaincinv

    n, k = len(hit), int(hit.sum())
    method = f"Clopper-Pearson {100 * confidence:.4g} % at the effective n (Korn and Graubard), {what}"
    if n == 0:
        return Measure(None, 0.0, 1.0, 0, "share", method)
    effect = n / len(np.unique(groups)) if k in (0, n) else max(1.0, design_effect(groups, hit))
    size, half = max(1.0, n / effect), (1.0 - confidence) / 2.0
    seen = k / n * size
    low = 0.0 if k == 0 else float(betaincinv(seen, size - seen + 1.0, half))
    high = 1.0 if k == n else float(betaincinv(seen + 1.0, size - seen, 1.0 - half))
    return Measure(k / n, low, high, n, "share", method)


def out_of_time(held: Held, scored: Scored, threshold: float, confidence: float) -> Measure:
    """Agreement of the kept certification calls in the newest tenth of the log's time order. The student was fitted
    on calls of that time too: it shows drift, not the future."""
    timed = [(t, int(i)) for i in held.cal if (t := held.times[i]) is not None]
    if not timed:
        return Measure(None, method="the log has no times")
    since = float(np.quantile([t for t in held.times if t is not None], 0.9))
    kept = [i for t, i in timed if t >= since and scored.scores[i] >= threshold]
    found = share(sum(bool(scored.ok[i]) for i in kept), len(kept), confidence)
    method = f"{found.method}, kept certification calls of the newest tenth"
    return Measure(found.value, found.low, found.high, found.n, "share", method)


def noise_floor(task: Task, calls: Sequence[Call], confidence: float) -> Measure:
    """How often the closed model repeats itself: the first two answers to each text asked at least twice."""
    answers: dict[str, list[str]] = {}
    for call in calls:
        if call.answer is not None:
            answers.setdefault(task.text(call) or "", []).append(call.answer.strip())
    ruling = judge(task)
    pairs = [ruling.agree(said[0], said[1]) for said in answers.values() if len(said) > 1]
    if len(pairs) < REPEATS:
        method = f"not measurable: {len(pairs)} repeated texts, {REPEATS} needed"
        return Measure(None, n=len(pairs), method=method)
    found = share(sum(pairs), len(pairs), confidence)
    method = f"{found.method}, first two answers to each repeated text"
    return Measure(found.value, found.low, found.high, found.n, "share", method)


def noise_note(noise: Measure, bar: float) -> str:
    """The ceiling for answering every call. With self-agreement c = sum of p^2 over answers, the best answer agrees
    with probability max p <= sqrt(c); by Jensen also on average. A warning, never a gate."""
    if noise.value is None or noise.high is None or (ceiling := math.sqrt(noise.high)) >= bar:
        return ""
    return (
        f"The closed model agrees with itself on {noise}: answering every call can agree at most {100 * ceiling:.1f} % "
        f"of the time, so only leaving the noisy calls to it can reach {bar:g}."
    )


def latency(student: Student, texts: Sequence[str], tell: Tell) -> tuple[Measure, float]:
    """One call at a time, after five unmeasured ones: milliseconds by the wall clock, and CPU seconds a call, those of
    an engine's own process with them."""
    tell("time the student", 0.0)
    chosen = texts[:TIMED]
    for text in chosen[:5]:
        student.answers([text])
    took: list[float] = []
    cpu, began = _cpu(student), time.perf_counter()
    for text in chosen:
        start = time.perf_counter()
        student.answers([text])
        took.append(1000.0 * (time.perf_counter() - start))
        if time.perf_counter() - began > TIMED_SECONDS:
            break
    return middle(took, unit="ms", what="calls, one at a time"), max(_cpu(student) - cpu, 0.0) / max(len(took), 1)


def _cpu(student: Student) -> float:
    """CPU seconds so far of this process, and of the process that a student's engine runs in."""
    engine = getattr(student, "cpu_seconds", None)
    return time.process_time() + (engine() if engine is not None else 0.0)
