"""Students that write: one open base, tuned or shown examples, asked through the embedded engine.

    decoder.json   {"version": 1, "mode": "merged", "prompt": {"system": "...", "before": "", "after": ""},
                    "context": 512, "max_tokens": 96, "stop": [], "schema": null, "quant": "Q8_0", "speculation": null,
                    "score": "mean_logprob", "k": 0, "encoder": ""}

    merged    model.gguf                                                          the tuned weights, in one file
    adapter   adapter.gguf                        + the base artefact's model.gguf  one base for many tasks
    fewshot   examples.json, examples.safetensors + the base artefact's model.gguf  the untuned base with near examples

The answer is greedy. Its score is exp(mean log-probability of its tokens, end token included), of the bare model: a
token that a schema forced on it counts as unlikely as it was, so an answer that the model did not mean scores low.
A text that doesn't fit the context is not able (it goes up, uncut); an answer not finished within max_tokens scores 0.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.engines.completion import Answers, Completion, Request, speculation
from freehold.engines.llama import Engine, idle_cores
from freehold.engines.llama_process import Settings
from freehold.errors import ArtifactDamaged, BadSetting, SchemaUnmet
from freehold.nouns import Answer, Artifact, Message, Template

__all__ = ["DecoderStudent", "Examples", "Prompt", "Recipe", "as_logged", "check_schema", "score"]

VERSION = 1
MODEL = "model.gguf"
WORTH_KEEPING = 24  # ids of a prefix: keeping a shorter one costs as much as computing it
TOP = 8  # likeliest tokens looked at for the end token under a schema
TRIED = 20  # logged answers held against a schema
MANY = 1000  # logged answers whose blanks are looked at
NO_JSON = object()
Floats = npt.NDArray[np.float32]


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fixed words around a text: a system message, and what stands before and after it in the user's."""

    system: str = ""
    before: str = ""
    after: str = ""

    @classmethod
    def of(cls, template: Template) -> Prompt:
        """That of a task. Where several messages vary, their texts come as one, and no words stand around it."""
        fixed = [slot.before for slot in template.slots if not slot.variable and slot.role in ("system", "developer")]
        varying = [slot for slot in template.slots if slot.variable]
        if len(varying) == 1:
            return cls("\n\n".join(fixed), varying[0].before, varying[0].after)
        return cls("\n\n".join(fixed))

    def messages(self, text: str, shown: Sequence[tuple[str, str]] = ()) -> list[Message]:
        """As a chat: the system message, `shown` (text, answer) pairs as turns before, and the text itself."""
        said: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        for example, answer in shown:
            said += [self._user(example), {"role": "assistant", "content": answer}]
        return [*said, self._user(text)]

    def _user(self, text: str) -> Message:
        return {"role": "user", "content": f"{self.before}{text}{self.after}"}


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """decoder.json. `k` and `encoder` are for fewshot: how many examples at most, and whose vectors find them."""

    version: int = VERSION
    mode: Literal["merged", "adapter", "fewshot"]
    prompt: Prompt
    context: int
    max_tokens: int
    stop: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    quant: str = ""
    speculation: dict[str, Any] | None = None
    score: Literal["mean_logprob"] = "mean_logprob"
    k: int = 0
    encoder: str = ""

    def encode(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def read(cls, folder: Path) -> Recipe:
        """From decoder.json in an artefact's folder; raises ArtifactDamaged."""
        path = folder / "decoder.json"
        try:
            recipe = msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise ArtifactDamaged(f"{path} can't be read: {error.strerror}.", "Tune again.") from error
        except msgspec.MsgspecError as error:
            raise ArtifactDamaged(f"{path} is no recipe of this freehold: {error}.", "Tune again.") from error
        if recipe.version != VERSION:
            message = f"{path} was written by version {recipe.version}, and this freehold reads {VERSION}."
            raise ArtifactDamaged(message, "Tune again.")
        return recipe


@dataclass(frozen=True)
class Examples:
    """Logged texts and answers, found by the nearness of their vectors (float32 [n, dim], unit length)."""

    pairs: tuple[tuple[str, str], ...]
    vectors: Floats
    encoder: Any

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]], encoder: str) -> Examples:
        from freehold.engines.encoder import Encoder

        found = Encoder.bundled(encoder)
        return cls(tuple(pairs), found.embed([text for text, _ in pairs]), found)

    def near(self, text: str, k: int) -> list[tuple[str, str]]:
        """The k nearest, the nearest last; the text itself is never among them (a row is not its own example)."""
        heat = self.vectors @ self.encoder.embed([text])[0]
        order = [int(i) for i in np.argsort(-heat, kind="stable") if self.pairs[i][0] != text]
        return [self.pairs[i] for i in reversed(order[:k])]

    def files(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        return {"examples.json": msgspec.json.encode(self.pairs), "examples.safetensors": save({"x": self.vectors})}

    @classmethod
    def read(cls, folder: Path, encoder: str) -> Examples:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        from freehold.engines.encoder import Encoder

        try:
            pairs = msgspec.json.decode((folder / "examples.json").read_bytes(), type=tuple[tuple[str, str], ...])
            vectors = load((folder / "examples.safetensors").read_bytes())["x"]
        except (OSError, KeyError, msgspec.MsgspecError, SafetensorError) as error:
            raise ArtifactDamaged(f"The examples in {folder} can't be read: {error}.", "Tune again.") from error
        if len(pairs) != len(vectors):
            raise ArtifactDamaged(f"{folder} holds {len(pairs)} examples and {len(vectors)} vectors.", "Tune again.")
        return cls(pairs, np.ascontiguousarray(vectors, np.float32), Encoder.bundled(encoder))


class DecoderStudent:
    """Same text, same answer and score to the last bit, whatever came before: one slot, a fixed prefix, greedy."""

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

    @classmethod
    def open(cls, folder: Path, artifact: Artifact, engine: Answers | None = None) -> DecoderStudent:
        """From an artefact; no process is started before the first question. Students of one base share its engine.

        Raises ArtifactDamaged, BaseUnusable, AdapterMismatch, MissingExtra.
        """
        recipe = Recipe.read(folder)
        model = folder / MODEL if recipe.mode == "merged" else _base(folder, artifact)
        held = engine or _lease(
            Settings(model, context=recipe.context, threads=idle_cores(), speculation=speculation(recipe.speculation))
        )
        adapter = held.with_adapter(folder / "adapter.gguf") if recipe.mode == "adapter" else None
        examples = Examples.read(folder, recipe.encoder) if recipe.mode == "fewshot" else None
        return cls(recipe, held, adapter=adapter, examples=examples)

    def __repr__(self) -> str:
        return f"DecoderStudent({self.recipe.mode}, {self.recipe.quant or 'as its base'}, {self.engine!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the engine back; it ends with its last student."""
        _release(self.engine)

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        return [self._answer(text) for text in texts]

    def ask(self, text: str) -> Request | None:
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
        )

    def _answer(self, text: str) -> Answer:
        request = self.ask(text)
        if request is None:
            return Answer("", 0.0, able=False)
        said = self.engine.complete(request)
        return Answer(said.text, score(said, self._end_id() if request.schema is not None else None))

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


