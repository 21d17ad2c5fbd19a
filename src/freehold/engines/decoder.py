"""Students that write: one open base, tuned or shown examples, asked through the embedded engine.

    merged    model.gguf                                                          the tuned weights, in one file
    adapter   adapter.gguf                        + the base artefact's model.gguf  one base for many tasks
    fewshot   examples.json, examples.safetensors + the base artefact's model.gguf  the untuned base with near examples

The answer is greedy. Its score is exp(mean log-probability of its tokens, end token included), of the bare model: a
token that a schema forced on it counts as unlikely as it was, so an answer that the model did not mean scores low.
A text that doesn't fit the context is not able (it goes up, uncut); an answer not finished within max_tokens scores 0,
and is not able either: no threshold, not even 0, keeps it.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from freehold.engines.decoder_form import Examples, Prompt, Recipe
from freehold.engines.llama.completion import Answers, Completion, Request, speculation
from freehold.engines.llama.engine import Engine, idle_cores
from freehold.engines.llama.process import Settings
from freehold.engines.llama.schema import as_logged, check_schema
from freehold.errors import ArtifactDamaged, BadSetting
from freehold.nouns import Answer, Artifact

__all__ = ["DecoderStudent", "Examples", "Prompt", "Recipe", "as_logged", "check_schema", "score"]

MODEL = "model.gguf"
WORTH_KEEPING = 24  # ids of a prefix: keeping a shorter one costs as much as computing it
SLOTS = 1  # answers at a time: beside others a call's last bits are not those that were certified (docs/decoder.md)
TOP = 8  # likeliest tokens looked at for the end token under a schema


class DecoderStudent:
    """Same text, same answer and score to the last bit, whatever came before: one slot, a fixed prefix, greedy.

    With several slots (`parallel`) it may be asked from as many threads, and the last bits depend on what is answered
    beside it.
    """

    def __init__(
        self, recipe: Recipe, engine: Answers, *, adapter: int | None = None, examples: Examples | None = None
    ) -> None:
        if (examples is not None) != (recipe.mode == "fewshot") or (adapter is not None) != (recipe.mode == "adapter"):
            raise BadSetting(f"A student of the mode {recipe.mode} got what belongs to another mode.")
        self.recipe = recipe
        self.engine = engine
        self.adapter = adapter
        self.examples = examples
        self._prefix: list[int] | None = None
        self._end: int | None = None
        self._open = True

    @classmethod
    def open(
        cls, folder: Path, artifact: Artifact, engine: Answers | None = None, *, slots: int = SLOTS
    ) -> DecoderStudent:
        """From an artefact; no process is started before the first question. Students of one base share its engine,
        which writes `slots` answers at a time.

        Raises ArtifactDamaged, BaseUnusable, AdapterMismatch, MissingExtra.
        """
        recipe = Recipe.read(folder)
        model = folder / MODEL if recipe.mode == "merged" else _base(folder, artifact)
        guess = speculation(recipe.speculation)
        if guess is not None and "path" in guess:  # the artefact's own file, under its sha256
            guess = {**guess, "path": str(folder / Path(guess["path"]).name)}
        settings = Settings(model, (), recipe.context, slots, idle_cores(), speculation=guess)
        held = engine or _lease(settings)
        with contextlib.ExitStack() as undo:
            undo.callback(_release, held)
            adapter = held.with_adapter(folder / "adapter.gguf") if recipe.mode == "adapter" else None
            examples = Examples.read(folder, recipe.encoder) if recipe.mode == "fewshot" else None
            student = cls(recipe, held, adapter=adapter, examples=examples)
            undo.pop_all()
        return student

    def __repr__(self) -> str:
        return f"DecoderStudent({self.recipe.mode}, {self.recipe.quant or 'as its base'}, {self.engine!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the engine back; it ends with its last student. May be called again."""
        if self._open:
            self._open = False
            _release(self.engine)

    def cpu_seconds(self) -> float:
        """CPU seconds that the engine's own process has taken so far, for whoever asked it."""
        return self.engine.cpu_seconds()

    @property
    def network(self) -> str:
        """Why the engine's process can reach the network; "" where it can't, or isn't up."""
        return self.engine.network if isinstance(self.engine, Engine) else ""

    @property
    def parallel(self) -> int:
        """Calls that it answers at a time, asked from as many threads."""
        return self.engine.slots

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        return [self.answer_unless(text, _never) for text in texts]

    def answer_unless(self, text: str, gone: Callable[[], bool], /) -> Answer:
        """The answer. Once `gone()` is true nobody waits for it, and it ends with the next token: EngineFailed."""
        request = self.ask(text, gone)
        if request is None:
            return Answer("", 0.0, able=False)
        said = self.engine.complete(request)
        sure = score(said, self._end_id() if request.schema is not None else None)
        return Answer(said.text, sure, able=said.stopped != "length")

    def ask(self, text: str, gone: Callable[[], bool] | None = None) -> Request | None:
        """The request that a text becomes; None where it doesn't fit the context."""
        ids = self._ids(text)
        if ids is None:
            return None
        recipe, kept = self.recipe, self._kept()
        return Request(
            prompt_ids=ids,
            max_tokens=recipe.max_tokens,
            adapter=self.adapter,
            schema=recipe.schema,
            stop=recipe.stop,
            logprobs=TOP if recipe.schema is not None else 0,
            prefix=len(kept) if kept and ids[: len(kept)] == kept and len(ids) > len(kept) else 0,
            gone=gone,
        )

    def _ids(self, text: str) -> list[int] | None:
        """The prompt, with as many of the nearest examples as leave room for an answer; None where the text alone
        doesn't fit."""
        shown = [] if self.examples is None else self.examples.near(text, self.recipe.k)
        while True:
            ids = self.engine.ids(self.recipe.prompt.messages(text, shown))
            room = self.recipe.context - len(ids)
            if room >= self.recipe.max_tokens or (not shown and room >= 1):
                return ids
            if not shown:
                return None
            shown = shown[1:]

    def _kept(self) -> list[int]:
        """The ids that every prompt begins with: what two prompts of nothing in common share."""
        if self._prefix is None:
            one, other = (self.engine.ids(self.recipe.prompt.messages(text)) for text in ("a", "0"))
            same = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), 0)
            self._prefix = one[:same] if same >= WORTH_KEEPING else []
        return self._prefix

    def _end_id(self) -> int:
        if self._end is None:
            self._end = self.engine.end()
        return self._end


