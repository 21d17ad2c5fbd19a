"""What a task is: its kind, its labels, its name, the request fields seen.

answers "transfer", "balance", "transfer", ...          labels: short, on one line, and they come again
answers {"intent": ..., "slots": ...}                    json
answers SELECT ... / tool calls / anything else          sql / tools / text
the embeddings endpoint, whatever it answers             embeddings
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from freehold import wire
from freehold.nouns import Call, Kind, Task, Template, Tokens

__all__ = ["count_calls", "describe"]

MOST = 0.9  # of the answers must look like a kind
LABEL_LENGTH = 100
MOST_LABELS = 1000
VALUES = 32
RULES: dict[Kind, str] = {
    "labels": "exact", "json": "json", "sql": "sql", "tools": "tools", "text": "text", "embeddings": "none"
}  # fmt: skip
SQL = re.compile(r"\s*(```sql\s+)?(select|insert|update|delete|with|create)\b", re.IGNORECASE)
# say who asks; never change an answer
PERSONAL = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key"})


def describe(parts: Sequence[tuple[Template, Sequence[Call]]], total: int) -> list[Task]:
    """A Task for each template and its calls, in the order in which they first appear, so that a task keeps its name
    as the log grows. `total` is the number of calls in the log, without pairs."""
    names: list[str] = []
    for template, calls in parts:
        names.append(_name(template, set(names), "embeddings" if calls[0].endpoint == "embeddings" else "chat"))
    return [_task(name, template, calls, total) for name, (template, calls) in zip(names, parts, strict=True)]


def count_calls(calls: Sequence[Call]) -> int:
    """How many calls users made: a ledger's pairs ask the closed model a second time about a call already counted."""
    return sum(call.why != "pair" for call in calls)


def _task(name: str, template: Template, calls: Sequence[Call], total: int) -> Task:
    count = count_calls(calls)
    known = [c for c in calls if c.answered_by == "upstream"]
    answers = Counter(c.answer.strip() for c in known if c.answer is not None)
    endpoint = calls[0].endpoint
    kind = "embeddings" if endpoint == "embeddings" else _kind(template, known, answers)
    completions = [c.tokens.completion for c in known if c.tokens and wire.answer(c, kind) is not None]
    return Task(
        name=name,
        template=template,
        kind=kind,
        calls=count,
        share=count / max(1, total),
        rule=RULES[kind],
        labels=tuple(label for label, _ in answers.most_common() if label) if kind == "labels" else (),
        models=tuple(model for model, _ in Counter(c.model for c in calls if c.model).most_common()),
        params=_params(calls),
        answer_tokens=max(completions, default=None),
        tokens=_tokens(calls),
        endpoint=endpoint,
        example=(template.text(calls[0].messages) or "")[:200],
        reads=("tools",) if kind == "tools" and _vary("tools", calls) else (),
    )


def _vary(field: str, calls: Sequence[Call]) -> bool:
    """Does a request field differ between calls?"""
    return len({wire.dumps(call.params.get(field)) for call in calls}) > 1


def _kind(template: Template, calls: Sequence[Call], answers: Counter[str]) -> Kind:
    tools = sum(wire.calls_tools(call) for call in calls)
    total = answers.total()
    if tools > total:
        return "tools"
    if not total:
        return "text"
    if _labels(template, answers):
        return "labels"
    if sum(n for answer, n in answers.items() if _is_json(answer)) >= MOST * total:
        return "json"
    if sum(n for answer, n in answers.items() if SQL.match(answer)) >= MOST * total:
        return "sql"
    return "text"


def _labels(template: Template, answers: Counter[str]) -> bool:
    """Short answers on one line, from a set that the log shows to be small.

    Either nine in ten come again or stand in the fixed text as they are; or they look like names (at most three
    words), some come again, and Chao's estimate of how many there are in all (1984: seen + once^2 / 2 twice) is in
    range. The second holds for a short log of many labels.
    """
    total = answers.total()
    short = {a: n for a, n in answers.items() if a and len(a) <= LABEL_LENGTH and "\n" not in a}
    if sum(short.values()) < MOST * total or len(short) > MOST_LABELS:
        return False
    fixed = "\n".join(slot.before + slot.after for slot in template.slots)
    listed = set(re.split(r"[\s,;|]+", fixed))
    once = sum(n == 1 and answer not in listed for answer, n in short.items())
    if once <= (1 - MOST) * total:
        return True
    names = sum(n for answer, n in short.items() if len(answer.split()) <= 3)
    twice = sum(n == 2 for n in short.values())
    in_all = len(short) + once * once / (2 * twice) if twice else float("inf")
    return names >= MOST * total and once <= 0.7 * total and in_all <= MOST_LABELS


def _is_json(answer: str) -> bool:
    if not answer.lstrip().startswith(("{", "[")):
        return False
    try:
        wire.loads(answer)
    except wire.RowError:
        return False
    return True


def _params(calls: Sequence[Call]) -> dict[str, list[Any]]:
    """The values seen in each request field, the most frequent first, at most 32 of them."""
    counts: defaultdict[str, Counter[bytes]] = defaultdict(Counter)
    for call in calls:
        for key, value in call.params.items():
            if key not in PERSONAL:
                counts[key][wire.dumps(value)] += 1
    return {key: [wire.loads(v) for v, _ in seen.most_common(VALUES)] for key, seen in sorted(counts.items())}


def _tokens(calls: Sequence[Call]) -> Tokens:
    logged = [call.tokens for call in calls if call.tokens]
    return Tokens(*(sum(getattr(t, name) for t in logged) for name in Tokens.__dataclass_fields__))


def _name(template: Template, taken: set[str], name: str) -> str:
    """A name from the template's first sentence that says something, else `name`; -2, -3, ... where it is taken."""
    fixed = " ".join(slot.before or slot.after or " ".join(slot.inside) for slot in template.slots)
    for sentence in re.split(r"[.:!?\n]+", fixed.lower().replace("'", "")):
        words = [word for word in re.findall(r"[a-z0-9]+", sentence) if word not in DULL]
        if len(words) >= 2:
            name = "-".join(words[:4])[:56].strip("-")
            break
    if name not in taken:
        return name
    return next(f"{name}-{i}" for i in range(2, len(taken) + 3) if f"{name}-{i}" not in taken)


DULL = frozenset({
    "a", "an", "and", "are", "as", "assistant", "be", "by", "following", "for", "from", "give", "given", "helpful",
    "i", "if", "in", "into", "is", "it", "its", "me", "of", "on", "only", "or", "please", "that", "the", "their",
    "then", "there", "this", "to", "use", "using", "will", "with", "you", "your",
})  # fmt: skip
