"""One training, from the job's folder to its result: see the room's __init__."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import ArtifactDamaged, BaseUnusable, LaunchFailed, TooLittleMemory, TrainingFailed
from freehold.launch.job import Parallel
from freehold.project.stopping import listening
from freehold.project.storage import pretty, write_atomic
from freehold.tell import Tell, quiet
from freehold.train.job import JOB, RESULT, START, STOPPED, Training, read_job
from freehold.train.loop.alone import Alone
from freehold.train.loop.checkpoint import CHECKPOINT, About, Checkpoint, clean, read
from freehold.train.loop.noise import put_random_state, still
from freehold.train.loop.place import Place, open_place
from freehold.train.loop.rows import Rows, open_ids
from freehold.train.model import config_of, fresh, save
from freehold.train.nouns import Trained

__all__ = ["learn"]

TRAINED = "training.json"


def learn(folder: Path, parallel: Parallel, tell: Tell) -> Trained:
    job = read_job(folder)
    if job is None:
        raise ArtifactDamaged(f"{folder} holds no {JOB}.", "Begin with freehold train.")
    if (done := _done(folder)) is not None:
        return done
    _not_again(folder)
    with still(job.plan.seed, job.threads), _memory(job):
        place = open_place(parallel)
        try:
            return _learn(folder, job, place, tell if place.rank == 0 else quiet)
        finally:
            place.close()


def _learn(folder: Path, job: Training, place: Place, tell: Tell) -> Trained:
    if place.rank == 0:
        clean(folder)
    begin = read(folder, job.key) or Checkpoint(About(job.key))
    _agree(begin.about.step, place)
    _say_where(begin.about, job, tell)
    if begin.about.step < job.plan.steps:
        start = _start(folder, job, place)
        try:
            _train(folder, job, place, start, begin, tell)
        except TrainingFailed as error:
            if place.rank == 0:
                write_atomic(folder / STOPPED, pretty({"message": error.message, "hint": error.hint}))
            raise
        gc.collect()  # the trained model and Adam's means hang in circles; the result is laid beside them otherwise
    if place.rank == 0:
        _write(folder, job)
    place.add_up([0.0])  # the others wait until the result is there
    done = _done(folder)
    assert done is not None
    return done


def _train(folder: Path, job: Training, place: Place, start: Path, begin: Checkpoint, tell: Tell) -> None:
    """Step by step; the last one leaves a checkpoint."""
    from freehold.train.loop.trainer import Loop
    from freehold.train.loop.watch import Watch

    corpus, plan = (folder / job.corpus.folder).resolve(), job.plan
    rows = Rows(corpus / "train.npy", rows=plan.rows, context=plan.shape.context, seed=plan.seed)
    with listening() as heard:
        watch = Watch(job, folder, begin.about, open_ids(corpus / "held_out.npy"), heard, tell)
        model = _load(place, start, {"dtype": "float32"})
        watch.trainer = Loop(model, job, place, rows, begin, watch, str(folder))
        if "rng.torch" in begin.tensors and place.shares == 1:
            put_random_state(begin.tensors)
        watch.trainer.train()


def _agree(step: int, place: Place) -> None:
    """All processes begin at one step. Raises LaunchFailed."""
    said, there = place.add_up([float(step), 1.0])
    if said != step * there:
        raise LaunchFailed(
            f"One process finds the checkpoint after step {step:,}, and another a different one.",
            "Let all machines see one folder, and try again: what a network disk shows may be a minute old.",
        )


def _load(place: Place, start: Path, how: dict[str, Any]) -> Any:
    try:
        return place.load(start, how)
    except (OSError, ValueError, KeyError) as error:
        said = " ".join(str(error).split())[:200]
        raise BaseUnusable(f"The model in {start} can't be loaded: {said}", "Give another base.") from error


def _start(folder: Path, job: Training, place: Place) -> Path:
    """The Hugging Face folder that step 0 begins with. The first process draws the weights where there are none."""
    if job.start:
        return (folder / job.start).resolve()
    if place.rank == 0 and not (folder / START / "config.json").is_file():
        config = config_of(job.plan.shape, job.corpus.end)
        save(fresh(config, job.plan.seed), folder / START)
    place.add_up([0.0])  # the others wait
    return folder / START


def _write(folder: Path, job: Training) -> None:
    """The result, from the checkpoint after the last step. training.json says that it is whole."""
    state = read(folder, job.key)
    assert state is not None
    assert state.about.step == job.plan.steps
    start = (folder / job.start).resolve() if job.start else folder / START
    model = Alone().load(start, {"dtype": "float32"})
    for name, parameter in model.named_parameters():
        parameter.data.copy_(state.tensors[f"model.{name}"])
    save(model, folder / RESULT)
    about, tokens = state.about, job.plan.tokens
    trained = Trained(
        steps=about.step,
        tokens=tokens,
        losses=about.losses,
        evals=about.evals,
        seconds=about.seconds,
        cpu_seconds=about.cpu_seconds,
        tokens_per_second=tokens / max(about.seconds, 1e-9),
    )
    write_atomic(folder / RESULT / TRAINED, pretty(trained))


def _done(folder: Path) -> Trained | None:
    path = folder / RESULT / TRAINED
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Trained)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ArtifactDamaged(f"{path} can't be read: {error}.", f"Remove {path}; it is made again.") from error


def _not_again(folder: Path) -> None:
    """A training that ended in a loss that was no number says so again, until its job is changed (write_job)."""
    path = folder / STOPPED
    if path.is_file():
        said = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        raise TrainingFailed(said["message"], said["hint"])


def _say_where(about: About, job: Training, tell: Tell) -> None:
    if not about.step:
        return
    tell(f"go on after step {about.step:,} of {job.plan.steps:,}")
    if about.threads != job.threads:
        tell(f"{job.threads} threads instead of {about.threads}: the last digits of what follows may differ")


@contextmanager
def _memory(job: Training) -> Iterator[None]:
    """What torch and python say where memory ends, as one sentence."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        name, said = type(error).__name__, str(error)
        if not (isinstance(error, MemoryError) or name == "OutOfMemoryError" or "allocate memory" in said):
            raise
        raise TooLittleMemory(
            f"A step of {job.plan.rows} rows of {job.plan.shape.context} ids does not fit in memory.",
            f"Take fewer rows, a smaller model, or more processes; the last checkpoint ({CHECKPOINT}) is kept.",
        ) from error
