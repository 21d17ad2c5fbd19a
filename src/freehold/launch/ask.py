"""What to say to freehold train so that it runs by a launch target on so many devices.

asked("freehold train TEXT --tokens 2B", "fsdp", 8, 8, card=True, rented=True)
    freehold train TEXT --tokens 2B --set dtype=bfloat16 --launch fsdp --processes 8
    freehold train TEXT --tokens 2B --set dtype=bfloat16 --launch fsdp --processes 8 --write skypilot --into there
"""

from __future__ import annotations

__all__ = ["asked"]

BF16 = " --set dtype=bfloat16"  # what computes faster is measured here, on a CPU; a card is faster in bfloat16


def asked(train: str, launch: str, devices: int, per: int, *, card: bool, rented: bool = False) -> str:
    """On a machine with these devices, and in a second line (`rented`) what writes the files that hire one. `per`:
    devices of a machine. Megatron-LM, and several machines, are only written for."""
    machines = -(-devices // per)
    train += BF16 if card else ""
    processes = f" --processes {devices // machines}" if devices > machines else ""
    several = f" --machines {machines}" if machines > 1 else ""
    if launch.startswith("megatron"):
        return f"{train} --write megatron --into there{several}{processes}"
    by = "" if launch == "none" else f" --launch {launch}"
    if machines > 1:
        return f"{train}{by}{processes} --write {'skypilot' if rented else 'torchrun'} --into there{several}"
    here = f"{train}{by}{processes}"
    return f"{here}\n{here} --write skypilot --into there" if rented else here
