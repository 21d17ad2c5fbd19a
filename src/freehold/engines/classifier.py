"""A team's own text classifier, as ONNX: the label with the most probability, and by how much it leads.

    folder/  model.onnx       input_ids, attention_mask (token_type_ids) [1, length] -> logits [1, labels]
             tokenizer.json
             labels.json      ["label of output 0", ...]   or transformers' config.json {"id2label": {"0": ...}}

The score is the margin between the two largest probabilities. Each text runs alone, so no neighbour can change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from freehold.engines.stack import log_softmax
from freehold.errors import StudentUnusable
from freehold.nouns import Answer

__all__ = ["FILES", "Classifier"]

FILES = ("model.onnx", "tokenizer.json", "labels.json", "config.json")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MOST_TOKENS = 512
MOST_LETTERS = 64 * MOST_TOKENS


class Classifier:
    """Opened with `Classifier.open(folder)`; raises StudentUnusable."""

    def __init__(self, session: Any, tokenizer: Any, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = [i.name for i in session.get_inputs()]

    @classmethod
    def open(cls, folder: Path) -> Classifier:
        import onnxruntime as ort
        from tokenizers import Tokenizer

        for name in FILES[:2]:
            if not (folder / name).is_file():
                raise StudentUnusable(f"{folder} holds no {name}.", f"A student's folder holds {', '.join(FILES[:2])}.")
        labels = _labels(folder)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise StudentUnusable(f"The student in {folder} can't be loaded: {_line(error)}") from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(MOST_TOKENS)
        names = {i.name for i in session.get_inputs()}
        if "input_ids" not in names or names - set(INPUTS):
            raise StudentUnusable(f"model.onnx takes the inputs {sorted(names)}.", f"Known: {', '.join(INPUTS)}.")
        found = cls(session, tokenizer, labels)
        found.answers([""])  # a wrong shape shows here, not in service
        return found

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Answer:
        text = text[:MOST_LETTERS].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        ids = np.array([self._tokenizer.encode(text).ids or [0]], np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        try:
            logits = self._session.run(None, {name: feeds[name] for name in self._inputs})[0]
        except Exception as error:
            raise StudentUnusable(f"The student failed on a text: {_line(error)}") from error
        if logits.shape != (1, len(self.labels)) or not np.isfinite(logits).all():
            shape = list(logits.shape)
            raise StudentUnusable(f"model.onnx gave {shape} numbers for {len(self.labels)} labels, or not finite ones.")
        p = np.exp(log_softmax(logits[0]))
        best = int(p.argmax())
        other = float(np.delete(p, best).max(initial=0.0))
        return Answer(self.labels[best], float(np.clip(p[best] - other, 0.0, 1.0)))


def _labels(folder: Path) -> list[str]:
    """From labels.json, else from config.json's id2label."""
    try:
        if (folder / "labels.json").is_file():
            return msgspec.json.decode((folder / "labels.json").read_bytes(), type=list[str])
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=dict[str, Any])
        names = msgspec.convert(config["id2label"], dict[str, str])
        return [names[str(i)] for i in range(len(names))]
    except (OSError, KeyError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StudentUnusable(
            f"{folder} doesn't name the labels of its outputs ({_line(error)}).",
            'Write labels.json: ["label of output 0", "label of output 1", ...].',
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
