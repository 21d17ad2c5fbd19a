"""One task's plan.

Calls needed: with no wrong answer among n kept calls, "agreement is at least b" holds with confidence 1 - d once
b^n <= d, so n = ceil(log d / log b). Only the certification quarter counts, and if all of it is kept the log needs four
times n. A proof at the least share that counts (5 %) needs twenty times that; errors among the kept calls need more.
"""

from __future__ import annotations

from collections.abc import Sequence

from freehold.measure import CAL_SHARE, log_calls
from freehold.nouns import Kind, Measure, Task, TaskPlan

__all__ = ["ASSUMED", "plan_task"]

LEAST_SHARE = 0.05  # of the certification calls must be kept for a move
TEXTS_A_SECOND = 400.0  # a small int8 sentence encoder on one CPU core (bge-small-en: 400 to 530 measured)
FIT_SECONDS = 2.7e-5  # a call and label, for the whole fit (56 CPU-s for 13,650 calls of 151 labels measured)
TUNE_MINUTES = 12.0  # CPU minutes of tuning a text student, unless --minutes says otherwise

ASSUMED = (
    f"calls needed: no kept call is wrong and every certification call is kept ({CAL_SHARE:.0%} of calls certify); "
    f"if only {LEAST_SHARE:.0%} of them are kept, {1 / LEAST_SHARE:.0f} times as many",
    f"minutes: {TEXTS_A_SECOND:g} texts a second to encode, {FIT_SECONDS:g} s a call and label to fit, on one core",
    f"a student that extracts or writes is tuned for {TUNE_MINUTES:g} CPU minutes (--minutes); its proof comes on top",
)


def plan_task(task: Task, bars: Sequence[float], confidence: float) -> TaskPlan:
    needed = {f"{bar:g}": log_calls(bar, confidence) for bar in sorted(bars)}
    least = min(needed.values())
    if task.kind == "embeddings":
        return _not_yet(task, needed, "No student embeds texts: its vectors would have to replace all stored ones.")
    if task.rule == "none":
        return _not_yet(task, needed, f"No rule says when two of its answers agree: {task.why}")
    if task.kind == "labels" and len(task.labels) < 2:
        said = f" ({task.labels[0]!r})" if task.labels else ""
        return _not_yet(task, needed, f"Every answer is the same{said}: there is nothing to tell apart.")
    if task.calls < least:
        why = (
            f"{task.calls:,} calls; a proof at bar {min(bars):g} asks for at least {least:,}, with no kept call wrong."
        )
        return TaskPlan(task.name, task.kind, task.calls, "too_few", why, needed)
    return TaskPlan(
        task.name, task.kind, task.calls, "try", _why(task, needed), needed, STUDENTS[task.kind], _minutes(task)
    )


DECODER = "a small open language model with an adapter (LoRA), or with the nearest logged calls as examples"
TAGGER = "a tagger, where the answers' values stand in the text; else " + DECODER
STUDENTS: dict[Kind, str] = {
    "labels": "stack of classifiers on frozen sentence embeddings",
    "json": TAGGER,
    "tools": TAGGER,
    "sql": DECODER,
    "text": DECODER,
}


def _why(task: Task, needed: dict[str, int]) -> str:
    reached = [bar for bar, n in needed.items() if task.calls >= n]
    missing = [f"{n:,} for {bar}" for bar, n in needed.items() if task.calls < n]
    more = f"; too few for a higher one ({', '.join(missing)})" if missing else ""
    what = f" with {len(task.labels):,} labels" if task.kind == "labels" else f" answered with {WORDS[task.kind]}"
    return f"{task.calls:,} calls{what}: enough for a proof at bar {reached[-1]}{more}."


WORDS: dict[Kind, str] = {
    "labels": "labels", "json": "JSON", "tools": "tool calls", "sql": "SQL", "text": "text"
}  # fmt: skip


def _not_yet(task: Task, needed: dict[str, int], why: str) -> TaskPlan:
    return TaskPlan(task.name, task.kind, task.calls, "not_yet", why, needed)


def _minutes(task: Task) -> Measure:
    if task.kind != "labels":
        return Measure(TUNE_MINUTES, n=task.calls, unit="minutes", method=f"the most that is spent; {ASSUMED[2]}")
    fit = FIT_SECONDS * (1 - CAL_SHARE) * task.calls * len(task.labels)
    seconds = task.calls / TEXTS_A_SECOND + fit
    return Measure(seconds / 60, n=task.calls, unit="minutes", method=f"estimated; {ASSUMED[1]}")
