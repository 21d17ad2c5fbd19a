"""The recipe of tuning a decoder: see the room's __init__."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from freehold.agree import judge
from freehold.engines.bases import Base
from freehold.engines.decoder import DecoderStudent, Prompt, Recipe, check_schema
from freehold.engines.llama.engine import Engine
from freehold.errors import BadSetting, FreeholdError, MissingExtra, NothingToLearn
from freehold.fit import Shape
from freehold.nouns import Artifact, Task
from freehold.project import Project
from freehold.tell import Tell, quiet
from freehold.tune.decoder.base import readable, shape_of, stored
from freehold.tune.decoder.checkpoint import NAME, Checkpoint, read, write
from freehold.tune.decoder.data import Examples, encode, hold_back
from freehold.tune.decoder.device import Device, device
from freehold.tune.decoder.fewshot import MOST, WIDEST, K, Measured, compare, measure, rival
from freehold.tune.decoder.fewshot import write as write_rival
from freehold.tune.decoder.fidelity import check_ids
from freehold.tune.decoder.memory import Size, lengths, size
from freehold.tune.decoder.mixed import Made, Weights, mixed, seen
from freehold.tune.decoder.model import adapter_config, attach, forget_activations, load
from freehold.tune.decoder.plan import BATCH, Plan, plan, shares
from freehold.tune.decoder.recipe import own_json, recipe_of, room, room_of, schema_of
from freehold.tune.decoder.tokens import Tokens
from freehold.tune.decoder.train import LIKELIHOOD, Trained, held_out_loss, measure_row, train
from freehold.tune.rows import Rows

__all__ = ["tune_decoder"]

FEWEST = 20  # rows
LONGEST = 4096  # ids of a row
LAYERS = {
    False: "all linear layers but the head",
    True: "attention's layers; experts and their router stay as they are",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """All that decides a run, given the rows."""

    base: str
    rows: str
    prompt: Prompt
    minutes: float
    bits: int
    seed: int
    rate: float | None
    rule: str
    schema: dict[str, Any] | None
    use: str
    terms: list[dict[str, Any]]
    device: str = "cpu"
    made: str = ""

    @property
    def key(self) -> str:
        """A CPU and no made rows are not named in it: it names the runs from before there was a choice."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.device == "cpu":
            del said["device"]
        if not self.made:
            del said["made"]
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def tune_decoder(
    rows: Rows,
    task: Task,
    project: Project,
    base: Base,
    *,
    minutes: float,
    bits: Literal[16, 4] = 16,
    use: Sequence[int] | None = None,
    terms: Sequence[dict[str, Any]] = (),
    rate: float | None = None,
    seed: int = 0,
    threads: int = 1,
    where: str = "auto",
    made: Made | None = None,
    tell: Tell = quiet,
) -> Artifact:
    """Tune `base` on the rows in about `minutes`, of CPU or on the clock where a card tunes; the adapter, or the
    untuned base with examples where that answers the held-back rows better.

    `use`: the numbers of the rows that may teach (the others were refused by the vendor's terms, or hold private
    data), and `terms` what the gate said of them, kept in the recipe. `rate`: instead of the one that follows from the
    base's width. `threads`: more than one is faster on the clock, and then a run that was killed goes on to the same
    bits only with the same number. `where`: auto (a CUDA card where there is one), cpu or cuda. `made`: rows that a
    teacher wrote, learned beside the logged ones and asked of nobody. What a run before this one finished is returned;
    what it left half done is taken up where it was.

    Raises NothingToLearn, BaseUnusable, TooLittleMemory, TrainingFailed, SchemaUnmet, EngineFailed, MissingExtra.
    """
    if bits not in (4, 16) or not minutes > 0:
        raise BadSetting(f"bits is {bits} and minutes is {minutes}.", "Known: 16 or 4 bits; more than 0 minutes.")
    allowed = sorted(use) if use is not None else list(range(len(rows.texts)))
    used = hashlib.sha256(msgspec.json.encode(allowed)).hexdigest()
    prompt, place = Prompt.of(task.template), device(where)
    asked = Asked(
        base.sha256, rows.sha256, prompt, minutes, bits, seed, rate, task.rule, schema_of(task), used, list(terms),
        place.name, "" if made is None else made.sha256,
    )  # fmt: skip
    for found in project.artifacts():
        if found.task == task.name and found.recipe.get("asked") == asked.key:
            return project.read_artifact(found.sha256)
    work = project.work(f"{task.name}-{asked.key[:12]}")
    try:
        artifact = _Run(rows, task, project, base, asked, allowed, work, threads, place, made, tell).artifact()
    except FreeholdError:
        if not (work / NAME).is_file():  # nothing was learned that another run could take up
            shutil.rmtree(work)
        raise
    shutil.rmtree(work)
    return artifact


