"""What is said to freehold train for each launch target."""

from __future__ import annotations

import argparse
import shlex

import pytest

from freehold.launch.ask import asked
from freehold.train import command

TRAIN = "freehold train TEXT --tokens 2B"


@pytest.mark.parametrize(
    ("launch", "devices", "card", "rented", "said"),
    [
        ("none", 1, False, False, [""]),
        ("none", 1, True, False, [" --set dtype=bfloat16"]),
        ("fsdp", 8, True, False, [" --set dtype=bfloat16 --launch fsdp --processes 8"]),
        ("ddp", 2, False, False, [" --launch ddp --processes 2"]),
        (
            "zero2", 8, True, True,
            [" --set dtype=bfloat16 --launch zero2 --processes 8",
             " --set dtype=bfloat16 --launch zero2 --processes 8 --write skypilot --into there"],
        ),
        (
            "fsdp", 32, True, True,
            [" --set dtype=bfloat16 --launch fsdp --processes 8 --write skypilot --into there --machines 4"],
        ),
        (
            "fsdp", 16, True, False,
            [" --set dtype=bfloat16 --launch fsdp --processes 8 --write torchrun --into there --machines 2"],
        ),
        (
            "megatron 4 x", 16, True, True,
            [" --set dtype=bfloat16 --write megatron --into there --machines 2 --processes 8"],
        ),
    ],
)  # fmt: skip
def test_each_target(launch: str, devices: int, card: bool, rented: bool, said: list[str]) -> None:
    lines = asked(TRAIN, launch, devices, 8, card=card, rented=rented).splitlines()
    assert lines == [TRAIN + more for more in said]
    for line in lines:
        parser = argparse.ArgumentParser(exit_on_error=False)
        command.flags(parser)
        found = parser.parse_args(shlex.split(line)[2:])
        if found.write:
            assert command._where(found).all == devices
        else:
            assert command._asked(found).checked().processes == devices
