"""The embedded engine: llama.cpp in a child process that is started again when it dies.

    with Engine.start(Path("model.gguf"), context=2048) as engine:
        engine.complete(Request(messages=[{"role": "user", "content": "Hi"}], max_tokens=32))
        -> Completion(text="Hello!", tokens=[19556, 17, 2], logprobs=[-0.2, -0.1, -0.01], stopped="eos", ...)

    Engine ─holds→ Process (llama/process.py) ─Unix socket→ llama/child.py ─→ xllamacpp: llama.cpp's own server

A call on which the child dies is tried once more on a fresh one, with nothing beside it: whoever was under way when the
child died of another call is not taken for the cause. A second death raises EngineDied.

**Same question, same bits.** With one slot (the default), a greedy request gives the same tokens and the same
log-probabilities whatever was asked before it, to the last bit: nothing of an earlier request is kept, and a prompt is
always computed in the same pieces. `Request.prefix` names how many leading ids a student's questions share: they are
computed once in each slot and kept, and the rest is computed on top, in the same way each time (slots.py). With several
slots what is computed together depends on what stands beside, and so may the last bits (docs/decoder.md has how often).
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import msgspec

from freehold.engines.llama.completion import (
    FIELDS,
    Answers,
    Completion,
    Piece,
    Request,
    completion,
    limit,
    speculation,
)
from freehold.engines.llama.process import EngineDied, Gone, Process, Settings, Untouched, check_files
from freehold.engines.llama.slots import check_kept, kept_of, prime
from freehold.errors import BadSetting, BaseUnusable, EngineFailed, SchemaUnmet
from freehold.nouns import Message

__all__ = ["Answers", "Completion", "Engine", "Piece", "Request", "speculation"]

NOBODY = "Nobody waits for this answer any more."
UNASKED = "The embedded engine died before it could be asked, again and again."
STARTS = 100  # processes that a call may meet that die before they come to it
T = TypeVar("T")


class Engine:
    """A model that answers, in a process of its own. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is started yet: the first call does that, or `up`."""
        self.settings = settings
        self._process: Process | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._schemas: set[str] = set()
        self._template: bool | None = None

    @classmethod
    def start(
        cls,
        model: Path,
        *,
        adapters: Sequence[Path] = (),
        context: int,
        slots: int = 1,
        threads: int | None = None,
        kv: Literal["f16", "f32"] = "f16",
        flash: bool = True,
        draft: Path | None = None,
        speculate: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Engine:
        """Load `model` now. `threads`: None is every core that is idle now (idle_cores).

        Raises BaseUnusable, AdapterMismatch, EngineFailed, MissingExtra or BadSetting, each with its reason.
        """
        if draft is not None:
            speculate = {"kind": "draft", "path": str(draft), "tokens": 8}
        if context < 1 or slots < 1:
            raise BadSetting(f"An engine needs at least one slot of one token; context is {context}, slots {slots}.")
        settings = Settings(
            Path(model),
            adapters=tuple(map(Path, adapters)),
            context=context,
            slots=slots,
            threads=threads or idle_cores(),
            kv=kv,
            flash=flash,
            speculation=speculation(speculate),
            **more,
        )
        engine = cls(settings)
        engine.up()
        return engine

    def __repr__(self) -> str:
        s = self.settings
        return f"Engine({s.model.name}, {len(s.adapters)} adapters, context {s.context}, {s.slots} slots)"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # its process

    def up(self) -> Process:
        """The process, started where it isn't up."""
        with self._lock:
            if self._closed:
                raise EngineFailed("This engine has been closed.")
            if self._process is None or not self._process.alive:
                if self._process is not None:
                    self._process.kill()
                self._process = Process(self.settings)
            return self._process

    @property
    def slots(self) -> int:
        """How many answers it writes at a time."""
        return self.settings.slots

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.alive else None

    @property
    def network(self) -> str:
        """Why the process can reach the network; "" where it can't (or isn't up)."""
        return self._process.network if self._process is not None else ""

    def cpu_seconds(self) -> float:
        """CPU seconds of the process that is up; 0 where none is. It starts again at 0 with a new process."""
        process = self._process
        return process.cpu_seconds() if process is not None and process.alive else 0.0

    def close(self) -> None:
        """End the process; calls under way fail. May be called again."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def with_adapter(self, path: Path) -> int:
        """Make one more adapter known, and give its number. A second process is started with the longer list, and takes
        over; calls under way end on the old one."""
        path = Path(path)
        check_files(self.settings.model, [path])
        with self._lock:
            if path in self.settings.adapters:
                return self.settings.adapters.index(path)
            settings = replace(self.settings, adapters=(*self.settings.adapters, path))
            old = self._process
            if old is not None:
                self._process = Process(settings)
                old.retire()
            self.settings = settings
            return len(settings.adapters) - 1

    def _twice(self, ask: Callable[[Process, bool], T]) -> T:
        """`ask(process, alone)`, and once more where the child dies on it: alone then, with nothing beside it."""
        deaths = 0
        for _ in range(STARTS):
            process = self.up()
            if not process.enter():  # it was retired, or died, since
                continue
            try:
                return ask(process, deaths > 0)
            except Gone as gone:
                how = process.died()
                deaths += not isinstance(gone, Untouched)
                if deaths == 2 or self._closed:
                    raise EngineDied(
                        f"The embedded engine died on the same call twice ({how}).", kills=2 * (deaths == 2)
                    ) from gone
            finally:
                process.leave()
        raise EngineFailed(UNASKED)

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A question that takes no slot."""

        def ask(process: Process, alone: bool) -> dict[str, Any]:
            with process.turn(alone=True) if alone else contextlib.nullcontext():
                return process.post(path, body)

        return self._twice(ask)

    # text and ids

    def template(self, messages: Sequence[Message]) -> str:
        """The prompt that the model's own chat template makes of the messages, up to where the answer begins."""
        if not self._templated():
            raise BaseUnusable(
                f"{self.settings.model} has no chat template.", "Take an instruct model, or give prompt ids."
            )
        body = {"messages": list(messages), "add_generation_prompt": True}
        return str(self._post("/apply-template", body)["prompt"])

    def tokenize(self, text: str, /, *, special: bool = True) -> list[int]:
        """Ids of a text, special tokens in it read as such, after a begin token where the model asks for one."""
        body = {"content": text, "add_special": special, "parse_special": special}
        return list(self._post("/tokenize", body)["tokens"])

    def ids(self, messages: Sequence[Message], /) -> list[int]:
        """The ids that the model reads for these messages."""
        return self.tokenize(self.template(messages))

    def end(self) -> int:
        """The id that ends an answer, as the model's file names it."""
        said = self._twice(lambda process, _: process.get("/props"))
        return self.tokenize(str(said["eos_token"]))[-1]

    def _templated(self) -> bool:
        # llama.cpp falls back to a template of its own without a word; that would be another model than the tuned one
        if self._template is None:
            with self.settings.model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                self._template = data.find(b"tokenizer.chat_template") >= 0
        return self._template

    # answers

    def complete(self, request: Request, /) -> Completion:
        """One answer. Waits for a free slot."""
        body = self._body(request)
        if request.schema is not None:
            self.obeys(request.schema)
        return self._twice(lambda process, alone: self._one(process, request, body, alone))

    def complete_all(self, requests: Sequence[Request]) -> list[Completion]:
        """Many answers, as many at once as there are slots; in order."""
        with ThreadPoolExecutor(self.settings.slots) as pool:
            return list(pool.map(self.complete, requests))

    def stream(self, request: Request) -> Generator[Piece, None, Completion]:
        """The answer piece by piece; its value is the whole. Closing the iterator cancels the answer in the child.

        Where the child dies in the middle, the answer is asked for again and goes on where it was.
        """
        body = self._body(request) | {"stream": True}
        if request.schema is not None:
            self.obeys(request.schema)
        given, deaths = 0, 0
        for _ in range(STARTS):
            process = self.up()
            if not process.enter():
                continue
            pieces = self._pieces(process, request, body, alone=deaths > 0)
            try:
                seen = 0
                while True:
                    try:
                        piece = next(pieces)
                    except StopIteration as end:
                        whole: Completion = end.value
                        return whole
                    seen += 1
                    if seen > given:
                        given = seen
                        yield piece
            except Gone as gone:
                how = process.died()
                deaths += not isinstance(gone, Untouched)
                if deaths == 2 or self._closed or (given and request.temperature > 0):
                    message = f"The embedded engine died in the middle of an answer ({how})."
                    raise EngineDied(message, kills=0 if self._closed else deaths) from gone
            finally:
                pieces.close()
                process.leave()
        raise EngineFailed(UNASKED)

    def obeys(self, schema: Mapping[str, Any]) -> None:
        """Raises SchemaUnmet where llama.cpp can't compile the schema: on its own it says nothing and ignores it.

        A token that begins no JSON is made overwhelmingly likely: where it comes out, no schema was in force.
        """
        key = msgspec.json.encode(schema, order="deterministic").decode()
        if key in self._schemas:
            return
        if not self.compiles(schema):
            raise SchemaUnmet(
                f"The JSON schema can't be held to: {_why(self._process) or 'llama.cpp can not compile it'}.",
                "Make the schema simpler, or ask without one.",
            )
        self._schemas.add(key)

    def compiles(self, schema: Mapping[str, Any]) -> bool:
        """Whether llama.cpp holds an answer to this schema."""
        odd = self.tokenize("z", special=False)[-1]
        body = self._body(Request(prompt_ids=[odd], max_tokens=1, schema=schema)) | {"logit_bias": [[odd, 1e4]]}

        def ask(process: Process, alone: bool) -> dict[str, Any]:
            with process.turn(alone=alone) as slot:
                slot.empty()  # a kept prefix is gone from there
                return process.post("/completion", body | {"id_slot": slot.number}, 2)

        return list(self._twice(ask)["tokens"]) != [odd]

    def _body(self, request: Request) -> dict[str, Any]:
        count = len(self.settings.adapters)
        ids = self.ids(request.messages) if request.prompt_ids is None else list(request.prompt_ids)
        room = limit(request, len(ids), context=self.settings.context, adapters=count)
        body: dict[str, Any] = {
            "prompt": ids,
            "n_predict": room,
            "n_probs": 0 if request.logprobs is None else max(1, request.logprobs),
            "return_tokens": True,
            "cache_prompt": False,
            "lora": [{"id": i, "scale": float(i == request.adapter)} for i in range(count)],
            "stop": list(request.stop),
            "temperature": request.temperature,
            "seed": request.seed,
            "response_fields": FIELDS,
        }
        if request.temperature == 0:
            body |= {"samplers": ["top_k"], "top_k": 1}
        if request.schema is not None:
            body["json_schema"] = dict(request.schema)
        return body

    def _one(self, process: Process, request: Request, body: Mapping[str, Any], alone: bool) -> Completion:
        if request.gone is not None:
            return self._unless_gone(process, request, body, request.gone, alone)
        with process.turn(kept_of(request, body), alone=alone) as slot:
            start = time.perf_counter()
            kept = prime(process, slot, request, body)
            said = process.post("/completion", {**body, **kept}, len(body["prompt"]) + body["n_predict"])
            check_kept(slot, request, said)
            found = self._told(said.get("completion_probabilities", []))
            return completion(said, found, said["tokens"], time.perf_counter() - start)

    def _unless_gone(
        self, process: Process, request: Request, body: Mapping[str, Any], gone: Callable[[], bool], alone: bool
    ) -> Completion:
        """The same, token by token: llama.cpp looks but once a second for the reader of a whole answer."""
        with contextlib.closing(self._pieces(process, request, {**body, "stream": True}, alone, gone)) as pieces:
            while not gone():
                try:
                    next(pieces)
                except StopIteration as end:
                    whole: Completion = end.value
                    return whole
        raise EngineFailed(NOBODY)

    def _pieces(
        self,
        process: Process,
        request: Request,
        body: Mapping[str, Any],
        alone: bool,
        gone: Callable[[], bool] | None = None,
    ) -> Generator[Piece, None, Completion]:
        with process.turn(kept_of(request, body), alone=alone) as slot:
            if gone is not None and gone():  # while it waited for the slot
                raise EngineFailed(NOBODY)
            start = time.perf_counter()
            kept = prime(process, slot, request, body)
            tokens = len(body["prompt"]) + body["n_predict"]
            text, ids, probs = [], [], []
            rows = process.lines("/completion", {**body, **kept}, tokens)
            with contextlib.closing(rows):
                for row in rows:
                    found = self._told(row.get("completion_probabilities", []))
                    text.append(row["content"])
                    ids += row["tokens"]
                    probs += found
                    if row["content"] or row["tokens"]:
                        chosen = tuple(p["logprob"] for p in found)
                        yield Piece(row["content"], tuple(row["tokens"]), chosen)
            check_kept(slot, request, row)
            whole = {**row, "content": "".join(text)}
            return completion(whole, probs, ids, time.perf_counter() - start)

    def _told(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """With speculation llama.cpp's server looks at no probability of what was drafted, and says 1: not known."""
        if self.settings.speculation is None:
            return found
        return [row | {"logprob": math.nan, "top_logprobs": []} if row["logprob"] == 0.0 else row for row in found]


def idle_cores() -> int:
    """Cores that this process may use and nobody uses now, by the load of the last minute; at least one.

    llama.cpp's threads wait for each other hundreds of times a token, spinning: on a busy core that costs more than the
    second thread brings (20 short answers at load 4 on two cores: 15 CPU seconds with one thread, 78 with two; four
    take 2.4 s with one and 10.8 s with two). More threads than a container's share of the machine wait in the same way.
    The answers are the same bits with any number.
    """
    idle = len(os.sched_getaffinity(0)) - round(os.getloadavg()[0])
    return max(1, min(idle, container_cores()))


def container_cores(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The cores that a container may use, by its cgroup ("200000 100000": 2); a very large number without a limit."""
    try:
        limit_, period = path.read_text().split()
        return max(1, int(limit_) // int(period))
    except (OSError, ValueError):  # no such file, or "max 100000"
        return 1 << 16


def _why(process: Process | None) -> str:
    return "" if process is None else process.reason()
