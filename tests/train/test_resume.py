"""A training that is killed, or runs out of numbers, memory or disk: nothing is lost, and it ends in the same bits."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.signals import as_usual
from tests.train.small import Killed, corpus, job, killing, plan, sha256

from freehold.errors import ArtifactDamaged, StorageFailed, TooLittleMemory, TrainingFailed
from freehold.train.job import STOPPED, read_job, write_job
from freehold.train.loop import run
from freehold.train.loop.checkpoint import CHECKPOINT, About, Checkpoint, read, write
from freehold.train.nouns import Trained

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
STEPS = 12


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Trained, str]]:
    """Dense and with experts, never killed: the losses, the weights' sha256."""
    folder = tmp_path_factory.mktemp("whole")
    found = {}
    for moe in (False, True):
        done = run(job(folder / str(moe), plan(STEPS, moe=moe)))
        found[moe] = done, sha256(folder / str(moe))
    return found


@pytest.fixture
def usual() -> Iterator[None]:
    with as_usual():
        yield


def kept(folder: Path) -> int:
    """After which step the checkpoint is."""
    said = read_job(folder)
    assert said is not None
    state = read(folder, said.key)
    return state.about.step if state else 0


def forked(do: Callable[[], Any]) -> int:
    """A process of its own that does this, and says 7 if that ended in an error."""
    if pid := os.fork():
        return pid
    try:
        do()
        os._exit(0)
    finally:
        os._exit(7)


# killed


@pytest.mark.parametrize("moe", [False, True], ids=["dense", "moe"])
def test_killed_at_any_step_it_ends_with_the_same_bits(
    tmp_path: Path, whole: dict[bool, tuple[Trained, str]], moe: bool
) -> None:
    folder = job(tmp_path / "job", plan(STEPS, moe=moe), every=0.0)
    for step in sorted(np.random.default_rng().choice(np.arange(1, STEPS), 2, replace=False)):
        with pytest.raises(Killed):
            run(folder, tell=killing(int(step), STEPS))
        assert kept(folder) == step - 1
    done, expected = run(folder), whole[moe][0]
    assert sha256(folder) == whole[moe][1]
    assert (done.losses, done.evals) == (expected.losses, expected.evals)
    assert done.seconds > 0 < done.cpu_seconds


def test_killed_with_9_while_it_writes_and_learns(tmp_path: Path, whole: dict[bool, tuple[Trained, str]]) -> None:
    folder = job(tmp_path / "job", plan(STEPS), every=0.0)

    def slow(what: str, done: float | None = None, /) -> None:
        time.sleep(0.03)  # else it is done before anybody can kill it

    pid = forked(lambda: run(folder, tell=slow))
    until = time.monotonic() + 60
    while not kept(folder) and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, "it was still running"
    assert 0 < kept(folder) < STEPS
    run(folder)
    assert sha256(folder) == whole[False][1]


def test_what_a_killed_one_left_half_written_goes(tmp_path: Path) -> None:
    folder = job(tmp_path / "job", plan(1))
    (folder / f".{CHECKPOINT}.4711.tmp").write_bytes(b"half")
    (folder / ".start.tmp").mkdir()
    run(folder)
    assert not list(folder.glob(".*"))


@pytest.mark.usefixtures("usual")
def test_a_signal_at_the_very_end_is_not_lost(tmp_path: Path, whole: dict[bool, tuple[Trained, str]]) -> None:
    folder = job(tmp_path / "job", plan(STEPS))

    def stop(what: str, done: float | None = None, /) -> None:
        if done == 1.0:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(folder, tell=stop)
    assert kept(folder) == STEPS
    run(folder)
    assert sha256(folder) == whole[False][1]


def sending(*numbers: int) -> Callable[..., None]:
    """A tell that sends these to its own process after step 5, when what comes after it was agreed on."""

    def tell(what: str, done: float | None = None, /) -> None:
        if done is not None and round(done * STEPS) == 5:
            for number in numbers:
                os.kill(os.getpid(), number)

    return tell


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_asked_to_stop_it_keeps_all_that_was_learned(
    tmp_path: Path, whole: dict[bool, tuple[Trained, str]], number: signal.Signals
) -> None:
    """Long before a checkpoint was due; then the signal does what it always does."""
    folder = job(tmp_path / "job", plan(STEPS), every=1e6)
    if number == signal.SIGINT:
        with pytest.raises(KeyboardInterrupt):
            run(folder, tell=sending(number))
    else:
        pid = forked(lambda: run(folder, tell=sending(number)))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number
    assert kept(folder) == 6
    run(folder)
    assert sha256(folder) == whole[False][1]


