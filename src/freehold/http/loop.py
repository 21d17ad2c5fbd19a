"""The event loop: uvloop where it is installed (about half the CPU of a call), else asyncio's own. The same code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run"]

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on the fastest loop at hand."""
    made: Callable[[], asyncio.AbstractEventLoop] | None
    try:
        from uvloop import new_event_loop as made
    except ImportError:
        made = None
    with asyncio.Runner(loop_factory=made) as runner:
        return runner.run(main)
