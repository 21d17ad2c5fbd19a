"""llama.cpp by its C face, in a child process: logits at every position, greedy tokens, token ids.

    with Forced.start(model, adapter=None, kv="f32", flash=False) as engine:
        engine.ids("<|im_start|>user\\n...")         [1, 4093, ...]       special tokens read as such
        engine.logits([1, 4093, ...], first=0)       float32 [n - first, vocabulary]
        engine.greedy([1, 4093, ...], most=64)       the tokens that follow, the end token included

    parent ─one JSON line─→ child (python -m freehold.engines.llama.forced)  {"do": "logits", "ids": [...], "first": 0}
           ←one JSON line, then raw float32──                             {"rows": 12, "columns": 49152}

The server inside xllamacpp gives probabilities only for what it samples; the gate needs them at every position of a
given text. This is a second way into the same library, so it also checks the server's. A crash of the library ends the
child, and is told as EngineFailed. The structures of llama.h that are passed by value grow from release to release:
their fields are found by their defaults, and a library where they can't be found is refused, not guessed at.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from freehold.errors import EngineFailed

__all__ = ["Forced"]

Floats = npt.NDArray[np.float32]
ROOM = 1024  # bytes for a structure passed by value; the library reads as much of it as it knows
F32, F16 = 0, 1  # ggml's numbers
NEED = "pip install xllamacpp==2026.10.11549"


class Forced:
    """The parent's side."""

    def __init__(self, process: subprocess.Popen[bytes], model: Path) -> None:
        self.process = process
        self.model = model

    def __repr__(self) -> str:
        return f"Forced({self.model.name})"

    @classmethod
    def start(
        cls,
        model: Path,
        *,
        adapter: Path | None = None,
        kv: Literal["f16", "f32"] = "f16",
        flash: bool | None = None,
        context: int = 2048,
        threads: int | None = None,
    ) -> Forced:
        """Load the model in a child. `flash` None: as the library chooses. Raises EngineFailed, MissingExtra."""
        from freehold.engines.gguf.ggml import library
        from freehold.engines.llama.engine import idle_cores

        library()  # an absent package is told here, not by the child
        command = [
            sys.executable,
            "-P",
            "-m",
            "freehold.engines.llama.forced",
        ]  # -P: nothing is imported from where we stand
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        engine = cls(process, model)
        said = {"model": str(model), "adapter": str(adapter) if adapter else None, "kv": kv, "flash": flash}
        try:
            engine._ask({**said, "context": context, "threads": threads or idle_cores()})
        except EngineFailed:
            engine.close()
            raise
        return engine

    def ids(self, text: str) -> list[int]:
        """The token ids of a text, special tokens read as such, nothing added in front."""
        return [int(i) for i in self._ask({"do": "ids", "text": text})["ids"]]

    def logits(self, ids: Sequence[int], first: int = 0) -> Floats:
        """The logits after each position from `first` on: float32 [len(ids) - first, vocabulary]."""
        said = self._ask({"do": "logits", "ids": list(ids), "first": first})
        rows, columns = int(said["rows"]), int(said["columns"])
        assert self.process.stdout is not None
        data = self.process.stdout.read(4 * rows * columns)
        if len(data) != 4 * rows * columns:
            raise self._died()
        return np.frombuffer(data, np.float32).reshape(rows, columns)

    def greedy(self, ids: Sequence[int], most: int) -> list[int]:
        """The likeliest token, again and again, until an end token (included) or `most` tokens."""
        return [int(i) for i in self._ask({"do": "greedy", "ids": list(ids), "most": most})["ids"]]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what was not yet sent to a child that is gone
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        line = self.process.stdout.readline()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineFailed(answer["error"], answer.get("hint", ""))
        return answer

    def _died(self) -> EngineFailed:
        code = self.process.wait()
        return EngineFailed(f"llama.cpp ended with {code} on {self.model.name}.", "Check the file and the memory.")


# the child's side


class _Opaque(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_char * ROOM)]