@pytest.mark.usefixtures("usual")
def test_the_second_one_is_not_waited_for(tmp_path: Path) -> None:
    folder = job(tmp_path / "job", plan(STEPS), every=1e6)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tell=sending(signal.SIGTERM, signal.SIGINT))
    assert kept(folder) == 0
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with pytest.raises(SystemExit, match="143"):
        run(folder, tell=sending(signal.SIGTERM, signal.SIGTERM))
    assert kept(folder) == 0


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_left_behind_by_a_terminal_it_goes_on(
    tmp_path: Path, whole: dict[bool, tuple[Trained, str]], number: signal.Signals
) -> None:
    """As nohup and & leave it; and it can still be ended."""
    signal.signal(number, signal.SIG_IGN)
    folder = job(tmp_path / "job", plan(STEPS), every=1e6)
    run(folder, tell=sending(number))
    assert sha256(folder) == whole[False][1]
    assert signal.getsignal(number) == signal.SIG_IGN


@pytest.mark.usefixtures("usual")
def test_started_where_all_of_them_are_ignored_it_can_still_be_ended(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder = job(tmp_path / "job", plan(STEPS), every=1e6)
    with pytest.raises(SystemExit, match="143"):
        run(folder, tell=sending(signal.SIGTERM))
    assert kept(folder) == 6
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_a_result_that_was_cut_short_is_written_again(tmp_path: Path, whole: dict[bool, tuple[Trained, str]]) -> None:
    folder = job(tmp_path / "job", plan(STEPS))
    first = run(folder)
    assert run(folder) == first, "what is done is not done again"
    (folder / "result" / "training.json").unlink()
    (folder / "result" / "model.safetensors").write_bytes(b"half")
    assert run(folder) == first
    assert sha256(folder) == whole[False][1]


def test_random_numbers_and_threads_are_as_they_were(tmp_path: Path) -> None:
    import random

    torch.set_num_threads(1)

    def draw() -> tuple[float, ...]:
        return random.random(), np.random.random(), float(torch.rand(()))

    def seed() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    seed()
    expected = draw()
    seed()
    run(job(tmp_path / "job", plan(1), threads=2))
    assert draw() == expected
    assert torch.get_num_threads() == 1


# the checkpoint


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    tensors = {"model.a": torch.arange(6.0).reshape(2, 3), "rng.torch": torch.get_rng_state(), "m.b": torch.ones(3)}
    about = About("key", 3, (1.0, 0.5, 0.25), (), 1.5, 2.5, 2)
    write(tmp_path, Checkpoint(about, tensors | {"model.half": torch.ones(2, 2, dtype=torch.bfloat16)}))
    found = read(tmp_path, "key")
    assert found is not None
    assert found.about == about
    assert len(found.tensors) == 4
    for name, tensor in tensors.items():
        assert torch.equal(found.tensors[name], tensor)
    assert found.tensors["model.half"].dtype == torch.bfloat16
    with pytest.raises(KeyError):
        found.tensors["model.none"]
    assert read(tmp_path, "another") is None
    assert read(tmp_path / "none", "key") is None


def test_a_damaged_one_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = job(tmp_path / "job", plan(4), every=0.0)
    with pytest.raises(Killed):
        run(folder, tell=killing(3, 4))
    path, rng = folder / CHECKPOINT, np.random.default_rng()
    sound = path.read_bytes()
    for _ in range(40):
        bad = bytearray(sound)
        bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        with pytest.raises(ArtifactDamaged, match=r"checkpoint\.safetensors is damaged"):
            run(folder)
    for data in (b"", sound[:20], sound[:-1], sound + b"1"):
        path.write_bytes(data)
        with pytest.raises(ArtifactDamaged, match=r"checkpoint\.safetensors is damaged"):
            run(folder)
    path.write_bytes(sound)
    assert run(folder).steps == 4


def test_a_checkpoint_of_another_training_is_none(tmp_path: Path) -> None:
    folder = job(tmp_path / "job", plan(4), every=0.0)
    with pytest.raises(Killed):
        run(folder, tell=killing(3, 4))
    job(folder, plan(4, seed=1))
    assert kept(folder) == 0
    job(folder, plan(4))
    assert kept(folder) == 2
    job(folder, plan(4, rate=1e-3))
    assert kept(folder) == 2
    run(job(folder, plan(4, seed=1)))
    run(job(tmp_path / "other", plan(4, seed=1)))
    assert sha256(folder) == sha256(tmp_path / "other"), "nothing of the one before is in it"


# no number


def test_a_loss_that_is_no_number_stops_it_until_something_is_changed(tmp_path: Path) -> None:
    wild = plan(STEPS, rate=1e12, warm=8, clip=0.0)
    folder = job(tmp_path / "job", wild, every=0.0)
    with pytest.raises(TrainingFailed, match=r"step \d+ of 12 is no number, at the rate .*; .* kept") as first:
        run(folder)
    assert first.value.exit_code == 35
    assert "smaller rate, --set rate=3e+11" in first.value.hint
    held = (folder / CHECKPOINT).read_bytes()
    good = kept(folder)
    assert 0 < good < STEPS
    with pytest.raises(TrainingFailed) as again:
        run(job(folder, wild))
    assert str(again.value) == str(first.value)
    assert (folder / CHECKPOINT).read_bytes() == held
    said: list[str] = []
    with contextlib.suppress(TrainingFailed):  # what those steps did may be past mending; what counts: it went on
        run(job(folder, plan(STEPS, rate=1e-4)), tell=lambda what, done=None: said.append(what))
    assert said[0] == f"go on after step {good} of {STEPS}"


def test_weights_that_are_no_numbers_are_not_kept(tmp_path: Path) -> None:
    folder = job(tmp_path / "job", plan(STEPS), every=0.0)
    with pytest.raises(Killed):
        run(folder, tell=killing(4, STEPS))
    state = read(folder, read_job(folder).key)  # type: ignore[union-attr]
    assert state is not None
    tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}
    tensors["m.model.norm.weight"][3] = float("nan")
    write(folder, Checkpoint(state.about, tensors))
    held = (folder / CHECKPOINT).read_bytes()
    with pytest.raises(TrainingFailed, match="sum of the weights of step 4 of 12 is no number"):
        run(folder)
    assert (folder / CHECKPOINT).read_bytes() == held
    assert (folder / STOPPED).is_file()


