"""A language model from scratch, or one that is trained on.

    text, JSONL, Parquet, folders ─corpus→ ids on disk, each part with its licence
        ─dial→ Plan: width, depth, batch, rate, steps, each with its reason     --minutes or --tokens decides
        ─launch→ the loop, here or in N processes                               a killed run goes on, to the last bit
        → artifacts/<sha256>/  kind model: a Hugging Face folder, training.json, corpus.json, README.md

`freehold tune --base PROJECT` starts from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from freehold.launch.write import Where
from freehold.nouns import Artifact
from freehold.project import Project
from freehold.tell import Tell, quiet
from freehold.train.asked import Asked
from freehold.train.nouns import Corpus, Plan

__all__ = ["Asked", "plan", "train", "write"]


def train(
    corpus: Sequence[Path | str], project: Project, asked: Asked | None = None, *, tell: Tell = quiet
) -> Artifact:
    """Train on the text in these files and folders, and store the model.

    What a run before this one finished is returned; what it left half done is taken up where it was.
    Raises CorpusUnusable, LicenceConflict, BadSetting, BaseUnusable, TooLittleMemory, TrainingFailed, LaunchFailed,
    StorageFailed, MissingExtra.
    """
    from freehold.train.make import Run

    return Run.begin(corpus, project, (asked or Asked()).checked(), tell).artifact()


def plan(
    corpus: Sequence[Path | str], project: Project, asked: Asked | None = None, *, tell: Tell = quiet
) -> tuple[Corpus, Plan]:
    """What such a training would do, and why; its text is made ready. Raises what train does before it starts."""
    from freehold.train.make import Run

    run = Run.begin(corpus, project, (asked or Asked()).checked(), tell)
    run.licence()
    return run.corpus, run.plan()


def write(
    corpus: Sequence[Path | str],
    project: Project,
    asked: Asked,
    target: str,
    into: Path,
    where: Where,
    *,
    tell: Tell = quiet,
) -> list[Path]:
    """Make the text and the plan ready in a folder, with the files that run it elsewhere (launch.write.TARGETS); trains
    nothing. Raises what train does before it starts, and BadSetting for what the target can't do."""
    from freehold.train.carry import empty
    from freehold.train.make import Run

    empty(into)  # before the text is read
    return Run.begin(corpus, project, asked.checked(), tell).elsewhere(target, into, where)
