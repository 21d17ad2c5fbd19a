"""An artefact's folder -> the student in it, whatever kind it is.

label       a stack on sentence embeddings        label.py       onnxruntime
classifier  the team's own ONNX classifier        classifier.py  onnxruntime
extract     a tagger: values copied from the text  extract/     onnxruntime
decoder     a language model in GGUF              decoder.py     the embedded engine, in a process of its own
hosted      an open model at a host               hosted.py      HTTP; `hosts` says how each host is reached
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.errors import StudentUnusable
from freehold.nouns import Artifact, Student

if TYPE_CHECKING:
    from freehold.engines.hosted import Reach

__all__ = ["closing", "open_student"]

NOT_SERVED = {
    "adapter": "It is an adapter, which is not served as it is; run: freehold shrink",
    "base": "It is a base, which students share.",
}


def open_student(folder: Path, artifact: Artifact, hosts: Callable[[str], Reach] | None = None) -> Student:
    """The student in an artefact's folder. `hosts` says how a host is reached, by its name in freehold.toml.

    Raises ArtifactDamaged, StudentUnusable, BaseUnusable, MissingExtra; for a hosted one BadSetting, SecretExposed.
    """
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
    if artifact.kind == "hosted":
        from freehold.engines.hosted import HostedStudent

        if hosts is None:
            raise StudentUnusable("A hosted student is asked through a host of freehold.toml, and none is given here.")
        return HostedStudent.open(folder, hosts)
    hint = NOT_SERVED.get(artifact.kind, "Known: label, classifier, extract, decoder, hosted.")
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
