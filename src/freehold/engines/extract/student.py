"""The extraction student: a text in, a JSON answer whose values are copied from it out, and one score for all of it.

    text ─Reader→ words ─model.onnx→ hidden ─heads→ tags, labels ─Decoder→ most probable answer ─Writer→ JSON
                                                                     └ features ─logistic→ score: P(all of it is right)

    student.json          {"version", "name", "most", "int8", "form": Form, "words": [...], "score": Score}
    student.safetensors   tags.{layer}.w .b [tags, dim], labels.{k}.w .b [values, 2 dim]
    model.onnx  tokenizer.json  prior.safetensors  checks.json

A text's numbers never depend on its neighbours: texts meet in a pass only where they have equally many tokens, and the
int8 graph scales each row by itself; a float graph reads each text alone. Needs numpy, safetensors, tokenizers and
onnxruntime; no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.engines.extract.decode import FEATURES, Decoder, Found
from freehold.engines.extract.form import Form, Writer
from freehold.engines.extract.read import Read, Reader
from freehold.errors import ArtifactDamaged, StudentUnusable
from freehold.nouns import Answer

__all__ = ["FILES", "VERSION", "About", "ExtractStudent", "Score"]

VERSION = 1
BATCH = 32
BATCH_TOKENS = 2048
Floats = npt.NDArray[np.float32]
FILES = ("student.json", "student.safetensors", "model.onnx", "tokenizer.json")


class Score(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A logistic regression on the decoder's features: sigmoid(weights . (features - mean) / scale + bias)."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def of(self, features: npt.NDArray[np.float64]) -> float:
        z = (features - np.array(self.mean)) / np.array(self.scale) @ np.array(self.weights) + self.bias
        return float(1 / (1 + np.exp(-np.clip(z, -30, 30))))


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """student.json. `most`: tokens that the encoder reads; `words`: those of the training texts, in lower case."""

    version: int
    name: str
    most: int
    int8: bool
    form: Form
    words: tuple[str, ...]
    score: Score


class ExtractStudent:
    """Opened with `ExtractStudent.open(folder)`; safe to share between threads."""

    def __init__(self, about: About, heads: dict[str, Floats], model: bytes, tokenizer: bytes) -> None:
        self.about, self.form = about, about.form
        self._reader = Reader(tokenizer, most=about.most, pieces=about.form.pieces)
        self._session = _session(model)
        self._decoder, self._writer = Decoder(about.form), Writer(about.form)
        self._known = frozenset(about.words)
        self._tags = [(heads[f"tags.{k}.w"], heads[f"tags.{k}.b"]) for k in range(about.form.layers)]
        self._labels = [(heads[f"labels.{k}.w"], heads[f"labels.{k}.b"]) for k in range(len(about.form.labels))]
        _check(about, self._tags, self._labels)

    def __repr__(self) -> str:
        form = self.form
        return f"ExtractStudent({self.about.name}, {len(form.spans)} fields copied, {len(form.labels)} chosen)"

    @classmethod
    def open(cls, folder: Path) -> ExtractStudent:
        """Raises ArtifactDamaged."""
        try:
            return cls.read(*((folder / name).read_bytes() for name in FILES))
        except OSError as error:
            raise ArtifactDamaged(f"{error.filename} can't be read: {error.strerror}.", "Tune again.") from error

    @classmethod
    def read(cls, about: bytes, heads: bytes, model: bytes, tokenizer: bytes) -> ExtractStudent:
        """From the bytes of FILES; raises ArtifactDamaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            said = msgspec.json.decode(about, type=About)
            if said.version != VERSION:
                message = f"The student was written by version {said.version}, and this freehold reads {VERSION}."
                raise ArtifactDamaged(message, "Tune again.")
            return cls(said, load(heads), model, tokenizer)
        except (msgspec.DecodeError, SafetensorError, KeyError, UnicodeDecodeError) as error:
            raise ArtifactDamaged(f"The student's files can't be read: {error!r}.", "Tune again.") from error

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        """An answer a text; `able=False` where a text has more tokens than the encoder reads, or no answer
        can be written (`written`): it goes up at any threshold."""
        return [Answer("", 0.0, able=False) if f is None else self._answer(*f) for f in self.look(texts)]

    def look(self, texts: Sequence[str]) -> list[tuple[Read, Found] | None]:
        """What was read and found in each text, before it is written down and scored; None where it is too long."""
        reads = self._reader.read_all(texts)
        found: list[tuple[Read, Found] | None] = [None] * len(reads)
        same: dict[int, list[int]] = {}
        for i, read in enumerate(reads):
            if read is not None:
                same.setdefault(len(read.ids), []).append(i)
        for length, rows in same.items():
            size = max(1, min(BATCH, BATCH_TOKENS // length)) if self.about.int8 else 1
            for at in range(0, len(rows), size):
                some = [(i, r) for i in rows[at : at + size] if (r := reads[i]) is not None]
                for (i, read), hidden in zip(some, self._run([read for _, read in some]), strict=True):
                    found[i] = (read, self.decide(read, hidden))
        return found

    def decide(self, read: Read, hidden: Floats) -> Found:
        """The most probable answer, given the hidden states [tokens, dim]."""
        words = hidden[read.first]
        tags = [_log_softmax(words @ w.T + b) for w, b in self._tags]
        pooled = np.concatenate([hidden[0], hidden.mean(axis=0)])
        labels = [_log_softmax(w @ pooled + b) for w, b in self._labels]
        return self._decoder.best(tags, labels, self.strange(read))

    def strange(self, read: Read) -> float:
        """The share of the words that no training text holds."""
        new = sum(read.text[a:b].lower() not in self._known for a, b in read.places)
        return new / max(1, len(read.places))

    def written(self, read: Read, found: Found) -> str | None:
        """The answer's text; None where it can't be written, and where there is not one word to read."""
        if not read.places:
            return None
        spans = [(f, read.places[a][0], read.places[b - 1][1]) for f, a, b in found.spans]
        return self._writer.write(found.labels, spans, read.text)

    def _answer(self, read: Read, found: Found) -> Answer:
        text = self.written(read, found)
        return Answer("", 0.0, able=False) if text is None else Answer(text, self.about.score.of(found.features))

    def _run(self, reads: Sequence[Read]) -> list[Floats]:
        feeds = {
            "input_ids": np.array([read.ids for read in reads], np.int64),
            "shape_ids": np.array([read.shapes for read in reads], np.int64),
        }
        try:
            hidden = self._session.run(["hidden"], feeds)[0]
        except Exception as error:  # onnxruntime's own classes share no public base
            raise StudentUnusable(f"The student failed on a text: {_line(error)}") from error
        return [np.ascontiguousarray(h) for h in hidden]


def _check(about: About, tags: Sequence[tuple[Floats, Floats]], labels: Sequence[tuple[Floats, Floats]]) -> None:
    """The heads fit the form, and the score the features."""
    form = about.form
    wanted = [1 + 2 * len(form.layer(k)) for k in range(form.layers)] + [len(label.values) for label in form.labels]
    given = [len(b) for _, b in (*tags, *labels)]
    numbers = {len(about.score.mean), len(about.score.scale), len(about.score.weights), len(FEATURES)}
    if wanted != given or len(numbers) != 1:
        raise ArtifactDamaged(f"The student's heads {given} don't fit its form {wanted}.", "Tune again.")


def _session(model: bytes) -> Any:
    import onnxruntime as ort

    ort.disable_telemetry_events()
    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # no faster, and a long text's memory returns
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
        )
    except Exception as error:  # onnxruntime's own classes share no public base
        raise ArtifactDamaged(f"model.onnx of the student can't be loaded: {_line(error)}", "Tune again.") from error


def _log_softmax(x: Floats) -> npt.NDArray[np.float64]:
    x = x.astype(np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(axis=-1, keepdims=True)))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
