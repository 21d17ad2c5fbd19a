"""freehold audit: what a log holds, as tables or JSON, saved into the project."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freehold.audit.scan import Runner
    from freehold.project import Project, Settings
    from freehold.tell import Tell
    from freehold.traffic import Source

__all__ = ["HELP", "flags", "run"]

HELP = "What the log holds: tasks, tokens, money, repeats, private data, retirement dates."
LOG = "a file (JSONL, JSON, CSV, Parquet; .gz, .zst), a folder of them, a pattern in quotes, or an address (s3://...)"


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", nargs="+", metavar="LOG", help=LOG)
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    parser.add_argument("--until", metavar="TIME", help="only calls before this time (ISO 8601; naive means UTC)")
    parser.add_argument("--format", metavar="NAME", help="what wrote the log (default: recognised by its first rows)")
    parser.add_argument("--lines", metavar="FILE", help="also write line number and task of every call, as CSV")
    parser.add_argument("--price-as", default="", metavar="MODEL", help="price calls that name no model as this one's")
    parser.add_argument("--price-on", metavar="DATE", help="price all calls at this day's prices (ISO date, or today)")
    parser.add_argument("--workers", metavar="N", help="processes that read a large log (default: one a core); or ray")
    parser.add_argument("--redact", metavar="OUT", help="write the log with pseudonyms for private data, and end")
    parser.add_argument("--unredact", metavar="OUT", help="write a redacted log as it was, by its --key, and end")
    parser.add_argument("--key", metavar="FILE", help="the key file of --redact, made or used again; keep it elsewhere")
    parser.add_argument("--recogniser", metavar="NAME", help="what --redact finds by: rules, hf:FOLDER, spacy:NAME")
    parser.add_argument("--json", action="store_true", help="the audit as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.audit import audit
    from freehold.audit.show import show
    from freehold.errors import BadSetting
    from freehold.facts import price_book
    from freehold.project.arrivals import NAME
    from freehold.tell import terminal
    from freehold.traffic import open_log
    from freehold.wire import dumps, time_given

    if args.recogniser and not args.redact:
        raise BadSetting(
            "--recogniser was given without --redact.", "Counts are by the rules; --redact OUT may use more."
        )
    until, day, runner = time_given(args.until), _day(args.price_on), _runner(args.workers)
    with terminal() as tell:
        source = open_log(args.log, until=until, format=args.format)
        tell(f"{source.names}: {', '.join(source.formats)}", 1.0)
        if args.redact or args.unredact:
            return _rewritten(source, args, tell)
        settings = _settings(args.project)
        book = price_book(settings, price_as=args.price_as, price_on=day)
        lines = Path(args.lines) if args.lines else None
        with _made(args.project) as project, project.lock():
            folder = project.work("audit")
            found = audit(
                source, settings, book=book, folder=folder, runner=runner, lines=lines,
                arrivals=project.path / NAME, tell=tell,
            )  # fmt: skip
            project.claim_log(found.log.identity)
            project.save(found)
            shutil.rmtree(folder)
    if args.json:
        print(dumps(found).decode())
    else:
        show(found, args.project)
    return 0


@contextmanager
def _made(path: str) -> Iterator[Project]:
    """The project's folder, in which the counts of a log's parts are kept; none is left for what is no log."""
    from freehold.errors import LogError
    from freehold.project import Project

    new = not Path(path).exists()
    project = Project.create(path)
    try:
        yield project
    except LogError:
        if new:
            shutil.rmtree(path)
        raise


def _day(text: str | None) -> date | None:
    """Raises BadSetting."""
    from datetime import UTC, datetime

    from freehold.errors import BadSetting

    if text is None:
        return None
    try:
        return datetime.now(UTC).date() if text == "today" else date.fromisoformat(text)
    except ValueError:
        raise BadSetting(f"--price-on: {text!r} is not a day.", "Give one such as 2026-10-01, or today.") from None


def _runner(workers: str | None) -> Runner | None:
    """Raises BadSetting, MissingExtra."""
    from freehold.audit.workers import Here, Processes
    from freehold.errors import BadSetting

    if workers is None:
        return None
    if workers == "ray":
        from freehold.audit.ray import OnRay

        return OnRay()
    if not workers.isascii() or not workers.isdigit() or not 1 <= int(workers) <= 1024:
        raise BadSetting(f"--workers: {workers!r} is not a number from 1 to 1,024, nor ray.", "Give one of them.")
    return Here() if int(workers) == 1 else Processes(int(workers))


def _rewritten(source: Source, args: argparse.Namespace, tell: Tell) -> int:
    """The log with pseudonyms, or without them again. Raises BadSetting, StorageFailed."""
    from freehold.audit.redact import redact_log, unredact_log
    from freehold.errors import BadSetting
    from freehold.traffic.private.recognise import recogniser
    from freehold.wire import dumps

    key = Path(args.key) if args.key else None
    if args.redact and args.unredact:
        raise BadSetting("--redact and --unredact were given together.", "Give one of them.")
    if args.unredact and key is None:
        raise BadSetting("--unredact needs the key file of the redaction.", "Give it as --key FILE.")
    if args.redact:
        done = redact_log(source, Path(args.redact), key, recogniser(args.recogniser or "rules"), tell=tell)
    else:
        assert key is not None  # said above
        done = unredact_log(source, Path(args.unredact), key)
    if args.json:
        print(dumps(done).decode())
        return 0
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in done.values.items())
    print(f"{done.records:,} records written, {done.changed:,} of them changed{f' ({kinds})' if kinds else ''}.")
    if done.left_out:
        print(f"{done.left_out:,} records couldn't be read and were left out.")
    if args.redact and key is None:
        print("No --key was given: the key is forgotten, and nothing leads back to the values.")
    return 0


def _settings(folder: str) -> Settings | None:
    """Of a project that is there already: it may name a task's rule."""
    from freehold.project.settings import read_settings

    path = Path(folder) / "freehold.toml"
    return read_settings(path) if path.is_file() else None
