"""freehold train: a language model of your own, from scratch or on from another."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.errors import BadSetting

if TYPE_CHECKING:
    from freehold.launch.write import Where
    from freehold.nouns import Artifact, Training
    from freehold.project import Project
    from freehold.tell import Tell
    from freehold.train import Asked
    from freehold.train.nouns import Corpus, Plan

__all__ = ["HELP", "flags", "run"]

HELP = "Train a language model on your own text, or train one on; the model is a base for freehold tune."
UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
LAUNCH = ("here", "ddp", "fsdp", "tp", "zero1", "zero2", "zero3")
ELSEWHERE = ("torchrun", "megatron", "skypilot", "ray")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", nargs="+", metavar="TEXT", help="files and folders: text, JSONL, Parquet, archives")
    parser.add_argument("--project", default="freehold-project", metavar="DIR", help="the project folder")
    dial = parser.add_argument_group("the dial: one of them, and the rest follows, each choice with its reason")
    dial.add_argument("--minutes", type=float, metavar="N", help="minutes of training on this machine (default 10)")
    dial.add_argument("--tokens", metavar="N", help="tokens to learn from, such as 20M")
    shape = parser.add_argument_group("what is trained")
    shape.add_argument("--moe", action="store_true", help="experts (Mixtral's shape) instead of a dense model")
    shape.add_argument("--base", metavar="NAME|DIR|GGUF", help="train this model on, instead of a new one")
    shape.add_argument(
        "--tokenizer", default="bpe", metavar="bpe|characters|DIR", help="trained, or taken from a folder"
    )
    shape.add_argument("--vocabulary", type=int, metavar="N", help="its size")
    shape.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="override a choice: layers=4")
    shape.add_argument("--seed", type=int, default=0, metavar="N", help="another draw (default 0)")
    text = parser.add_argument_group("the text")
    text.add_argument("--field", default="text", metavar="NAME", help="the field or column of the text (default text)")
    text.add_argument(
        "--licence", action="append", default=[], metavar="TEXT=NAME", help="a part's licence; own: yours"
    )
    text.add_argument("--source", action="append", default=[], metavar="TEXT=WHERE", help="where a part comes from")
    where = parser.add_argument_group("where it runs")
    where.add_argument("--launch", choices=LAUNCH, default="here", help="how processes share the work (default here)")
    where.add_argument("--processes", type=int, default=1, metavar="N", help="how many, on this machine")
    where.add_argument("--write", choices=ELSEWHERE, help="write the files that run it elsewhere, and stop")
    where.add_argument("--into", type=Path, metavar="DIR", help="a new folder for --write")
    where.add_argument("--machines", type=int, default=1, metavar="N", help="with --write: each runs --processes")
    where.add_argument("--threads", type=int, default=0, metavar="N", help="of each process (default: what is faster)")
    parser.add_argument("--plan", action="store_true", help="what would be trained, where and why, and stop")
    parser.add_argument("--hardware", metavar="NAME", help="with --plan: a device of `freehold facts list hardware`")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from freehold.project import Project
    from freehold.tell import terminal
    from freehold.train import plan, train

    asked = _asked(args)
    if args.hardware and not args.plan:
        raise BadSetting("--hardware is without --plan.", "It only says what a training would take there.")
    if args.write or args.into or args.machines != 1:
        return _write(args, asked)
    project = Project.create(args.project)
    with project.lock(), terminal() as tell:
        if args.plan:
            corpus, said = plan(args.corpus, project, asked, tell=tell)
            ways = _ways(args, project, asked, said, tell)
        else:
            artifact = train(args.corpus, project, asked, tell=tell)
    if args.plan:
        _show_plan(corpus, said, ways, args.json)
    else:
        _show(project, artifact, args.json)
    return 0


def _asked(args: argparse.Namespace) -> Asked:
    from freehold.train import Asked

    return Asked(
        minutes=args.minutes,
        tokens=None if args.tokens is None else _number("--tokens", args.tokens),
        moe=args.moe,
        tokenizer=args.tokenizer,
        vocabulary=args.vocabulary,
        base=args.base,
        text_field=args.field,
        licences=_pairs("--licence", args.licence),
        sources=_pairs("--source", args.source),
        overrides=_pairs("--set", args.set),
        parallel="none" if args.launch == "here" or args.write else args.launch,
        processes=1 if args.write else args.processes,
        threads=args.threads,
        seed=args.seed,
    )


def _write(args: argparse.Namespace, asked: Asked) -> int:
    from freehold.project import Project
    from freehold.tell import terminal
    from freehold.train import write

    where, project = _where(args), Project.create(args.project)
    with project.lock(), terminal() as tell:
        made = write(args.corpus, project, asked, args.write, args.into, where, tell=tell)
    _show_written(args.into, made, args.json)
    return 0


def _where(args: argparse.Namespace) -> Where:
    """Raises BadSetting."""
    from freehold.launch.write import Where

    if not (args.write and args.into):
        raise BadSetting("--write, --into and --machines go together.", "Say --write TARGET --into DIR.")
    if args.plan:
        raise BadSetting("Both --plan and --write are given.", "Give one: --write says its plan in job/job.json.")
    if args.tokens is None:
        raise BadSetting("--write is without --tokens.", "How fast other machines are is not known here: say --tokens.")
    if args.write == "megatron" and args.launch != "here":
        raise BadSetting(f"--launch {args.launch} is not Megatron's.", "Leave it out: its degrees are chosen.")
    return Where(args.machines, args.processes, "fsdp" if args.launch == "here" else args.launch).checked()


def _show_written(into: Path, made: list[Path], as_json: bool) -> None:
    import msgspec

    if as_json:
        print(msgspec.json.encode({"folder": into, "files": made}, enc_hook=str).decode())
        return
    for path in made:
        print(path)
    print(f"next: {into / 'README.md'} says what to do")


def _number(flag: str, said: str) -> int:
    """20M -> 20,000,000. Raises BadSetting."""
    text = said.strip().lower().replace(",", "").replace("_", "")
    unit = UNITS.get(text[-1:], 1)
    try:
        return round(float(text if unit == 1 else text[:-1]) * unit)
    except (ValueError, OverflowError):
        raise BadSetting(f"{flag} is {said!r}.", "Give a number, such as 20M or 1500000.") from None


def _pairs(flag: str, given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for said in given:
        name, divided, value = said.rpartition("=") if flag == "--licence" else said.partition("=")
        if not (divided and name.strip() and value.strip()):
            raise BadSetting(f"{flag} is {said!r}.", f"Write it as {flag} NAME=VALUE.")
        if name in found:
            raise BadSetting(f"{flag} says {name} twice.", "Give it once.")
        found[name.strip()] = value.strip()
    return found


def _ways(args: argparse.Namespace, project: Project, asked: Asked, said: Plan, tell: Tell) -> Training:
    from freehold.facts import facts
    from freehold.train.where import where

    return where(said, args.corpus, project, asked, facts(project.settings.facts), args.hardware or "", tell)


def _show_plan(corpus: Corpus, said: Plan, ways: Training, as_json: bool) -> None:
    import msgspec

    from freehold.fit import told

    if as_json:
        print(msgspec.json.encode({"plan": said, "corpus": corpus, "training": ways}, enc_hook=str).decode())
        return
    for reason in said.why:
        print(f"- {reason}")
    print("\nwhere to train")
    for line in told(ways):
        print(line)


def _show(project: Project, artifact: Artifact, as_json: bool) -> None:
    import msgspec

    folder = project.artifact_path(artifact.sha256)
    told: dict[str, Any] = msgspec.json.decode((folder / "training.json").read_bytes())
    if as_json:
        print(msgspec.json.encode({"artifact": artifact, **told}).decode())
        return
    trained, size = told["trained"], told["size"]
    held = trained["evals"][-1] if trained["evals"] else None
    print(f"model {artifact.sha256[:8]}  {_parameters(size)}  licence {artifact.licence}")
    print(f"  learned   {trained['tokens']:,} tokens in {trained['steps']:,} steps, {_clock(trained)}")
    if held:
        print(f"  held out  {held['loss']:.3f} nats a token, {held['bits_per_byte']:.3f} bits a byte")
    for text in trained["samples"][:1]:
        print("  writes    " + _printable(text[:300]).replace("\n", "\n            "))
    print(f"  {folder}")
    print(f"  report: freehold report --project {shlex.quote(str(project.path))}")
    print(f"  next:   freehold tune --base {shlex.quote(str(project.path))} --project ...")


def _parameters(size: dict[str, int]) -> str:
    total = f"{size['total']:,} parameters"
    return total if size["active"] == size["total"] else f"{total}, {size['active']:,} active a token"


def _clock(trained: dict[str, Any]) -> str:
    return (
        f"{trained['seconds'] / 60:.1f} minutes, {trained['cpu_seconds']:.0f} CPU seconds, "
        f"{trained['tokens_per_second']:,.0f} tokens a second"
    )


def _printable(text: str) -> str:
    """As a terminal may show it: lines stay, nothing that steers it."""
    return "".join(c for c in text if c == "\n" or c.isprintable())