class _Batch(ctypes.Structure):
    """llama_batch in llama.h."""

    _fields_ = [
        ("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]  # fmt: skip


class _Refused(Exception):
    """What the child tells its parent."""


SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "llama_model_default_params": (_Opaque, []),
    "llama_context_default_params": (_Opaque, []),
    "llama_model_load_from_file": (ctypes.c_void_p, [ctypes.c_char_p, _Opaque]),
    "llama_init_from_model": (ctypes.c_void_p, [ctypes.c_void_p, _Opaque]),
    "llama_model_get_vocab": (ctypes.c_void_p, [ctypes.c_void_p]),
    "llama_vocab_n_tokens": (ctypes.c_int32, [ctypes.c_void_p]),
    "llama_vocab_is_eog": (ctypes.c_bool, [ctypes.c_void_p, ctypes.c_int32]),
    "llama_adapter_lora_init": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]),
    "llama_set_adapters_lora": (
        ctypes.c_int32,
        [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.POINTER(ctypes.c_float)],
    ),
    "llama_get_memory": (ctypes.c_void_p, [ctypes.c_void_p]),
    "llama_memory_seq_rm": (ctypes.c_bool, [ctypes.c_void_p, *[ctypes.c_int32] * 3]),
    "llama_decode": (ctypes.c_int32, [ctypes.c_void_p, _Batch]),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), [ctypes.c_void_p, ctypes.c_int32]),
    "llama_tokenize": (
        ctypes.c_int32,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32,
         ctypes.c_bool, ctypes.c_bool],
    ),
}  # fmt: skip
FINGERPRINT = struct.pack("<4i2f4f", -1, -1, -1, -1, 0, 0, -1, -1, -1, -1)
"""In llama_context_params: rope scaling, pooling, attention and flash attention unset, rope's base and scale from the
model, four yarn factors from the model."""


def _offsets(raw: bytes) -> dict[str, int]:
    """Where the fields of llama_context_params are, by their defaults (llama-context.cpp)."""
    at = raw.find(FINGERPRINT)
    threads = raw.find(struct.pack("<2i", 4, 4), 16, max(at, 0))
    types = raw.find(struct.pack("<2i", F16, F16), at + len(FINGERPRINT), at + len(FINGERPRINT) + 40)
    if struct.unpack_from("<4i", raw) != (512, 2048, 512, 1) or min(at, threads, types) < 0:
        raise _Refused("This build of xllamacpp has other context settings than the known ones.")
    return {"context": 0, "batch": 4, "ubatch": 8, "threads": threads, "flash": at + 12, "kv": types}


