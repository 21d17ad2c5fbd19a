"""A training made ready to run elsewhere: one folder with all that the machines there need, and what to do.

    carry("ray", Path("elsewhere"), project=..., corpus=..., plan=..., ...) → [elsewhere/train.py, elsewhere/README.md]
        elsewhere/  corpus/ job/job.json job/start/    the first weights: no machine waits for another's
                    start/                             instead of job/start, where a model is trained on

It is there whole, or not at all. The run at home keeps the same plan: its result is stored by the same command.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from freehold.errors import BadSetting
from freehold.launch.write import Where, write
from freehold.project.storage import guarded
from freehold.train.job import START, write_job
from freehold.train.loop.noise import still
from freehold.train.model import config_of, fresh, save
from freehold.train.nouns import Corpus, Plan

__all__ = ["carry", "empty"]

OURS = "corpus.json"  # names the paths of this machine
WEIGHTS = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.md")


def carry(
    target: str, into: Path, where: Where, *, corpus: Corpus, plan: Plan, start: Path | None, threads: int
) -> list[Path]:
    """Raises BadSetting where `into` holds something, and for what the target can't do; StorageFailed."""
    where.checked()
    into = empty(into)
    with _aside(into) as folder:
        _text(corpus.folder, folder / "corpus")
        begin = _copied(start, folder / START) if start else None
        (folder / "job").mkdir()
        write_job(folder / "job", plan, replace(corpus, folder=folder / "corpus"), start=begin, threads=threads)
        if begin is None:
            with still(plan.seed, threads):
                save(fresh(config_of(plan.shape, corpus.end), plan.seed), folder / "job" / START)
        made = write(target, folder, where)
    return [into / path.name for path in made]


def empty(into: Path) -> Path:
    """Where it is. Raises BadSetting where something is there."""
    into = into.resolve()
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise BadSetting(f"{into} is there already.", "Give --into a folder that is new, or empty.")
    return into


@contextmanager
def _aside(into: Path) -> Iterator[Path]:
    folder = into.with_name(f".{into.name}.tmp")
    with guarded(into):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
            folder.rename(into)  # which is not there, or empty
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _text(of: Path, to: Path) -> None:
    try:
        shutil.copytree(of, to, ignore=shutil.ignore_patterns(OURS))
    except shutil.Error as error:  # a list of what went wrong, in words
        raise OSError(str(error.args[0][0][2])) from error


def _copied(start: Path, to: Path) -> Path:
    to.mkdir()
    for path in sorted({path for kind in WEIGHTS for path in start.glob(kind)}):
        shutil.copyfile(path, to / path.name)
    return to
