"""Label students: a text in, one of a set of labels and a score out.

    open_label(folder, artifact) → LabelStudent   the stack (stack.py) on an encoder (encoder.py)

    student.json         {"version", "labels", "encoders": [{"name", "sha256"}], "words", "letters", near_heat, bias}
    student.safetensors  linear.0.w .b, network.0.u .a .v .c, table, idf, shelf, starts (stack.Members); heats, first,
                         second, about, mean, scale, weights (stack.Stack)
                         tuned.w .b: the head of a fine-tuned encoder, which the artefact carries as tuned-*
    checks.json          [{"text", "label", "score"}]    64 of the fit's texts, scored again at each start

Serving needs numpy, safetensors and onnxruntime alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.engines.stack import Members, Stack
from freehold.engines.words import Words
from freehold.errors import ArtifactDamaged, StudentUnusable
from freehold.nouns import Answer, Artifact, Student
from freehold.tell import Tell, quiet

__all__ = [
    "TOLERANCE",
    "TUNED",
    "LabelStudent",
    "check",
    "encode",
    "encode_checks",
    "encode_prior",
    "open_label",
    "read_checks",
]

TOLERANCE = 1e-3  # of a score between two machines; rounding gives about 1e-6
TUNED = "tuned-"  # before the names of a fine-tuned encoder's files
VERSION = 1
BLOCK = 512
Floats = npt.NDArray[np.float32]
STACK = ("heats", "first", "second", "about", "mean", "scale", "weights")


class Encodes(Protocol):
    name: str
    sha256: str

    def embed(self, texts: Sequence[str], /) -> Floats: ...


def encode(encoder: Encodes, texts: Sequence[str], tell: Tell = quiet) -> Floats:
    """The vectors of many texts, [n, dim]."""
    parts = []
    for start in range(0, len(texts), BLOCK):
        tell(f"encode with {encoder.name}", start / len(texts))
        parts.append(encoder.embed(texts[start : start + BLOCK]))
    tell(f"encode with {encoder.name}", 1.0)
    return np.concatenate(parts) if parts else encoder.embed([])


class LabelStudent:
    """The stack. Same text, same label and score to the last bit, alone or in a batch."""

    def __init__(self, labels: Sequence[str], members: Members, stack: Stack, encoders: Sequence[Encodes] = ()) -> None:
        self.labels = tuple(labels)
        self.members = members
        self.stack = stack
        self.encoders = tuple(encoders)

    def __repr__(self) -> str:
        return f"LabelStudent({len(self.labels)} labels, {', '.join(e.name for e in self.encoders)})"

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        if len(self.encoders) != self.members.encoders:
            raise StudentUnusable("This student was opened without its encoder.", "Give the vectors to score().")
        return self.score(texts, [encoder.embed(texts) for encoder in self.encoders])

    def score(self, texts: Sequence[str], vectors: Sequence[Floats]) -> list[Answer]:
        """Answers to texts whose vectors are known: one [n, dim] per encoder."""
        found = [
            self.stack.answer(self.members, text, [np.ascontiguousarray(v[i]) for v in vectors])
            for i, text in enumerate(texts)
        ]
        return [Answer(self.labels[label], score) for label, score in found]

    def files(self) -> dict[str, bytes]:
        """student.safetensors and student.json. What was rounded to half precision in the fit is stored so."""
        from safetensors.numpy import save

        m, s = self.members, self.stack
        arrays: dict[str, Any] = {"idf": m.words.idf, "starts": m.starts}
        arrays |= {"table": m.table.astype(np.float16), "shelf": m.shelf.astype(np.float16)}
        arrays |= {name: getattr(s, name) for name in STACK}
        for i, (linear, network) in enumerate(zip(m.linear, m.network, strict=True)):
            arrays |= {f"linear.{i}.{n}": a for n, a in zip("wb", linear, strict=True)}
            arrays |= {f"network.{i}.{n}": a for n, a in zip("uavc", network, strict=True)}
        if m.tuned is not None:
            arrays |= {f"tuned.{n}": a for n, a in zip("wb", m.tuned, strict=True)}
        about = {
            "version": VERSION,
            "labels": self.labels,
            "encoders": [{"name": e.name, "sha256": e.sha256} for e in self.encoders],
            "words": m.words.terms[0],
            "letters": m.words.terms[1],
            "near_heat": s.near_heat,
            "bias": s.bias,
        }
        whole = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
        return {"student.safetensors": save(whole), "student.json": msgspec.json.encode(about)}

    @classmethod
    def read(cls, about: bytes, arrays: bytes, encoders: Sequence[Encodes] = ()) -> LabelStudent:
        """From the bytes of student.json and student.safetensors; raises ArtifactDamaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            said: dict[str, Any] = msgspec.json.decode(about, type=dict[str, Any])
            if said["version"] != VERSION:
                message = f"The student was written by version {said['version']}, and this freehold reads {VERSION}."
                raise ArtifactDamaged(message, "Tune again.")
            return cls(said["labels"], *_parts(said, load(arrays)), encoders)
        except (msgspec.DecodeError, SafetensorError, KeyError) as error:
            raise ArtifactDamaged(f"The student's files can't be read: {error!r}.", "Tune again.") from error


