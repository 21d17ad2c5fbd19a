"""Two or more models as one: adapters of one base, or whole models of one shape.

    [name:weight, ...] ─given→ parts ─methods→ how, with its reason      licences ─facts.union→ refused, or the duties
        adapters  PEFT's arithmetic on what each adds to the base        → artifacts/<sha256>/  kind adapter
        models    mergekit, in a process of its own                      → artifacts/<sha256>/  kind model

A merged adapter answers one task, and is shrunk and proved like any other; seen.py sees to it that none of its parts
has learned from a call that certifies that task. A merged model is a base: `freehold tune --base PROJECT`.
"""

from __future__ import annotations

from collections.abc import Sequence

from freehold.merge.nouns import Asked
from freehold.nouns import Artifact
from freehold.project import Project
from freehold.tell import Tell, quiet

__all__ = ["Asked", "merge"]


def merge(models: Sequence[str], project: Project, asked: Asked | None = None, *, tell: Tell = quiet) -> Artifact:
    """Merge what is named: NAME or NAME:WEIGHT, each a task or an artefact of the project, a Hugging Face folder, a
    GGUF, or another project with a model.

    The same question again returns the same artefact; nothing that was there is changed. A merged adapter becomes its
    task's chosen student, for `freehold shrink` to take it.
    Raises BadSetting, AdapterMismatch, BaseUnusable, StudentUnusable, LicenceConflict, ArtifactDamaged, ProjectMissing,
    TooLittleMemory, StorageFailed, LaunchFailed, MissingExtra.
    """
    from freehold.merge.adapters import merge_adapters
    from freehold.merge.given import find
    from freehold.merge.methods import choose
    from freehold.merge.whole import merge_models

    asked = (asked or Asked()).checked()
    parts = find(models, project)
    how = choose(parts, asked)
    for reason in how.why:
        tell(reason)
    if all(part.base is None for part in parts):
        return merge_adapters(parts, how, asked, project, tell)
    return merge_models(parts, how, asked, project, tell)
