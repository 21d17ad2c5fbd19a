"""A log as a source of calls, part by part; or, where it fits in memory, whole as Traffic.

    open_log(paths) → Source(parts, each with its format) ─batches→ [Call], [Call], ...
    read(paths)     → Traffic(calls, bad rows with file, line and reason)

A bad row never stops a run; it is counted, and the first hundred are kept with their reasons. A file that is not
rows at all does stop it, and the error names what was seen and what is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from freehold import wire
from freehold.nouns import Call, Message
from freehold.tell import Tell, quiet
from freehold.traffic.files import KNOWN, Part, full_name, parts_of, records, shown
from freehold.traffic.formats import FORMATS, by_name, openai_chat, recognise
from freehold.traffic.log import Traffic
from freehold.traffic.pairing import FORMATS as PAIRED
from freehold.traffic.pairing import Inputs, gather
from freehold.traffic.reading import Reading

__all__ = ["BATCH", "Source", "batches", "open_log", "paired", "read"]

BATCH = 2048  # calls
LOOK = 50  # records by which a format is recognised


@dataclass(frozen=True, slots=True)
class Source:
    """A log on disk: its parts, in order, and what it was given as. `inputs` is the folder in which the inputs of its
    batches lie (traffic.pairing), "" where it has none."""

    paths: tuple[str, ...]
    parts: tuple[Part, ...]
    until: float | None = None
    inputs: str = ""

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def names(self) -> str:
        files = list(dict.fromkeys(part.path for part in self.parts))
        return shown(files[0]) + (f" and {len(files) - 1} more" if len(files) > 1 else "")

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that its files were recognised as, or named to be, in order of name."""
        return tuple(sorted({part.format for part in self.parts}))

    def check(self, reading: Reading) -> None:
        """Raises where what was read is no log."""
        reading.check(self.names, known(), ", ".join(self.formats))


def open_log(
    paths: Sequence[Path | str], *, until: float | None = None, format: str | None = None, piece: int | None = None
) -> Source:
    """Find a log's files and recognise the format of each by its first records; `format` names it instead.

    `until` (epoch seconds) keeps only calls before it. Raises LogMissing, LogUnreadable, BadSetting.
    """
    parts = parts_of(paths) if piece is None else parts_of(paths, piece=piece)
    if format is not None:
        by_name(format)
    names: dict[str, str] = {}
    for part in parts:
        if part.path not in names:
            names[part.path] = format or _recognised(part)
    found = tuple(replace(part, format=names[part.path]) for part in parts)
    return Source(tuple(full_name(path) for path in paths), found, until)


def paired(source: Source, folder: Path) -> Source:
    """The source, with the inputs of its batches gathered in `folder` where it has any."""
    if not any(part.format in PAIRED for part in source.parts):
        return source
    folder.mkdir(parents=True, exist_ok=True)
    return replace(source, inputs=str(folder)) if gather(source.parts, folder) else source


def known() -> str:
    """The formats and files that are read, for a hint."""
    others = ", ".join(format.NAME for format in FORMATS if format is not openai_chat)
    return wire.EXPECTED + (f"; also {others}" if others else "") + f"; in {KNOWN}"


def _recognised(part: Part) -> str:
    seen: list[Any] = []
    for record in records(part):
        try:
            seen += [wire.loads(record.data)] if record.data.strip() and not record.torn else []
        except wire.RowError:
            continue
        if len(seen) >= LOOK or record.number >= 10 * LOOK:
            break
    format = recognise(seen)
    return (format or openai_chat).NAME


def inputs_of(source: Source, part: Part) -> Inputs | None:
    """What the outputs in a part answer, where it holds outputs of batches."""
    return Inputs(Path(source.inputs)) if source.inputs and part.format in PAIRED else None


def batches(source: Source, order: int, reading: Reading) -> Iterator[tuple[list[Call], int]]:
    """The calls of a part, some thousand at a time, with the bytes of the part that are passed; `reading` counts."""
    part = source.parts[order]
    format = by_name(part.format)
    inputs = inputs_of(source, part)
    calls: list[Call] = []
    for record in records(part):
        calls += reading.take(record, part, order, format, inputs)
        if len(calls) >= BATCH:
            yield calls, record.at
            calls = []
    yield calls, part.size


def read(
    paths: Sequence[Path | str], *, until: float | None = None, format: str | None = None, tell: Tell = quiet
) -> Traffic:
    """Read a log into memory from files, folders, patterns (`logs/2026-*.jsonl.gz`) and stores (`s3://...`).

    `until` (epoch seconds) keeps only calls before it; a call without a time is then left out and counted. Raises
    LogMissing, LogEmpty, LogUnreadable or LogMostlyBad, each naming the file or the most common reason.
    """
    with TemporaryDirectory(prefix="freehold-") as folder:
        source = paired(open_log(paths, until=until, format=format), Path(folder))
        return _whole(source, tell)


def _whole(source: Source, tell: Tell) -> Traffic:
    until = source.until
    whole, calls = Reading(until=until), list[Call]()
    shared: dict[str, str] = {}
    before, total = 0, source.size or 1
    lines: dict[str, int] = {}
    for order, part in enumerate(source.parts):
        reading = Reading(until=until)
        numbered = replace(part, line=lines.get(part.path, 0))
        here = replace(source, parts=(*source.parts[:order], numbered, *source.parts[order + 1 :]))
        for batch, at in batches(here, order, reading):
            for call in batch:
                _share(call.messages, shared)
            calls += batch
            tell("read the log", min(1.0, (before + at) / total))
        lines[part.path] = lines.get(part.path, 0) + reading.records
        before += part.size
        whole.merge(reading)
    tell("read the log", 1.0)
    source.check(whole)
    return whole.traffic(source.paths, calls)


def _share(messages: Sequence[Message], shared: dict[str, str]) -> None:
    """Let calls that repeat a long message (a system prompt) hold one string between them."""
    for message in messages:
        if message.get("role") != "user":
            content = message.get("content")
            if isinstance(content, str) and len(content) > 64:
                message["content"] = shared.setdefault(content, content)
