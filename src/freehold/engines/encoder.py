"""Texts -> vectors on onnxruntime, without torch; a text's vector never depends on its neighbours.

    Encoder.bundled("bge-small-en")     shipped with freehold: data/<name>/
    Encoder.open(folder)                a local folder (encoder_files.py): ONNX, or the safetensors of a BERT
    Encoder.open("org/name")            the same, fetched from the Hugging Face hub

    graph: input_ids [batch, length] (attention_mask, token_type_ids: if it asks for them)
           -> [batch, dim] under each pooling's name, or last_hidden_state [batch, length, dim]

Why the answer is the same alone and among others: texts meet in a batch only where they have exactly as many tokens,
so nothing is padded, and the shipped graphs scale each row by itself (bert.py). A graph that does not declare
`row_independent` gets each text alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.engines import encoder_files
from freehold.engines.encoder_files import Parts
from freehold.errors import StudentUnusable

__all__ = ["Encoder", "bundled_names"]

Floats = npt.NDArray[np.float32]
BATCH = 32  # texts in one pass: beyond it onnxruntime gains nothing on a CPU
BATCH_TOKENS = 2048  # and tokens, so that 32 long texts don't take gigabytes for their attention
CHARS_PER_TOKEN = 64  # a text is cut at max_tokens * 64 characters first: ordinary text has 4 to 5 for each token
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def bundled_names() -> list[str]:
    """Names that `Encoder.bundled` takes."""
    return sorted(f.name for f in _data().iterdir() if f.joinpath("encoder.json").is_file())


def _data() -> Any:
    return resources.files("freehold.engines").joinpath("data")


class Encoder:
    """`embed(texts)` -> float32 [n, dim], each row of length 1. Safe to share between threads.

    `threads` is the number of passes run at once over a long list of texts; each pass uses one core, and the result
    does not depend on it. Errors: StudentUnusable.
    """

    def __init__(self, parts: Parts, *, threads: int = 1) -> None:
        settings = parts.settings
        self._parts, self._settings = parts, settings
        self._threads = max(1, threads)
        self.name, self.licence, self.max_tokens = settings.name, settings.licence, settings.max_tokens
        self.poolings = settings.pooling
        self.sha256 = parts.identity()
        self._tokenizer = _tokenizer(parts)
        self._session = _session(parts)
        self._inputs = _inputs(self._session, parts.origin)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._pooled = set(self.poolings) <= set(self._outputs)
        self.dim = int(self.embed([""]).shape[1])
        if settings.dim not in (0, self.dim):
            raise StudentUnusable(
                f"The encoder {self.name} says {settings.dim} dimensions and gives {self.dim}.",
                "Its files don't match.",
            )

    @classmethod
    def bundled(cls, name: str, *, threads: int = 1) -> Encoder:
        """An encoder that ships with freehold."""
        if name not in bundled_names():
            known = ", ".join(bundled_names())
            raise StudentUnusable(f"No encoder {name!r} ships with freehold.", f"Known: {known}; or give a folder.")
        with resources.as_file(_data().joinpath(name)) as folder:
            return cls.open(folder, threads=threads)

    @classmethod
    def open(cls, folder: str | Path, *, threads: int = 1) -> Encoder:
        """An encoder from a local folder, else from the Hugging Face hub if `folder` reads as org/name; the files'
        sha256 are checked where encoder.json states them."""
        path = Path(folder)
        if not path.is_dir():
            if path.exists() or not HUB_NAME.fullmatch(str(folder)):
                raise StudentUnusable(f"There is no encoder folder {folder}.", encoder_files.WANTED)
            from freehold.engines.hf import fetch

            path = fetch(str(folder))
        return cls(encoder_files.read(path), threads=threads)

    def embed(self, texts: Sequence[str], *, pooling: str | None = None) -> Floats:
        """float32 [len(texts), dim], in the order given, with the encoder's default pooling unless another is named."""
        chosen = self.poolings[0] if pooling is None else pooling
        if chosen not in self.poolings:
            raise StudentUnusable(f"The encoder {self.name} has no pooling {chosen!r}.", f"Known: {self.poolings}.")
        return self.embed_all(texts, (chosen,))[chosen]

    def embed_all(self, texts: Sequence[str], poolings: Iterable[str] | None = None) -> dict[str, Floats]:
        """Several poolings out of the same pass: {"cls": [n, dim], "mean": [n, dim]}."""
        wanted = tuple(self.poolings if poolings is None else poolings)
        ids = self.tokens(texts)
        batches = _batches([len(i) for i in ids], BATCH if self._settings.row_independent else 1)

        def run(rows: list[int]) -> list[Floats]:
            return self._run(np.array([ids[r] for r in rows], np.int64), wanted)

        parts: dict[str, Floats] = {}
        for rows, outputs in zip(batches, _map(run, batches, self._threads), strict=True):
            for name, values in zip(wanted, outputs, strict=True):
                parts.setdefault(name, np.empty((len(ids), values.shape[1]), np.float32))[rows] = values
        return parts or {name: np.zeros((0, self.dim), np.float32) for name in wanted}

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The token numbers that the graph reads, at most `max_tokens` a text."""
        return [self._ids(text) for text in texts]

    def files(self) -> dict[str, bytes]:
        """The encoder as files that `Encoder.open` reads back, for a student that carries it along."""
        settings = msgspec.structs.replace(self._settings, sha256=self._parts.digests(), dim=self.dim)
        about = msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n"
        return {"model.onnx": self._parts.model, "tokenizer.json": self._parts.tokenizer, "encoder.json": about}

    def __repr__(self) -> str:
        return f"Encoder({self.name}, dim={self.dim}, {self.sha256[:12]})"

    def _ids(self, text: str) -> list[int]:
        text = self._settings.prefix + text[: CHARS_PER_TOKEN * self.max_tokens]
        if not text.isascii():  # half of a surrogate pair is no character: the tokeniser would refuse the text
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return list(self._tokenizer.encode(text).ids) or [0]

    def _run(self, ids: npt.NDArray[np.int64], poolings: tuple[str, ...]) -> list[Floats]:
        feeds = {"input_ids": ids}
        if "attention_mask" in self._inputs:
            feeds["attention_mask"] = np.ones_like(ids)
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = np.zeros_like(ids)
        names = list(poolings) if self._pooled else self._outputs[:1]
        try:
            outputs = self._session.run(names, feeds)
        except Exception as error:  # onnxruntime's own classes share no public base
            raise StudentUnusable(f"The encoder {self.name} failed on a text: {_line(error)}") from error
        rows = outputs if self._pooled else [_pool(outputs[0], pooling) for pooling in poolings]
        return [_unit(row, self.name) for row in rows]


def _tokenizer(parts: Parts) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(parts.tokenizer.decode("utf-8"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(parts.settings.max_tokens)
    except Exception as error:  # tokenizers raises no class of its own
        raise StudentUnusable(
            f"tokenizer.json of the encoder in {parts.origin} can't be used: {_line(error)}"
        ) from error
    return tokenizer


def _session(parts: Parts) -> Any:
    import onnxruntime as ort

    ort.disable_telemetry_events()
    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = options.enable_mem_pattern = (
        False  # no faster here, and a long text's memory returns
    )
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # for a foreign int8 graph on a CPU without VNNI: exact products, not faster ones that saturate (bert.py's never do)
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        # onnxruntime's own LayerNormalization is several times as fast as the fused form it would put in its place
        return ort.InferenceSession(
            parts.model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
        )
    except Exception as error:  # onnxruntime's own classes share no public base
        raise StudentUnusable(
            f"model.onnx of the encoder in {parts.origin} can't be loaded: {_line(error)}",
            "It must be one ONNX file that carries its weights.",
        ) from error


def _inputs(session: Any, origin: str) -> set[str]:
    names = {i.name for i in session.get_inputs()}
    if "input_ids" not in names or names - {"input_ids", "attention_mask", "token_type_ids"}:
        raise StudentUnusable(
            f"The encoder in {origin} takes the inputs {sorted(names)}.",
            "Known: input_ids, attention_mask, token_type_ids.",
        )
    return names


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Rows grouped by exact token count, at most `most` and about BATCH_TOKENS tokens together; longest first, so that
    a pool of threads does not end on the largest one."""
    same: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        same.setdefault(length, []).append(row)
    batches = []
    for length in sorted(same, reverse=True):
        size = max(1, min(most, BATCH_TOKENS // length))
        batches += [same[length][k : k + size] for k in range(0, len(same[length]), size)]
    return batches


def _map(run: Callable[[list[int]], list[Floats]], batches: list[list[int]], threads: int) -> Iterable[list[Floats]]:
    if threads == 1 or len(batches) < 2:
        return map(run, batches)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, batches))


def _pool(hidden: Floats, pooling: str) -> Floats:
    """[batch, length, dim] -> [batch, dim]; a graph that gives [batch, dim] has pooled already."""
    if hidden.ndim == 2:
        return hidden
    return hidden[:, 0] if pooling == "cls" else hidden.mean(axis=1)


def _unit(rows: Floats, name: str) -> Floats:
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    if not np.isfinite(length).all() or not length.all():
        raise StudentUnusable(f"The encoder {name} gave a vector without a length (zeros, infinite or not a number).")
    return np.asarray(rows / length[:, None], np.float32)