class _Child:
    def __init__(self, said: dict[str, Any]) -> None:
        from freehold.engines.gguf.ggml import library

        self.lib = library()
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(self.lib, name, None)
            if function is None:
                raise _Refused(f"This build of xllamacpp has no {name}.")
            function.restype, function.argtypes = result, arguments
        self.lib.llama_backend_init()
        self.model = self.lib.llama_model_load_from_file(said["model"].encode(), self.lib.llama_model_default_params())
        if not self.model:
            raise _Refused(f"llama.cpp does not load {Path(said['model']).name}.")
        self.vocabulary = self.lib.llama_model_get_vocab(self.model)
        self.size = self.lib.llama_vocab_n_tokens(self.vocabulary)
        self.length = int(said["context"])
        self.context = self.lib.llama_init_from_model(self.model, self._settings(said))
        if not self.context:
            raise _Refused(f"llama.cpp makes no context of {self.length} tokens for {Path(said['model']).name}.")
        self.held: list[int] = []
        if said["adapter"]:
            self._adapt(said["adapter"])

    def _settings(self, said: dict[str, Any]) -> _Opaque:
        settings = self.lib.llama_context_default_params()
        raw = bytearray(ctypes.string_at(ctypes.addressof(settings), ROOM))
        at = _offsets(bytes(raw))
        kv = F32 if said["kv"] == "f32" else F16
        flash = -1 if said["flash"] is None else int(said["flash"])
        for name, value in (("context", self.length), ("batch", self.length), ("flash", flash)):
            struct.pack_into("<i", raw, at[name], value)
        struct.pack_into("<2i", raw, at["threads"], said["threads"], said["threads"])
        struct.pack_into("<2i", raw, at["kv"], kv, kv)
        return _Opaque.from_buffer(raw)

    def _adapt(self, path: str) -> None:
        adapter = self.lib.llama_adapter_lora_init(self.model, path.encode())
        if not adapter:
            raise _Refused(f"llama.cpp does not load the adapter {Path(path).name} onto this base.")
        self.lib.llama_set_adapters_lora(self.context, (ctypes.c_void_p * 1)(adapter), 1, (ctypes.c_float * 1)(1.0))

    def read(self, ids: Sequence[int], wanted: int) -> None:
        """Have the model read `ids`; the logits of the last `wanted` are kept. What was read before and stands here too
        is not read again."""
        most = len(ids) - wanted
        same = next((i for i, (a, b) in enumerate(zip(ids, self.held, strict=False)) if a != b), len(self.held))
        start = min(same, most)
        if not self.lib.llama_memory_seq_rm(self.lib.llama_get_memory(self.context), 0, start, -1):
            raise _Refused("llama.cpp can't take tokens back from this model.")
        self.held = list(ids[:start])
        self.decode(ids[start:], wanted)

    def decode(self, ids: Sequence[int], wanted: int) -> None:
        """Feed `ids` behind what is held."""
        start, n = len(self.held), len(ids)
        if start + n > self.length:
            raise _Refused(f"A text of {start + n} tokens is longer than the context of {self.length}.")
        self.held += ids
        one = (ctypes.c_int32 * 1)(0)
        seq = (ctypes.POINTER(ctypes.c_int32) * n)(*[ctypes.cast(one, ctypes.POINTER(ctypes.c_int32))] * n)
        keep = [i >= n - wanted for i in range(n)]
        batch = _Batch(
            n, (ctypes.c_int32 * n)(*ids), None, (ctypes.c_int32 * n)(*range(start, start + n)),
            (ctypes.c_int32 * n)(*[1] * n), seq, (ctypes.c_int8 * n)(*keep),
        )  # fmt: skip
        code = self.lib.llama_decode(self.context, batch)
        if code != 0:
            raise _Refused(f"llama.cpp's decode ended with {code} on a text of {n} tokens.")

    def row(self, at: int) -> Floats:
        return np.ctypeslib.as_array(self.lib.llama_get_logits_ith(self.context, at), (self.size,))

    def ids(self, text: str) -> list[int]:
        data = text.encode()
        room = (ctypes.c_int32 * (len(data) + 8))()
        n = self.lib.llama_tokenize(self.vocabulary, data, len(data), room, len(room), False, True)
        if n < 0:
            raise _Refused("llama.cpp does not tokenise this text.")
        return list(room[:n])

    def greedy(self, ids: Sequence[int], most: int) -> list[int]:
        found: list[int] = []
        self.read(ids, 1)
        while len(found) < most:
            found.append(int(self.row(-1).argmax()))
            if self.lib.llama_vocab_is_eog(self.vocabulary, found[-1]) or len(found) == most:
                break
            self.decode(found[-1:], 1)
        return found


def _serve() -> None:
    """Answer questions until stdin ends. What the library prints must not get between the answers."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    child: _Child | None = None
    for line in sys.stdin:
        said = json.loads(line)
        rows = range(0)
        try:
            if child is None:
                child = _Child(said)
                answer: dict[str, Any] = {"columns": child.size}
            elif said["do"] == "ids":
                answer = {"ids": child.ids(said["text"])}
            elif said["do"] == "greedy":
                answer = {"ids": child.greedy(said["ids"], said["most"])}
            else:
                wanted = len(said["ids"]) - said["first"]
                child.read(said["ids"], wanted)
                answer = {"rows": wanted, "columns": child.size}
                rows = range(-wanted, 0)
        except _Refused as error:
            answer = {"error": str(error), "hint": NEED if "build" in str(error) else ""}
        out.write(json.dumps(answer).encode() + b"\n")
        for i in rows:
            assert child is not None
            out.write(child.row(i).tobytes())
        out.flush()


if __name__ == "__main__":
    _serve()
