"""From a tuned adapter to a file that is served, each hop proved on the team's own rows.

    base + adapter ─merge→ HF float32 ─write→ GGUF F32 ─quantise→ Q4_K_M | Q8_0 | BF16 ─serve→ answers
                   └── ids, logits within 1e-3, greedy answers ──┘ └── KL, top-1, answers, agreement ──┘
        → artifacts/<sha256>/  kind decoder: model.gguf decoder.json parity.json Modelfile prior.safetensors checks.json

Formats are tried from the smallest on; the first that keeps its budget (budgets.py) is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from freehold.engines.bases import Base
from freehold.nouns import Artifact, Task
from freehold.project import Project
from freehold.tell import Tell, quiet

__all__ = ["shrink"]


def shrink(
    task: Task,
    artifact: Artifact,
    project: Project,
    *,
    formats: Sequence[str] = ("Q4_K_M", "Q8_0", "BF16"),
    form: Literal["merged", "adapter"] = "merged",
    base: Base | None = None,
    agree: Callable[[str, str], bool] | None = None,
    rows: int | None = None,
    whole: bool = False,
    threads: int | None = None,
    speculation: bool = True,
    draft: Path | None = None,
    tell: Tell = quiet,
) -> Artifact:
    """The smallest of `formats` that loses no more than its budget, as an artefact of the kind decoder.

    `form` adapter keeps base and adapter apart, so that tasks share one base file. `agree` is the task's rule (by
    default agree.judge's). At most `rows` held-back rows are compared. `whole` measures every format, also those after
    the one that passes. `speculation` tries whether guessing ahead pays, with the small GGUF model `draft` too.
    What was written before a stop is used again. Raises HopRefused where no format passes, and
    AdapterMismatch, ArtifactDamaged, BaseUnusable, BadSetting, EngineFailed, MissingExtra, StorageFailed,
    StudentUnusable, TooLittleMemory.
    """
    from freehold.agree import judge
    from freehold.engines.gguf.ggml import library
    from freehold.engines.gguf.read import check
    from freehold.shrink.budgets import ROWS
    from freehold.shrink.hops import Hops
    from freehold.shrink.source import Source

    library()  # an absent engine is told before minutes of measuring
    if draft is not None:
        check(draft)
    rule = agree or judge(task).agree
    source = Source.open(artifact, project, base)
    hops = Hops(source, project, form, rule, rows or ROWS, threads, tell)
    found = hops.run(formats, whole)
    made = hops.store(hops.guess(found, draft) if speculation else found)
    project.choose(task.name, made.sha256)
    hops.clear()
    return made