def _never() -> bool:
    return False


def score(said: Completion, end: int | None = None) -> float:
    """exp(mean log-probability), in [0, 1]; 0 for an answer that was cut.

    Under a schema llama.cpp may write another end token than the model means, so `end`, the model's own, counts in its
    place where it is among the likeliest there.
    """
    if said.stopped == "length":
        return 0.0
    logs = list(said.logprobs)
    if end is not None and said.stopped == "eos" and logs:
        logs[-1] = max(logs[-1], said.top[-1].get(end, -math.inf))
    known = [x for x in logs if not math.isnan(x)]
    return min(1.0, math.exp(math.fsum(known) / len(known))) if known else 0.0


def _base(folder: Path, artifact: Artifact) -> Path:
    if not artifact.parents:
        raise ArtifactDamaged(f"The artefact in {folder} names no base.", "Tune again.")
    path = folder.parent / artifact.parents[0] / MODEL
    if not path.is_file():
        raise ArtifactDamaged(f"The base of the artefact in {folder} is missing: {path}.", "Tune again.")
    return path


# one engine for all students of a base with the same settings, for as long as one of them is open

_held: dict[bytes, tuple[Engine, int]] = {}
_door = threading.Lock()


def _lease(settings: Settings) -> Engine:
    key = replace(settings, threads=0, model=settings.model.resolve()).said("")
    with _door:
        engine, count = _held.get(key, (None, 0))
        engine = engine or Engine(settings)
        _held[key] = (engine, count + 1)
        return engine


def _release(engine: Answers) -> None:
    with _door:
        for key, (held, count) in list(_held.items()):
            if held is engine and count > 1:
                _held[key] = (held, count - 1)
                return
            if held is engine:
                del _held[key]
    engine.close()
