"""What wrote a log: each format recognised by its first rows, and its rows told in OpenAI's chat form.

    record (decoded JSON) ─Format.rows→ [row {"timestamp", "request", "response", ...}] ─wire.call_from_row→ Call

A record may hold no call (another span of a trace), one, or many; a batch's spans are read one by one (`rows_of`). A
row may say more than OpenAI's bodies do: "endpoint" (chat, completions, embeddings, responses, messages), "tier"
(batch, flex, priority), "user", "seconds".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from freehold.errors import BadSetting
from freehold.traffic.formats import (
    anthropic_messages,
    azure_diagnostics,
    columns,
    helicone,
    langfuse,
    litellm_payload,
    openai_batch,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_finetuning,
    openai_responses,
    openai_stored,
    openinference,
    otel_genai,
    spans,
)

__all__ = ["FORMATS", "Format", "by_name", "recognise", "rows_of"]


class Format(Protocol):
    """A module of this room: its name, what its rows are in a few words, and the two functions."""

    NAME: str
    SAYS: str

    def fits(self, record: Any, /) -> bool:
        """Is this record one of the format's? Looks at keys, not at every value."""
        ...

    def rows(self, record: Any, /) -> Iterable[dict[str, Any]]:
        """The calls in a record, as rows in OpenAI's chat form; none where it holds no call. Raises wire.RowError."""
        ...


FORMATS: tuple[Format, ...] = (  # the first that fits wins: the narrower shapes stand first
    litellm_payload, langfuse, helicone, openinference, otel_genai,
    azure_diagnostics, openai_batch, openai_stored, columns,
    *map(openai_chat.Among.of, (
        anthropic_messages, openai_completions, openai_embeddings, openai_responses, openai_finetuning)),
    openai_chat,
)  # fmt: skip


SPANS = (openinference.NAME, otel_genai.NAME)


def by_name(name: str) -> Format:
    """The format of this name; raises BadSetting with the known ones."""
    for format in FORMATS:
        if name == format.NAME:
            return format
    known = ", ".join(format.NAME for format in FORMATS)
    raise BadSetting(f"There is no log format {name!r}.", f"Known: {known}.")


def recognise(records: Sequence[Any]) -> Format | None:
    """The format that most records fit as their first, the earlier of two that are level; None where none fits any."""
    votes = Counter(next((i for i, f in enumerate(FORMATS) if f.fits(record)), -1) for record in records)
    fitting = [(-n, i) for i, n in votes.items() if i >= 0]
    return FORMATS[min(fitting)[1]] if fitting else None


def rows_of(record: Any, format: Format) -> Sequence[Any]:
    """The rows in a record, each to be read by itself: a batch's spans, so that a bad one doesn't take the others
    along; else the record."""
    return (format.NAME in SPANS and spans.each(record)) or (record,)
