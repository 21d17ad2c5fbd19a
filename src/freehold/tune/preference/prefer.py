"""The recipe of learning a preference: see the room's __init__."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from freehold.engines.bases import Base
from freehold.engines.decoder import Prompt, Recipe
from freehold.errors import FreeholdError, NothingToLearn
from freehold.nouns import Artifact, Task
from freehold.project import Project
from freehold.tell import Tell, quiet
from freehold.traffic import Traffic
from freehold.tune.decoder.base import readable, shape_of
from freehold.tune.decoder.checkpoint import NAME, Checkpoint, read, write
from freehold.tune.decoder.data import Examples, encode, hold_back
from freehold.tune.decoder.device import Device, device
from freehold.tune.decoder.memory import Size, lengths, size
from freehold.tune.decoder.model import adapter_config, attach, forget_activations, load
from freehold.tune.decoder.plan import Plan, shares
from freehold.tune.decoder.recipe import room_of
from freehold.tune.decoder.tokens import Tokens
from freehold.tune.decoder.train import Trained, held_out_loss, measure_row, train
from freehold.tune.preference.allowed import FEWEST, allowed
from freehold.tune.preference.dial import ANCHOR, BATCH, BETA, dial
from freehold.tune.preference.loss import Preference, chances, referred, two
from freehold.tune.preference.reference import base_of, put_reference, reference_of, sides
from freehold.tune.preference.sift import Sifted, sha256
from freehold.tune.preference.worth import Chances, ranked, take
from freehold.tune.synthetic.value import one_of_each
from freehold.tune.text import MINUTES, How

__all__ = ["prefer"]

OWN_SHARE, OWN_LEAST = 0.1, 10  # of the pairs, held back
LONGEST = 4096  # ids of a row
LOOKED = 60  # held-back rows of the log whose loss is looked at, before and after


@dataclass(frozen=True, slots=True)
class Asked:
    """All that decides a run."""

    reference: str
    pairs: str
    minutes: float
    bits: int
    rate: float | None
    seed: int
    beta: float
    anchor: float
    terms: list[dict[str, Any]]
    device: str

    @property
    def key(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def prefer(
    task: Task,
    traffic: Traffic,
    project: Project,
    pairs: str,
    how: How,
    *,
    rate: float | None = None,
    seed: int = 0,
    threads: int = 1,
    tell: Tell = quiet,
) -> Artifact:
    """The task's adapter, having learned from `pairs` (a file, or "log") which answers are preferred.

    It becomes the task's student where it ranks more held-back pairs right than the adapter it started from, by more
    than chance (`helps`). What a run before this one finished is returned; what it left half done is taken up.
    Raises ProjectMissing, NothingToLearn, BadSetting, AdapterMismatch, TermsBlocked, TooLittleMemory, TrainingFailed,
    BaseUnusable.
    """
    reference = reference_of(task.name, project)
    base = base_of(reference, how.base)
    found, terms = allowed(task, traffic, project, pairs, reference, how, tell)
    place = device(how.device)
    asked = Asked(
        reference.sha256, sha256(found), how.minutes or MINUTES, how.bits, rate, seed, BETA, ANCHOR, terms, place.name
    )
    mine = (
        a for a in project.artifacts() if (a.kind, a.task) == ("adapter", task.name)
    )  # one that was shrunk says so too
    made = next((a for a in mine if a.recipe.get("asked") == asked.key), None)
    if made is None:
        work = project.work(f"{task.name}-{asked.key[:12]}")
        run = _Run(task, project, reference, base, found, work, place, asked, threads, tell)
        try:
            made = run.artifact()
        except FreeholdError:
            if not (work / NAME).is_file():  # nothing was learned that another run could take up
                shutil.rmtree(work)
            raise
        shutil.rmtree(work)
    made = project.read_artifact(made.sha256)
    take(made, project, tell)
    return made


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What a model says of the held-back pairs, and its loss on logged rows that nothing was learned from."""

    pairs: Chances
    rows: int
    loss: float


