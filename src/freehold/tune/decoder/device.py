"""Where a tuning runs: on a CUDA card where torch sees one, else on the CPU. Decided once; the rest takes it.

    device()       -> Device("cuda", "cuda: torch sees NVIDIA H100 80GB HBM3")   or Device("cpu", "cpu: ...")
    device("cpu")  -> Device("cpu", "cpu as asked")
    .arithmetic(576, 1536)    bfloat16 where the card has it; on a CPU where it is measured to be the faster one
    .clock()                  the seconds that a budget pays: of the CPU, or on the clock with the card's work done
    .free()                   bytes that a training may take: None, those of the machine, or the card's
    .still(seed, threads)     the same rows and seed give the same bits

On a card, torch's deterministic algorithms are on while it trains; an operation that has none would stop the run, so
the first step that is measured asks for it (`repeats`), and where one is missing its name is told and recorded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from freehold.errors import BadSetting, MissingExtra, TooLittleMemory
from freehold.tune.precision import faster
from freehold.tune.repeat import repeatable

__all__ = ["CPU", "DEVICES", "Device", "device"]

DEVICES = ("auto", "cpu", "cuda")
WORKSPACE = ":4096:8"  # cuBLAS gives the same bits each time only with a workspace of its own (NVIDIA's cuBLAS manual)


@dataclass(frozen=True, slots=True)
class Device:
    """`name` is torch's: cpu or cuda (the card that is current). `why` is told, and kept in the recipe."""

    name: str
    why: str

    @property
    def card(self) -> bool:
        return self.name == "cuda"

    @property
    def seconds(self) -> str:
        """What its clock counts."""
        return "seconds on the clock" if self.card else "CPU seconds"

    def clock(self) -> float:
        if not self.card:
            return time.process_time()
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def free(self) -> int | None:
        """The card's free bytes; None where the machine's own count."""
        if not self.card:
            return None
        import torch

        return int(torch.cuda.mem_get_info()[0])

    def arithmetic(self, hidden: int, inner: int) -> tuple[str, str]:
        """The numbers that the base is held in, and why."""
        if not self.card:
            return faster(hidden, inner)
        import torch

        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", f"bfloat16: {torch.cuda.get_device_name()} computes in it"
        return "float32", f"float32: {torch.cuda.get_device_name()} has no bfloat16"

    @contextmanager
    def still(self, seed: int, threads: int = 1) -> Iterator[None]:
        """Threads, random numbers and algorithms held still; afterwards all are as they were."""
        with repeatable(seed, threads):
            if not self.card:
                yield
                return
            import torch

            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)
            before = torch.are_deterministic_algorithms_enabled()
            with torch.random.fork_rng(devices=[torch.cuda.current_device()]):
                torch.use_deterministic_algorithms(True)
                torch.cuda.manual_seed(seed)
                try:
                    yield
                finally:
                    torch.use_deterministic_algorithms(before)

    def measured(self, first: Callable[[], float]) -> tuple[float, str]:
        """What a first step says it takes, and what keeps this card from giving the same bits each time ("": nothing);
        then the step is made again without asking for them. Raises TooLittleMemory where the card runs out of it."""
        import torch

        try:
            return first(), ""
        except torch.OutOfMemoryError as error:
            raise TooLittleMemory(
                "The card ran out of memory in the first step, though the step was predicted to fit.",
                "Free the card of other programs and run the same again, or take --bits 4 or --device cpu.",
            ) from error
        except RuntimeError as error:
            if not self.card or "deterministic" not in str(error):
                raise
            loose = f"no run on this card is like another to the last bit: {' '.join(str(error).split())[:120]}"
        self.loosen(loose)
        return first(), loose

    def loosen(self, why: str) -> None:
        """Deterministic algorithms are no longer asked for, where there is a reason."""
        if why:
            import torch

            torch.use_deterministic_algorithms(False)

    def random(self) -> dict[str, Any]:
        """The state of its random numbers, as a checkpoint keeps it."""
        import torch

        return {"rng": torch.get_rng_state()} | ({"rng.cuda": torch.cuda.get_rng_state()} if self.card else {})

    def put_random(self, tensors: dict[str, Any]) -> None:
        import torch

        torch.set_rng_state(tensors["rng"])
        if self.card and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"])


CPU = Device("cpu", "cpu")


def device(asked: str = "auto") -> Device:
    """The device that is asked for, or the best there is. Raises BadSetting where it is not there, MissingExtra."""
    if asked not in DEVICES:
        raise BadSetting(f"--device is {asked!r}.", f"Known: {', '.join(DEVICES)}.")
    if asked == "cpu":
        return Device("cpu", "cpu as asked")
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("Tuning needs the package torch.", "pip install 'freehold[tune]'") from error
    if torch.cuda.is_available():
        said = "as asked" if asked == "cuda" else "torch sees it"
        return Device("cuda", f"cuda: {torch.cuda.get_device_name()}, {said}")
    built = torch.version.cuda
    none = "torch sees no CUDA card" if built else f"torch {torch.__version__} is built without CUDA"
    if asked == "cuda":
        raise BadSetting(f"--device is cuda, and {none}.", "Leave it out: the CPU tunes too.")
    return Device("cpu", f"cpu: {none}")