# no room


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a disk with no room."""
    before, heard = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, whole: dict[bool, tuple[Trained, str]]) -> None:
    folder = job(tmp_path / "job", plan(STEPS), every=0.0)
    with pytest.raises(Killed):
        run(folder, tell=killing(4, STEPS))
    size = (folder / CHECKPOINT).stat().st_size
    with (
        largest_file(size // 2),
        pytest.raises(StorageFailed, match=r"Can't write .*checkpoint\.safetensors: (?!None)"),
    ):
        run(folder)
    assert kept(folder) == 3
    assert not list(folder.glob(".*tmp*"))
    run(folder)
    assert sha256(folder) == whole[False][1]


def test_a_full_disk_before_and_after_the_steps(tmp_path: Path, whole: dict[bool, tuple[Trained, str]]) -> None:
    folder = job(tmp_path / "job", plan(STEPS))
    with largest_file(20_000), pytest.raises(StorageFailed, match=r"Can't write .*start: (?!None)"):
        run(folder)
    run(folder)
    (folder / "result" / "training.json").unlink()
    with largest_file(20_000), pytest.raises(StorageFailed, match=r"Can't write .*result: (?!None)"):
        run(folder)
    assert {path.name for path in folder.iterdir()} >= {"job.json", CHECKPOINT, "start"}
    run(folder)
    assert sha256(folder) == whole[False][1]


def test_memory_that_ends_is_one_sentence(tmp_path: Path) -> None:
    """A real one: logits of a step that no machine holds."""
    folder = job(tmp_path / "job", plan(2), every=0.0)

    def ask(what: str, done: float | None = None, /) -> None:
        torch.empty(1 << 50)

    with pytest.raises(TooLittleMemory, match="A step of 4 rows of 16 ids does not fit in memory") as raised:
        run(folder, tell=ask)
    assert raised.value.exit_code == 37
    assert run(folder).steps == 2


def test_another_number_of_threads_is_told(tmp_path: Path) -> None:
    text = corpus(tmp_path / "corpus")
    folder = job(tmp_path / "job", plan(4), every=0.0)
    with pytest.raises(Killed):
        run(folder, tell=killing(3, 4))
    write_job(folder, plan(4), text, threads=2)
    said: list[str] = []

    def heard(what: str, done: float | None = None, /) -> None:
        said.append(what)
        if len(said) == 2:
            raise Killed

    with pytest.raises(Killed):
        run(folder, tell=heard)
    assert said == [
        "go on after step 2 of 4",
        "2 threads instead of 1: the last digits of what follows may differ",
    ]
