"""One training, from what was given to the artefact: see the room's __init__."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from freehold.engines import bases
from freehold.engines.bases import Base
from freehold.errors import LicenceConflict, MissingExtra
from freehold.facts import Union, facts, union
from freehold.launch import launch
from freehold.launch.job import Job
from freehold.launch.write import Where
from freehold.nouns import Artifact
from freehold.project import Project
from freehold.project.storage import pretty, write_atomic
from freehold.tell import Tell
from freehold.train.asked import Asked
from freehold.train.card import card
from freehold.train.carry import carry
from freehold.train.corpus import prepare
from freehold.train.home import come
from freehold.train.job import read_job, write_job
from freehold.train.nouns import Corpus, Plan, Trained

__all__ = ["Run", "readable"]

WORKER = "freehold.train.worker"
NEEDS = ("torch", "transformers", "accelerate", "tokenizers")


@dataclass(frozen=True)
class Run:
    """`start`: the folder of the model that is trained on, and `base` what that is; None from nothing."""

    project: Project
    asked: Asked
    corpus: Corpus
    base: Base | None
    start: Path | None
    work: Path
    tell: Tell

    @classmethod
    def begin(cls, given: Sequence[Path | str], project: Project, asked: Asked, tell: Tell) -> Run:
        """The text made ready. Raises what train does."""
        from freehold.train.dial.overrides import read

        _needed(asked)
        read(asked.overrides)  # what can't be meant is refused before the text is read
        base = None if asked.base is None else bases.find(asked.base)
        start = None if base is None else readable(base, project, tell)
        corpus = prepare(
            given,
            project.work("corpus"),
            tokenizer=asked.tokenizer if start is None else str(start),
            vocabulary=asked.vocabulary,
            field=asked.text_field,
            licences=asked.licences,
            sources=asked.sources,
            seed=asked.seed,
            tell=tell,
        )
        work = project.work(f"train-{asked.run(corpus.sha256, base.sha256 if base else '')[:12]}")
        return cls(project, asked, corpus, base, start, work, tell)

    @property
    def key(self) -> str:
        return self.asked.key(self.corpus.sha256, self.base.sha256 if self.base else "")

    def artifact(self) -> Artifact:
        """The trained model: made before, or now."""
        owed = self.licence()
        for found in self.project.artifacts():
            if found.kind == "model" and found.recipe.get("asked") == self.key:
                shutil.rmtree(self.work)
                return self.project.read_artifact(found.sha256)
        said = self.plan()
        write_job(self.work, said, self.corpus, start=self.start, threads=self.asked.threads or said.threads)
        self._learn()
        made = self._store(said, owed, come(self.work, said))
        shutil.rmtree(self.work)
        return made

    def elsewhere(self, target: str, into: Path, where: Where) -> list[Path]:
        """The files to run it elsewhere. Its plan is kept here, so that the result that comes home is this run's."""
        owed, said = self.licence(), self.plan(where)
        threads = self.asked.threads or said.threads
        write_job(self.work, said, self.corpus, start=self.start, threads=threads)
        where = replace(where, work=str(self.work), licence=owed.expression)
        return carry(target, into, where, corpus=self.corpus, plan=said, start=self.start, threads=threads)

    def licence(self) -> Union:
        """What the text's licences ask together, and those of the model that is trained on. Raises LicenceConflict."""
        names = [c.part.licence for c in self.corpus.parts] + ([self.base.licence] if self.base else [])
        owed = union(names, facts=facts(self.project.settings.facts))
        if owed.conflicts:
            raise LicenceConflict(owed.conflicts[0], "Leave one of the two out.")
        for part in (c.part for c in self.corpus.parts if c.part.licence == "unknown"):
            self.tell(f"{part.name} does not say its licence; say it with --licence {part.name}=NAME")
        for why in owed.private:
            self.tell(f"keep the model in the house: {why}")
        return owed

    def plan(self, where: Where | None = None) -> Plan:
        """That of the run which is taken up, with what is said of it now; else the dial's, for other machines where
        they are named."""
        from freehold.train.dial import dial
        from freehold.train.dial.memory import checked
        from freehold.train.dial.overrides import read

        processes, parallel, card = self.asked.processes, self.asked.parallel, 0.0
        if where is not None:
            processes, card = where.all, where.memory
            parallel = where.parallel if processes > 1 else "none"
        if (found := read_job(self.work)) is not None:
            self.tell(f"go on with what was begun in {self.work}")
            begun = replace(found.plan, **read(self.asked.changed))
            checked(begun, self.corpus.held_out_tokens, self.start, parallel, processes, card)
            return begun
        minutes, tokens = self.asked.dial
        said = dial(
            self.corpus,
            minutes=minutes,
            tokens=tokens,
            moe=self.asked.moe,
            start=self.start,
            overrides=self.asked.overrides,
            threads=self.asked.threads,
            processes=processes,
            parallel=parallel,
            card=card,
            seed=self.asked.seed,
            tell=self.tell,
        )
        return replace(said, start=self.base.sha256 if self.base else "")

    def _learn(self) -> None:
        from freehold.train.loop import run

        def here(tell: Tell) -> None:
            run(self.work, "none", tell)

        job = Job(WORKER, self.work, here, f"Training in {self.project.path}")
        launch(job, self.asked.parallel, processes=self.asked.processes, tell=self.tell)

    def _store(self, said: Plan, owed: Union, trained: Trained) -> Artifact:
        """The folder as it is published: weights, tokenizer, what it learned from, how it went."""
        from freehold.train.sample import samples

        result = self.work / "result"
        for path in (self.corpus.folder / "tokenizer").iterdir():
            shutil.copyfile(path, result / path.name)
        _stops(result, self.corpus.end)
        self.tell("write a few texts")
        wrote = samples(result, end=self.corpus.end, context=said.shape.context, seed=said.seed)
        trained = replace(trained, samples=wrote)
        name, day = self.project.path.resolve().name, datetime.now(UTC).date()
        size = _size(result)
        write_atomic(result / "training.json", pretty({"plan": said, "trained": trained, "size": size}))
        write_atomic(result / "corpus.json", pretty(_without_paths(self.corpus)))
        words = f"{size['active'] / 1e6:,.1f} of {size['total'] / 1e6:,.1f} million parameters active"
        write_atomic(
            result / "README.md",
            card(name, owed.expression, owed.said(), said, self.corpus, trained, words, day),
        )
        return self.project.write_artifact(
            {path.name: path for path in sorted(result.iterdir())},
            kind="model",
            task="",
            base=self.base.name if self.base else "",
            licence=owed.expression,
            recipe=self._how(said, trained, size),
            data_sha256=self.corpus.sha256,
        )

    def _how(self, said: Plan, trained: Trained, size: dict[str, int]) -> dict[str, Any]:
        base = self.base and {"name": self.base.name, "sha256": self.base.sha256, "source": self.base.source}
        return {
            "model": "freehold train 1",
            "asked": self.key,
            "start": base,
            "plan": msgspec.to_builtins(said),
            "parameters": size,
            "loss": msgspec.to_builtins(trained.evals[-1]) if trained.evals else None,
            "with": {name: version(name) for name in NEEDS},
        }


