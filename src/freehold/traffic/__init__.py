"""The log: rows to calls, calls to tasks, texts to groups, groups to the two sides of the split.

calls.jsonl ─open_log→ Source ─batches→ [Call], ...
calls.jsonl ─read→ Traffic ─find_tasks→ Task ─calls_of, evidence→ [Call] ─split→ fit | cal
                                                      texts ─near_duplicates→ group of each
"""

from freehold.traffic.describe import count_calls
from freehold.traffic.groups import near_duplicates, normalise
from freehold.traffic.hold_out import KEY, Split, rows_sha256, split
from freehold.traffic.log import Traffic, calls_of, evidence, find_tasks, put_upstream
from freehold.traffic.reader import Source, batches, open_log, paired, read
from freehold.traffic.reading import Reading
from freehold.traffic.seen import unseen
from freehold.traffic.templates import task_of

__all__ = [
    "KEY", "Reading", "Source", "Split", "Traffic", "batches", "calls_of", "count_calls", "evidence", "find_tasks",
    "near_duplicates", "normalise", "open_log", "paired", "put_upstream", "read", "rows_sha256", "split", "task_of",
    "unseen",
]  # fmt: skip