def _parts(said: Mapping[str, Any], a: Mapping[str, Any]) -> tuple[Members, Stack]:
    count = len([name for name in a if name.startswith("linear.") and name.endswith(".w")])
    members = Members(
        linear=tuple((a[f"linear.{i}.w"], a[f"linear.{i}.b"]) for i in range(count)),
        network=tuple(
            (a[f"network.{i}.u"], a[f"network.{i}.a"], a[f"network.{i}.v"], a[f"network.{i}.c"]) for i in range(count)
        ),
        words=Words((said["words"], said["letters"]), a["idf"]),
        table=a["table"].astype(np.float32),
        shelf=a["shelf"].astype(np.float32),
        starts=a["starts"],
        tuned=(a["tuned.w"], a["tuned.b"]) if "tuned.w" in a else None,
    )
    arrays = {name: a[name] for name in STACK}
    return members, Stack(near_heat=said["near_heat"], bias=said["bias"], **arrays)


def open_label(folder: Path, artifact: Artifact) -> LabelStudent:
    """The stack in an artefact's folder; raises ArtifactDamaged or StudentUnusable."""
    about, arrays = _bytes(folder / "student.json"), _bytes(folder / "student.safetensors")
    return LabelStudent.read(about, arrays, _encoders(folder, artifact))


def _encoders(folder: Path, artifact: Artifact) -> list[Encodes]:
    """Those of the recipe: from the artefact where it carries one, else the bundled one with the same sha256."""
    from freehold.engines.encoder import Encoder, bundled_names
    from freehold.engines.encoder_files import read_carried

    carried = Encoder.open(folder) if "encoder.json" in artifact.files else None
    found: list[Encodes] = []
    for said in artifact.recipe["encoders"]:
        here = carried is not None and (carried.sha256 == said["sha256"] or said["name"] not in bundled_names())
        encoder = carried if carried is not None and here else Encoder.bundled(said["name"])
        if encoder.sha256 != said["sha256"]:
            raise StudentUnusable(
                f"The student was fitted on another build of the encoder {said['name']} than the one here.",
                "Tune again.",
            )
        found.append(encoder)
    if f"{TUNED}encoder.json" in artifact.files:
        found.append(Encoder(read_carried(folder, TUNED)))
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactDamaged(f"{path} can't be read: {error.strerror}.", "Tune again.") from error


def encode_checks(texts: Sequence[str], answers: Sequence[Answer]) -> bytes:
    """checks.json."""
    said = [{"text": t, "label": a.text, "score": a.score} for t, a in zip(texts, answers, strict=True)]
    return msgspec.json.encode(said)


def encode_prior(scores: npt.NDArray[np.float64], ok: npt.NDArray[np.bool_]) -> bytes:
    """prior.safetensors: `score` float64 and `ok` uint8 of the fit's rows, for planning the proof."""
    from safetensors.numpy import save

    return save({"score": scores.astype(np.float64), "ok": ok.astype(np.uint8)})


def read_checks(folder: Path) -> list[dict[str, Any]]:
    """checks.json of an artefact: rows of text, label and score."""
    rows: list[dict[str, Any]] = msgspec.json.decode(_bytes(folder / "checks.json"), type=list[dict[str, Any]])
    return rows


def check(student: Student, checks: Sequence[Mapping[str, Any]]) -> float:
    """The worst difference from the scores written at the fit; 1.0 where a label differs, or a score is no number.

    Beyond TOLERANCE this machine gives other answers than the one that was certified.
    """
    answers = student.answers([row["text"] for row in checks])
    gaps = (abs(a.score - r["score"]) if a.text == r["label"] else 1.0 for a, r in zip(answers, checks, strict=True))
    return max((1.0 if np.isnan(gap) else gap for gap in gaps), default=0.0)  # max() drops a NaN that is not first