class _Run:
    """One tuning, from rows to artefact."""

    def __init__(
        self, rows: Rows, task: Task, project: Project, base: Base, asked: Asked, allowed: list[int], work: Path,
        threads: int, device: Device, made: Made | None, tell: Tell,
    ) -> None:  # fmt: skip
        self.rows, self.task, self.project, self.base, self.asked = rows, task, project, base, asked
        self.work, self.threads, self.device, self.made, self.tell = work, threads, device, made, tell
        self.by = LIKELIHOOD if made is None else Weights()
        self.texts = [*rows.texts, *(() if made is None else made.texts)]  # the made ones behind all logged ones
        learn, own = hold_back(rows.groups[allowed], asked.seed)
        self.learn, self.own = [allowed[i] for i in learn], [allowed[i] for i in own]
        self.messages = asked.prompt.messages

    def artifact(self) -> Artifact:
        shape = shape_of(self.base)
        context = shape.context
        self.tell(self.device.why)
        self._size(shape, None, "bfloat16")
        kept = stored(self.base, self.project, self.work, self.tell)
        folder = readable(self.base, self.work, self.tell)
        tokens = Tokens.open(folder)
        examples = self._examples(tokens, min(context, LONGEST))
        model = self.project.artifact_path(kept.sha256) / "model.gguf"
        answers = [self.rows.labels[i] for i in self.learn]
        recipe = recipe_of(self.task, _room(examples, context), answers=answers, quant=str(kept.recipe["quant"]))
        with Engine.start(model, context=min(context, WIDEST)) as engine:
            if recipe.schema is not None:
                check_schema(engine, recipe.schema, answers)
            compared = check_ids(tokens, engine, self.messages, [self.texts[i] for i in examples.kept])
        self.tell(f"{compared} real prompts: training and server read the same ids")
        said, trained, loss = self._train(folder, tokens, examples, shape)
        files = self._files(trained, said, recipe)
        how = self._how(said, trained, loss, examples, compared)
        versus, rival_student, found = self._compare(kept, files, recipe, said, min(context, WIDEST))
        how |= {"compared": versus}
        if versus["wins"] == "fewshot":
            self.tell("the untuned base with examples answers better; it is taken")
            pairs = [(self.rows.texts[i], self.rows.labels[i]) for i in self._asked_rows()]
            return write_rival(
                rival_student, found, pairs, self.project,
                task=self.task, base=kept, how=how, data_sha256=self.rows.sha256,
            )  # fmt: skip
        return self.project.write_artifact(
            files,
            kind="adapter",
            task=self.task.name,
            base=self.base.name,
            licence=self.base.licence,
            recipe=how,
            data_sha256=self.rows.sha256,
            parents=(kept.sha256,),
        )

    def _examples(self, tokens: Tokens, context: int) -> Examples:
        """All usable rows, also those held back, and those that a teacher wrote, as ids."""
        numbers = [*sorted([*self.learn, *self.own]), *range(len(self.rows.texts), len(self.texts))]
        answers = [*self.rows.labels, *(() if self.made is None else self.made.answers)]
        texts, answers = [self.texts[i] for i in numbers], [answers[i] for i in numbers]
        found = encode(tokens, self.messages, texts, answers, context=context, tell=self.tell)
        kept = tuple(numbers[i] for i in found.kept)
        found = Examples(found.prefix, found.rows, kept, found.left_out)
        usable = set(kept)
        self.own = [i for i in self.own if i in usable]
        self.learn = [i for i in self.learn if i in usable]
        if len(self.learn) < FEWEST or not self.own:
            left = ", ".join(f"{count} {why}" for why, count in found.left_out.items())
            raise NothingToLearn(
                f"{self.task.name} has {len(self.learn)} rows to learn from and {len(self.own)} to measure on"
                f"{f' ({left})' if left else ''}; it takes {FEWEST} with different texts.",
                "Wait for more calls.",
            )
        return found

    def _train(self, folder: Path, tokens: Tokens, examples: Examples, shape: Shape) -> tuple[Plan, Trained, float]:
        """The plan, the adapter, and the loss on the held-back rows."""
        learn, own = self._mixed(examples), examples.some(self.own)
        bits, seed = self.asked.bits, self.asked.seed
        with self.device.still(seed, self.threads):
            kind = self.device.arithmetic(shape.hidden, shape.inner)
            form = self._size(shape, learn, kind[0])
            state = read(self.work, self.asked.key)
            first = state.plan if state else None
            if first:
                kind, form = (first.dtype, kind[1]), Size(first.piece, first.recompute, "")
                self.device.loosen(first.loose)
            if form.recompute:
                learn, own = learn.whole(), own.whole()
            bare = load(folder, kind[0], bits=bits, longest=learn.longest, device=self.device)
            if first is None:
                tried = self._attach(bare, 16, 32, form)
                first = self._plan(tried, learn, tokens, shape, kind, form)
                bare = tried.unload()
            model = self._attach(bare, first.rank, first.alpha, form)
            if state is None:
                state = Checkpoint(self.asked.key, first, 0, [], 0.0, {})
                write(self.work, state)
            else:
                self.tell(f"go on after step {state.step} of {first.steps}")
            trained = train(
                model, learn, state, self.work, pad=tokens.pad, seed=seed, tell=self.tell, device=self.device,
                by=self.by,
            )  # fmt: skip
            loss = held_out_loss(model, own, tokens.pad)
        self.tell(f"loss {loss:.3f} on {len(own.rows)} held-back rows")
        return first, trained, loss

    def _mixed(self, examples: Examples) -> Examples:
        learn = examples.some(self.learn)
        if self.made is None:
            return learn
        extra = examples.some([i for i in examples.kept if i >= len(self.rows.texts)])
        why = f"{len(extra.rows):,} rows that a teacher wrote beside {len(learn.rows):,} logged ones"
        self.tell(f"{why}, each of their ids at the weight {self.made.weight:.2g}")
        return mixed(learn, extra, self.made.weight)

    def _attach(self, bare: Any, rank: int, alpha: int, form: Size) -> Any:
        model = attach(bare, rank=rank, alpha=alpha, seed=self.asked.seed)
        if form.recompute:
            forget_activations(model)
        return model

    def _plan(
        self, model: Any, learn: Examples, tokens: Tokens, shape: Shape, kind: tuple[str, str], form: Size
    ) -> Plan:
        seconds_row, loose = self.device.measured(
            lambda: measure_row(model, learn, tokens.pad, BATCH, piece=form.piece, device=self.device, by=self.by)
        )
        found = plan(
            rows=len(learn.rows),
            seconds_row=seconds_row,
            seconds=shares(self.asked.minutes)[0],
            width=shape.hidden,
            layers=LAYERS[bool(shape.experts)],
            dtype=kind,
            bits=self.asked.bits,
            rate=self.asked.rate,
            unit=self.device.seconds,
        )
        why = (*found.why, *filter(None, (form.why, loose)))
        found = replace(
            found, why=why, device=self.device.name, piece=form.piece, recompute=form.recompute, loose=loose
        )
        for reason in found.why:
            self.tell(reason)
        return found

    def _size(self, shape: Shape, learn: Examples | None, kind: str) -> Size:
        """Raises TooLittleMemory; before the rows are known, where even the shortest would not fit."""
        what = f"Tuning {self.base.name}"
        step, card, have = lengths(learn, BATCH), self.device.card, self.device.free()
        return size(shape, step, card=card, have=have, what=what, bits=self.asked.bits, kind=kind)

    def _files(self, trained: Trained, said: Plan, recipe: Recipe) -> dict[str, bytes | Path]:
        from safetensors.torch import save

        texts, answers = [self.rows.texts[i] for i in self.own], [self.rows.labels[i] for i in self.own]
        return {
            "adapter.safetensors": save(trained.tensors),
            "adapter_config.json": adapter_config(self.base.name, said.rank, said.alpha, shape_of(self.base).experts),
            "decoder.json": recipe.encode(),
            "own.json": own_json(texts, answers),
            **({} if self.made is None else {"synthetic.jsonl": self.made.file}),
        }

    def _how(self, said: Plan, trained: Trained, loss: float, examples: Examples, compared: int) -> dict[str, Any]:
        return {
            "student": "decoder 1",
            "asked": self.asked.key,
            "terms": self.asked.terms,
            "minutes": self.asked.minutes,
            "seed": self.asked.seed,
            "base": {"name": self.base.name, "sha256": self.base.sha256, "source": self.base.source},
            "lora": {"rank": said.rank, "alpha": said.alpha, "layers": LAYERS[bool(shape_of(self.base).experts)]},
            "plan": asdict(said) | {"why": list(said.why)},
            "prefix": len(examples.prefix),
            "left_out": examples.left_out,
            "held_back": len(self.own),
            "prompts_compared": compared,
            "loss": {"first": trained.losses[0], "last": trained.losses[-1], "held_out": loss},
            "device": self.device.why,
            "seconds" if self.device.card else "cpu_seconds": trained.seconds,
            "with": _versions(),
            **({} if self.made is None else {"synthetic": self._learned(said, examples)}),
        }

    def _learned(self, said: Plan, examples: Examples) -> dict[str, Any]:
        """Of the rows that a teacher wrote: how many there were, and how many the minutes paid for."""
        assert self.made is not None
        rows = sum(i >= len(self.rows.texts) for i in examples.kept)
        drawn = seen(len(self.learn), rows, said.rows, self.asked.seed)
        return self.made.about | {"rows": rows, "seen": drawn, "weight": self.made.weight}

    def _asked_rows(self) -> list[int]:
        """The held-back rows that both students are asked, drawn by the seed."""
        order: list[int] = np.random.default_rng(self.asked.seed).permutation(self.own).tolist()
        return order[:MOST]

    def _compare(
        self, kept: Artifact, files: dict[str, bytes | Path], recipe: Recipe, said: Plan, most: int
    ) -> tuple[dict[str, Any], DecoderStudent, Measured]:
        """Tuned and few-shot on the same rows, in the embedded engine on the project's base."""
        from freehold.engines.gguf.weights import Lora, open_weights
        from freehold.engines.gguf.write import write_adapter

        model = self.project.artifact_path(kept.sha256) / "model.gguf"
        weights = open_weights(model)
        tensors, lora = self.work / "adapter.safetensors", self.work / "adapter.gguf"
        data = files["adapter.safetensors"]
        assert isinstance(data, bytes)
        tensors.write_bytes(data)
        write_adapter(Lora.open(tensors, weights, alpha=said.alpha), weights.shape, lora)
        asked = self._asked_rows()
        texts, answers = [self.rows.texts[i] for i in asked], [self.rows.labels[i] for i in asked]
        shelf = [self.rows.texts[i] for i in self.learn], [self.rows.labels[i] for i in self.learn]
        seconds, by = shares(self.asked.minutes)[1], judge(self.task)
        with Engine.start(model, adapters=[lora], context=most) as engine:
            wide = room(engine, self.task, *shelf, K, most)
            shown = msgspec.structs.replace(recipe, context=wide.context)
            other = rival(*shelf, engine, shown, k=wide.shown, seed=self.asked.seed)
            found = measure(
                other, texts, answers, by, seconds=0.7 * seconds, what="ask the untuned base, with examples",
                tell=self.tell,
            )  # fmt: skip
            n = len(found.ok)
            tuned = measure(
                DecoderStudent(recipe, engine, adapter=0), texts[:n], answers[:n], by, seconds=0.3 * seconds,
                what="ask the tuned one", tell=self.tell,
            )  # fmt: skip
        versus = compare(tuned, found)
        right = f"tuned {sum(tuned.ok)}, few-shot {sum(found.ok[: len(tuned.ok)])}"
        self.tell(f"of {versus['rows']} held-back rows right: {right}")
        return versus, other, found


def _room(examples: Examples, context: int) -> Any:
    longest = len(examples.prefix) + max(len(row.rest) for row in examples.rows)
    return room_of(longest, max(len(row.answer) for row in examples.rows), context)


def _versions() -> dict[str, str]:
    try:
        return {name: version(name) for name in ("torch", "transformers", "peft")}
    except PackageNotFoundError as error:
        raise MissingExtra(
            f"Tuning needs the package {error.name}, which is not installed.", "pip install 'freehold[tune]'"
        ) from error
