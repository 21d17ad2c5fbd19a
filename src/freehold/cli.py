"""The front door: `freehold VERB ...`. One module a verb, imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from freehold import __version__
from freehold.errors import FreeholdError, StorageFailed

__all__ = ["VERBS", "main"]

VERBS = {
    "switch": "the whole journey: from a log to a verdict and the command that serves it",
    "audit": "what the log holds: tasks, tokens, money, repeats, retirement dates",
    "plan": "per task: try, or how many calls are missing",
    "facts": "what freehold knows of models, hardware, prices, licences and law, with source and date",
    "base": "a small open model that students of written answers start from",
    "train": "a language model of your own, from scratch or on from another",
    "tune": "a small model of your own for each task, from the logged answers",
    "shrink": "a tuned adapter as the smallest file that loses nothing of note, each hop measured",
    "merge": "adapters of one base, or models of one shape, as one",
    "prove": "compare it with the closed model, and certify where it may answer",
    "keys": "who may call the server, for what, and up to how much",
    "serve": "an OpenAI-compatible server: home where the promise holds, else upstream",
    "ledger": "every served call: verify it, erase a person, back it up, restore it",
    "watch": "one page: share kept home, money saved, state of the promise",
    "doctor": "what this machine has, and how fast it is",
    "report": "report.html: verdict, plot, tables, evidence, sources",
}


def _usage() -> str:
    rows = "\n".join(f"  {verb:<8} {what}" for verb, what in VERBS.items())
    return f"""freehold {__version__}: own your AI instead of renting it.

usage: freehold VERB ... [--help]

{rows}

Start with:  freehold switch calls.jsonl
"""


def _command(verb: str) -> tuple[argparse.ArgumentParser, object]:
    command = importlib.import_module("freehold.switch" if verb == "switch" else f"freehold.{verb}.command")
    parser = argparse.ArgumentParser(prog=f"freehold {verb}", description=command.HELP)
    command.flags(parser)
    return parser, command


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage(), end="")
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"freehold {__version__}")
        return 0
    verb = argv[0]
    if verb not in VERBS:
        known = ", ".join(VERBS)
        print(f"freehold: {verb!r} is not a verb. Known: {known}.", file=sys.stderr)
        return 2
    parser, command = _command(verb)
    code: int = command.run(parser.parse_args(argv[1:]))  # type: ignore[attr-defined]
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (errors.py draws the tree of codes)."""
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except FreeholdError as error:
        print(f"freehold: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"          {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nfreehold: stopped. The same command goes on where this one stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return _deaf(0)  # the reader of our stdout went away; there is nothing to say to it
    except OSError as error:  # what no room could say better: no permission, a full disk under stdout
        print(f"freehold: {error.filename or 'stdout'}: {error.strerror}.", file=sys.stderr)
        return _deaf(StorageFailed.exit_code)


def _deaf(code: int) -> int:
    """Send what is left in stdout's buffer nowhere, so that the interpreter's own last flush does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