def check_schema(engine: Answers, schema: Mapping[str, Any], answers: Sequence[str]) -> None:
    """Raises SchemaUnmet where the engine can't compile the schema, or none of the logged answers (20 are tried)
    satisfies it. The engine's own grammar decides, so what passes here is what can be written."""
    engine.obeys(schema)
    tried = list(dict.fromkeys(answers))[:TRIED]
    if tried and not any(_satisfies(engine, schema, answer) for answer in tried):
        message = f"None of {len(tried)} logged answers satisfies the JSON schema; the first is {tried[0][:200]!r}."
        raise SchemaUnmet(message, "Correct the schema, or leave it out.")


def as_logged(schema: Mapping[str, Any], answers: Sequence[str]) -> dict[str, Any]:
    """The schema with the blanks that the log's answers have between their parts, where 9 of 10 have the same (", " and
    ": ", or none). Else, and where it says its own (x-guidance), as it is: llama.cpp then allows any blanks anywhere,
    which an answer may be lost in."""
    if "x-guidance" in schema:
        return dict(schema)
    values = [(answer, value) for answer in answers[:MANY] if (value := _parsed(answer)) is not NO_JSON]
    for item, key in ((",", ":"), (", ", ": ")):
        alike = sum(answer == json.dumps(value, separators=(item, key), ensure_ascii=False) for answer, value in values)
        if values and alike >= 0.9 * len(values):
            form = {"whitespace_flexible": False, "item_separator": item, "key_separator": key}
            return {**schema, "x-guidance": form}
    return dict(schema)


def _parsed(answer: str) -> Any:
    try:
        return msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return NO_JSON


def _satisfies(engine: Answers, schema: Mapping[str, Any], answer: str) -> bool:
    value = _parsed(answer)
    if value is NO_JSON:
        return False
    shared = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    return engine.compiles({"allOf": [dict(schema), {"const": value}], **shared})


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