def _needed(asked: Asked) -> None:
    """Raises MissingExtra before anything is read."""
    if asked.parallel.startswith("zero") and find_spec("deepspeed") is None:
        raise MissingExtra(
            f"--launch {asked.parallel} needs DeepSpeed, which is not installed.", "pip install 'freehold[launch]'"
        )
    try:
        import accelerate  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"Training needs the package {error.name}, which is not installed.", "pip install 'freehold[tune]'"
        ) from error


def readable(base: Base, project: Project, tell: Tell) -> Path:
    """A Hugging Face folder of the base; that of a GGUF is written once."""
    if base.form == "hf":
        return base.path
    from freehold.engines.gguf.folder import hf_folder

    return hf_folder(base.path, project.work(f"start-{base.sha256[:12]}"), tell=tell)


def _stops(folder: Path, end: int) -> None:
    """Where the model stops by itself: before another document, and at what closes an answer."""
    from transformers import AutoTokenizer

    eos = AutoTokenizer.from_pretrained(folder, trust_remote_code=False).eos_token_id
    path = folder / "generation_config.json"
    said: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    said["eos_token_id"] = sorted({end, *([] if eos is None else [int(eos)])})
    write_atomic(path, pretty(said))


def _size(folder: Path) -> dict[str, int]:
    """Parameters, all and those that a token passes through."""
    from freehold.fit import Architecture, active, parameters

    a = Architecture.of(msgspec.json.decode((folder / "config.json").read_bytes(), type=dict[str, Any]))
    return {"total": parameters(a), "active": active(a)}


def _without_paths(corpus: Corpus) -> dict[str, Any]:
    """What is published says names and sources, never where the files lay."""
    said: dict[str, Any] = msgspec.to_builtins(corpus, enc_hook=str)
    del said["folder"]
    for counts in said["parts"]:
        del counts["part"]["path"]
    return said
