"""What a merge is worth: parents and merges on held-out rows of both subjects, beside one that learned both.

    python benchmarks/merge.py [--full] [--only adapters|models]

adapters   SmolLM2-135M-Instruct, JSON from what a person said (SNIPS): one adapter learns three of the seven intents,
           one the other four, from equally many rows. Asked: validation rows of either half. `exact`: the answer by
           greedy decoding is the one that was wanted, read off one forward pass; `loss` in nats an answer id.
           (--full: also JSON beside SQL, two tasks with prompts of their own.)
models     a model from nothing on novels, trained on twice: on tldr pages, and on Pepys's diary. Bits a byte on pieces
           of 2,000 bytes of either that nothing has learned. Merged by `freehold merge`, as the command is typed.

`together` is the rival: one that learned both, the same rows as both parents, in as many steps as both took. A
difference is paired over rows, with its 95 % interval (bootstrap, 10,000 draws); `exact` has Wilson's. Each side's rows
are kept in .benchmarks/merge.jsonl as soon as they are there.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _run

ENV = _run.one_thread()  # before numpy comes in

import logs  # noqa: E402
import tune_speed  # noqa: E402
from _text import paired  # noqa: E402
from train import shared  # noqa: E402

FIRST = ("GetWeather", "BookRestaurant", "RateBook")  # the other four make the second half
BATCH, RANK, RATE = 8, 8, 2e-3
MERGES = {
    "linear": ("linear", 0.5, None), "sum": ("task_arithmetic", 1.0, None), "ties": ("ties", 0.5, 0.5),
    "dare_ties": ("dare_ties", 0.5, 0.5), "dare_linear": ("dare_linear", 0.5, 0.5), "svd": ("svd", 0.5, None),
}  # fmt: skip
WHOLE = {
    "linear": ["--method", "linear"], "slerp": ["--method", "slerp"], "ties": ["--method", "ties"],
    "dare_ties": ["--method", "dare_ties"], "dare_linear": ["--method", "dare_linear"],
    "sum": ["--method", "task_arithmetic"],
}  # fmt: skip
AGAINST = ("ties", "dare_ties", "dare_linear", "sum")
NOVELS = ("se-sherlock", "se-wodehouse", "se-devils-dictionary")
PIECE = 2000  # bytes


@dataclass(frozen=True)
class Size:
    """Rows an adapter learns (one epoch), rows of each subject asked; tokens of the base and of each that goes on."""

    rows: int
    asked: int
    base: int
    on: int
    pieces: int


SIZES = {False: Size(96, 40, 300_000, 150_000, 40), True: Size(1200, 300, 6_000_000, 2_000_000, 300)}


# adapters


@dataclass(frozen=True)
class Subject:
    """What one parent learns: its prompt, rows to learn from and rows to be asked."""

    name: str
    system: str
    learn: list[tuple[str, str]]
    asked: list[tuple[str, str]]


def pairs(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(logs.question(row), row["response"]["choices"][0]["message"]["content"]) for row in rows]


def halves(size: Size) -> list[Subject]:
    log, found = logs.snips(), []
    for name, first in (("three intents", True), ("four intents", False)):
        sides = [
            [p for p in pairs(rows) if (json.loads(p[1])["intent"] in FIRST) is first] for rows in (log.rows, log.test)
        ]
        found.append(Subject(name, tune_speed.SYSTEM, spread(sides[0], size.rows), spread(sides[1], size.asked)))
    return found


def tasks(size: Size) -> list[Subject]:
    snips, sql = logs.snips(), logs.geography()
    (system,) = {row["request"]["messages"][0]["content"] for row in sql.rows}
    return [
        Subject("JSON", tune_speed.SYSTEM, spread(pairs(snips.rows), size.rows), spread(pairs(snips.test), size.asked)),
        Subject("SQL", system, spread(pairs(sql.rows), size.rows), spread(pairs(sql.test), size.asked)),
    ]


def spread(rows: Sequence[Any], most: int) -> list[Any]:
    """So many of them, evenly over all."""
    many = min(most, len(rows))
    return [rows[i * len(rows) // many] for i in range(many)]


class Bench:
    """The base on one thread; adapters learned, put in and asked."""

    def __init__(self, folder: Path, subjects: Sequence[Subject]) -> None:
        from freehold.engines.gguf.weights import open_weights
        from freehold.tune.decoder.device import device
        from freehold.tune.decoder.model import load
        from freehold.tune.decoder.tokens import Tokens

        self.tokens, self.subjects = Tokens.open(folder), subjects
        shape = open_weights(folder).shape
        self.kind, _ = device("cpu").arithmetic(shape.hidden, shape.inner)
        self.learn = [self.encoded(s, s.learn) for s in subjects]
        self.asked = [self.encoded(s, s.asked) for s in subjects]
        self.bare = load(folder, self.kind, longest=max(e.longest for e in (*self.learn, *self.asked)))

    def encoded(self, subject: Subject, rows: Sequence[tuple[str, str]]) -> Any:
        from freehold.tune.decoder.data import encode

        def messages(text: str) -> Any:
            return [{"role": "system", "content": subject.system}, {"role": "user", "content": text}]

        return encode(self.tokens, messages, [t for t, _ in rows], [a for _, a in rows], context=2048)

    def learned(self, examples: Any, steps: int) -> dict[str, Any]:
        """An adapter's tensors after so many steps on these rows."""
        from freehold.tune.decoder.checkpoint import Checkpoint
        from freehold.tune.decoder.model import attach
        from freehold.tune.decoder.plan import Plan
        from freehold.tune.decoder.train import train
        from freehold.tune.repeat import repeatable

        rows = len(examples.rows)
        plan = Plan(self.kind, 16, RANK, 2 * RANK, RATE, BATCH, rows, -(-steps * BATCH // rows), steps, ())
        with tempfile.TemporaryDirectory() as work, repeatable(0, 1):
            model = attach(self.bare, rank=RANK, alpha=2 * RANK, seed=0)
            state = Checkpoint("", plan, 0, [], 0.0, {})
            found = train(model, examples, state, Path(work), pad=self.tokens.pad, seed=0, tell=lambda *_: None)
            self.bare = model.unload()
        _run.say(f"  {rows} rows, {steps} steps: loss {found.losses[0]:.3f} to {found.losses[-1]:.3f}, "
                 f"{found.seconds:.0f} CPU s")  # fmt: skip
        return found.tensors

    def both(self) -> Any:
        """The rows of both subjects as they are, each with its own prompt."""
        from freehold.tune.decoder.data import Examples

        whole = [examples.whole() for examples in self.learn]
        rows = tuple(row for pair in zip(*(w.rows for w in whole), strict=False) for row in pair)
        same = self.learn[0].prefix == self.learn[1].prefix
        if same:
            rows = tuple(row for pair in zip(*(e.rows for e in self.learn), strict=False) for row in pair)
        return Examples(self.learn[0].prefix if same else (), rows, tuple(range(len(rows))), {})

    def answers(self, tensors: dict[str, Any] | None, rank: int, alpha: float) -> list[dict[str, list[float]]]:
        """Of each subject's asked rows: was the whole answer right, and its loss. None: the base alone."""
        from freehold.tune.decoder.model import attach, put_adapter

        model = attach(self.bare, rank=rank, alpha=alpha, seed=0)
        if tensors is not None:
            put_adapter(model, tensors)
        found = [self.one(model, examples) for examples in self.asked]
        self.bare = model.unload()
        return found

    def one(self, model: Any, examples: Any) -> dict[str, list[float]]:
        import torch

        from freehold.tune.decoder.model import logits

        order = sorted(range(len(examples.rows)), key=lambda i: examples.rows[i].length)
        exact, lost = [0.0] * len(order), [0.0] * len(order)
        for at in range(0, len(order), 2 * BATCH):
            some = order[at : at + 2 * BATCH]
            with torch.no_grad():
                said, wanted = logits(model, [examples.rows[i] for i in some], examples.prefix, self.tokens.pad)
            right = (said.argmax(-1) == wanted).tolist()
            loss = torch.nn.functional.cross_entropy(said, wanted, reduction="none").tolist()
            for i in some:
                many = len(examples.rows[i].answer)
                exact[i], lost[i] = float(all(right[:many])), sum(loss[:many]) / many
                right, loss = right[many:], loss[many:]
        return {"exact": exact, "loss": lost}


def adapters(subjects: Sequence[Subject], size: Size, folder: Path) -> dict[str, Any]:
    from freehold.merge.lora import HEAD, added
    from freehold.merge.nouns import How

    bench = Bench(folder, subjects)
    steps = size.rows // BATCH
    one, two = (bench.learned(examples, steps) for examples in bench.learn)
    sides: dict[str, list[dict[str, list[float]]]] = {}

    def look(name: str, tensors: dict[str, Any] | None, rank: int, alpha: float) -> None:
        sides[name] = bench.answers(tensors, rank, alpha)
        kept("adapters", name, sides[name])

    for name, tensors in (("base", None), (subjects[0].name, one), (subjects[1].name, two)):
        look(name, tensors, RANK, 2 * RANK)
    for name, (method, weight, density) in MERGES.items():
        made, rank = added([(one, 2.0 * RANK), (two, 2.0 * RANK)], How(method, (weight, weight), density, 0))
        look(name, {f"{HEAD}{n}": tensor for n, tensor in made.items()}, rank, rank)
    look("together", bench.learned(bench.both(), 2 * steps), RANK, 2 * RANK)
    names = [subject.name for subject in subjects]
    found = {"subjects": names, "rows": size.rows, "steps": steps, "asked": [len(e.rows) for e in bench.asked]}
    return found | {"sides": table(sides, names, "exact", "loss"), "pairs": against(sides, names, "exact", "loss")}


# whole models


def pieces(subject: str, most: int) -> tuple[list[str], list[str]]:
    """(to learn from, held out): pieces of 2,000 bytes of a text, every tenth of them held out."""
    (archive,) = (shared() / "text" / subject).glob("*.tar.gz")
    found: list[str] = []
    with tarfile.open(archive) as tar:
        for member in sorted((m for m in tar if m.isfile()), key=lambda m: m.name):
            file = tar.extractfile(member)
            text = file.read().decode() if file else ""
            found += [text[i : i + PIECE] for i in range(0, len(text), PIECE)]
    held = found[5::10]
    return [piece for i, piece in enumerate(found) if i % 10 != 5], spread(held, most)


def written(folder: Path, name: str, texts: Sequence[str]) -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def trained(folder: Path, name: str, text: Path, tokens: int, *more: object) -> Path:
    said = ["--tokens", tokens, "--licence", f"{text}=own", "--threads", 1, "--project", folder / name]
    cost = _run.child([sys.executable, "-m", "freehold", "train", text, *said, "--json", *more], env=ENV)
    last = json.loads(_run.must(cost, f"freehold train {name}").out)["trained"]["evals"][-1]
    _run.say(f"  {name}: {last['bits_per_byte']:.3f} bits a byte of its own held-out text, {cost.cpu:.0f} CPU s")
    return folder / name


def merged(folder: Path, name: str, base: Path, parents: Sequence[Path]) -> Path:
    """As the command is typed."""
    said = [*map(str, parents), *WHOLE[name], *(["--base", str(base)] if name in AGAINST else [])]
    place = folder / f"merged {name}"
    _run.must(_run.child([sys.executable, "-m", "freehold", "merge", *said, "--project", place], env=ENV), name)
    return place


def bits(project: Path, texts: Sequence[str]) -> list[float]:
    """Bits a byte of each piece."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from freehold.engines.bases import find

    folder = find(project).path
    words, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    wide, found = model.config.max_position_embeddings, []
    for text in texts:
        ids = [words.eos_token_id, *words(text, add_special_tokens=False)["input_ids"]]
        nats = 0.0
        for at in range(0, len(ids) - 1, wide):
            part = torch.tensor([ids[at : at + wide + 1]])
            with torch.no_grad():
                said = model(part[:, :-1]).logits[0]
            nats += float(torch.nn.functional.cross_entropy(said, part[0, 1:], reduction="sum"))
        found.append(nats / math.log(2) / len(text.encode()))
    return found


def models(size: Size, folder: Path) -> dict[str, Any]:
    names = ["tldr-en", "se-pepys"]
    sides = [pieces(name, size.pieces) for name in names]
    novels = [piece for name in NOVELS for piece in pieces(name, 0)[0]]
    base = trained(folder, "base", written(folder, "novels", novels), size.base)
    one, two = (
        trained(folder, name, written(folder, name, learn), size.on, "--base", base)
        for name, (learn, _) in zip(names, sides, strict=True)
    )
    half = min(len(learn) for learn, _ in sides)
    mixed = [p for pair in zip(*(spread(learn, half) for learn, _ in sides), strict=True) for p in pair]
    text = written(folder, "both", mixed)
    made = {"base": base, names[0]: one, names[1]: two}
    made |= {"together": trained(folder, "together", text, 2 * size.on, "--base", base)}
    made |= {name: merged(folder, name, base, [one, two]) for name in WHOLE}
    scored = {}
    for name, project in made.items():
        scored[name] = [{"bits": bits(project, held)} for _, held in sides]
        kept("models", name, scored[name])
    found = {"subjects": names, "tokens": [size.base, size.on], "pieces": [len(held) for _, held in sides]}
    return found | {"sides": table(scored, names, "bits"), "pairs": against(scored, names, "bits")}


# tables


def kept(part: str, side: str, subjects: list[dict[str, list[float]]]) -> None:
    said = [f"{score} {sum(v) / len(v):.3f}" for one in subjects for score, v in one.items()]
    _run.say(f"  {side}: {', '.join(said)}")
    _run.add_row(_run.CACHE / "merge.jsonl", {"part": part, "side": side, "subjects": subjects})


def table(sides: dict[str, list[dict[str, list[float]]]], names: Sequence[str], *scores: str) -> dict[str, Any]:
    """Each side's mean on each subject, and over all rows of both."""
    found: dict[str, Any] = {}
    for side, subjects in sides.items():
        rows = dict(zip(names, subjects, strict=True))
        rows["both"] = {score: [v for one in subjects for v in one[score]] for score in scores}
        found[side] = {name: {score: mean(one[score], score) for score in scores} for name, one in rows.items()}
        line = "  ".join(f"{name} " + ", ".join(f"{s} {v['mean']:.3f}" for s, v in one.items()) for name, one in
                         found[side].items())  # fmt: skip
        _run.say(f"{side:>14}: {line}")
    return found


def mean(values: Sequence[float], score: str) -> dict[str, Any]:
    """With Wilson's interval for shares, and the paired bootstrap's against nothing for the rest."""
    if score != "exact":
        said = paired(values, [0.0] * len(values))
        return {"mean": said["difference"], "low": said["low"], "high": said["high"], "n": len(values)}
    from scipy.stats import binomtest

    right = int(sum(values))
    ends = binomtest(right, len(values)).proportion_ci(method="wilson")
    low, high = round(float(ends.low), 4), round(float(ends.high), 4)
    return {"mean": round(right / len(values), 4), "low": low, "high": high, "n": len(values)}


def against(sides: dict[str, list[dict[str, list[float]]]], names: Sequence[str], *scores: str) -> dict[str, Any]:
    """Each merge less its rivals on the same rows: the specialist of each subject there; over both subjects, the base,
    each parent, and the one that learned both."""

    def all_rows(side: str, score: str) -> list[float]:
        return [value for one in sides[side] for value in one[score]]

    found: dict[str, Any] = {}
    for side in (name for name in sides if name in {*MERGES, *WHOLE}):
        for score in scores:
            said = found.setdefault(side, {}).setdefault(score, {})
            for i, name in enumerate(names):
                said[f"{name}: less its own"] = paired(sides[side][i][score], sides[name][i][score])
            for rival in ("base", *names, "together"):
                said[f"both: less {rival}"] = paired(all_rows(side, score), all_rows(rival, score))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=["adapters", "models"])
    args = parser.parse_args()
    size, result = SIZES[args.full], {}
    with tempfile.TemporaryDirectory() as aside:
        if args.only != "adapters":
            _run.say("whole models")
            result["models"] = models(size, Path(aside))
        if args.only != "models":
            from freehold.engines.bases import find
            from freehold.engines.gguf.folder import hf_folder

            folder = hf_folder(find("smollm2").path, Path(aside) / "hf")
            for name, subjects in ({"halves": halves} | ({"tasks": tasks} if args.full else {})).items():
                _run.say(f"adapters: {name}")
                result[name] = adapters(subjects(size), size, folder)
    result["cpu_seconds"] = round(spent(), 1)
    names = (*_run.CORE, "torch", "transformers", "peft", "mergekit")
    return _run.emit(
        "merge", full=args.full, n=size.asked, goals=[], result=result, versions=_run.versions(names),
        notes=["one seed; a difference below 0 is better where the score is a loss or bits"],
    )  # fmt: skip


def spent() -> float:
    from _text import cpu

    return cpu()


if __name__ == "__main__":
    raise SystemExit(main())