class _Run:
    """One training, from pairs to artefact."""

    def __init__(
        self, task: Task, project: Project, reference: Artifact, base: Base, found: Sifted, work: Path, device: Device,
        asked: Asked, threads: int, tell: Tell,
    ) -> None:  # fmt: skip
        self.task, self.project, self.reference, self.base, self.found = task, project, reference, base, found
        self.work, self.device, self.asked, self.threads, self.tell = work, device, asked, threads, tell
        self.home = project.artifact_path(reference.sha256)
        self.rank, self.alpha = sides(reference)
        self.by = Preference(BETA, ANCHOR)
        self.left_out = found.left_out
        self.shape = shape_of(base)
        self.context = min(self.shape.context, LONGEST)

    def artifact(self) -> Artifact:
        self.tell(self.device.why)
        folder = readable(self.base, self.work, self.tell)
        tokens = Tokens.open(folder)
        learn, own = self._examples(tokens)
        logged = self._logged(tokens)
        with self.device.still(self.asked.seed, self.threads):
            plan, model, learn, before = self._begin(folder, tokens, learn, own, logged)
            trained = self._train(model, plan, learn, before, tokens)
            after = self._seen(model, own, logged, tokens, plan)
        return self.project.write_artifact(
            self._files(trained, learn, own),
            kind="adapter",
            task=self.task.name,
            base=self.base.name,
            licence=self.reference.licence,
            recipe=self._how(plan, trained, before, after, learn, own),
            data_sha256=self.reference.data_sha256,
            parents=(*self.reference.parents, self.reference.sha256),
        )

    # rows

    def _examples(self, tokens: Tokens) -> tuple[Examples, Examples]:
        """The pairs as ids: those that teach, and those held back, near-duplicates together."""
        pairs = self.found.pairs
        messages = Prompt.of(self.task.template).messages
        texts, good = [pair.text for pair in pairs], [pair.preferred for pair in pairs]
        found = encode(tokens, messages, texts, good, context=self.context, tell=self.tell)
        found = two(found, [tokens.answer(pair.rejected) for pair in pairs], self.context)
        self.left_out = self.found.left_out | found.left_out
        if found.left_out:
            self.tell(", ".join(f"{count:,} pairs {why}" for why, count in found.left_out.items()) + ": left out")
        groups = self.found.groups[list(found.kept)]
        part = max(OWN_SHARE, OWN_LEAST / max(1, len(groups)))
        learn, back = hold_back(groups, self.asked.seed, part)
        own = [back[i] for i in one_of_each(groups[back])] if back else []  # so that what is counted is independent
        parts = [found.some([found.kept[i] for i in side]) for side in (learn, own)]
        if len(found.rows) < FEWEST or not own:
            left = ", ".join(f"{count} {why}" for why, count in found.left_out.items())
            raise NothingToLearn(
                f"{self.task.name} has {len(found.rows)} pairs with different prompts{f' ({left})' if left else ''}; "
                f"it takes {FEWEST}.",
                "Wait for more pairs.",
            )
        return parts[0], parts[1]

    def _logged(self, tokens: Tokens) -> Examples:
        """Rows of the log that the reference's tuning held back: whether their answers become less likely."""
        own = msgspec.json.decode((self.home / "own.json").read_bytes())
        some = np.random.default_rng(self.asked.seed).permutation(len(own["texts"]))[:LOOKED].tolist()
        texts, answers = ([own[name][i] for i in some] for name in ("texts", "answers"))
        return encode(tokens, Prompt.of(self.task.template).messages, texts, answers, context=self.context)

    # the training

    def _begin(
        self, folder: Path, tokens: Tokens, learn: Examples, own: Examples, logged: Examples
    ) -> tuple[Plan, Any, Examples, _Seen]:
        """The plan, the model with the reference's adapter in it, the pairs that it learns, and what it says of those
        held back. Of a run that was killed: the same again, which the same bits follow from."""
        state = read(self.work, self.asked.key)
        kind = self.device.arithmetic(self.shape.hidden, self.shape.inner)
        form = Size(state.plan.piece, state.plan.recompute, "") if state else self._size(learn, kind[0])
        self.device.loosen(state.plan.loose if state else "")
        dtype, longest = state.plan.dtype if state else kind[0], max(learn.longest, own.longest, logged.longest)
        bare = load(folder, dtype, bits=self.asked.bits, longest=longest, device=self.device)
        model = attach(bare, rank=self.rank, alpha=self.alpha, seed=self.asked.seed)
        put_reference(model, self.reference, self.project, self.base.name)
        if form.recompute:
            forget_activations(model)
            learn = learn.whole()
        plan = state.plan if state else self._plan(model, learn, tokens, kind, form)
        chosen = np.random.default_rng(self.asked.seed).permutation(learn.kept)[: plan.rows]
        learn = learn.some(sorted(chosen.tolist()))
        before = self._seen(model, own, logged, tokens, plan)
        learn = referred(learn, chances(model, learn, tokens.pad, tell=self.tell, what="the reference looks at pairs"))
        if state is None:
            write(self.work, Checkpoint(self.asked.key, plan, 0, [], 0.0, {}))
        return plan, model, learn, before

    def _size(self, learn: Examples, kind: str) -> Size:
        step = lengths(learn, 2 * BATCH)
        longest = max(len(row.rejected) for row in learn.rows)  # type: ignore[attr-defined]
        step = replace(step, answer=max(step.answer, longest))
        card, have, what = self.device.card, self.device.free(), f"Tuning {self.base.name}"
        bits, rank = self.asked.bits, self.rank
        return size(self.shape, step, card=card, have=have, what=what, bits=bits, kind=kind, rank=rank)

    def _plan(self, model: Any, learn: Examples, tokens: Tokens, kind: tuple[str, str], form: Size) -> Plan:
        def step() -> float:
            return measure_row(model, learn, tokens.pad, BATCH, piece=form.piece, device=self.device, by=self.by)

        seconds_pair, loose = self.device.measured(step)
        found = dial(
            pairs=len(learn.rows), seconds_pair=seconds_pair, seconds=shares(self.asked.minutes)[0],
            width=self.shape.hidden, rank=self.rank, alpha=self.alpha, dtype=kind, bits=self.asked.bits,
            rate=self.asked.rate, form=form, device=self.device, loose=loose,
        )  # fmt: skip
        for reason in found.why:
            self.tell(reason)
        return found

    def _train(self, model: Any, plan: Plan, learn: Examples, before: _Seen, tokens: Tokens) -> Trained:
        state = read(self.work, self.asked.key)
        assert state is not None
        if state.step:
            self.tell(f"go on after step {state.step} of {plan.steps}")
        return train(
            model, learn, state, self.work,
            pad=tokens.pad, seed=self.asked.seed, tell=self.tell, device=self.device, by=self.by,
        )  # fmt: skip

    def _seen(self, model: Any, own: Examples, logged: Examples, tokens: Tokens, plan: Plan) -> _Seen:
        if plan.recompute:
            own, logged = own.whole(), logged.whole()
        said = chances(model, own, tokens.pad, tell=self.tell, what="look at the held-back pairs")
        return _Seen(said, len(logged.rows), held_out_loss(model, logged, tokens.pad))

    # the artefact

    def _files(self, trained: Trained, learn: Examples, own: Examples) -> dict[str, bytes | Path]:
        from safetensors.torch import save

        return {
            "adapter.safetensors": save(trained.tensors),
            "adapter_config.json": adapter_config(self.base.name, self.rank, self.alpha, self.shape.experts),
            "decoder.json": self._recipe(learn, own).encode(),
            "own.json": (self.home / "own.json").read_bytes(),
        }

    def _recipe(self, learn: Examples, own: Examples) -> Recipe:
        """The reference's, with more room where a preferred answer is longer than any logged one."""
        recipe = Recipe.read(self.home)
        rows = [*learn.rows, *own.rows]
        prompt = len(learn.prefix) + max(len(row.rest) for row in rows)
        wide = room_of(prompt, max(len(row.answer) for row in rows), self.context)
        return msgspec.structs.replace(
            recipe, context=max(recipe.context, wide.context), max_tokens=max(recipe.max_tokens, wide.answer)
        )

    def _how(
        self, plan: Plan, trained: Trained, before: _Seen, after: _Seen, learn: Examples, own: Examples
    ) -> dict[str, Any]:
        kept = {name: self.reference.recipe[name] for name in ("student", "base", "lora", "held_back", "with")
                if name in self.reference.recipe}  # fmt: skip
        return kept | {
            "asked": self.asked.key,
            "terms": self.asked.terms,
            "minutes": self.asked.minutes,
            "seed": self.asked.seed,
            "plan": asdict(plan) | {"why": list(plan.why)},
            "left_out": self.left_out,
            "loss": {"first": trained.losses[0], "last": trained.losses[-1]},
            "preference": {
                "reference": self.reference.sha256,
                "pairs": self.asked.pairs,
                "learned": len(learn.rows),
                "beta": BETA,
                "anchor": ANCHOR,
                **ranked(before.pairs, after.pairs),
                "logged": {"rows": after.rows, "loss_before": before.loss, "loss_after": after.loss},
            },
            "device": self.device.why,
            "seconds" if self.device.card else "cpu_seconds": trained.seconds,
        }
