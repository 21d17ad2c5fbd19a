"""An artefact's folder -> the student in it, whatever kind it is.

label       a stack on sentence embeddings        label.py       onnxruntime
classifier  the team's own ONNX classifier        classifier.py  onnxruntime
extract     a tagger: values copied from the text  extract/     onnxruntime
decoder     a language model in GGUF              decoder.py     the embedded engine, in a process of its own
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freehold.errors import StudentUnusable
from freehold.nouns import Artifact, Student

__all__ = ["closing", "open_student"]

NOT_SERVED = {
    "adapter": "It is an adapter, which is not served as it is; run: freehold shrink",
    "base": "It is a base, which students share.",
}


def open_student(folder: Path, artifact: Artifact) -> Student:
    """The student in an artefact's folder; raises ArtifactDamaged, StudentUnusable, BaseUnusable, MissingExtra."""
    if artifact.kind == "label":
        from freehold.engines.label import open_label

        return open_label(folder, artifact)
    if artifact.kind == "classifier":
        from freehold.engines.classifier import Classifier

        classifier: Student = Classifier.open(folder)
        return classifier
    if artifact.kind == "extract":
        from freehold.engines.extract.student import ExtractStudent

        return ExtractStudent.open(folder)
    if artifact.kind == "decoder":
        from freehold.engines.decoder import DecoderStudent

        return DecoderStudent.open(folder, artifact)
    hint = NOT_SERVED.get(artifact.kind, "Known: label, classifier, extract, decoder.")
    raise StudentUnusable(f"An artefact of kind {artifact.kind!r} is no student.", hint)


@contextmanager
def closing(student: Student) -> Iterator[Student]:
    """Ends the engine that a student may have started, whatever happens in between."""
    try:
        yield student
    finally:
        close = getattr(student, "close", None)
        if close is not None:
            close()
