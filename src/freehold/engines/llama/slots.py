"""The slots of a process: which of them a call computes in, and the prefix that each still holds.

    with slots.turn((ids, adapter)) as slot:      the free slot that holds this prefix, else the one unused for longest
        prime(process, slot, request, body)       exactly these ids in it; said to llama.cpp as {"id_slot": slot.number}

A call is bound to its slot, so a prefix is computed once in each slot and not once a call. `alone=True` waits until no
slot is in use, and holds them all: what dies then died of this call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from freehold.engines.llama.completion import Request
from freehold.errors import EngineFailed

__all__ = ["Kept", "Slot", "Slots", "check_kept", "kept_of", "prime"]

NOT_KEPT = "The embedded engine did not keep the prefix that it was told to keep."
Kept = tuple[tuple[int, ...], int | None]  # the ids of a prefix, and the adapter that read them


class Posts(Protocol):
    def post(self, path: str, body: Mapping[str, Any], tokens: int = 0) -> dict[str, Any]: ...


@dataclass(eq=False)
class Slot:
    """`held` is the prefix it begins with, and `behind` the id that followed there last."""

    number: int
    held: Kept | None = None
    behind: int | None = None

    def empty(self) -> None:
        """Nothing in it is known any more."""
        self.held = self.behind = None


class Slots:
    """Safe to use from several threads."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = [Slot(number) for number in range(count)]  # in front the one that is unused for longest
        self._lonely = 0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, kept: Kept | None = None, *, alone: bool = False) -> Iterator[Slot]:
        """A slot of one's own, for as long as it takes. Waits for one, and behind who wants them all."""
        with self._changed:
            if alone:
                self._lonely += 1
                try:
                    self._changed.wait_for(lambda: len(self._free) == self._count)
                finally:
                    self._lonely -= 1
            else:
                self._changed.wait_for(lambda: self._free and not self._lonely)
            slot = next((one for one in self._free if one.held == kept), self._free[0])
            self._free.remove(slot)
            others, self._free = (self._free, []) if alone else ([], self._free)
        try:
            yield slot
        finally:
            with self._changed:
                self._free += [*others, slot]
                self._changed.notify_all()


def kept_of(request: Request, body: Mapping[str, Any]) -> Kept | None:
    """The prefix that a request wants in its slot; None where it wants none."""
    return (tuple(body["prompt"][: request.prefix]), request.adapter) if request.prefix else None


def prime(process: Posts, slot: Slot, request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
    """Have exactly the first `prefix` ids in the slot, computed the same way each time: all of them from nothing, then
    the last one again alone (which llama.cpp does with a prompt that it holds already). Returns what the request must
    say of it."""
    wanted = kept_of(request, body)
    held, behind = slot.held, slot.behind
    slot.empty()
    if wanted is None:
        return {"id_slot": slot.number}
    own = body["prompt"][request.prefix]
    ask = {"prompt": wanted[0], "n_predict": 0, "n_probs": 0, "lora": body["lora"], "response_fields": ["timings"]}
    ask["id_slot"] = slot.number
    if held != wanted:
        process.post("/completion", ask | {"cache_prompt": False}, request.prefix)
    if held != wanted or behind == own:  # else llama.cpp drops all behind the prefix by itself
        said = process.post("/completion", ask | {"cache_prompt": True}, request.prefix)
        if said["timings"]["cache_n"] != request.prefix - 1:
            raise EngineFailed(NOT_KEPT)
    slot.held, slot.behind = wanted, own
    return {"id_slot": slot.number, "cache_prompt": True}


def check_kept(slot: Slot, request: Request, said: Mapping[str, Any]) -> None:
    """Raises EngineFailed where an answer was computed on another start than the kept prefix: other bits."""
    if request.prefix and said["timings"]["cache_n"] != request.prefix:
        slot.empty()
        raise EngineFailed(NOT_KEPT)
